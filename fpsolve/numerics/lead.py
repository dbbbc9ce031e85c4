"""Meshes of narrow laws are led along with a drift that varies smoothly, step by step.

Where the drift is constant a mesh moves with it and nothing is left to solve but diffusion, see
`kernels._detach`. Where it varies, but hardly over the width of a law, the centre X of the law
follows dX/dt = a(X), which is solved here far within `rtol` before each step, and the mesh goes the
same way. In its frame only a(X + y) − a(X) is left of the drift: how the law contracts and bends.
It changes as the mesh moves over the field, and a step takes its mean over the path by Simpson's
rule. So steps follow how the drift varies on the way, not how often a law travels its own width.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from fpsolve.numerics import kernels
from fpsolve.numerics.attach import attach_all
from fpsolve.numerics.effort import PATH_WORK, REFRESH_WORK
from fpsolve.numerics.equation import Equation
from fpsolve.numerics.kernels import Law
from fpsolve.numerics.protocol import Solver
from fpsolve.numerics.rest import flux_speed

__all__ = ["choose", "lead"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

# A mesh is led where the drift differs by no more than this share over its law, so many standard
# deviations from its centre, and goes so far in a step, in standard deviations; where it goes less
# than that, it stays. So near to an end of its bin it is led no further.
_UNEVEN, _WHOLE = 0.3, 6.0
_FAR, _NEAR, _CLOSE = 0.03, 0.003, 0.2
# It is worth it where steps become so many times as long, after so many of them, and lead so many
# standard deviations far: a mesh that stays takes steps of a fraction of one, at less cost.
_GAIN, _PATIENCE = 5.0, 20.0
_WORTH = 1.0
# Work, relative to that done, for which it is not tried again.
_PAUSE = 0.3
# Degree of the polynomials that stand for the drift along a path, how much longer than expected
# that may be, how many standard deviations of a law they cover, and steps of the solution on it.
_DEGREE, _SLACK, _BREADTH, _SUBSTEPS = 8, 0.25, 2.0, 8
# By how much a law may contract in a step, as an exponent; share of √rtol by which the exponent's
# rate may bend on the way, of which Simpson's rule errs by the square; and of rtol by what does
# not commute with diffusion.
_CONTRACTION, _BEND, _COMMUTE = 0.5, 1.0, 0.15
_TAIL = 0.01
_SIMPSON = (1.0 / 6.0, 4.0 / 6.0, 1.0 / 6.0)


class Laws(NamedTuple):
    """Of some classes (R,): which, their bins, centres, standard deviations, ends of meshes."""

    which: Indices
    bins: Indices
    centre: Array
    deviation: Array
    low: Array
    high: Array


class Paths(NamedTuple):
    """Of some classes: how far (R,) they are at the start, amid and at the end of a step, and the
    terms of their drift (J, R) there.
    """

    ways: list[Array]
    terms: list[Array]


def choose(solver: Solver, law: Law) -> None:
    """Have meshes led whose laws are narrow and travel, or none any more where that gains nothing.

    Meshes are those of where the density is; none is on its way.
    """
    clock, motion = solver.control.clock, solver.motion
    led = np.isfinite(motion.path)
    clock[kernels.LED] = 0.0
    tried = clock[kernels.STEPS] - clock[kernels.LED_FROM]
    if led.any() and tried > _PATIENCE and not _gains(solver, law, np.flatnonzero(led)):
        attach_all(solver, np.flatnonzero(led).tolist())
        clock[kernels.NEXT_LEAD] = (1.0 + _PAUSE) * clock[kernels.WORK]
        return
    if law.gain[:-1].any() or max(solver.equation.bins.absorbing) > 0:
        # Centres do not move independently, or ends of meshes are walls.
        return
    laws, uneven = _narrow(solver, law)
    travels = ~uneven
    if not travels.any():
        return
    laws = _some(laws, travels)
    step = _GAIN * solver.step
    if not led.any() and _paths(solver, law, laws, step)[1] < step:
        clock[kernels.NEXT_LEAD] = (1.0 + _PAUSE) * clock[kernels.WORK]
        return
    motion.detached[laws.which] = True
    motion.path[laws.which] = 0.0
    if not led.any():
        clock[kernels.UNLED], clock[kernels.LED_FROM] = solver.step, clock[kernels.STEPS]


def _gains(solver: Solver, law: Law, led: Indices) -> bool:
    """Whether steps are as much longer, and lead as far, as makes up for leading these classes."""
    if solver.step < _GAIN * solver.control.clock[kernels.UNLED]:
        return False
    laws = _laws(solver, led)
    c = _coefficients(solver, law, [0.0])[0]
    speed = _speeds(solver.equation, c, laws)
    return bool((np.abs(speed) * solver.step > _WORTH * laws.deviation).any())


def lead(solver: Solver, law: Law) -> None:
    """Make the mesh for the step that is wanted, or shorten it, or attach what is at an end."""
    clock, motion = solver.control.clock, solver.motion
    step = float(clock[kernels.WANTED])
    laws = _laws(solver, np.flatnonzero(np.isfinite(motion.path)))
    clock[kernels.WORK] += PATH_WORK[0] + PATH_WORK[1] * laws.which.size
    c = _coefficients(solver, law, [0.0])[0]
    ahead = _ahead(solver, laws, float(c[-1]), step)
    speed = _speeds(solver.equation, c, laws)
    motion.path[laws.which] = 0.0
    if (np.abs(speed) * step < _NEAR * laws.deviation).all():
        clock[kernels.LED] = -1.0
        return
    paths, most = _paths(solver, law, laws, step)
    way = np.abs(paths.ways[2])
    over = way > ahead
    if over.any():
        done = over & (ahead < _CLOSE * laws.deviation)
        if done.any():
            attach_all(solver, laws.which[done].tolist())
            return
        shares = ahead[over] / way[over]
        most = min(most, 0.9 * step * float(shares.min()))
    if most < step:
        clock[kernels.STEP] = most
        return
    _set_out(solver, laws, paths)
    clock[kernels.LED] = step
    clock[kernels.WORK] += 2.0 * (REFRESH_WORK[0] + REFRESH_WORK[1] * solver.u.size)


def _set_out(solver: Solver, laws: Laws, paths: Paths) -> None:
    """Give the mesh the mean of what the led classes see on their paths; keep that of the end."""
    motion, mesh = solver.motion, solver.mesh
    meshes = [mesh]
    for way in paths.ways[1:]:
        shift = motion.shift.copy()
        shift[laws.which] += way
        there = motion._replace(shift=shift)
        meshes.append(solver.mesh_at(there))
    led = np.isfinite(motion.path)
    # Slices make no copies.
    own = slice(None) if led.all() else led[solver.classes]
    drift, functionals = mesh.drift.copy(), mesh.functionals.copy()
    drift[:, :, own], functionals[:, :, own] = 0.0, 0.0
    speed = np.zeros((solver.equation.terms, motion.path.size))
    for share, at, terms in zip(_SIMPSON, meshes, paths.terms, strict=True):
        speed[:, laws.which] = terms
        taken = (speed[:, solver.classes] * mesh.inverse)[:, None, own]
        drift[:, :, own] += share * (at.drift[:, :, own] - taken)
        functionals[:, :, own] += share * at.functionals[:, :, own]
    solver.mesh = meshes[1]._replace(drift=drift, functionals=functionals)
    solver.arrival = (solver.cells, meshes[2])
    motion.path[laws.which] = paths.ways[2]


def _laws(solver: Solver, which: Indices) -> Laws:
    """Centres and widths of the laws of these classes."""
    mesh, first = solver.mesh, solver.cells.first
    held = mesh.mass * solver.u
    x = solver.x
    # Where nothing of a class is on its mesh, its centre is anywhere.
    mass = np.maximum(np.add.reduceat(held.sum(axis=0), first[:-1]), 1e-300)
    mean = np.add.reduceat((held * x).sum(axis=0), first[:-1]) / mass
    square = np.square(x - mean[solver.classes])
    deviation = np.sqrt(np.abs(np.add.reduceat((held * square).sum(axis=0), first[:-1]) / mass))
    last = first[1:] - 1
    low, high = mesh.left[first[:-1]], mesh.left[last] + mesh.width[last]
    return Laws(
        which,
        solver.cells.bins[first[:-1]][which],
        mean[which],
        deviation[which],
        low[which],
        high[which],
    )


def _some(laws: Laws, chosen: NDArray[np.bool_]) -> Laws:
    which, bins = laws.which[chosen], laws.bins[chosen]
    return Laws(
        which, bins, laws.centre[chosen], laws.deviation[chosen], laws.low[chosen],
        laws.high[chosen],
    )  # fmt: skip


def _narrow(solver: Solver, law: Law) -> tuple[Laws, NDArray[np.bool_]]:
    """All laws, and which are not to be led."""
    mesh, cells, motion = solver.mesh, solver.cells, solver.motion
    laws = _laws(solver, np.arange(motion.path.size))
    c = _coefficients(solver, law, [0.0])[0]
    velocity = flux_speed(mesh, c) / mesh.inverse
    # What is ahead or behind may be as wide as its lattice lets it be, for it holds nothing.
    reach, classes = _WHOLE * laws.deviation, solver.classes
    held = mesh.left < (laws.centre + reach)[classes]
    held &= mesh.left + mesh.width > (laws.centre - reach)[classes]
    slowest = np.minimum.reduceat(np.where(held, velocity.min(axis=0), np.inf), cells.first[:-1])
    fastest = np.maximum.reduceat(np.where(held, velocity.max(axis=0), -np.inf), cells.first[:-1])
    size = np.maximum(np.abs(slowest), np.abs(fastest))
    shape = solver.model.shape
    bent = np.zeros(laws.bins.size, np.bool_)
    if shape.shape[0]:
        bent = (shape[laws.bins, 1:] != 0).any(axis=1)
    out = motion.detached | bent | (cells.bins[cells.first[1:] - 1] != laws.bins)
    out |= fastest - slowest > _UNEVEN * size
    out |= size * solver.step < _FAR * laws.deviation
    out |= _ahead(solver, laws, float(c[-1]), solver.step) < laws.high - laws.low
    return laws, out


def _ahead(solver: Solver, laws: Laws, diffusivity: float, step: float) -> Array:
    """How far meshes are from the ends of their bins, (R,)."""
    bins = solver.equation.bins
    stir = 8.0 * np.sqrt(2.0 * abs(diffusivity) * solver.model.scale[laws.which] * step)
    gap = np.minimum(laws.low - bins.lower[laws.bins], bins.upper[laws.bins] - laws.high)
    return np.asarray(gap - 1.1 * stir)


def _coefficients(solver: Solver, law: Law, after: list[float]) -> Array:
    """Those of the drift's terms, and D, so long after the present; (T, J + 1)."""
    out, moments = np.empty((len(after), solver.equation.terms + 1)), solver.moments
    for c, delay in zip(out, after, strict=True):
        kernels.evaluate_law(law, solver.time + delay, moments, c)
    return out


def _terms(equation: Equation, x: Array, laws: Laws) -> Array:
    """Drift terms (J, n, R) at points (n, R) of the classes of `laws`."""
    if equation.fields is not None:
        return equation.fields(x, laws.bins, laws.which)[0]
    pieces = equation.drift[:, laws.which, laws.bins]
    return np.asarray(
        pieces[:, None, :, 0] + x * (pieces[:, None, :, 1] + x * pieces[:, None, :, 2])
    )


def _speeds(equation: Equation, c: Array, laws: Laws) -> Array:
    """Velocities (R,) of the centres of `laws`, of coefficients (c_1 … c_J, D)."""
    return np.asarray(c[:-1] @ _terms(equation, laws.centre[None], laws)[:, 0])


_POINTS = np.cos(np.linspace(np.pi, 0.0, _DEGREE + 1))[:, None]
_FIT = np.linalg.inv(chebyshev.chebvander(_POINTS[:, 0], _DEGREE))


@njit(nogil=True, error_model="numpy", inline="always")
def _value(fit: Array, at: float) -> float:
    """A sum of Chebyshev polynomials at a point, or at the end of [−1, 1] next to it (Clenshaw)."""
    z = min(max(at, -1.0), 1.0)
    later, last = 0.0, 0.0
    for n in range(fit.size - 1, 0, -1):
        later, last = last, fit[n] + 2.0 * z * last - later
    return float(fit[0] + z * last - later)


@njit(cache=True, nogil=True, error_model="numpy")
def _values(fits: Array, at: Array) -> Array:
    """Sums (J, R) of Chebyshev polynomials, of coefficients `fits` (J, n, R), at points (R,)."""
    out = np.empty((fits.shape[0], at.size))
    fit = np.empty(fits.shape[1])
    for r in range(at.size):
        for j in range(fits.shape[0]):
            for n in range(fits.shape[1]):
                fit[n] = fits[j, n, r]
            out[j, r] = _value(fit, at[r])
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _follow(fits: Array, c: Array, half: Array, start: Array, dt: float) -> Array:
    """Places (S + 1, R) after each substep of fourth order, in units of `half` about the middles.

    `fits` (J, n, R) are Chebyshev coefficients of the drift's terms, `c` (2 S + 1, J + 1) what they
    are multiplied by at the ends and in the middle of each substep.
    """
    substeps = c.shape[0] // 2
    way = np.empty((substeps + 1, start.size))
    fit = np.empty((3, fits.shape[1]))
    for r in range(start.size):
        at = way[0, r] = start[r]
        for i in range(substeps):
            for side in range(3):
                for n in range(fits.shape[1]):
                    fit[side, n] = 0.0
                    for j in range(fits.shape[0]):
                        fit[side, n] += c[2 * i + side, j] * fits[j, n, r]
            k1 = _value(fit[0], at) / half[r]
            k2 = _value(fit[1], at + 0.5 * dt * k1) / half[r]
            k3 = _value(fit[1], at + 0.5 * dt * k2) / half[r]
            k4 = _value(fit[2], at + dt * k3) / half[r]
            at += dt / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
            way[i + 1, r] = at
    return way


def _paths(solver: Solver, law: Law, laws: Laws, step: float) -> tuple[Paths, float]:
    """Ways of the centres in a step, and the longest step, or `step`, for which means are right."""
    delays = [0.5 * step * i / _SUBSTEPS for i in range(2 * _SUBSTEPS + 1)]
    c = _coefficients(solver, law, delays)
    speed = _speeds(solver.equation, c[0], laws)
    far = np.abs(speed) * step
    half = (0.5 + _SLACK) * far + (_BREADTH + _SLACK) * laws.deviation
    middle = laws.centre + 0.5 * speed * step
    terms = _terms(solver.equation, middle + half * _POINTS, laws)
    fits = np.einsum("nm,jmr->jnr", _FIT, terms)
    at = (laws.centre - middle) / half
    way = _follow(fits, c, half, at, step / _SUBSTEPS)
    stops = [way[0], way[_SUBSTEPS // 2], way[-1]]
    breadth = _BREADTH * laws.deviation / half
    if not (np.abs(way) + breadth <= 1.0).all():
        return Paths([0.0 * at] * 3, [0.0 * terms[:, 0]] * 3), 0.5 * step
    slopes = np.tensordot(c[[0, _SUBSTEPS, -1], :-1], chebyshev.chebder(fits, axis=1), 1)
    bends = [
        [
            _values(slope[None], stop + side * breadth)[0] / half
            for slope, stop in zip(slopes, stops, strict=True)
        ]
        for side in (-1.0, 0.0, 1.0)
    ]
    tail = np.abs(np.tensordot(c[0, :-1], fits[:, -2:], 1)).sum(axis=0) * step
    # No place is known better than to rounding, nor is what is left of a drift that nearly cancels.
    seen = np.maximum(_TAIL * solver.rtol * laws.deviation, 1e-13 * far)
    rough = tail > np.maximum(seen, np.finfo(np.float64).eps * np.abs(laws.centre))
    mixing = abs(float(c[0, -1])) * solver.model.scale[laws.which] * step
    mixing = np.minimum(1.0, mixing / np.square(laws.deviation))
    most = _longest(solver.rtol, step, np.array(bends), mixing, bool(rough.any()))
    values = [_values(fits, stop) for stop in stops]
    return Paths([(stop - way[0]) * half for stop in stops], values), most


def _longest(rtol: float, step: float, slopes: Array, mixing: Array, rough: bool) -> float:
    """The longest step up to `step` on which Simpson's mean of the drift is good enough.

    `slopes` (3, 3, R) are those of the drift about a law, at three times; in a step diffusion
    renews a share `mixing` (R,) of a law; what polynomials resolve badly is `rough`.
    """
    first, amid, last = slopes[:, 0], slopes[:, 1], slopes[:, 2]
    contraction = step * np.abs(slopes).max() / _CONTRACTION
    bend = step * np.abs(first - 2.0 * amid + last).max() / (_BEND * math.sqrt(rtol))
    commute = step * (np.abs(last - first) * mixing).max() / (12.0 * _COMMUTE * rtol)
    ratio = max(float(contraction), float(np.cbrt(max(bend, commute))), 2.0 if rough else 0.0)
    return step if ratio <= 1.0 else step * max(0.1, 0.9 / ratio)
