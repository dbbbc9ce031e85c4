"""Densities μ_τ(w|w*): one panel a time."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from fpsolve.density.trajectory import DensityTrajectory
from fpsolve.errors import ParameterError
from fpsolve.plots.style import COLORS, new_figure, tidy

__all__ = [
    "MOST_PANELS",
    "draw_density",
    "draw_panels",
    "panel_grid",
    "plot_densities",
    "shown_indices",
    "weight_range",
]

# Mass left out on either side of what a panel shows.
_TAIL = 1e-4
# More teacher values than this are told apart by a colour scale in the legend's place.
_MOST_LABELLED = 6
# More thresholds than this would be a grey wash.
_MOST_THRESHOLDS = 64
MOST_PANELS = 8
_COLUMNS = 4


def plot_densities(trajectory: DensityTrajectory, *, times: object = None) -> Figure:
    """Draw μ_τ(w|w*) against w, a panel a time, the teacher values over each other.

    Parameters
    ----------
    trajectory : DensityTrajectory
        What to draw.
    times : array_like, optional
        Times τ to draw, among those of the trajectory; by default all, or eight spread over them.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ParameterError
        If a time is not one of the trajectory's.
    """
    shown = shown_indices(trajectory.times, times, most=MOST_PANELS)
    rows, columns = panel_grid(len(shown))
    figure = new_figure(1.2 + 2.7 * columns, 0.4 + 2.6 * rows)
    draw_panels(figure, trajectory, shown)
    return figure


def draw_panels(
    figure: Figure | SubFigure,
    trajectory: DensityTrajectory,
    shown: list[int],
    *,
    behind: int | None = None,
) -> None:
    """Draw the densities at the indices `shown`, a panel each, and grey those at `behind`."""
    rows, columns = panel_grid(len(shown))
    panels = figure.subplots(rows, columns, sharex=True, squeeze=False)
    for number, (panel, index) in enumerate(zip(panels.flat, shown, strict=False)):
        if behind is not None and index != behind:
            label = rf"$\tau = {trajectory.times[behind]:g}$"
            lines = panel.plot(trajectory.centers, trajectory.density[behind].T, color="0.7", lw=1)
            lines[0].set_label(label)
        draw_density(panel, trajectory, index, legend=number == 0)
        if number % columns == 0:
            panel.set_ylabel(r"$\mu_\tau(w\,|\,w^*)$")
        if number >= len(shown) - columns:
            panel.set_xlabel("$w$")
            panel.tick_params(labelbottom=True)
    for panel in panels.flat[len(shown) :]:
        panel.remove()
    every = shown if behind is None else [behind, *shown]
    panels.flat[0].set_xlim(*weight_range(trajectory, every))


def draw_density(
    axes: Axes, trajectory: DensityTrajectory, index: int, *, legend: bool = True
) -> None:
    """Draw the densities at one time into `axes`, thresholds dotted."""
    teacher = trajectory.problem.teacher
    quantizer = trajectory.problem.weight_quantizer
    if quantizer is not None and quantizer.thresholds.size <= _MOST_THRESHOLDS:
        for threshold in quantizer.thresholds:
            axes.axvline(threshold, color="0.6", linewidth=0.8, linestyle=":", zorder=0)
    many = teacher.values.size > _MOST_LABELLED
    for k, value in enumerate(teacher.values):
        color = _shade(k, teacher.values.size) if many else COLORS[k % len(COLORS)]
        ends = k in (0, teacher.values.size - 1)
        label = f"$w^* = {value:.3g}$" if ends or not many else None
        axes.plot(
            trajectory.centers, trajectory.density[index, k], color=color, lw=1.6, label=label
        )
    axes.set_title(rf"$\tau = {trajectory.times[index]:g}$")
    axes.set_ylim(bottom=0)
    tidy(axes)
    if legend and (teacher.values.size > 1 or len(axes.get_legend_handles_labels()[1]) > 1):
        axes.legend(frameon=False, fontsize=9, handlelength=1.2)


def panel_grid(count: int) -> tuple[int, int]:
    """Return rows and columns for `count` panels."""
    columns = count if count <= _COLUMNS else math.ceil(count / math.ceil(count / _COLUMNS))
    return math.ceil(count / columns), columns


def weight_range(trajectory: DensityTrajectory, indices: list[int]) -> tuple[float, float]:
    """Return the range of w that holds all but 1e-4 of every density on either side."""
    cumulative = np.cumsum(trajectory.masses[indices], axis=-1)
    inside = ((cumulative > _TAIL) & (cumulative < 1 - _TAIL)).any(axis=(0, 1))
    first, last = np.flatnonzero(inside)[[0, -1]] if inside.any() else (0, inside.size - 1)
    low, high = trajectory.edges[first], trajectory.edges[last + 1]
    margin = 0.03 * (high - low)
    return float(low - margin), float(high + margin)


def shown_indices(available: NDArray[np.float64], times: object, *, most: int) -> list[int]:
    """Return the indices of `times` in `available`, or of at most `most` spread over them."""
    if times is None:
        count = min(most, available.size)
        spread = np.linspace(0, available.size - 1, count).round()
        return [int(index) for index in np.unique(spread)]
    indices = []
    for time in np.atleast_1d(np.asarray(times, dtype=np.float64)):
        near = np.flatnonzero(np.isclose(available, time, rtol=1e-9, atol=1e-12))
        if near.size == 0:
            listed = ", ".join(f"{t:g}" for t in available[:12])
            tail = " …" if available.size > 12 else ""
            raise ParameterError("times", float(time), f"must be one of {listed}{tail}")
        indices.append(int(near[0]))
    return indices


def _shade(k: int, count: int) -> tuple[float, float, float]:
    """From blue to vermilion along the teacher values."""
    start, end = np.array([0.0, 0.447, 0.698]), np.array([0.835, 0.369, 0.0])
    mixed = start + (end - start) * k / (count - 1)
    return float(mixed[0]), float(mixed[1]), float(mixed[2])
