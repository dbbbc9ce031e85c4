"""Initial mass beyond walls: held by reflecting ones, frozen where it is beyond absorbing ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfc, erfcx

from fpsolve.density.atoms import Atoms
from fpsolve.density.equation import widest_resolving
from fpsolve.density.frame import Frame
from fpsolve.density.start import HELD
from fpsolve.numerics.element import reference_element
from fpsolve.numerics.gaussian import GaussianStart
from fpsolve.numerics.initial import Initial
from fpsolve.problem.problem import Problem
from fpsolve.problem.schedule import Schedule

__all__ = [
    "FrozenStart",
    "WalledStart",
    "chosen",
    "frozen_start",
    "initial_frame",
    "points_on_walls",
    "walled_start",
]

Array = NDArray[np.float64]

# The bulk of the density moves by this share of its width, times rtol, while the mass on a wall
# spreads into a layer.
_INSTANT = 0.01
# Share of the time in which a schedule changes in which it changes by little.
_CHANGING = 0.01
# A Gaussian this many standard deviations beyond a wall leaves nothing before it.
_GONE = 40.0
# Elements per standard deviation of what is frozen from the start.
_PER_DEVIATION = 4


@dataclass(frozen=True, eq=False)
class WalledStart:
    """A Gaussian cut at reflecting walls, what was beyond having spread from the wall since τ = 0.

    Attributes
    ----------
    bulk : GaussianStart
        The Gaussian.
    low, high : float
        Walls (dimensionless).
    time : float
        Short time for which the mass on the walls has spread.
    beyond, inward, heat : ndarray, shapes (2, K), (2, K), (K,)
        Mass that was on the lower and the upper wall, drift away from the wall, and ∫h²D dτ.
    """

    bulk: GaussianStart
    low: float
    high: float
    time: float
    beyond: Array
    inward: Array
    heat: Array

    def support(self, k: int) -> tuple[float, float]:
        """Interval that holds class k."""
        low, high = self.bulk.support(k)
        # Mass that drifts away from its wall is not a layer there any more.
        away = float(self.inward[:, k].max(initial=0.0)) * self.time
        layer = 20.0 * math.sqrt(self.heat[k]) + away
        low = self.low if self.beyond[0, k] > 0 else max(low, self.low)
        high = self.high if self.beyond[1, k] > 0 else min(high, self.high)
        if low > self.high - layer:
            low = self.high - layer
        if high < self.low + layer:
            high = self.low + layer
        return low, high

    def scale(self, k: int) -> float:
        """A width at which to look first."""
        return min(self.bulk.scale(k), self.high - self.low)

    def pdf(self, k: int, x: Array) -> Array:
        """Density of class k."""
        out = self.bulk.pdf(k, x)
        for side, depth in enumerate((x - self.low, self.high - x)):
            if self.beyond[side, k] > 0:
                layer = _layer_density(depth, self.inward[side, k], self.heat[k], self.time)
                out = out + self.beyond[side, k] * layer
        return out

    def masses(self, k: int, left: Array, right: Array) -> Array:
        """Masses of class k between points."""
        out = self.bulk.masses(k, left, right)
        for side in range(2):
            if self.beyond[side, k] == 0:
                continue
            ends = [left - self.low, right - self.low]
            if side:
                ends = [self.high - right, self.high - left]
            # The end of a mesh is its wall but for rounding, which is much to a thin layer.
            close = 4.0 * np.finfo(np.float64).eps * max(abs(self.low), abs(self.high))
            ends = [np.where(depth <= close, 0.0, depth) for depth in ends]
            args = self.inward[side, k], self.heat[k], self.time
            part = _layer_beyond(ends[0], *args) - _layer_beyond(ends[1], *args)
            out = out + self.beyond[side, k] * part
        return out


@dataclass(frozen=True, eq=False)
class _Chosen:
    """Some classes of an initial law, numbered anew."""

    initial: Initial
    classes: NDArray[np.int64]

    def support(self, k: int) -> tuple[float, float]:
        return self.initial.support(int(self.classes[k]))

    def scale(self, k: int) -> float:
        return self.initial.scale(int(self.classes[k]))

    def pdf(self, k: int, x: Array) -> Array:
        return self.initial.pdf(int(self.classes[k]), x)

    def masses(self, k: int, left: Array, right: Array) -> Array:
        return self.initial.masses(int(self.classes[k]), left, right)


def chosen(initial: Initial, classes: NDArray[np.int64]) -> Initial:
    """Return an initial law of these classes only, in this order."""
    if isinstance(initial, GaussianStart):
        return GaussianStart(initial.time, initial.mean[classes], initial.deviation[classes])
    return _Chosen(initial, classes)


def _layer_density(depth: Array, inward: float, heat: float, time: float) -> Array:
    """Density at `depth` of what started on a wall: reflected Brownian motion with drift.

    Source: Borodin and Salminen, Handbook of Brownian Motion, A1.16.
    """
    diffusivity, path = heat / time, inward * time
    y = (depth - path) / (2.0 * math.sqrt(heat))
    near = np.exp(-(y**2)) / math.sqrt(math.pi * heat)
    return np.asarray(near - inward / (2.0 * diffusivity) * _reflected(depth, path, heat))


def _layer_beyond(depth: Array, inward: float, heat: float, time: float) -> Array:
    """Mass of the same deeper than `depth`."""
    path = inward * time
    y = (depth - path) / (2.0 * math.sqrt(heat))
    return np.asarray(0.5 * erfc(y) + 0.5 * _reflected(depth, path, heat))


def _reflected(depth: Array, path: float, heat: float) -> Array:
    """exp(path·depth/heat) erfc(z), z = (depth + path)/(2 √heat), free of overflow."""
    root = 2.0 * math.sqrt(heat)
    z, y = (depth + path) / root, (depth - path) / root
    # Of drift onto the wall the exponent is negative, of drift away from it z is positive.
    towards = np.exp(np.minimum(depth * (path / heat), 0.0)) * erfc(np.minimum(z, 0.0))
    return np.where(z < 0.0, towards, np.exp(-(y**2)) * erfcx(np.maximum(z, 0.0)))


def walled_start(
    problem: Problem, start: GaussianStart, rtol: float, error: float, latest: float
) -> WalledStart:
    """Return `start` cut at the reflecting walls of `problem`; `error` is ε_g there.

    What was beyond has spread for a time that is short for the bulk, `latest` at most.
    """
    dynamics = problem.dynamics
    walls = dynamics.walls
    assert walls is not None
    classes = start.mean.size
    ends = np.array([walls.low, walls.high])
    beyond = np.zeros((2, classes))
    for k in range(classes):
        beyond[0, k] = start.masses(k, np.array([-math.inf]), ends[:1])[0]
        beyond[1, k] = start.masses(k, ends[1:], np.array([math.inf]))[0]
    # What rounding leaves beyond a distant wall is nothing.
    beyond[beyond < 1e-16] = 0.0
    # Surrogates are alike on either side.
    h = float(dynamics.shape(np.array([walls.high * (1 - 1e-9)]))[0])
    extent = float(min(start.deviation.min(), walls.high - walls.low))
    time = latest = min(latest, _shortest(problem, start.time))
    # Rates may rise from 0: they are those in the middle of the time, which the second pass knows.
    for _ in range(2):
        middle = start.time + 0.5 * time
        inward = _inward(problem, middle)
        diffusivity = dynamics.sigma2 * h**2 * float(dynamics.diffusivity(middle, error))
        speed, spread = float(np.abs(inward).max()), float(diffusivity.max())
        # There may be no drift at the walls, or no diffusion.
        by_drift, by_spread = speed / extent, spread / extent**2
        time = min(_INSTANT * rtol / max(by_drift, by_spread, 1e-300), latest)
    # What hardly diffuses stays on its wall in a layer that a mesh can hold.
    held = HELD * float(np.abs(ends).max())
    heat = np.maximum(diffusivity * time, held**2)
    return WalledStart(start, walls.low, walls.high, time, beyond, inward, heat)


def _shortest(problem: Problem, time: float) -> float:
    """Time in which schedules change by little, ∞ if there is none at `time`."""
    shortest = math.inf
    for value in (problem.learning_rate, problem.ridge, problem.noise_variance):
        if isinstance(value, Schedule):
            shape, _, duration, _, _ = value.piece(time)
            if shape != "constant":
                shortest = min(shortest, _CHANGING * duration)
    return shortest


def _inward(problem: Problem, time: float) -> Array:
    """Drift away from the lower and the upper wall, (2, K)."""
    dynamics = problem.dynamics
    walls = dynamics.walls
    assert walls is not None
    inside = 1e-9 * (walls.high - walls.low)
    out = np.empty((2, dynamics.w_star.size))
    for side, at in enumerate((walls.low + inside, walls.high - inside)):
        for k in range(out.shape[1]):
            drift = dynamics.point_drift(np.array([at]), dynamics.coordinate(k), time)
            out[side, k] = (1.0, -1.0)[side] * float(drift[0])
    return out


def points_on_walls(problem: Problem, start: GaussianStart) -> WalledStart:
    """Return `start`, made of points, with those on reflecting walls spread from there.

    The others have not reached a wall yet.
    """
    walls = problem.dynamics.walls
    assert walls is not None
    point = problem.initial.mean + problem.initial.overlap * problem.teacher.values
    beyond = np.array([point <= walls.low, point >= walls.high], dtype=np.float64)
    travel = start.mean - np.clip(point, walls.low, walls.high)
    inward = np.stack([travel, -travel]) / start.time
    gone = _GONE * start.deviation
    mean = np.where(beyond[0] > 0, walls.low - gone, start.mean)
    mean = np.where(beyond[1] > 0, walls.high + gone, mean)
    bulk = GaussianStart(start.time, mean, start.deviation)
    heat = 0.5 * np.square(start.deviation)
    return WalledStart(bulk, walls.low, walls.high, start.time, beyond, inward, heat)


def initial_frame(problem: Problem, start: GaussianStart, order: int) -> tuple[Frame, Array]:
    """Return the density at τ = 0 between reflecting walls, with what was beyond as atoms on them.

    Returns
    -------
    frame : Frame
        The density.
    moments : ndarray, shape (6,)
        Its functionals in the order of `FUNCTIONAL_NAMES`, ε_g whole but for scheduled noise.
    """
    dynamics = problem.dynamics
    walls = dynamics.walls
    assert walls is not None
    k = np.arange(start.mean.size)
    ends = np.array([walls.low, walls.high])
    held = np.zeros((k.size, 2))
    moments = np.zeros(6)
    parts, first = [], [0]
    for i in range(k.size):
        held[i, 0] = start.masses(i, np.array([-math.inf]), ends[:1])[0]
        held[i, 1] = start.masses(i, ends[1:], np.array([math.inf]))[0]
        low, high = start.support(i)
        low, high = max(low, walls.low), min(high, walls.high)
        parts.append(_elements(problem, start, i, low, high, order))
        first.append(first[-1] + parts[-1][0].size)
        moments += dynamics.probability[i] * _seen(problem, i, parts[-1], order)
    for side in range(2):
        place = np.full(k.size, ends[side]), np.full(k.size, walls.bins[side])
        on_wall = dynamics.fields(*place, k).functionals
        moments += on_wall @ (dynamics.probability * held[:, side])
    moments[0] += dynamics.steady_offset
    joined = [np.concatenate([p[i] for p in parts], axis=-1) for i in range(3)]
    atoms = Atoms(np.broadcast_to(ends, held.shape), held)
    return Frame(order, first, joined[0], joined[1], joined[2], atoms), moments


@dataclass(frozen=True, eq=False)
class FrozenStart:
    """Weights that never move: they start beyond absorbing walls.

    Attributes
    ----------
    lower, upper : list of (left, width, u), length K
        Elements below and above the walls of each class, as in `Frame`.
    functionals : ndarray, shape (6,)
        What they contribute, in the order of `FUNCTIONAL_NAMES`.
    """

    lower: list[tuple[Array, Array, Array]]
    upper: list[tuple[Array, Array, Array]]
    functionals: Array

    @classmethod
    def none(cls, classes: int, order: int) -> FrozenStart:
        """Nothing starts beyond the walls."""
        nothing = (np.empty(0), np.empty(0), np.empty((order + 1, 0)))
        return cls([nothing] * classes, [nothing] * classes, np.zeros(6))


def frozen_start(
    problem: Problem, start: GaussianStart, order: int, still: NDArray[np.bool_],
    *, unrolled: bool = False,
) -> FrozenStart:  # fmt: skip
    """Return what of `start` lies beyond the absorbing walls of `problem`.

    Classes that are `still` points, (K,), are not among it. Where the surrogate is `unrolled` next
    to its bound, what is near but within is solved for.
    """
    dynamics = problem.dynamics
    walls = dynamics.walls
    assert walls is not None
    lower: list[tuple[Array, Array, Array]] = []
    upper: list[tuple[Array, Array, Array]] = []
    functionals = np.zeros(6)
    for k in range(start.mean.size):
        below, above = (walls.low, walls.high) if unrolled else walls.solved
        low, high = start.support(k) if not still[k] else (below, above)
        below, above = min(below, high), max(above, low)
        for out, a, b in ((lower, low, below), (upper, above, high)):
            elements = _elements(problem, start, k, a, b, order)
            out.append(elements)
            functionals += dynamics.probability[k] * _seen(problem, k, elements, order)
    return FrozenStart(lower, upper, functionals)


def _elements(
    problem: Problem, start: GaussianStart, k: int, low: float, high: float, order: int
) -> tuple[Array, Array, Array]:
    """The Gaussian of class k on [low, high] as polynomials that cross no break, masses exact."""
    element, breaks = reference_element(order), problem.dynamics.breaks
    if not low < high:
        return np.empty(0), np.empty(0), np.empty((order + 1, 0))
    inside = breaks[(breaks > low) & (breaks < high)]
    count = max(1, math.ceil(_PER_DEVIATION * (high - low) / start.deviation[k]))
    edges = np.unique(np.concatenate([np.linspace(low, high, count + 1), inside]))
    if problem.weight_quantizer is not None and problem.weight_quantizer.temperature > 0:
        widest = widest_resolving(problem)
        while (wide := np.diff(edges) > widest(edges[:-1], edges[1:])).any():
            middle = 0.5 * (edges[:-1] + edges[1:])
            edges = np.sort(np.concatenate([edges, middle[wide]]))
    left, width = edges[:-1], np.diff(edges)
    u = start.pdf(k, left + 0.5 * width * (1.0 + element.nodes[:, None]))
    defect = start.masses(k, edges[:-1], edges[1:]) - 0.5 * width * (element.weights @ u)
    return left, width, u + element.restore[:, :1] * (2.0 * defect / width)


def _seen(problem: Problem, k: int, elements: tuple[Array, Array, Array], order: int) -> Array:
    """Functionals of such elements, (6,)."""
    left, width, u = elements
    element = reference_element(order)
    x = left + 0.5 * width * (1.0 + element.nodes[:, None])
    bins = problem.dynamics.bins(left + 0.5 * width)
    values = problem.dynamics.fields(x, np.broadcast_to(bins, x.shape), k).functionals
    return np.asarray((values * (0.5 * width * element.weights[:, None] * u)).sum(axis=(1, 2)))
