"""One Rosenbrock step of the semi-discrete density: compiled, without checks.

Layout. Elements of all teacher values lie side by side; `first[k]` is the first element of teacher
value k. A nodal field has shape (p + 1, E): node j of element e. Neighbours of one teacher value
share a vertex, stored twice:

    u[0, e] ... u[p, e] = u[0, e + 1] ... u[p, e + 1]

A residual is stored unassembled: the two entries of a vertex add up to its value. The last axis runs
over elements, so every inner loop vectorizes.

Both schemes are one conservative form. Element e pushes flux from node to node, and
    mass du/dτ = A(D) u,    D = max(dfactor·ε_g, least),    ε_g = floor + Σ weights·u,
so that the Jacobian is A(D) + (A'(D) u) ⊗ (dfactor·weights): banded plus rank one. Interior nodes are
eliminated element by element, the vertices by one tridiagonal solve, the rank one by the
Sherman–Morrison formula.

Scheme 0 (spectral volumes): nodal flux F = a u − D u', residual −(weak derivative of F).
Scheme 1 (Scharfetter–Gummel): p = 1, nodes are cell centres; the flux between two centres solves
the local stationary problem with drift `drift[0]` up to the face and `drift[1]` beyond it.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["BROKEN", "DONE", "rosenbrock_step"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

DONE = 0
BROKEN = 1

# Relative change of D for the derivative of the Scharfetter–Gummel coefficients: a central
# difference is then good to 1e-9, and it only enters the rank-one part of the Jacobian.
_D_STEP = 3e-5


@njit(cache=True, nogil=True, inline="never")
def _segment(rise: float) -> float:
    """∫_0^1 exp(−|rise| t) dt: mean of an exponential over a segment, relative to its larger end."""
    y = abs(rise)
    if y < 1e-8:
        return 1.0 - 0.5 * y
    return -math.expm1(-y) / y


@njit(cache=True, nogil=True)
def exponential_flux(drift: Array, half: Array, diffusivity: float, e: int) -> tuple[float, float]:
    """Coefficients (α, β) of the flux α u_left − β u_right through the face of element e.

    With the potential U(x) = −∫ a/D from the left centre, the flux that is constant between the
    centres is D (u_left − u_right exp(U_right)) / ∫ exp(U): exact for stationary densities, and
    α, β ≥ 0 whatever the drift. D = 0 is its limit, upwinding on either half.
    """
    advance_left = drift[0, e] * half[0, e]
    advance_right = drift[1, e] * half[1, e]
    if diffusivity <= 0.0:
        return max(drift[0, e], 0.0), max(-drift[1, e], 0.0)
    at_face = -advance_left / diffusivity
    at_right = at_face - advance_right / diffusivity
    top = max(0.0, max(at_face, at_right))
    integral = half[0, e] * math.exp(max(0.0, at_face) - top) * _segment(at_face)
    integral += half[1, e] * math.exp(max(at_face, at_right) - top) * _segment(at_right - at_face)
    return (
        diffusivity * math.exp(-top) / integral,
        diffusivity * math.exp(at_right - top) / integral,
    )


@njit(cache=True, nogil=True)
def _apply(
    scheme: int,
    u: Array,
    diffusivity: float,
    drift: Array,
    width: Array,
    half: Array,
    derivative: Array,
    quadrature: Array,
    flux: Array,
    out: Array,
) -> None:
    """out = A(D) u, unassembled."""
    nodes, elements = u.shape
    if scheme == 1:
        for e in range(elements):
            alpha, beta = exponential_flux(drift, half, diffusivity, e)
            through = alpha * u[0, e] - beta * u[1, e]
            out[0, e] = -through
            out[1, e] = through
        return
    for j in range(nodes):
        for e in range(elements):
            flux[j, e] = 0.0
        for i in range(nodes):
            slope = derivative[j, i]
            for e in range(elements):
                flux[j, e] += slope * u[i, e]
        for e in range(elements):
            flux[j, e] = quadrature[j] * (
                drift[j, e] * u[j, e] - (2.0 * diffusivity / width[e]) * flux[j, e]
            )
    for i in range(nodes):
        for e in range(elements):
            out[i, e] = 0.0
        for j in range(nodes):
            slope = derivative[j, i]
            for e in range(elements):
                out[i, e] += slope * flux[j, e]


@njit(cache=True, nogil=True)
def _apply_derivative(
    scheme: int,
    u: Array,
    diffusivity: float,
    drift: Array,
    width: Array,
    half: Array,
    derivative: Array,
    quadrature: Array,
    flux: Array,
    out: Array,
) -> None:
    """out = (dA/dD) u, unassembled."""
    nodes, elements = u.shape
    if scheme == 1:
        step = _D_STEP * diffusivity
        for e in range(elements):
            if step <= 0.0:
                out[0, e] = 0.0
                out[1, e] = 0.0
                continue
            alpha_up, beta_up = exponential_flux(drift, half, diffusivity + step, e)
            alpha_down, beta_down = exponential_flux(drift, half, diffusivity - step, e)
            through = (alpha_up - alpha_down) * u[0, e] - (beta_up - beta_down) * u[1, e]
            out[0, e] = -through / (2.0 * step)
            out[1, e] = through / (2.0 * step)
        return
    for j in range(nodes):
        for e in range(elements):
            flux[j, e] = 0.0
        for i in range(nodes):
            slope = derivative[j, i]
            for e in range(elements):
                flux[j, e] += slope * u[i, e]
        for e in range(elements):
            flux[j, e] *= -quadrature[j] * 2.0 / width[e]
    for i in range(nodes):
        for e in range(elements):
            out[i, e] = 0.0
        for j in range(nodes):
            slope = derivative[j, i]
            for e in range(elements):
                out[i, e] += slope * flux[j, e]


@njit(cache=True, nogil=True)
def _assemble(
    scheme: int,
    shift: float,
    diffusivity: float,
    mass: Array,
    drift: Array,
    width: Array,
    half: Array,
    weak: Array,
    stiffness: Array,
    matrix: Array,
) -> None:
    """matrix[:, :, e] = shift·mass − A(D) of element e."""
    nodes, elements = mass.shape
    if scheme == 1:
        for e in range(elements):
            alpha, beta = exponential_flux(drift, half, diffusivity, e)
            matrix[0, 0, e] = shift * mass[0, e] + alpha
            matrix[0, 1, e] = -beta
            matrix[1, 0, e] = -alpha
            matrix[1, 1, e] = shift * mass[1, e] + beta
        return
    for i in range(nodes):
        for j in range(nodes):
            advection = -weak[i, j]
            diffusion = 2.0 * diffusivity * stiffness[i, j]
            for e in range(elements):
                matrix[i, j, e] = advection * drift[j, e] + diffusion / width[e]
        for e in range(elements):
            matrix[i, i, e] += shift * mass[i, e]


@njit(cache=True, nogil=True)
def _factor(matrix: Array, first: Indices, lower: Array, pivot: Array) -> None:
    """Eliminate interior nodes in place, then factor the tridiagonal systems of the vertices.

    Vertices of teacher value k are numbered first[k] + k … first[k + 1] + k. `lower` and `pivot`
    hold the multipliers and reciprocal pivots of their elimination.
    """
    nodes, elements = matrix.shape[0], matrix.shape[2]
    last = nodes - 1
    for k in range(1, last):
        for e in range(elements):
            matrix[k, k, e] = 1.0 / matrix[k, k, e]
        for i in range(nodes):
            if 0 < i <= k:
                continue
            for e in range(elements):
                matrix[i, k, e] *= matrix[k, k, e]
            for j in range(nodes):
                if 0 < j <= k:
                    continue
                for e in range(elements):
                    matrix[i, j, e] -= matrix[i, k, e] * matrix[k, j, e]
    for k in range(first.size - 1):
        vertex = first[k] + k
        pivot[vertex] = matrix[0, 0, first[k]]
        for e in range(first[k], first[k + 1]):
            pivot[vertex] = 1.0 / pivot[vertex]
            lower[e] = matrix[last, 0, e] * pivot[vertex]
            vertex += 1
            pivot[vertex] = matrix[last, last, e] - lower[e] * matrix[0, last, e]
            if e + 1 < first[k + 1]:
                pivot[vertex] += matrix[0, 0, e + 1]
        pivot[vertex] = 1.0 / pivot[vertex]


@njit(cache=True, nogil=True)
def _solve(matrix: Array, first: Indices, lower: Array, pivot: Array, x: Array) -> None:
    """Replace the unassembled right-hand side `x` by the solution at the nodes."""
    nodes, elements = x.shape
    last = nodes - 1
    for k in range(1, last):
        for i in range(nodes):
            if 0 < i <= k:
                continue
            for e in range(elements):
                x[i, e] -= matrix[i, k, e] * x[k, e]
    for k in range(first.size - 1):
        begin, end = first[k], first[k + 1]
        for e in range(begin, end):
            x[last, e] -= lower[e] * x[0, e]
            if e + 1 < end:
                x[0, e + 1] += x[last, e]
        x[last, end - 1] *= pivot[end + k]
        for e in range(end - 1, begin - 1, -1):
            x[0, e] = (x[0, e] - matrix[0, last, e] * x[last, e]) * pivot[e + k]
            if e > begin:
                x[last, e - 1] = x[0, e]
    for k in range(last - 1, 0, -1):
        for e in range(elements):
            x[k, e] -= matrix[k, 0, e] * x[0, e]
        for j in range(k + 1, nodes):
            for e in range(elements):
                x[k, e] -= matrix[k, j, e] * x[j, e]
        for e in range(elements):
            x[k, e] *= matrix[k, k, e]


@njit(cache=True, nogil=True)
def _dot(a: Array, b: Array) -> float:
    # Partial sums over elements first, for vectorization and accuracy.
    total = 0.0
    for j in range(a.shape[0]):
        part = 0.0
        for e in range(a.shape[1]):
            part += a[j, e] * b[j, e]
        total += part
    return total


@njit(cache=True, nogil=True)
def _worst_l1(error: Array, mass: Array, first: Indices) -> float:
    """Largest L¹ norm of `error` over the conditional densities."""
    worst = 0.0
    for k in range(first.size - 1):
        norm = 0.0
        for j in range(error.shape[0]):
            for e in range(first[k], first[k + 1]):
                norm += mass[j, e] * abs(error[j, e])
        worst = max(worst, norm)
    return worst


@njit(cache=True, nogil=True)
def rosenbrock_step(
    scheme: int,
    u: Array,
    dt: float,
    floor: float,
    dfactor: float,
    least: float,
    mass: Array,
    functionals: Array,
    drift: Array,
    width: Array,
    half: Array,
    first: Indices,
    derivative: Array,
    quadrature: Array,
    weak: Array,
    stiffness: Array,
    gamma: float,
    stage_weights: Array,
    coupling: Array,
    work: Array,
    matrix: Array,
    lower: Array,
    pivot: Array,
    new: Array,
    report: Array,
) -> int:
    """Advance `u` by `dt` into `new`; `report` gets the error estimates and the new functionals.

    `functionals` has shape (3, p + 1, E): weights of ε_g − floor, m and q. `work` has shape
    (stages + 3, p + 1, E). report = (L¹ error, |error| of ε_g, m, q; new ε_g, m, q; minimum).
    """
    stages = stage_weights.shape[0]
    nodes, elements = u.shape
    flux = work[stages]
    start = work[stages + 1]
    column = work[stages + 2]
    weights = functionals[0]
    diffusivity = dfactor * (floor + _dot(weights, u))
    if diffusivity < least:
        diffusivity = least
        dfactor = 0.0
    _assemble(
        scheme, 1.0 / (gamma * dt), diffusivity, mass, drift, width, half, weak, stiffness, matrix
    )
    _factor(matrix, first, lower, pivot)
    _apply_derivative(
        scheme, u, diffusivity, drift, width, half, derivative, quadrature, flux, column
    )
    _solve(matrix, first, lower, pivot, column)
    bend = 1.0 - dfactor * _dot(weights, column)
    for s in range(stages):
        stage = work[s]
        for j in range(nodes):
            for e in range(elements):
                start[j, e] = u[j, e]
        for r in range(s):
            weight = stage_weights[s, r]
            for j in range(nodes):
                for e in range(elements):
                    start[j, e] += weight * work[r, j, e]
        at_stage = max(least, dfactor * (floor + _dot(weights, start)))
        _apply(scheme, start, at_stage, drift, width, half, derivative, quadrature, flux, stage)
        for r in range(s):
            weight = coupling[s, r] / dt
            for j in range(nodes):
                for e in range(elements):
                    stage[j, e] += weight * mass[j, e] * work[r, j, e]
        _solve(matrix, first, lower, pivot, stage)
        correction = dfactor * _dot(weights, stage) / bend
        for j in range(nodes):
            for e in range(elements):
                stage[j, e] += correction * column[j, e]
    error = work[stages - 1]
    smallest = 0.0
    for j in range(nodes):
        for e in range(elements):
            new[j, e] = start[j, e] + error[j, e]
            smallest = min(smallest, new[j, e])
    report[0] = _worst_l1(error, mass, first)
    for i in range(3):
        report[1 + i] = abs(_dot(functionals[i], error))
        report[4 + i] = _dot(functionals[i], new)
    report[4] += floor
    report[7] = smallest
    for i in range(8):
        if not math.isfinite(report[i]):
            return BROKEN
    return DONE
