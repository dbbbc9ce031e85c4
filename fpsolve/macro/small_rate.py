"""Stationary error as the learning rate tends to 0, and which case of the theorem applies."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from fpsolve.display import Shown
from fpsolve.errors import ParameterError
from fpsolve.macro.confinement import Confinement
from fpsolve.macro.stationary_error import error_bounds
from fpsolve.problem.problem import Problem
from fpsolve.problem.rules import take_only

__all__ = ["SmallRateLimit", "small_rate_limit"]

Array = NDArray[np.float64]

# c counts as being on a level within this share of the step it lies in.
_ON_LEVEL = 1e-12

BETWEEN, ON_LEVEL, CLIPPED = "between levels", "on a level", "clipped"


@dataclass(frozen=True, eq=False, repr=False)
class SmallRateLimit(Shown):
    """What the stationary state tends to as η → 0 (dimensionless).

    Attributes
    ----------
    cases : tuple of str, length K
        For each teacher value: "between levels" (0 < p < 1), "on a level" (p ∈ {0, 1}) or
        "clipped" (|c| ≥ ω).
    positions : ndarray, shape (K,)
        p = (c − v_i)/(v_{i+1} − v_i), in [0, 1]; 0 or 1 where clipped.
    generalization_error : float
        ε* at η → 0: Σ p(w*)[… S c² + S (c − v_i)(v_{i+1} − c)], S ω² where clipped.
    error_slope : float
        dε*/dη at 0: ε* times S²/(2B(S + λ)) times the mean of (Δ_left + Δ_right)/(bin width) over
        the values on a level, which is ε*·Sχη/B for a uniform quantizer; 0 otherwise.
    spread_slopes : ndarray, shape (K,)
        d/dη at 0 of the exact standard deviation of w given w*, between levels: the density tends
        to an asymmetric Laplace law at the threshold. NaN elsewhere, where it does not vanish
        linearly.
    spread_limits : ndarray, shape (K,)
        Its limit: 0 between levels, (bin width)/√12 on a level, ∞ where clipped.
    closure_spread_slopes : ndarray, shape (K,)
        What the isotropic closure says for a single teacher value in that position: ds/dη =
        χ ε*/(2BΔφ(Φ⁻¹(p))) between levels, NaN elsewhere.

    Notes
    -----
    Source: paper Proposition V.7 and Theorems VI.3 and V.8, corrected: ε_g^(0) has S c² in place of
    Sω², Proposition V.7 lacks the factor ε_g^(0), and on a level the exact density is flat over one
    bin although the closure lets s → 0.
    """

    cases: tuple[str, ...]
    positions: Array
    generalization_error: float
    error_slope: float
    spread_slopes: Array
    spread_limits: Array
    closure_spread_slopes: Array

    def _shown(self) -> dict[str, object]:
        return {
            "generalization_error": self.generalization_error,
            "error_slope": self.error_slope,
            "case": self.cases[0] if len(set(self.cases)) == 1 else ", ".join(self.cases[:6]),
            "teacher_values": len(self.cases),
        }

    @property
    def case(self) -> str:
        """The case that applies to every teacher value, or "mixed"."""
        return self.cases[0] if len(set(self.cases)) == 1 else "mixed"


def small_rate_limit(problem: Problem) -> SmallRateLimit:
    """Return the η → 0 limit of the stationary state of sharply quantized weights.

    Parameters
    ----------
    problem : Problem
        Its learning rate is not used, but must not be scheduled.

    Returns
    -------
    SmallRateLimit
        Limits and slopes at η = 0 (dimensionless).

    Raises
    ------
    ParameterError
        If the weights are not quantized, or are smoothed (T > 0), if anything is scheduled, or if
        there is a training rule other than momentum, or input scales differ.

    Notes
    -----
    Source: paper Proposition V.7 and Theorems VI.3 and V.8, corrected as `SmallRateLimit` says.
    """
    take_only(problem, ("momentum",), solver="small_rate_limit", cure="use solve_pde")
    quantizer = problem.weight_quantizer
    if quantizer is None or quantizer.temperature > 0:
        allowed = "must be a quantizer of temperature 0: the cases are those of sharp steps"
        raise ParameterError("weight_quantizer", quantizer, allowed)
    state = Confinement.of(problem)
    levels, c = quantizer.levels, state.targets
    below = np.clip(np.searchsorted(levels, c, side="right") - 1, 0, levels.size - 2)
    step = levels[below + 1] - levels[below]
    p = np.clip((c - levels[below]) / step, 0.0, 1.0)
    p = np.where(p < _ON_LEVEL, 0.0, np.where(p > 1 - _ON_LEVEL, 1.0, p))
    on_level = state.confined & ((p == 0) | (p == 1))
    between = state.confined & ~on_level
    names = np.where(between, BETWEEN, np.where(on_level, ON_LEVEL, CLIPPED))
    error = error_bounds(problem)[0]
    # D/(η(S + λ)) = η·reach: the exponential lengths beside a threshold are this over c − v.
    sigma2, restoring = (float(part[0]) for part in (problem.sigma2s, problem.dynamics.restoring))
    reach = sigma2 * error / (2 * problem.batch_size * restoring)
    spread, closure = np.full(c.size, math.nan), np.full(c.size, math.nan)
    left, right = reach / (p[between] * step[between]), reach / ((1 - p[between]) * step[between])
    spread[between] = np.hypot(left, right)
    phi = np.exp(-0.5 * np.square(ndtri(p[between]))) / math.sqrt(2 * math.pi)
    closure[between] = reach / (step[between] * phi)
    index = (below + (p == 1))[on_level]
    width = quantizer.thresholds[index] - quantizer.thresholds[index - 1]
    jumps = levels[index + 1] - levels[index - 1]
    limits = np.where(between, 0.0, math.inf)
    limits[on_level] = width / math.sqrt(12)
    share = problem.teacher.probabilities[on_level]
    slope = sigma2 * reach * float(share @ (jumps / width))
    return SmallRateLimit(
        cases=tuple(str(name) for name in names),
        positions=p,
        generalization_error=error,
        error_slope=slope,
        spread_slopes=spread,
        spread_limits=limits,
        closure_spread_slopes=closure,
    )
