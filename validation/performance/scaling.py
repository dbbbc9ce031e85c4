"""Named targets, growth with teacher values and levels, a second thread, and the first solve.

    python -m validation.performance.scaling [--quick]

prints what `validation.performance.density` publishes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from typing import Any

import numpy as np

from fpsolve import DensityTrajectory, Problem, Teacher, UniformQuantizer, solve_pde
from validation.performance.cases import CASES
from validation.performance.contest import report
from validation.performance.processors import on_processors

__all__ = ["first_solve", "main", "slopes", "targets", "two_at_once"]

# Seconds after which a problem is not solved again.
_ENOUGH = 6.0
_FIG1, _B3 = CASES["fig1"], CASES["b3"]


def _seconds(call: Callable[[], object], repeats: int) -> float:
    """Median over `repeats` calls after a warm one, fewer where they take long."""
    call()
    taken: list[float] = []
    while len(taken) < repeats and sum(taken) < _ENOUGH:
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def _with_teacher(teacher: Teacher) -> Problem:
    return replace(_B3.problem, teacher=teacher)


def _confined(count: int) -> Teacher:
    """Equally likely values that no threshold lets escape: each costs about the same."""
    values = 0.9 * (2 * np.arange(count) + 1 - count) / count + 0.05
    return Teacher(values, np.full(count, 1 / count))


def _with_bits(bits: int) -> Problem:
    return replace(_B3.problem, weight_quantizer=UniformQuantizer(bits, 1.0))


def targets(*, quick: bool) -> list[dict[str, Any]]:
    """Return, for each named problem at rtol 1e-6, the target, the time and the error.

    Errors are against the reference figures where there are some, else against rtol 1e-9.
    """
    times = _B3.times

    def rate(eta: float) -> Problem:
        return replace(_B3.problem, learning_rate=eta)

    named: list[tuple[str, Problem, Sequence[float], float]] = [
        ("Fig. 1", _FIG1.problem, _FIG1.times, 0.010),
        ("b = 3, η = 0.04", rate(0.04), times, 0.030),
        ("b = 3, η = 0.004", rate(0.004), 10 * times, 0.100),
        ("b = 3, η = 1e-4 to τ = 8e4", rate(1e-4), 400 * times, 1.0),
        ("b = 8 (255 levels)", _with_bits(8), times, 1.0),
        (
            "b = 3, Gaussian teacher, 32 values",
            _with_teacher(Teacher.gaussian(1.0, 32)),
            times,
            1.0,
        ),
    ]
    rows = []
    for title, problem, at, target in named:
        answer = solve_pde(problem, at)
        seconds = _seconds(lambda p=problem, t=at: solve_pde(p, t), 3 if quick else 9)
        report(f"{title}: {seconds:.3f} s")
        rows.append(
            {
                "problem": title,
                "target": target,
                "seconds": seconds,
                "error": _distance(answer, problem, at),
                "unknowns": answer.stats["most_unknowns"],
                "steps": answer.stats["steps"],
            }
        )
    return rows


def _distance(answer: DensityTrajectory, problem: Problem, times: Sequence[float]) -> float:
    error = answer.order_parameters.generalization_error
    for case in CASES.values():
        if problem == case.problem:
            return case.error(error)
    truth = solve_pde(problem, times, rtol=1e-9).order_parameters.generalization_error
    return float(np.abs(error - truth).max() / truth.max())


def _growth(
    what: str, sizes: Sequence[int], problems: Sequence[Problem], repeats: int
) -> dict[str, Any]:
    """Time, unknowns and peak memory over a size, with slopes fitted in logarithms."""
    seconds, unknowns, memory = [], [], []
    for problem in problems:
        seconds.append(_seconds(lambda p=problem: solve_pde(p, _B3.times), repeats))
        tracemalloc.start()
        unknowns.append(solve_pde(problem, _B3.times).stats["most_unknowns"])
        memory.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        report(f"{what}: {seconds[-1]:.3f} s, {unknowns[-1]} unknowns, {memory[-1] / 1e6:.1f} MB")
    series = {"seconds": seconds, "unknowns": unknowns, "bytes": memory}
    logs = np.log(np.asarray(sizes, dtype=float))
    fitted = {key: float(np.polyfit(logs, np.log(v), 1)[0]) for key, v in series.items()}
    last = {key: float(np.log(v[-1] / v[-2]) / (logs[-1] - logs[-2])) for key, v in series.items()}
    return {"of": what, "sizes": list(sizes), **series, "slopes": fitted, "last": last}


def slopes(*, quick: bool) -> list[dict[str, Any]]:
    """Return the growth with teacher values and with levels at rtol 1e-6, on one thread."""
    values = (1, 4, 16) if quick else (1, 2, 4, 8, 16, 32, 64)
    nodes = (8, 16) if quick else (8, 16, 32, 64, 128)
    bits = (2, 4, 6) if quick else tuple(range(2, 11))
    repeats = 1 if quick else 3
    gaussian = [_with_teacher(Teacher.gaussian(1.0, n)) for n in nodes]
    return [
        _growth("teacher values", values, [_with_teacher(_confined(k)) for k in values], repeats),
        _growth("nodes of a Gaussian teacher", nodes, gaussian, repeats),
        _growth("levels", [2**b - 1 for b in bits], [_with_bits(b) for b in bits], repeats),
    ]


def two_at_once(*, quick: bool) -> dict[str, Any]:
    """Return seconds in which one thread, two threads and two processes solve many problems."""
    on_processors(2)
    problems = [replace(_B3.problem, learning_rate=0.04 + 1e-5 * i) for i in range(200)]
    problems = problems[:40] if quick else problems
    taken: dict[str, list[float]] = {"one": [], "two": [], "processes": []}
    with (
        ThreadPoolExecutor(1) as one,
        ThreadPoolExecutor(2) as two,
        ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes,
    ):
        pools = {"one": one, "two": two, "processes": processes}
        for pool in pools.values():  # everyone loads the compiled code
            list(pool.map(_solve_small, problems[:8]))
        for _ in range(3):
            for name, pool in pools.items():
                start = time.perf_counter()
                list(pool.map(_solve_small, problems))
                taken[name].append(time.perf_counter() - start)
    on_processors(1)
    return {"problems": len(problems), **{n: statistics.median(t) for n, t in taken.items()}}


def _solve_small(problem: Problem) -> float:
    return float(solve_pde(problem, _B3.times).order_parameters.m[-1])


_FIRST = """
import time
from validation.performance.cases import CASES
from fpsolve import solve_pde
print("imported", flush=True)
start = time.perf_counter()
solve_pde(CASES["fig1"].problem, CASES["fig1"].times)
print(time.perf_counter() - start)
"""


def first_solve() -> dict[str, float]:
    """Return the seconds of a first solve in a process of its own, with an empty cache.

    And those after which it says that it compiles. Modules are imported before.
    """
    on_processors(2)
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
        with subprocess.Popen(
            [sys.executable, "-c", _FIRST],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as child:
            assert child.stdout is not None
            assert child.stderr is not None
            child.stdout.readline()
            start = time.perf_counter()
            child.stderr.readline()
            said = time.perf_counter() - start
            seconds = float(child.stdout.read())
    on_processors(1)
    return {"seconds": seconds, "said": said}


def main() -> None:
    """Measure all of it and print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few sizes, few repeats")
    quick = parser.parse_args().quick
    on_processors(1)
    found = {
        "targets": targets(quick=quick),
        "scaling": slopes(quick=quick),
        "threads": two_at_once(quick=quick),
        "first": first_solve(),
    }
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
