"""Weights that start at a point and see no noise: points that their drift carries along."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fpsolve.density.atoms import Atoms
from fpsolve.density.frame import Frame
from fpsolve.density.start import (
    frozen_points,
    point_moments,
    start_at_points,
    starting_points,
)
from fpsolve.errors import SolveError
from fpsolve.problem.dynamics import FUNCTIONAL_NAMES
from fpsolve.problem.problem import Problem
from fpsolve.problem.schedule import largest_of, varies

__all__ = ["Points", "points_of"]

Array = NDArray[np.float64]

# A class of which the loss holds less than this share of rtol, of the least loss there is, drives
# nothing; one whose law stays narrower than this share of rtol, of the largest weight, is a point.
_UNSEEN = 1e-3
_NARROW = 0.1
_ROUNDING = 1e-14
# What is left of a piece's way, relative to the place, from which on a point rests until its end.
_REST = 1e-13
# Share of a stretch after which rates that rise from 0 have begun.
_EARLY = 1e-6
_ACCURACY: Any = {"rtol": 1e-12, "atol": 1e-15}
# Pieces of a path: each crosses a break, lands on a schedule, or comes to rest.
_MOST_PIECES = 100_000


class _Piece(NamedTuple):
    """A path from time `start` on: inside a bin, or held on a break with `share` of it beyond."""

    start: float
    bin: int
    share: float
    at: Callable[[Array], Array]


class _Path:
    """The way of class k, followed piece by piece as far as it is asked for.

    Pieces end where schedules land, and at powers of two: what is known of a time does not depend
    on how far the path is followed, nor on which times are asked for first.
    """

    def __init__(self, problem: Problem, k: int) -> None:
        self._problem, self._k = problem, k
        self._time, self._place = 0.0, float(starting_points(problem)[k])
        self._pieces: list[_Piece] = []
        self._starts: list[float] = []
        self._landings = problem.dynamics.landing_points(math.inf).tolist()
        self._least = 2.0 ** math.floor(-math.log2(largest_of(problem.learning_rate)))

    def pieces(self, times: Array) -> list[tuple[_Piece, slice]]:
        """Return the pieces that hold increasing `times`, each with which of these it holds."""
        while self._time <= times[-1] or not self._pieces:
            self._go_on()
        low, high = (bisect_right(self._starts, time) for time in times[[0, -1]].tolist())
        ends = [*np.searchsorted(times, self._starts[low:high]).tolist(), times.size]
        own = zip(self._pieces[low - 1 : high], map(slice, [0, *ends[:-1]], ends), strict=True)
        return [(piece, part) for piece, part in own if part.stop > part.start]

    def _go_on(self) -> None:
        now = self._time
        until = self._least
        if now >= until:
            until = 2.0 ** (math.floor(math.log2(now)) + 1)
        until = min([until, *(t for t in self._landings if t > now)])
        piece, self._time, self._place = _stretch(self._problem, self._k, (now, self._place), until)
        self._pieces.append(piece)
        self._starts.append(piece.start)
        if len(self._pieces) > _MOST_PIECES:
            raise SolveError(
                f"weights of teacher value {self._problem.dynamics.w_star[self._k]:.6g} cross more "
                f"than {_MOST_PIECES} thresholds; shorten the horizon",
                time=now, step=0.0,
            )  # fmt: skip


@dataclass(frozen=True)
class Points:
    """Classes of weights that stay points (dimensionless).

    Attributes
    ----------
    problem : Problem
        What is trained.
    which : ndarray of bool, shape (K,)
        The classes.
    """

    problem: Problem
    which: NDArray[np.bool_]
    _paths: dict[int, _Path] = field(default_factory=dict, repr=False)

    @property
    def alone(self) -> bool:
        """Whether there is no other class."""
        return bool(self.which.all())

    def at(self, time: float) -> Array:
        """Return where the weights of each class are, (K,); NaN for those that are no points."""
        out = np.full(self.which.size, np.nan)
        for k in np.flatnonzero(self.which).tolist():
            ((piece, _),) = self._path(k).pieces(np.array([time]))
            out[k] = piece.at(np.array([time]))[0]
        return out

    def frame(self, time: float) -> Frame:
        """The density at a time at which all weights are points."""
        return Frame.of_points(self.at(time))

    def beside(self, first: NDArray[np.int64], held: Array) -> tuple[NDArray[np.int64], Array]:
        """Number classes as the problem does: no element and no atom for those that are points.

        first (K' + 1,) and held (K', A) are those of the other classes.
        """
        count = np.zeros(self.which.size, np.int64)
        count[~self.which] = np.diff(first)
        atoms = np.zeros((self.which.size, held.shape[1]))
        atoms[~self.which] = held
        return np.concatenate([[0], np.cumsum(count)]), atoms

    def joined(self, time: float, atoms: Atoms | None) -> Atoms:
        """Return the points as atoms, beside those there are."""
        place = np.where(self.which, self.at(time), 0.0)[:, None]
        mass = self.which.astype(np.float64)[:, None]
        if atoms is None:
            return Atoms(place, mass)
        return Atoms(np.hstack([atoms.positions, place]), np.hstack([atoms.masses, mass]))

    @property
    def frozen(self) -> Points:
        """Those that never move, being frozen; their loss is seen, and the same for ever."""
        frozen = frozen_points(self.problem, starting_points(self.problem))
        return Points(self.problem, self.which & frozen)

    def functionals(self, times: Array) -> Array:
        """Return what they add to the functionals, shape (T, 6), with that of their loss.

        Times (T,) do not decrease.
        """
        dynamics = self.problem.dynamics
        out = np.zeros((times.size, len(FUNCTIONAL_NAMES)))
        own = [
            (k, piece, part)
            for k in np.flatnonzero(self.which).tolist()
            for piece, part in self._path(k).pieces(times)
        ]
        if not own:
            return out
        # All at once: of a hundred classes each adds a point or two, and calls cost more.
        sizes = [part.stop - part.start for _, _, part in own]
        w = np.concatenate([piece.at(times[part]) for _, piece, part in own])
        k = np.repeat([k for k, _, _ in own], sizes)
        bins = np.repeat([piece.bin for _, piece, _ in own], sizes)
        mean = dynamics.fields(w, bins, k).functionals
        share = np.repeat([piece.share for _, piece, _ in own], sizes)
        held = np.flatnonzero(share)
        if held.size:
            beyond = dynamics.fields(w[held], bins[held] + 1, k[held]).functionals
            mean[:, held] = (1.0 - share[held]) * mean[:, held] + share[held] * beyond
        mean *= dynamics.probability[k]
        for (_, _, part), end, size in zip(own, np.cumsum(sizes).tolist(), sizes, strict=True):
            out[part] += mean[:, end - size : end].T
        return out

    def _path(self, k: int) -> _Path:
        if k not in self._paths:
            self._paths[k] = _Path(self.problem, k)
        return self._paths[k]


def points_of(problem: Problem, horizon: float, rtol: float) -> Points | None:
    """Return the classes that stay points up to `horizon`; None if there are none.

    Those are such as start at a point, on a reflecting wall if all of them are beyond it, see noise
    that cannot move them by a tenth of `rtol`, and are not seen by the loss; those frozen beyond an
    absorbing wall; and all, where nothing moves and the generalization error is 0.
    """
    dynamics, quantizer = problem.dynamics, problem.weight_quantizer
    begins = start_at_points(problem)
    if not begins.any() or not dynamics.is_standard:
        return None
    turning = varies(problem.ridge)
    if turning and (problem.weight_decay > 0 or problem.dampening > 0):
        # What holds a point on a break may let go of it in the middle of a schedule.
        return None
    start = starting_points(problem)
    untrained = problem.rho + float(dynamics.sigma2 @ np.square(start) / start.size)
    error = float(point_moments(problem)[0] + dynamics.added_noise(0.0))
    quiet = not varies(problem.noise_variance) and abs(error) <= _ROUNDING * untrained
    if quiet and begins.all() and not (np.abs(_drift(problem, start)) > 0).any():
        return Points(problem, np.ones(start.size, np.bool_))
    reach = float(np.abs(start).max())
    which = begins & ((dynamics.sigma2 == 0) | frozen_points(problem, start))
    if quantizer is not None and not turning:
        far = float(np.abs(quantizer.levels).max())
        seen = dynamics.sigma2 * far**2 + 2.0 * np.abs(dynamics.kappa * dynamics.w_star) * far
        top, loudest = largest_of(problem.learning_rate), largest_of(problem.noise_variance)
        most = problem.rho + loudest + float(dynamics.probability @ seen)
        heat = (top / (1.0 - problem.momentum)) ** 2 * most * horizon / problem.batch_size
        narrow = np.sqrt(dynamics.sigma2 * heat) <= _NARROW * rtol * max(reach, far)
        least = problem.rho - float(
            dynamics.probability @ (dynamics.sigma2 * np.square(dynamics.ideal))
        )
        which |= begins & narrow & (dynamics.probability * seen <= _UNSEEN * rtol * least)
    return Points(problem, which) if which.any() else None


def _drift(problem: Problem, points: Array) -> Array:
    """Terms of the drift at points, one a class, (J, K)."""
    dynamics = problem.dynamics
    bins = dynamics.bins(points)
    return np.asarray(dynamics.fields(points, bins, np.arange(points.size)).drift)


def _stretch(
    problem: Problem, k: int, state: tuple[float, float], until: float
) -> tuple[_Piece, float, float]:
    """The next piece from `state`, a time and a place, and where it ends: never, if held for good.

    It ends at `until` at the latest.
    """
    (time, w), dynamics = state, problem.dynamics
    edges = np.concatenate([[-math.inf], dynamics.breaks, [math.inf]])
    b = int(dynamics.bins(w))
    walls = dynamics.walls

    def drift(t: float, x: float, bin_: int) -> float:
        terms = dynamics.fields(np.array([x]), np.array([bin_]), k).drift[:, 0]
        return float(dynamics.coefficients(t, 0.0).drift @ terms)

    # Just after the start of the stretch: rates may rise from 0.
    early = time + _EARLY * (until - time)
    right = drift(early, w, b)
    if w in dynamics.breaks:
        left = drift(early, w, b - 1)
        if left > 0.0 > right:
            share = left / (left - right)
            settled = not varies(problem.ridge)
            return _still(time, b - 1, share, w), math.inf if settled else until, w
        if right < 0.0 and not left > 0.0:
            b, right = b - 1, left
    held = walls is not None and walls.kind == "reflect"
    if held and walls is not None:
        at_wall = (w <= walls.low and right <= 0.0) or (w >= walls.high and right >= 0.0)
        if at_wall:
            settled = not varies(problem.ridge)
            return _still(time, b, 0.0, w), math.inf if settled else until, w
        edges = np.clip(edges, walls.low, walls.high)
    return _carried(problem, (time, w, until), b, (edges[b], edges[b + 1]), drift)


def _carried(
    problem: Problem, state: tuple[float, float, float], b: int, ends: tuple[float, float],
    drift: Callable[[float, float, int], float],
) -> tuple[_Piece, float, float]:  # fmt: skip
    """A piece inside bin b, from a time and a place until a time, or an end of the bin."""
    from scipy.integrate import solve_ivp  # Takes long to import, and is seldom wanted.

    time, w, until = state
    steady = not varies(problem.ridge)
    top = largest_of(problem.learning_rate)
    size = max(abs(w), abs(problem.initial.mean), 1e-300)

    def left(t: float, x: Array) -> float:
        """What is left of the way at most, less what counts as rest."""
        now, speed = float(problem.dynamics.rate(t)[0]), abs(drift(t, float(x[0]), b))
        gain = top / (1.0 - problem.momentum) / now if now > 0.0 else math.inf
        way = speed * gain * (until - time) if speed > 0.0 or now == 0.0 else 0.0
        return way - _REST * size

    if steady and left(time + _EARLY * (until - time), np.array([w])) <= 0.0:
        return _still(time, b, 0.0, w), until, w
    found: Any = solve_ivp(
        lambda t, x: [drift(t, float(x[0]), b)], (time, until), [w],
        method="DOP853" if steady else "LSODA", dense_output=True, **_ACCURACY,
        events=[
            _event(lambda _, x: float(x[0]) - ends[0] if math.isfinite(ends[0]) else 1.0),
            _event(lambda _, x: ends[1] - float(x[0]) if math.isfinite(ends[1]) else 1.0),
            _event(left if steady else lambda _, x: 1.0),
        ],
    )  # fmt: skip
    stop, path, last = float(found.t[-1]), found.sol, float(found.y[0, -1])
    low, high, rest = (when.size > 0 for when in found.t_events)
    last = ends[0] if low else ends[1] if high else last
    piece = _Piece(time, b, 0.0, lambda t: np.where(t >= stop, last, path(np.minimum(t, stop))[0]))
    return piece, until if rest else stop, last


def _still(time: float, b: int, share: float, w: float) -> _Piece:
    """A piece that stays where it is."""
    return _Piece(time, b, share, lambda t: np.full(t.size, w))


def _event(function: Callable[[float, Array], float]) -> Any:
    """What ends an integration where it falls to 0."""
    event: Any = function
    event.terminal, event.direction = True, -1.0
    return event
