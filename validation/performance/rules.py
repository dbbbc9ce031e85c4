"""What training rules cost: `python -m validation.performance.rules [--quick]`.

Three questions, in one run on one thread: whether an option that changes nothing costs anything,
what a schedule or a surrogate costs, and how time grows with the classes of coordinates. Solves
that are compared take turns, and what counts is processor time, of the quickest: a busy machine
slows all alike.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from dataclasses import replace

import numpy as np

from fpsolve import Problem, Schedule, Surrogate, Teacher, solve_pde
from validation.performance.cases import CASES

__all__ = ["main"]

_TIMES = np.array([0.0, 10.0, 25.0, 50.0, 100.0])
# Bounds on times relative to the problem without the option, and on the growth with classes.
_NOTHING, _SCHEDULE, _SLOPE = 1.02, 1.5, 1.1
_FAR = 1e6


def _quickest(problems: dict[str, Problem], rounds: int) -> dict[str, float]:
    """Seconds of the quickest of many solves of each, in turns."""
    best = dict.fromkeys(problems, math.inf)
    order: list[str] = list(problems)
    for problem in problems.values():
        solve_pde(problem, _TIMES)
    for i in range(rounds):
        # Whoever comes first does so in turns too.
        for name in order[i % len(order) :] + order[: i % len(order)]:
            start = time.process_time()
            solve_pde(problems[name], _TIMES)
            best[name] = min(best[name], time.process_time() - start)
    return best


def _options(base: Problem) -> dict[str, Problem]:
    """The same training, said with options that change nothing."""
    eta = base.learning_rate
    assert isinstance(eta, float)
    return {
        "no options": base,
        "Schedule.constant": replace(base, learning_rate=Schedule.constant(eta)),
        "ridge, Schedule.constant": replace(base, ridge=Schedule.constant(float(base.ridge))),  # type: ignore[arg-type]
        "noise, Schedule.constant": replace(base, noise_variance=Schedule.constant(0.0)),
        "momentum for rate": replace(base, momentum=0.5, learning_rate=0.5 * eta),
    }


def _schedules(base: Problem) -> dict[str, Problem]:
    """Rates that fall from half as much again to half over the horizon, and other rules."""
    eta = base.learning_rate
    assert isinstance(eta, float)
    end = float(_TIMES[-1])
    return {
        "constant rate": base,
        "linear": replace(
            base, learning_rate=Schedule.linear(1.5 * eta, 0.5 * eta, duration=end)
        ),
        "cosine": replace(
            base, learning_rate=Schedule.cosine(1.5 * eta, 0.5 * eta, duration=end)
        ),
        "exponential": replace(
            base, learning_rate=Schedule.exponential(1.5 * eta, rate=math.log(3) / end)
        ),
        "ridge, linear": replace(base, ridge=Schedule.linear(0.5, 1.5, duration=end)),
        "leaky surrogate beyond all weights": replace(base, surrogate=Surrogate(_FAR, 0.5)),
        "noise, linear": replace(base, noise_variance=Schedule.linear(0.1, 0.0, duration=end)),
    }  # fmt: skip


def _classes(count: int) -> Teacher:
    """Classes that each cost about the same: no threshold lets them escape."""
    values = 0.9 * (2 * np.arange(count) + 1 - count) / count + 0.05
    return Teacher(values, np.full(count, 1 / count), np.linspace(0.8, 1.25, count))


def _told(title: str, found: dict[str, float], bound: float, *, free: int = 1) -> bool:
    base = next(iter(found.values()))
    print(f"\n{title}: at most {bound:g}")
    good = True
    for i, (name, seconds) in enumerate(found.items()):
        ratio = seconds / base
        verdict = "" if i < free else "holds" if ratio <= bound else "too slow"
        good &= verdict != "too slow"
        print(f"  {name:36} {1e3 * seconds:8.2f} ms  {ratio:6.3f}  {verdict}")
    return good


def main(arguments: list[str] | None = None) -> int:
    """Print the three tables; return 1 if a bound does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    quick = parser.parse_args(arguments).quick
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    base = replace(CASES["b3"].problem, learning_rate=0.04)
    rounds = 20 if quick else 200
    good = _told("An option that changes nothing", _quickest(_options(base), rounds), _NOTHING)
    rounds = 10 if quick else 60
    good &= _told("A schedule or a surrogate", _quickest(_schedules(base), rounds), _SCHEDULE)
    sizes = (1, 4, 16) if quick else (1, 2, 4, 8, 16, 32)
    growing = {str(k): replace(base, teacher=_classes(k)) for k in sizes}
    found = _quickest(growing, 3 if quick else 7)
    slope = float(np.polyfit(np.log(sizes), np.log(list(found.values())), 1)[0])
    print(f"\nClasses of coordinates: slope {slope:.3f}, at most {_SLOPE:g}")
    for name, seconds in found.items():
        print(f"  {name:>4} {1e3 * seconds:8.2f} ms")
    return 0 if good and slope <= _SLOPE else 1


if __name__ == "__main__":
    raise SystemExit(main())
