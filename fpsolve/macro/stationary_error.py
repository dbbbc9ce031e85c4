"""The self-consistency of the stationary state: all ε_g that reproduce themselves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from fpsolve.errors import ParameterError
from fpsolve.macro.conditional_density import SmoothDensity
from fpsolve.macro.confinement import Confinement, error_floor
from fpsolve.macro.stationary_kernel import Bins, self_consistent_errors, stationary_error
from fpsolve.problem.problem import Problem

__all__ = ["error_bounds", "error_map", "stationary_errors"]

Array = NDArray[np.float64]

_PER_FOLD = 24
_FEWEST, _MOST = 24, 512


def error_bounds(problem: Problem) -> tuple[float, float]:
    """Return the least and the largest ε_g a stationary density of any D can have.

    E[ψ | w*] = c(w*) whatever D is, so E ψ² lies between the mixture of the two levels next to c
    (reached as D → 0; at T > 0 it is ψ_T² = c²) and that of the outermost two (as D → ∞).
    """
    quantizer = problem.weight_quantizer
    assert quantizer is not None
    levels = quantizer.levels
    state = Confinement.of(problem)
    c = state.targets
    below = np.clip(np.searchsorted(levels, c, side="right") - 1, 0, levels.size - 2)
    least = (c - levels[below]) * (levels[below + 1] - c) if quantizer.temperature == 0 else 0.0
    most = (c - levels[0]) * (levels[-1] - c)
    dynamics = problem.dynamics
    ideal = dynamics.ideal
    outer = np.square(levels[state.escapes] - ideal)
    weights = dynamics.sigma2 * dynamics.probability
    base = error_floor(problem)
    bounds = []
    for variance in (least, most):
        inside = np.square(c - ideal) + np.maximum(variance, 0.0)
        bounds.append(base + float(weights @ np.where(state.confined, inside, outer)))
    return bounds[0], max(bounds)


def error_map(problem: Problem) -> Callable[[float], float]:
    """Return F: ε ↦ ε_g of the stationary densities whose diffusivity is that of ε."""
    kick = float(problem.diffusivity(1.0))
    quantizer = problem.weight_quantizer
    assert quantizer is not None
    if quantizer.temperature > 0:
        return lambda error: _smooth_error(problem, kick * error)
    bins, base = _bins(problem), error_floor(problem)
    sigma2 = float(problem.dynamics.sigma2[0])
    return lambda error: float(stationary_error(kick * error, bins, sigma2, base))


def stationary_errors(problem: Problem) -> tuple[float, ...]:
    """Return every ε_g > 0 with F(ε_g) = ε_g, increasing, for quantized weights.

    Notes
    -----
    All roots lie between the bounds of `error_bounds`. F(ε) − ε is scanned there with 24 points per
    factor e and every sign change is bracketed; two roots closer than 4 % would be passed over.
    For equally spaced levels and thresholds no problem with more than one root is known; unequal
    ones can have three.
    """
    least, most = error_bounds(problem)
    if most == 0:
        return ()
    # Where all weights can be exact F is linear at 0 and its root there is not one of these.
    low = least if least > 0 else 1e-14 * most
    grid = _grid(low, most)
    if problem.weight_quantizer is not None and problem.weight_quantizer.temperature > 0:
        return _scan(error_map(problem), grid)
    kick = float(problem.diffusivity(1.0))
    sigma2 = float(problem.dynamics.sigma2[0])
    roots = self_consistent_errors(grid, kick, _bins(problem), sigma2, error_floor(problem))
    return tuple(roots.tolist())


def _smooth_error(problem: Problem, diffusivity: float) -> float:
    """Return base + S E(ψ − κw*/S)² at T > 0, by quadrature."""
    quantizer, teacher = problem.weight_quantizer, problem.teacher
    assert quantizer is not None
    escapes, dynamics = Confinement.of(problem).escapes, problem.dynamics
    total = 0.0
    for value, probability, escape, ideal in zip(
        teacher.values, teacher.probabilities, escapes, dynamics.ideal, strict=True
    ):
        if escape >= 0:
            total += probability * (quantizer.levels[escape] - ideal) ** 2
        else:
            density = SmoothDensity.of(problem, value, diffusivity)
            total += probability * density.mean_square(ideal)
    return error_floor(problem) + float(dynamics.sigma2[0]) * total


def _grid(low: float, high: float) -> Array:
    """Return the scanned ε: from just below `low`, where F ≥ ε, to just above `high`."""
    low, high = low * (1 - 1e-12), high * (1 + 1e-12)
    count = int(np.clip(_PER_FOLD * np.log(high / low), _FEWEST, _MOST))
    return np.geomspace(low, high, count)


def _scan(function: Callable[[float], float], grid: Array) -> tuple[float, ...]:
    def excess(error: float) -> float:
        return function(error) - error

    values = np.array([excess(x) for x in grid])
    changes = np.flatnonzero((values[1:] > 0) != (values[:-1] > 0))
    return tuple(
        float(brentq(excess, grid[i], grid[i + 1], xtol=1e-300, rtol=1e-15)) for i in changes
    )


def _bins(problem: Problem) -> Bins:
    quantizer = problem.weight_quantizer
    if quantizer is None:
        raise ParameterError("weight_quantizer", None, "must be a quantizer")
    state, dynamics = Confinement.of(problem), problem.dynamics
    pull = dynamics.push_and_pull(0.0)[1]
    # From c − v, not κw* − (S + λ)v: its sign then agrees with what confinement says.
    drifts = pull * (state.targets[:, None] - quantizer.levels)
    squares = np.square(quantizer.levels - dynamics.ideal[:, None])
    probabilities = problem.teacher.probabilities.copy()
    return drifts, quantizer.thresholds.copy(), squares, probabilities, state.escapes
