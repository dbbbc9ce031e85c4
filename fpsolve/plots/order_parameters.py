"""Order parameters against time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fpsolve.density.trajectory import DensityTrajectory
from fpsolve.errors import ParameterError
from fpsolve.macro.trajectory import MacroTrajectory
from fpsolve.particles.trajectory import ParticleTrajectory
from fpsolve.plots.curves import curve_between
from fpsolve.plots.style import (
    COLORS,
    SYMBOLS,
    AxesLike,
    axes_for,
    drawn_on,
    new_figure,
    tidy,
    time_axis,
)
from fpsolve.reduction import ORDER_PARAMETER_NAMES

__all__ = ["draw_order_parameter", "plot_order_parameters"]

Trajectory = DensityTrajectory | ParticleTrajectory | MacroTrajectory

# Up to this many times each is marked, so that a coarse curve is not taken for a fine one.
_MOST_MARKED = 40


def plot_order_parameters(
    trajectory: Trajectory,
    *,
    names: Sequence[str] = ("generalization_error", "m", "q", "m_psi", "q_psi", "r_psi"),
    log_time: bool = False,
    ax: AxesLike | None = None,
) -> Figure:
    """Draw order parameters against τ, ε_g in a panel of its own.

    Parameters
    ----------
    trajectory : DensityTrajectory, MacroTrajectory or ParticleTrajectory
        What to draw; for particles the mean over runs, with its standard error as a band.
    names : sequence of str
        Order parameters by their Python names.
    log_time : bool, default False
        Whether τ is on a logarithmic axis (times of 0 are left out then).
    ax : matplotlib.axes.Axes, optional
        Where to draw them all, dimensionless against dimensionless; a new figure by default.

    Returns
    -------
    matplotlib.figure.Figure
        The new figure, or that of `ax`.

    Raises
    ------
    ParameterError
        If a name is not an order parameter, or no time is left to draw.

    Examples
    --------
    >>> import fpsolve
    >>> problem = fpsolve.Problem(
    ...     weight_quantizer=fpsolve.UniformQuantizer(2, 1.0), input_quantizer=None,
    ...     learning_rate=0.1)
    >>> figure = fpsolve.plot_order_parameters(
    ...     fpsolve.solve_ode(problem, [0, 5, 20]), names=["m", "q"])
    >>> [text.get_text() for text in figure.get_axes()[0].get_legend().get_texts()]
    ['$m$', '$q$']
    """
    for name in names:
        if name not in ORDER_PARAMETER_NAMES:
            allowed = f"must be among {', '.join(ORDER_PARAMETER_NAMES)}"
            raise ParameterError("names", name, allowed)
    error = [name for name in names if name == "generalization_error"]
    others = [name for name in names if name != "generalization_error"]
    groups = [group for group in (error, others) if group]
    given = axes_for(ax, 1, "picture")
    if given is None:
        figure = new_figure(5.0 * len(groups), 3.4)
        panels = list(figure.subplots(1, len(groups), squeeze=False).flat)
    else:
        figure, panels, groups = drawn_on(given[0]), given, [list(names)]
    for axes, group in zip(panels, groups, strict=True):
        for position, name in enumerate(group):
            color = COLORS[position % len(COLORS)]
            draw_order_parameter(axes, trajectory, name, color=color, log_time=log_time)
        if len(group) > 1:
            axes.legend(frameon=False, ncols=2)
            axes.set_ylabel("order parameters")
        else:
            axes.set_ylabel(SYMBOLS[group[0]])
        tidy(axes)
    return figure


def draw_order_parameter(
    axes: Axes,
    trajectory: Trajectory,
    name: str,
    *,
    color: str,
    line: str = "-",
    marked: bool = True,
    log_time: bool = False,
) -> None:
    """Draw one order parameter into `axes`; its times are marked if `marked` and not too many."""
    times, values = trajectory.times, getattr(trajectory.order_parameters, name)
    shown = times > 0 if log_time else np.ones(times.size, dtype=bool)
    if not shown.any():
        raise ParameterError("log_time", True, "needs a time > 0 to draw")
    times, values = times[shown], values[..., shown]
    marker = "o" if marked and times.size <= _MOST_MARKED else ""
    style: dict[str, Any] = {"color": color, "ls": line, "lw": 1.6, "label": SYMBOLS[name]}
    style.update(marker=marker, ms=3.5, clip_on=False)  # whole markers at the ends
    if not isinstance(trajectory, ParticleTrajectory):
        along, curve = curve_between(trajectory, name, log_time=log_time)
        if along.size > trajectory.times.size:
            axes.plot(along, curve, color=color, ls=line, lw=1.6, label=SYMBOLS[name])
            style.update(ls="", label=None)
            times, values = (times, values) if marker else (times[:0], values[:0])
        if times.size:
            axes.plot(times, values, **style)
        times = trajectory.times[shown]
    else:
        mean = values.mean(axis=0)
        axes.plot(times, mean, **style)
        if len(values) > 1:
            spread = values.std(axis=0, ddof=1) / np.sqrt(len(values))
            axes.fill_between(times, mean - spread, mean + spread, color=color, alpha=0.25, lw=0)
    time_axis(axes, (float(times[0]), float(times[-1])), log_time=log_time)
