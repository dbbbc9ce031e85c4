"""`Law`: the distribution function that samples are compared with."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from fpsolve.density.cell_frame import CellFrame
from fpsolve.density.view import AnyFrame

__all__ = ["Law"]

Array = NDArray[np.float64]

# Points within a cell at which the distribution function is known, until it has this many.
_POINTS = 20_000
_MOST_SPLITS = 16


class Law:
    """Distribution function F of one conditional density, with jumps where it has atoms.

    Of cells, it follows a monotone cubic between edges, so that the curvature of the density inside
    a cell is not mistaken for disagreement; `of_frame` asks the frame itself.

    Parameters
    ----------
    edges : ndarray, shape (N + 1,)
        Cell edges (dimensionless).
    masses : ndarray, shape (N,)
        Cell masses; their sum is the mass that the density really has.

    Attributes
    ----------
    x : ndarray, shape (P,)
        Points between which F is linear.
    cdf, before : ndarray, shape (P,)
        F there, and its limit from the left.
    """

    def __init__(self, edges: Array, masses: Array) -> None:
        cumulative = np.concatenate([[0.0], np.cumsum(masses)])
        self.x = _split(edges)
        self.cdf = PchipInterpolator(edges, cumulative)(self.x)
        self.before = self.cdf

    @classmethod
    def of_frame(cls, frame: AnyFrame, k: int, wall: float = math.inf) -> Law:
        """Return F of class k of a frame; with a `wall`, that of the weights clipped to ±wall."""
        if isinstance(frame, CellFrame) and wall == math.inf:
            return cls(frame.cell_edges, frame.cell_masses(frame.cell_edges)[k])
        low, high = (float(np.clip(end, -wall, wall)) for end in frame.support())
        ends = np.unique(np.clip(np.append(frame.outline()[0], [low, high]), low, high))
        if ends.size == 1:  # A single atom: intervals around it, as narrow as numbers allow.
            ends = np.concatenate([np.nextafter(ends, -np.inf), ends, np.nextafter(ends, np.inf)])
        law = cls.__new__(cls)
        law.x = _split(ends)
        law.cdf = frame.cdf(k, law.x)
        law.before = frame.cdf(k, np.nextafter(law.x, -np.inf))
        if wall < math.inf:
            law.before[0] = 0.0
            law.cdf[-1] = frame.cdf(k, np.array([frame.support()[1]]))[0]
        return law

    def __call__(self, x: Array) -> Array:
        """Return F(x) elementwise: 0 below the edges, the total mass above."""
        return self._at(x, np.searchsorted(self.x, x, side="right"), self.cdf[-1])

    def left(self, x: Array) -> Array:
        """Return the limit of F from the left at each x."""
        return self._at(x, np.searchsorted(self.x, x, side="left"), self.cdf[-1])

    def _at(self, x: Array, after: NDArray[np.intp], total: float) -> Array:
        """Interpolate in the interval that ends at point number `after`."""
        inside = (after > 0) & (after < self.x.size)
        n = np.clip(after, 1, self.x.size - 1)
        share = np.clip((x - self.x[n - 1]) / (self.x[n] - self.x[n - 1]), 0.0, 1.0)
        value = self.cdf[n - 1] + share * (self.before[n] - self.cdf[n - 1])
        return np.asarray(np.where(inside, value, np.where(after == 0, 0.0, total)))

    @property
    def variance(self) -> float:
        """Var w (dimensionless); undershoots of the density count by their size."""
        middle = np.concatenate([0.5 * (self.x[1:] + self.x[:-1]), self.x])
        mass = np.abs(np.concatenate([self.before[1:] - self.cdf[:-1], self._atoms()]))
        total = mass.sum()
        mean = middle @ mass / total
        return float(np.square(middle - mean) @ mass / total)

    def _atoms(self) -> Array:
        atoms = self.cdf - self.before
        return np.where(atoms > 1e-12, atoms, 0.0)

    def quantiles(self, levels: Array) -> Array:
        """Return the points where F passes `levels`, shape as `levels`."""
        heights = np.stack([self.before, self.cdf], axis=1).ravel()
        return np.asarray(np.interp(levels, heights, np.repeat(self.x, 2)))


def _split(edges: Array) -> Array:
    """Return the edges with points between them."""
    splits = max(1, min(_MOST_SPLITS, _POINTS // max(1, edges.size - 1)))
    fractions = np.arange(splits) / splits
    inner = (edges[:-1, None] + np.diff(edges)[:, None] * fractions).ravel()
    return np.unique(np.append(inner, edges[-1]))
