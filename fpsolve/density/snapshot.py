"""`Snapshot`: the density at one time, and its reduction to moments and cell averages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.polynomial import legendre
from numpy.typing import NDArray

from fpsolve.density.element import Element
from fpsolve.problem.teacher import Teacher

__all__ = ["Snapshot", "common_edges", "thin_edges"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Piecewise polynomial conditional densities, elements of all teacher values side by side.

    Attributes
    ----------
    element : Element
        Reference element.
    first : ndarray, shape (K + 1,)
        First element of each teacher value.
    left, width : ndarray, shape (E,)
        Elements (dimensionless).
    x, psi, mass, u : ndarray, shape (p + 1, E)
        Positions, ψ, control volumes and density at the nodes.
    """

    element: Element
    first: NDArray[np.int64]
    left: Array
    width: Array
    x: Array
    psi: Array
    mass: Array
    u: Array

    def moments(self, teacher: Teacher) -> dict[str, float]:
        """Return m, q, m_psi, q_psi and r_psi by the quadrature of the elements."""
        k = np.repeat(np.arange(teacher.values.size), np.diff(self.first))
        weight = self.mass * self.u * teacher.probabilities[k]
        w_star = teacher.values[k]
        return {
            "m": float(np.sum(weight * w_star * self.x)),
            "q": float(np.sum(weight * self.x**2)),
            "m_psi": float(np.sum(weight * w_star * self.psi)),
            "q_psi": float(np.sum(weight * self.psi**2)),
            "r_psi": float(np.sum(weight * self.x * self.psi)),
        }

    def mass_defect(self) -> float:
        """Largest |mass − 1| of a conditional density."""
        totals = np.add.reduceat((self.mass * self.u).sum(axis=0), self.first[:-1])
        return float(np.abs(totals - 1).max())

    def unresolved(self) -> float:
        """Largest L¹ norm, over teacher values, of what the highest Legendre modes carry."""
        tail = np.abs(self.element.legendre[-2:] @ self.u).max(axis=0) * self.width
        return float(np.add.reduceat(tail, self.first[:-1]).max())

    def evaluate(self, k: int, x: Array) -> Array:
        """Return the density of teacher value k at points `x`, zero outside its elements."""
        own = slice(self.first[k], self.first[k + 1])
        left, width = self.left[own], self.width[own]
        at = np.clip(np.searchsorted(left, x, side="right") - 1, 0, left.size - 1)
        xi = 2.0 * (x - left[at]) / width[at] - 1.0
        modes = (self.element.legendre @ self.u[:, own])[:, at]
        values = (np.moveaxis(legendre.legvander(xi, self.element.order), -1, 0) * modes).sum(
            axis=0
        )
        outside = (x < left[0]) | (x > left[-1] + width[-1])
        return np.where(outside, 0.0, values)

    def cell_averages(self, edges: Array) -> Array:
        """Return the cell averages on `edges` (N + 1,), shape (K, N); zero outside the elements."""
        out = np.zeros((self.first.size - 1, edges.size - 1))
        _integrate(self.first, self.left, self.width, self.element.primitive @ self.u, edges, out)
        return out / np.diff(edges)


@njit(cache=True, nogil=True)
def _legendre_sum(coefficients: Array, e: int, xi: float) -> float:
    """Σ_n coefficients[n, e] P_n(ξ), by Clenshaw's recurrence."""
    ahead = 0.0
    further = 0.0
    for n in range(coefficients.shape[0] - 1, 0, -1):
        now = coefficients[n, e] + (2 * n + 1) * xi / (n + 1) * ahead - (n + 1) / (n + 2) * further
        further = ahead
        ahead = now
    return float(coefficients[0, e] + xi * ahead - 0.5 * further)


@njit(cache=True, nogil=True)
def _integrate(
    first: NDArray[np.int64],
    left: Array,
    width: Array,
    primitive: Array,
    edges: Array,
    out: Array,
) -> None:
    """out[k, n] += integral of density k over cell n, element by element."""
    for k in range(first.size - 1):
        n = 0
        for e in range(first[k], first[k + 1]):
            low, high = left[e], left[e] + width[e]
            while n + 1 < edges.size - 1 and edges[n + 1] <= low:
                n += 1
            before = 0.0
            cell = n
            while cell < edges.size - 1:
                # A cell that ends within rounding of the element's end takes the whole rest.
                reach = edges[cell + 1]
                at_end = reach >= high - 1e-9 * width[e]
                xi = 1.0 if at_end else 2.0 * (reach - low) / width[e] - 1.0
                if xi > -1.0:
                    upto = 0.5 * width[e] * _legendre_sum(primitive, e, xi)
                    out[k, cell] += upto - before
                    before = upto
                if at_end:
                    break
                cell += 1


def common_edges(snapshots: list[Snapshot], thresholds: Array, cells_per_element: int) -> Array:
    """Return edges that resolve every snapshot and contain every threshold in their range.

    Elements of all snapshots are overlaid; where meshes shifted against each other would leave
    slivers, edges closer than half the local element are dropped, thresholds never.
    """
    left = np.concatenate([s.left for s in snapshots])
    width = np.concatenate([s.width for s in snapshots])
    edge = np.concatenate([left, left + width])
    size = np.concatenate([width, width])
    low, high = edge.min(), edge.max()
    inside = thresholds[(thresholds > low) & (thresholds < high)]
    mandatory = np.concatenate([[low], inside, [high]])
    edge = np.concatenate([edge, mandatory])
    size = np.concatenate([size, np.zeros(mandatory.size)])
    order = np.argsort(edge, kind="stable")
    boundaries = thin_edges(edge[order], size[order])
    fractions = np.arange(cells_per_element) / cells_per_element
    cells = boundaries[:-1, None] + np.diff(boundaries)[:, None] * fractions
    return np.append(cells.ravel(), boundaries[-1])


@njit(cache=True, nogil=True)
def thin_edges(edge: Array, size: Array) -> Array:
    """Drop edges closer to the last kept one than 0.49 of their element; size 0 is mandatory."""
    kept = np.empty_like(edge)
    count = 0
    i = 0
    while i < edge.size:
        # Coinciding edges (up to rounding) count once, with the smallest element among them.
        smallest = size[i]
        at = edge[i]
        mandatory = size[i] == 0.0
        j = i + 1
        while j < edge.size and edge[j] - edge[i] <= max(1e-9 * size[j], 1e-15 * abs(edge[i])):
            if size[j] == 0.0:
                mandatory = True
                at = edge[j]
            smallest = min(smallest, size[j])
            j += 1
        if count == 0 or mandatory or at - kept[count - 1] > 0.49 * smallest:
            kept[count] = at
            count += 1
        i = j
    return kept[:count].copy()
