"""Whether a density whose diffusion dies out will still move by more than its tolerance."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fpsolve.numerics import kernels
from fpsolve.numerics.equation import SEGMENT_KINDS, Equation
from fpsolve.numerics.kernels import Law

__all__ = ["at_rest", "dies_out", "settles"]

Array = NDArray[np.float64]

# The functionals' own D has to be below this share of that at which D is held: then, held, it feeds
# back less than it was given, and left alone it would go on to fall.
_DECAYING = 0.5
# What is left of the motion may cost this share of the tolerance.
_SHARE = 0.1
# Velocities that are 0 but for rounding, relative to the terms of which they are the sum.
_STILL = 1e-13


class Solver(Protocol):
    """What is needed of a `solver.Solver`."""

    equation: Equation
    model: kernels.Model
    motion: kernels.Motion
    mesh: kernels.Mesh
    cells: kernels.Cells
    u: Array
    rtol: float

    @property
    def time(self) -> float: ...
    @property
    def moments(self) -> Array: ...
    @property
    def x(self) -> Array: ...


def settles(law: Law) -> bool:
    """Whether the law does not depend on time but through the functionals."""
    return law.address == 0 and not law.segments[:, 0].any()


def dies_out(law: Law) -> bool:
    """Whether all that moves has a rate that falls exponentially for ever."""
    exponential = law.segments[0, 0] == SEGMENT_KINDS["exponential"]
    alone = not law.segments[1:, 0].any() and (law.power >= 1.0).all()
    return bool(law.address == 0 and exponential and alone)


def at_rest(solver: Solver, law: Law) -> bool:
    """Whether neither drift nor the diffusion that is left moves what is promised any more.

    Under a steady law weights at rest see no drift, or one that holds them where they are. All
    others are on their way to the nearest place of rest; what D integrates to until they are there
    bounds how far it spreads those at rest, whose density at the edge of their region leaks and is
    pushed back. Under a rate that dies out exponentially nothing moves for longer than its time.
    """
    mesh, u = solver.mesh, solver.u
    c = np.empty(solver.equation.terms + 1)
    kernels.evaluate_law(law._replace(least=-np.inf), solver.time, solver.moments, c)
    lasting = np.inf if settles(law) else float(law.segments[0, 2])
    if lasting == np.inf and not c[-1] < _DECAYING * law.least:
        return False
    heat = max(c[-1], law.least if lasting == np.inf else 0.0) * float(solver.model.scale.max())
    classes = np.repeat(np.arange(mesh.first.size - 1), np.diff(mesh.first))
    terms = c[:-1, None, None] * mesh.drift / mesh.inverse
    terms += (c[:-1, None] * solver.motion.speed)[:, classes][:, None]
    velocity = terms.sum(axis=0)
    still = np.abs(velocity).max(axis=0) <= _STILL * max(np.abs(terms).max(), 1e-300)
    mass = np.abs((mesh.mass * u).sum(axis=0))
    second = float((mesh.mass * u * solver.x**2).sum(axis=0) @ solver.model.probability[classes])
    allowed, moved, delay, edge = _SHARE * solver.rtol, 0.0, 0.0, 0.0
    if lasting < np.inf and _most_passing(mesh, velocity, u, heat) * lasting > allowed:
        return False
    for k in range(mesh.first.size - 1):
        own = slice(int(mesh.first[k]), int(mesh.first[k + 1]))
        way, time = _ways(mesh.left[own], mesh.width[own], velocity[:, own], still[own])
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
    reach = float(np.abs(solver.x[:, mass > 0]).max())
    spread = heat * (delay if lasting == np.inf else lasting) * (2.0 + 2.0 * reach * edge)
    return bool(moved <= allowed * second**0.5 and spread <= allowed * second)


def _most_passing(mesh: kernels.Mesh, velocity: Array, u: Array, heat: float) -> float:
    """Largest flux, on average over an element: in layers at breaks drift and diffusion balance."""
    drifting = (mesh.mass * velocity * u).sum(axis=0) / mesh.width
    return float(np.abs(drifting - heat * (u[-1] - u[0]) / mesh.width).max())


def _ways(
    left: Array, width: Array, velocity: Array, still: NDArray[np.bool_]
) -> tuple[Array, Array]:
    """How far, and for how long, the elements of a class travel until they are at rest; (E,)."""
    middle, right = left + 0.5 * width, left + width
    mean = velocity.mean(axis=0)
    inside = (velocity[0] > 0) & (velocity[-1] < 0)
    between = np.flatnonzero((velocity[-1, :-1] > 0) & (velocity[0, 1:] < 0))
    places = np.concatenate([left[still], right[still], middle[inside], right[between]])
    places = np.sort(np.append(places, [-np.inf, np.inf]))
    after = np.searchsorted(places, middle)
    way = np.where(mean > 0, places[after] - middle, middle - places[after - 1])
    way = np.where(inside, width, way)
    way = np.where(still, 0.0, way)
    time = np.where(still, 0.0, way / np.maximum(np.abs(mean), 1e-300))
    return way, time
