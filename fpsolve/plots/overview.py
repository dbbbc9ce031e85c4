"""The densities of a solve and its generalization error in one picture (as the paper's Fig. 1)."""

from __future__ import annotations

from matplotlib.figure import Figure

from fpsolve.density.trajectory import DensityTrajectory
from fpsolve.plots.density import MOST_PANELS, draw_panels, panel_grid, shown_indices
from fpsolve.plots.order_parameters import draw_order_parameter
from fpsolve.plots.style import COLORS, SYMBOLS, new_figure, tidy

__all__ = ["plot_overview"]


def plot_overview(
    trajectory: DensityTrajectory,
    *,
    times: object = None,
    log_time: bool = False,
) -> Figure:
    """Draw μ_τ(w|w*), a panel a time, and ε_g(τ) below them.

    Parameters
    ----------
    trajectory : DensityTrajectory
        What to draw. Its initial density, if stored, is drawn grey behind the later ones.
    times : array_like, optional
        Times τ of the panels, among those of the trajectory; by default at most eight.
    log_time : bool, default False
        Whether ε_g is drawn against logarithmic τ.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ParameterError
        If a time is not one of the trajectory's.
    """
    starts = trajectory.times[0] == 0 and trajectory.times.size > 1
    later = int(starts and times is None)
    shown = shown_indices(trajectory.times[later:], times, most=MOST_PANELS)
    shown = [index + later for index in shown]
    rows, columns = panel_grid(len(shown))
    figure = new_figure(max(1.2 + 2.7 * columns, 5.0), 3.2 + 2.5 * rows)
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=[2.5 * rows, 2.8]).flat
    draw_panels(upper, trajectory, shown, behind=0 if starts else None)
    axes = lower.subplots()
    name, color = "generalization_error", COLORS[0]
    draw_order_parameter(axes, trajectory, name, color=color, log_time=log_time)
    axes.set_ylabel(SYMBOLS["generalization_error"])
    tidy(axes)
    return figure
