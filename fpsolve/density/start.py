"""The Gaussian from which a density starts, and the first instants of a point mass."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fpsolve.density.frame import Frame
from fpsolve.numerics.gaussian import REACH, GaussianStart
from fpsolve.problem.problem import Problem
from fpsolve.problem.schedule import Schedule, varies

__all__ = [
    "HELD",
    "frozen_points",
    "gaussian_start",
    "point_frame",
    "point_moments",
    "start_at_points",
    "starting_points",
]

Array = NDArray[np.float64]

# A point mass is followed exactly until it is this many standard deviations from a break.
_CLEAR = 9.0
# The end of the first instants is sought in powers of this, then halved so often between two.
_LEAP = 1e4
_HALVINGS = 50
_INSTANT = 1e-290
# Laws narrower than this, relative to places and at least 1, no mesh can hold; while they are, it
# does not matter how they are narrow, unless the drift parts what is on either side of a break.
HELD = 1e-12
# So much of rtol, of the root mean square weight, displacements are not seen.
_UNSEEN = 0.05
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)


def starting_points(problem: Problem) -> Array:
    """Where the weights of each class start, held by reflecting walls; (K,)."""
    point = problem.initial.mean + problem.initial.overlap * problem.teacher.values
    walls = problem.dynamics.walls
    if walls is not None and walls.kind == "reflect":
        point = np.clip(point, walls.low, walls.high)
    return np.asarray(point)


def start_at_points(problem: Problem) -> NDArray[np.bool_]:
    """Whether classes start at points: without a variance, or wholly put on a reflecting wall."""
    initial, walls = problem.initial, problem.dynamics.walls
    if initial.variance == 0:
        return np.ones(problem.teacher.values.size, np.bool_)
    if walls is None or walls.kind != "reflect":
        return np.zeros(problem.teacher.values.size, np.bool_)
    mean = initial.mean + initial.overlap * problem.teacher.values
    gone = REACH * math.sqrt(initial.variance)
    return np.asarray((mean - gone >= walls.high) | (mean + gone <= walls.low))


def frozen_points(problem: Problem, points: Array) -> NDArray[np.bool_]:
    """Whether h is 0 at the points for good: beyond absorbing walls, (K,)."""
    walls, surrogate = problem.dynamics.walls, problem.surrogate
    if walls is None or walls.kind != "absorb" or surrogate is None:
        return np.zeros(points.size, np.bool_)
    beyond = (points < walls.low) | (points > walls.high)
    return np.asarray(beyond | surrogate.is_triangular & (np.abs(points) == walls.high))


def point_frame(problem: Problem) -> Frame:
    """The initial weights of a problem whose initial variance is 0, as point masses."""
    return Frame.of_points(starting_points(problem))


def point_moments(problem: Problem, points: Array | None = None) -> Array:
    """Functionals of point masses, (6,) in the order of `FUNCTIONAL_NAMES`.

    ε_g is whole but for scheduled noise.
    """
    dynamics = problem.dynamics
    points = starting_points(problem) if points is None else points
    k = np.arange(points.size)
    values = dynamics.fields(points, dynamics.bins(points), k).functionals
    moments = values @ dynamics.probability
    moments[0] += dynamics.steady_offset
    return np.asarray(moments)


def gaussian_start(
    problem: Problem, rtol: float, latest: float, still: NDArray[np.bool_] | None = None
) -> GaussianStart:
    """Return the initial density, a point mass advanced to where it has a width, by `latest`.

    Classes that are `still` points, (K,), see `points`, are left out of account; given those, the
    others get a width that a mesh can hold.

    While a point mass sees a constant drift it becomes N(w_0 + ∫a, ∫2D) exactly, and ε_g does not
    change. On a break it does so up to a relative error of order |Δa| (τ/2D)^½, where coefficients
    are smooth up to one of order τ; the time chosen here keeps them below `rtol`/100, or ends
    before anything has moved by more than 1e-12.
    """
    initial, dynamics = problem.initial, problem.dynamics
    if initial.variance > 0:
        mean = initial.mean + initial.overlap * problem.teacher.values
        return GaussianStart(0.0, mean, np.full(mean.shape, math.sqrt(initial.variance)))
    points = starting_points(problem)
    # Schedules are smooth until they land; an exponential falls by e once in what is integrated.
    latest = min([latest, *dynamics.landing_points(latest).tolist(), *_scales(problem)])
    error = float(point_moments(problem)[0])
    drift = _drift_terms(problem, points)
    spreads = np.ones(points.size, np.bool_) if still is None else ~still
    allowed = _allowance(problem, points, drift, 0.01 * rtol, spreads)
    time = _last_instant(lambda t: allowed(*_integrals(problem, error, t)), latest)
    travel, heat = _integrals(problem, error, time)
    deviation = np.sqrt(dynamics.sigma2 * heat) * _gradient_factor(problem, points)
    mean = points + travel @ drift
    held = HELD * np.maximum(_size(problem, points), 1.0)
    deviation = np.where(frozen_points(problem, points), held, deviation)
    if still is not None:
        narrow = np.where(deviation < held, _displaceable(problem, mean, rtol), 0.0)
        deviation = np.maximum(deviation, np.maximum(narrow, held))
    return GaussianStart(time, mean, deviation)


def _displaceable(problem: Problem, mean: Array, rtol: float) -> Array:
    """Widths that displace mass by next to nothing, of laws clear of breaks and walls; (K,).

    What no noise has reached yet may travel far, and come to a break in a time that is rounding.
    """
    dynamics, walls = problem.dynamics, problem.dynamics.walls
    ends = [] if walls is None else [walls.low, walls.high]
    breaks = np.concatenate([dynamics.breaks, ends])
    away = np.abs(mean[:, None] - breaks).min(axis=1, initial=math.inf)
    width = _UNSEEN * rtol * math.sqrt(float(dynamics.probability @ np.square(mean)))
    return np.where(away > REACH * width, width, 0.0)


def _size(problem: Problem, points: Array) -> Array:
    """Sizes of positions near the points, (K,)."""
    return np.asarray(np.maximum(np.abs(points), np.abs(problem.dynamics.breaks).max(initial=0.0)))


def _last_instant(allowed: Callable[[float], bool], latest: float) -> float:
    """The last time up to `latest` that is allowed; what is tiny may be forbidden by rounding."""
    low = latest
    while low > _INSTANT and not allowed(low):
        low /= _LEAP
    high = min(low * _LEAP, latest)
    if low == latest:
        return latest
    for _ in range(_HALVINGS):
        middle = math.sqrt(low) * math.sqrt(high)
        low, high = (middle, high) if allowed(middle) else (low, middle)
    return low


def _scales(problem: Problem) -> list[float]:
    """Times in which schedules fall by e, where they begin as exponentials."""
    numbers = (problem.learning_rate, problem.ridge, problem.noise_variance)
    pieces = [number.piece(0.0) for number in numbers if isinstance(number, Schedule)]
    return [piece[2] for piece in pieces if piece[0] == "exponential"]


def _gradient_factor(problem: Problem, points: Array) -> Array:
    """h at the points, (K,); 1 where it is 0, for what is frozen takes no part in it."""
    bins = problem.dynamics.bins(points)
    h = problem.dynamics.fields(points, bins, np.arange(points.size)).shape
    return np.where(h > 0, h, 1.0)


def _integrals(problem: Problem, error: float, time: float) -> tuple[Array, float]:
    """∫ c_j, (J,), and ∫ 2D without its factor S, from 0 to `time`.

    `error` is ε_g but for scheduled noise.
    """
    dynamics = problem.dynamics
    at = (0.5 * time * (1.0 + _NODES)).tolist()
    found = [dynamics.coefficients(t, error + float(dynamics.added_noise(t))) for t in at]
    travel = _WEIGHTS @ np.array([c.drift for c in found])
    heat = float(_WEIGHTS @ np.array([c.diffusion for c in found]))
    return 0.5 * time * travel, time * heat


def _drift_terms(problem: Problem, points: Array, *, before: bool = False) -> Array:
    """Terms of the drift at the points, (J, K), from the right of a break or from its left."""
    dynamics = problem.dynamics
    bins = np.searchsorted(dynamics.breaks, points, side="left" if before else "right")
    return np.asarray(dynamics.fields(points, bins, np.arange(points.size)).drift)


def _allowance(
    problem: Problem, points: Array, drift: Array, small: float, spreads: NDArray[np.bool_]
) -> Callable[[Array, float], bool]:
    """Whether the first instants may last until ∫c_j and ∫2D have given values."""
    breaks, quantizer = problem.dynamics.breaks, problem.weight_quantizer
    speed = np.abs(drift)
    away = np.abs(points[:, None] - breaks).min(axis=1, initial=math.inf)
    walls = problem.dynamics.walls
    if walls is not None and walls.kind == "reflect":
        # What stands on a wall spreads from it in closed form; the others must not reach it yet.
        gap = np.minimum(points - walls.low, walls.high - points)
        away = np.minimum(away, np.where(gap > 0, gap, math.inf))
    scale = _size(problem, points)
    clear = away > 1e-12 * np.maximum(scale, 1e-300)
    before = _drift_terms(problem, points, before=True)
    jump = np.abs(before - drift)
    # Where a break parts weights, how many go either way depends on the first instants.
    parts = ~clear & ((before < 0) & (drift > 0)).any(axis=0)
    held = HELD * np.maximum(scale, 1.0)
    smooth = math.inf
    if quantizer is not None and quantizer.temperature > 0:
        smooth = quantizer.temperature
    # Slopes of the drift inside a bin: decay, dampening, rounding, or the identity itself.
    slope = _slope(problem, points)
    steady = 0.0 if varies(problem.ridge) else problem.dynamics.ridge(0.0)
    h = _gradient_factor(problem, points)
    share, tilt = problem.dynamics.sigma2 * np.square(h), _tilt(problem, points) / h

    def allowed(travel: Array, heat: float) -> bool:
        width, bent, way = np.sqrt(share * heat), travel @ slope, travel @ speed
        shift = travel @ jump
        if smooth < math.inf:
            # Of all terms ψ has at most the factor S, or, where the ridge is one of them, 1.
            pull = np.full(travel.size, 1.0)
            pull[0] = float((problem.dynamics.sigma2 + steady).max())
            shift = shift + way + pull @ travel * float(np.diff(quantizer.levels).max())  # type: ignore[union-attr]
            fine = (np.square(width) <= small * smooth**2) & (shift <= small * smooth)
        else:
            inside = (2 * _CLEAR * width <= away) & (way <= 0.5 * away)
            fine = np.where(clear, inside, shift <= small * width)
        unseen = ~parts & (np.maximum(width, shift) <= held) & (way * bent <= held)
        fine &= (bent <= small) & (width * tilt <= small)
        return bool((fine | unseen)[spreads].all())

    return allowed


def _tilt(problem: Problem, points: Array) -> Array:
    """|∂_w h| at the points, (K,)."""
    dynamics = problem.dynamics
    return np.asarray(np.abs(dynamics.shape_pieces[dynamics.bins(points), 1]))


def _slope(problem: Problem, points: Array) -> Array:
    """|∂_w of the drift's terms| at the points, where there are pieces; (J, K)."""
    pieces = problem.dynamics.pieces
    if pieces is None:
        return np.zeros((problem.dynamics.coefficients(0.0, 0.0).drift.size, points.size))
    bins = problem.dynamics.bins(points)
    own = pieces.drift[:, np.arange(points.size), bins]
    return np.asarray(np.abs(own[..., 1] + 2.0 * own[..., 2] * points))
