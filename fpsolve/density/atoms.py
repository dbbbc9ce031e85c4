"""`Atoms`: point masses of conditional densities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["Atoms"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Atoms:
    """Up to A point masses a teacher value; unused places hold mass 0, wherever they are.

    Attributes
    ----------
    positions, masses : ndarray, shape (K, A)
        Where the atoms are (dimensionless) and how much of their density's mass they hold.
    """

    positions: Array
    masses: Array

    def __post_init__(self) -> None:
        for name in ("positions", "masses"):
            array = np.array(getattr(self, name), dtype=np.float64)
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @classmethod
    @lru_cache(maxsize=32)
    def none(cls, count: int) -> Atoms:
        """No atom for any of `count` teacher values."""
        return cls(np.zeros((count, 0)), np.zeros((count, 0)))

    @cached_property
    def totals(self) -> Array:
        """What the atoms of each teacher value hold, (K,)."""
        return np.asarray(self.masses.sum(axis=1))

    def of(self, k: int) -> tuple[Array, Array]:
        """Return positions, ascending, and masses > 0 of teacher value k."""
        used = self.masses[k] > 0
        order = np.argsort(self.positions[k][used], kind="stable")
        return self.positions[k][used][order], self.masses[k][used][order]

    def held(self) -> Array:
        """Positions of all atoms that hold mass."""
        return np.asarray(self.positions[self.masses > 0])

    def below(self, k: int, w: Array) -> Array:
        """Return the mass of teacher value k in atoms at or below each `w`."""
        at, mass = self.of(k)
        total = np.concatenate([[0.0], np.cumsum(mass)])
        return np.asarray(total[np.searchsorted(at, w, side="right")])

    def within(self, k: int, low: float, high: float) -> float:
        """Return the mass of teacher value k in atoms within [low, high]."""
        at, mass = self.of(k)
        return float(mass[(at >= low) & (at <= high)].sum())

    def cell_masses(self, edges: Array) -> Array:
        """Return the masses in the cells [e_n, e_n+1), the last closed, shape (K, N)."""
        out = np.zeros((self.masses.shape[0], edges.size - 1))
        for k in range(out.shape[0]):
            at, mass = self.of(k)
            cell = np.searchsorted(edges, at, side="right") - 1
            cell[at == edges[-1]] = edges.size - 2
            there = (cell >= 0) & (cell < edges.size - 1)
            np.add.at(out[k], cell[there], mass[there])
        return out

    def invert(self, k: int, p: Array, smooth: Callable[[Array], Array]) -> tuple[Array, Array]:
        """Split quantiles between atoms and the rest.

        Parameters
        ----------
        k : int
            Teacher value.
        p : ndarray, shape (n,)
            Masses below the points sought.
        smooth : callable
            Mass without atoms at or below given points.

        Returns
        -------
        rest, points : ndarray, shape (n,)
            Mass of the rest below each point, and the atom it is, NaN where it is none.
        """
        at, mass = self.of(k)
        after = smooth(at) + np.cumsum(mass)
        j = np.searchsorted(after, p, side="left")
        total = np.concatenate([[0.0], np.cumsum(mass)])
        rest = p - total[j]
        before = np.append(after - mass, np.inf)
        points = np.where(p > before[j], np.append(at, np.nan)[j], np.nan)
        return rest, points
