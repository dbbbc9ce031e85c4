"""Bins between breaks as dyadic lattices, from which all elements are cut."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fpsolve.numerics.kernels import Bins

__all__ = ["Cell", "bins_between", "cell_begin", "cell_width", "cover", "cover_to_walls"]

Array = NDArray[np.float64]

# (bin, level, index): the interval origin + [index, index + 1]·span/2^level of a bin.
Cell = tuple[int, int, int]


def bins_between(
    breaks: Array, *, walls: tuple[float, float] | None, absorbing: tuple[bool, bool], unit: float
) -> Bins:
    """Return one dyadic lattice per bin, so that no cell ever straddles a break.

    Bins bounded on both sides are their own cell 0 of level 0; the outermost go on for ever, with
    negative indices on the left, unless there are `walls`. `unit` is their cell of level 0 where
    there are fewer than two ends to take one from.
    """
    low, high = (-math.inf, math.inf) if walls is None else walls
    lower, upper = np.append(low, breaks), np.append(breaks, high)
    origin, span = np.where(np.isfinite(lower), lower, upper), upper - lower
    inner = np.isfinite(span)
    if not inner[0]:
        span[0] = span[1] if span.size > 1 and inner[1] else unit
    if not inner[-1]:
        span[-1] = span[-2] if span.size > 1 and inner[-2] else unit
    if not np.isfinite(origin).all():  # the whole line
        origin[:] = 0.0
    narrowest = np.full(span.size, math.inf)
    return Bins(origin, span, lower, upper, narrowest, np.array(absorbing, dtype=np.float64))


def cell_width(bins: Bins, cell: Cell) -> float:
    """Width of a cell (dimensionless)."""
    return float(bins.span[cell[0]] * np.exp2(-cell[1]))


def cell_begin(bins: Bins, cell: Cell) -> float:
    """Lower end of a cell (dimensionless)."""
    return float(bins.origin[cell[0]] + cell[2] * cell_width(bins, cell))


def cover(bins: Bins, low: float, high: float, width: float) -> list[Cell]:
    """Cells at most `width` wide that cover [low, high], as far as there are bins."""
    cells: list[Cell] = []
    for b in range(bins.span.size):
        begin, end = max(low, bins.lower[b]), min(high, bins.upper[b])
        if begin >= end:
            continue
        inner = np.isfinite(bins.upper[b] - bins.lower[b])
        level = int(np.ceil(np.log2(bins.span[b] / width)))
        level = max(level, 0) if inner else level
        size = cell_width(bins, (b, level, 0))
        start = math.floor((begin - bins.origin[b]) / size)
        stop = math.ceil((end - bins.origin[b]) / size)
        # Rounding must not push a cell over the end of its bin.
        if math.isfinite(bins.lower[b]):
            start = max(start, 0)
        if math.isfinite(bins.upper[b]):
            stop = min(stop, 2**level if inner else 0)
        cells += [(b, level, i) for i in range(start, max(stop, start + 1))]
    return cells


def cover_to_walls(bins: Bins, low: float, high: float, width: float) -> list[Cell]:
    """Cells from wall to wall: at most `width` wide on [low, high], elsewhere as wide as far off.

    Where walls absorb, the end of a mesh is one: it has to be where the wall is.
    """
    cells: list[Cell] = []
    for b in range(bins.span.size):
        waiting = [(b, 0, 0)]
        while waiting:
            cell = waiting.pop()
            size, begin = cell_width(bins, cell), cell_begin(bins, cell)
            gap = max(low - (begin + size), begin - high, 0.0)
            if size <= max(width, gap):
                cells.append(cell)
            else:
                half = (b, cell[1] + 1, 2 * cell[2])
                waiting += [(b, half[1], half[2] + 1), half]
    return cells
