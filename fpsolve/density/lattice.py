"""Quantization bins as dyadic lattices, from which all elements are cut."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fpsolve.problem.problem import Problem

__all__ = ["Cell", "Lattice"]

Array = NDArray[np.float64]

# (bin, level, index): the interval origin + [index, index + 1]·span/2^level of a bin.
Cell = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Lattice:
    """One dyadic lattice per quantization bin, so that no cell ever straddles a threshold.

    Attributes
    ----------
    origin, span : ndarray, shape (L + 1,)
        Where cell 0 begins and the width of a cell of level 0. Inner bins are their own cell 0 of
        level 0; the outermost bins go on for ever, with negative indices on the left.
    lower, upper : ndarray, shape (L + 1,)
        Ends of the bins, infinite for the outermost (dimensionless).
    """

    origin: Array
    span: Array
    lower: Array
    upper: Array

    @classmethod
    def of(cls, problem: Problem) -> Lattice:
        """The bins of the weight quantizer, or the whole line for full precision."""
        quantizer = problem.weight_quantizer
        if quantizer is None:
            return cls(np.zeros(1), np.ones(1), np.array([-math.inf]), np.array([math.inf]))
        theta = quantizer.thresholds
        inner = np.diff(theta)
        outermost = inner[[0, -1]] if inner.size else np.diff(quantizer.levels)[[0, 0]]
        return cls(
            origin=np.concatenate([[theta[0]], theta]),
            span=np.concatenate([[outermost[0]], inner, [outermost[1]]]),
            lower=np.concatenate([[-math.inf], theta]),
            upper=np.concatenate([theta, [math.inf]]),
        )

    def is_inner(self, b: int) -> bool:
        """Whether bin `b` is bounded on both sides."""
        return bool(np.isfinite(self.lower[b]) and np.isfinite(self.upper[b]))

    def width(self, cell: Cell) -> float:
        """Width of a cell (dimensionless)."""
        return float(self.span[cell[0]] * np.exp2(-cell[1]))

    def level(self, b: int, width: float) -> int:
        """Level of the cells of bin `b` that are at most about `width` wide."""
        level = int(np.ceil(np.log2(self.span[b] / width)))
        return max(level, 0) if self.is_inner(b) else level

    def cover(self, low: float, high: float, width: float) -> list[Cell]:
        """Cells at most `width` wide that cover [low, high]."""
        cells: list[Cell] = []
        for b in range(self.span.size):
            begin, end = max(low, self.lower[b]), min(high, self.upper[b])
            if begin >= end:
                continue
            level = self.level(b, width)
            size = self.width((b, level, 0))
            start = math.floor((begin - self.origin[b]) / size)
            stop = math.ceil((end - self.origin[b]) / size)
            # Rounding must not push a cell over the end of its bin.
            if math.isfinite(self.lower[b]):
                start = max(start, 0)
            if math.isfinite(self.upper[b]):
                stop = min(stop, 2**level if self.is_inner(b) else 0)
            cells += [(b, level, i) for i in range(start, max(stop, start + 1))]
        return cells

    def beyond(self, cell: Cell, *, outward: int, reach: float, free: bool) -> list[Cell]:
        """Cells next to `cell` on the side `outward` (±1), widening until they span `reach`.

        A `free` mesh moves with the drift: its lattice is not bound to the ends of the bin.
        """
        cells: list[Cell] = []
        spanned = 0.0
        b, level, index = cell
        while not cells or spanned < reach:
            width = self.width((b, level, index))
            edge = self.origin[b] + (index + (outward > 0)) * width
            bound = self.upper[b] if outward > 0 else self.lower[b]
            if not free and abs(edge - bound) < 0.5 * width:
                b += outward
                level = self.level(b, width)
                last = 2**level - 1 if self.is_inner(b) else -1
                index = 0 if outward > 0 else last
            else:
                index += outward
                # Widen where the dyadic lattice allows it and there is still far to go.
                while (
                    (index if outward > 0 else index + 1) % 2 == 0
                    and 2.0 * width <= reach - spanned
                    and (free or level > 0 or not self.is_inner(b))
                ):
                    index, level, width = index // 2, level - 1, 2.0 * width
            cells.append((b, level, index))
            spanned += self.width((b, level, index))
        return cells
