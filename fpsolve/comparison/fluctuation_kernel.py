"""Compiled march of a density and of the adjoint of its linearization, on fixed cells.

Cells i = 0 … N−1 with faces i + ½ between neighbours. What is continuous where the surrogate h
jumps is v = h² μ; its drift is a/h², and a cell of width Δw holds the mass v Δw/h². Class k has
the drift a = η·drift[k, i] of v on the face between i and i + 1. The flux there is
F = c₊ v_i − c₋ v_{i+1}, c± = D/δ ± a/2, with δ the distance of centres: second order in δ and in
the time step where the density is smooth, whatever aδ/D is, since a fitted flux would be an upwind
one wherever the drift carries a broad density.
Where the drift turns at a face and aδ/D is large, the layer there is thinner than a cell, and the
flux is the fitted one (Scharfetter & Gummel 1969): c± = (D/δ) B(∓aδ/D), B(x) = x/(eˣ − 1).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fpsolve.numerics.rows import add_rows, set_rows, set_three_rows

__all__ = ["Line", "Records", "Steps", "march_adjoint", "march_density", "product"]

Array = NDArray[np.float64]


class Line(NamedTuple):
    """N cells and K classes of coordinates on them.

    Attributes
    ----------
    widths : ndarray, shape (N,)
        Widths over h².
    delta : ndarray, shape (N − 1,)
        Distances of cell centres.
    drift : ndarray, shape (K, N − 1)
        Drift over η on the faces.
    error_form : ndarray, shape (K, N)
        ε_g = Σ p_k error_form·mass + offset.
    kick : ndarray, shape (K, N)
        h (S ψ − κ w*), the mean of h ψ_x times the residual's field.
    weights, sigma2 : ndarray, shape (K,)
        p_k and S_k.
    """

    widths: Array
    delta: Array
    drift: Array
    error_form: Array
    kick: Array
    weights: Array
    sigma2: Array


class Steps(NamedTuple):
    """M steps in time, each array of shape (M,).

    Attributes
    ----------
    size, rate : ndarray
        Step sizes and η.
    unit : ndarray
        D/(S ε_g).
    implicit : ndarray
        θ of the θ-method: ½ is Crank–Nicolson, 1 backward Euler.
    diffusivity : ndarray
        D/S in the middle of the step, ε_g extrapolated from the two times before it.
    """

    size: Array
    rate: Array
    unit: Array
    implicit: Array
    diffusivity: Array


class Records(NamedTuple):
    """In the middle of each step η E[h φ'(Sψ − κw*)], E[S h² φ''] and E[φ ℓ], each (M, F)."""

    first: Array
    curvature: Array
    mean: Array


@njit(cache=True, nogil=True)
def _rates(
    drift: Array, rate: float, delta: Array, diffusivity: float, right: Array, left: Array
) -> None:
    """Fill c₊ (`right`) and c₋ (`left`) of every face; the drift is rate·drift."""
    last = delta.size - 1
    for i in range(delta.size):
        a, d = rate * drift[i], delta[i]
        before, after = rate * drift[max(i - 1, 0)], rate * drift[min(i + 1, last)]
        turn = max(abs(a - before), abs(a - after))
        if abs(a) * d <= 2.0 * diffusivity or turn <= 0.45 * abs(a):
            left[i] = diffusivity / d - 0.5 * a
            right[i] = diffusivity / d + 0.5 * a
        elif abs(a) * d >= 700.0 * diffusivity:
            # Beyond 700 the exponential overflows, and the flux is upwind to all digits.
            right[i], left[i] = max(a, 0.0), max(-a, 0.0)
        else:
            left[i] = a / math.expm1(a * d / diffusivity)
            right[i] = left[i] + a


@njit(cache=True, nogil=True)
def march_density(mass: Array, line: Line, steps: Steps, offset: float) -> None:
    """March cell masses from mass[0] on, filling mass[1:] and the diffusivity of every step.

    `mass` (M + 1, K, N) are conditional cell masses at the M + 1 times; the first is given.
    `offset` is the part of ε_g that no weight changes.
    """
    widths, delta, drift, error_form, _, weights, sigma2 = line
    sizes, rate, unit, implicit, diffusivity = steps
    count, cells = drift.shape[0], widths.size
    right, left = np.empty(cells - 1), np.empty(cells - 1)
    factors, rhs, inverse = np.empty(cells), np.empty(cells), 1.0 / widths
    before, gap = 0.0, 0.0
    for n in range(sizes.size):
        h, theta = sizes[n], implicit[n]
        error = offset
        for k in range(count):
            error += weights[k] * np.dot(error_form[k], mass[n, k])
        middle = error if n == 0 else error + 0.5 * h * (error - before) / gap
        before, gap = error, h
        diffusivity[n] = unit[n] * max(middle, 0.0)
        for k in range(count):
            _rates(drift[k], rate[n], delta, sigma2[k] * diffusivity[n], right, left)
            old, new = mass[n, k], mass[n + 1, k]
            for i in range(cells - 1):
                right[i] *= h * inverse[i]
                left[i] *= h * inverse[i + 1]
            # Columns are diagonally dominant: elimination needs no pivots.
            come, gone, kept, above = 0.0, 0.0, 1.0, 0.0
            for i in range(cells):
                # What enters from below and what leaves, explicitly and implicitly.
                up = right[i] if i < cells - 1 else 0.0
                down = left[i - 1] if i > 0 else 0.0
                back = left[i] * old[i + 1] if i < cells - 1 else 0.0
                known = old[i] + (1.0 - theta) * (come + back - (up + down) * old[i])
                factor = theta * gone * kept
                kept = 1.0 / (1.0 + theta * (up + down) - factor * theta * down)
                rhs[i] = (known + theta * gone * above) * kept
                above = rhs[i]
                factors[i] = theta * kept
                come, gone = up * old[i], up
            new[cells - 1] = rhs[cells - 1]
            for i in range(cells - 2, -1, -1):
                new[i] = rhs[i] + factors[i] * left[i] * new[i + 1]


@njit(cache=True, nogil=True)
def _means(
    density: Array, line: Line, k: int, rate: float, before: Array, after: Array, forms: Array
) -> None:
    """Fill the rows of `forms`, whose products with φ are what `Records` holds, of class k.

    ∫ φ'' μ is meant weakly, −ΣΔφ Δμ/δ; μ is the mean of the masses `before` and `after`.
    """
    widths, delta, kick = line.widths, line.delta, line.kick
    for i in range(widths.size):
        density[i] = 0.5 * line.weights[k] * (before[i] + after[i]) / widths[i]
        forms[0, i] = 0.0
        forms[1, i] = 0.0
        forms[2, i] = density[i] * widths[i] * line.error_form[k, i]
    for i in range(delta.size):
        # Half of either cell, over the distance of the centres.
        flow = widths[i] * density[i] * kick[k, i]
        flow += widths[i + 1] * density[i + 1] * kick[k, i + 1]
        flow *= 0.5 * rate / delta[i]
        slope = line.sigma2[k] * (density[i + 1] - density[i]) / delta[i]
        forms[0, i + 1] += flow
        forms[0, i] -= flow
        forms[1, i + 1] -= slope
        forms[1, i] += slope


@njit(cache=True, nogil=True)
def _eliminate(phi: Array, moves: Array, theta: float, columns: Array, direction: Array) -> None:
    """Solve (1 − θhL) x = (1 + (1 − θ)hL) φ for `columns` (N, F), and = `direction` in place.

    `moves` (3, N): what hL moves from a cell to the next and to the last one; room for a diagonal.
    """
    right, left, inverse = moves
    cells, count = phi.shape
    explicit = 1.0 - theta
    weights = np.empty(3)
    for i in range(cells):
        below = max(i - 1, 0)
        factor = theta * left[i] * inverse[below] if i > 0 else 0.0
        gone = theta * right[below] if i > 0 else 0.0
        inverse[i] = 1.0 / (1.0 + theta * (right[i] + left[i]) - factor * gone)
        weights[0], weights[2] = explicit * left[i], explicit * right[i]
        weights[1] = 1.0 - weights[0] - weights[2]
        # At an end the weight beside it is 0.
        first, last = 1 if i == 0 else 0, 2 if i == cells - 1 else 3
        at = i * count
        set_rows(
            columns, at, weights, first, phi, at + (first - 1) * count, count, last - first, count
        )
        if i > 0:
            direction[i] += factor * direction[below]
            weights[0] = factor
            add_rows(columns, at, weights, 0, columns, at - count, count, 1, count)
    for i in range(cells - 1, -1, -1):
        above, up = min(i + 1, cells - 1), theta * right[i]
        if i < cells - 1:
            direction[i] += up * direction[above]
        direction[i] *= inverse[i]
        for f in range(count):
            columns[i, f] = (columns[i, f] + up * columns[above, f]) * inverse[i]


@njit(cache=True, nogil=True)
def march_adjoint(phi: Array, mass: Array, line: Line, steps: Steps, records: Records) -> None:
    """March φ backward over all M steps, in place, and record what the variance needs.

    `phi` (K, N, F) are functionals at the last time, overwritten by those at the first; `mass` and
    the diffusivities are those that `march_density` has found.
    """
    widths = line.widths
    count, cells, functionals = phi.shape
    moves, density = np.zeros((3, cells)), np.empty(cells)
    columns, forms = np.zeros_like(phi), np.empty((3, cells))
    # The direction of the rank-one term.
    direction = np.empty((count, cells))
    # Means of one class, of all before and after the step, and of the direction.
    part, old = np.empty((3, functionals)), np.empty((3, functionals))
    new, along, share = np.empty((3, functionals)), np.empty(3), np.empty(functionals)
    for n in range(steps.size.size - 1, -1, -1):
        h, theta, rate = steps.size[n], steps.implicit[n], steps.rate[n]
        old[:] = 0.0
        new[:] = 0.0
        along[:] = 0.0
        for k in range(count):
            _means(density, line, k, rate, mass[n, k], mass[n + 1, k], forms)
            right, left, _ = moves
            diffusivity = line.sigma2[k] * steps.diffusivity[n]
            _rates(line.drift[k], rate, line.delta, diffusivity, right, left)
            # From the faces to the cells that are left through them.
            left[1:] = h * left[:-1] / widths[1:]
            right[:-1] = h * right[:-1] / widths[:-1]
            right[cells - 1], left[0] = 0.0, 0.0
            direction[k] = line.error_form[k]
            _eliminate(phi[k], moves, theta, columns[k], direction[k])
            for values, total in ((phi[k], old), (columns[k], new)):
                own, size = (0, functionals), functionals
                set_three_rows(part, own, forms, (0, cells), values, 0, size, cells, size)
                total += part
            for j in range(3):
                along[j] += np.dot(forms[j], direction[k])
        # φ is the solution plus `share` of the direction, by ∂D/∂ε_g E φ'' of both times.
        unit = steps.unit[n] * h
        share[:] = (1.0 - theta) * old[1] + theta * new[1]
        share *= unit / (1.0 - unit * theta * along[1])
        for k in range(count):
            for i in range(cells):
                for f in range(functionals):
                    phi[k, i, f] = columns[k, i, f] + share[f] * direction[k, i]
        for row, j in ((records.first, 0), (records.curvature, 1), (records.mean, 2)):
            row[n] = 0.5 * (old[j] + new[j] + along[j] * share)


@njit(cache=True, nogil=True)
def product(left: Array, right: Array, out: Array) -> None:
    """Fill `out` (A, B) with left (A, M) times right (M, B), both C-contiguous, by one thread.

    The threads of a linear-algebra library wait for each other where processors are busy, many
    times as long as a product of this size takes.
    """
    rows, inner = left.shape
    columns = right.shape[1]
    for i in range(rows):
        set_rows(out, i * columns, left, i * inner, right, 0, columns, inner, columns)
