"""What a sweep costs beside its solves, here and at the size of a cluster.

    python -m validation.performance.sweeps [overhead | efficiency | cluster]

`overhead`: microseconds a point for a solver that does nothing, and 1000 stationary states.
`efficiency`: 1000 `solve_pde` points on two workers against two independent processes that share
them out beforehand, one after the other in the same run. `cluster`: the parts of a diagram of 10⁶
points on 1000 cores, measured one by one, put together, and simulated over 10⁵ points.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fpsolve import Problem, UniformQuantizer, solve_pde, stationary_states, sweep
from fpsolve.sweeps.answer import answer_of
from fpsolve.sweeps.axes import Axes
from fpsolve.sweeps.batch import Outcome, pack, solve_batch, unpack
from fpsolve.sweeps.folder import Folder

TIMES = np.linspace(0.0, 60.0, 20)
RTOL = 1e-4
AXES = {"learning_rate": np.linspace(0.02, 0.5, 40), "ridge": np.linspace(0.5, 1.5, 25)}
# Parts of the large diagram.
POINTS, CORES = 1_000_000, 1000


def base() -> Problem:
    """Return the problem that is varied."""
    return Problem(
        weight_quantizer=UniformQuantizer(2, 1.0),
        input_quantizer=UniformQuantizer(3, 1.0),
        learning_rate=0.04,
        ridge=1.0,
    )


def stub(problem: Problem, seconds: float = 0.0) -> dict[str, Any]:
    """Answer as large as that of `solve_pde` at twenty times, for nothing."""
    if seconds:
        time.sleep(seconds)
    return {name: np.full(20, problem.ridge) for name in "abcdefg"}


def timed(label: str, points: int, call: Callable[[], Any]) -> float:
    """Print and return the seconds of a call."""
    start, used = time.perf_counter(), time.process_time()
    call()
    seconds, used = time.perf_counter() - start, time.process_time() - used
    each = f"{1e6 * seconds / points:6.0f} µs a point, {1e6 * used / points:6.0f} of this processor"
    print(f"{label:<32}{seconds:8.2f} s {each}", flush=True)
    return seconds


def overhead() -> None:
    """Measure a sweep of a solver that does nothing."""
    many = {"learning_rate": np.linspace(0.02, 0.5, 200), "ridge": np.linspace(0.5, 1.5, 100)}
    count = 20_000
    timed("stub, this process", count, lambda: sweep(base(), many, stub, workers=1))
    timed("stub, two processes", count, lambda: sweep(base(), many, stub, workers=2))
    with tempfile.TemporaryDirectory() as folder:
        kept = {"workers": 2, "store": folder}
        timed("stub, two processes, store", count, lambda: sweep(base(), many, stub, **kept))
        timed("the same again: all is there", count, lambda: sweep(base(), many, stub, **kept))
    stationary_states(base())
    grid = Axes.of(base(), AXES)

    def bare() -> None:
        for index in grid.indices():
            for state in stationary_states(grid.problem(index)):
                _ = state.order_parameters

    timed("1000 stationary states, a loop", 1000, bare)
    timed("1000 stationary states, a sweep", 1000, lambda: sweep(base(), AXES, stationary_states))


_HALF = """
import sys, numpy as np
from validation.performance.sweeps import AXES, RTOL, TIMES, base
from fpsolve import solve_pde
from fpsolve.sweeps.axes import Axes
grid = Axes.of(base(), AXES)
for index in list(grid.indices())[int(sys.argv[1])::2]:
    solve_pde(grid.problem(index), TIMES, rtol=RTOL)
"""
_WHOLE = """
from validation.performance.sweeps import AXES, RTOL, TIMES, base
from fpsolve import solve_pde, sweep
assert not sweep(base(), AXES, solve_pde, workers=2, times=TIMES, rtol=RTOL).errors
"""


def efficiency() -> None:
    """Compare two workers of a sweep with two independent processes, start-up included in both.

    In the order A B B A, so that a machine that slows down meanwhile slows both.
    """
    solve_pde(base(), TIMES, rtol=RTOL)  # whoever comes first must not be the one that compiles
    contest = {"two independent processes": [[_HALF, "0"], [_HALF, "1"]]}
    contest["a sweep with two workers"] = [[_WHOLE]]
    seconds = dict.fromkeys(contest, 0.0)
    for name in [*contest, *reversed(contest)]:
        start = time.perf_counter()
        running = [subprocess.Popen([sys.executable, "-c", *command]) for command in contest[name]]
        assert all(process.wait() == 0 for process in running)
        seconds[name] += time.perf_counter() - start
        print(f"{name:<28}{time.perf_counter() - start:8.2f} s", flush=True)
    first, second = seconds.values()
    print(f"efficiency: {first / second:.3f}")


_ONE = """
from validation.performance.sweeps import RTOL, TIMES, base
from fpsolve import solve_pde
solve_pde(base(), TIMES, rtol=RTOL)
"""


class _Asleep:
    """A thousand workers that sleep for as long as a batch would take, then answer a stub."""

    def __init__(self, cores: int, seconds: float) -> None:
        self._max_workers = cores
        self._threads = ThreadPoolExecutor(cores)
        self._seconds = seconds
        self.batches = self._named = 0

    def submit(self, call: Callable[..., Any], /, *arguments: Any) -> Any:
        self.batches += 1
        return self._threads.submit(self._run, *arguments)

    def _run(self, question: bytes, points: list[Any]) -> dict[str, Any]:
        time.sleep(self._seconds * len(points))
        answer = unpack(solve_batch(question, points[:1]))[0].answer
        self._named += len(points)
        keys = [f"{self._named - i:032d}" for i in range(len(points))]
        return pack([Outcome(answer, seconds=self._seconds, key=key) for key in keys])


def simulation(points: int = 100_000, cores: int = CORES, seconds: float = 0.1) -> float:
    """Sweep a stub over sleeping workers and return the efficiency of the dispatcher."""
    axes = {
        "learning_rate": np.linspace(0.02, 0.5, points // 100),
        "ridge": np.linspace(0.5, 1.5, 100),
    }
    asleep = _Asleep(cores, seconds)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        result = sweep(base(), axes, stub, executor=asleep, store=folder)
        wall = time.perf_counter() - start
    assert not result.errors
    ideal = points * seconds / cores
    told = f"{points} points of {seconds} s on {cores} sleeping workers"
    print(f"{told}: {wall:.1f} s in {asleep.batches} batches, ideal {ideal:.1f} s")
    print(f"efficiency {ideal / wall:.2f}; {1e6 * (wall - ideal) / points:.0f} µs a point beside")
    return ideal / wall


def cluster() -> None:
    """Measure what a large diagram needs, and say what bounds it."""
    solve_pde(base(), TIMES, rtol=RTOL)
    start = time.perf_counter()
    for rate in AXES["learning_rate"]:
        solve_pde(replace(base(), learning_rate=rate), TIMES, rtol=RTOL)
    point = (time.perf_counter() - start) / AXES["learning_rate"].size
    print(f"one solve_pde point: {1e3 * point:.1f} ms")
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", _ONE], check=True)
    load = time.perf_counter() - start
    print(f"start of a worker and its first point, compiled code on disk: {load:.2f} s")
    packed = pack([Outcome(answer_of(stub(base())), seconds=1e-3)] * 1000)
    with tempfile.TemporaryDirectory() as name:
        folder = Folder(name)
        start = time.perf_counter()
        for batch in range(20):
            folder.keep({**packed, "key": np.array([f"{batch:016d}{i:016d}" for i in range(1000)])})
        keep = (time.perf_counter() - start) / 20
        start = time.perf_counter()
        assert len(folder.known()) == 20_000
        read = (time.perf_counter() - start) / 20
        size = sum(f.stat().st_size for f in Path(name).iterdir()) / 20_000
    print(f"a file of 1000 points: written {1e3 * keep:.1f} ms, read {1e3 * read:.1f} ms")
    print(f"{size:.0f} bytes a point, {size * POINTS / 1e9:.2f} GB for {POINTS} points")
    beside = simulation()
    print(f"dispatcher: {beside:.2f} of the ideal at 0.1 s a point")
    solving = POINTS * point / CORES
    files = POINTS / 1000
    print(
        f"estimate for {POINTS} points on {CORES} cores: {solving:.0f} s solving, {load:.1f} s "
        f"start, {files * keep:.0f} s writing and {files * read:.0f} s reading {files:.0f} files "
        "in one process"
    )


if __name__ == "__main__":
    for chosen in sys.argv[1:] or ["overhead", "efficiency", "cluster"]:
        {"overhead": overhead, "efficiency": efficiency, "cluster": cluster}[chosen]()
