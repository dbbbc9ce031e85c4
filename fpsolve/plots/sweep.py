"""A sweep: lines for one axis or few values, heat maps for two axes."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fpsolve.errors import ParameterError
from fpsolve.plots.style import (
    COLORS,
    FIELD_SYMBOLS,
    SYMBOLS,
    legend_beside,
    new_figure,
    tidy,
)
from fpsolve.sweeps.axes import PROBLEM_AXIS, axis_label
from fpsolve.sweeps.result import SweepResult

__all__ = ["plot_phase_diagram", "plot_sweep"]

Array = NDArray[np.float64]

# Lines that can be told apart; more become a heat map.
_MOST_LINES = len(COLORS)
_MOST_PANELS = 6
_MOST_TICKS = 12
_MARKERS = "os^Dv<>"
# Where values span so many times their least, they are read on a logarithmic axis.
_WIDE = 20.0


class _Axis(NamedTuple):
    """An axis of the sweep as one of a picture."""

    name: str
    positions: Array
    labels: list[str] | None
    logarithmic: bool


def plot_sweep(result: SweepResult, *, name: str | None = None) -> Figure:
    """Draw an array of a sweep along its axes.

    Parameters
    ----------
    result : SweepResult
        What to draw: the last time, the mean over runs, the first of several states. Points that
        failed are left out (lines) or grey (heat maps).
    name : str, optional
        Name of an array; "generalization_error" by default, the first one where there is none.

    Returns
    -------
    matplotlib.figure.Figure
        Against the first axis, a line for each combination of the others, where those are few;
        else a heat map over the two longest axes with contours and the least ε_g marked, a panel
        for each combination of the rest, six at most.

    Raises
    ------
    ParameterError
        If `name` is no array of the sweep, or has dimensions that cannot be drawn.
    """
    known = result.arrays
    if name is None:
        name = "generalization_error" if "generalization_error" in known else next(iter(known))
    if name not in known:
        raise ParameterError("name", name, f"must be among {', '.join(known)}")
    values, text = _reduced(result, name)
    lines = int(np.prod(result.shape[1:]))
    if lines <= _MOST_LINES or sum(length > 1 for length in result.shape) < 2:
        return _lines(result, values, text)
    return _maps(result, values, text, least=name == "generalization_error")


def plot_phase_diagram(
    result: SweepResult, *, name: str = "generalization_error", ax: Axes | None = None
) -> Figure:
    """Draw an array of a sweep over two axes as a map, on axes of the caller's if given.

    Parameters
    ----------
    result : SweepResult
        A sweep over two axes: the first to the right, the second upwards; the last time is drawn,
        the mean over runs, the first of several states, and grey where a point failed.
    name : str, default "generalization_error"
        Name of an array of the sweep (dimensionless).
    ax : matplotlib.axes.Axes, optional
        Where to draw; a figure of its own by default.

    Returns
    -------
    matplotlib.figure.Figure
        The figure drawn on: a map with contours and its color bar; the least ε_g is marked.

    Raises
    ------
    ParameterError
        If the sweep has not two axes, or no such array.

    Examples
    --------
    >>> import fpsolve, numpy as np
    >>> problem = fpsolve.Problem(
    ...     weight_quantizer=None, input_quantizer=None, learning_rate=0.1, noise_variance=0.2
    ... )
    >>> axes = {"learning_rate": np.linspace(0.1, 0.5, 3), "ridge": [0.0, 0.1, 0.2]}
    >>> result = fpsolve.sweep(problem, axes, fpsolve.solve_ode, times=[5.0], workers=1)
    >>> len(fpsolve.plot_phase_diagram(result).axes)
    2
    """
    if len(result.axes) != 2:
        allowed = "must be a sweep over two axes; fpsolve.plot draws any other"
        raise ParameterError("result", tuple(result.axes), allowed)
    if name not in result.arrays:
        raise ParameterError("name", name, f"must be among {', '.join(result.arrays)}")
    values, text = _reduced(result, name)
    if ax is None:
        ax = new_figure(6.0, 4.0).subplots()
    across, up = (_axis(*pair) for pair in result.axes.items())
    finite = values[np.isfinite(values)]
    span = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    mesh = _map(ax, across, up, values.T, span, least=name == "generalization_error")
    figure: Figure = ax.get_figure(root=True)  # type: ignore[assignment]
    figure.colorbar(mesh, ax=ax, label=text)
    return figure


def _reduced(result: SweepResult, name: str) -> tuple[Array, str]:
    """Return one number a point, and what it is."""
    values = result.arrays[name]
    text = SYMBOLS.get(name, name)
    for dimension in reversed(result.inner[name]):
        if dimension == "time":
            values = values[..., -1]
            text = rf"{text} at $\tau = {result.times[-1]:g}$"
        elif dimension == "run":
            values = values.mean(axis=-1)
        elif dimension == "root":
            values = values[..., 0]
        else:
            allowed = f"has a dimension {dimension} of its own; draw a number a point"
            raise ParameterError("name", name, allowed)
    return np.asarray(values.real, dtype=np.float64), text


def _lines(result: SweepResult, values: Array, text: str) -> Figure:
    (first, along), *others = result.axes.items()
    axis = _axis(first, along)
    figure = new_figure(6.0, 4.0)
    axes = figure.subplots()
    combinations = itertools.product(*(range(len(v)) for _, v in others))
    # Nothing lies between categories, so no line joins them.
    joined = "none" if axis.labels else "-"
    for number, index in enumerate(combinations):
        at: tuple[Any, ...] = (slice(None), *index)
        told = zip(others, index, strict=True)
        label = ", ".join(f"{_symbol(n)} = {_short(v[i])}" for (n, v), i in told if len(v) > 1)
        axes.plot(
            axis.positions,
            values[at],
            marker=_MARKERS[number % len(_MARKERS)] if axis.labels else "o",
            ls=joined,
            color=COLORS[number % len(COLORS)],
            ms=3.5,
            lw=1.4,
            label=label or None,
        )
    _scale(axes, axis, "x")
    axes.set_ylabel(text)
    if others and axes.get_legend_handles_labels()[0]:
        legend_beside(axes)
    tidy(axes)
    return figure


def _maps(result: SweepResult, values: Array, text: str, *, least: bool) -> Figure:
    names = list(result.axes)
    # The two longest axes span a panel, the earlier one to the right.
    x, y = sorted(sorted(range(len(names)), key=lambda a: -result.shape[a])[:2])
    rest = [a for a in range(len(names)) if a not in (x, y)]
    panels = list(itertools.product(*(range(result.shape[a]) for a in rest)))
    shown = [panels[i] for i in _spread(len(panels), _MOST_PANELS)]
    columns = min(len(shown), 3)
    rows = -(-len(shown) // columns)
    figure = new_figure(2.4 + 3.6 * columns, 0.6 + 3.4 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    across, up = (_axis(names[a], result.axes[names[a]]) for a in (x, y))
    for axes, index in zip(grid, shown, strict=False):
        chosen: list[Any] = [slice(None)] * len(names)
        for a, i in zip(rest, index, strict=True):
            chosen[a] = i
        mesh = _map(axes, across, up, values[tuple(chosen)].T, (low, high), least=least)
        title = [
            f"{_symbol(names[a])} = {_short(result.axes[names[a]][i])}"
            for a, i in zip(rest, index, strict=True)
        ]
        axes.set_title(", ".join(title), fontsize=9, loc="left")
    for axes in grid[len(shown) :]:
        axes.set_visible(False)
    figure.colorbar(mesh, ax=list(grid), label=text)
    if len(shown) < len(panels):
        figure.suptitle(f"{len(shown)} of {len(panels)} panels", fontsize=9)
    return figure


def _map(
    axes: Axes, across: _Axis, up: _Axis, values: Array, span: tuple[float, float], *, least: bool
) -> Any:
    """Draw one panel, `values` of shape (up, across)."""
    axes.set_facecolor("0.85")  # where points failed
    mesh = axes.pcolormesh(
        _edges(across),
        _edges(up),
        np.ma.masked_invalid(values),
        cmap="viridis",
        vmin=span[0],
        vmax=span[1],
        rasterized=True,
    )
    numeric = across.labels is None and up.labels is None
    rough = np.nanmax(values, initial=-np.inf) - np.nanmin(values, initial=np.inf) > 0
    if numeric and min(values.shape) > 2 and rough:
        lines = axes.contour(
            across.positions, up.positions, values, levels=6, colors="white", linewidths=0.8
        )
        axes.clabel(lines, fontsize=7, fmt="%.3g")
    if least and np.isfinite(values).any():
        row, column = np.unravel_index(np.nanargmin(values), values.shape)
        axes.plot(
            across.positions[column],
            up.positions[row],
            marker="*",
            color=COLORS[1],
            mec="white",
            ms=13,
            ls="none",
            label=f"least: {values[row, column]:.4g}",
        )
        # Above the map, of which it would hide a corner.
        axes.legend(
            loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.1, fontsize=9,
            frameon=False, handletextpad=0.2,
        )  # fmt: skip
    _scale(axes, across, "x")
    _scale(axes, up, "y")
    tidy(axes)
    return mesh


def _axis(name: str, values: tuple[Any, ...]) -> _Axis:
    labels = [axis_label(value) for value in values]
    if name == PROBLEM_AXIS:
        labels = list(range(len(values)))
    if any(isinstance(label, str) for label in labels):
        texts = [_short(value) for value in values]
        return _Axis(name, np.arange(len(values), dtype=np.float64), texts, False)
    positions = np.asarray(labels, dtype=np.float64)
    wide = bool(positions.min() > 0 and positions.max() > _WIDE * positions.min())
    return _Axis(name, positions, None, wide)


def _symbol(name: str) -> str:
    """What an axis of the sweep is called in a picture: as in the paper, where that has a name."""
    return FIELD_SYMBOLS.get(name, name)


def _scale(axes: Axes, axis: _Axis, which: str) -> None:
    """Label an axis of the picture, and set its scale and ticks."""
    axes.set(**{f"{which}label": _symbol(axis.name)})
    if axis.logarithmic:
        axes.set(**{f"{which}scale": "log"})
    if axis.labels is None:
        return
    chosen = _spread(len(axis.labels), _MOST_TICKS)
    axes.set(**{f"{which}ticks": axis.positions[chosen]})
    texts = [axis.labels[i] for i in chosen]
    if which == "x":
        axes.set_xticklabels(texts, rotation=20, ha="right")
    else:
        axes.set_yticklabels(texts)


def _edges(axis: _Axis) -> Array:
    """Return the borders of cells around positions, halfway on the axis' own scale."""
    at = np.log(axis.positions) if axis.logarithmic else axis.positions
    if at.size == 1:
        edges = np.array([at[0] - 0.5, at[0] + 0.5])
    else:
        inner = 0.5 * (at[1:] + at[:-1])
        edges = np.concatenate([[2 * at[0] - inner[0]], inner, [2 * at[-1] - inner[-1]]])
    return np.exp(edges) if axis.logarithmic else edges


def _spread(count: int, most: int) -> list[int]:
    """Return at most `most` of `count` numbers, evenly, first and last included."""
    if count <= most:
        return list(range(count))
    return [int(i) for i in np.linspace(0, count - 1, most).round()]


def _short(value: Any) -> str:
    """Return a value in a few characters: no more digits than tell values apart."""
    if isinstance(value, tuple):
        return ", ".join(_short(part) for part in value)
    text = str(axis_label(value))
    if isinstance(value, float) and len(text) > 6:
        return f"{value:.4g}"
    return text if len(text) <= 28 else text[:27] + "…"
