"""The reference element [−1, 1] with Gauss–Lobatto nodes: quadrature, derivative, transfer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

__all__ = ["Element", "reference_element"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Element:
    """Degree-p polynomials on [−1, 1] by their values at p + 1 Gauss–Lobatto nodes.

    The nodes carry control volumes as wide as their quadrature weights: a node's update is the
    difference of the fluxes through the two faces of its volume (Fisher & Carpenter 2013), which
    makes collocation at these nodes a finite-volume (spectral-volume) scheme.

    Attributes
    ----------
    order : int
        Polynomial degree p; the density converges like h^(p+1).
    nodes, weights : ndarray, shape (p + 1,)
        Gauss–Lobatto nodes and weights, exact up to degree 2p − 1.
    derivative : ndarray, shape (p + 1, p + 1)
        Nodal values to nodal values of the derivative.
    legendre : ndarray, shape (p + 1, p + 1)
        Nodal values to Legendre coefficients.
    halves : ndarray, shape (2, p + 1, p + 1)
        Nodal values to values at the nodes of the left and the right half.
    merge : ndarray, shape (p + 1, 2p + 2)
        Values on two halves to values at the nodes of their union.
    restore : ndarray, shape (p + 1, 3)
        Columns are polynomials that vanish at ±1 with moments ∫ (1, ξ, ξ²) equal to one unit
        vector each: they set the three moments of an element and leave its end values.
    weak, stiffness : ndarray, shape (p + 1, p + 1)
        ∫ φ_i' φ_j and ∫ φ_i' φ_j' of the nodal basis.
    primitive : ndarray, shape (p + 2, p + 1)
        Nodal values to Legendre coefficients of the antiderivative that vanishes at −1.
    parts : ndarray, shape (2p, p + 1)
        Nodal values to averages over 2p equal parts, p of each half.
    """

    order: int
    nodes: Array
    weights: Array
    derivative: Array
    legendre: Array
    halves: Array
    merge: Array
    restore: Array
    weak: Array
    stiffness: Array
    primitive: Array
    parts: Array

    def interpolation(self, points: Array) -> Array:
        """Return the matrix from nodal values to values at `points` in [−1, 1]."""
        return np.asarray(legendre.legvander(points, self.order) @ self.legendre)


@lru_cache(maxsize=32)
def reference_element(order: int) -> Element:
    """Return the element of polynomial degree `order` >= 4."""
    coefficients = np.zeros(order + 1)
    coefficients[-1] = 1.0
    # NumPy 2.5 returns them as complex numbers, which they are not.
    interior = legendre.legroots(legendre.legder(coefficients)).real
    # Symmetrized, so that mirrored problems give mirrored densities to the last bit.
    interior = 0.5 * (interior - interior[::-1])
    nodes = np.concatenate([[-1.0], interior, [1.0]])
    weights = 2.0 / (order * (order + 1) * legendre.legval(nodes, coefficients) ** 2)
    vandermonde = legendre.legvander(nodes, order)
    to_legendre = np.linalg.inv(vandermonde)
    slopes = np.stack(
        [legendre.legval(nodes, legendre.legder(row)) for row in np.eye(order + 1)], axis=1
    )
    derivative = slopes @ to_legendre
    # Rows sum to zero exactly: a constant density has no diffusive flux.
    np.fill_diagonal(derivative, 0.0)
    np.fill_diagonal(derivative, -derivative.sum(axis=1))
    left = legendre.legvander(0.5 * (nodes - 1), order) @ to_legendre
    right = legendre.legvander(0.5 * (nodes + 1), order) @ to_legendre
    merge = np.zeros((order + 1, 2 * order + 2))
    for row, node in enumerate(nodes):
        half = 0 if node <= 0 else 1
        child = 2 * node + (1 if half == 0 else -1)
        columns = slice(half * (order + 1), (half + 1) * (order + 1))
        merge[row, columns] = legendre.legvander(np.array([child]), order)[0] @ to_legendre
    powers = nodes[:, None] ** np.arange(3)
    bubbles = (1 - nodes[:, None] ** 2) * powers
    restore = bubbles @ np.linalg.inv(powers.T @ (weights[:, None] * bubbles))
    primitive = np.asarray(legendre.legint(to_legendre, lbnd=-1), dtype=np.float64)
    edges = legendre.legvander(np.linspace(-1.0, 1.0, 2 * order + 1), order + 1)
    return Element(
        order,
        nodes,
        weights,
        derivative,
        to_legendre,
        np.stack([left, right]),
        merge,
        restore,
        np.ascontiguousarray((weights[:, None] * derivative).T),
        derivative.T @ (weights[:, None] * derivative),
        primitive,
        order * np.diff(edges, axis=0) @ primitive,
    )
