"""Densities in a file: killed at any moment they go on, and are then what they would have been."""

from __future__ import annotations

import errno
import shutil
import signal
import subprocess
import time as clock

import h5py
import numpy as np
import pytest
from test_store import assert_equal

import fpsolve
from fpsolve import (
    GaussianInitial,
    ParameterError,
    Problem,
    Schedule,
    StepQuantizer,
    StoreError,
    Surrogate,
    Teacher,
    UniformQuantizer,
    load,
    resume,
    solve_pde,
)
from fpsolve.recording.hdf5 import Hdf5Sink
from fpsolve.recording.memory import MemorySink
from fpsolve.store.finish import add_cells
from fpsolve.store.resume import resumed

TIMES = [0.0, 0.5, 1.0, 2.0, 6.0]


def problem(**changes) -> Problem:
    quantizer = UniformQuantizer(bit_width=2, omega=1.0, **changes.pop("quantizer", {}))
    plain = {"learning_rate": 0.3, "ridge": 0.5, "noise_variance": 0.1, "input_quantizer": None}
    return Problem(**{"weight_quantizer": quantizer, **plain, **changes})


# A scale at which inputs are quantized to 0: such weights see no noise, and stay points.
UNSEEN = 1e-3


def unseen(**changes) -> Problem:
    return problem(
        **{
            "input_quantizer": UniformQuantizer(2, 2.0),
            "teacher": Teacher([1.0], [1.0], [UNSEEN]),
            "initial": GaussianInitial(0.95, 0.0),
            **changes,
        }
    )


CASES = {
    "plain": (problem(), {}),
    "point mass": (problem(initial=GaussianInitial(variance=0.0)), {}),
    "schedule": (problem(learning_rate=Schedule.cosine(0.3, 0.01, duration=3.0)), {}),
    "smooth": (problem(quantizer={"temperature": 0.05}), {"rtol": 1e-4}),
    "led": (
        problem(
            quantizer={"temperature": 0.05},
            batch_size=10**9,
            initial=GaussianInitial(0.9, 1e-14),
        ),
        {"rtol": 1e-4},
    ),
    "absorbing": (problem(surrogate=Surrogate(bound=1.2, slope=0.0)), {}),
    "thrown to a tip": (problem(surrogate=Surrogate.triangular(0.05)), {"rtol": 1e-4}),
    "frozen points": (
        problem(
            surrogate=Surrogate(1.2),
            teacher=Teacher([-1.0, 0.4], [0.5, 0.5]),
            initial=GaussianInitial(0.0, 0.0, 1.3),
        ),
        {"rtol": 1e-4},
    ),
    "clipped": (problem(weight_clip=1.1), {"rtol": 1e-4}),
    "classes": (problem(teacher=Teacher([-1.0, 0.3, 1.0], [0.5, 0.2, 0.3])), {"rtol": 1e-4}),
    "cells": (problem(), {"scheme": "scharfetter-gummel", "cells": 200, "rtol": 1e-4}),
    "cells from a point": (
        problem(initial=GaussianInitial(variance=0.0)),
        {"scheme": "scharfetter-gummel", "cells": 200, "rtol": 1e-4},
    ),
    "full precision": (problem(weight_quantizer=None), {}),
    "point on a threshold": (problem(initial=GaussianInitial(0.0, 0.0), momentum=0.3), {}),
    "points under rules": (
        problem(
            initial=GaussianInitial(0.95, 0.0),
            weight_decay=0.2,
            weight_clip=1.1,
            dampening=0.1,
            learning_rate=Schedule.cosine(0.3, 0.05, duration=3.0),
        ),
        {"rtol": 1e-4},
    ),
    "points beside noise": (unseen(teacher=Teacher([1.0, 1.0], [0.5, 0.5], [1.0, UNSEEN])), {}),
    "points alone": (unseen(weight_decay=0.1), {}),
    "points held on a threshold": (
        unseen(weight_quantizer=StepQuantizer([-1.0, 2.0], [0.0]), learning_rate=1.0),
        {},
    ),
}


@pytest.fixture(autouse=True)
def looking_always(monkeypatch) -> None:
    """Checkpoints at every chunk of steps, where tests want them due at once."""
    monkeypatch.setattr("fpsolve.recording.stream._LOOK_EVERY", 0.0)


class Killed(BaseException):
    """What nobody catches, as nobody catches SIGKILL."""


class Mortal(Hdf5Sink):
    """A file whose run dies at its next checkpoint or block after `lives` of them."""

    lives = 0

    def extend(self, first, block) -> None:
        super().extend(first, block)
        self.count_down()

    def checkpoint(self, arrays) -> None:
        super().checkpoint(arrays)
        self.count_down()

    def count_down(self) -> None:
        self.lives -= 1
        if self.lives < 0:
            self.abandon()
            raise Killed


def status(path) -> str:
    with h5py.File(path) as file:
        return file.attrs["status"]


def assert_same(found, expected) -> None:
    """Both hold the same bits."""
    np.testing.assert_array_equal(found.times, expected.times)
    np.testing.assert_array_equal(found.dense_times, expected.dense_times)
    assert_equal(found.order_parameters, expected.order_parameters)
    assert_equal(found.dense_order_parameters, expected.dense_order_parameters)
    for one, other in zip(found.frames, expected.frames, strict=True):
        assert_equal(one.to_arrays(), other.to_arrays())
    assert found.stats == expected.stats


@pytest.mark.parametrize("name", CASES)
def test_a_run_killed_again_and_again_is_the_run_that_was_not(name, tmp_path) -> None:
    solved, options = CASES[name]
    whole = solve_pde(solved, TIMES, **options)
    path, rng = tmp_path / "r.h5", np.random.default_rng(list(CASES).index(name))
    # In between kills runs get farther, and end at last.
    for attempt in range(40):
        sink = Mortal(path, interval=0.0, resume=path.exists())
        sink.lives = int(rng.integers(1, 6)) + attempt
        try:
            solve_pde(solved, TIMES, **options, store=sink)
        except Killed:
            continue
        break
    assert_same(load(path), whole)
    assert_same(resume(path), whole)


def test_memory_and_files_hold_the_same(tmp_path) -> None:
    solved, options = CASES["classes"]
    whole = solve_pde(solved, TIMES, **options)
    sink = MemorySink()
    assert_same(solve_pde(solved, TIMES, **options, store=sink), whole)
    assert_same(solve_pde(solved, TIMES, **options, store=tmp_path / "r.h5"), whole)
    assert sink.ending is not None
    assert sink.ending.reason == "completed"


@pytest.mark.parametrize("name", ["schedule", "point mass"])
@pytest.mark.parametrize("held", [0, 2**24])
def test_many_times_are_handed_on_in_blocks(name, held, tmp_path, monkeypatch) -> None:
    # What is kept at hand, what is read again once it is too much, and the file are the same.
    monkeypatch.setattr("fpsolve.density.stream._SMALL", held)
    solved, options = CASES[name]
    times = np.linspace(0.0, 6.0, 150)
    whole = solve_pde(solved, times, **options)
    assert_same(solve_pde(solved, times, **options, store=tmp_path / "r.h5"), whole)
    assert_same(load(tmp_path / "r.h5"), whole)


def test_times_are_on_disk_within_seconds(tmp_path) -> None:
    solved, options = CASES["plain"]
    reached: list[float] = []

    def look(time, state) -> None:
        clock.sleep(0.4)
        # A density waits half a second for others, and the file a second; two sleeps lie between.
        due = sum(when < clock.monotonic() - 2.5 for when in reached)
        with h5py.File(tmp_path / "r.h5") as file:
            assert file["time"].size >= due
        reached.append(clock.monotonic())

    solve_pde(solved, np.arange(10.0), **options, store=tmp_path / "r.h5", callback=look)
    assert reached[-1] - reached[0] > 2.5


@pytest.mark.parametrize("name", [name for name in CASES if "cells" not in name])
def test_a_run_goes_beyond_its_end(name, tmp_path) -> None:
    solved, options = CASES[name]
    path = tmp_path / "r.h5"
    solve_pde(solved, TIMES[:3], **options, store=path)
    assert_same(resume(path, times=TIMES[3:]), solve_pde(solved, TIMES, **options))
    with pytest.raises(ParameterError, match=r"times = 1\.7: must be beyond"):
        resume(path, times=[0.5, 1.7, 9.0])


def test_points_that_noise_takes_apart_later_do_not_go_beyond_their_end(tmp_path) -> None:
    # Their noise is weak: it moves them by a tenth of rtol, but not before τ = 0.001.
    loud = unseen(
        noise_variance=1.0,
        teacher=Teacher([1.0, 1.0], [1.0 - 1e-9, 1e-9], [1.0, 0.52]),
        input_quantizer=UniformQuantizer(2, 6.0),
    )
    path = tmp_path / "r.h5"
    solve_pde(loud, [0.0, 1e-3], rtol=1e-3, store=path)
    with pytest.raises(ParameterError, match=r"must end at tau = 0\.001"):
        resume(path, times=[1e3])


def grown(path, ends) -> fpsolve.DensityTrajectory:
    """A run that goes on to each of `ends`, cells made anew each time."""
    run = solve_pde(problem(), np.linspace(0.0, 10.0, 9), store=Hdf5Sink(path, finish=add_cells))
    path.chmod(0o640)
    for end in ends:
        run = resumed(Hdf5Sink(path, resume=True, finish=add_cells), [end])
    return run


def test_a_run_that_goes_on_leaves_no_gaps(tmp_path) -> None:
    if shutil.which("h5repack") is None:
        pytest.skip("no h5repack on the path")
    path, packed = tmp_path / "r.h5", tmp_path / "packed.h5"
    run = grown(path, [20.0, 30.0])
    subprocess.run(["h5repack", path, packed], check=True)
    assert path.stat().st_size <= 1.2 * packed.stat().st_size
    assert path.stat().st_mode & 0o777 == 0o640
    assert [entry.name for entry in tmp_path.iterdir() if entry != packed] == ["r.h5"]
    assert_same(load(path), run)
    with h5py.File(path) as file:
        scales = [[scale.name for scale in axis.values()] for axis in file["density"].dims]
        assert scales == [["/time"], ["/teacher"], ["/w"]]
        named = file["time"].attrs["NAME"], file["time"].attrs["REFERENCE_LIST"]
        assert named[0] == b"time"
        assert {file[reference].name for reference, _ in named[1]} >= {"/density", "/m"}


def test_without_room_gaps_stay(tmp_path, monkeypatch) -> None:
    def full(*_, **__) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("fpsolve.recording.compact.put_in_place", full)
    run = grown(tmp_path / "r.h5", [20.0])
    assert_same(load(tmp_path / "r.h5"), run)


def test_a_file_that_was_replaced_meanwhile_is_not_written_to(tmp_path, monkeypatch) -> None:
    path = tmp_path / "r.h5"
    solve_pde(problem(), TIMES[:3], store=path)

    def late(descriptor: int) -> bool:
        (tmp_path / "new").write_bytes(path.read_bytes())
        (tmp_path / "new").replace(path)
        return True

    monkeypatch.setattr("fpsolve.recording.hdf5.write_lock", late)
    with pytest.raises(StoreError, match="being written by another run"):
        resume(path, times=[5.0])
    monkeypatch.undo()
    assert resume(path, times=[5.0]).times[-1] == 5.0


def test_cells_do_not_go_beyond_their_mesh(tmp_path) -> None:
    solved, options = CASES["cells"]
    solve_pde(solved, TIMES[:3], **options, store=tmp_path / "r.h5")
    with pytest.raises(ParameterError, match="scharfetter-gummel"):
        resume(tmp_path / "r.h5", times=TIMES[3:])


def test_an_interrupted_run_leaves_a_checkpoint(tmp_path) -> None:
    solved, options = CASES["plain"]
    path = tmp_path / "r.h5"

    def interrupt(time, state) -> None:
        if time == 1.0:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        solve_pde(solved, TIMES, **options, store=path, callback=interrupt)
    assert load(path).times.tolist() == TIMES[:3]
    assert status(path) == "interrupted"
    assert_same(resume(path), solve_pde(solved, TIMES, **options))


def test_a_failing_run_says_so_in_the_file(tmp_path, monkeypatch) -> None:
    solved, options = CASES["plain"]
    monkeypatch.setattr("fpsolve.numerics.solver._MOST_TRIES", 5)
    with pytest.raises(fpsolve.SolveError, match="steps were not enough") as failed:
        solve_pde(solved, [0.0, 0.001, 60.0], **options, store=tmp_path / "r.h5")
    assert status(tmp_path / "r.h5") == "failed"
    assert failed.value.partial.times.tolist() == [0.0, 0.001]
    monkeypatch.undo()  # With the cause gone it goes on from its last checkpoint.
    assert_same(resume(tmp_path / "r.h5"), solve_pde(solved, [0.0, 0.001, 60.0], **options))


class TestStart:
    """`start=`: a density that was reached is where another training begins."""

    def test_in_two_parts_it_is_what_it_is_in_one(self, tmp_path) -> None:
        # A constant rate knows no time: the second part continues the first.
        solved = problem()
        path = tmp_path / "r.h5"
        solve_pde(solved, [0.0, 3.0], store=path)
        whole = solve_pde(solved, [0.0, 3.0, 5.0])
        for start in (path, load(path)):
            then = solve_pde(solved, [0.0, 2.0], start=start)
            for name in ("m", "q", "generalization_error"):
                np.testing.assert_allclose(
                    getattr(then.order_parameters, name),
                    getattr(whole.order_parameters, name)[1:],
                    rtol=1e-5,
                )
            at = np.linspace(-2, 2, 41)
            found = [t.probability(-3, w, s) for w in at for t, s in ((then, 2.0), (whole, 5.0))]
            np.testing.assert_allclose(found[::2], found[1::2], atol=1e-4)

    def test_quantized_after_full_precision(self) -> None:
        # A Gaussian that training has reached, and the same given as the problem's own.
        full = Problem(weight_quantizer=None, learning_rate=0.3, input_quantizer=None)
        first = solve_pde(full, [1.5])
        mean, deviation = first.frames[-1].mean[0], first.frames[-1].deviation[0]
        given = GaussianInitial(mean=float(mean), variance=float(deviation) ** 2)
        # The start lies within 8.3 deviations, the walls beyond; later mass does reach them.
        walled = {"surrogate": Surrogate(bound=float(mean + 9 * deviation), slope=0.0)}
        for rule in ({}, walled):
            other = solve_pde(problem(initial=given, **rule), [0.0, 1.0, 4.0])
            then = solve_pde(problem(**rule), [0.0, 1.0, 4.0], start=first)
            np.testing.assert_allclose(
                then.order_parameters.generalization_error,
                other.order_parameters.generalization_error,
                rtol=1e-5,
            )
            np.testing.assert_allclose(then.frozen, other.frozen, atol=1e-6)

    def test_it_survives_kills_too(self, tmp_path) -> None:
        first, path = solve_pde(problem(), [1.0]), tmp_path / "r.h5"
        slower = problem(learning_rate=0.1)
        whole = solve_pde(slower, TIMES, start=first)
        sink = Mortal(path, interval=0.0)
        sink.lives = 2
        with pytest.raises(Killed):
            solve_pde(slower, TIMES, start=first, store=sink)
        assert_same(resume(path), whole)

    def test_what_does_not_fit_is_refused(self, tmp_path) -> None:
        first = solve_pde(problem(), [1.0])
        with pytest.raises(ParameterError, match="teacher values"):
            solve_pde(problem(teacher=Teacher([-1.0, 2.0], [0.5, 0.5])), [1.0], start=first)
        with pytest.raises(ParameterError, match="must lie within"):
            solve_pde(problem(weight_clip=0.8), [1.0], start=first)
        with pytest.raises(ParameterError, match="spectral-volume"):
            solve_pde(problem(), [1.0], start=first, scheme="scharfetter-gummel")
        with pytest.raises(ParameterError, match="DensityTrajectory"):
            solve_pde(problem(), [1.0], start=3)
        fpsolve.save(fpsolve.solve_ode(problem(), [0.0, 1.0]), tmp_path / "m.h5")
        with pytest.raises(StoreError, match="no density"):
            solve_pde(problem(), [1.0], start=tmp_path / "m.h5")
