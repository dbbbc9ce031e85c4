"""Peers on SciPy: uniform cells, a two-point flux compiled by Numba, and a stiff integrator.

One more, `as_written`, is what one would write in an afternoon: the same flux in NumPy, and nothing
told to LSODA but that the Jacobian has three bands.

Thresholds lie on faces. The drift is constant in each bin, so the two weights of the flux take one
value a bin or threshold, and exponentials are evaluated once for each of them, not for each face.
The central flux averages drift times density: its error is then even in h, also across thresholds,
and two meshes extrapolate to fourth order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.integrate import odeint, solve_ivp
from scipy.sparse import csc_matrix

from validation.performance.cases import Case, cell_masses, commensurate, uniform_edges

__all__ = [
    "CENTRAL",
    "SCHARFETTER_GUMMEL",
    "Cells",
    "arrow_jacobian",
    "as_written",
    "lsoda",
    "richardson",
    "with_exact_jacobian",
]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

SCHARFETTER_GUMMEL, CENTRAL = 0, 1
# Absolute tolerance on a density in units of rtol; its maximum is of order 1 to 100.
_ABSOLUTE = 1e-3


@njit(cache=True, nogil=True)
def flux_weights(scheme, drifts, diffusivity, width, out):
    """Set out (4, K): the flux is out[0] μ_left − out[1] μ_right; out[2:4] = ∂out[0:2]/∂D."""
    for k in range(drifts.shape[1]):
        ratio = diffusivity / width
        if scheme == CENTRAL:
            out[0, k], out[1, k] = ratio + 0.5 * drifts[0, k], ratio - 0.5 * drifts[1, k]
            out[2, k] = out[3, k] = 1.0 / width
            continue
        a = 0.5 * (drifts[0, k] + drifts[1, k])
        peclet = a / ratio
        if abs(peclet) < 1e-2:
            square = peclet * peclet
            even = 1.0 + square / 12.0 - square * square / 720.0
            slope = square / 6.0 - square * square / 180.0
        else:
            # B(P) = P/(e^P − 1) = even − P/2; slope = P d(even)/dP.
            coth = 1.0 / np.tanh(0.5 * peclet)
            even = 0.5 * peclet * coth
            slope = even + 0.25 * peclet * peclet * (1.0 - coth * coth)
        out[0, k], out[1, k] = ratio * even + 0.5 * a, ratio * even - 0.5 * a
        out[2, k] = out[3, k] = (even - slope) / width


@njit(cache=True, nogil=True)
def rates(weights, kind, width, density, out):
    """Set out = dμ/dτ; nothing leaves at the two ends."""
    entering = 0.0
    for i in range(density.size - 1):
        k = kind[i]
        leaving = weights[0, k] * density[i] - weights[1, k] * density[i + 1]
        out[i] = (entering - leaving) / width
        entering = leaving
    out[density.size - 1] = entering / width


@njit(cache=True, nogil=True)
def coupled_rates(scheme, floor, spread, functional, drifts, kind, width, density, weights, out):
    """Set out = dμ/dτ with D = spread·(floor + functional·μ); one call from Python in all."""
    diffusivity = spread * (floor + np.dot(functional, density))
    flux_weights(scheme, drifts, diffusivity, width, weights)
    rates(weights, kind, width, density, out)


@njit(cache=True, nogil=True)
def bands(weights, kind, width, out):
    """Set out (3, N) to the tridiagonal ∂(dμ/dτ)/∂μ at fixed D, in LAPACK's banded layout."""
    out[:] = 0.0
    for i in range(kind.size):
        low, high = weights[0, kind[i]] / width, weights[1, kind[i]] / width
        out[1, i] -= low
        out[2, i] = low
        out[1, i + 1] -= high
        out[0, i + 1] = high


@dataclass(eq=False)
class Cells:
    """A semi-discretized case.

    Attributes
    ----------
    width : float
        Cell width (dimensionless).
    density : ndarray, shape (N,)
        Cell averages at τ = 0.
    drifts : ndarray, shape (2, 2 L + 1)
        Distinct pairs of drifts to the left and right of a face.
    kind : ndarray of int, shape (N − 1,)
        Which of them each inner face has.
    functional : ndarray, shape (N,)
        g·width, so that ε_g = floor + functional·μ.
    """

    case: Case
    scheme: int
    width: float
    density: Array
    drifts: Array
    kind: Indices
    functional: Array

    @classmethod
    def of(cls, case: Case, cells: float, scheme: int) -> Cells:
        """Lay `cells` cells, about, over the case."""
        edges = uniform_edges(case, cells)
        width = float(edges[1] - edges[0])
        centers = 0.5 * (edges[1:] + edges[:-1])
        drift = case.problem.drift(centers, 1.0)
        pairs = np.stack([drift[:-1], drift[1:]])
        drifts, kind = np.unique(pairs, axis=1, return_inverse=True)
        functional = width * case.error_weights(case.problem.quantize(centers))
        density = cell_masses(edges) / width
        drifts, kind = np.ascontiguousarray(drifts), kind.astype(np.int64)
        return cls(case, scheme, width, density, drifts, kind, functional)

    def __post_init__(self) -> None:
        self._weights = np.empty((4, self.drifts.shape[1]))
        self._rate = np.empty(self.density.size)

    def generalization_error(self, density: Array) -> Array:
        """Return ε_g of densities (..., N)."""
        return self.case.floor + density @ self.functional

    def weights(self, generalization_error: float) -> Array:
        """Return the flux weights (4, 2 L + 1) at a given ε_g."""
        diffusivity = float(self.case.problem.diffusivity(generalization_error))
        flux_weights(self.scheme, self.drifts, diffusivity, self.width, self._weights)
        return self._weights

    def rate(self, density: Array, generalization_error: float) -> Array:
        """Return dμ/dτ, shape (N,), at a given ε_g."""
        rates(self.weights(generalization_error), self.kind, self.width, density, self._rate)
        return self._rate


def lsoda(case: Case, cells: float, *, rtol: float, scheme: int = SCHARFETTER_GUMMEL) -> Array:
    """Return ε_g at the times of the case by LSODA with the tridiagonal part of the Jacobian.

    The rank-one part, through ε_g, does not fit into bands and is left to the iteration.
    """
    system = Cells.of(case, cells, scheme)
    jacobian = np.zeros((3, system.density.size))

    floor, spread = case.floor, float(case.problem.diffusivity(1.0))
    weights, out = system.weights(1.0), np.empty_like(system.density)
    mesh = system.functional, system.drifts, system.kind, system.width

    def rate(density, _time):
        coupled_rates(scheme, floor, spread, *mesh, density, weights, out)
        return out

    def banded(density, _time):
        weights = system.weights(float(system.generalization_error(density)))
        bands(weights, system.kind, system.width, jacobian)
        return jacobian

    density = odeint(
        rate,
        system.density,
        case.times,
        Dfun=banded,
        ml=1,
        mu=1,
        rtol=rtol,
        atol=_ABSOLUTE * rtol,
        mxstep=100_000,
    )
    return system.generalization_error(density)


def as_written(case: Case, cells: float, *, rtol: float) -> Array:
    """Return ε_g at the times of the case by Scharfetter–Gummel fluxes in NumPy and LSODA.

    The Jacobian is differenced within its three bands.
    """
    edges = uniform_edges(case, cells)
    width = float(edges[1] - edges[0])
    centers = 0.5 * (edges[1:] + edges[:-1])
    drift = case.problem.drift(centers, 1.0)
    at_faces = 0.5 * (drift[1:] + drift[:-1])
    functional = width * case.error_weights(case.problem.quantize(centers))
    floor, spread = case.floor, float(case.problem.diffusivity(1.0))

    def rate(_time, density):
        diffusivity = spread * (floor + functional @ density)
        peclet = at_faces * width / diffusivity
        # B(P) = P/(e^P − 1), by its series where that is 0/0.
        small = np.abs(peclet) < 1e-5
        safe = np.where(small, 1.0, peclet)
        bernoulli = np.where(small, 1.0 - 0.5 * peclet, safe / np.expm1(safe))
        # B(−P) = B(P) + P.
        flux = diffusivity / width * ((bernoulli + peclet) * density[:-1] - bernoulli * density[1:])
        return -np.diff(flux, prepend=0.0, append=0.0) / width

    solution = solve_ivp(
        rate,
        (case.times[0], case.times[-1]),
        cell_masses(edges) / width,
        method="LSODA",
        t_eval=case.times,
        lband=1,
        uband=1,
        rtol=rtol,
        atol=_ABSOLUTE * rtol,
    )
    return floor + functional @ solution.y


def richardson(case: Case, cells: float, *, rtol: float) -> Array:
    """Return ε_g from `cells` and 2·`cells` cells of the central flux, extrapolated in h²."""
    cells = commensurate(case, cells)
    coarse = lsoda(case, cells, rtol=rtol, scheme=CENTRAL)
    fine = lsoda(case, 2 * cells, rtol=rtol, scheme=CENTRAL)
    return (4 * fine - coarse) / 3


def with_exact_jacobian(
    case: Case, cells: int, *, rtol: float, method: str, scheme: int = SCHARFETTER_GUMMEL
) -> Array:
    """Return ε_g by BDF or Radau of `solve_ivp` with the exact Jacobian.

    ε_g is one more unknown: then the Jacobian is sparse, tridiagonal with one dense column and a
    row with two entries a threshold, instead of full.
    """
    system = Cells.of(case, cells, scheme)
    jacobian = arrow_jacobian(system)
    start = np.append(system.density, system.generalization_error(system.density))

    def rate(_time, state):
        change = system.rate(state[:-1], float(state[-1]))
        return np.append(change, system.functional @ change)

    solution = solve_ivp(
        rate,
        (case.times[0], case.times[-1]),
        start,
        method=method,
        t_eval=case.times,
        jac=lambda _time, state: jacobian(state),
        rtol=rtol,
        atol=_ABSOLUTE * rtol,
    )
    return solution.y[-1]


def arrow_jacobian(system: Cells) -> Callable[[Array], csc_matrix]:
    """Return the function from (μ, ε_g) to ∂(dμ/dτ, dε_g/dτ), shape (N + 1, N + 1)."""
    count = system.density.size
    inner, last = np.arange(count), np.full(count, count)
    rows = np.concatenate([inner[:-1], inner, inner[1:], last, inner, [count]])
    columns = np.concatenate([inner[1:], inner, inner[:-1], inner, last, [count]])
    tridiagonal, change = np.zeros((3, count)), np.empty(count)
    g, spread = system.functional, float(system.case.problem.diffusivity(1.0))

    def jacobian(state: Array) -> csc_matrix:
        weights = system.weights(float(state[-1]))
        bands(weights, system.kind, system.width, tridiagonal)
        upper, middle, lower = tridiagonal[0, 1:], tridiagonal[1], tridiagonal[2, :-1]
        row = g * middle
        row[1:] += g[:-1] * upper
        row[:-1] += g[1:] * lower
        # Sums over a bin telescope: only rounding is left away from its thresholds.
        row[np.abs(row) < 1e-9 * np.abs(row).max()] = 0.0
        rates(weights[2:], system.kind, system.width, state[:-1], change)
        column = spread * change
        values = np.concatenate([upper, middle, lower, row, column, [g @ column]])
        matrix = csc_matrix((values, (rows, columns)), shape=(count + 1, count + 1))
        matrix.eliminate_zeros()
        return matrix

    return jacobian
