"""`PiecewisePolynomial`: a density on the line at one time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import ArrayLike, NDArray

from fpsolve.numerics.element import Element, reference_element

__all__ = ["PiecewisePolynomial"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PiecewisePolynomial:
    """Polynomials on elements that ascend, by their values at the Gauss–Lobatto nodes.

    Attributes
    ----------
    order : int
        Degree p.
    left, width : ndarray, shape (E,)
        Elements (dimensionless).
    u : ndarray, shape (p + 1, E)
        Density at the nodes.
    """

    order: int
    left: Array
    width: Array
    u: Array

    @property
    def element(self) -> Element:
        """Reference element."""
        return reference_element(self.order)

    @cached_property
    def _masses(self) -> Array:
        return np.asarray(0.5 * self.width * (self.element.weights @ self.u))

    @property
    def mass(self) -> float:
        """Total mass."""
        return float(self._masses.sum())

    def _locate(self, x: Array) -> tuple[NDArray[np.int64], Array]:
        at = np.clip(np.searchsorted(self.left, x, side="right") - 1, 0, self.left.size - 1)
        return at, np.clip(2.0 * (x - self.left[at]) / self.width[at] - 1.0, -1.0, 1.0)

    def pdf(self, x: Array) -> Array:
        """Return the density at `x`, same shape; 0 outside the elements."""
        at, xi = self._locate(x)
        basis = np.moveaxis(legendre.legvander(xi, self.order), -1, 0)
        values = (basis * (self.element.legendre @ self.u)[:, at]).sum(axis=0)
        outside = (x < self.left[0]) | (x > self.left[-1] + self.width[-1])
        return np.where(outside, 0.0, values)

    def cdf(self, x: Array) -> Array:
        """Return the mass at or below `x`, same shape."""
        at, xi = self._locate(x)
        basis = np.moveaxis(legendre.legvander(xi, self.order + 1), -1, 0)
        part = (basis * (self.element.primitive @ self.u)[:, at]).sum(axis=0)
        before = np.concatenate([[0.0], np.cumsum(self._masses)])[at]
        return np.asarray(before + 0.5 * self.width[at] * part)

    def expectation(self, function: Callable[[Array], ArrayLike]) -> float:
        """Return ∫ f times the density; f may jump where elements meet."""
        nodes, weights = np.polynomial.legendre.leggauss(self.order + 4)
        x = self.left + 0.5 * self.width * (1.0 + nodes[:, None])
        values = self.element.interpolation(nodes) @ self.u
        asked = np.asarray(function(x), dtype=np.float64)
        return float((0.5 * self.width * (weights @ (values * asked))).sum())
