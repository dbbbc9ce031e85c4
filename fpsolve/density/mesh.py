"""`Mesh`: conditional densities of all teacher values as polynomials on lattice cells."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fpsolve.density.element import reference_element
from fpsolve.density.lattice import Cell, Lattice
from fpsolve.density.regrid import KEEP, SPLIT, mark, positions, regrid, significance, weigh
from fpsolve.density.snapshot import Snapshot
from fpsolve.problem.problem import Problem

__all__ = ["Mesh"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

# An element wider than this many temperatures cannot follow a smoothed step.
_TEMPERATURES = 1.5
# An element of this mass, relative to its width and the largest density, counts as one of mass 1.
_HEIGHT = 4.0
# An element is split before it leaves as much unresolved as it may.
_SPLIT = 0.3
# A union of elements may change the density by this share of what an element may leave unresolved.
_UNION = 0.05


class Mesh:
    """Elements of all teacher values side by side, and the density on them.

    Parameters
    ----------
    problem : Problem
        What is solved.
    order : int
        Polynomial degree p.
    resolution : float
        Mass that the highest modes of an element may carry.
    cells : list of list of Cell
        Lattice cells that cover the domain of each teacher value, in order.

    Attributes
    ----------
    first : ndarray, shape (K + 1,)
        First element of each teacher value.
    bins, level, index : ndarray, shape (E,)
        The lattice cell of each element.
    shift, speed : ndarray, shape (K,)
        Displacement and velocity of the meshes that move with the drift; 0 for the others.
    detached : ndarray of bool, shape (K,)
        Which meshes move.
    left, width : ndarray, shape (E,)
        Positions (dimensionless).
    narrowest : float
        Width below which elements are not split (dimensionless).
    u, x, psi, mass, drift : ndarray, shape (p + 1, E)
        Density, position, ψ, control volume and drift relative to the mesh, at the nodes.
    functionals : ndarray, shape (3, p + 1, E)
        Weights of ε_g − ρ − σ², m and q.
    """

    def __init__(
        self, problem: Problem, *, order: int, resolution: float, cells: list[list[Cell]]
    ) -> None:
        self.problem = problem
        self.element = reference_element(order)
        self.resolution = resolution
        self.lattice = Lattice.of(problem)
        self.floor = problem.rho + problem.noise_variance
        self.regrids = 0
        self._modes = np.ascontiguousarray(self.element.legendre[-2:])
        values = len(cells)
        self.shift, self.speed = np.zeros(values), np.zeros(values)
        self.detached = np.zeros(values, bool)
        self.first = np.cumsum([0, *(len(c) for c in cells)]).astype(np.int64)
        self.bins, self.level, self.index = np.array([c for own in cells for c in own], np.int64).T
        self.u = np.zeros((order + 1, self.bins.size))
        self.place()

    # --- geometry --------------------------------------------------------------------------------

    def place(self) -> None:
        """Recompute everything that follows from the lattice cells and the shifts."""
        problem, element, lattice = self.problem, self.element, self.lattice
        shape = (element.order + 1, self.bins.size)
        self.left, self.width = np.empty(shape[1]), np.empty(shape[1])
        self.x = np.empty(shape)
        positions(
            lattice.origin,
            lattice.span,
            self.bins,
            self.level,
            self.index,
            self.first,
            self.shift,
            element.nodes,
            self.left,
            self.width,
            self.x,
        )
        # Below this width positions lose their digits.
        self.narrowest = 1e-13 * max(1.0, float(np.abs(self.left).max()))
        quantizer = problem.weight_quantizer
        self._widest = np.full(shape[1], math.inf)
        if quantizer is None:
            psi = self.x
        elif quantizer.temperature == 0:
            psi = np.empty(shape)
            psi[:] = quantizer.levels[self.bins]
        else:
            psi = quantizer(self.x)
            self._widest = self._widest_smoothed(quantizer.temperature, quantizer.thresholds)
        self.psi = psi
        self.mass, self.drift = np.empty(shape), np.empty(shape)
        self.functionals = np.empty((3, *shape))
        weigh(
            self.x,
            self.psi,
            self.width,
            self.first,
            element.weights,
            problem.teacher.values,
            problem.teacher.probabilities,
            problem.dynamics.constant_rate,
            problem.kappa,
            problem.sigma2,
            problem.sigma2 + problem.ridge,
            self.speed,
            self.mass,
            self.drift,
            self.functionals,
        )
        # Half-widths belong to the two-node form of `step` only; here they are never read.
        self.half = self.mass

    def _widest_smoothed(self, temperature: float, theta: Array) -> Array:
        """Largest width that resolves ψ_T: a temperature near thresholds, free nine T away."""
        right = self.left + self.width
        after = np.searchsorted(theta, self.left)
        inside = after < np.searchsorted(theta, right, side="right")
        below = np.where(after > 0, self.left - theta[np.maximum(after - 1, 0)], math.inf)
        above = np.where(
            after < theta.size, theta[np.minimum(after, theta.size - 1)] - right, math.inf
        )
        gap = np.where(inside, 0.0, np.maximum(np.minimum(below, above), 0.0))
        near = np.maximum(_TEMPERATURES * temperature, gap)
        return np.where(gap > 9 * temperature, math.inf, near)

    def own(self, k: int) -> slice:
        """Elements of teacher value k."""
        return slice(int(self.first[k]), int(self.first[k + 1]))

    # --- the density -----------------------------------------------------------------------------

    @property
    def generalization_error(self) -> float:
        """ε_g of the present density (dimensionless)."""
        return self.floor + float((self.functionals[0] * self.u).sum())

    @property
    def unknowns(self) -> int:
        """Number of independent nodal values."""
        return int(self.element.order * self.bins.size + self.first.size - 1)

    def stir(self, step: float) -> float:
        """How far diffusion carries mass in a step, tails included (dimensionless)."""
        diffusivity = float(self.problem.diffusivity(self.generalization_error))
        return 4.0 * math.sqrt(2.0 * abs(diffusivity) * step)

    def snapshot(self) -> Snapshot:
        """Copy of the present density."""
        return Snapshot(
            self.element,
            self.first,
            self.left,
            self.width,
            self.x,
            self.psi,
            self.mass,
            self.u.copy(),
        )

    # --- changing it -----------------------------------------------------------------------------

    def importance(self) -> Array:
        """How often the mass of each element counts, shape (E,); see `significance`."""
        out = np.empty(self.bins.size)
        significance(
            self.u,
            self.left,
            self.width,
            self.first,
            self.problem.teacher.probabilities,
            self.functionals[2],
            0.5 / self.resolution,
            _HEIGHT,
            out,
        )
        return out

    def mark(self, merge_below: float) -> Indices:
        """Choose an action per element; sets `unresolved` and `ends`, see `regrid.mark`."""
        action = np.empty(self.bins.size, np.int64)
        self.ends = np.empty((2, self.first.size - 1))
        self.unresolved = np.empty(self.bins.size)
        self._marked = self.importance()
        mark(
            self.u,
            self.bins,
            self.level,
            self.index,
            self.width,
            self._marked,
            self._widest,
            self.narrowest,
            self.first,
            self._modes,
            _SPLIT * self.resolution,
            merge_below,
            self.unresolved,
            action,
            self.ends,
        )
        return action

    def carry_out(self, action: Indices) -> None:
        """Split and merge as `mark` decided; `place` must follow."""
        element = self.element
        self.u, self.bins, self.level, self.index, self.first = regrid(
            self.u,
            self.bins,
            self.level,
            self.index,
            self.width,
            self._marked,
            self.first,
            action,
            element.halves,
            element.merge,
            element.restore,
            element.nodes,
            element.weights,
            self._modes,
            _UNION * self.resolution,
        )
        self.regrids += 1

    def refine(self, action: Indices) -> None:
        """Split where `action` says so, twice where one split will not do."""
        needy = action == SPLIT
        severe = needy & (self.unresolved > 2.0**self.element.order * self.resolution)
        self.carry_out(np.where(needy, SPLIT, KEEP))
        self.place()
        if severe.any():
            # Element e has moved by the splits before it; its halves are e and e + 1.
            left = np.flatnonzero(severe) + np.cumsum(needy)[severe] - 1
            self._marked = self.importance()
            action = np.full(self.bins.size, KEEP)
            action[left] = action[left + 1] = SPLIT
            self.carry_out(action)
            self.place()

    def replace(self, k: int, old: slice, cells: list[Cell], u: Array) -> None:
        """Put `cells` with density `u` in place of elements `old` of teacher value k."""
        new = np.array(cells, np.int64).reshape(-1, 3).T
        self.bins, self.level, self.index = (
            np.concatenate([whole[: old.start], part, whole[old.stop :]])
            for whole, part in zip((self.bins, self.level, self.index), new, strict=True)
        )
        parts = [self.u[:, : old.start], u, self.u[:, old.stop :]]
        self.u = np.ascontiguousarray(np.concatenate(parts, axis=1))
        self.first = self.first.copy()
        self.first[k + 1 :] += u.shape[1] - (old.stop - old.start)
