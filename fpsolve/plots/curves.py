"""Order parameters between the requested times, as the solver's own steps know them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

if TYPE_CHECKING:
    from fpsolve.density.trajectory import DensityTrajectory
    from fpsolve.macro.trajectory import MacroTrajectory

__all__ = ["curve_between"]

Array = NDArray[np.float64]

# As many as a figure has pixels to tell apart.
_POINTS = 600
# Times that differ by less than rounding are the same step.
_SAME = 1e-9


def curve_between(
    trajectory: DensityTrajectory | MacroTrajectory, name: str, *, log_time: bool = False
) -> tuple[Array, Array]:
    """Return times and values of an order parameter, close enough to draw as a smooth line.

    They run through the requested times and the solver's own steps, and between these along cubics
    that keep their shape. Where no more than the requested times are known, they are returned.
    """
    times, values = trajectory.times, getattr(trajectory.order_parameters, name)
    along = getattr(trajectory.dense_order_parameters, name)
    if trajectory.dense_times.size <= times.size:
        return times, values
    known = np.concatenate([times, trajectory.dense_times])
    order = np.argsort(known, kind="stable")
    known, reached = known[order], np.concatenate([values, along])[order]
    kept = np.diff(known, prepend=-np.inf) > _SAME * known[-1]
    known, reached = known[kept], reached[kept]
    positive = known[known > 0]
    spread = np.linspace(known[0], known[-1], _POINTS)
    if log_time:
        first = times[times > 0][0] if (times > 0).any() else positive[0]
        spread = np.geomspace(min(first, positive[-1]), positive[-1], _POINTS)
    inside = (known >= spread[0]) & (known <= spread[-1])
    points = np.unique(np.concatenate([spread, known[inside]]))
    return points, PchipInterpolator(known, reached)(points)
