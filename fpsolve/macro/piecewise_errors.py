"""The self-consistency of stationary states under training rules beyond the paper's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from fpsolve.errors import ParameterError
from fpsolve.macro.piecewise_density import PiecewiseDensity, escape_bins
from fpsolve.problem.dynamics import Dynamics
from fpsolve.problem.problem import Problem
from fpsolve.problem.schedule import Schedule

__all__ = ["check_stationary", "piecewise_error_map", "piecewise_errors"]

Array = NDArray[np.float64]

# Scanned ε per factor e: two roots closer than 9 % would be passed over.
_PER_FOLD = 12
# Scanned below the largest error by this factor, where the least is 0 …
_DEEPEST = 1e-14
# … and up to this multiple of ρ + σ², where unquantized weights bound nothing.
_HIGHEST = 1e12


def check_stationary(problem: Problem) -> None:
    """Raise `ParameterError` where the stationary state has no closed form, or there is none."""
    dynamics = problem.dynamics
    for name in ("learning_rate", "ridge", "noise_variance"):
        value = getattr(problem, name)
        if isinstance(value, Schedule):
            allowed = "must be a number: nothing is stationary under a schedule; use solve_pde"
            raise ParameterError(name, value, allowed)
    if dynamics.pieces is None:
        allowed = "must be 0 for stationary states of rules beyond the paper's; use solve_pde"
        quantizer = problem.weight_quantizer
        raise ParameterError("weight_quantizer.temperature", getattr(quantizer, "temperature", 0.0),
                             allowed)  # fmt: skip
    if problem.surrogate is not None and problem.surrogate.slope == 0:
        walls = dynamics.walls
        if problem.surrogate.is_triangular or walls is None or walls.kind == "absorb":
            allowed = (
                "freezes weights where they happen to be, so the late state depends on the "
                "initial one; use solve_pde, or a surrogate with slope > 0"
            )
            raise ParameterError("surrogate", problem.surrogate, allowed)


def piecewise_error_map(problem: Problem) -> Callable[[float], float]:
    """Return F: ε ↦ ε_g of the stationary densities whose coefficients are those of ε > 0."""
    dynamics = problem.dynamics
    runaway = escape_bins(dynamics)
    settled = _settled_losses(dynamics, runaway)

    def error(given: float) -> float:
        losses = [
            PiecewiseDensity.of(dynamics, k, given).functionals[0] if end < 0 else settled[k]
            for k, end in enumerate(runaway)
        ]
        return float(dynamics.generalization_error(dynamics.probability @ np.array(losses)))

    return error


def piecewise_errors(problem: Problem) -> tuple[float, ...]:
    """Return every ε_g with F(ε_g) = ε_g, increasing; 0 where F falls below ε as ε → 0.

    All lie between what the best and the worst level of every class make of ε_g; without weight
    quantizer, where the worst is unbounded, up to 1e12 (ρ + σ²).
    """
    function, (low, high) = piecewise_error_map(problem), _bounds(problem)
    if high == 0:
        return (0.0,)

    def excess(error: float) -> float:
        return function(error) - error

    grid = np.geomspace(low, high, max(int(_PER_FOLD * np.log(high / low)), 24))
    values = np.array([excess(x) for x in grid])
    changes = np.flatnonzero((values[1:] > 0) != (values[:-1] > 0))
    roots = [float(brentq(excess, grid[i], grid[i + 1], xtol=1e-300, rtol=1e-15)) for i in changes]
    return (*([0.0] if values[0] < 0 else []), *roots)


def _settled_losses(dynamics: Dynamics, runaway: NDArray[np.int64]) -> Array:
    """Loss of each class that runs away, where ψ no longer changes."""
    pieces = dynamics.pieces
    assert pieces is not None
    return np.asarray(pieces.functionals[0, np.arange(runaway.size), runaway, 0])


def _bounds(problem: Problem) -> tuple[float, float]:
    """Return an interval that holds every root: just below the least, just above the largest."""
    dynamics, quantizer = problem.dynamics, problem.weight_quantizer
    if quantizer is None:
        return _DEEPEST * dynamics.offset(), _HIGHEST * dynamics.offset()
    levels, coordinate = quantizer.levels[:, None], dynamics.coordinate(slice(None))
    losses = dynamics.functional_terms(coordinate, levels, levels, np.square(levels))[0]
    low, high = (
        float(dynamics.generalization_error(dynamics.probability @ part))
        for part in (losses.min(axis=0), losses.max(axis=0))
    )
    high *= 1 + 1e-12
    return max(low * (1 - 1e-12), _DEEPEST * high), high
