"""One interface for whatever keeps a run: memory and files give back what they were handed."""

from __future__ import annotations

import numpy as np
import pytest

from fpsolve.recording.hdf5 import Hdf5Sink
from fpsolve.recording.memory import MemorySink
from fpsolve.recording.sink import Ending, Sink, sink_for

TIMES = np.array([0.0, 1.0, 4.0])


def density(index: int):
    """Arrays at one time: some of them of another shape at every time."""
    return {
        "time": TIMES[index],
        "generalization_error": np.float64(1.0 / (index + 1)),
        "left": np.arange(3 + index, dtype=np.float64),
        "u": np.full((4, 3 + index), float(index)),
        "first": np.array([0, 3 + index]),
        "order": np.int64(index),
        "dense_time": index + np.arange(index) / 4,
        "dense_m": np.arange(index) * 2.0,
    }


def particles(index: int):
    """The same of two runs."""
    weights = np.arange(6.0).reshape(2, 3) + index
    along = np.arange(2.0 * index).reshape(2, index)
    return {
        "time": TIMES[index],
        "weights": weights,
        "m": weights.mean(axis=1),
        "dense_time": index + np.arange(index) / 4,
        "dense_m": along,
    }


def line(index: int):
    """The same of any McKean–Vlasov equation."""
    return {
        "time": TIMES[index],
        "functionals": np.array([1.0, index]),
        "dense_time": index + np.arange(index) / 4,
        "dense_functionals": np.ones((index, 2)) * index,
        "u": np.full((4, 3 + index), float(index)),
    }


KINDS = {"density": density, "particles": particles, "mckean-vlasov": line}


def block(kind: str, start: int, stop: int):
    """Several times as a solver hands them over."""
    rows = [KINDS[kind](index) for index in range(start, stop)]
    joined = {}
    for name in rows[0]:
        column = [np.asarray(row[name]) for row in rows]
        if name.startswith("dense_"):
            axis = -1 if kind == "particles" else 0
            joined[name] = np.concatenate(column, axis=axis)
        elif name in ("m", "weights"):
            joined[name] = np.stack(column, axis=1)
        elif name in ("time", "generalization_error", "functionals"):
            joined[name] = np.stack(column)
        else:
            joined[name] = column
    joined["dense_end"] = np.cumsum([row["dense_time"].size for row in rows])
    return joined


@pytest.fixture(params=["memory", "hdf5"])
def sink(request, tmp_path):
    return MemorySink() if request.param == "memory" else Hdf5Sink(tmp_path / "r.h5")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cut", [1, 2, 3])
def test_frames_come_back_as_they_were(sink, kind, cut, linear_problem) -> None:
    assert isinstance(sink, Sink)
    problem = None if kind == "mckean-vlasov" else linear_problem
    sink.open(kind, problem, TIMES, {"rtol": 1e-6}, constants={"c": [1.0, 2.0]})
    for start, stop in ((0, cut), (cut, 3)):
        if start < stop:
            handed = block(kind, start, stop)
            sink.extend(start, handed)
            for column in handed.values():  # The solver goes on with its own arrays.
                for array in column if isinstance(column, list) else [column]:
                    array.fill(77)
    sink.close(Ending("completed", {"steps": 3}), {"u": np.ones(2), "step": 5})
    assert len(sink.frames) == 3
    for index, kept in enumerate(sink.frames):
        expected = KINDS[kind](index)
        assert kept.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_array_equal(kept[name], value, err_msg=name)
            assert np.asarray(kept[name]).dtype == np.asarray(value).dtype
    for name in ("dense_time", "time"):
        joined = [np.atleast_1d(KINDS[kind](index)[name]) for index in range(3)]
        np.testing.assert_array_equal(sink.series(name), np.concatenate(joined))
    assert isinstance(sink, MemorySink) or sink.state is None
    state = sink.state if isinstance(sink, MemorySink) else Hdf5Sink(sink.path, resume=True).state
    np.testing.assert_array_equal(state["u"], np.ones(2))
    assert state["step"] == 5


def test_a_file_passes_over_what_it_holds(tmp_path) -> None:
    # A resumed run comes past times it has handed over after its last checkpoint.
    sink = Hdf5Sink(tmp_path / "r.h5")
    sink.open("mckean-vlasov", None, TIMES, {})
    sink.extend(0, block("mckean-vlasov", 0, 2))
    sink.checkpoint({"step": 1})
    sink.abandon()
    again = Hdf5Sink(tmp_path / "r.h5", resume=True)
    again.open("mckean-vlasov", None, TIMES, {})
    again.extend(0, block("mckean-vlasov", 0, 1))
    again.extend(1, block("mckean-vlasov", 1, 3))
    again.close(Ending())
    for index, kept in enumerate(again.frames):
        for name, value in line(index).items():
            np.testing.assert_array_equal(kept[name], value, err_msg=name)


def test_checkpoints_are_due_at_intervals() -> None:
    assert MemorySink(interval=0.0).checkpoint_due()
    assert not MemorySink(interval=1e6).checkpoint_due()


def test_no_path_is_memory() -> None:
    assert isinstance(sink_for(None), MemorySink)
    sink = MemorySink()
    assert sink_for(sink) is sink
