"""Densities μ_τ(w|w*): one panel a time."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from fpsolve.density.trajectory import DensityTrajectory
from fpsolve.errors import ParameterError
from fpsolve.plots.style import (
    COLORS,
    AxesLike,
    axes_for,
    drawn_on,
    legend_beside,
    named_classes,
    new_figure,
    spread_indices,
    tidy,
)
from fpsolve.problem.quantizer import StepQuantizer

__all__ = [
    "MOST_NAMED",
    "MOST_PANELS",
    "draw_density",
    "draw_panels",
    "draw_thresholds",
    "panel_grid",
    "plot_densities",
    "shown_indices",
    "weight_range",
]

# Mass left out on either side of what a panel shows.
_TAIL = 1e-4
# Of more teacher values than this, so many are drawn and named.
MOST_NAMED = 5
# More thresholds than this would be a grey wash.
_MOST_THRESHOLDS = 64
MOST_PANELS = 8
_COLUMNS = 4
# A panel whose mass needs less than this share of the common range gets a range of its own.
_SHARE = 0.4


def plot_densities(
    trajectory: DensityTrajectory, *, times: object = None, ax: AxesLike | None = None
) -> Figure:
    """Draw μ_τ(w|w*) against w, a panel a time, the teacher values over each other.

    Of more than five teacher values at most five are drawn, at equal steps of probability. Where
    there are several, the grey area is the density of a weight whose teacher value is not known,
    Σ_k p_k μ_τ(w|w*_k). Thresholds of the quantizer are dotted. A panel shows all but 1e-4 of every
    curve in it; of classes that run away without being drawn the grey area may be cut.

    Parameters
    ----------
    trajectory : DensityTrajectory
        What to draw (w and μ are dimensionless).
    times : array_like, shape (n,), optional
        Times τ to draw, among those of the trajectory; by default all, or eight spread over them.
    ax : matplotlib.axes.Axes or sequence of them, optional
        Where to draw, one axes a time; a new figure by default.

    Returns
    -------
    matplotlib.figure.Figure
        The new figure, or that of `ax`.

    Raises
    ------
    ParameterError
        If a time is not one of the trajectory's, or `ax` are not as many as the times.

    Examples
    --------
    >>> import fpsolve
    >>> problem = fpsolve.Problem(
    ...     weight_quantizer=fpsolve.UniformQuantizer(2, 1.0), input_quantizer=None,
    ...     learning_rate=0.1)
    >>> figure = fpsolve.plot_densities(fpsolve.solve_pde(problem, [0, 5, 20]), times=[5, 20])
    >>> [axes.get_title() for axes in figure.get_axes()]
    ['$\\\\tau = 5$', '$\\\\tau = 20$']
    """
    shown = shown_indices(trajectory.times, times, most=MOST_PANELS)
    given = axes_for(ax, len(shown), "time")
    if given is not None:
        _draw_into(given, len(shown), trajectory, shown)
        if len(given[0].get_legend_handles_labels()[1]) > 1:
            given[0].legend(frameon=False, fontsize=9, handlelength=1.2)
        return drawn_on(given[0])
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
    panels = figure.subplots(rows, columns, squeeze=False)
    for panel in panels.flat[len(shown) :]:
        panel.remove()
    _draw_into(list(panels.flat[: len(shown)]), columns, trajectory, shown, behind)
    if len(panels.flat[0].get_legend_handles_labels()[1]) > 1:
        legend_beside(panels[0, -1])


def _draw_into(
    panels: list[Axes],
    columns: int,
    trajectory: DensityTrajectory,
    shown: list[int],
    behind: int | None = None,
) -> None:
    for number, (panel, index) in enumerate(zip(panels, shown, strict=True)):
        if behind is not None and index != behind:
            label = rf"$\tau = {trajectory.times[behind]:g}$"
            lines = panel.plot(
                trajectory.centers,
                trajectory.smooth_density[behind, _named(trajectory)].T,
                color="0.7",
                lw=1,
            )
            lines[0].set_label(label)
        draw_density(panel, trajectory, index, legend=False)
        panel.set_xlim(*panel_range(trajectory, index, shown, behind))
        if number % columns == 0:
            panel.set_ylabel(r"$\mu_\tau(w\,|\,w^*)$")
        if number >= len(shown) - columns:
            panel.set_xlabel("$w$")


def draw_density(
    axes: Axes, trajectory: DensityTrajectory, index: int, *, legend: bool = True
) -> None:
    """Draw the densities at one time into `axes`, thresholds dotted, names in its legend."""
    teacher, densities = trajectory.problem.teacher, trajectory.smooth_density[index]
    draw_thresholds(axes, trajectory.problem.weight_quantizer)
    if teacher.values.size > 1:
        every = teacher.probabilities @ densities
        axes.fill_between(trajectory.centers, every, color="0.85", lw=0, label="all weights")
    for number, k in enumerate(_named(trajectory)):
        axes.plot(
            trajectory.centers,
            densities[k],
            color=COLORS[number % len(COLORS)],
            lw=1.6,
            label=f"$w^* = {teacher.values[k]:.3g}$",
        )
    frozen = trajectory.frozen[index]
    aside = f", {100 * frozen:.0f} % frozen" if frozen > 0 else ""
    axes.set_title(rf"$\tau = {trajectory.times[index]:g}${aside}")
    axes.set_ylim(bottom=0)
    tidy(axes)
    if legend and len(axes.get_legend_handles_labels()[1]) > 1:
        axes.legend(frameon=False, fontsize=9, handlelength=1.2)


def draw_thresholds(axes: Axes, quantizer: StepQuantizer | None) -> None:
    """Dot the thresholds of the weights' quantizer, and say in the legend what they are."""
    if quantizer is None or quantizer.thresholds.size > _MOST_THRESHOLDS:
        return
    for number, threshold in enumerate(quantizer.thresholds):
        label = None if number else r"threshold of $\psi$"
        axes.axvline(threshold, color="0.6", lw=0.8, ls=":", zorder=0, label=label)


def panel_grid(count: int) -> tuple[int, int]:
    """Return rows and columns for `count` panels."""
    columns = count if count <= _COLUMNS else math.ceil(count / math.ceil(count / _COLUMNS))
    return math.ceil(count / columns), columns


def weight_range(trajectory: DensityTrajectory, indices: list[int]) -> tuple[float, float]:
    """Return the range of w that holds all but 1e-4 of every curve drawn, on either side."""
    cumulative = np.cumsum(trajectory.masses[indices][:, _named(trajectory)], axis=-1)
    inside = ((cumulative > _TAIL) & (cumulative < 1 - _TAIL)).any(axis=(0, 1))
    first, last = np.flatnonzero(inside)[[0, -1]] if inside.any() else (0, inside.size - 1)
    low, high = trajectory.edges[first], trajectory.edges[last + 1]
    margin = 0.03 * (high - low)
    return float(low - margin), float(high + margin)


def shown_indices(available: NDArray[np.float64], times: object, *, most: int) -> list[int]:
    """Return the indices of `times` in `available`, or of at most `most` spread over them."""
    if times is None:
        return spread_indices(available.size, most)
    indices = []
    for time in np.atleast_1d(np.asarray(times, dtype=np.float64)):
        near = np.flatnonzero(np.isclose(available, time, rtol=1e-9, atol=1e-12))
        if near.size == 0:
            listed = ", ".join(f"{t:g}" for t in available[:12])
            tail = " …" if available.size > 12 else ""
            raise ParameterError("times", float(time), f"must be one of {listed}{tail}")
        indices.append(int(near[0]))
    return indices


def _named(trajectory: DensityTrajectory) -> list[int]:
    """Return the indices of the teacher values that are drawn and named."""
    return named_classes(trajectory.problem.teacher.probabilities, MOST_NAMED)


def panel_range(
    trajectory: DensityTrajectory, index: int, shown: list[int], behind: int | None = None
) -> tuple[float, float]:
    """Return the common range of all panels, or a panel's own where that is much narrower."""
    common = weight_range(trajectory, shown if behind is None else [behind, *shown])
    return narrower(weight_range(trajectory, [index]), common)


def narrower(own: tuple[float, float], common: tuple[float, float]) -> tuple[float, float]:
    """Return a panel's own range where it is much narrower than the common one, else that."""
    return own if own[1] - own[0] < _SHARE * (common[1] - common[0]) else common
