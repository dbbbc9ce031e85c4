"""A sweep: the generalization error at its last time along the swept fields."""

from __future__ import annotations

import itertools

import numpy as np
from matplotlib.figure import Figure

from fpsolve.errors import ParameterError
from fpsolve.plots.style import COLORS, SYMBOLS, new_figure, tidy
from fpsolve.reduction import ORDER_PARAMETER_NAMES
from fpsolve.sweeps.axes import axis_label
from fpsolve.sweeps.result import SweepResult

__all__ = ["plot_sweep"]

_MOST_LABELLED = 14


def plot_sweep(result: SweepResult, *, name: str = "generalization_error") -> Figure:
    """Draw an order parameter at the last time against the first axis, a line a point of the rest.

    Parameters
    ----------
    result : SweepResult
        What to draw; the mean over runs for particles. Points that failed are left out.
    name : str, default "generalization_error"
        Order parameter by its Python name.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ParameterError
        If `name` is not an order parameter.
    """
    if name not in ORDER_PARAMETER_NAMES:
        allowed = f"must be among {', '.join(ORDER_PARAMETER_NAMES)}"
        raise ParameterError("name", name, allowed)
    last = getattr(result.order_parameters, name)[..., -1]
    if "run" in result.dimensions:
        last = last.mean(axis=-1)
    (first, values), *others = result.axes.items()
    figure = new_figure(6.0, 4.0)
    axes = figure.subplots()
    ticks = [axis_label(value) for value in values]
    numeric = not any(isinstance(tick, str) for tick in ticks)
    x = np.asarray(ticks) if numeric else np.arange(len(ticks))
    lines = list(itertools.product(*(range(len(v)) for _, v in others)))
    for number, index in enumerate(lines):
        text = ", ".join(
            f"{n} = {axis_label(v[i])}" for (n, v), i in zip(others, index, strict=True)
        )
        y = last[(slice(None), *index)]
        label = text if text and number < _MOST_LABELLED else None
        axes.plot(x, y, "o-", color=COLORS[number % len(COLORS)], ms=3.5, lw=1.4, label=label)
    if not numeric:
        axes.set_xticks(x, ticks, rotation=20, ha="right")
    axes.set_xlabel(first)
    axes.set_ylabel(rf"{SYMBOLS[name]} at $\tau = {result.times[-1]:g}$")
    if others:
        axes.legend(frameon=False, fontsize=9)
    tidy(axes)
    return figure
