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

__all__ = ["Line", "Records", "Steps", "march_adjoint", "march_density"]

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
def _curvature(values: Array, density: Array, delta: Array, scale: float, total: Array) -> None:
    """Add scale·∫ φ'' μ dw of every column of `values` (N, F) to `total`, weakly: −ΣΔφ Δμ/δ."""
    for i in range(delta.size):
        slope = -scale * (density[i + 1] - density[i]) / delta[i]
        for f in range(total.size):
            total[f] += slope * (values[i + 1, f] - values[i, f])


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
    diagonal, rhs = np.empty(cells), np.empty(cells)
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
            for i in range(cells):
                rhs[i] = old[i]
                diagonal[i] = 1.0
            for i in range(cells - 1):
                flux = right[i] * old[i] / widths[i] - left[i] * old[i + 1] / widths[i + 1]
                rhs[i] -= (1.0 - theta) * h * flux
                rhs[i + 1] += (1.0 - theta) * h * flux
                diagonal[i] += theta * h * right[i] / widths[i]
                diagonal[i + 1] += theta * h * left[i] / widths[i + 1]
            # Columns are diagonally dominant: elimination needs no pivots.
            for i in range(1, cells):
                factor = theta * h * right[i - 1] / widths[i - 1] / diagonal[i - 1]
                diagonal[i] -= factor * theta * h * left[i - 1] / widths[i]
                rhs[i] += factor * rhs[i - 1]
            new[cells - 1] = rhs[cells - 1] / diagonal[cells - 1]
            for i in range(cells - 2, -1, -1):
                known = theta * h * left[i] / widths[i + 1] * new[i + 1]
                new[i] = (rhs[i] + known) / diagonal[i]


@njit(cache=True, nogil=True)
def _solve_columns(
    right: Array, left: Array, widths: Array, h: float, diagonal: Array, columns: Array
) -> None:
    """Solve (1 − hL) x = columns in place, L the generator of the class; columns (N, F)."""
    cells, count = columns.shape
    for i in range(cells):
        diagonal[i] = 1.0
    for i in range(cells - 1):
        diagonal[i] += h * right[i] / widths[i]
        diagonal[i + 1] += h * left[i] / widths[i + 1]
    for i in range(1, cells):
        factor = h * left[i - 1] / widths[i] / diagonal[i - 1]
        diagonal[i] -= factor * h * right[i - 1] / widths[i - 1]
        for f in range(count):
            columns[i, f] += factor * columns[i - 1, f]
    for f in range(count):
        columns[cells - 1, f] /= diagonal[cells - 1]
    for i in range(cells - 2, -1, -1):
        upper = h * right[i] / widths[i]
        inverse = 1.0 / diagonal[i]
        for f in range(count):
            columns[i, f] = (columns[i, f] + upper * columns[i + 1, f]) * inverse


@njit(cache=True, nogil=True)
def _explicit(phi: Array, right: Array, left: Array, widths: Array, h: float, out: Array) -> None:
    """Fill the first columns of `out` with (1 + hL) φ; φ (N, F), out (N, F + 1)."""
    cells, count = phi.shape
    for i in range(cells):
        up = h * right[i] / widths[i] if i < cells - 1 else 0.0
        down = h * left[i - 1] / widths[i] if i > 0 else 0.0
        above, below = min(i + 1, cells - 1), max(i - 1, 0)
        for f in range(count):
            here = phi[i, f]
            out[i, f] = here + up * (phi[above, f] - here) - down * (here - phi[below, f])


@njit(cache=True, nogil=True)
def _record(
    now: Array,
    density: Array,
    widths: Array,
    delta: Array,
    kick: Array,
    error_form: Array,
    scale: float,
    first: Array,
    mean: Array,
) -> None:
    """Add scale·∫ φ'(Sψ − κw*) μ to `first` and scale·∫ φ ℓ μ to `mean`; φ = now (N, F)."""
    cells, count = now.shape[0], first.size
    for i in range(cells):
        part = scale * density[i] * widths[i] * error_form[i]
        for f in range(count):
            mean[f] += part * now[i, f]
    for i in range(cells - 1):
        # Half of either cell, over the distance of the centres.
        flow = widths[i] * density[i] * kick[i] + widths[i + 1] * density[i + 1] * kick[i + 1]
        part = 0.5 * scale * flow / delta[i]
        for f in range(count):
            first[f] += part * (now[i + 1, f] - now[i, f])


@njit(cache=True, nogil=True)
def march_adjoint(phi: Array, mass: Array, line: Line, steps: Steps, records: Records) -> None:
    """March φ backward over all M steps, in place, and record what the variance needs.

    `phi` (K, N, F) are functionals at the last time, overwritten by those at the first; `mass` and
    the diffusivities are those that `march_density` has found.
    """
    widths, delta, drift, error_form, kick, weights, sigma2 = line
    sizes, rate, units, implicit, diffusivity = steps
    first, curvature, mean = records
    count, cells, functionals = phi.shape
    right, left = np.empty(cells - 1), np.empty(cells - 1)
    diagonal = np.empty(cells)
    # The last column of a class is ℓ, the direction of the rank-one term.
    columns = np.empty((count, cells, functionals + 1))
    density = np.empty((count, cells))
    before, after = np.empty(functionals), np.empty(functionals + 1)
    for n in range(sizes.size - 1, -1, -1):
        h, theta, unit = sizes[n], implicit[n], units[n]
        before[:] = 0.0
        after[:] = 0.0
        for k in range(count):
            for i in range(cells):
                density[k, i] = 0.5 * (mass[n, k, i] + mass[n + 1, k, i]) / widths[i]
            _curvature(phi[k], density[k], delta, weights[k] * sigma2[k] * unit, before)
        for k in range(count):
            _rates(drift[k], rate[n], delta, sigma2[k] * diffusivity[n], right, left)
            _explicit(phi[k], right, left, widths, (1.0 - theta) * h, columns[k])
            for i in range(cells):
                part = (1.0 - theta) * h * error_form[k, i]
                for f in range(functionals):
                    columns[k, i, f] += part * before[f]
                columns[k, i, functionals] = theta * h * error_form[k, i]
            _solve_columns(right, left, widths, theta * h, diagonal, columns[k])
            _curvature(columns[k], density[k], delta, weights[k] * sigma2[k] * unit, after)
        share = after / (1.0 - after[functionals])
        first[n] = 0.0
        curvature[n] = 0.0
        mean[n] = 0.0
        for k in range(count):
            for i in range(cells):
                for f in range(functionals):
                    new = columns[k, i, f] + share[f] * columns[k, i, functionals]
                    columns[k, i, f] = 0.5 * (new + phi[k, i, f])
                    phi[k, i, f] = new
            now = columns[k]
            _curvature(now, density[k], delta, weights[k] * sigma2[k], curvature[n])
            scale = weights[k]
            _record(
                now, density[k], widths, delta, kick[k], error_form[k], scale, first[n], mean[n]
            )
        for f in range(functionals):
            first[n, f] *= rate[n]
