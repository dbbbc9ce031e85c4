"""Spectral volumes: high-order, conservative, adaptive discretization of the density.

Inside a quantization bin the density is analytic, so it is represented by polynomials of degree p
on elements that never cross a threshold. The density and the flux are continuous across elements;
control volumes inside an element are as wide as the Gauss–Lobatto weights. Elements are split where
the highest Legendre modes carry too much mass and merged, mass and end values kept, where they
carry none; the domain grows where mass reaches its end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from fpsolve.density.element import Element, reference_element
from fpsolve.density.regrid import KEEP, MERGE, SPLIT, mark, positions, regrid, significance, weigh
from fpsolve.density.snapshot import Snapshot
from fpsolve.problem.problem import Problem

__all__ = ["SpectralVolumes", "default_order"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

# Half-width of the initial domain in standard deviations: Φ(−8.3) = 5e−17.
_REACH = 8.3
# An element wider than this many temperatures cannot follow a smoothed step.
_TEMPERATURES = 1.5
# The domain grows when an end element carries, and shrinks when it carries less than, these shares
# of the mass that an element may leave unresolved.
_GROW = 0.3
_TRIM = 0.03
# An element of this mass, relative to its width and the largest density, counts as one of mass 1.
_HEIGHT = 4.0
# Widths of the elements at a threshold, in units of its layer D/|a|, before any adaptation.
_LAYERS = 4.0


def default_order(rtol: float) -> int:
    """Polynomial degree that costs least at tolerance `rtol`, found by measurement."""
    return 5 if rtol > 3e-5 else 8 if rtol > 3e-8 else 10


@dataclass(frozen=True, eq=False)
class Bins:
    """Quantization bins as dyadic lattices: cell i of level l is origin + [i, i + 1]·span/2^l."""

    origin: Array
    span: Array
    lower: Array
    upper: Array

    @classmethod
    def of(cls, problem: Problem) -> Bins:
        """The L + 1 bins of the weight quantizer, or the whole line for full precision."""
        quantizer = problem.weight_quantizer
        if quantizer is None:
            return cls(np.zeros(1), np.ones(1), np.array([-math.inf]), np.array([math.inf]))
        theta = quantizer.thresholds
        inner = np.diff(theta)
        outermost = [inner[0], inner[-1]] if inner.size else np.diff(quantizer.levels)[[0, 0]]
        span = np.concatenate([[outermost[0]], inner, [outermost[1]]])
        origin = np.concatenate([[theta[0]], theta])
        lower = np.concatenate([[-math.inf], theta])
        upper = np.concatenate([theta, [math.inf]])
        return cls(origin, span, lower, upper)


def psi_scales(problem: Problem) -> tuple[float, float]:
    """Least distance between thresholds (or levels), and the largest |ψ|; full precision: 1, 0."""
    quantizer = problem.weight_quantizer
    if quantizer is None:
        return 1.0, 0.0
    gaps = np.diff(quantizer.thresholds if quantizer.thresholds.size > 1 else quantizer.levels)
    return float(gaps.min()), float(np.abs(quantizer.levels).max())


class SpectralVolumes:
    """Conditional densities of all teacher values on their own adaptive meshes.

    Parameters
    ----------
    problem : Problem
        What is solved.
    order : int
        Polynomial degree p.
    resolution : float
        Mass that the highest modes of an element may carry.
    mean : ndarray, shape (K,)
        Mean of the Gaussian start of each conditional density (dimensionless).
    deviation : float
        Its standard deviation (dimensionless).
    """

    scheme = 0

    def __init__(
        self, problem: Problem, *, order: int, resolution: float, mean: Array, deviation: float
    ) -> None:
        self.problem = problem
        self.element: Element = reference_element(order)
        self.resolution = resolution
        self.bins_of = Bins.of(problem)
        self.modes = np.ascontiguousarray(self.element.legendre[-2:])
        self.regrids = 0
        self.finest, self.largest_psi = psi_scales(problem)
        self.shift, self.speed = np.zeros(mean.size), np.zeros(mean.size)
        self.detached = np.zeros(mean.size, bool)
        self._floor = problem.rho + problem.noise_variance
        self._start(mean, deviation)

    # --- the start -------------------------------------------------------------------------------

    def _start(self, mean: Array, deviation: float) -> None:
        """Cover the Gaussian start and refine until it, and the layers to come, are resolved."""
        bins, level, index = [], [], []
        self.first = np.zeros(mean.size + 1, np.int64)
        for k, centre in enumerate(mean):
            for part in self._cover(
                centre - _REACH * deviation, centre + _REACH * deviation, deviation
            ):
                bins.append(part[0])
                level.append(part[1])
                index.append(part[2])
            self.first[k + 1] = len(bins)
        self.bins = np.array(bins, np.int64)
        self.level = np.array(level, np.int64)
        self.index = np.array(index, np.int64)
        for _ in range(200):
            self._place()
            self.u = self._gaussian(mean, deviation)
            action = self._start_action(deviation)
            if not (action == SPLIT).any():
                break
            self._carry_out(action)
        self._fix_start_mass(mean, deviation)

    def _cover(self, low: float, high: float, deviation: float) -> list[tuple[int, int, int]]:
        """Lattice cells about one deviation wide that cover [low, high]."""
        lattice = self.bins_of
        cells = []
        for b in range(lattice.span.size):
            begin, end = max(low, lattice.lower[b]), min(high, lattice.upper[b])
            if begin >= end:
                continue
            level = math.ceil(math.log2(lattice.span[b] / (2.0 * deviation)))
            inner = math.isfinite(lattice.lower[b]) and math.isfinite(lattice.upper[b])
            level = max(level, 0) if inner else level
            cell = lattice.span[b] * 2.0**-level
            start = math.floor((begin - lattice.origin[b]) / cell)
            stop = math.ceil((end - lattice.origin[b]) / cell)
            if inner:
                start, stop = max(start, 0), min(stop, 2**level)
            if b == 0 and math.isfinite(lattice.upper[b]):
                stop = min(stop, 0)
            elif math.isfinite(lattice.lower[b]):
                start = max(start, 0)
            cells += [(b, level, i) for i in range(start, max(stop, start + 1))]
        return cells

    def _gaussian(self, mean: Array, deviation: float) -> Array:
        z = (self.x - np.repeat(mean, np.diff(self.first))) / deviation
        return np.asarray(np.exp(-0.5 * z**2) / (deviation * math.sqrt(2 * math.pi)))

    def _start_action(self, deviation: float) -> Indices:
        """Split where the start is unresolved or a threshold's layer is about to form."""
        action = self._mark(self.resolution, 0.0)
        action[action == MERGE] = KEEP
        quantizer = self.problem.weight_quantizer
        if quantizer is None or quantizer.temperature > 0:
            return action
        diffusivity = float(self.problem.diffusivity(self.generalization_error))
        theta = quantizer.thresholds
        right = self.left + self.width
        middle = self.left + 0.5 * self.width
        near = np.clip(np.searchsorted(theta, middle), 1, max(theta.size - 1, 1))
        nearest = np.where(
            abs(middle - theta[near - 1]) <= abs(middle - theta[np.minimum(near, theta.size - 1)]),
            theta[near - 1],
            theta[np.minimum(near, theta.size - 1)],
        )
        gap = np.maximum(np.maximum(self.left - nearest, nearest - right), 0.0)
        gap[gap < 1e-9 * self.width] = 0.0
        w_star = np.repeat(self.problem.teacher.values, np.diff(self.first))
        speed = np.maximum(
            abs(self.problem.drift(nearest, w_star)),
            abs(self.problem.drift(np.nextafter(nearest, -math.inf), w_star)),
        )
        layer = _LAYERS * diffusivity / np.maximum(speed, 1e-300)
        reached = np.abs(self.u).max(axis=0) * np.minimum(layer, self.width) > self.resolution
        action[(self.width > np.maximum(layer, gap)) & reached] = SPLIT
        action[self.width <= self._narrowest()] = KEEP
        return action

    def _fix_start_mass(self, mean: Array, deviation: float) -> None:
        """Give every element the exact mass of the Gaussian, its end values unchanged."""
        centre = np.repeat(mean, np.diff(self.first))
        low = (self.left - centre) / deviation
        high = (self.left + self.width - centre) / deviation
        # Differences of the smaller tail, so that far elements keep relative accuracy.
        exact = np.where(low > 0, ndtr(-low) - ndtr(-high), ndtr(high) - ndtr(low))
        defect = exact - (self.mass * self.u).sum(axis=0)
        self.u = self.u + self.element.restore[:, :1] * (2.0 * defect / self.width)

    # --- geometry --------------------------------------------------------------------------------

    def _place(self) -> None:
        """Recompute everything that follows from the lattice cells."""
        problem, element = self.problem, self.element
        shape = (element.order + 1, self.bins.size)
        self.left, self.width = np.empty(shape[1]), np.empty(shape[1])
        self.x = np.empty(shape)
        positions(
            self.bins_of.origin,
            self.bins_of.span,
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
        quantizer = problem.weight_quantizer
        self.widest = np.full(shape[1], math.inf)
        if quantizer is None:
            psi = self.x
        elif quantizer.temperature == 0:
            psi = np.broadcast_to(quantizer.levels[self.bins], shape)
        else:
            psi = quantizer(self.x)
            self.widest = self._widest_smoothed(quantizer.temperature, quantizer.thresholds)
        self.psi = np.ascontiguousarray(psi)
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
            problem.learning_rate,
            problem.kappa,
            problem.sigma2,
            problem.sigma2 + problem.ridge,
            self.speed,
            self.mass,
            self.drift,
            self.functionals,
        )
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
        return np.where(
            gap > 9 * temperature, math.inf, np.maximum(_TEMPERATURES * temperature, gap)
        )

    def _importance(self) -> Array:
        """See `significance`."""
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

    def _narrowest(self) -> float:
        return 1e-13 * max(1.0, float(np.abs(self.left).max()))

    @property
    def floor(self) -> float:
        """What is left of ε_g when ψ vanishes: ρ + σ²."""
        return self._floor

    @property
    def generalization_error(self) -> float:
        """ε_g of the present density."""
        return self.floor + float((self.functionals[0] * self.u).sum())

    # --- adaptation ------------------------------------------------------------------------------

    def _mark(self, split_above: float, merge_below: float) -> Indices:
        action = np.empty(self.bins.size, np.int64)
        self.ends = np.empty((2, self.first.size - 1))
        self._marked = self._importance()
        self.worst = mark(
            self.u,
            self.bins,
            self.level,
            self.index,
            self.width,
            self._marked,
            self.widest,
            self._narrowest(),
            self.first,
            self.modes,
            split_above,
            merge_below,
            action,
            self.ends,
        )
        return action

    def _carry_out(self, action: Indices) -> None:
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
            self.modes,
            0.05 * self.resolution,
        )
        self.regrids += 1

    def adapt(self, new: Array, *, step: float, merge: bool) -> bool:
        """Judge the density `new` reached by a step; accept it, adapted, or prepare for a retry.

        Returns
        -------
        bool
            True if `new` was taken over; False if the mesh was refined or extended under the old
            density because `new` is unresolved on it or has reached its end.
        """
        old, self.u = self.u, new
        action = self._mark(0.3 * self.resolution, 0.01 * self.resolution if merge else 0.0)
        crowded = bool((self.ends > self.resolution).any())
        if self.worst > self.resolution or crowded:
            self.u = old
            if crowded:
                self._grow(step)
                self._place()
            else:
                action[action == MERGE] = KEEP
                self._carry_out(action)
                self._place()
            return False
        changed = bool((action != KEEP).any())
        if changed:
            self._carry_out(action)
        self.shift = self.shift + self.speed * step
        if changed or self.detached.any():
            self._place()
        if (self.ends > _GROW * self.resolution).any():
            self._grow(step)
            self._place()
        elif merge and (self.ends < _TRIM * self.resolution).any() and self._trim():
            self._place()
        if merge:
            self._detach(step)
        return True

    def _grow(self, step: float) -> None:
        """Add empty elements, as far as mass can come in a few steps, where it is near the end."""
        stir = self._stir(step)
        drift = self.drift
        self.first = self.first.copy()
        for k in reversed(range(self.first.size - 1)):
            for side, at in ((1, self.first[k + 1]), (0, self.first[k])):
                if self.ends[side, k] <= _GROW * self.resolution:
                    continue
                end = at - side
                outward = 1 if side else -1
                reach = stir + 3.0 * step * max(0.0, outward * drift[-1 if side else 0, end])
                cells = self._beyond(
                    self.bins[end],
                    self.level[end],
                    self.index[end],
                    outward,
                    reach,
                    self.detached[k],
                )
                if not side:
                    cells = cells[::-1]
                self.bins = np.insert(self.bins, at, [c[0] for c in cells])
                self.level = np.insert(self.level, at, [c[1] for c in cells])
                self.index = np.insert(self.index, at, [c[2] for c in cells])
                empty = np.zeros((self.element.order + 1, len(cells)))
                empty[:, 0 if side else -1] = self._empty_element(
                    self.u[-1 if side else 0, end], side
                )
                self.u = np.insert(self.u, [at] * len(cells), empty, axis=1)
                drift = np.insert(drift, [at] * len(cells), 0.0, axis=1)
                self.first[k + 1 :] += len(cells)

    def _trim(self) -> bool:
        """Drop end elements that, like their neighbour, carry nothing.

        What little they held moves one element inward, so that no mass is lost.
        """
        first = self.first.copy()
        weight = self._importance() * self.width
        for k in reversed(range(first.size - 1)):
            for side in (1, 0):
                at = first[k + 1] - 1 if side else first[k]
                inner = at - 1 if side else at + 1
                held = np.abs(self.u[:, [at, inner]]).max(axis=0) * weight[[at, inner]]
                if held.max() >= _TRIM * self.resolution or first[k + 1] - first[k] < 4:
                    continue
                moved = self.element.weights @ self.u[:, at] * self.width[at] / self.width[inner]
                self.u[:, inner] += moved * self.element.restore[:, 0]
                self.u = np.delete(self.u, at, axis=1)
                weight = np.delete(weight, at)
                for name in ("bins", "level", "index", "width"):
                    setattr(self, name, np.delete(getattr(self, name), at))
                first[k + 1 :] -= 1
        trimmed = bool((first != self.first).any())
        self.first = first
        return trimmed

    def _empty_element(self, end_value: float, side: int) -> Array:
        """An element of mass zero that continues the density's end value."""
        value = np.zeros(self.element.order + 1)
        value[0 if side else -1] = end_value
        return np.asarray(value - self.element.restore[:, 0] * (self.element.weights @ value))

    def _beyond(
        self, b: int, level: int, index: int, outward: int, reach: float, detached: bool
    ) -> list[tuple[int, int, int]]:
        """Lattice cells outward of a cell, widening as they may, until they span `reach`."""
        lattice = self.bins_of
        cells: list[tuple[int, int, int]] = []
        spanned = 0.0
        while not cells or spanned < reach:
            width = lattice.span[b] * 2.0 ** -float(level)
            edge = lattice.origin[b] + (index + (outward > 0)) * width
            bound = lattice.upper[b] if outward > 0 else lattice.lower[b]
            if not detached and abs(edge - bound) < 0.5 * width:
                b += outward
                level = math.ceil(math.log2(lattice.span[b] / width))
                inner = math.isfinite(lattice.lower[b]) and math.isfinite(lattice.upper[b])
                level = max(level, 0) if inner else level
                index = 0 if outward > 0 else (2**level - 1 if inner else -1)
            else:
                index += outward
                # Widen where the dyadic lattice allows it and there is still far to go.
                while (
                    (index if outward > 0 else index + 1) % 2 == 0
                    and 2.0 * width <= reach - spanned
                    and (
                        detached
                        or level > 0
                        or not math.isfinite(lattice.lower[b] + lattice.upper[b])
                    )
                ):
                    index = index // 2
                    level -= 1
                    width *= 2.0
            cells.append((int(b), int(level), int(index)))
            spanned += lattice.span[b] * 2.0 ** -float(level)
        return cells

    def lowest(self, rtol: float) -> float:
        """Least density accepted of a step: one that adds at most −rtol times the largest."""
        return min(float(self.u.min()), 0.0) - rtol * float(self.u.max())

    # --- moving frames ----------------------------------------------------------------------------

    def _stir(self, step: float) -> float:
        """How far diffusion carries mass in a step, tails included (dimensionless)."""
        diffusivity = float(self.problem.diffusivity(self.generalization_error))
        return 4.0 * math.sqrt(2.0 * abs(diffusivity) * step)

    def _gaps(self, k: int) -> tuple[float, float]:
        """Distance of the domain of teacher value k to the lower and upper end of its bin."""
        begin, end = self.first[k], self.first[k + 1]
        b = self.bins[begin]
        right = self.left[end - 1] + self.width[end - 1]
        return self.left[begin] - self.bins_of.lower[b], self.bins_of.upper[b] - right

    def _detach(self, step: float) -> None:
        """Let meshes whose mass lies inside one bin, clear of its ends, move with the drift.

        There the drift is one constant: in its frame only diffusion is left, so that far travel,
        inward or running away, costs neither steps nor accuracy.
        """
        quantizer = self.problem.weight_quantizer
        if quantizer is None or quantizer.temperature > 0:
            return
        stir = self._stir(step)
        moved = False
        for k in np.flatnonzero(~self.detached):
            begin, end = self.first[k], self.first[k + 1]
            if (self.bins[begin:end] != self.bins[begin]).any():
                continue
            speed = self.drift[0, begin]
            reach = stir + 10.0 * step * abs(speed)
            below, above = self._gaps(k)
            if below > (reach if speed < 0 else stir) and above > (reach if speed > 0 else stir):
                self.detached[k] = moved = True
                self.speed[k] = speed
        if moved:
            self._place()

    def prepare(self, step: float) -> float:
        """Return the step to try, shortened or with meshes put back so that none leaves its bin."""
        if not self.detached.any():
            return step
        attached = False
        for k in np.flatnonzero(self.detached):
            gap = self._gaps(k)[1 if self.speed[k] > 0 else 0]
            margin = 2.0 * self._stir(step)
            if min(self._gaps(k)) < margin:
                self._attach(k)
                attached = True
            elif gap < math.inf and self.speed[k] != 0:
                step = min(step, 0.9 * (gap - margin) / abs(self.speed[k]) + 1e-3 * step)
        if attached:
            self._place()
        return step

    def _attach(self, k: int) -> None:
        """Put the density of teacher value k back on the lattice of the bins, mass kept exactly."""
        old = self.snapshot()
        begin, end = self.first[k], self.first[k + 1]
        left, width = old.left[begin:end], old.width[begin:end]
        cells = self._cover(left[0], left[-1] + width[-1], 0.5 * float(width.max()))
        lattice = self.bins_of
        while True:
            b, level, index = (np.array(part) for part in zip(*cells, strict=True))
            size = lattice.span[b] * 2.0 ** -level.astype(float)
            start = lattice.origin[b] + index * size
            covered = np.searchsorted(left, start, side="right") - 1
            until = np.searchsorted(left, start + size, side="left")
            narrow = [
                width[max(i, 0) : max(j, i + 1, 1)].min()
                for i, j in zip(covered, until, strict=True)
            ]
            wide = size > 1.01 * np.array(narrow)
            if not wide.any():
                break
            cells = [
                child
                for cell, split in zip(cells, wide, strict=True)
                for child in (
                    [(cell[0], cell[1] + 1, 2 * cell[2] + i) for i in (0, 1)] if split else [cell]
                )
            ]
        x = start + 0.5 * size * (1.0 + self.element.nodes[:, None])
        edges = np.append(start, start[-1] + size[-1])
        exact = old.cell_averages(edges)[k] * np.diff(edges)
        u = old.evaluate(k, x)
        u[0, 1:] = u[-1, :-1]
        defect = exact - 0.5 * size * (self.element.weights @ u)
        u += self.element.restore[:, :1] * (2.0 * defect / size)
        for name, values in (("bins", b), ("level", level), ("index", index)):
            whole = getattr(self, name)
            setattr(self, name, np.concatenate([whole[:begin], values, whole[end:]]))
        self.u = np.ascontiguousarray(
            np.concatenate([self.u[:, :begin], u, self.u[:, end:]], axis=1)
        )
        self.first = self.first.copy()
        self.first[k + 1 :] += x.shape[1] - (end - begin)
        self.shift[k] = self.speed[k] = 0.0
        self.detached[k] = False
        self._place()

    # --- what is handed on -----------------------------------------------------------------------

    @property
    def unknowns(self) -> int:
        """Number of independent nodal values."""
        return self.element.order * self.bins.size + self.first.size - 1

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
