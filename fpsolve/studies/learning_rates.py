"""Learning rates one would want to know: time to a target, the best rate, the best schedule."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq, minimize, minimize_scalar

from fpsolve.density.solve import solve_pde
from fpsolve.display import Shown
from fpsolve.errors import ParameterError, SolveError
from fpsolve.problem.checks import finite, integer
from fpsolve.problem.problem import Problem
from fpsolve.problem.schedule import Schedule

__all__ = ["BestRate", "BestSchedule", "best_rate", "best_schedule", "time_to_error"]

Array = NDArray[np.float64]

# Times that a crossing is resolved with, at first over the horizon, then over its bracket.
_TIMES = 65
# Rates scanned per factor e.
_PER_FOLD = 3
# Relative accuracy of a rate: ε_g is flat at its minimum.
_RATE_ACCURACY = 1e-3


def time_to_error(problem: Problem, target: float, *, horizon: float, rtol: float = 1e-5) -> float:
    """Return the first τ at which ε_g is down to `target`; infinite if not by `horizon`.

    Parameters
    ----------
    problem : Problem
        What is trained.
    target : float
        ε_g > 0 that is wanted (dimensionless).
    horizon : float
        Latest time τ > 0 of interest (dimensionless).
    rtol : float, default 1e-5
        Accuracy of the densities, as for `solve_pde`.

    Returns
    -------
    float
        τ (dimensionless), on the monotone cubic interpolant of ε_g.

    Raises
    ------
    ParameterError
        If `target` or `horizon` is not positive, or `rtol` out of range.
    SolveError
        If the integration cannot reach the horizon.

    Notes
    -----
    Source: ε_g is that of paper Eq. (3), for the density of Eq. (5).
    """
    target = finite("target", target, above=0.0)
    horizon = finite("horizon", horizon, above=0.0)
    low, high = 0.0, horizon
    # A curve that is smooth on 65 points, seen again on 65 points of the interval that crosses.
    for _ in range(2):
        times = np.linspace(low, high, _TIMES)
        errors = solve_pde(problem, times, rtol=rtol).order_parameters.generalization_error
        reached = np.flatnonzero(errors <= target)
        if reached.size == 0:
            return math.inf
        first = int(reached[0])
        if first == 0:
            return float(times[0])
        curve = PchipInterpolator(times, errors - target)
        low, high = float(times[first - 1]), float(times[first])
    found = brentq(lambda tau: float(curve(tau)), low, high, xtol=1e-14 * horizon, rtol=1e-14)
    return float(found)


@dataclass(frozen=True, eq=False, repr=False)
class BestRate(Shown):
    """The best constant learning rate found, and the scan it comes from (dimensionless).

    Attributes
    ----------
    problem : Problem
        The problem with the best rate set.
    horizon : float
        τ by which it is best.
    target : float or None
        ε_g that is reached first; None if the least ε_g at the horizon was sought.
    value : float
        ε_g at the horizon, or the time the target takes.
    scanned, scanned_value : ndarray, shape (n,)
        Rates tried and what they give; inf where weights diverge or the target is missed.
    """

    problem: Problem
    horizon: float
    target: float | None
    value: float
    scanned: Array
    scanned_value: Array

    @property
    def learning_rate(self) -> float:
        """The best rate η."""
        rate = self.problem.learning_rate
        assert not isinstance(rate, Schedule)
        return rate

    def _shown(self) -> dict[str, object]:
        what = "generalization_error" if self.target is None else "time"
        return {
            "learning_rate": self.learning_rate,
            what: self.value,
            "horizon": self.horizon,
            "scanned": self.scanned.size,
        }


def best_rate(
    problem: Problem,
    *,
    horizon: float,
    bounds: tuple[float, float],
    target: float | None = None,
    rtol: float = 1e-4,
) -> BestRate:
    """Return the constant learning rate of least ε_g at a horizon, or that reaches a target first.

    Parameters
    ----------
    problem : Problem
        Its own learning rate is not used.
    horizon : float
        τ > 0 (dimensionless).
    bounds : tuple of float
        Least and largest rate tried, 0 < low < high.
    target : float, optional
        ε_g to reach as soon as possible.
    rtol : float, default 1e-4
        Accuracy of the densities.

    Returns
    -------
    BestRate
        The rate, what it gives, and the rates that were tried.

    Raises
    ------
    ParameterError
        If an argument is out of range, or no rate between the bounds reaches the target.

    Notes
    -----
    Rates are scanned with three a factor e, and the best one is refined between its neighbours.

    Source: ε_g is that of paper Eq. (3), for the density of Eq. (5).
    """
    horizon, limits = finite("horizon", horizon, above=0.0), _bounds(bounds)

    def value(log_rate: float) -> float:
        tried = replace(problem, learning_rate=math.exp(log_rate))
        return _outcome(tried, horizon, target, rtol)

    low, high = math.log(limits[0]), math.log(limits[1])
    grid = np.linspace(low, high, max(4, math.ceil(_PER_FOLD * (high - low))))
    values = np.array([value(x) for x in grid])
    best = int(values.argmin())
    if not math.isfinite(values[best]):
        allowed = (
            f"is reached by tau = {horizon:g} at no rate between {limits[0]:g} and {limits[1]:g}"
        )
        raise ParameterError("target", target, allowed)
    around = grid[max(best - 1, 0)], grid[min(best + 1, grid.size - 1)]
    found = minimize_scalar(
        value, bounds=around, method="bounded", options={"xatol": _RATE_ACCURACY}
    )
    rate, least = (found.x, found.fun) if found.fun < values[best] else (grid[best], values[best])
    chosen = replace(problem, learning_rate=math.exp(float(rate)))
    return BestRate(chosen, horizon, target, float(least), np.exp(grid), values)


@dataclass(frozen=True, eq=False, repr=False)
class BestSchedule(Shown):
    """The best schedule of a shape found, beside the best constant rate (dimensionless).

    Attributes
    ----------
    problem : Problem
        The problem with the best schedule set.
    generalization_error : float
        ε_g at the horizon.
    constant : BestRate
        The best constant rate by the same horizon.
    evaluations : int
        Schedules tried.
    """

    problem: Problem
    generalization_error: float
    constant: BestRate
    evaluations: int

    @property
    def schedule(self) -> Schedule:
        """The best schedule."""
        rate = self.problem.learning_rate
        assert isinstance(rate, Schedule)
        return rate

    def _shown(self) -> dict[str, object]:
        return {
            "generalization_error": self.generalization_error,
            "constant": self.constant.value,
            "horizon": self.constant.horizon,
            "evaluations": self.evaluations,
        }


def best_schedule(
    problem: Problem,
    shape: str,
    *,
    horizon: float,
    bounds: tuple[float, float],
    evaluations: int = 60,
    rtol: float = 1e-4,
) -> BestSchedule:
    """Return the learning-rate schedule of a given shape with the least ε_g at a horizon.

    Parameters
    ----------
    problem : Problem
        Its own learning rate is not used.
    shape : {"linear", "cosine", "exponential", "steps"}
        "linear" and "cosine" go from one rate to another over the whole horizon, "exponential" ends
        at the other one there, "steps" switches once, at a time that is sought too.
    horizon : float
        τ > 0 (dimensionless).
    bounds : tuple of float
        Least and largest rate tried, 0 < low < high.
    evaluations : int, default 60
        Schedules tried at most, from the best constant rate on.
    rtol : float, default 1e-4
        Accuracy of the densities.

    Returns
    -------
    BestSchedule
        Never worse than the best constant rate, where the search begins.

    Raises
    ------
    ParameterError
        If `shape` is none of these, or another argument is out of range.

    Notes
    -----
    Nelder and Mead's simplex method in the logarithms of the rates, clipped to the bounds.

    Source: ε_g is that of paper Eq. (3), for the density of Eq. (5).
    """
    limits = _bounds(bounds)
    count = integer("evaluations", evaluations, least=10, most=10_000)
    if shape not in _SHAPES:
        raise ParameterError("shape", shape, f"must be one of {', '.join(_SHAPES)}")
    constant = best_rate(problem, horizon=horizon, bounds=bounds, rtol=rtol)
    low, high = np.log(limits)

    def schedule(point: Array) -> Schedule:
        first, last = np.exp(np.clip(point[:2], low, high)).tolist()
        return _SHAPES[shape](first, last, horizon, float(point[2]) if shape == "steps" else 0.5)

    def value(point: Array) -> float:
        tried = replace(problem, learning_rate=schedule(point))
        return _outcome(tried, constant.horizon, None, rtol)

    start = np.full(3 if shape == "steps" else 2, math.log(constant.learning_rate))
    if shape == "steps":
        start[2] = 0.6
    # Towards a large rate first and a small one last, as far as the bounds go.
    simplex = np.tile(start, (start.size + 1, 1))
    simplex[1, 0] = min(start[0] + 1.0, high) if start[0] < high - 0.1 else start[0] - 0.5
    simplex[2, 1] = max(start[1] - 1.5, low) if start[1] > low + 0.1 else start[1] + 0.5
    if shape == "steps":
        simplex[2, 2] = simplex[3, 2] = 0.8
        simplex[3, 1] = simplex[2, 1]
    found = minimize(
        value, start, method="Nelder-Mead",
        options={"initial_simplex": simplex, "maxfev": count, "xatol": 0.02, "fatol": rtol * 1e-2},
    )  # fmt: skip
    chosen = replace(problem, learning_rate=schedule(np.asarray(found.x)))
    return BestSchedule(chosen, float(found.fun), constant, int(found.nfev))


def _stepped(first: float, last: float, horizon: float, share: float) -> Schedule:
    return Schedule.steps([first, last], times=[horizon * min(max(share, 0.02), 0.98)])


def _decayed(first: float, last: float, horizon: float, share: float) -> Schedule:
    del share
    # An exponential that grows is no decay: the search comes back from there.
    return Schedule.exponential(first, rate=max(math.log(first / last), 0.0) / horizon)


_SHAPES: dict[str, Callable[[float, float, float, float], Schedule]] = {
    "linear": lambda first, last, horizon, _: Schedule.linear(first, last, duration=horizon),
    "cosine": lambda first, last, horizon, _: Schedule.cosine(first, last, duration=horizon),
    "exponential": _decayed,
    "steps": _stepped,
}


def _bounds(bounds: tuple[float, float]) -> tuple[float, float]:
    try:
        low, high = bounds
    except (TypeError, ValueError):
        raise ParameterError("bounds", bounds, "must be two rates, 0 < low < high") from None
    low, high = finite("bounds", low, above=0.0), finite("bounds", high, above=0.0)
    if not low < high:
        raise ParameterError("bounds", bounds, "must be two rates, 0 < low < high")
    return low, high


def _outcome(problem: Problem, horizon: float, target: float | None, rtol: float) -> float:
    """ε_g at the horizon, or the time a target takes; inf where weights diverge."""
    try:
        if target is not None:
            return time_to_error(problem, target, horizon=horizon, rtol=rtol)
        solved = solve_pde(problem, [horizon], rtol=rtol)
    except SolveError:
        return math.inf
    return float(solved.order_parameters.generalization_error[-1])
