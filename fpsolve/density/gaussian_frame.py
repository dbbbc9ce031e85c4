"""`GaussianFrame`: Gaussian conditional densities at one time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from fpsolve.density.atoms import Atoms
from fpsolve.numerics.gaussian import REACH, gaussian_masses

__all__ = ["GaussianFrame"]

Array = NDArray[np.float64]

# Cells across a density that is drawn.
_CELLS = 128
# Gauss–Hermite points of an expectation.
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(64)


@dataclass(frozen=True, eq=False, init=False)
class GaussianFrame:
    """Conditional densities N(mean_k, deviation_k²) at one time; it has the methods of `Frame`.

    Parameters
    ----------
    mean : array_like, shape (K,)
        Means (dimensionless).
    deviation : float or array_like, shape (K,)
        Standard deviations >= 0; 0 is a point mass (dimensionless).
    """

    kind = "gaussian"

    mean: Array
    deviation: Array

    def __init__(self, mean: ArrayLike, deviation: ArrayLike) -> None:
        means = np.array(mean, dtype=np.float64)
        deviations = np.array(np.broadcast_to(deviation, means.shape), dtype=np.float64)
        for name, array in (("mean", means), ("deviation", deviations)):
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @property
    def count(self) -> int:
        """Number K of teacher values."""
        return self.mean.size

    @property
    def _atoms(self) -> Atoms:
        """Those densities that are points."""
        return Atoms(self.mean[:, None], (self.deviation == 0)[:, None])

    def _z(self, k: int, w: Array) -> Array:
        return np.asarray((w - self.mean[k]) / self.deviation[k])

    def pdf(self, k: int, w: Array) -> Array:
        """Return the density of teacher value k at `w`; 0 everywhere where it is a point mass."""
        if self.deviation[k] == 0:
            return np.zeros(w.shape)
        scale = self.deviation[k] * np.sqrt(2 * np.pi)
        return np.asarray(np.exp(-0.5 * self._z(k, w) ** 2) / scale)

    def cdf(self, k: int, w: Array) -> Array:
        """Return the mass of teacher value k at or below `w`."""
        if self.deviation[k] == 0:
            return self._atoms.below(k, w)
        return np.asarray(ndtr(self._z(k, w)))

    def probability(self, k: int, low: float, high: float) -> float:
        """Return the mass of teacher value k in [low, high]."""
        if self.deviation[k] == 0:
            return self._atoms.within(k, low, high)
        z = self._z(k, np.array([low, high]))
        return float(gaussian_masses(z[:1], z[1:])[0])

    def quantile(self, k: int, p: Array) -> Array:
        """Return the w below which teacher value k has mass `p` in (0, 1)."""
        return np.asarray(self.mean[k] + self.deviation[k] * ndtri(p))

    def support(self) -> tuple[float, float]:
        """Interval that holds all mass but 1e-16 of it."""
        reach = REACH * self.deviation
        return float((self.mean - reach).min()), float((self.mean + reach).max())

    def outline(self, cells: int = _CELLS) -> tuple[Array, Array]:
        """Return edges of equal cells across each density, and the width of these."""
        width = np.where(self.deviation > 0, self.deviation, 1e-9 * np.maximum(1, abs(self.mean)))
        grid = np.linspace(-REACH, REACH, cells + 1)
        edges = self.mean[:, None] + width[:, None] * grid
        return edges.ravel(), np.repeat(2 * REACH * width / cells, cells + 1)

    def cell_masses(self, edges: Array) -> Array:
        """Return the masses in the cells between `edges` (N + 1,), shape (K, N)."""
        out = self._atoms.cell_masses(edges)
        wide = self.deviation > 0
        z = (edges - self.mean[wide, None]) / self.deviation[wide, None]
        out[wide] = gaussian_masses(z[:, :-1], z[:, 1:])
        return out

    def cell_averages(self, edges: Array) -> Array:
        """Return the cell averages on increasing `edges` (N + 1,), shape (K, N)."""
        return np.asarray(self.cell_masses(edges) / np.diff(edges))

    def atom_masses(self) -> Array:
        """Return 1 where the density is a point mass and 0 elsewhere, shape (K,)."""
        return np.where(self.deviation == 0, 1.0, 0.0)

    def mass_defect(self) -> float:
        """Mass beyond the drawn interval."""
        return float(2 * ndtr(-REACH)) if self.deviation.any() else 0.0

    def lowest(self) -> float:
        """0: a Gaussian is positive."""
        return 0.0

    def expectation(self, function: Callable[[Array], Array]) -> Array:
        """Return E[function(w) | w*_k], shape (K,), exact for polynomials up to degree 127."""
        w = self.mean[:, None] + self.deviation[:, None] * _NODES
        return np.asarray(function(w) @ (_WEIGHTS / _WEIGHTS.sum()))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the frame as a flat dictionary of arrays."""
        return {"mean": self.mean, "deviation": self.deviation}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> GaussianFrame:
        """Return the frame that `to_arrays` took apart."""
        return cls(arrays["mean"], arrays["deviation"])

    def __repr__(self) -> str:
        low, high = self.support()
        return f"GaussianFrame({self.count} teacher values on [{low:.4g}, {high:.4g}])"
