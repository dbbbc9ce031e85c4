"""From an initial density to a solver whose mesh resolves it."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fpsolve.numerics import kernels
from fpsolve.numerics.attach import cells_like
from fpsolve.numerics.effort import first_look
from fpsolve.numerics.equation import Equation
from fpsolve.numerics.gaussian import gaussian_masses
from fpsolve.numerics.kernels import Cells, Law
from fpsolve.numerics.lattice import cover, cover_to_walls
from fpsolve.numerics.solver import Solver

__all__ = ["Initial", "default_order", "start_solver"]

Array = NDArray[np.float64]


class Initial(Protocol):
    """Initial conditional densities.

    `support(k)` is an interval that holds class k, `scale(k)` a width at which to look first;
    `pdf(k, x)` its density, and `masses(k, left, right)` its exact masses between points. One that
    is smooth on elements only has `elements(k)` too, their left ends and widths; one that is
    Gaussian may have `gaussian`, means and standard deviations, each (K,): it is sampled faster.
    """

    def support(self, k: int) -> tuple[float, float]: ...
    def scale(self, k: int) -> float: ...
    def pdf(self, k: int, x: Array) -> Array: ...
    def masses(self, k: int, left: Array, right: Array) -> Array: ...


# Elements of this width, relative to positions, are not split.
_NARROWEST = 1e-12
# Ends of elements of this width, relative to positions, are good to a thousandth of it; masses of
# all those may differ by so much.
_TOLD, _LOST = 1e-12, 1e-13
# Gaussians of this width, relative to positions, are laid out in counts of cells, of so many.
_NOISY, _COUNTABLE = 1e-5, 2.0**60


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
    idle: float = np.inf,
) -> Solver:
    """Return a solver at `time` that holds `initial` on a mesh that resolves it.

    `idle` is the size below which a driving functional needs no relative accuracy.
    """
    cells: list[tuple[int, int, int]] = []
    first = [0]
    laid = cover_to_walls if equation.bins.absorbing.any() else cover
    for k in range(equation.probability.size):
        if hasattr(initial, "elements"):
            own = cells_like(equation.bins, *_to_walls(equation, *initial.elements(k)))
        else:
            low, high = _inside(equation, *initial.support(k), initial.scale(k))
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
    nothing = np.empty(0)
    gaussian: tuple[Array, Array] = getattr(initial, "gaussian", (nothing, nothing))
    if equation.fields is not None or (gaussian[1] < _NOISY * np.abs(gaussian[0])).any():
        gaussian = (nothing, nothing)
    again, work = True, 0.0
    while again:
        if gaussian[0].size == 0:
            solver.u = _sample(solver, initial)
        grid = (solver.cells, solver.motion, solver.mesh, solver.u)
        again, grid = kernels.lay(
            solver.reference,
            equation.bins,
            solver.model,
            law,
            grid,
            time,
            resolution,
            idle,
            gaussian,
        )
        solver.cells, solver.motion, solver.mesh, solver.u = grid
        # To lay a mesh out costs about as much as a try of a step.
        work += kernels.work_of(float(solver.u.size))
        if again and equation.fields is not None:
            solver.place()
        if not again and gaussian[0].size == 0:
            again = _split_unseen(solver, initial)
    _fix_masses(solver, initial)
    solver.idle = idle
    solver.begin()
    solver.control.clock[kernels.WORK] = work
    solver.control.clock[kernels.NEXT_LOOK] = first_look(work, solver.u.size)
    return solver


def _inside(equation: Equation, low: float, high: float, scale: float) -> tuple[float, float]:
    """An interval of which something is where the equation lives, though it may hold nothing."""
    begin, end = float(equation.bins.lower[0]), float(equation.bins.upper[-1])
    if high <= begin:
        return begin, min(begin + scale, end)
    if low >= end:
        return max(end - scale, begin), end
    return low, high


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
    """Densities at the nodes."""
    x = solver.x
    u = np.empty(x.shape)
    for k, own in enumerate(_owned(solver)):
        ends = _about(solver, initial, k, own)
        if ends is None:
            u[:, own] = initial.pdf(k, x[:, own])
            continue
        deviation = initial.gaussian[1][k]  # type: ignore[attr-defined]
        away = 0.5 * solver.mesh.width[own] * (1.0 + solver.element.nodes[:, None])
        z = (ends[:-1] + away) / deviation
        u[:, own] = np.exp(-0.5 * z**2) / (deviation * math.sqrt(2.0 * math.pi))
    return u


def _about(solver: Solver, initial: Initial, k: int, own: slice) -> Array | None:
    """Ends of the elements (E + 1,) of class k about the mean of a Gaussian that is very narrow.

    Positions have too few digits to tell its density without noise, which a tight tolerance would
    resolve; counts of cells of the lattice, as integers, have none to lose.
    """
    mean, deviation = (part[k] for part in getattr(initial, "gaussian", np.zeros((2, k + 1))))
    bins, level, index = (part[own] for part in solver.cells[:3])
    finest = int(level.max())
    most = np.abs(index).max() * 2.0 ** (finest - int(level.min()))
    if not 0 < deviation < _NOISY * abs(mean) or (bins != bins[0]).any() or most > _COUNTABLE:
        return None
    lattice = solver.equation.bins
    unit, away = lattice.span[bins[0]] * 2.0**-finest, mean - lattice.origin[bins[0]]
    if not abs(away) / unit < _COUNTABLE:
        return None
    nearest = round(away / unit)
    cells = np.left_shift(1, finest - level)
    counts = np.append(index * cells, (index[-1] + 1) * cells[-1]) - nearest
    return np.asarray(counts * unit - (away - nearest * unit))


def _split_unseen(solver: Solver, initial: Initial) -> bool:
    """Split elements whose nodes do not see all of their mass; whether there are any.

    A law that is narrow and has left its wall may lie between nodes.
    """
    mesh = solver.mesh
    unseen = np.abs(_masses(solver, initial) - (mesh.mass * solver.u).sum(axis=0))
    most = kernels.SPLIT_SHARE * solver.resolution
    narrowest = _NARROWEST * max(1.0, float(np.abs(mesh.left).max()))
    action = ((unseen > most) & (mesh.width > narrowest)).astype(np.int64)
    if not action.any():
        return False
    marks = np.zeros((2, action.size))
    never = np.full(mesh.first.size - 1, -np.inf)
    solver.cells, _ = kernels.regrid(
        solver.reference, solver.cells, solver.u, marks, mesh.width, action, 0.0, never
    )
    solver.place()
    return True


def _fix_masses(solver: Solver, initial: Initial) -> None:
    """Give every element its exact mass."""
    masses = _masses(solver, initial)
    kernels.fix_masses(solver.reference, solver.equation.bins, solver.mesh, solver.u, masses)


def _masses(solver: Solver, initial: Initial) -> Array:
    """Exact masses of the elements, (E,)."""
    mesh, first = solver.mesh, solver.cells.first
    # Neighbours share an edge to the last bit, so that no mass falls between them.
    right = np.append(mesh.left[1:], 0.0)
    right[first[1:] - 1] = mesh.left[first[1:] - 1] + mesh.width[first[1:] - 1]
    masses: Array = (mesh.mass * solver.u).sum(axis=0)
    untold = mesh.width < _TOLD * np.abs(mesh.left)
    for k, own in enumerate(_owned(solver)):
        ends = _about(solver, initial, k, own)
        if ends is None:
            between = initial.masses(k, mesh.left[own], right[own])
            # Where rounding of ends moves as much as is between nodes may see all of it.
            seen = np.where(untold[own], masses[own], between)
            masses[own] = seen if abs((seen - between).sum()) < _LOST else between
        else:
            z = ends / initial.gaussian[1][k]  # type: ignore[attr-defined]
            masses[own] = gaussian_masses(z[:-1], z[1:])
    return masses
