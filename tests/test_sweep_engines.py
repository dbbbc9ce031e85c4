"""Sweeps on every engine, each one for real: the same to the last bit as in one process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import pytest

from fpsolve import (
    ParameterError,
    load,
    simulate_ste,
    solve_pde,
    stationary_states,
    sweep,
)
from fpsolve.problem.problem import Problem
from fpsolve.problem.quantizer import UniformQuantizer
from fpsolve.sweeps.engines import engine_on, local_engine
from fpsolve.sweeps.lanes import Lanes

AXES = {
    "learning_rate": np.linspace(0.02, 0.4, 6),
    "weight_quantizer.omega": [0.5, 1.0, 1.5],
}
PDE = {"times": [0.0, 1.0, 4.0], "rtol": 1e-4}


@pytest.fixture(scope="module")
def quantized() -> Problem:
    return Problem(
        weight_quantizer=UniformQuantizer(2, 1.0),
        input_quantizer=UniformQuantizer(3, 1.0),
        learning_rate=0.04,
        ridge=1.0,
    )


@pytest.fixture(scope="module")
def alone(quantized):
    """Solved in this process, one after the other."""
    return sweep(quantized, AXES, solve_pde, workers=1, **PDE)


def assert_same(a, b) -> None:
    assert a.axes == b.axes
    assert a.errors == b.errors
    assert a.inner == b.inner
    assert list(a.arrays) == list(b.arrays)
    for name, array in a.arrays.items():
        np.testing.assert_array_equal(array, b.arrays[name], strict=True)


def test_one_process_is_what_the_solver_says(quantized, alone) -> None:
    for index in [(0, 0), (5, 2)]:
        expected = solve_pde(alone.problem(index), **PDE).order_parameters
        np.testing.assert_array_equal(alone["m"][index], expected.m)


@pytest.mark.parametrize(
    "make", [lambda: ThreadPoolExecutor(2), lambda: get_context("spawn").Pool(2)]
)
def test_pools_of_the_standard_library(quantized, alone, make) -> None:
    with make() as pool:
        assert_same(sweep(quantized, AXES, solve_pde, executor=pool, **PDE), alone)


def test_dask_with_a_scheduler_and_two_workers(quantized, alone) -> None:
    distributed = pytest.importorskip("distributed", reason="needs the dask extra")
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", host="127.0.0.1"
    )
    with cluster, distributed.Client(cluster) as client:
        assert len(client.nthreads()) == 2
        assert_same(sweep(quantized, AXES, solve_pde, executor=client, **PDE), alone)


MPI_SCRIPT = """
import sys
from mpi4py.futures import MPIPoolExecutor
from fpsolve import Problem, save, solve_pde, sweep
if __name__ == "__main__":  # workers of mpi4py run the script under another name
    with MPIPoolExecutor() as pool:
        assert pool.num_workers == 2
        problem = Problem.from_toml(sys.argv[1])
        save(sweep(problem, {axes!r}, solve_pde, executor=pool, **{options!r}), sys.argv[2])
"""


def test_mpi_with_three_processes(quantized, alone, tmp_path) -> None:
    pytest.importorskip("mpi4py", reason="needs the mpi extra")
    if shutil.which("mpiexec") is None:
        pytest.skip("needs mpiexec: apt-get install openmpi-bin libopenmpi-dev")
    axes = {name: [float(v) for v in values] for name, values in AXES.items()}
    (tmp_path / "script.py").write_text(MPI_SCRIPT.format(axes=axes, options=PDE))
    (tmp_path / "p.toml").write_text(quantized.to_toml())
    command = ["mpiexec", "-n", "3", sys.executable, "-m", "mpi4py.futures", "script.py"]
    allowed = {
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
    }
    done = subprocess.run(
        [*command, "p.toml", "s.h5"],
        cwd=tmp_path,
        env={**os.environ, **allowed},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert_same(load(tmp_path / "s.h5"), alone)


def test_submitit_on_its_local_executor(quantized, alone, tmp_path) -> None:
    submitit = pytest.importorskip("submitit", reason="needs the slurm extra")
    executor = submitit.LocalExecutor(tmp_path / "jobs")
    executor.update_parameters(timeout_min=5)
    result = sweep(quantized, AXES, solve_pde, executor=executor, workers=2, **PDE)
    assert_same(result, alone)
    assert len(list((tmp_path / "jobs").glob("*_submitted.pkl"))) == 2


def test_parts_meet_in_one_store(quantized, alone, tmp_path) -> None:
    store = tmp_path / "answers"
    for i in (1, 2, 3):
        part = sweep(quantized, AXES, solve_pde, store=store, part=(i, 3), workers=1, **PDE)
        assert int((part.status == 0).sum()) == 6 * i or i > 1
        assert set(part.errors) == part.not_reached

    def unreachable(problem, **options):
        raise AssertionError("everything is there")

    whole = sweep(quantized, AXES, solve_pde, store=store, **PDE)
    assert_same(whole, alone)
    np.testing.assert_array_equal(whole.cost > 0, True)


def test_local_processes_and_the_order_of_axes(quantized, alone, monkeypatch) -> None:
    import fpsolve.sweeps.sweep as module

    monkeypatch.setattr(module, "_TRIAL", 0.0)
    monkeypatch.setattr(module, "_WORTH", 0.0)
    started = []
    monkeypatch.setattr(module, "local_engine", lambda *a: started.append(a) or local_engine(*a))
    turned = dict(reversed(AXES.items()))
    result = sweep(quantized, turned, solve_pde, workers=2, **PDE)
    assert started == [("solve_pde", 2)]
    for name, array in result.arrays.items():
        np.testing.assert_array_equal(array, alone[name].swapaxes(0, 1))


def test_ensembles_have_streams_of_their_own_whatever_the_workers(quantized) -> None:
    axes = {"ridge": [0.5, 1.0, 1.0 + 1e-12]}
    options = {"times": [0.0, 1.0], "dimension": 50, "runs": 3, "seed": 7}
    alone = sweep(quantized, axes, simulate_ste, workers=1, **options)
    with ThreadPoolExecutor(2) as pool:
        assert_same(sweep(quantized, axes, simulate_ste, executor=pool, **options), alone)
    m = alone["m"]
    assert m.shape == (3, 3, 2)
    assert len(np.unique(m[:, :, 0])) == 9, "initial weights are shared"
    point = simulate_ste(
        replace(quantized, ridge=1.0), [0.0, 1.0], dimension=50, runs=3, seed=alone.seed((1,))
    )
    np.testing.assert_array_equal(point.order_parameters.m, m[1])


def test_threads_serve_what_lets_go_of_the_lock(quantized) -> None:
    for solver, kind in [("simulate_ste", ThreadPoolExecutor), ("solve_ode", Lanes)]:
        engine = local_engine(solver, 2)
        assert isinstance(engine.executor, kind)
        engine.close(kill=False)


def test_what_is_no_executor_is_refused(quantized) -> None:
    for wrong in (object(), "dask"):
        with pytest.raises(ParameterError, match="executor"):
            sweep(quantized, {"ridge": [1.0]}, stationary_states, executor=wrong)
    with pytest.raises(ParameterError, match="executor"):
        engine_on(3, None)
    for part in [(0, 2), (3, 2)]:
        with pytest.raises(ParameterError, match="part"):
            sweep(quantized, {"ridge": [1.0]}, stationary_states, part=part, store="s")
    with pytest.raises(ParameterError, match="store"):
        sweep(quantized, {"ridge": [1.0]}, stationary_states, part=(1, 2))
