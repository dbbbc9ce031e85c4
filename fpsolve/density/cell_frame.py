"""`CellFrame`: conditional densities at one time, constant in each cell of a shared mesh."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CellFrame"]

Array = NDArray[np.float64]

# Three Gauss points a cell: exact for polynomials of degree 5.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(3)


@dataclass(frozen=True, eq=False)
class CellFrame:
    """Cell averages of μ(w | w*_k) at one time; it has the methods of `Frame`.

    Attributes
    ----------
    cell_edges : ndarray, shape (N + 1,)
        Increasing cell edges (dimensionless).
    averages : ndarray, shape (K, N)
        Cell averages.
    """

    kind = "cells"

    cell_edges: Array
    averages: Array

    @property
    def count(self) -> int:
        """Number K of teacher values."""
        return int(self.averages.shape[0])

    @cached_property
    def _cumulative(self) -> Array:
        """Mass at or below each edge, shape (K, N + 1)."""
        mass = self.averages * np.diff(self.cell_edges)
        return np.concatenate([np.zeros((self.count, 1)), np.cumsum(mass, axis=1)], axis=1)

    def pdf(self, k: int, w: Array) -> Array:
        """Return the density of teacher value k at `w`; 0 outside the cells."""
        edges = self.cell_edges
        cell = np.clip(np.searchsorted(edges, w, side="right") - 1, 0, edges.size - 2)
        outside = (w < edges[0]) | (w > edges[-1])
        return np.where(outside, 0.0, self.averages[k][cell])

    def cdf(self, k: int, w: Array) -> Array:
        """Return the mass of teacher value k at or below `w`."""
        return np.asarray(np.interp(w, self.cell_edges, self._cumulative[k]))

    def probability(self, k: int, low: float, high: float) -> float:
        """Return the mass of teacher value k in [low, high]."""
        covered = np.clip(self.cell_edges, low, high)
        return float(self.averages[k] @ np.diff(covered))

    def quantile(self, k: int, p: Array) -> Array:
        """Return the least w below which teacher value k has mass `p` in (0, 1)."""
        total = self._cumulative[k]
        n = np.clip(np.searchsorted(total, p, side="left"), 1, total.size - 1)
        mass = total[n] - total[n - 1]
        share = np.divide(p - total[n - 1], mass, out=np.ones_like(mass), where=mass > 0)
        edges = self.cell_edges
        return np.asarray(edges[n - 1] + np.clip(share, 0.0, 1.0) * (edges[n] - edges[n - 1]))

    def support(self) -> tuple[float, float]:
        """Interval of the cells."""
        return float(self.cell_edges[0]), float(self.cell_edges[-1])

    def outline(self) -> tuple[Array, Array]:
        """Return the cell edges, and the width of a cell that each bounds."""
        width = np.diff(self.cell_edges)
        return self.cell_edges, np.append(width, width[-1])

    def cell_masses(self, edges: Array) -> Array:
        """Return the masses in the cells between `edges` (M + 1,), shape (K, M)."""
        if np.array_equal(edges, self.cell_edges):
            return self.averages * np.diff(edges)
        return np.diff([self.cdf(k, edges) for k in range(self.count)], axis=1)

    def cell_averages(self, edges: Array) -> Array:
        """Return the cell averages on increasing `edges` (M + 1,), shape (K, M)."""
        if np.array_equal(edges, self.cell_edges):
            return self.averages
        return np.asarray(self.cell_masses(edges) / np.diff(edges))

    def atom_masses(self) -> Array:
        """Return zeros, shape (K,): cells hold no atoms."""
        return np.zeros(self.count)

    def mass_defect(self) -> float:
        """Largest |mass − 1| of a conditional density."""
        return float(np.abs(self._cumulative[:, -1] - 1).max())

    def lowest(self) -> float:
        """Least cell average relative to the largest."""
        return float(self.averages.min() / self.averages.max())

    def expectation(self, function: Callable[[Array], Array]) -> Array:
        """Return E[function(w) | w*_k], shape (K,), for densities constant in each cell."""
        half = 0.5 * np.diff(self.cell_edges)
        w = 0.5 * (self.cell_edges[1:] + self.cell_edges[:-1]) + half * _NODES[:, None]
        return np.asarray(self.averages @ (half * (_WEIGHTS @ function(w))))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the frame as a flat dictionary of arrays."""
        return {"cell_edges": self.cell_edges, "averages": self.averages}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> CellFrame:
        """Return the frame that `to_arrays` took apart."""
        return cls(arrays["cell_edges"], arrays["averages"])

    def __repr__(self) -> str:
        low, high = self.support()
        cells = self.cell_edges.size - 1
        return f"CellFrame({self.count} teacher values, {cells} cells on [{low:.4g}, {high:.4g}])"
