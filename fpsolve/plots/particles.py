"""Particles and theory: histograms under densities, symbols with error bars on curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fpsolve.comparison.pair import check_pair
from fpsolve.density.trajectory import DensityTrajectory
from fpsolve.errors import ParameterError
from fpsolve.macro.trajectory import MacroTrajectory
from fpsolve.particles.trajectory import ParticleTrajectory
from fpsolve.plots.curves import curve_between
from fpsolve.plots.density import (
    MOST_NAMED,
    MOST_PANELS,
    draw_thresholds,
    narrower,
    panel_grid,
    panel_range,
    shown_indices,
)
from fpsolve.plots.style import (
    COLORS,
    SYMBOLS,
    AxesLike,
    axes_for,
    drawn_on,
    legend_beside,
    named_classes,
    new_figure,
    spread_indices,
    tidy,
    time_axis,
)

__all__ = ["plot_comparison", "plot_histograms", "plot_symbols", "plot_weights"]

Curve = DensityTrajectory | MacroTrajectory

_BARS = 60
_MARKERS = "osD^vP*"
# More symbols than this hide the curve.
_MOST_SYMBOLS = 16
# Share of the weights left out on either side of a histogram.
_TAIL = 1e-4


def plot_weights(
    particles: ParticleTrajectory, *, times: object = None, ax: AxesLike | None = None
) -> Figure:
    """Draw histograms of simulated weights, a panel a time, a colour a teacher value.

    Parameters
    ----------
    particles : ParticleTrajectory
        The weights, of all runs together (dimensionless).
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
    >>> particles = fpsolve.simulate_ste(problem, [0, 5], dimension=100, runs=2, seed=1)
    >>> len(fpsolve.plot_weights(particles).get_axes())
    2
    """
    shown = shown_indices(particles.times, times, most=MOST_PANELS)
    return _draw_histograms(None, particles, [(None, j) for j in shown], ax)


def plot_histograms(
    density: DensityTrajectory,
    particles: ParticleTrajectory,
    *,
    times: object = None,
    ax: AxesLike | None = None,
) -> Figure:
    """Draw histograms of the weights with the density over them, a panel a time (paper Fig. 1).

    Parameters
    ----------
    density : DensityTrajectory
        The curves.
    particles : ParticleTrajectory
        The histograms, over all runs; times within half a step of the density's are the same.
    times : array_like, shape (n,), optional
        Times τ to draw, among those both have; by default all, or eight spread over them.
    ax : matplotlib.axes.Axes or sequence of them, optional
        Where to draw, one axes a time; a new figure by default (everything is dimensionless).

    Returns
    -------
    matplotlib.figure.Figure
        The new figure, or that of `ax`.

    Raises
    ------
    ParameterError
        If there is no common time, one of `times` is not common, or `ax` are not as many.

    Examples
    --------
    >>> import fpsolve
    >>> problem = fpsolve.Problem(
    ...     weight_quantizer=fpsolve.UniformQuantizer(2, 1.0), input_quantizer=None,
    ...     learning_rate=0.1)
    >>> density = fpsolve.solve_pde(problem, [0, 5])
    >>> particles = fpsolve.simulate_ste(problem, [0, 5], dimension=100, runs=2, seed=1)
    >>> len(fpsolve.plot_histograms(density, particles, times=[5]).get_axes())
    1
    """
    return _draw_histograms(density, particles, _shown_pairs(density, particles, times), ax)


def plot_symbols(
    particles: ParticleTrajectory,
    curves: Sequence[Curve],
    *,
    names: Sequence[str] = ("generalization_error", "m", "q", "m_psi", "q_psi", "r_psi"),
    labels: Sequence[str] | None = None,
    log_time: bool = False,
    ax: AxesLike | None = None,
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
    ax : matplotlib.axes.Axes or sequence of them, optional
        Where to draw, one axes a name; a new figure by default (everything is dimensionless).

    Returns
    -------
    matplotlib.figure.Figure
        The new figure, or that of `ax`.

    Raises
    ------
    ParameterError
        If a name is not an order parameter, the labels are not as many as the curves, or `ax` not
        as many as the names.

    Examples
    --------
    >>> import fpsolve
    >>> problem = fpsolve.Problem(
    ...     weight_quantizer=fpsolve.UniformQuantizer(2, 1.0), input_quantizer=None,
    ...     learning_rate=0.1)
    >>> particles = fpsolve.simulate_ste(problem, [0, 5], dimension=100, runs=2, seed=1)
    >>> curve = fpsolve.solve_ode(problem, range(6))
    >>> len(fpsolve.plot_symbols(particles, [curve], names=["m", "q"]).get_axes())
    2
    """
    for name in names:
        if name not in SYMBOLS:
            raise ParameterError("names", name, f"must be among {', '.join(SYMBOLS)}")
    titles = [_title(curve) for curve in curves] if labels is None else list(labels)
    if len(titles) != len(curves):
        raise ParameterError("labels", labels, f"must be as many as the {len(curves)} curve(s)")
    given = axes_for(ax, len(names), "order parameter")
    if given is None:
        rows, columns = panel_grid(len(names))
        figure = new_figure(1.2 + 2.9 * columns, 0.4 + 2.5 * rows)
        given = _grid(figure, len(names))
    _draw_symbols(given, particles, curves, names, titles, log_time)
    return drawn_on(given[0])


def plot_comparison(
    density: DensityTrajectory,
    particles: ParticleTrajectory,
    *,
    times: object = None,
    ax: AxesLike | None = None,
) -> Figure:
    """Draw histograms under the densities, and below them ε_g, m and q as symbols on curves.

    Parameters
    ----------
    density : DensityTrajectory
        The curves (everything is dimensionless).
    particles : ParticleTrajectory
        The histograms, over all runs; times within half a step of the density's are the same.
    times : array_like, shape (n,), optional
        Times τ of the histograms, among those both have; by default all, or eight of them.
    ax : sequence of matplotlib.axes.Axes, optional
        Where to draw, one axes a time and three more, for ε_g, m and q; a new figure by default.

    Returns
    -------
    matplotlib.figure.Figure
        The new figure, or that of `ax`.

    Raises
    ------
    ParameterError
        If there is no common time, one of `times` is not common, or `ax` are not as many.

    Examples
    --------
    >>> import fpsolve
    >>> problem = fpsolve.Problem(
    ...     weight_quantizer=fpsolve.UniformQuantizer(2, 1.0), input_quantizer=None,
    ...     learning_rate=0.1)
    >>> density = fpsolve.solve_pde(problem, [0, 5])
    >>> particles = fpsolve.simulate_ste(problem, [0, 5], dimension=100, runs=2, seed=1)
    >>> len(fpsolve.plot_comparison(density, particles).get_axes())
    5
    """
    pairs = _shown_pairs(density, particles, times)
    names = ("generalization_error", "m", "q")
    given = axes_for(ax, len(pairs) + len(names), "time and one an order parameter")
    if given is not None:
        _draw_histograms(density, particles, pairs, given[: len(pairs)])
        panels = given[len(pairs) :]
        _draw_symbols(panels, particles, [density], names, [_title(density)], False)
        return drawn_on(given[0])
    rows, columns = panel_grid(len(pairs))
    figure = new_figure(1.2 + 2.7 * max(columns, 3), 3.0 + 2.6 * rows)
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=[2.6 * rows, 2.6]).flat
    _draw_histograms(density, particles, pairs, _grid(upper, len(pairs)), columns)
    _draw_symbols(_grid(lower, 3), particles, [density], names, [_title(density)], False)
    return figure


def _grid(figure: Any, count: int) -> list[Axes]:
    """Return `count` panels of a figure, left to right, top to bottom."""
    panels = figure.subplots(*panel_grid(count), squeeze=False).flat
    for panel in panels[count:]:
        panel.remove()
    return list(panels[:count])


def _shown_pairs(
    density: DensityTrajectory, particles: ParticleTrajectory, times: object
) -> list[tuple[int | None, int]]:
    check_pair(density, particles)
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
    density: DensityTrajectory | None,
    particles: ParticleTrajectory,
    pairs: Sequence[tuple[int | None, int]],
    ax: AxesLike | None,
    columns: int = 1,
) -> Figure:
    panels = axes_for(ax, len(pairs), "time")
    if panels is None:
        rows, columns = panel_grid(len(pairs))
        panels = _grid(new_figure(1.2 + 2.7 * columns, 0.4 + 2.6 * rows), len(pairs))
    drawn = [i for i, _ in pairs if i is not None]
    common = _spread(particles, [j for _, j in pairs])
    for number, (panel, (i, j)) in enumerate(zip(panels, pairs, strict=True)):
        if density is not None and i is not None:
            limits = panel_range(density, i, drawn)
        else:
            limits = narrower(_spread(particles, [j]), common)
        _draw_histogram(panel, density, particles, i, j, limits)
        panel.set_xlim(*limits)
        if number % columns == 0:
            panel.set_ylabel(r"$\mu_\tau(w\,|\,w^*)$")
        if number >= len(pairs) - columns:
            panel.set_xlabel("$w$")
    if len(panels[0].get_legend_handles_labels()[1]) > 1:
        if ax is None or columns > 1:
            legend_beside(panels[columns - 1])
        else:
            panels[0].legend(frameon=False, fontsize=9, handlelength=1.2)
    return drawn_on(panels[0])


def _spread(particles: ParticleTrajectory, indices: list[int]) -> tuple[float, float]:
    """Return the range of all weights at these times but for their tails."""
    low, high = np.quantile(particles.weights[:, indices], [_TAIL, 1 - _TAIL]).tolist()
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _draw_histogram(
    axes: Axes, density: DensityTrajectory | None, particles: ParticleTrajectory,
    i: int | None, j: int, limits: tuple[float, float],
) -> None:  # fmt: skip
    draw_thresholds(axes, particles.problem.weight_quantizer)
    sampled = particles.problem.teacher.values
    bars = np.linspace(*limits, _BARS + 1)
    peak = 0.0
    for number, k in enumerate(named_classes(particles.problem.teacher.probabilities, MOST_NAMED)):
        color = COLORS[number % len(COLORS)]
        label = f"$w^* = {sampled[k]:.3g}$" if sampled.size > 1 else None
        weights = particles.weights[:, j][particles.teacher_weights == sampled[k]]
        if weights.size:
            counts = np.histogram(weights, bars)[0]
            heights = counts / (weights.size * np.diff(bars))
            runs = "particles" if number == 0 else None
            own = label if density is None else runs
            axes.stairs(heights, bars, fill=True, color=color, alpha=0.3, label=own)
            peak = max(peak, float(heights.max()))
        if density is not None and i is not None:
            curve = density.smooth_density[i, k]
            axes.plot(density.centers, curve, color=color, lw=1.6, label=label or "density")
            peak = max(peak, float(curve.max()))
    axes.set_title(rf"$\tau = {particles.times[j] if density is None else density.times[i]:g}$")
    axes.set_ylim(0.0, 1.05 * peak if peak > 0 else None)
    tidy(axes)


def _draw_symbols(
    panels: Sequence[Axes], particles: ParticleTrajectory, curves: Sequence[Curve],
    names: Sequence[str], titles: Sequence[str], log_time: bool,
) -> None:  # fmt: skip
    columns = panel_grid(len(names))[1]
    along = particles.dense_times.size > _MOST_SYMBOLS
    times = particles.dense_times if along else particles.times
    every = particles.dense_order_parameters if along else particles.order_parameters
    shown = np.asarray(spread_indices(times.size, _MOST_SYMBOLS))
    if log_time:
        shown = shown[:0]
        later = np.flatnonzero(times > 0)
        if later.size:  # as evenly as the eye sees them
            wanted = np.geomspace(times[later[0]], times[-1], _MOST_SYMBOLS)
            shown = np.unique(later[np.abs(times[later] - wanted[:, None]).argmin(axis=1)])
    runs = particles.weights.shape[0]
    for number, (axes, name) in enumerate(zip(panels, names, strict=True)):
        color = COLORS[number % len(COLORS)]
        for curve, style, title in zip(curves, _styles(len(curves)), titles, strict=True):
            curve_times, reached = curve_between(curve, name, log_time=log_time)
            axes.plot(curve_times, reached, style, color=color, lw=1.6, label=title)
        values = getattr(every, name)[:, shown]
        bars = values.std(axis=0, ddof=1) if runs > 1 else None
        marker = _MARKERS[number % len(_MARKERS)]
        axes.errorbar(
            times[shown], values.mean(axis=0), yerr=bars, fmt=marker, color=color, ms=5,
            mfc="white", capsize=2, lw=1, label=f"{runs} run{'s' if runs > 1 else ''}",
        )  # fmt: skip
        axes.set_ylabel(SYMBOLS[name])
        time_axis(axes, (0.0, float(times[-1])), log_time=log_time)
        if number < len(names) - columns:
            axes.set_xlabel("")
        tidy(axes)
    panels[0].legend(frameon=False, fontsize=9, handlelength=1.6)


def _styles(count: int) -> list[str]:
    return [("-", "--", ":", "-.")[k % 4] for k in range(count)]


def _title(curve: Curve) -> str:
    return "density" if isinstance(curve, DensityTrajectory) else "isotropic closure"
