"""The figure of two solves: what the explorer shows, and what is kept beside it."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from fpsolve.density.trajectory import DensityTrajectory
from fpsolve.plots.density import draw_thresholds
from fpsolve.plots.style import COLORS, new_figure, tidy

__all__ = ["side_by_side"]

_POINTS = 1201
# Share of the mass left out on either side.
_TAIL = 1e-3


def side_by_side(shown: DensityTrajectory, kept: DensityTrajectory, index: int) -> Figure:
    """Draw the densities of both at requested time number `index`, and both errors."""
    figure = new_figure(9.6, 3.6)
    left, right = figure.subplots(1, 2)
    draw_thresholds(left, shown.problem.weight_quantizer)
    both = ((shown, "shown", {"color": COLORS[0]}), (kept, "kept", {"color": "0.45", "ls": "-."}))
    times = [float(result.times[index]) for result, _, _ in both]
    reach = [r.quantile([_TAIL, 1 - _TAIL], t) for (r, _, _), t in zip(both, times, strict=True)]
    low, high = np.min(reach), np.max(reach)
    room = 0.05 * (high - low) or 0.5
    w = np.linspace(low - room, high + room, _POINTS)
    for (result, name, style), time in zip(both, times, strict=True):
        at = rf"{name}, $\tau = {time:.4g}$"
        left.plot(w, result.pdf(w, time), lw=1.6, label=at, **style)
        error = result.dense_order_parameters.generalization_error
        right.plot(result.dense_times, error, lw=1.6, label=name, **style)
    left.set(xlabel="$w$", ylabel=r"$\mu_\tau(w)$", ylim=(0, None))
    right.set(xlabel=r"$\tau$", ylabel=r"$\varepsilon_g$")
    for axes in (left, right):
        tidy(axes)
        axes.legend(frameon=False, fontsize=9, handlelength=1.6)
    return figure
