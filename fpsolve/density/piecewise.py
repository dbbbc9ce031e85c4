"""Compiled evaluation, integration and inversion of piecewise polynomials.

An element [left, left + width] is mapped to ξ in [−1, 1]; polynomials come as Legendre
coefficients, one column an element.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fpsolve.numerics.ahead import ahead
from fpsolve.numerics.signatures import Shape

__all__ = ["cumulate", "evaluate", "integrate", "invert", "survey"]

Array = NDArray[np.float64]
Table = Annotated[Array, Shape(2)]
Landed = Annotated[Array, Shape(1, readonly=True)]
Firsts = Annotated[NDArray[np.int64], Shape(2, readonly=True)]

# Bisection alone comes down to rounding in 54; Newton's method needs fewer than ten.
_MOST_ROUNDS = 80


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
def evaluate(left: Array, width: Array, modes: Array, w: Array, out: Array) -> None:
    """out[i] = density at w[i], from the element to its right; unchanged outside all elements."""
    if left.size == 0:
        return
    for i in range(w.size):
        e = max(np.searchsorted(left, w[i], side="right") - 1, 0)
        if w[i] >= left[e] and w[i] <= left[e] + width[e]:
            out[i] = _legendre_sum(modes, e, 2.0 * (w[i] - left[e]) / width[e] - 1.0)


@njit(cache=True, nogil=True)
def cumulate(
    left: Array, width: Array, primitive: Array, before: Array, w: Array, out: Array
) -> None:
    """out[i] = mass at or below w[i]; `before` (E,) is the mass before each element."""
    if left.size == 0:
        return
    for i in range(w.size):
        e = np.searchsorted(left, w[i], side="right") - 1
        if e >= 0:
            xi = min(2.0 * (w[i] - left[e]) / width[e] - 1.0, 1.0)
            out[i] = before[e] + 0.5 * width[e] * _legendre_sum(primitive, e, xi)


@njit(cache=True, nogil=True)
def integrate(
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
            # What lies below the first edge belongs to no cell.
            if edges[cell] > low:
                xi = min(2.0 * (edges[cell] - low) / width[e] - 1.0, 1.0)
                before = 0.5 * width[e] * _legendre_sum(primitive, e, xi)
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


@njit(cache=True, nogil=True)
def invert(
    left: Array,
    width: Array,
    modes: Array,
    primitive: Array,
    before: Array,
    mass: Array,
    out: Array,
) -> None:
    """out[i] = point below which there is mass[i]; the last element's end where there is none.

    Newton's method on the mass within one element, kept inside a bracket by bisection.
    """
    last = left.size - 1
    for i in range(mass.size):
        e = min(max(np.searchsorted(before, mass[i], side="right") - 1, 0), last)
        sought = 2.0 * (mass[i] - before[e]) / width[e]
        low, high = -1.0, 1.0
        xi = 0.0
        for _ in range(_MOST_ROUNDS):
            excess = _legendre_sum(primitive, e, xi) - sought
            if excess < 0.0:
                low = xi
            else:
                high = xi
            new = 0.5 * (low + high)
            rise = _legendre_sum(modes, e, xi)
            if rise > 0.0 and low < xi - excess / rise < high:
                new = xi - excess / rise
            if abs(new - xi) < 2e-16:
                break
            xi = new
        out[i] = left[e] + 0.5 * width[e] * (1.0 + xi)


@ahead(aside=True)
@njit(cache=True, nogil=True, error_model="numpy")
def survey(first: Firsts, values: Landed, rows: Table, parts: int, held: Table, out: Table) -> None:
    """Say how good densities at several times are, of which atoms hold `held` (T, K).

    `first` (T, K + 1) are the first elements, and `values` left ends, widths and nodal values of a
    time's elements, one time after the other. `rows` turn nodal values into averages over `parts`
    equal parts of an element, its two highest modes, and its average. `out` (T, 4) gets the least
    and the largest average over a part, and the largest mass, of all classes, that the highest
    modes carry, and |mass − 1|; NaN where there is one.
    """
    nodes, at = rows.shape[1], 0
    for t in range(first.shape[0]):
        count = first[t, -1]
        end = at + (2 + nodes) * count
        width, u = values[at + count : at + 2 * count], values[at + 2 * count : end]
        at = end
        least, largest, tails = np.empty(count), np.empty(count), np.zeros(count)
        average = np.empty(count)
        for e in range(count):
            least[e], largest[e] = np.inf, -np.inf
        for r in range(rows.shape[0]):
            for e in range(count):
                average[e] = rows[r, 0] * u[e]
            for j in range(1, nodes):
                weight, row = rows[r, j], u[j * count : (j + 1) * count]
                for e in range(count):
                    average[e] += weight * row[e]
            if r < parts:
                for e in range(count):
                    least[e] = min(least[e], average[e])
                    largest[e] = max(largest[e], average[e])
            elif r < parts + 2:
                for e in range(count):
                    tails[e] = max(tails[e], abs(average[e]))
        low, high, most, defect = np.inf, -np.inf, 0.0, 0.0
        for k in range(held.shape[1]):
            mass, tail = held[t, k], 0.0
            for e in range(first[t, k], first[t, k + 1]):
                low, high = min(low, least[e]), max(high, largest[e])
                mass += average[e] * width[e]
                tail += tails[e] * width[e]
            most = max(most, tail)
            # Only a comparison of this form keeps a NaN, which a mass has if anything else has.
            defect = defect if abs(mass - 1.0) <= defect else abs(mass - 1.0)
        if np.isnan(defect):
            low = defect
        out[t, 0], out[t, 1], out[t, 2], out[t, 3] = low, high, most, defect
