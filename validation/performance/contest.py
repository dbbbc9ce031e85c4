"""Who takes part, with which settings, and how each is timed."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpsolve import solve_pde
from validation.performance import monte_carlo, scipy_methods
from validation.performance.cases import CASES, Case
from validation.performance.processors import on_processors

__all__ = ["CASES", "Contestant", "contestants", "report", "run", "time_in_turns"]

Solve = Callable[[], NDArray[np.float64]]

# Seconds after which a contestant is not run again, and the most warm runs of any: with the
# settings below all of it takes some six minutes.
_ENOUGH = 2.0
_MOST_RUNS = 9
# What takes ten seconds or more, to compile or to run, takes part in this case only.
_SLOW_IN = "fig1"


@dataclass(eq=False)
class Contestant:
    """One method at one setting.

    `prepare` returns the call that is timed warm; preparing and the first call count as compiling.
    """

    method: str
    setting: str
    prepare: Callable[[], Solve]
    seconds: list[float] = field(default_factory=list)
    first: float = 0.0
    error: float = 0.0
    compiles: bool = True

    def row(self) -> dict[str, Any]:
        """Return what is reported: error, median warm seconds, seconds of compilation."""
        warm = statistics.median(self.seconds)
        return {
            "method": self.method,
            "setting": self.setting,
            "error": self.error,
            "seconds": warm,
            "fastest": min(self.seconds),
            "runs": len(self.seconds),
            "compile": max(0.0, self.first - warm),
        }


def report(line: str) -> None:
    """Say what has been done, on standard error."""
    print(line, file=sys.stderr, flush=True)


def _fpsolve(case: Case, **options: Any) -> NDArray[np.float64]:
    solution = solve_pde(case.problem, case.times, **options)
    return solution.order_parameters.generalization_error


def _own(case: Case, quick: bool) -> list[Contestant]:
    tolerances = (1e-3, 1e-6, 1e-8) if quick else (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
    counts = (500, 2000) if quick else (500, 1000, 2000, 4000, 8000)
    own = [_plain("fpsolve", f"rtol {rtol:g}", _fpsolve, case, rtol=rtol) for rtol in tolerances]
    options = {"scheme": "scharfetter-gummel", "rtol": 1e-4}
    own += [
        _plain("fpsolve, Scharfetter–Gummel", f"{n} cells", _fpsolve, case, cells=n, **options)
        for n in counts
    ]
    return own


def _plain(
    method: str, setting: str, solve: Callable[..., Any], /, *args: Any, **options: Any
) -> Contestant:
    return Contestant(method, setting, lambda: partial(solve, *args, **options))


def _scipy(case: Case, quick: bool) -> list[Contestant]:
    lsoda, arrow = scipy_methods.lsoda, scipy_methods.with_exact_jacobian
    counts = (500, 4000) if quick else (500, 1000, 2000, 4000, 8000)
    peers = [
        _plain("Scharfetter–Gummel + LSODA", f"{n} cells", lsoda, case, n, rtol=rtol)
        for n, rtol in zip(counts, np.geomspace(1e-4, 1e-5, len(counts)), strict=True)
    ]
    peers += [
        _plain(
            "the same in plain NumPy", f"{n} cells, rtol {rtol:g}",
            scipy_methods.as_written, case, n, rtol=rtol,
        )
        for n, rtol in ((4000, 1e-5), (4000, 1e-6))
    ]  # fmt: skip
    for method in ("BDF", "Radau"):
        peers += [
            _plain(
                f"Scharfetter–Gummel + {method}", f"{n} cells", arrow, case, n,
                rtol=1e-4, method=method,
            )
            for n in ((500,) if quick else (500, 2000, 8000))
        ]  # fmt: skip
    settings = ((180, 1e-5), (360, 1e-6), (720, 1e-6), (1152, 1e-7), (2304, 1e-8))
    peers += [
        _plain(
            "central flux, two meshes + LSODA", f"{n} + {2 * n} cells",
            scipy_methods.richardson, case, n, rtol=rtol,
        )
        for n, rtol in (settings[3:4] if quick else settings)
    ]  # fmt: skip
    return peers


def _py_pde(case: Case, quick: bool) -> list[Contestant]:
    from validation.performance.py_pde_peer import PyPDE

    slow = quick or case is not CASES[_SLOW_IN]
    counts = (360,) if slow else (360, 720)
    kept: dict[int, PyPDE] = {}

    def prepare(cells: int) -> Solve:
        kept[cells] = PyPDE(case, cells, tolerance=1e-6)
        return kept[cells]

    peers = [Contestant("py-pde", f"{n} cells", partial(prepare, n)) for n in counts]
    if slow:
        return peers

    def both() -> NDArray[np.float64]:
        coarse, fine = (kept[n]() for n in counts)
        return (4 * fine - coarse) / 3

    return [*peers, Contestant("py-pde", "360 + 720 cells, extrapolated", lambda: both)]


def _fipy(case: Case, quick: bool) -> list[Contestant]:
    from validation.performance import fipy_peer

    if case is not CASES[_SLOW_IN]:
        return []
    settings = ((384, 10),) if quick else ((384, 40), (1536, 60))
    peers = [
        _plain("FiPy", f"{n} cells, {s} + {2 * s} steps", fipy_peer.solve, case, n, s)
        for n, s in settings
    ]
    for peer in peers:
        peer.compiles = False
    return peers


def _monte_carlo(case: Case, quick: bool) -> list[Contestant]:
    settings = ((10_000, 1.0),) if quick else ((10_000, 1.0), (100_000, 0.5), (300_000, 0.25))
    return [
        _plain(
            "Monte Carlo", f"{n} particles, step {h:g}",
            monte_carlo.particles, case, n, step=h, seed=1,
        )
        for n, h in settings
    ]  # fmt: skip


def contestants(case: Case, *, quick: bool) -> list[Contestant]:
    """Return all that are installed."""
    found = _own(case, quick) + _scipy(case, quick) + _monte_carlo(case, quick)
    for module, make in (("pde", _py_pde), ("fipy", _fipy)):
        if find_spec(module) is None:
            report(f"{module} is not installed and does not take part")
        else:
            found += make(case, quick)
    return found


def time_in_turns(field_of: list[Contestant], case: Case, rounds: int) -> None:
    """Call each once to compile, then all in turns, those that are slow fewer times.

    Who compiles may do so on two processors; all solve on one.
    """
    calls = []
    for contestant in field_of:
        on_processors(2 if contestant.compiles else 1)
        start = time.perf_counter()
        solve = contestant.prepare()
        contestant.error = case.error(solve())
        contestant.first = time.perf_counter() - start
        if not contestant.compiles:
            contestant.seconds.append(contestant.first)
        report(f"{contestant.method}, {contestant.setting}: {contestant.first:.2f} s at first")
        calls.append(solve)
    on_processors(1)
    for _ in range(rounds):
        for contestant, solve in zip(field_of, calls, strict=True):
            if sum(contestant.seconds) < _ENOUGH:
                start = time.perf_counter()
                solve()
                contestant.seconds.append(time.perf_counter() - start)


def run(name: str, *, quick: bool) -> dict[str, Any]:
    """Return title and rows of one case."""
    case = CASES[name]
    field_of = contestants(case, quick=quick)
    time_in_turns(field_of, case, 3 if quick else _MOST_RUNS)
    return {"title": case.title, "rows": [c.row() for c in field_of]}
