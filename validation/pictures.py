"""Drawing: figures that follow the page's own colours, as inline SVG."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter

__all__ = [
    "COLORS",
    "GRAY",
    "INK",
    "NARROW",
    "STYLE",
    "grid_of_axes",
    "half_power",
    "is_stacked",
    "key",
    "points",
    "stacked",
    "svg_text",
    "thin_out_labels",
]

# Stands for the page's text colour, light or dark, and is replaced by `currentColor`.
INK = "#010203"
GRAY = "#808080"
# After Wong (2011), told apart by colour-blind readers; bright enough on dark pages.
COLORS = ("#2b8cd6", "#e0691f", "#0fa37f", "#cc79a7", "#d19a00", "#7d6fd6", "#808080")

# Width of a figure for narrow screens, in inches.
NARROW = 4.6

_STACKED: ContextVar[bool] = ContextVar("stacked", default=False)

STYLE = {
    "svg.fonttype": "path",
    "font.size": 10.0,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.5,
}


@contextmanager
def stacked() -> Iterator[None]:
    """Let figures have all their axes below each other, for narrow screens."""
    token = _STACKED.set(True)
    try:
        yield
    finally:
        _STACKED.reset(token)


def is_stacked() -> bool:
    """Whether figures are made for narrow screens."""
    return _STACKED.get()


def grid_of_axes(
    rows: int, columns: int, *, width: float = 9.0, height: float = 3.2, **options: object
) -> tuple[Figure, np.ndarray]:
    """Return a figure and its axes, shape (rows, columns); `height` (inches) is of one row."""
    mpl.rcParams.update(STYLE)
    if is_stacked():
        count = rows * columns
        figure = Figure(figsize=(NARROW, count * max(height, 3.0)), layout="constrained")
        return figure, figure.subplots(count, 1, squeeze=False, **options).reshape(rows, columns)
    figure = Figure(figsize=(width, rows * height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def points(axes: Axes, x: object, y: object, error: object, color: str, **options: object) -> None:
    """Draw means with their standard errors."""
    style = {"fmt": "o", "ms": 3.5, "lw": 0, "elinewidth": 1.0, "capsize": 1.5, "zorder": 3}
    axes.errorbar(x, y, yerr=error, color=color, **{**style, **options})


def key(axes: Axes, **options: object) -> None:
    """Explain symbols and line styles of the three descriptions; colours have their own legend."""
    signs = axes.plot([], [], "o", color=GRAY, ms=3.5, label="STE ± s.e.")
    signs += axes.plot([], [], "-", color=GRAY, label="PDE")
    signs += axes.plot([], [], ":", color=GRAY, label="closure")
    axes.legend(handles=signs, **options)


def half_power(axes: Axes, d: object, y: object, error: object, *, labelled: bool = True) -> None:
    """Draw the line d^−½ that fits positive data best, given their standard errors."""
    d, y, error = (np.asarray(v, dtype=np.float64) for v in (d, y, error))
    weight = np.square(y / error)
    height = np.exp(weight @ np.log(y * np.sqrt(d)) / weight.sum())
    label = "slope −½" if labelled else None
    axes.plot(d, height * d**-0.5, color=INK, lw=0.8, label=label)


def thin_out_labels(figure: Figure) -> None:
    """Label logarithmic axes by powers of ten or, where one or none is in sight, by few numbers.

    Ticks that a picture has set itself stay.
    """
    for axes in figure.axes:
        for axis, scale in ((axes.xaxis, axes.get_xscale()), (axes.yaxis, axes.get_yscale())):
            if scale != "log":
                continue
            axis.set_minor_formatter(NullFormatter())
            low, high = np.sort(axis.get_view_interval())
            powers = np.floor(np.log10(high)) - np.ceil(np.log10(low)) + 1
            if powers < 2 and not isinstance(axis.get_major_locator(), FixedLocator):
                ticks = _round_numbers(float(low), float(high))
                axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])


def _round_numbers(low: float, high: float) -> list[float]:
    """Return three to six round numbers between two, or what there is of them."""
    tens = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    found: list[float] = []
    for digits in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 6), (1, 1.2, 1.4, 1.6, 2, 2.5)):
        ticks = np.sort(np.outer(tens, digits).ravel())
        inside = [float(f"{t:g}") for t in ticks if low <= t <= high]
        if len(inside) > 6:
            break
        found = inside
        if len(found) >= 4:
            break
    # Between neighbours of these lists equal steps serve as well.
    return found if len(found) > 2 else _equal_steps(low, high)


def _equal_steps(low: float, high: float) -> list[float]:
    """Return numbers at equal, round steps between two."""
    steps = MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [float(f"{t:.12g}") for t in steps if low <= t <= high]


def svg_text(figure: Figure, name: str) -> str:
    """Return a figure as an SVG element whose ids are its own and whose ink is the page's."""
    thin_out_labels(figure)
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name, **STYLE}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = text.replace('href="#', f'href="#{name}-').replace("url(#", f"url(#{name}-")
    text = re.sub(
        r'(<svg[^>]*?) width="[^"]*"',
        r"\1",
        re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1),
        count=1,
    )
    # A narrow figure is not blown up to the width of the page.
    widest = round(128 * figure.get_figwidth())
    text = text.replace("<svg", f'<svg style="max-width: {widest}px"', 1)
    return text.replace(INK, "currentColor")
