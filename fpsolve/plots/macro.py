"""Pictures of the macroscopic theory: stability boundary, range curves, stationary densities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from fpsolve.errors import ParameterError
from fpsolve.macro.fixed_points import stability_boundary
from fpsolve.macro.stationary import StationaryState
from fpsolve.plots.density import MOST_NAMED, draw_thresholds
from fpsolve.plots.style import (
    COLORS,
    SYMBOLS,
    AxesLike,
    axes_for,
    drawn_on,
    legend_beside,
    named_classes,
    new_figure,
    tidy,
)
from fpsolve.problem.problem import Problem
from fpsolve.problem.quantizer import UniformQuantizer
from fpsolve.problem.teacher import Teacher
from fpsolve.studies.optimal_range import OptimalRange, range_curve

__all__ = [
    "plot_optimal_range",
    "plot_range_curves",
    "plot_stability_boundary",
    "plot_stationary_density",
]

Array = NDArray[np.float64]

_LINE = 1.6


def plot_optimal_range(result: OptimalRange, *, ax: AxesLike | None = None) -> Figure:
    """Draw ε_g against the range and mark the optimum; a map where both ranges were varied.

    Parameters
    ----------
    result : OptimalRange
        From `optimal_range` (ranges and errors are dimensionless).
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.figure.Figure
        The new figure, or that of `ax`.

    Raises
    ------
    ParameterError
        If `ax` is not one axes.

    Examples
    --------
    >>> import fpsolve
    >>> problem = fpsolve.Problem(
    ...     weight_quantizer=fpsolve.UniformQuantizer(3, 1.0), input_quantizer=None,
    ...     learning_rate=0.1, teacher=fpsolve.Teacher.gaussian(1.0, 8))
    >>> figure = fpsolve.plot_optimal_range(fpsolve.optimal_range(problem, points=20))
    >>> figure.get_axes()[0].get_xlabel()
    '$\\\\omega$'
    """
    axes = _one(ax)
    figure = drawn_on(axes)
    when = "stationary" if result.time is None else rf"$\tau = {result.time:g}$"
    if result.omega is not None and result.omega_x is not None:
        weights, inputs = result.scanned
        mesh = axes.pcolormesh(weights, inputs, np.log10(result.scanned_error).T, shading="nearest")
        figure.colorbar(mesh, ax=axes, label=rf"$\log_{{10}}$ {SYMBOLS['generalization_error']}")
        axes.plot([result.omega], [result.omega_x], "*", color="white", markersize=12)
        best = rf"best: $\omega = {result.omega:.4g}$, $\omega_x = {result.omega_x:.4g}$"
        told = rf"{when}, {best}, $\varepsilon_g = {result.generalization_error:.4g}$"
        axes.set(xscale="log", yscale="log", xlabel=r"$\omega$", ylabel=r"$\omega_x$")
        axes.set_title(told, fontsize=9)
        return figure
    varied = result.omega if result.which == "weights" else result.omega_x
    assert varied is not None
    symbol = r"\omega" if result.which == "weights" else r"\omega_x"
    finite = np.isfinite(result.scanned_error)
    axes.plot(result.scanned[0][finite], result.scanned_error[finite], color=COLORS[0], lw=_LINE)
    least = rf"$\varepsilon_g = {result.generalization_error:.4g}$"
    label = rf"best: ${symbol} = {varied:.4g}$, {least}"
    axes.plot([varied], [result.generalization_error], "o", color=COLORS[1], label=label)
    _range_axes(axes, f"${symbol}$")
    axes.set(xscale="log", yscale="log", title=when)
    axes.legend(frameon=False)
    return figure


def plot_stability_boundary(
    ranges: ArrayLike,
    bit_widths: Sequence[int] = (2, 3, 4, 10),
    *,
    ridge: float = 0.0,
    learning_rate: float = 1e-3,
) -> Figure:
    """Draw the stability boundary and ε_g of input-only quantization (paper Fig. 5).

    Parameters
    ----------
    ranges : array_like, shape (N,)
        Input ranges ω_x > 0 (dimensionless).
    bit_widths : sequence of int
        Input bit widths b_x, one curve each.
    ridge : float, default 0
        λ.
    learning_rate : float, default 1e-3
        η of the right panel; the paper leaves it open.

    Returns
    -------
    matplotlib.figure.Figure
        Left 2(S + λ)/S² against ω_x, right stationary ε_g; dashed without quantization.
    """
    omegas = np.asarray(ranges, dtype=np.float64)
    figure = new_figure(8.6, 3.6)
    left, right = figure.subplots(1, 2)
    plain = Problem(
        weight_quantizer=None, input_quantizer=None, learning_rate=learning_rate, ridge=ridge
    )
    for color, bits in zip(COLORS, bit_widths, strict=False):
        problems = [replace(plain, input_quantizer=UniformQuantizer(bits, w)) for w in omegas]
        boundary = [stability_boundary(problem) for problem in problems]
        left.plot(omegas, boundary, color=color, lw=_LINE, label=f"$b_x = {bits}$")
        errors = range_curve(problems[0], omegas, which="inputs")
        right.plot(omegas, errors, color=color, lw=_LINE)
    left.axhline(stability_boundary(plain), color="0.4", ls="--", lw=1)
    # Narrow ranges pass hardly any input and put the boundary arbitrarily high.
    top = 4 * stability_boundary(plain)
    left.set(ylabel=r"$2(\sigma_\psi^2 + \lambda)/\sigma_\psi^4$", ylim=(0, top))
    right.set(ylabel=SYMBOLS["generalization_error"], yscale="log")
    for axes in (left, right):
        _range_axes(axes, r"$\omega_x$")
    left.legend(frameon=False)
    return figure


def plot_range_curves(
    problem: Problem, ranges: ArrayLike, input_bit_widths: Sequence[int | None] = (2, 3, 4, None)
) -> Figure:
    """Draw stationary ε_g against the weight range, a curve an input bit width (paper Fig. 6).

    Parameters
    ----------
    problem : Problem
        Its input quantizer gives the range ω_x of all input bit widths.
    ranges : array_like, shape (N,)
        Weight ranges ω > 0 (dimensionless).
    input_bit_widths : sequence of int or None
        b_x of the curves; None for full precision.

    Returns
    -------
    matplotlib.figure.Figure
    """
    quantizer = problem.input_quantizer
    if not isinstance(quantizer, UniformQuantizer):
        raise ParameterError("input_quantizer", quantizer, "must be a UniformQuantizer")
    omegas = np.asarray(ranges, dtype=np.float64)
    figure = new_figure(5.6, 3.8)
    axes = figure.subplots()
    for color, bits in zip(COLORS, input_bit_widths, strict=False):
        inputs = None if bits is None else UniformQuantizer(bits, quantizer.omega)
        errors = range_curve(replace(problem, input_quantizer=inputs), omegas)
        label = "unquantized" if bits is None else f"$b_x = {bits}$"
        axes.plot(omegas, errors, color=color, lw=_LINE, label=label)
    _range_axes(axes, r"$\omega$")
    axes.set(ylabel=SYMBOLS["generalization_error"])
    axes.legend(frameon=False)
    return figure


def plot_stationary_density(
    state: StationaryState, points: int = 1001, *, ax: AxesLike | None = None
) -> Figure:
    """Draw the stationary densities μ(w|w*) of the confined teacher values, thresholds dotted.

    Teacher values beyond the reach of the range have none: the picture names those that escape.
    Of more than five confined values five are drawn, at equal steps of probability.

    Parameters
    ----------
    state : StationaryState
        From `stationary_states` (everything is dimensionless).
    points : int, default 1001
        Points of each curve.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.figure.Figure
        The new figure, or that of `ax`.

    Raises
    ------
    ParameterError
        If no teacher value holds its weights, or training has frozen.

    Examples
    --------
    >>> import fpsolve
    >>> problem = fpsolve.Problem(
    ...     weight_quantizer=fpsolve.UniformQuantizer(2, 2.0), input_quantizer=None,
    ...     learning_rate=0.1)
    >>> (state,) = fpsolve.stationary_states(problem)
    >>> fpsolve.plot_stationary_density(state).get_axes()[0].get_xlabel()
    '$w$'
    """
    teacher, quantizer = state.problem.teacher, state.problem.weight_quantizer
    held = teacher.values[state.confined]
    escaping = teacher.values[~state.confined]
    if held.size == 0:
        raise ParameterError("teacher", teacher, "runs away altogether: no stationary density")
    center, spread = _extent(state, held)
    w = np.linspace(center - spread, center + spread, points)
    axes = _one(ax, width=7.6)
    for index, k in enumerate(named_classes(teacher.probabilities[state.confined], MOST_NAMED)):
        label, color = f"$w^* = {held[k]:.3g}$", COLORS[index % len(COLORS)]
        axes.plot(w, state.density(w, float(held[k])), color=color, lw=_LINE, label=label)
    draw_thresholds(axes, quantizer)
    if escaping.size:
        axes.plot([], [], " ", label=_escape_note(escaping, teacher))
    error = f"{SYMBOLS['generalization_error']} = {state.generalization_error:.4g}"
    axes.set(xlabel="$w$", ylabel=r"$\mu(w\,|\,w^*)$", ylim=(0, None), title=error)
    axes.set_xlim(center - spread, center + spread)
    tidy(axes)
    if ax is None:
        legend_beside(axes)
    else:
        axes.legend(frameon=False, fontsize=9, handlelength=1.2)
    return drawn_on(axes)


def _escape_note(escaping: Array, teacher: Teacher) -> str:
    """Say which teacher values have no stationary density, and how much of the law they are."""
    share = float(teacher.probabilities[np.isin(teacher.values, escaping)].sum())
    size = np.abs(escaping)
    which = f"$w^* = {escaping[0]:.3g}$" if size.size == 1 else rf"$|w^*| \geq {size.min():.3g}$"
    return f"{which} run{'s' if size.size == 1 else ''} away\n({share:.2g} of the weights)"


def _one(ax: AxesLike | None, width: float = 5.6) -> Axes:
    """Return the caller's axes, or those of a new figure."""
    given = axes_for(ax, 1, "picture")
    return new_figure(width, 3.8).subplots() if given is None else given[0]


def _extent(state: StationaryState, held: Array) -> tuple[float, float]:
    """Return centre and half-width of the w axis: five standard deviations around every mean."""
    laws = [state.moments(float(value)) for value in held]
    low = min(mean - 5 * deviation for mean, deviation in laws)
    high = max(mean + 5 * deviation for mean, deviation in laws)
    return 0.5 * (low + high), 0.5 * (high - low)


def _range_axes(axes: Axes, symbol: str) -> None:
    axes.set_xlabel(symbol)
    tidy(axes)
