"""Gaussian initial densities."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

__all__ = ["REACH", "GaussianStart", "gaussian_masses"]

Array = NDArray[np.float64]

# Standard deviations beyond which nothing of a Gaussian is left: Φ(−8.3) = 5e−17.
REACH = 8.3


def gaussian_masses(low: Array, high: Array) -> Array:
    """Return Φ(high) − Φ(low) elementwise for low <= high.

    It is the difference of the smaller tail, so that far intervals keep relative accuracy.
    """
    upper = low > 0
    masses = ndtr(np.where(upper, -low, high)) - ndtr(np.where(upper, -high, low))
    return np.asarray(masses)


@dataclass(frozen=True, eq=False)
class GaussianStart:
    """Conditional densities N(mean_k, deviation_k²) at time τ (dimensionless).

    Attributes
    ----------
    time : float
        0, or a little later for a point mass.
    mean, deviation : ndarray, shape (K,)
        Means and standard deviations; a deviation 0 is a point mass that cannot spread.
    """

    time: float
    mean: Array
    deviation: Array

    @property
    def gaussian(self) -> tuple[Array, Array]:
        """Means and standard deviations, copies that kernels take."""
        return np.array(self.mean), np.array(self.deviation)

    def support(self, k: int) -> tuple[float, float]:
        """Interval that holds class k up to 1e-16."""
        half = REACH * self.deviation[k]
        return float(self.mean[k] - half), float(self.mean[k] + half)

    def scale(self, k: int) -> float:
        """A width at which to look first."""
        return float(2.0 * self.deviation[k])

    def pdf(self, k: int, x: Array) -> Array:
        """Density of class k."""
        z = (x - self.mean[k]) / self.deviation[k]
        return np.asarray(np.exp(-0.5 * z**2) / (self.deviation[k] * math.sqrt(2 * math.pi)))

    def masses(self, k: int, left: Array, right: Array) -> Array:
        """Masses of class k between points."""
        z = [(x - self.mean[k]) / self.deviation[k] for x in (left, right)]
        return gaussian_masses(z[0], z[1])
