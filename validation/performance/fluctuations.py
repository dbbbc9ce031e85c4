"""What `fluctuations` costs, in solves of the density a time, and how far off it is.

    python -m validation.performance.fluctuations

Both are timed in turns in one process on one processor, the best of several runs each. The error
is the largest of all variances, relative to what a tolerance ten times finer gives: where a
variance is below a hundredth of its largest value, to that hundredth. It exits with 1 where a time
costs more than ten solves, or the error is above the one per cent that is promised.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

__all__ = ["main", "measured"]

# Of one time, in solves; and what the variances are promised to.
DEAREST, PROMISE = 10.0, 1e-2


def measured(repeats: int = 7) -> list[dict[str, Any]]:
    """Return, for each problem of the benchmark, seconds, cost and error."""
    import numpy as np

    import fpsolve
    from validation.performance.cases import CASES

    rows = []
    for case in CASES.values():
        problem, times = case.problem, case.times
        fine = fpsolve.fluctuations(problem, times, rtol=PROMISE / 10)
        found = fpsolve.fluctuations(problem, times)
        names = [name for name in found.names if name != "s"]
        truth = np.array([fine.variance(name) for name in names])
        off = np.array([found.variance(name) for name in names]) - truth
        scale = np.maximum(truth, 1e-2 * truth.max(axis=1, keepdims=True))
        solve, spread = np.inf, np.inf
        for _ in range(repeats):
            solve = min(solve, _seconds(lambda p=problem, t=times: fpsolve.solve_pde(p, t)))
            spread = min(spread, _seconds(lambda p=problem, t=times: fpsolve.fluctuations(p, t)))
        rows.append(
            {
                "problem": case.title,
                "times": times.size,
                "solve": solve,
                "fluctuations": spread,
                "cost": spread / times.size / solve,
                "error": float(np.abs(off / scale).max()),
            }
        )
    return rows


def _seconds(work: Callable[[], object]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> int:
    """Print a table; return whether a promise is broken."""
    # Libraries read these when they are imported.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    before = os.getloadavg()[0]
    rows = measured()
    print("| problem | times | solve, ms | fluctuations, ms | solves a time | error |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['problem']} | {row['times']} | {1e3 * row['solve']:.2f} | "
            f"{1e3 * row['fluctuations']:.1f} | {row['cost']:.1f} | {100 * row['error']:.2f} % |"
        )
    print(f"\nload average {before:.1f} before and {os.getloadavg()[0]:.1f} after")
    kept = all(row["cost"] <= DEAREST and row["error"] <= PROMISE for row in rows)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
