"""Linear stability of a stationary density: Fokker–Planck operator plus a rank-one coupling.

A perturbation g of the density moves ε_g, hence D, hence adds ∂D/∂ε · δε ∂²μ to the linearized
equation. Written for the integrated perturbation G(w) = −∫_{−∞}^w g the operator keeps its
spectrum but loses the zero modes of mass conservation, one for each teacher value, and is
tridiagonal and symmetrizable on any mesh.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_banded, solveh_banded
from scipy.optimize import brentq
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigs

from fpsolve.macro.conditional_density import conditional_density
from fpsolve.macro.confinement import Confinement
from fpsolve.problem.problem import Problem

__all__ = ["StationarySpectrum", "stationary_spectrum"]

Array = NDArray[np.float64]

# The mesh ends where the density is e^−_DROP below its maximum: the continuous spectrum of an
# exponential tail begins there up to (2π/_DROP)² of itself.
_DROP = 200.0
# Mesh width, in lengths D/|a| over which the density falls by e, and least number of cells.
_FALL = 0.25
_CELLS = 240
_WANTED = 6
# Where else to look for oscillating modes, in units of the slowest rate.
_HEIGHTS = (1.0, 3.0, 10.0)


@dataclass(frozen=True, eq=False)
class StationarySpectrum:
    """Slowest modes of the linearized dynamics around a stationary state.

    Attributes
    ----------
    eigenvalues : ndarray of complex
        Those nearest to 0, largest real part first (per unit τ, dimensionless).
    continuum : float
        Upper end −min a²/(4D) of the continuous spectrum, a the drift beyond the outermost
        thresholds; −inf for unquantized weights.
    """

    eigenvalues: NDArray[np.complex128]
    continuum: float

    @property
    def relaxation_rate(self) -> float:
        """−max Re over the whole spectrum: the late-time decay rate (per unit τ)."""
        modes = float(self.eigenvalues.real.max()) if self.eigenvalues.size else -np.inf
        return -max(modes, self.continuum)


def stationary_spectrum(problem: Problem, generalization_error: float) -> StationarySpectrum:
    """Return the slow spectrum of the dynamics linearized at a stationary state with this ε_g > 0.

    Teacher values that run away have only the continuous spectrum: their ψ no longer changes.
    The eigenvalues come from two meshes, halved, and Richardson's extrapolation.

    Notes
    -----
    Source: theory of the limit PDE, paper Eq. (4), linearized. The discretization is exponentially
    fitted (Scharfetter–Gummel) between nodes, thresholds among them.
    """
    pull = problem.dynamics.push_and_pull(0.0)[1]
    if problem.weight_quantizer is None:
        # v' = −2 pull v + 2D, where ε_g holds S v.
        kick = 2 * float(problem.diffusivity(1.0)) * float(problem.dynamics.sigma2[0])
        rates = np.array([-pull, -2 * pull + kick])
        return StationarySpectrum(np.sort(rates)[::-1].astype(np.complex128), -np.inf)
    diffusivity = float(problem.diffusivity(generalization_error))
    ends = problem.weight_quantizer.levels[[0, -1]]
    targets = Confinement.of(problem).targets
    outward = pull * (targets[:, None] - ends)
    continuum = -float(np.square(outward).min()) / (4 * diffusivity)
    if not Confinement.of(problem).confined.any():
        return StationarySpectrum(np.empty(0, dtype=np.complex128), continuum)
    coarse, fine = (_slowest(_assemble(problem, diffusivity, n)) for n in (1, 2))
    return StationarySpectrum(_extrapolated(coarse, fine), continuum)


@dataclass(frozen=True, eq=False)
class _Operator:
    """−T + u vᵀ on the edges of all confined teacher values, T tridiagonal and symmetric."""

    diagonal: Array
    off: Array
    u: Array
    v: Array


def _assemble(problem: Problem, diffusivity: float, refinement: int) -> _Operator:
    state = Confinement.of(problem)
    blocks = [
        _block(problem, float(value), float(probability), diffusivity, refinement)
        for value, probability, held in zip(
            problem.teacher.values, problem.teacher.probabilities, state.confined, strict=True
        )
        if held
    ]
    gap = np.zeros(1)
    off = np.concatenate([x for block in blocks for x in (block.off, gap)])[:-1]
    return _Operator(
        np.concatenate([block.diagonal for block in blocks]),
        off,
        np.concatenate([block.u for block in blocks]),
        np.concatenate([block.v for block in blocks]),
    )


def _block(
    problem: Problem, w_star: float, probability: float, diffusivity: float, refinement: int
) -> _Operator:
    """Return the operator of one teacher value; its unknowns are the fluxes' integrals on edges.

    Node masses M_j obey dM_j/dτ = F_{j−1} − F_j, F_e = −c_e (M_{e+1}/μ_{e+1} − M_e/μ_e), with
    c_e = D/∫ dw/μ. With M_j = G_{j−1} − G_j this is dG_e/dτ = F_e; scaling G_e by √c_e symmetrizes.
    """
    nodes = _mesh(problem, w_star, diffusivity, refinement)
    height = conditional_density(problem, w_star, diffusivity).log_density(nodes)
    h = np.diff(nodes)
    weight = 0.5 * (np.append(h, 0.0) + np.append(0.0, h))
    half = 0.5 * np.diff(height)
    ratio = np.divide(half, np.sinh(half), out=np.ones_like(half), where=np.abs(half) > 1e-8)
    # c_e over the masses at its ends, formed without the heights' own exponentials.
    pull = diffusivity * ratio / h
    diagonal = pull * (np.exp(-half) / weight[1:] + np.exp(half) / weight[:-1])
    off = -np.sqrt(pull[1:] * pull[:-1]) * np.exp(0.5 * (half[1:] - half[:-1])) / weight[1:-1]
    middle = np.exp(0.5 * (height[1:] + height[:-1]))
    root = np.sqrt(pull * middle)
    # Flux that δD adds, −δD ∂μ/∂w, and what G says of ε_g: Σ p (f_{e+1} − f_e) G_e.
    kick = float(problem.diffusivity(1.0))
    bend = middle * 2 * np.sinh(half) / h
    seen = probability * np.diff(_sensitivity(problem, w_star, nodes))
    return _Operator(diagonal, off, -kick * bend / root, seen * root)


def _sensitivity(problem: Problem, w_star: float, nodes: Array) -> Array:
    """Return ∂ε_g/∂(mass at a node) = S ψ² − 2κ w* ψ, averaged over the node's cell."""
    middles, dynamics = 0.5 * (nodes[1:] + nodes[:-1]), problem.dynamics
    psi = problem.quantize(middles)
    coordinate = dynamics.coordinate(0)._replace(w_star=w_star)
    f = dynamics.functional_terms(coordinate, middles, psi, np.square(psi))[0]
    h = np.diff(nodes)
    weight = np.append(h, 0.0) + np.append(0.0, h)
    return np.asarray((np.append(f * h, 0.0) + np.append(0.0, f * h)) / weight)


def _mesh(problem: Problem, w_star: float, diffusivity: float, refinement: int) -> Array:
    """Return nodes: thresholds (and steps of T around them) and equal parts in between."""
    quantizer = problem.weight_quantizer
    assert quantizer is not None
    knots: Array = quantizer.thresholds
    if quantizer.temperature > 0:
        near = np.add.outer(knots, quantizer.temperature * np.arange(-6.0, 6.5, 0.5)).ravel()
        gap = 0.4 * quantizer.temperature
        near = np.sort(near)
        knots = near[np.concatenate([[True], np.diff(np.floor(near / gap)) > 0])]
    levels = quantizer.levels
    density = conditional_density(problem, w_star, diffusivity)
    # Add what the tails need: the drift there is that of the outermost levels.
    push, pull_back = problem.dynamics.push_and_pull(w_star)
    outward = push - pull_back * levels[[0, -1]]
    tails = _DROP * diffusivity / outward
    knots = np.concatenate([[knots[0] - tails[0]], knots, [knots[-1] - tails[1]]])
    height = density.log_density(knots)
    kept = np.flatnonzero(height > height.max() - _DROP)
    first, last = max(kept[0] - 1, 0), min(kept[-1] + 1, knots.size - 1)
    knots = knots[first : last + 1].copy()
    height = height[first : last + 1]
    for end, inner in ((0, 1), (-1, -2)):
        excess = height.max() - height[end] - _DROP
        if excess > 0:
            share = excess / (height[inner] - height[end])
            knots[end] += share * (knots[inner] - knots[end])
    slopes = np.abs(np.diff(density.log_density(knots)))
    least = max(_CELLS // slopes.size, 4)
    parts = refinement * np.maximum(np.ceil(slopes / _FALL), least).astype(np.int64)
    pieces = [
        np.linspace(a, b, n, endpoint=False)
        for a, b, n in zip(knots[:-1], knots[1:], parts, strict=True)
    ]
    return np.concatenate([*pieces, knots[-1:]])


def _slowest(operator: _Operator) -> NDArray[np.complex128]:
    """Return eigenvalues by shift-inverted Arnoldi iteration, largest real part first.

    Those nearest to 0, and to points up the imaginary axis: the coupling can take an oscillating
    pair out of the real spectrum, farther from 0 than the crowded edge of the continuum.
    """
    rates, gain = _nearest(operator, 0.0)
    size = float(np.abs(rates).min())
    for height in _HEIGHTS:
        pair = _nearest(operator, 1j * height * size)[0]
        pair = pair[np.abs(pair.imag) > 1e-6 * np.abs(pair)]
        fresh = [x for x in pair if not np.isclose(rates, x, rtol=1e-6, atol=0).any()]
        rates = np.concatenate([rates, fresh, np.conj(fresh)])
    growing = _growing_mode(operator, gain)
    if growing is not None and not np.isclose(rates, growing, rtol=1e-6, atol=0).any():
        rates = np.append(rates, growing)
    return _by_real_part(rates)


def _nearest(operator: _Operator, shift: complex) -> tuple[NDArray[np.complex128], float]:
    """Return the eigenvalues nearest to `shift`, and the real part of vᵀ(T + shift)⁻¹u."""
    size = operator.diagonal.size
    kind = np.float64 if shift == 0 else np.complex128
    banded: NDArray[Any] = np.zeros((3, size), dtype=kind)
    banded[0, 1:] = operator.off
    banded[1] = operator.diagonal + shift
    banded[2, :-1] = operator.off
    solved_u = solve_banded((1, 1), banded, operator.u)
    gain = operator.v @ solved_u

    def solve(x: NDArray[Any]) -> NDArray[Any]:
        # Sherman–Morrison for (T + shift − u vᵀ)⁻¹.
        y = solve_banded((1, 1), banded, x.ravel())
        return np.asarray(y + solved_u * ((operator.v @ y) / (1 - gain)))

    inverse = LinearOperator((size, size), matvec=solve, dtype=kind)
    start = np.random.default_rng(0).standard_normal(size).astype(kind)
    options: dict[str, Any] = {
        "v0": start,
        "ncv": 4 * _WANTED,
        "return_eigenvectors": False,
        "tol": 1e-9,
    }
    if shift == 0:
        values = eigs(inverse, k=_WANTED, **options)
    else:
        # An isolated mode stands out at once; the far continuum, all equally near, never would.
        try:
            values = eigs(inverse, k=1, maxiter=8, **options)
        except ArpackNoConvergence as stopped:
            values = stopped.eigenvalues
    return np.asarray(shift - 1 / np.asarray(values), dtype=np.complex128), float(np.real(gain))


def _growing_mode(operator: _Operator, gain: float) -> float | None:
    """Return a Λ > 0 with vᵀ(T + Λ)⁻¹u = 1, or None if vᵀT⁻¹u = `gain` ≤ 1.

    `gain` is the slope of the self-consistency map. Above 1 there is a growing mode, which may lie
    too far from 0 for the iteration that looks there.
    """
    if gain <= 1:
        return None

    def surplus(rate: float) -> float:
        solved = solveh_banded(
            np.stack([np.append(0.0, operator.off), operator.diagonal + rate]), operator.u
        )
        return float(operator.v @ solved) - 1

    top = 1.0
    while surplus(top) > 0:
        top *= 4
    return float(brentq(surplus, 0.0, top, xtol=1e-300, rtol=1e-12))


def _by_real_part(rates: NDArray[np.complex128]) -> NDArray[np.complex128]:
    order = np.argsort(-rates.real, kind="stable")
    return np.asarray(rates[order], dtype=np.complex128)


def _extrapolated(
    coarse: NDArray[np.complex128], fine: NDArray[np.complex128]
) -> NDArray[np.complex128]:
    """Return the second-order extrapolation of each fine eigenvalue and its coarse neighbour."""
    partner = coarse[np.argmin(np.abs(fine[:, None] - coarse[None, :]), axis=1)]
    better = fine + (fine - partner) / 3
    return _by_real_part(better)
