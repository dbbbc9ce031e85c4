"""The equation of training as the numerics take it: `Dynamics` into `Equation` and laws."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fpsolve.density.tips import Tips, have_tips, tips_of
from fpsolve.numerics import kernels
from fpsolve.numerics.equation import SEGMENT_KINDS, Equation, Segment, affine_law
from fpsolve.numerics.foreign import ForeignLaw
from fpsolve.numerics.kernels import Bins, Law
from fpsolve.numerics.lattice import bins_between
from fpsolve.numerics.rest import dies_out
from fpsolve.problem.dynamics import FUNCTIONAL_NAMES, Dynamics
from fpsolve.problem.problem import Problem
from fpsolve.problem.schedule import Schedule, largest_of, value_at, varies

__all__ = ["equation_of", "law_of", "narrowest_bin", "widest_resolving"]

Array = NDArray[np.float64]

# A class of this probability or more counts in full. One of a smaller counts less, for all that is
# asked of the whole; and its own density may be off by this share at first, and by more the rarer
# it is, as the fourth root, up to that.
_RARE = 1e-3
_CRUDE, _CRUDEST = 0.05, 0.5
# An element wider than this many temperatures cannot follow a smoothed step; so many temperatures
# away from its threshold a smoothed step equals 0 or 1 in double precision.
_TEMPERATURES = 1.5
_SMOOTH = 9.0
# Layers of the least noisy weights are as wide as this share of the largest weight.
_THINNEST = 1e-11
# Power of 2 of the cells in a bin that are the narrowest while the rate falls to 0: integers count
# no more.
_DEEPEST = 61
_RULES = {"loss": kernels.DRIVING, "m": kernels.ABSOLUTE, "q": kernels.GUARDED}


def narrowest_bin(problem: Problem) -> float:
    """Width of the narrowest quantization bin, 1 for full precision (dimensionless)."""
    quantizer = problem.weight_quantizer
    if quantizer is None:
        return 1.0
    gaps = np.diff(quantizer.thresholds if quantizer.thresholds.size > 1 else quantizer.levels)
    return float(gaps.min())


def equation_of(problem: Problem, rtol: float) -> Equation:
    """Return the equation of `problem`, its classes counted as accuracy `rtol` demands."""
    dynamics = problem.dynamics
    walls = dynamics.walls
    tips = tips_of(problem, rtol)
    low, high = (-math.inf, math.inf) if walls is None else walls.solved
    low, high = (low, high) if tips is None else tips.ends
    breaks, ends = dynamics.breaks, _ends_of_smoothing(problem)
    breaks = np.union1d(breaks, ends) if ends.size else breaks
    breaks = breaks[(breaks > low) & (breaks < high)]
    breaks = breaks if tips is None else np.concatenate([[low], breaks, [high]])
    absorbing = walls is not None and walls.kind == "absorb" and walls.margin == 0
    bins = bins_between(
        breaks,
        walls=None if walls is None or tips is not None else (low, high),
        absorbing=(absorbing, absorbing),
        unit=narrowest_bin(problem),
    )
    offset = np.zeros(len(FUNCTIONAL_NAMES))
    offset[0] = dynamics.steady_offset
    relevance = _relevance(dynamics.probability, rtol)
    own, pieces = _their_bins(dynamics, bins), dynamics.pieces
    if tips is not None:
        own[[0, -1]] = own[[1, -2]]
    classes = dynamics.w_star.size
    if pieces is None:
        terms = dynamics.fields(np.zeros(1), np.zeros(1, np.int64), 0).drift.shape[0]
        drift = np.empty((0, classes, breaks.size + 1, 3))
        functionals = drift
        # h is a line all the same, which adaptation wants to know.
        shape = np.pad(dynamics.shape_pieces[own], ((0, 0), (0, 1)))
    else:
        terms = pieces.drift.shape[0]
        drift = np.ascontiguousarray(pieces.drift[:, :, own])
        functionals = np.ascontiguousarray(pieces.functionals[:, :, own])
        shape = np.zeros((breaks.size + 1, 3))
        shape[:, : pieces.shape.shape[1]] = pieces.shape[own]
    if pieces is not None and _dies_out(problem):
        even = (shape[:, 1:] == 0.0).all(axis=-1)
        bins = bins._replace(narrowest=np.where(even, bins.span * 2.0**-_DEEPEST, math.inf))
    equation = Equation(
        bins=bins,
        drift=drift,
        shape=np.ascontiguousarray(shape).reshape(-1, 3),
        functionals=functionals,
        terms=terms,
        flat=_flat(problem, drift, shape, terms, bins, own, absorbing),
        probability=dynamics.probability,
        scale=_scales(problem),
        relevance=relevance,
        walls=_wall_functionals(dynamics),
        offset=offset,
        rule=np.array([_RULES.get(name, kernels.UNWATCHED) for name in FUNCTIONAL_NAMES]),
        fields=None if pieces is not None else _fields(dynamics, own),
        widest=None if pieces is not None else widest_resolving(problem),
    )
    return equation if tips is None else _with_tips(problem, equation, tips, own)


def _dies_out(problem: Problem) -> bool:
    """Whether there comes a time from which on the rate falls to 0, and with it layers.

    Not where ridge or noise vary too, which what has settled does not tell, see `rest`.
    """
    if not varies(problem.learning_rate):
        return False
    if varies(problem.ridge) or varies(problem.noise_variance):
        return False
    begins = np.append(0.0, problem.dynamics.landing_points(math.inf)).tolist()
    return any(dies_out(law_of(problem, time, 0.0, None)) for time in begins)


def _with_tips(
    problem: Problem, equation: Equation, tips: Tips, theirs: NDArray[np.int64]
) -> Equation:
    """The same with coefficients in the outermost bins that go on from their ends, see `tips`.

    Itô's term is one more of the drift, whose factor is D.
    """
    dynamics, last = problem.dynamics, equation.bins.span.size - 1
    classes = np.arange(dynamics.w_star.size)
    shape, widest = equation.shape.copy(), equation.widest
    # Not even, or adaptation would take h² times the density on one side of an end only.
    shape[[0, last]] = [tips.shape, np.finfo(np.float64).tiny, 0.0]
    itself = ((0, 1), (0, 0), (0, 0))
    drift, flat = equation.drift, np.pad(equation.flat, itself)
    functionals, lines = equation.functionals.copy(), {}
    if drift.shape[0]:
        drift = np.pad(drift, (*itself, (0, 0)))
    for b, end in zip((0, last), tips.ends, strict=True):
        place = np.full(classes.size, end), np.full(classes.size, theirs[b])
        found, bend = dynamics.fields(*place, classes), math.copysign(tips.bend, end)
        fall = np.where(_stays(problem, math.copysign(1.0, end) * found.drift), 1.0, 0.0)
        fall = -math.copysign(1.0, end) / tips.depth * fall * found.drift
        line = np.stack([found.drift - end * fall, fall], axis=-1)
        itos = np.stack([bend * equation.scale, np.zeros(classes.size)], axis=-1)
        line = np.concatenate([line, itos[None]])
        flat[:, :, b] = np.where((line[..., 1] == 0.0).all(axis=0), line[..., 0], np.nan)
        lines[b] = line, found.functionals
        if drift.shape[0]:
            drift[:, :, b], functionals[:, :, b] = 0.0, 0.0
            drift[:, :, b, :2], functionals[:, :, b, 0] = line, found.functionals

    def fields(
        x: Array, bins: NDArray[np.int64], own: NDArray[np.int64]
    ) -> tuple[Array, Array, Array]:
        assert equation.fields is not None
        found, h, averaged = equation.fields(np.clip(x, *tips.ends), bins, own)
        found = np.concatenate([found, np.zeros((1, *x.shape))])
        for b, (line, held) in lines.items():
            at = bins == b
            chosen = line[:, own[at]]
            found[..., at] = chosen[:, None, :, 0] + x[:, at] * chosen[:, None, :, 1]
            h[:, at], averaged[..., at] = tips.shape, held[:, None, own[at]]
        return found, h, averaged

    def resolving(left: Array, right: Array) -> Array:
        assert widest is not None
        beyond = (right <= tips.ends[0]) | (left >= tips.ends[1])
        return np.where(beyond, math.inf, widest(left, right))

    return replace(
        equation,
        drift=drift,
        shape=shape,
        functionals=functionals,
        terms=equation.terms + 1,
        flat=flat,
        fields=None if equation.fields is None else fields,
        widest=None if widest is None else resolving,
    )


def _stays(problem: Problem, outward: Array) -> NDArray[np.bool_]:
    """Whether no weight of a class ever returns from next to a bound, (K,).

    `outward` (J, K) are the terms of its drift there, away from 0. Where their sum never points
    back it does not matter how far beyond the end of what is seen weights are.
    """
    stays = outward[0] >= 0.0
    if varies(problem.ridge):
        stays &= outward[0] + largest_of(problem.ridge) * outward[1] >= 0.0
    return np.asarray(stays)


def _relevance(probability: Array, rtol: float) -> Array:
    """By how much errors of the classes count, (K,), so that each is as wrong as it may be."""
    rarer = np.minimum(np.maximum(probability, 1e-300) / _RARE, 1.0)
    crude = np.minimum(_CRUDE * rarer**-0.25, _CRUDEST)
    return np.maximum(rarer, np.minimum(100.0 * rtol / crude, 1.0))


def _scales(problem: Problem) -> Array:
    """S_k, but not so small that a law is thinner than positions resolve, (K,).

    Weights whose quantized inputs (nearly) vanish see no noise: their laws contract to points, or
    to layers at thresholds, of any width. This keeps them `_THINNEST` wide, of the largest weight,
    while ε_g is about that of an untrained model, whose weights may all be as large as levels.
    """
    dynamics, quantizer, rate = problem.dynamics, problem.weight_quantizer, problem.learning_rate
    time = 0.0
    if isinstance(rate, Schedule) and not dynamics.rate(0.0)[0] > 0:
        # The middle of the first stretch on which anything moves.
        _, start, duration, _, _ = _segment(rate, 0.0)
        time = start + 0.5 * duration
    now = float(dynamics.rate(time)[0])
    largest = largest_of(rate)
    if not now > 0 or not dynamics.sigma2.max() > 0:
        return dynamics.sigma2
    pull = dynamics.sigma2 + dynamics.ridge(time)
    width = math.sqrt(problem.initial.variance) + abs(problem.initial.mean)
    levels = np.array([-width, width]) if quantizer is None else quantizer.levels
    drift = dynamics.kappa * dynamics.w_star - np.outer(levels, pull)
    speed = now * np.abs(drift).max(axis=0)
    reach = max(width, float(np.abs(levels).max()))
    untrained = problem.rho + value_at(problem.noise_variance, time)
    error = untrained + float(dynamics.sigma2.max()) * reach**2
    heat = float(dynamics.diffusivity(time, error)) * largest / (now * (1.0 - problem.momentum))
    if not heat > 0:
        return dynamics.sigma2
    return np.asarray(np.maximum(dynamics.sigma2, _THINNEST * reach * speed / heat))


def _wall_functionals(dynamics: Dynamics) -> Array:
    """Functionals (2, F, K) of weights that stand on the lower and the upper wall."""
    out = np.zeros((2, len(FUNCTIONAL_NAMES), dynamics.w_star.size))
    walls = dynamics.walls
    if walls is not None:
        k = np.arange(dynamics.w_star.size)
        for side, at in enumerate((walls.low, walls.high)):
            place = np.full(k.size, at), np.full(k.size, walls.bins[side])
            out[side] = dynamics.fields(*place, k).functionals
    return out


def _ends_of_smoothing(problem: Problem) -> Array:
    """Where smoothed steps have ended, beyond the outermost thresholds; empty at T = 0."""
    quantizer = problem.weight_quantizer
    if quantizer is None or quantizer.temperature == 0:
        return np.empty(0)
    far = _SMOOTH * quantizer.temperature
    return np.array([quantizer.thresholds[0] - far, quantizer.thresholds[-1] + far])


def _their_bins(dynamics: Dynamics, bins: Bins) -> NDArray[np.int64]:
    """The bins of `Dynamics`, which know no ends of smoothing, that hold those of the solver."""
    # A point of each: the line has no end to count from, and holds 0.
    inside = np.where(np.isfinite(bins.upper), bins.upper - 0.5 * bins.span, 0.0)
    inside = np.where(np.isfinite(bins.lower), bins.lower + 0.5 * bins.span, inside)
    return dynamics.bins(inside)


def _fields(
    dynamics: Dynamics, theirs: NDArray[np.int64]
) -> Callable[..., tuple[Array, Array, Array]]:
    def fields(
        x: Array, bins: NDArray[np.int64], classes: NDArray[np.int64]
    ) -> tuple[Array, Array, Array]:
        # Smoothed steps know no bins but those of surrogates.
        found = dynamics.fields(x, np.broadcast_to(theirs[bins], x.shape), classes)
        return found.drift, found.shape, found.functionals

    return fields


def _flat(
    problem: Problem, drift: Array, shape: Array, terms: int, bins: Bins,
    theirs: NDArray[np.int64], absorbing: bool,
) -> Array:  # fmt: skip
    """Drift on the bins where it and h are constant, NaN elsewhere; (J, K, B)."""
    dynamics = problem.dynamics
    out = np.full((terms, dynamics.w_star.size, bins.span.size), np.nan)
    if absorbing:
        return out
    if drift.shape[0]:
        even = (drift[..., 1:] == 0).all(axis=(0, -1)) & (shape[..., 1:] == 0).all(axis=-1)
        return np.where(even, drift[..., 0], np.nan)
    k = np.arange(dynamics.w_star.size)
    for b, end in ((0, bins.upper[0] - bins.span[0]), (-1, bins.lower[-1] + bins.span[-1])):
        if np.isfinite(end) and not np.isfinite(bins.upper[b] - bins.lower[b]):
            near, far = (
                dynamics.fields(np.full(k.size, x), np.full(k.size, theirs[b]), k)
                for x in (end, 2.0 * end)
            )
            if (near.drift == far.drift).all() and (near.shape == far.shape).all():
                out[:, :, b] = near.drift
    return out


def widest_resolving(problem: Problem) -> Callable[[Array, Array], Array]:
    """Return a function of left and right ends: the largest width that resolves smoothed steps."""
    quantizer = problem.weight_quantizer
    assert quantizer is not None
    theta, temperature = quantizer.thresholds, quantizer.temperature

    def widest(left: Array, right: Array) -> Array:
        """Largest width that resolves ψ_T: a temperature near thresholds, free nine T away."""
        after = np.searchsorted(theta, left)
        inside = after < np.searchsorted(theta, right, side="right")
        below = np.where(after > 0, left - theta[np.maximum(after - 1, 0)], math.inf)
        above = np.where(
            after < theta.size, theta[np.minimum(after, theta.size - 1)] - right, math.inf
        )
        gap = np.where(inside, 0.0, np.maximum(np.minimum(below, above), 0.0))
        near = np.maximum(_TEMPERATURES * temperature, gap)
        return np.where(gap > _SMOOTH * temperature, math.inf, near)

    return widest


def law_of(problem: Problem, time: float, least: float, foreign: ForeignLaw | None) -> Law:
    """Return the law that holds from `time` until the next landing point of the schedule.

    `least` is the ε_g below which D is held.
    """
    if foreign is not None:
        diffusivity = float(problem.dynamics.diffusivity(time, least))
        return foreign.law(terms=foreign.terms, rank=1, least=diffusivity)
    dynamics, segment = problem.dynamics, _segment(problem.learning_rate, time)
    gained = 1.0 / (1.0 - problem.momentum)
    segments: list[Segment] = [(*segment[:3], gained * segment[3], gained * segment[4])]
    terms = dynamics.coefficients(time, 0.0).drift.size
    # Coefficients are powers of the rate; they are read off where it is not 0, at the same point
    # for all times of a stretch, so that the last digits are the same from wherever it is entered.
    at, rate, power = time, 1.0, np.zeros(terms + 1)
    if segment[0] != SEGMENT_KINDS["constant"]:
        middle = segment[1] + 0.5 * segment[2]
        at = middle if dynamics.rate(middle)[0] > 0 else time
        rate, power = dynamics.rate(at)[0], np.append(np.ones(terms), 2.0)
    found = dynamics.coefficients(at, 0.0)
    base = np.append(found.drift, found.diffusion) / rate**power
    gain = np.append(found.drift_error, found.diffusion_error) / rate**power
    extra: list[Array] = []
    if varies(problem.ridge):
        # A scheduled ridge is the factor of the last term, but for the rate.
        base[-2] = 0.0
        extra.append(dynamics.rate(at)[0] / rate * np.eye(terms + 1)[-2])
        segments.append(_segment(problem.ridge, time))
    if varies(problem.noise_variance):
        extra.append(gain)
        segments.append(_segment(problem.noise_variance, time))
    further = np.stack(extra, axis=1) if extra else None
    if have_tips(problem):
        # Itô's term there has the factor D.
        base, gain, power = (np.append(part, part[-1]) for part in (base, gain, power))
        further = None if further is None else np.vstack([further, further[-1]])
    return affine_law(
        base, gain[:, None], power, extra=further, segments=segments, least=gain[-1] * least
    )


def _segment(number: float | Schedule, time: float) -> Segment:
    if not isinstance(number, Schedule):
        return (SEGMENT_KINDS["constant"], 0.0, 1.0, number, number)
    shape, start, duration, first, last = number.piece(time)
    return (SEGMENT_KINDS[shape], start, duration, first, last)
