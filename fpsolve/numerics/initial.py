"""From an initial density to a solver whose mesh resolves it."""

from __future__ import annotations

from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fpsolve.numerics import kernels
from fpsolve.numerics.attach import cells_like
from fpsolve.numerics.equation import Equation
from fpsolve.numerics.kernels import Cells, Law
from fpsolve.numerics.lattice import cover, cover_to_walls
from fpsolve.numerics.solver import Solver

__all__ = ["Initial", "default_order", "start_solver"]

Array = NDArray[np.float64]

# Widths of the elements at a break, in units of its layer D/|a|, before any adaptation.
_LAYERS = 4.0
# Below this share of the largest position widths lose their digits.
_NARROWEST = 1e-13


class Initial(Protocol):
    """Initial conditional densities.

    `support(k)` is an interval that holds class k, `scale(k)` a width at which to look first;
    `pdf(k, x)` its density, and `masses(k, left, right)` its exact masses between points. One that
    is smooth on elements only has `elements(k)` too, their left ends and widths.
    """

    def support(self, k: int) -> tuple[float, float]: ...
    def scale(self, k: int) -> float: ...
    def pdf(self, k: int, x: Array) -> Array: ...
    def masses(self, k: int, left: Array, right: Array) -> Array: ...


def default_order(rtol: float) -> int:
    """Polynomial degree that costs least at tolerance `rtol`, found by measurement."""
    return 5 if rtol > 3e-5 else 8 if rtol > 3e-8 else 10


def start_solver(
    equation: Equation,
    law: Law,
    initial: Initial,
    *,
    order: int,
    rtol: float,
    resolution: float,
    time: float = 0.0,
) -> Solver:
    """Return a solver at `time` that holds `initial` on a mesh that resolves it."""
    cells: list[tuple[int, int, int]] = []
    first = [0]
    laid = cover_to_walls if equation.bins.absorbing.any() else cover
    for k in range(equation.probability.size):
        if hasattr(initial, "elements"):
            own = cells_like(equation.bins, *_to_walls(equation, *initial.elements(k)))
        else:
            low, high = initial.support(k)
            own = laid(equation.bins, low, high, initial.scale(k))
        cells += own
        first.append(len(cells))
    columns = np.ascontiguousarray(np.array(cells, np.int64).T)
    solver = Solver(
        equation,
        order=order,
        rtol=rtol,
        resolution=resolution,
        cells=Cells(columns[0], columns[1], columns[2], np.array(first, np.int64)),
        time=time,
    )
    speed = _break_speeds(solver, law)
    while True:
        solver.u = _sample(solver, initial)
        action = _where_to_split(solver, law, speed)
        if not (action == kernels.SPLIT).any():
            break
        marks = np.zeros((2, solver.u.shape[1]))
        least = np.full(solver.cells.first.size - 1, -np.inf)
        grid = (solver.cells, solver.u, marks, solver.mesh.width)
        solver.cells, solver.u = kernels.regrid(solver.reference, *grid, action, 0.0, least)
        solver.place()
    _fix_mass(solver, initial)
    solver.start_clock(law)
    return solver


def _to_walls(equation: Equation, left: Array, width: Array) -> tuple[Array, Array]:
    """Elements, with one more on either side where a wall absorbs, up to it."""
    bins = equation.bins
    begin, end = left[0], left[-1] + width[-1]
    if bins.absorbing[0] and begin > bins.lower[0]:
        left, width = np.insert(left, 0, bins.lower[0]), np.insert(width, 0, begin - bins.lower[0])
    if bins.absorbing[1] and end < bins.upper[-1]:
        left, width = np.append(left, end), np.append(width, bins.upper[-1] - end)
    return left, width


def _owned(solver: Solver) -> list[slice]:
    first = solver.cells.first.tolist()
    return [slice(a, b) for a, b in pairwise(first)]


def _sample(solver: Solver, initial: Initial) -> Array:
    """v = h² μ at the nodes, 0 at absorbing walls."""
    x = solver.x
    u = np.empty(x.shape)
    for k, own in enumerate(_owned(solver)):
        u[:, own] = initial.pdf(k, x[:, own])
        # Neighbours share a vertex to the last bit.
        u[0, own.start + 1 : own.stop] = u[-1, own.start : own.stop - 1]
    u *= _squared_shape(solver)
    for own in _owned(solver):
        # Where h jumps v does not: it starts in between, on elements that are split until the
        # mass that this moves is nothing.
        shared = 0.5 * (u[-1, own.start : own.stop - 1] + u[0, own.start + 1 : own.stop])
        u[-1, own.start : own.stop - 1] = u[0, own.start + 1 : own.stop] = shared
    absorbing = solver.equation.bins.absorbing
    if absorbing[0]:
        u[0, solver.cells.first[:-1]] = 0.0
    if absorbing[1]:
        u[-1, solver.cells.first[1:] - 1] = 0.0
    return u


def _squared_shape(solver: Solver) -> Array:
    """h² at the nodes, from the masses, which are divided by it."""
    plain = 0.5 * solver.mesh.width * solver.element.weights[:, None]
    squared = plain / solver.mesh.mass
    absorbing, first = solver.equation.bins.absorbing, solver.cells.first
    # The nodes at absorbing walls have mass 1 for another reason: h is that of their neighbours.
    if absorbing[0]:
        squared[0, first[:-1]] = squared[1, first[:-1]]
    if absorbing[1]:
        squared[-1, first[1:] - 1] = squared[-2, first[1:] - 1]
    return np.asarray(squared)


def _where_to_split(solver: Solver, law: Law, speed: Array) -> NDArray[np.int64]:
    """Split where the start is unresolved or a break's layer is about to form."""
    equation, mesh = solver.equation, solver.mesh
    marks = np.empty((2, solver.u.shape[1]))
    ends = np.empty((2, solver.cells.first.size - 1))
    bounds = (kernels.SPLIT_SHARE * solver.resolution, 0.0, (np.inf, 1.0))
    grid = (solver.cells, mesh, solver.u, bounds, marks, ends)
    # A start is resolved in full: rare classes, too, begin without ripples.
    model = solver.model._replace(relevance=np.ones_like(equation.relevance))
    action = kernels.mark(solver.reference, equation.bins, model, *grid)
    action[action != kernels.SPLIT] = kernels.KEEP
    breaks = equation.bins.upper[:-1]
    if equation.fields is not None or breaks.size == 0:
        return np.asarray(action)
    middle = mesh.left + 0.5 * mesh.width
    above = np.minimum(np.searchsorted(breaks, middle), breaks.size - 1)
    below = np.maximum(np.searchsorted(breaks, middle) - 1, 0)
    closer = abs(middle - breaks[below]) <= abs(middle - breaks[above])
    nearest = np.where(closer, below, above)
    gap = np.maximum(abs(middle - breaks[nearest]) - 0.5 * mesh.width, 0.0)
    gap[gap < 1e-9 * mesh.width] = 0.0
    c = np.empty(equation.terms + 1)
    kernels.evaluate_law(law, solver.time, solver.moments, c)
    k = solver.classes
    layer = _LAYERS * c[-1] * equation.scale[k] / np.maximum(speed[k, nearest], 1e-300)
    reached = np.abs(solver.u).max(axis=0) * np.minimum(layer, mesh.width) > solver.resolution
    reached &= equation.relevance[k] >= 1.0
    narrowest = _NARROWEST * max(1.0, float(np.abs(mesh.left).max()))
    wide = (mesh.width > np.maximum(layer, gap)) & (mesh.width > narrowest)
    action[wide & reached] = kernels.SPLIT
    return np.asarray(action)


def _break_speeds(solver: Solver, law: Law) -> Array:
    """|drift|/h² of each class at each break (K, B − 1), from the side where it is larger."""
    equation = solver.equation
    at = equation.bins.upper[:-1]
    if equation.fields is not None or at.size == 0:
        return np.empty((0, 0))
    c = np.empty(equation.terms + 1)
    kernels.evaluate_law(law, solver.time, solver.moments, c)
    sides = []
    for side in (slice(None, -1), slice(1, None)):
        own, shape = equation.drift[:, :, side], equation.shape[side]
        h = shape[:, 0] + at * (shape[:, 1] + at * shape[:, 2])
        values = own[..., 0] + at * (own[..., 1] + at * own[..., 2])
        sides.append(np.abs(np.tensordot(c[:-1], values, 1)) / h**2)
    return np.asarray(np.maximum(sides[0], sides[1]))


def _fix_mass(solver: Solver, initial: Initial) -> None:
    """Give every element its exact mass, its end values unchanged."""
    mesh, first = solver.mesh, solver.cells.first
    # Neighbours share an edge to the last bit, so that no mass falls between them.
    right = np.append(mesh.left[1:], 0.0)
    right[first[1:] - 1] = mesh.left[first[1:] - 1] + mesh.width[first[1:] - 1]
    squared = _squared_shape(solver)
    plain = 0.5 * mesh.width * solver.element.weights[:, None] / squared
    lift = solver.element.restore[:, :1] * squared
    for k, own in enumerate(_owned(solver)):
        masses = initial.masses(k, mesh.left[own], right[own])
        defect = masses - (plain[:, own] * solver.u[:, own]).sum(axis=0)
        solver.u[:, own] += lift[:, own] * (defect / (plain[:, own] * lift[:, own]).sum(axis=0))
