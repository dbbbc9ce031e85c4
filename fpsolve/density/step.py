"""One Rosenbrock step of the semi-discrete density: compiled, without checks.

Layout. Elements of all teacher values lie side by side; `first[k]` is the first element of teacher
value k. A nodal field has shape (p + 1, E): node j of element e. Neighbours of one teacher value
share a vertex, stored twice:

    u[0, e] ... u[p, e] = u[0, e + 1] ... u[p, e + 1]

A residual is stored unassembled: the two entries of a vertex add up to its value. The last axis
runs over elements, so every inner loop vectorizes.

Both schemes are one conservative form. Element e pushes flux from node to node, and
    mass du/dτ = A(D) u,    D = max(dfactor·ε_g, least),    ε_g = floor + Σ weights·u,
so that the Jacobian is A(D) + (A'(D) u) ⊗ (dfactor·weights): banded plus rank one. Interior nodes
are eliminated element by element, the vertices by one tridiagonal solve, the rank one by the
Sherman–Morrison formula.

Ranges of elements are unsigned: an index that might be negative would have to be wrapped around,
which keeps loops from being vectorized.

Teacher values meet only in one sum per stage, which lets `begin_step`, `take_stage` and `end_step`
work on ranges of them at the same time; `rosenbrock_step` runs them all in turn. The sums are added
in the order of the teacher values, so the result does not depend on who computed them.

Scheme 0 (spectral volumes): nodal flux F = a u − D u', residual −(weak derivative of F); `metric`
is 2/(element width), the derivative of the reference coordinate.
Scheme 1 (Scharfetter–Gummel): p = 1, nodes are cell centres; the flux between two centres solves
the local stationary problem with drift `drift[0]` up to the face and `drift[1]` beyond it.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = [
    "BROKEN",
    "DONE",
    "begin_step",
    "end_step",
    "exponential_flux",
    "report_step",
    "rosenbrock_step",
    "take_stage",
]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

DONE = 0
BROKEN = 1

# Relative change of D for the derivative of the Scharfetter–Gummel coefficients: a central
# difference is then good to 1e-9, and it only enters the rank-one part of the Jacobian.
_D_STEP = 3e-5


@njit(cache=True, nogil=True)
def _unsigned(index: int) -> int:
    """The same element number, without sign for compiled loops."""
    return np.uint64(index)  # type: ignore[return-value]


@njit(cache=True, nogil=True)
def _segment(rise: float) -> float:
    """∫_0^1 exp(−|rise| t) dt: mean of an exponential, relative to its larger end."""
    y = abs(rise)
    if y < 1e-8:
        return 1.0 - 0.5 * y
    return -math.expm1(-y) / y


@njit(cache=True, nogil=True)
def exponential_flux(drift: Array, half: Array, diffusivity: float, e: int) -> tuple[float, float]:
    """Coefficients (α, β) of the flux α u_left − β u_right through the face of element e.

    With the potential U(x) = −∫ a/D from the left centre, the flux that is constant between the
    centres is D (u_left − u_right exp(U_right)) / ∫ exp(U): exact for stationary densities, and
    α, β ≥ 0 whatever the drift.
    """
    advance_left = drift[0, e] * half[0, e]
    advance_right = drift[1, e] * half[1, e]
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
def _diffusive_slope(u: Array, derivative: Array, begin: int, end: int, flux: Array) -> None:
    """flux = derivative of u on the reference element."""
    nodes = u.shape[0]
    for j in range(nodes):
        for e in range(begin, end):
            flux[j, e] = derivative[j, 0] * u[0, e]
        for i in range(1, nodes):
            slope = derivative[j, i]
            for e in range(begin, end):
                flux[j, e] += slope * u[i, e]


@njit(cache=True, nogil=True)
def _weak_divergence(flux: Array, derivative: Array, begin: int, end: int, out: Array) -> None:
    """out = −(weak derivative of the flux), the flux already weighted by the quadrature."""
    nodes = flux.shape[0]
    for i in range(nodes):
        for e in range(begin, end):
            out[i, e] = derivative[0, i] * flux[0, e]
        for j in range(1, nodes):
            slope = derivative[j, i]
            for e in range(begin, end):
                out[i, e] += slope * flux[j, e]


@njit(cache=True, nogil=True)
def _apply(
    scheme: int,
    u: Array,
    diffusivity: float,
    drift: Array,
    metric: Array,
    half: Array,
    derivative: Array,
    quadrature: Array,
    begin: int,
    end: int,
    flux: Array,
    out: Array,
) -> None:
    """out = A(D) u, unassembled."""
    if scheme == 1:
        for e in range(begin, end):
            alpha, beta = exponential_flux(drift, half, diffusivity, e)
            through = alpha * u[0, e] - beta * u[1, e]
            out[0, e] = -through
            out[1, e] = through
        return
    _diffusive_slope(u, derivative, begin, end, flux)
    for j in range(u.shape[0]):
        for e in range(begin, end):
            flux[j, e] = quadrature[j] * (
                drift[j, e] * u[j, e] - diffusivity * metric[e] * flux[j, e]
            )
    _weak_divergence(flux, derivative, begin, end, out)


@njit(cache=True, nogil=True)
def _apply_derivative(
    scheme: int,
    u: Array,
    diffusivity: float,
    drift: Array,
    metric: Array,
    half: Array,
    derivative: Array,
    quadrature: Array,
    begin: int,
    end: int,
    flux: Array,
    out: Array,
) -> None:
    """out = (dA/dD) u, unassembled."""
    if scheme == 1:
        step = _D_STEP * diffusivity
        for e in range(begin, end):
            alpha_up, beta_up = exponential_flux(drift, half, diffusivity + step, e)
            alpha_down, beta_down = exponential_flux(drift, half, diffusivity - step, e)
            through = (alpha_up - alpha_down) * u[0, e] - (beta_up - beta_down) * u[1, e]
            out[0, e] = -through / (2.0 * step)
            out[1, e] = through / (2.0 * step)
        return
    _diffusive_slope(u, derivative, begin, end, flux)
    for j in range(u.shape[0]):
        for e in range(begin, end):
            flux[j, e] *= -quadrature[j] * metric[e]
    _weak_divergence(flux, derivative, begin, end, out)


@njit(cache=True, nogil=True)
def _assemble(
    scheme: int,
    shift: float,
    diffusivity: float,
    mass: Array,
    drift: Array,
    metric: Array,
    half: Array,
    weak: Array,
    stiffness: Array,
    begin: int,
    end: int,
    matrix: Array,
) -> None:
    """matrix[:, :, e] = shift·mass − A(D) of element e."""
    nodes = mass.shape[0]
    if scheme == 1:
        for e in range(begin, end):
            alpha, beta = exponential_flux(drift, half, diffusivity, e)
            matrix[0, 0, e] = shift * mass[0, e] + alpha
            matrix[0, 1, e] = -beta
            matrix[1, 0, e] = -alpha
            matrix[1, 1, e] = shift * mass[1, e] + beta
        return
    for i in range(nodes):
        for j in range(nodes):
            advection = -weak[i, j]
            diffusion = diffusivity * stiffness[i, j]
            for e in range(begin, end):
                matrix[i, j, e] = advection * drift[j, e] + diffusion * metric[e]
        for e in range(begin, end):
            matrix[i, i, e] += shift * mass[i, e]


@njit(cache=True, nogil=True)
def _eliminate(multiplier: Array, pivot: Array, row: Array) -> None:
    """row −= multiplier·pivot: as arrays of their own, not rows of one, the loop vectorizes."""
    for e in range(row.size):
        row[e] -= multiplier[e] * pivot[e]


@njit(cache=True, nogil=True)
def _factor(matrix: Array, begin: int, end: int, k: int, lower: Array, pivot: Array) -> None:
    """Eliminate interior nodes in place, then factor the tridiagonal system of the vertices.

    Vertices of teacher value k are numbered begin + k … end + k. `lower` and `pivot` hold the
    multipliers and reciprocal pivots of their elimination.
    """
    nodes = matrix.shape[0]
    last = nodes - 1
    for c in range(1, last):
        for e in range(begin, end):
            matrix[c, c, e] = 1.0 / matrix[c, c, e]
        for i in range(nodes):
            if 0 < i <= c:
                continue
            multiplier = matrix[i, c, begin:end]
            for e in range(begin, end):
                matrix[i, c, e] *= matrix[c, c, e]
            for j in range(nodes):
                if 0 < j <= c:
                    continue
                _eliminate(multiplier, matrix[c, j, begin:end], matrix[i, j, begin:end])
    here, stop = int(begin), int(end)
    vertex = here + k
    pivot[vertex] = matrix[0, 0, here]
    for e in range(here, stop):
        pivot[vertex] = 1.0 / pivot[vertex]
        lower[e] = matrix[last, 0, e] * pivot[vertex]
        vertex += 1
        pivot[vertex] = matrix[last, last, e] - lower[e] * matrix[0, last, e]
        if e + 1 < stop:
            pivot[vertex] += matrix[0, 0, e + 1]
    pivot[vertex] = 1.0 / pivot[vertex]


@njit(cache=True, nogil=True)
def _solve(
    matrix: Array, begin: int, end: int, k: int, lower: Array, pivot: Array, x: Array
) -> None:
    """Replace the unassembled right-hand side `x` by the solution at the nodes."""
    nodes = x.shape[0]
    last = nodes - 1
    for c in range(1, last):
        for i in range(nodes):
            if 0 < i <= c:
                continue
            for e in range(begin, end):
                x[i, e] -= matrix[i, c, e] * x[c, e]
    here, stop = int(begin), int(end)
    for e in range(here, stop):
        x[last, e] -= lower[e] * x[0, e]
        if e + 1 < stop:
            x[0, e + 1] += x[last, e]
    x[last, stop - 1] *= pivot[stop + k]
    for e in range(stop - 1, here - 1, -1):
        x[0, e] = (x[0, e] - matrix[0, last, e] * x[last, e]) * pivot[e + k]
        if e > here:
            x[last, e - 1] = x[0, e]
    for c in range(last - 1, 0, -1):
        for e in range(begin, end):
            x[c, e] -= matrix[c, 0, e] * x[0, e]
        for j in range(c + 1, nodes):
            for e in range(begin, end):
                x[c, e] -= matrix[c, j, e] * x[j, e]
        for e in range(begin, end):
            x[c, e] *= matrix[c, c, e]


@njit(cache=True, nogil=True)
def _dot(a: Array, b: Array, begin: int, end: int) -> float:
    total = 0.0
    for j in range(a.shape[0]):
        # One partial sum per node: it vectorizes and rounds less than a running total.
        part = 0.0
        for e in range(begin, end):
            part += a[j, e] * b[j, e]
        total += part
    return total


@njit(cache=True, nogil=True)
def _combine(
    u: Array, work: Array, weights: Array, stage: int, begin: int, end: int, out: Array
) -> None:
    """out = u + Σ_r weights[r] work[r] over the stages before `stage`."""
    for j in range(u.shape[0]):
        for e in range(begin, end):
            out[j, e] = u[j, e]
        for r in range(stage):
            weight = weights[r]
            for e in range(begin, end):
                out[j, e] += weight * work[r, j, e]


@njit(cache=True, nogil=True)
def _couple(
    mass: Array, work: Array, weights: Array, stage: int, dt: float, begin: int, end: int
) -> None:
    """Add Σ_r weights[r] mass work[r]/dt over the stages before `stage` to work[stage]."""
    for j in range(mass.shape[0]):
        for r in range(stage):
            weight = weights[r] / dt
            for e in range(begin, end):
                work[stage, j, e] += weight * mass[j, e] * work[r, j, e]


@njit(cache=True, nogil=True)
def _add(x: Array, factor: float, begin: int, end: int, out: Array) -> None:
    for j in range(x.shape[0]):
        for e in range(begin, end):
            out[j, e] += factor * x[j, e]


@njit(cache=True, nogil=True)
def _finish(
    scheme: int,
    u: Array,
    start: Array,
    error: Array,
    mass: Array,
    functionals: Array,
    begin: int,
    end: int,
    new: Array,
    part: Array,
) -> None:
    """new = start + error, and its share in the report: see `rosenbrock_step`.

    The increment new − u has no mass but what rounding gave it: thin layers hold fluxes that are
    large against their mass. High-order increments are projected onto zero mass, in proportion to
    their size; the amount is reported.
    """
    norm = 0.0
    gained = 0.0
    moved = 1e-300
    for j in range(start.shape[0]):
        for e in range(begin, end):
            new[j, e] = start[j, e] + error[j, e]
            norm += mass[j, e] * abs(error[j, e])
            gained += mass[j, e] * (new[j, e] - u[j, e])
            moved += mass[j, e] * abs(new[j, e] - u[j, e])
    share = gained / moved if scheme == 0 else 0.0
    smallest = 0.0
    for j in range(start.shape[0]):
        for e in range(begin, end):
            new[j, e] -= share * abs(new[j, e] - u[j, e])
            smallest = min(smallest, new[j, e])
    part[0] = norm
    for i in range(3):
        part[1 + i] = _dot(functionals[i], error, begin, end)
        part[4 + i] = _dot(functionals[i], new, begin, end)
    part[7] = smallest
    part[8] = abs(gained)


@njit(cache=True, nogil=True)
def begin_step(
    values: tuple[int, int],
    scheme: int,
    u: Array,
    shift: float,
    diffusivity: float,
    mass: Array,
    weights: Array,
    drift: Array,
    metric: Array,
    half: Array,
    first: Indices,
    derivative: Array,
    quadrature: Array,
    weak: Array,
    stiffness: Array,
    work: Array,
    matrix: Array,
    lower: Array,
    pivot: Array,
    parts: Array,
) -> None:
    """Factor shift·mass − A(D) and solve for the rank-one column, teacher values in a range.

    parts[k, 0] = weights·(its column).
    """
    stages = work.shape[0] - 3
    flux, column = work[stages], work[stages + 2]
    for k in range(values[0], values[1]):
        begin, end = _unsigned(first[k]), _unsigned(first[k + 1])
        _assemble(
            scheme,
            shift,
            diffusivity,
            mass,
            drift,
            metric,
            half,
            weak,
            stiffness,
            begin,
            end,
            matrix,
        )
        _factor(matrix, begin, end, k, lower, pivot)
        _apply_derivative(
            scheme,
            u,
            diffusivity,
            drift,
            metric,
            half,
            derivative,
            quadrature,
            begin,
            end,
            flux,
            column,
        )
        _solve(matrix, begin, end, k, lower, pivot, column)
        parts[k, 0] = _dot(weights, column, begin, end)


@njit(cache=True, nogil=True)
def take_stage(
    values: tuple[int, int],
    stage: int,
    correction: float,
    scheme: int,
    u: Array,
    dt: float,
    diffusivity: float,
    mass: Array,
    weights: Array,
    drift: Array,
    metric: Array,
    half: Array,
    first: Indices,
    derivative: Array,
    quadrature: Array,
    stage_weights: Array,
    coupling: Array,
    work: Array,
    matrix: Array,
    lower: Array,
    pivot: Array,
    parts: Array,
) -> None:
    """Complete the stage before by its rank-one correction and solve the next, in a range.

    parts[k, 0] = weights·(the uncorrected stage of k).
    """
    stages = work.shape[0] - 3
    flux, start, column = work[stages], work[stages + 1], work[stages + 2]
    for k in range(values[0], values[1]):
        begin, end = _unsigned(first[k]), _unsigned(first[k + 1])
        if stage > 0:
            _add(column, correction, begin, end, work[stage - 1])
        _combine(u, work, stage_weights[stage], stage, begin, end, start)
        _apply(
            scheme,
            start,
            diffusivity,
            drift,
            metric,
            half,
            derivative,
            quadrature,
            begin,
            end,
            flux,
            work[stage],
        )
        _couple(mass, work, coupling[stage], stage, dt, begin, end)
        _solve(matrix, begin, end, k, lower, pivot, work[stage])
        parts[k, 0] = _dot(weights, work[stage], begin, end)


@njit(cache=True, nogil=True)
def end_step(
    values: tuple[int, int],
    correction: float,
    scheme: int,
    u: Array,
    mass: Array,
    functionals: Array,
    first: Indices,
    work: Array,
    new: Array,
    parts: Array,
) -> None:
    """Complete the last stage, put the new density into `new` and its shares into `parts`."""
    stages = work.shape[0] - 3
    start, column, error = work[stages + 1], work[stages + 2], work[stages - 1]
    for k in range(values[0], values[1]):
        begin, end = _unsigned(first[k]), _unsigned(first[k + 1])
        _add(column, correction, begin, end, error)
        _finish(scheme, u, start, error, mass, functionals, begin, end, new, parts[k])


@njit(cache=True, nogil=True)
def report_step(floor: float, parts: Array, report: Array) -> int:
    """Sum up the shares of the teacher values in `report`; return whether all is finite.

    report = (L¹ error, |error| of ε_g, m, q; new ε_g, m, q; minimum; mass made by rounding).
    """
    report[0] = parts[:, 0].max()
    for i in range(1, 7):
        report[i] = parts[:, i].sum()
    for i in range(1, 4):
        report[i] = abs(report[i])
    report[4] += floor
    report[7] = parts[:, 7].min()
    report[8] = parts[:, 8].max()
    for i in range(report.size):
        if not math.isfinite(report[i]):
            return BROKEN
    return DONE


@njit(cache=True, nogil=True)
def rosenbrock_step(
    scheme: int,
    u: Array,
    dt: float,
    present: float,
    floor: float,
    dfactor: float,
    least: float,
    mass: Array,
    functionals: Array,
    drift: Array,
    metric: Array,
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
    parts: Array,
    new: Array,
    report: Array,
) -> int:
    """Advance `u`, whose ε_g is `present`, by `dt` into `new`; see `report_step` for `report`.

    `functionals` has shape (3, p + 1, E): weights of ε_g − floor, m and q. `work` has shape
    (stages + 3, p + 1, E), `parts` (K, 9).
    """
    stages = stage_weights.shape[0]
    everyone = (0, first.size - 1)
    weights = functionals[0]
    # Where diffusion is held at its least it no longer follows ε_g.
    coupled = dfactor if dfactor * present > least else 0.0
    diffusivity = max(least, dfactor * present)
    begin_step(
        everyone,
        scheme,
        u,
        1.0 / (gamma * dt),
        diffusivity,
        mass,
        weights,
        drift,
        metric,
        half,
        first,
        derivative,
        quadrature,
        weak,
        stiffness,
        work,
        matrix,
        lower,
        pivot,
        parts,
    )
    column = parts[:, 0].sum()
    bend = 1.0 - coupled * column
    gains = np.zeros(stages)
    correction = 0.0
    for s in range(stages):
        error = present
        for r in range(s):
            error += stage_weights[s, r] * gains[r]
        take_stage(
            everyone,
            s,
            correction,
            scheme,
            u,
            dt,
            max(least, coupled * error),
            mass,
            weights,
            drift,
            metric,
            half,
            first,
            derivative,
            quadrature,
            stage_weights,
            coupling,
            work,
            matrix,
            lower,
            pivot,
            parts,
        )
        gained = parts[:, 0].sum()
        correction = coupled * gained / bend
        gains[s] = gained + correction * column
    end_step(everyone, correction, scheme, u, mass, functionals, first, work, new, parts)
    return report_step(floor, parts, report)
