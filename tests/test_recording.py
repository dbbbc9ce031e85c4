"""One interface for whatever keeps a run: memory and files give back what they were handed."""

from __future__ import annotations

import numpy as np
import pytest

from fpsolve.recording.hdf5 import Hdf5Sink
from fpsolve.recording.memory import MemorySink
from fpsolve.recording.sink import Ending, Sink, sink_for

TIMES = np.array([0.0, 1.0, 4.0])


def frame(index: int):
    """Arrays as a solver hands them over: some of them of another shape at every time."""
    return {
        "generalization_error": np.float64(1.0 / (index + 1)),
        "left": np.arange(3 + index, dtype=np.float64),
        "u": np.full((4, 3 + index), float(index)),
        "first": np.array([0, 3 + index]),
        "dense_time": index + np.arange(index) / 4,
        "dense_m": np.arange(index) * 2.0,
    }


@pytest.fixture(params=["memory", "hdf5"])
def sink(request, tmp_path):
    return MemorySink() if request.param == "memory" else Hdf5Sink(tmp_path / "r.h5")


def test_frames_come_back_as_they_were(sink, linear_problem) -> None:
    assert isinstance(sink, Sink)
    sink.open("density", linear_problem, TIMES, {"rtol": 1e-6}, constants={"c": [1.0, 2.0]})
    u = np.zeros(2)
    for index, time in enumerate(TIMES):
        u += 1.0  # The solver goes on with its own arrays.
        sink.frame(index, time, {**frame(index), "u": u})
    sink.close(Ending("completed", {"steps": 3}))
    assert len(sink.frames) == 3
    for index, kept in enumerate(sink.frames):
        expected = {**frame(index), "u": np.full(2, index + 1.0), "time": TIMES[index]}
        assert kept.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_array_equal(kept[name], value, strict=name != "time")


def test_checkpoints_are_due_at_intervals() -> None:
    assert MemorySink(interval=0.0).checkpoint_due()
    assert not MemorySink(interval=1e6).checkpoint_due()


def test_no_path_is_memory() -> None:
    assert isinstance(sink_for(None), MemorySink)
    sink = MemorySink()
    assert sink_for(sink) is sink
