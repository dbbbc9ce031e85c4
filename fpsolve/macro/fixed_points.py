"""Fixed points of the isotropic closure, with their linear stability."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from fpsolve.display import Shown
from fpsolve.macro.closure import Closure, closure_order_parameters, stability_boundary
from fpsolve.problem.problem import Problem
from fpsolve.problem.rules import take_only
from fpsolve.reduction import OrderParameters

__all__ = ["FixedPoint", "input_only_moments", "isotropic_fixed_points", "stability_boundary"]

Array = NDArray[np.float64]

# Scanned points per factor e in s; a pair of roots closer than this would be passed over.
_PER_FOLD = 10
# Smallest s looked for, in units of the largest level or threshold: m is then known to 1e-4 of s.
_SMALLEST = 1e-12
_TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False, repr=False)
class FixedPoint(Shown):
    """A fixed point of the isotropic closure (dimensionless).

    Attributes
    ----------
    problem : Problem
        Whose closure it is.
    order_parameters : OrderParameters
        Each of shape ().
    eigenvalues : ndarray, shape (2,)
        Of the Jacobian of (dm/dτ, dq/dτ), complex in general, largest real part first; at ρ = 0,
        where m stays 0, only that of dq/dτ, shape (1,).
    """

    problem: Problem
    order_parameters: OrderParameters
    eigenvalues: NDArray[np.complex128]

    def _shown(self) -> dict[str, object]:
        return {
            "generalization_error": self.generalization_error,
            "m": self.m,
            "q": self.q,
            "s": self.s,
            "stable": self.stable,
        }

    @property
    def m(self) -> float:
        """Overlap E[w* w]."""
        return float(self.order_parameters.m)

    @property
    def q(self) -> float:
        """Second moment E[w²]."""
        return float(self.order_parameters.q)

    @property
    def s(self) -> float:
        """Spread (q − m²/ρ)^½."""
        return float(self.order_parameters.s)

    @property
    def generalization_error(self) -> float:
        """ε_g."""
        return float(self.order_parameters.generalization_error)

    @property
    def classification(self) -> str:
        """ "stable", "marginal" or "unstable", by the largest real part (paper §VI-C)."""
        size = float(np.abs(self.eigenvalues).max())
        largest = float(self.eigenvalues.real.max())
        if abs(largest) <= _TOLERANCE * size:
            return "marginal"
        return "stable" if largest < 0 else "unstable"

    @property
    def stable(self) -> bool:
        """Whether every eigenvalue has a negative real part."""
        return self.classification == "stable"


def input_only_moments(problem: Problem) -> tuple[float, float] | None:
    """Return m* and s*² for unquantized weights, or None where no fixed point exists.

    q* = m*²/ρ + s*² is the corrected closed form [2ρκ² + ηS((ρ + σ²)(S + λ) − 2ρκ²)] /
    [(S + λ)(2(S + λ) − ηS²)] at B = 1. Paper Proposition VI.1 has κ² in place of ρκ².
    """
    dynamics, rho, batch = problem.dynamics, problem.rho, problem.batch_size
    eta, sigma2 = dynamics.constant_rate, float(dynamics.sigma2[0])
    restoring = float(dynamics.restoring[0])
    m = float(dynamics.probability @ (dynamics.w_star * dynamics.target))
    # ε_g at ψ = c for all weights.
    target = dynamics.target
    loss = dynamics.functional_terms(dynamics.coordinate(slice(None)), target, target, target**2)[0]
    floor = float(dynamics.generalization_error(dynamics.probability @ loss))
    room = 2 * batch * restoring - eta * sigma2**2
    # Rounding of a lossless floor must not pass for noise.
    if floor <= 1e-15 * rho:
        return m, 0.0
    if room <= 0:
        return None
    return m, eta * sigma2 * floor / room


def isotropic_fixed_points(problem: Problem) -> tuple[FixedPoint, ...]:
    """Return all fixed points of the isotropic closure, by increasing spread s.

    Parameters
    ----------
    problem : Problem
        Any weight quantizer, temperature, teacher law and batch size, and momentum
        (dimensionless).

    Returns
    -------
    tuple of FixedPoint
        Empty where the overlap runs away (κρ/(S + λ) beyond the reach of m_ψ) or where
        unquantized weights diverge. For given s the overlap equation has exactly one solution
        m(s), so one unknown remains, scanned in log s with ten points per factor e, down to 1e-12
        of the largest level or threshold. Weights frozen at ε_g = 0 are a continuum of fixed
        points; one of it is listed, with s = 0.

    Raises
    ------
    ParameterError
        If anything is scheduled, input scales differ, or rounding is stochastic, or there is a
        training rule other than momentum.

    Notes
    -----
    Source: paper Eq. (8), corrected: m_ψ = κρ/(S + λ) and 2(S + λ) s Σ_k (v_k − v_{k−1}) E φ(z_k)
    = ηSε_g/B with k = 1 … L; Proposition VI.1 for unquantized weights.
    """
    take_only(problem, ("momentum",), solver="isotropic_fixed_points", cure="use solve_pde")
    if problem.weight_quantizer is None:
        moments = input_only_moments(problem)
        return () if moments is None else (_fixed_point(problem, *moments),)
    closure = Closure.of(problem)
    overlap = _overlap_solver(problem, closure)
    found: list[FixedPoint] = []
    frozen = _target_overlap(problem)
    if (np.abs(closure.rates(frozen, 0.0)[0]) <= 1e-15 * problem.rho).all():
        found.append(_fixed_point(problem, frozen, 0.0))
    if overlap is None:
        return tuple(found)

    def growth(log_s: float) -> float:
        v = math.exp(2 * log_s)
        return float(closure.rates(overlap(v), v)[0][1])

    return (*found, *(_fixed_point(problem, overlap(v), v) for v in _spreads(problem, growth)))


def _spreads(problem: Problem, growth: Callable[[float], float]) -> list[float]:
    """Return every v = s² at which `growth`(log s) changes sign."""
    quantizer = problem.weight_quantizer
    assert quantizer is not None
    top = math.log(10 * float(np.abs(quantizer.levels).max()) + 10 * quantizer.temperature)
    while growth(top) > 0:
        top += 1.0
    reach = max(np.abs(quantizer.thresholds).max(), np.abs(quantizer.levels).max())
    bottom = math.log(_SMALLEST * float(reach))
    grid = np.linspace(bottom, top, int(_PER_FOLD * (top - bottom)) + 1)
    values = np.array([growth(x) for x in grid])
    roots = []
    for left, right, a, b in zip(grid[:-1], grid[1:], values[:-1], values[1:], strict=True):
        if a * b < 0:
            roots.append(math.exp(2 * brentq(growth, left, right, xtol=1e-14, rtol=1e-14)))
        elif b == 0 and a != 0:
            roots.append(math.exp(2 * right))
    return roots


def _overlap_solver(problem: Problem, closure: Closure) -> Callable[[float], float] | None:
    """Return v ↦ m(v) solving m_ψ(m, v) = κρ/(S + λ), or None if m_ψ cannot reach it.

    m_ψ increases with m because w*·w* ≥ 0, so the solution is unique (paper Lemma V.1).
    """
    quantizer, rho = problem.weight_quantizer, problem.rho
    assert quantizer is not None
    if rho == 0:
        return lambda v: 0.0
    target = _target_overlap(problem)
    values, probabilities = problem.teacher.values, problem.teacher.probabilities
    ends = quantizer.levels[[0, -1]]
    upper = probabilities @ (values * np.where(values > 0, ends[1], ends[0]))
    lower = probabilities @ (values * np.where(values > 0, ends[0], ends[1]))
    if not lower < target < upper:
        return None
    start = math.sqrt(rho) * (1 + float(np.abs(quantizer.thresholds).max()))

    def gap(m: float, v: float) -> float:
        return float(closure.averages(m, v)[0]) - target

    def solve(v: float) -> float:
        reach = start * (1 + math.sqrt(v))
        while gap(reach, v) < 0 or gap(-reach, v) > 0:
            reach *= 4
        return float(brentq(gap, -reach, reach, args=(v,), xtol=1e-16 * start, rtol=1e-15))

    return solve


def _target_overlap(problem: Problem) -> float:
    """κρ/(S + λ), the overlap at which m does not move."""
    dynamics = problem.dynamics
    return float(dynamics.probability @ (dynamics.w_star * dynamics.target))


def _fixed_point(problem: Problem, m: float, v: float) -> FixedPoint:
    jacobian = Closure.of(problem).rates(m, v)[1][:2]
    if problem.rho == 0:
        jacobian = jacobian[1:, 1:]
    eigenvalues = np.linalg.eigvals(jacobian).astype(np.complex128)
    order = np.argsort(-eigenvalues.real, kind="stable")
    state = closure_order_parameters(problem, np.array([m]), np.array([v]))[0]
    return FixedPoint(problem, state, eigenvalues[order])
