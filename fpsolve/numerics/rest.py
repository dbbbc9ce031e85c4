"""Whether a density whose diffusion dies out will still move by more than its tolerance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fpsolve.numerics import kernels
from fpsolve.numerics.equation import SEGMENT_KINDS
from fpsolve.numerics.kernels import Law, Mesh
from fpsolve.numerics.protocol import Solver

__all__ = [
    "at_rest",
    "beyond_cells",
    "dies_out",
    "flux_speed",
    "narrowest_cells",
    "settles",
    "unheld",
]

Array = NDArray[np.float64]

# D of the functionals where all come to rest has to be below this share of that at which D is held.
_DECAYING = 0.5
# What is left of the motion may cost this share of the tolerance.
_SHARE = 0.1
# Densities at breaks and walls of which no layer is made: so much mass, in units of rtol, if they
# were as high all over the root of the second moment. And multiple of the least D from which on it
# is none that counts.
_EMPTY = 0.01
_ABUNDANT = 100.0
# Jumps of the drift, relative to the largest, and distances, to widths, that are none.
_JUMP = 1e-6
# Width at which what contracts is held, in units of rtol, of the root of the second moment.
_POINT = 0.05
# Velocities that are 0 but for rounding, relative to the terms of which they are the sum.
_STILL = 1e-13
# Changes that are less than this share of those before them are on their way to none; others may go
# on as they are until the rate has fallen by e 1/_SLIGHT times.
_FALLING, _SLIGHT = 0.8, 0.01
# Functionals whose terms cancel are as accurate as if they were no less than this share of those.
_CANCELLED = 1e-5


def settles(law: Law) -> bool:
    """Whether the law does not depend on time but through the functionals, or by a falling D."""
    if law.address != 0 or law.segments[0, 0] != 0.0:
        return False
    steady = law.segments[1:, 0] == 0.0
    falling = (law.segments[1:, 4] <= law.segments[1:, 3]) & (law.extra[:-1] == 0.0).all(axis=0)
    return bool((steady | falling & (law.extra[-1] >= 0.0)).all())


def dies_out(law: Law) -> bool:
    """Whether all that moves has a rate that falls to 0, at the end of a segment or never."""
    kind, final = law.segments[0, 0], law.segments[0, 4]
    ends = kind in (SEGMENT_KINDS["linear"], SEGMENT_KINDS["cosine"]) and final == 0.0
    falls = kind == SEGMENT_KINDS["exponential"] or ends
    alone = not law.segments[1:, 0].any() and (law.power >= 1.0).all()
    return bool(law.address == 0 and falls and alone)


def narrowest_cells(solver: Solver) -> NDArray[np.bool_]:
    """Whether elements are as narrow as those get that count from a break, (E,)."""
    narrowest = solver.equation.bins.narrowest[solver.cells.bins]
    return np.asarray((solver.mesh.width <= 2.0 * narrowest) & np.isfinite(narrowest))


def beyond_cells(solver: Solver, law: Law) -> bool:
    """Whether layers at breaks are wider than they should be, see `kernels.BLUNT`."""
    narrow = narrowest_cells(solver)
    if not (narrow.any() and dies_out(law)):
        return False
    mesh, c = solver.mesh, _present(solver, law)
    mass = np.abs((mesh.mass * solver.u).sum(axis=0)) * solver.model.relevance[solver.classes]
    swiftest = np.abs(np.einsum("j,jne->ne", c[:-1], mesh.drift)).max(axis=0)
    layers = (kernels.BLUNT * swiftest > c[-1] * mesh.heat) & (mass > _EMPTY * solver.rtol)
    return bool((narrow & layers).any())


def _lasting(law: Law, time: float) -> float:
    """How long what dies out can go on at the present rate, at most; ∞ under a steady law."""
    if settles(law):
        return np.inf
    kind, start, duration = law.segments[0, :3]
    if kind == SEGMENT_KINDS["exponential"]:
        return float(duration)
    return max(float(start + duration) - time, 0.0)


def unheld(solver: Solver, law: Law) -> Law:
    """The law, with no more of a least D than there is a use for.

    D is held for the layers at breaks, which would become thinner than any mesh. Where no density
    is at a break there is none, and a law that contracts at a rate r is not to be kept wider than
    a share of what displacements may be: D is held at r times the square of that, which positions
    can tell. One that does not contract may become some times as wide, if r is half of 1/time: it
    adds as much each time that time is doubled, and D is not what rounding leaves of the error.
    """
    if law.address != 0 or not law.least > 0.0:
        return law
    c = _present(solver, law)
    mesh, first = solver.mesh, solver.cells.first[:-1]
    if c[-1] > _ABUNDANT * law.least:
        return law
    velocity = flux_speed(mesh, c) / mesh.inverse
    if not _clear(solver, velocity):
        return law
    mass = (mesh.mass * solver.u).sum(axis=0)
    drawn = mass * (velocity[0] - velocity[-1]) / mesh.width
    held, drawn = np.add.reduceat(mass, first), np.add.reduceat(drawn, first)
    # A class all of which is frozen beyond walls has nothing here.
    rates = np.divide(drawn, held, out=np.full(held.size, np.inf), where=held > 0.0)
    slowest = max(float(rates.min()), 0.5 / solver.time if solver.time > 0.0 else 0.0)
    point = slowest * (_POINT * solver.rtol * _length(solver)) ** 2
    point /= max(float(solver.model.scale.max()), 1e-300)
    return law._replace(least=min(law.least, point))


def flux_speed(mesh: Mesh, c: Array) -> Array:
    """Drift/h² at the nodes, (p + 1, E), of coefficients (c_1 … c_J, D).

    No linear algebra from a library, whose threads would go on to wait for more on all cores.
    """
    return np.asarray(np.einsum("j,jne->ne", c[:-1], mesh.drift))


def _present(solver: Solver, law: Law) -> Array:
    """(c_1 … c_J, D) at present, D not held."""
    c = np.empty(solver.equation.terms + 1)
    kernels.evaluate_law(law._replace(least=-np.inf), solver.time, solver.moments, c)
    return c


def _clear(solver: Solver, velocity: Array) -> bool:
    """Whether next to no density is where a layer forms: at what it is driven to from a side.

    Those are walls, and breaks at which `velocity`, (p + 1, E), jumps towards them.
    """
    mesh, bins, first = solver.mesh, solver.equation.bins, solver.cells.first
    own, u = solver.cells.bins, np.abs(solver.u)
    weight = mesh.inverse * solver.model.relevance[solver.classes]
    ends = np.zeros((2, own.size), np.bool_)
    jump = velocity[-1, :-1] - velocity[0, 1:] > _JUMP * np.abs(velocity).max(initial=0.0)
    ends[1, :-1] = jump & (own[1:] != own[:-1]) & (np.diff(solver.classes) == 0)
    near = _JUMP * mesh.width
    low = (mesh.left - bins.lower[0] <= near) & (velocity[0] < 0.0)
    high = (bins.upper[-1] - mesh.left - mesh.width <= near) & (velocity[-1] > 0.0)
    ends[0, first[:-1]] = low[first[:-1]]
    ends[1, first[1:] - 1] = high[first[1:] - 1]
    highest = float((u[[0, -1]] * weight)[ends].max(initial=0.0))
    return highest * _length(solver) <= _EMPTY * solver.rtol


def _length(solver: Solver) -> float:
    """Root of the largest second moment so far, relative to which displacements are promised."""
    guarded = solver.model.rule == kernels.GUARDED
    return float(np.sqrt(solver.control.sizes[guarded].max(initial=0.0)))


def at_rest(solver: Solver, law: Law) -> bool:
    """Whether neither drift nor the diffusion that is left moves what is promised any more.

    Under a steady law weights at rest see no drift, or one that holds them where they are. All
    others are on their way to the nearest place of rest; what D integrates to until they are there
    bounds how far it spreads those at rest, whose density at the edge of their region leaks and is
    pushed back. What has leaked feeds D: of D that is held the functionals make a share θ of it, so
    that left alone it would fall by that share, time after time, to 1/(1 − θ) in all; as long as
    θ ≥ 1 it lives on, and spreads weights until their density at the edge is low enough.
    The error itself is waited for, too, for as long as D, held, has moved nothing.
    Under a rate that dies out exponentially nothing moves for longer than its time.
    """
    mesh, u = solver.mesh, solver.u
    c = _present(solver, law)
    lasting = _lasting(law, solver.time)
    if lasting == np.inf and not c[-1] < law.least:
        return False
    classes = solver.classes
    terms = c[:-1, None, None] * mesh.drift / mesh.inverse
    terms += (c[:-1, None] * solver.motion.speed)[:, classes][:, None]
    velocity = terms.sum(axis=0)
    still = np.abs(velocity).max(axis=0) <= _STILL * max(np.abs(terms).max(), 1e-300)
    mass = np.abs((mesh.mass * u).sum(axis=0))
    squares = (mesh.mass * u * solver.x**2).sum(axis=0) * solver.model.probability[classes]
    second = float(squares.sum())
    second = max(second, _length(solver) ** 2)
    allowed, moved, delay, edge = _SHARE * solver.rtol, 0.0, 0.0, 0.0
    final = solver.model.offset.copy()
    if lasting < np.inf and not _settled(solver, law, c, allowed):
        return False
    for k in range(mesh.first.size - 1):
        own = slice(int(mesh.first[k]), int(mesh.first[k + 1]))
        way, time, arrived = _ways(solver, own, velocity[:, own], still[own])
        final += arrived @ mass[own]
        if lasting < np.inf:
            way = np.minimum(way, lasting * np.abs(velocity[:, own]).max(axis=0))
        weight = solver.model.relevance[k] * mass[own]
        moving = weight > 0
        moved = max(moved, float(weight[moving] @ way[moving]))
        total = float(weight[moving & ~still[own]].sum())
        delay = max(delay, float(weight[moving] @ time[moving]) / max(total, 1e-300))
        border = np.flatnonzero(still[own][1:] != still[own][:-1]) + own.start
        if border.size:
            edge = max(edge, float((u[-1, border] * mesh.inverse[border]).max()))
    reach = float(np.abs(solver.x[:, mass > 0]).max(initial=0.0))
    if not moved <= allowed * second**0.5:
        return False
    heat, most = float(c[-1]), float(solver.model.scale.max())
    if lasting == np.inf:
        fed = heat / law.least
        # What is left of an error that was never large counts, if it is not that of held D.
        lost = abs(float(solver.moments[0] - final[0]))
        least = unheld(solver, law).least
        held = least * most * solver.time * (2.0 + 2.0 * reach * edge)
        if lost > allowed * solver.control.clock[kernels.LARGEST] and held <= allowed * second:
            return False
        # Where all come to rest there may be an error again.
        kernels.evaluate_law(law._replace(least=-np.inf), solver.time, final, c)
        heat = max(heat, c[-1], least)
        if not c[-1] < _DECAYING * law.least:
            return False
        heat /= 1.0 - fed
    spread = heat * most
    if spread > 0.0:
        spread *= (delay if lasting == np.inf else lasting) * (2.0 + 2.0 * reach * edge)
    return bool(spread <= allowed * second)


def _settled(solver: Solver, law: Law, c: Array, allowed: float) -> bool:
    """Whether functionals will change by no more than `allowed` while the rate dies out.

    What passes a break changes functionals however little it moves. Under a rate that falls for
    ever by e in the same time layers become thinner without end, each in its own balance, which
    only what has happened tells: `solver.fallen` holds the functionals of when the rate was e times
    what it is, and e times that. What has changed since goes on to by ever the same share of it.
    A rate that ends leaves no balance: layers stay what they are before they find their next one.
    """
    kind, start, duration = law.segments[0, :3]
    if kind != SEGMENT_KINDS["exponential"]:
        return _changing(solver, c) * _lasting(law, solver.time) <= allowed
    folds = (solver.time - start) / duration
    past, present = solver.fallen, np.append(folds, solver.moments)
    if folds < past[1, 0]:
        past[:, 0] = -np.inf  # That was another rate.
    if folds < past[1, 0] + 1.0:
        return False
    now, before = np.abs(present[1:] - past[1, 1:]), np.abs(past[1, 1:] - past[0, 1:])
    twice = past[0, 0] > -np.inf
    past[0], past[1] = past[1], present
    falls = now < _FALLING * before
    ahead = now * np.where(falls, now, 1.0) / np.where(falls, before - now, _SLIGHT)
    sizes, rule = solver.control.sizes, solver.model.rule
    # What cancels is relative to what is left of it.
    kept = np.maximum(np.abs(present[1:]), _CANCELLED * sizes)
    few = ahead <= allowed * np.where(rule == kernels.ABSOLUTE, kept, sizes)
    return bool(twice and few[rule != kernels.UNWATCHED].all())


def _changing(solver: Solver, c: Array) -> float:
    """Fastest change of a functional, relative to its size.

    In layers drift and diffusion nearly balance: only the discrete equation itself knows what is
    left.
    """
    mesh, element, u = solver.mesh, solver.element, solver.u
    # As in `flux_speed`, no library's threads.
    slope = np.einsum("ij,je->ie", element.derivative, u)
    flux = flux_speed(mesh, c) * u - c[-1] * mesh.heat * slope
    change = np.einsum("ij,je->ie", element.weak, flux)
    mass = mesh.mass.copy()
    inside = np.ones(u.shape[1] - 1, np.bool_)
    inside[mesh.first[1:-1] - 1] = False
    left = np.flatnonzero(inside)
    for values in (change, mass):
        values[-1, left] = values[0, left + 1] = values[-1, left] + values[0, left + 1]
    rates = (mesh.functionals * (change / mass)).sum(axis=(1, 2))
    sizes = np.abs(solver.model.offset) + np.abs(mesh.functionals * u).sum(axis=(1, 2))
    return float((np.abs(rates) / np.maximum(sizes, 1e-300)).max())


class _Ways(NamedTuple):
    """How far, and for how long, elements travel until they are at rest, (E,).

    `arrived` (F, E) are the functionals of a unit of mass there.
    """

    way: Array
    time: Array
    arrived: Array


def _ways(solver: Solver, own: slice, velocity: Array, still: NDArray[np.bool_]) -> _Ways:
    """The ways of the elements `own` of a class, at velocities (p + 1, E)."""
    mesh = solver.mesh
    left, width = mesh.left[own], mesh.width[own]
    middle, right = left + 0.5 * width, left + width
    mean = velocity.mean(axis=0)
    inside = (velocity[0] > 0) & (velocity[-1] < 0)
    meets = (velocity[-1, :-1] > 0) & (velocity[0, 1:] < 0)
    # The drift may vanish just where elements meet.
    vanishes = (velocity[-1, :-1] >= 0) & (velocity[0, 1:] <= 0)
    between = np.flatnonzero(meets | vanishes & (mean[:-1] > 0) & (mean[1:] < 0))
    places = np.concatenate([left[still], right[still], middle[inside], right[between]])
    order = np.argsort(np.append(places, [-np.inf, np.inf]), kind="stable")
    places = np.append(places, [-np.inf, np.inf])[order]
    each = mesh.functionals[:, :, own] / mesh.mass[:, own]
    centre = each[:, each.shape[1] // 2]
    # On a break to which both sides lead there are as many on either as keep the balance.
    fast, slow = velocity[-1, between], velocity[0, between + 1]
    share = np.divide(fast, fast - slow, out=np.full(between.size, 0.5), where=fast > slow)
    held = (1.0 - share) * each[:, -1, between] + share * each[:, 0, between + 1]
    nowhere = np.zeros((each.shape[0], 2))
    values = [each[:, 0, still], each[:, -1, still], centre[:, inside], held, nowhere]
    arrived = np.concatenate(values, axis=1)[:, order]
    after = np.searchsorted(places, middle)
    next_place = np.where(mean > 0, after, after - 1)
    way = np.abs(places[next_place] - middle)
    way = np.where(inside, width, way)
    way = np.where(still, 0.0, way)
    time = np.where(still, 0.0, way / np.maximum(np.abs(mean), 1e-300))
    return _Ways(way, time, np.where(still | inside, centre, arrived[:, next_place]))
