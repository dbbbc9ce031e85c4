"""Runs that are stopped or killed and go on are, to the last bit, runs that were not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import h5py
import numpy as np
import pytest
from test_store import assert_equal

import fpsolve
from fpsolve import (
    GaussianInitial,
    Problem,
    StoreError,
    Teacher,
    UniformQuantizer,
    load,
    resume,
)
from fpsolve.recording.hdf5 import Hdf5Sink

# Seconds between checkpoints, short enough that a test sees several.
INTERVAL = 0.05
TIMES = [0.0, 0.5, 1.0, 2.0, 3.0, 4.0]
MANY = [i / 1000 for i in range(2001)]


QUANTIZED = Problem(
    weight_quantizer=UniformQuantizer(bit_width=2, omega=1.0),
    input_quantizer=None,
    learning_rate=0.3,
    ridge=0.5,
    noise_variance=0.1,
)


# Weights that start at points: on a threshold, under training rules, noise spreads them; of those
# whose inputs are quantized to 0 it does not, and they are carried along beside the others.
RULES = {"momentum": 0.3, "weight_decay": 0.05, "weight_clip": 1.1, "dampening": 0.05}
PROBLEMS = {
    "points": replace(QUANTIZED, initial=GaussianInitial(0.0, 0.0), **RULES),
    "beside": replace(
        QUANTIZED,
        initial=GaussianInitial(0.95, 0.0),
        input_quantizer=UniformQuantizer(2, 2.0),
        teacher=Teacher([1.0, 1.0], [0.5, 0.5], [1.0, 1e-3]),
        weight_decay=0.05,
    ),
}


@pytest.fixture(scope="module")
def quantized() -> Problem:
    return QUANTIZED


# A run in a process of its own: it says "ready" when the file is there, and can be killed then.
RUN = """
import sys, fpsolve
from fpsolve.recording.hdf5 import Hdf5Sink
from fpsolve.recording.signals import terminable, stopping_signal
path, solver, fresh = sys.argv[1], sys.argv[2], sys.argv[3] == "fresh"
from fpsolve.problem.toml import parse_problem
problem = parse_problem(sys.argv[4], source="the command line").problem
times = [0.0, 0.5, 1.0, 2.0, 3.0, 4.0]
# Import them now.
fpsolve.simulate_ste, fpsolve.simulate_sde, fpsolve.solve_pde, fpsolve.solve_mckean_vlasov
fpsolve.resume
def well(rate):  # Particles in a double well that attract each other's mean.
    return fpsolve.McKeanVlasov(
        [lambda x: x - x**3, lambda x: -x, lambda x: 1 + 0 * x], 0.5,
        coefficients=lambda t, M: [1.0, rate, rate * M[0]], functionals=[lambda x: x],
    )
sink = None if not fresh else Hdf5Sink(path, interval=0.05)
try:
    with terminable():
        print("ready", flush=True)
        if not fresh:
            more = {"threads": 2} if solver in ("ste", "sde") else {}
            more |= {"model": well(0.8)} if solver == "line" else {}
            result = fpsolve.resume(path, interval=0.05, **more)
        elif solver in ("pde", "points", "beside"):
            many = [i / 1000 for i in range(2001)]
            result = fpsolve.solve_pde(problem, many, rtol=1e-9, store=sink)
        elif solver == "line":
            many = [i / 1000 for i in range(4001)]
            result = fpsolve.solve_mckean_vlasov(
                well(0.8), fpsolve.GaussianInitial(0.3, 0.4), many, rtol=1e-8, store=sink
            )
        elif solver == "ste":
            result = fpsolve.simulate_ste(
                problem, times, dimension=3000, runs=2, seed=7, threads=2, store=sink
            )
        else:
            result = fpsolve.simulate_sde(
                problem, times, particles=20000, runs=2, seed=7, threads=2, max_step=5e-4,
                store=sink,
            )
except KeyboardInterrupt:
    sys.exit(128 + stopping_signal())
if result.stats.get("interrupted"):
    sys.exit(128 + stopping_signal())
print("done", flush=True)
"""


def well() -> fpsolve.McKeanVlasov:
    """Particles in a double well that attract each other's mean, as in `RUN`."""
    return fpsolve.McKeanVlasov(
        [lambda x: x - x**3, lambda x: -x, lambda x: 1 + 0 * x],
        0.5,
        coefficients=lambda t, M: [1.0, 0.8, 0.8 * M[0]],
        functionals=[lambda x: x],
    )


def solve_well() -> fpsolve.LineTrajectory:
    """The run of `RUN`, never interrupted."""
    start, times = fpsolve.GaussianInitial(0.3, 0.4), [i / 1000 for i in range(4001)]
    return fpsolve.solve_mckean_vlasov(well(), start, times, rtol=1e-8)


@pytest.fixture(scope="module")
def whole(quantized):
    """The same runs, never interrupted."""
    options = {"runs": 2, "seed": 7}
    return {
        "ste": fpsolve.simulate_ste(quantized, TIMES, dimension=3000, **options),
        "sde": fpsolve.simulate_sde(quantized, TIMES, particles=20000, max_step=5e-4, **options),
    }


def killed_at_random(path, solver: str, kills: int, rng) -> dict[str, int]:
    """Run, killing and resuming up to `kills` times; return what the kills met."""
    told = {"before the file": 0, "running": 0, "too late": 0}
    for _ in range(kills):
        fresh = "fresh" if not path.exists() else "resumed"
        problem = PROBLEMS.get(solver, QUANTIZED).to_toml()
        command = [sys.executable, "-c", RUN, str(path), solver, fresh, problem]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n", process.stderr.read()
        number = rng.choice([signal.SIGKILL, signal.SIGTERM])
        if told["before the file"]:  # Once is enough.
            while not path.exists() and process.poll() is None:
                time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 1.0))
        process.send_signal(number)
        _, err = process.communicate(timeout=120)
        if process.returncode == 0:
            told["too late"] += 1
            break
        assert process.returncode in (-number, 128 + number), err
        if not path.exists():
            told["before the file"] += 1
            continue
        told["running"] += 1
        with h5py.File(path) as file:  # Any reader opens it, and finds what was reached.
            assert file["time"].size <= file["requested_time"].size
        assert [p.name for p in path.parent.iterdir()] == [path.name], "no litter"
    return told


def assert_same_run(found, whole) -> None:
    """Both hold the same bits."""
    arrays = ("times", "dense_times", "weights", "teacher_weights", "functionals")
    for name in (*arrays, "dense_functionals"):
        if hasattr(whole, name):
            np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))
    for name in ("order_parameters", "dense_order_parameters"):
        if hasattr(whole, name):
            assert_equal(getattr(found, name), getattr(whole, name))
    for one, other in zip(getattr(found, "frames", ()), getattr(whole, "frames", ()), strict=True):
        assert_equal(one, other)


@pytest.mark.parametrize("solver", ["ste", "sde"])
def test_a_killed_run_goes_on_bit_for_bit(solver, whole, tmp_path) -> None:
    path = tmp_path / "r.h5"
    told = killed_at_random(path, solver, 4, np.random.default_rng(3))
    assert told["running"] + told["too late"] > 0
    assert_same_run(resume(path), whole[solver])
    assert_same_run(load(path), whole[solver])


@pytest.mark.parametrize(("solver", "kills"), [("pde", 4), ("points", 2), ("beside", 2)])
def test_a_killed_solve_goes_on_bit_for_bit(solver, kills, tmp_path) -> None:
    path = tmp_path / "r.h5"
    told = killed_at_random(path, solver, kills, np.random.default_rng(4))
    assert told["running"] + told["too late"] > 0
    problem = PROBLEMS.get(solver, QUANTIZED)
    assert_same_run(resume(path), fpsolve.solve_pde(problem, MANY, rtol=1e-9))


def test_any_killed_equation_goes_on_bit_for_bit(tmp_path) -> None:
    path = tmp_path / "r.h5"
    told = killed_at_random(path, "line", 3, np.random.default_rng(5))
    assert told["running"] + told["too late"] > 0
    assert_same_run(resume(path, model=well()), solve_well())


def test_a_run_goes_beyond_its_end(quantized, whole, tmp_path) -> None:
    path = tmp_path / "r.h5"
    options = {"dimension": 3000, "runs": 2, "seed": 7}
    fpsolve.simulate_ste(quantized, TIMES[:3], **options, store=path)
    result = resume(path, times=TIMES[3:])
    np.testing.assert_array_equal(result.weights, whole["ste"].weights)
    np.testing.assert_array_equal(load(path).weights, whole["ste"].weights)


def test_a_finished_run_is_just_read(quantized, tmp_path) -> None:
    path = tmp_path / "r.h5"
    result = fpsolve.simulate_ste(quantized, TIMES[:2], dimension=50, seed=1, store=path)
    assert_equal(resume(path).weights, result.weights)
    assert_equal(load(path).order_parameters, result.order_parameters)


def test_a_plain_result_is_no_run(macro, tmp_path) -> None:
    fpsolve.save(macro, tmp_path / "r.h5")
    with pytest.raises(StoreError, match="no run"):
        resume(tmp_path / "r.h5")


def test_a_reader_sees_what_a_run_has_reached(linear_problem, tmp_path) -> None:
    path = tmp_path / "r.h5"
    sink = Hdf5Sink(path)
    sink.open("macro", linear_problem, [0.0, 1.0], {})
    for index in range(2):
        sink.extend(index, {"time": np.array([float(index)]), "m": np.array([float(index)])})
        sink.checkpoint({"step": index})
        for swmr in (False, True):
            with h5py.File(path, swmr=swmr) as file:
                assert file["m"][...].tolist() == [0.0, 1.0][: index + 1]
                assert file.attrs["status"] == "running"
    size = os.path.getsize(path)
    sink.abandon()  # What a killed process does.
    assert os.path.getsize(path) == size
    assert len(Hdf5Sink(path, resume=True).frames) == 2
