"""What all pictures share: fonts, colours, symbols, and where they are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fpsolve.errors import ParameterError

__all__ = [
    "COLORS",
    "FIELD_SYMBOLS",
    "SYMBOLS",
    "AxesLike",
    "axes_for",
    "drawn_on",
    "new_figure",
    "spread_indices",
]
__all__ += ["legend_beside", "named_classes", "tidy", "time_axis"]

# One axes, or as many as a picture has panels.
AxesLike = Axes | Sequence[Axes] | Any

# Wong (2011), told apart by colour-blind readers.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

# Name of an order parameter -> the paper's symbol.
SYMBOLS = {
    "m": r"$m$",
    "q": r"$q$",
    "s": r"$s$",
    "m_psi": r"$m_\psi$",
    "q_psi": r"$q_\psi$",
    "r_psi": r"$r_\psi$",
    "generalization_error": r"$\varepsilon_g$",
}

# Field of a problem -> the paper's symbol.
FIELD_SYMBOLS = {
    "learning_rate": r"$\eta$",
    "ridge": r"$\lambda$",
    "noise_variance": r"$\sigma^2$",
    "batch_size": "$B$",
    "weight_quantizer.omega": r"$\omega$",
    "weight_quantizer.bit_width": "$b$",
    "weight_quantizer.temperature": "$T$",
    "input_quantizer.omega": r"$\omega_x$",
    "input_quantizer.bit_width": "$b_x$",
    "initial.variance": "initial variance",
    "initial.mean": "initial mean",
}

_FONT = 11.0


class _NotebookFigure(Figure):
    """A figure that a notebook shows, although pyplot does not know it."""

    def _repr_png_(self) -> bytes:
        picture = BytesIO()
        self.savefig(picture, format="png", dpi=100)
        return picture.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of that size in inches, laid out so that no labels overlap."""
    return _NotebookFigure(figsize=(width, height), layout="constrained")


def axes_for(ax: AxesLike | None, count: int, what: str) -> list[Axes] | None:
    """Return the caller's axes as a list of `count`, or None if there are none."""
    if ax is None:
        return None
    listed = [ax] if isinstance(ax, Axes) else list(np.asarray(ax, dtype=object).flat)
    if len(listed) != count or not all(isinstance(one, Axes) for one in listed):
        raise ParameterError("ax", ax, f"must be {count} axes of matplotlib, one a {what}")
    return listed


def drawn_on(axes: Axes) -> Figure:
    """Return the figure that `axes` belong to, also within a subfigure."""
    figure: Any = axes.figure
    while not isinstance(figure, Figure):
        figure = figure._parent
    return figure


def legend_beside(axes: Axes) -> None:
    """Put the legend right of `axes`, where it hides no curve; the layout makes room for it."""
    axes.legend(
        frameon=False, fontsize=9, handlelength=1.2, loc="upper left", bbox_to_anchor=(1.0, 1.0)
    )


def named_classes(probabilities: NDArray[np.float64], most: int) -> list[int]:
    """Return the classes that stand for all: at most `most`, at equal steps of probability.

    Of a Gaussian law in 64 nodes the outermost carry 1e-50 of the weights; they say nothing.
    """
    if probabilities.size <= most:
        return list(range(probabilities.size))
    middle = np.cumsum(probabilities) - 0.5 * probabilities
    wanted = (0.5 + np.arange(most)) / most
    return [int(k) for k in np.unique(np.abs(middle[:, None] - wanted).argmin(axis=0))]


def spread_indices(count: int, most: int) -> list[int]:
    """Return at most `most` of `count` indices, evenly spread, first and last included."""
    spread = np.linspace(0, count - 1, min(count, most)).round()
    return [int(index) for index in np.unique(spread)]


def tidy(axes: Axes) -> None:
    """Drop the frame lines that carry no scale, and set legible sizes."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=_FONT - 1)
    axes.xaxis.label.set_fontsize(_FONT + 1)
    axes.yaxis.label.set_fontsize(_FONT + 1)
    axes.title.set_fontsize(_FONT + 1)


def time_axis(axes: Axes, times: tuple[float, float], *, log_time: bool) -> None:
    """Label the time axis; on a logarithmic one τ = 0 has no place, so it starts later."""
    axes.set_xlabel(r"$\tau$")
    if log_time:
        axes.set_xscale("log")
    elif times[1] > times[0]:  # a single time leaves the limits to matplotlib
        axes.set_xlim(*times)
