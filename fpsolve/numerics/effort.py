"""How much work a solve has ahead, and whether that is so much that it should not begin."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fpsolve.numerics import kernels

__all__ = [
    "ATTACH_WORK", "LIMIT", "PATH_WORK", "REFRESH_WORK", "WORK_A_SECOND",
    "effort_ahead", "first_look", "how_long",
]  # fmt: skip

# Work is counted in tries of a step times unknowns, which count more the more there are, so that it
# is the same on every machine. A busy one does so much in a second, and what is meant to be enough
# at rtol 1e-6 is 19 of them.
WORK_A_SECOND = 1e7
LIMIT = 19.0 * WORK_A_SECOND
# Work, fixed and an unknown, of coefficients that are evaluated anew outside of compiled code.
REFRESH_WORK = (3500.0, 0.5)
# Of finding the paths of led classes, fixed and a class; and of bringing one back to the lattice.
PATH_WORK = (10_000.0, 200.0)
ATTACH_WORK = 30_000.0
# The first look at how far a solve has come, and by how much the work has grown at each next one.
# A second may be no more than a few steps of a large mesh, which tell nothing of what follows.
_FIRST = 1.0 * WORK_A_SECOND
_FIRST_TRIES = 8
_GROWTH = 1.3
# Early estimates may be far off: after the first second they have to exceed the limit by this
# factor, later by less and less; what has been done ends it at the last.
_FAR, _POWER, _NEAR = 12.0, 0.8, 1.0
# What rounding makes of times, relative to them, with a margin.
_BLUR = 1e-12
# A tighter tolerance may cost so much more.
_TOLERANCE, _RISE = 1e-6, 0.3


def effort_ahead(
    clock: NDArray[np.float64], horizon: float, rtol: float, pace: float = 0.0
) -> float:
    """Return the work of a whole solve if it is far too much, 0 if it may go on.

    Parameters
    ----------
    clock : ndarray
        That of the solver, in which the looks are kept, so that a resumed run decides alike.
    horizon : float
        Where the solve is to end (dimensionless).
    rtol : float
        Its tolerance.
    pace : float
        Time that the next step makes of a unit of work.
    """
    work, time = float(clock[kernels.WORK]), float(clock[kernels.TIME])
    tries = first_look(0.0, int(clock[kernels.MOST_UNKNOWNS]))
    if work < max(clock[kernels.NEXT_LOOK], _FIRST / _GROWTH**2, tries):
        return 0.0
    clock[kernels.NEXT_LOOK] = _GROWTH * work
    looks = clock[kernels.LOOKS : kernels.LOOKS + 4]
    before = looks.tolist()
    looks[:] = [before[2], before[3], work, time]
    if before[0] == 0.0:
        return 0.0
    path = [(before[0], before[1]), (before[2], before[3]), (work, time)]
    # What lies behind may have been an event: the next step may be far longer than those before.
    total = work + min(_work_left(path, horizon), (horizon - time) / max(pace, 1e-300))
    limit = LIMIT * max(1.0, (_TOLERANCE / rtol) ** _RISE)
    far = max(_FAR * (_FIRST / work) ** _POWER, _NEAR)
    return total if total > far * limit or work > _NEAR * limit else 0.0


def first_look(work: float, unknowns: int) -> float:
    """Work at which to look first, after so much that a start has taken."""
    return work + _FIRST_TRIES * kernels.work_of(float(unknowns))


def _work_left(looks: list[tuple[float, float]], horizon: float) -> float:
    """The least work that the pace of the last two stretches lets expect.

    Either time goes on to grow by the same factor for the same work, or the pace itself does.
    """
    (w0, t0), (w1, t1), (w2, t2) = looks
    left, spent = horizon - t2, w2 - w0
    if left <= 0.0:
        return 0.0
    if not t2 - t0 > _BLUR * t2:
        # Steps are lost in the rounding of the time, which does not tell how they grow.
        return 0.0
    if not t2 > t1 or not t1 > t0:
        # Not even one step in a stretch: nothing is known of the next ones.
        return left / max(t2 - t0, 1e-300) * spent
    by_factor = math.log(horizon / t2) / math.log(t2 / t0) * spent if t0 > 0.0 else math.inf
    first, second = (t1 - t0) / (w1 - w0), (t2 - t1) / (w2 - w1)
    steady = left / second
    gain = math.log(second / first) / (0.5 * spent)
    if gain > 0.0:
        # The pace is second·exp(gain·work).
        steady = math.log1p(left * gain / second) / gain
    return min(by_factor, steady)


def how_long(work: float) -> str:
    """Work as a time on a usual machine, in words."""
    seconds = work / WORK_A_SECOND
    for size, name in ((86400.0 * 365, "years"), (86400.0, "days"), (3600.0, "hours")):
        if seconds >= 2 * size:
            return f"{seconds / size:.2g} {name}" if seconds < 1e4 * size else "thousands of years"
    return f"{seconds / 60.0:.2g} minutes" if seconds >= 120.0 else f"{seconds:.2g} seconds"
