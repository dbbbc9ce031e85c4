"""Particles against theory: histograms under densities, symbols with error bars on curves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from fpsolve.density.trajectory import DensityTrajectory
from fpsolve.errors import ParameterError
from fpsolve.macro.trajectory import MacroTrajectory
from fpsolve.particles.trajectory import ParticleTrajectory
from fpsolve.plots.density import MOST_PANELS, panel_grid, shown_indices, weight_range
from fpsolve.plots.style import COLORS, SYMBOLS, new_figure, tidy, time_axis

__all__ = ["plot_comparison", "plot_histograms", "plot_symbols"]

Curve = DensityTrajectory | MacroTrajectory

_BARS = 60
_MARKERS = "osD^vP*"
# More symbols than this hide the curve.
_MOST_SYMBOLS = 16
# More teacher values than this make one panel a thicket.
_MOST_VALUES = 6


def plot_histograms(
    density: DensityTrajectory, particles: ParticleTrajectory, *, times: object = None
) -> Figure:
    """Draw histograms of the weights with the density over them, a panel a time (paper Fig. 1).

    Parameters
    ----------
    density : DensityTrajectory
        The curves.
    particles : ParticleTrajectory
        The histograms, over all runs; times within half a step of the density's are the same.
    times : array_like, optional
        Times τ to draw, among those both have; by default all, or eight spread over them.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ParameterError
        If there is no common time, or one of `times` is not common.
    """
    pairs = _shown_pairs(density, particles, times)
    rows, columns = panel_grid(len(pairs))
    figure = new_figure(1.2 + 2.7 * columns, 0.4 + 2.6 * rows)
    _draw_histograms(figure, density, particles, pairs)
    return figure


def plot_symbols(
    particles: ParticleTrajectory,
    curves: Sequence[Curve],
    *,
    names: Sequence[str] = ("generalization_error", "m", "q", "m_psi", "q_psi", "r_psi"),
    labels: Sequence[str] | None = None,
    log_time: bool = False,
) -> Figure:
    """Draw order parameters: particles as symbols with error bars, theory as curves (paper Fig. 2).

    Parameters
    ----------
    particles : ParticleTrajectory
        The symbols: mean over runs, bars of one standard deviation between runs.
    curves : sequence of DensityTrajectory or MacroTrajectory
        The curves: solid the first, then dashed, dotted.
    names : sequence of str
        Order parameters by their Python names, a panel each.
    labels : sequence of str, optional
        Names of the curves; by default "density" or "isotropic closure".
    log_time : bool, default False
        Whether τ is on a logarithmic axis.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ParameterError
        If a name is not an order parameter, or the labels are not as many as the curves.
    """
    for name in names:
        if name not in SYMBOLS:
            raise ParameterError("names", name, f"must be among {', '.join(SYMBOLS)}")
    titles = [_title(curve) for curve in curves] if labels is None else list(labels)
    if len(titles) != len(curves):
        raise ParameterError("labels", labels, f"must be as many as the {len(curves)} curve(s)")
    rows, columns = panel_grid(len(names))
    figure = new_figure(1.2 + 2.9 * columns, 0.4 + 2.5 * rows)
    _draw_symbols(figure, particles, curves, names, titles, log_time)
    return figure


def plot_comparison(
    density: DensityTrajectory, particles: ParticleTrajectory, *, times: object = None
) -> Figure:
    """Draw histograms under the densities, and below them ε_g, m and q as symbols on curves.

    Parameters and errors as in `plot_histograms`.
    """
    pairs = _shown_pairs(density, particles, times)
    rows, columns = panel_grid(len(pairs))
    figure = new_figure(1.2 + 2.7 * max(columns, 3), 3.0 + 2.6 * rows)
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=[2.6 * rows, 2.6]).flat
    _draw_histograms(upper, density, particles, pairs)
    names = ("generalization_error", "m", "q")
    _draw_symbols(lower, particles, [density], names, [_title(density)], False)
    return figure


def _shown_pairs(
    density: DensityTrajectory, particles: ParticleTrajectory, times: object
) -> list[tuple[int, int]]:
    tolerance = 0.5 / particles.weights.shape[2] * (1 + 1e-9)
    nearest = np.abs(density.times[:, None] - particles.times).argmin(axis=1)
    common = np.abs(density.times - particles.times[nearest]) <= tolerance
    if not common.any():
        allowed = "must share a time with the density; compute both at the same times"
        raise ParameterError("particles", particles.times.tolist(), allowed)
    indices = np.flatnonzero(common)
    shown = shown_indices(density.times[indices], times, most=MOST_PANELS)
    return [(int(indices[i]), int(nearest[indices[i]])) for i in shown]


def _draw_histograms(
    figure: Figure | SubFigure,
    density: DensityTrajectory,
    particles: ParticleTrajectory,
    pairs: list[tuple[int, int]],
) -> None:
    rows, columns = panel_grid(len(pairs))
    panels = figure.subplots(rows, columns, sharex=True, squeeze=False)
    low, high = weight_range(density, [i for i, _ in pairs])
    for number, (panel, (i, j)) in enumerate(zip(panels.flat, pairs, strict=False)):
        _draw_histogram(panel, density, particles, i, j, (low, high))
        if number % columns == 0:
            panel.set_ylabel(r"$\mu_\tau(w\,|\,w^*)$")
        if number >= len(pairs) - columns:
            panel.set_xlabel("$w$")
            panel.tick_params(labelbottom=True)
    for panel in panels.flat[len(pairs) :]:
        panel.remove()
    panels.flat[0].set_xlim(low, high)
    if panels.flat[0].get_legend_handles_labels()[1]:
        panels.flat[0].legend(frameon=False, fontsize=9, handlelength=1.2)


def _draw_histogram(
    axes: Axes, density: DensityTrajectory, particles: ParticleTrajectory, i: int, j: int,
    limits: tuple[float, float],
) -> None:  # fmt: skip
    quantizer = density.problem.weight_quantizer
    if quantizer is not None:
        for threshold in quantizer.thresholds:
            if limits[0] < threshold < limits[1]:
                axes.axvline(threshold, color="0.6", linewidth=0.8, linestyle=":", zorder=0)
    values = density.problem.teacher.values
    sampled = particles.problem.teacher.values
    bars = np.linspace(*limits, _BARS + 1)
    # Of many teacher values the first, the last and some between tell the story.
    chosen = np.unique(np.linspace(0, values.size - 1, min(values.size, _MOST_VALUES)).round())
    peak = 0.0
    for number, k in enumerate(chosen.astype(int).tolist()):
        color = COLORS[number % len(COLORS)]
        weights = particles.weights[:, j][particles.teacher_weights == sampled[k]]
        if weights.size:
            counts = np.histogram(weights, bars)[0]
            heights = counts / (weights.size * np.diff(bars))
            axes.stairs(heights, bars, fill=True, color=color, alpha=0.3)
            peak = max(peak, float(heights.max()))
        label = f"$w^* = {values[k]:.3g}$" if values.size > 1 else None
        axes.plot(density.centers, density.density[i, k], color=color, lw=1.6, label=label)
        peak = max(peak, float(density.density[i, k].max()))
    axes.set_title(rf"$\tau = {density.times[i]:g}$")
    axes.set_ylim(0.0, 1.05 * peak)
    tidy(axes)


def _draw_symbols(
    figure: Figure | SubFigure, particles: ParticleTrajectory, curves: Sequence[Curve],
    names: Sequence[str], titles: Sequence[str], log_time: bool,
) -> None:  # fmt: skip
    rows, columns = panel_grid(len(names))
    panels = figure.subplots(rows, columns, sharex=True, squeeze=False)
    along = particles.dense_times.size > _MOST_SYMBOLS
    times = particles.dense_times if along else particles.times
    every = particles.dense_order_parameters if along else particles.order_parameters
    shown = np.unique(np.linspace(0, times.size - 1, min(times.size, _MOST_SYMBOLS)).astype(int))
    if log_time:
        shown = shown[times[shown] > 0]
    runs = particles.weights.shape[0]
    for number, name in enumerate(names):
        axes = panels.flat[number]
        color = COLORS[number % len(COLORS)]
        for curve, style, title in zip(curves, _styles(len(curves)), titles, strict=True):
            values = getattr(curve.order_parameters, name)
            axes.plot(curve.times, values, style, color=color, lw=1.6, label=title)
        values = getattr(every, name)[:, shown]
        bars = values.std(axis=0, ddof=1) if runs > 1 else None
        marker = _MARKERS[number % len(_MARKERS)]
        axes.errorbar(
            times[shown], values.mean(axis=0), yerr=bars, fmt=marker, color=color, ms=5,
            mfc="white", capsize=2, lw=1, label=f"{runs} run{'s' if runs > 1 else ''}",
        )  # fmt: skip
        axes.set_ylabel(SYMBOLS[name])
        if number >= len(names) - columns:
            time_axis(axes, (0.0, float(times[-1])), log_time=log_time)
            axes.tick_params(labelbottom=True)
        tidy(axes)
    panels.flat[0].legend(frameon=False, fontsize=9, handlelength=1.6)
    for panel in panels.flat[len(names) :]:
        panel.remove()


def _styles(count: int) -> list[str]:
    return [("-", "--", ":", "-.")[k % 4] for k in range(count)]


def _title(curve: Curve) -> str:
    return "density" if isinstance(curve, DensityTrajectory) else "isotropic closure"
