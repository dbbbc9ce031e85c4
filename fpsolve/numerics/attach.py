"""Meshes that moved with the drift come back to the lattice at the end of their bin."""

from __future__ import annotations

import numpy as np
from numpy.polynomial.polynomial import polyval
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import exprel

from fpsolve.numerics import kernels
from fpsolve.numerics.effort import ATTACH_WORK
from fpsolve.numerics.element import Element
from fpsolve.numerics.kernels import Cells, Law
from fpsolve.numerics.lattice import Cell, cell_begin, cell_width, cover
from fpsolve.numerics.polynomials import PiecewisePolynomial
from fpsolve.numerics.protocol import Solver

__all__ = ["attach", "attach_all", "cells_like"]

Array = NDArray[np.float64]

# A mesh is cut where it ends at more than this share of rtol of its largest density.
_CUT = 0.1
# Outermost cells that hold next to nothing are halved so often, at most.
_HALVINGS = 20
# By no more powers of e does a density fall or rise in the outermost element of a mesh that is cut.
_STEEPEST = 5.0


def attach(solver: Solver, law: Law) -> None:
    """Put moving densities that are near an end of their bin back on the lattice at rest."""
    bins, cells, mesh = solver.equation.bins, solver.cells, solver.mesh
    moving = np.flatnonzero(solver.motion.detached)
    c = np.empty(solver.equation.terms + 1)
    kernels.evaluate_law(law, solver.time, solver.moments, c)
    reach = 8.0 * np.sqrt(2.0 * np.abs(c[-1]) * solver.model.scale[moving] * solver.step)
    first, last = cells.first[moving], cells.first[moving + 1] - 1
    own, low, high = cells.bins[first], mesh.left[first], mesh.left[last] + mesh.width[last]
    gap = np.minimum(low - bins.lower[own], bins.upper[own] - high)
    if solver.model.shape.shape[0]:
        shape = solver.model.shape[own].T
        ends = [np.abs(polyval(x, shape, tensor=False)) for x in (low, high)]
        reach *= np.maximum(*ends)
    near = gap < 1.001 * np.maximum(reach, kernels.NEAR_END * (high - low))
    for k in moving[near].tolist():
        _attach(solver, k, _elements(solver, k))
    solver.place()


def attach_all(solver: Solver, classes: list[int]) -> None:
    """Put the moving densities of these classes back on the lattice at rest."""
    for k in classes:
        _attach(solver, k, _elements(solver, k))
    solver.place()


def _elements(solver: Solver, k: int) -> slice:
    return slice(int(solver.cells.first[k]), int(solver.cells.first[k + 1]))


def _mass(solver: Solver, own: slice) -> float:
    """Mass in some elements."""
    return float((solver.mesh.mass[:, own] * solver.u[:, own]).sum())


def _attach(solver: Solver, k: int, own: slice) -> None:
    """The same for class k, whose elements are `own`; mass is kept exactly.

    The end of a moving mesh may lie beyond that of its bin, where h may be another one, or beyond a
    wall. Next to nothing is there: v stays, and all of the class makes up for what mass it is then.
    """
    bins, element, motion = solver.equation.bins, solver.element, solver.motion
    solver.control.clock[kernels.WORK] += ATTACH_WORK
    held = _mass(solver, own)
    left, width, old = solver.mesh.left[own], solver.mesh.width[own], solver.u[:, own]
    cells = cells_like(bins, left, width)
    cut = _CUT * solver.rtol * old.max() < old[[0, -1], [0, -1]]
    if cut.any():
        cells = _trimmed(bins, cells, (left[0], left[-1] + width[-1]), cut)
    size = np.array([cell_width(bins, cell) for cell in cells])
    start = np.array([cell_begin(bins, cell) for cell in cells])
    x = start + 0.5 * size * (1.0 + element.nodes[:, None])
    moved = PiecewisePolynomial(element.order, left, width, old)
    u = moved.pdf(x)
    u[0, 1:] = u[-1, :-1]
    edges = np.append(start, start[-1] + size[-1])
    exact = np.diff(moved.cdf(edges))
    defect = exact - 0.5 * size * (element.weights @ u)
    u += element.restore[:, :1] * (2.0 * defect / size)
    for side in np.flatnonzero(cut).tolist():
        mean, value = exact[-side] / size[-side], u[side - 1, -side]
        if len(cells) > 1 and min(mean, value) > 0.0:
            u[:, -side] = _continued(element, value, mean, upwards=side == 1)
    b = int(solver.cells.bins[own.start])
    within = bins.lower[b] <= left[0] and left[-1] + width[-1] <= bins.upper[b]
    motion.shift[k] = 0.0
    motion.speed[:, k] = 0.0
    motion.detached[k] = False
    motion.path[k] = np.nan
    _replace(solver, k, own, cells, u)
    if not within:
        own = _elements(solver, k)
        solver.u[:, own] *= held / _mass(solver, own)


def _trimmed(
    bins: kernels.Bins, cells: list[Cell], ends: tuple[float, float], cut: NDArray[np.bool_]
) -> list[Cell]:
    """Halve the outermost cells where a mesh is cut, or drop them, until it fills half of each."""
    for side in np.flatnonzero(cut).tolist():
        for _ in range(_HALVINGS):
            b, level, index = cells[-side]
            size, begin = cell_width(bins, cells[-side]), cell_begin(bins, cells[-side])
            filled = ends[1] - begin if side else begin + size - ends[0]
            if filled >= 0.5 * size or len(cells) == 1:
                break
            if filled > 0.0:  # In the inner half.
                cells[-side] = (b, level + 1, 2 * index + 1 - side)
            else:
                cells.pop(-side)
    return cells


def _continued(element: Element, value: float, mean: float, *, upwards: bool) -> Array:
    """An exponential on an element, (p + 1,), of given mean, and value where it begins.

    A mesh may be cut where a rare class is not next to nothing yet; a polynomial that ends there
    inside an element would ripple.
    """
    away = 0.5 * (1.0 + (element.nodes if upwards else -element.nodes))
    # Of exp(−c s) with the mean that it has; limits are those of the bracket.
    ratio = min(max(mean / value, exprel(-_STEEPEST) * 1.01), exprel(_STEEPEST) * 0.99)
    shape = value * np.exp(-away * brentq(lambda c: exprel(-c) - ratio, -_STEEPEST, _STEEPEST))
    inner = (away > 0.0) & (away < 1.0)
    rest = 2.0 * mean - element.weights[~inner] @ shape[~inner]
    shape[inner] *= rest / (element.weights[inner] @ shape[inner])
    return np.asarray(shape)


def cells_like(bins: kernels.Bins, left: Array, width: Array) -> list[Cell]:
    """Lattice cells that cover given elements and are nowhere wider than these."""
    cells = cover(bins, left[0], left[-1] + width[-1], float(width.max()))
    while True:
        fine: list[Cell] = []
        for cell in cells:
            b, level, index = cell
            size, begin = cell_width(bins, cell), cell_begin(bins, cell)
            low = max(int(np.searchsorted(left, begin, side="right")) - 1, 0)
            high = max(int(np.searchsorted(left, begin + size)), low + 1)
            if size > 1.01 * width[low:high].min():
                fine += [(b, level + 1, 2 * index), (b, level + 1, 2 * index + 1)]
            else:
                fine.append(cell)
        if len(fine) == len(cells):
            return cells
        cells = fine


def _replace(solver: Solver, k: int, old: slice, cells: list[Cell], u: Array) -> None:
    """Put `cells` with density `u` in place of elements `old` of class k."""
    new = np.array(cells, np.int64).reshape(-1, 3).T
    parts = [
        np.concatenate([whole[: old.start], part, whole[old.stop :]])
        for whole, part in zip(solver.cells[:3], new, strict=True)
    ]
    first = solver.cells.first.copy()
    first[k + 1 :] += u.shape[1] - (old.stop - old.start)
    solver.u = np.ascontiguousarray(
        np.concatenate([solver.u[:, : old.start], u, solver.u[:, old.stop :]], axis=1)
    )
    solver.cells = Cells(parts[0], parts[1], parts[2], first)
    # The elements behind have moved: their geometry is needed before the next is attached.
    solver.place()
