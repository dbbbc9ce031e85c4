"""What all pictures share: fonts, colours, symbols."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["COLORS", "SYMBOLS", "new_figure", "tidy", "time_axis"]

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

_FONT = 11.0


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of that size in inches, laid out so that no labels overlap."""
    return Figure(figsize=(width, height), layout="constrained")


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
