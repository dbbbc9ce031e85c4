"""Learning rates one would want to know: time to a target, the best rate, the best schedule."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq, minimize, minimize_scalar

from fpsolve.density.solve import solve_pde
from fpsolve.display import Shown
from fpsolve.errors import ParameterError, SolveError
from fpsolve.macro.closure import stability_boundary
from fpsolve.problem.checks import finite, integer
from fpsolve.problem.problem import Problem
from fpsolve.problem.schedule import Schedule
from fpsolve.progress import Callback, progress_to
from fpsolve.reduction import OrderParameters
from fpsolve.studies.search import Search

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
    return _time_to_error(problem, target, horizon, rtol)[0]


def _time_to_error(
    problem: Problem, target: float, horizon: float, rtol: float
) -> tuple[float, OrderParameters]:
    """Return the first τ at which ε_g is down to `target`, and the state at the horizon."""
    low, high = 0.0, horizon
    states = []
    # A curve that is smooth on 65 points, seen again on 65 points of the interval that crosses.
    for _ in range(2):
        times = np.linspace(low, high, _TIMES)
        solved = solve_pde(problem, times, rtol=rtol).order_parameters
        states.append(solved[-1])
        errors = solved.generalization_error
        reached = np.flatnonzero(errors <= target)
        if reached.size == 0:
            return math.inf, states[0]
        first = int(reached[0])
        if first == 0:
            return float(times[0]), states[0]
        curve = PchipInterpolator(times, errors - target)
        low, high = float(times[first - 1]), float(times[first])
    found = brentq(lambda tau: float(curve(tau)), low, high, xtol=1e-14 * horizon, rtol=1e-14)
    return float(found), states[0]


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
    stats : dict
        "evaluations": rates tried in all; "interrupted": whether a callback ended the search.
    """

    problem: Problem
    horizon: float
    target: float | None
    value: float
    scanned: Array
    scanned_value: Array
    stats: dict[str, Any] = field(default_factory=dict)

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
    progress: bool = False,
    callback: Callback = None,
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
    progress : bool, default False
        Whether to show progress over the rates scanned.
    callback : callable, optional
        Called with every rate tried and the `OrderParameters` at the horizon, each of shape (),
        None where weights diverge; if it returns a true value the search ends, with the best of
        what it has tried.

    Returns
    -------
    BestRate
        The rate, what it gives, and the rates that were tried.

    Raises
    ------
    ParameterError
        If an argument is out of range, or no rate between the bounds reaches the target or keeps
        weights bounded.

    Notes
    -----
    Rates are scanned with three a factor e, and the best one is refined between its neighbours.

    Source: ε_g is that of paper Eq. (3), for the density of Eq. (5).
    """
    horizon, limits = finite("horizon", horizon, above=0.0), _bounds(bounds)
    total = _grid(limits).size
    with progress_to(total, "best_rate", shown=progress, unit="rates") as bar:
        search = Search(callback, bar)
        return _best_rate(problem, horizon, limits, target, rtol, search)


def _grid(limits: tuple[float, float]) -> Array:
    """Logarithms of the rates scanned."""
    low, high = math.log(limits[0]), math.log(limits[1])
    return np.linspace(low, high, max(4, math.ceil(_PER_FOLD * (high - low))))


def _best_rate(
    problem: Problem, horizon: float, limits: tuple[float, float], target: float | None,
    rtol: float, search: Search,
) -> BestRate:  # fmt: skip
    grid = _grid(limits)

    def value(log_rate: float) -> float:
        rate = math.exp(log_rate)
        return search.tell(
            rate, *_outcome(replace(problem, learning_rate=rate), horizon, target, rtol)
        )

    with search:
        values = np.array([value(x) for x in grid])
        best = int(values.argmin())
        if math.isfinite(values[best]):
            around = grid[max(best - 1, 0)], grid[min(best + 1, grid.size - 1)]
            options: Any = {"xatol": _RATE_ACCURACY}
            minimize_scalar(value, bounds=around, method="bounded", options=options)
    rate, least = search.best
    if not math.isfinite(least) and not search.interrupted:
        if target is None:
            raise ParameterError("bounds", limits, _diverging(problem))
        allowed = (
            f"is reached by tau = {horizon:g} at no rate between {limits[0]:g} and {limits[1]:g}"
        )
        raise ParameterError("target", target, allowed)
    scanned, outcome = np.array(search.tried[: grid.size]).T.copy()
    chosen = replace(problem, learning_rate=rate)
    return BestRate(chosen, horizon, target, least, scanned, outcome, search.stats)


def _diverging(problem: Problem) -> str:
    """What to say where weights diverge at every rate tried."""
    told = "hold no rate at which weights stay bounded"
    try:
        edge = stability_boundary(replace(problem, learning_rate=1.0))
    except ParameterError:
        edge = math.nan
    if problem.weight_quantizer is None and math.isfinite(edge):
        return f"{told}: they diverge beyond {edge:.4g} (stability_boundary); bounds below that do"
    return f"{told} by the horizon; lower them"


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
    stats : dict
        "evaluations": constant rates and schedules tried; "interrupted": whether a callback ended
        the search.
    """

    problem: Problem
    generalization_error: float
    constant: BestRate
    evaluations: int
    stats: dict[str, Any] = field(default_factory=dict)

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
    progress: bool = False,
    callback: Callback = None,
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
    progress : bool, default False
        Whether to show progress over the constant rates scanned and the schedules.
    callback : callable, optional
        As for `best_rate`: called with every constant rate, then with every `Schedule` tried.

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
    horizon = finite("horizon", horizon, above=0.0)
    total = _grid(limits).size + count
    with progress_to(total, "best_schedule", shown=progress, unit="rates and schedules") as bar:
        search = Search(callback, bar)
        constant = _best_rate(problem, horizon, limits, None, rtol, search)
        begin = len(search.tried)
        if not search.interrupted:
            _search_schedules(problem, shape, limits, constant, count, rtol, search)
    tried = search.tried[begin:]
    # Without any, that of the best constant rate.
    first = (_schedule(shape, _start(shape, constant), limits, horizon), constant.value)
    best, least = min(tried or [first], key=lambda pair: pair[1])
    chosen = replace(problem, learning_rate=best)
    return BestSchedule(chosen, least, constant, len(tried), search.stats)


def _start(shape: str, constant: BestRate) -> Array:
    """The point of the search that is a constant rate."""
    start = np.full(3 if shape == "steps" else 2, math.log(constant.learning_rate))
    start[2:] = 0.6
    return start


def _schedule(shape: str, point: Array, limits: tuple[float, float], horizon: float) -> Schedule:
    first, last = np.exp(np.clip(point[:2], *np.log(limits))).tolist()
    return _SHAPES[shape](first, last, horizon, float(point[2]) if shape == "steps" else 0.5)


def _search_schedules(
    problem: Problem, shape: str, limits: tuple[float, float], constant: BestRate, count: int,
    rtol: float, search: Search,
) -> None:  # fmt: skip
    """Try schedules, from the best constant rate on."""

    def value(point: Array) -> float:
        tried = _schedule(shape, point, limits, constant.horizon)
        outcome = _outcome(replace(problem, learning_rate=tried), constant.horizon, None, rtol)
        return search.tell(tried, *outcome)

    start, (low, high) = _start(shape, constant), np.log(limits)
    # Towards a large rate first and a small one last, as far as the bounds go.
    simplex = np.tile(start, (start.size + 1, 1))
    simplex[1, 0] = min(start[0] + 1.0, high) if start[0] < high - 0.1 else start[0] - 0.5
    simplex[2, 1] = max(start[1] - 1.5, low) if start[1] > low + 0.1 else start[1] + 0.5
    if shape == "steps":
        simplex[2, 2] = simplex[3, 2] = 0.8
        simplex[3, 1] = simplex[2, 1]
    options: Any = {
        "initial_simplex": simplex,
        "maxfev": count,
        "xatol": 0.02,
        "fatol": rtol * 1e-2,
    }
    with search:
        minimize(value, start, method="Nelder-Mead", options=options)


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


def _outcome(
    problem: Problem, horizon: float, target: float | None, rtol: float
) -> tuple[float, OrderParameters | None]:
    """ε_g at the horizon, or the time a target takes, and the state; inf where weights diverge."""
    try:
        if target is not None:
            return _time_to_error(problem, target, horizon, rtol)
        state = solve_pde(problem, [horizon], rtol=rtol).order_parameters[-1]
    except SolveError:
        return math.inf, None
    return float(state.generalization_error), state
