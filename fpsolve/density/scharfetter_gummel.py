"""Scharfetter–Gummel: exponentially fitted, monotone finite volumes on a fixed mesh.

Cells share one mesh for all teacher values and never straddle a threshold. The flux between two
centres is that of the local stationary density with the drift integrated exactly on either side of
the face: the matrix is an M-matrix at any Péclet number, stationary densities are reproduced,
and the scheme stays second order across thresholds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fpsolve.density.cell_frame import CellFrame
from fpsolve.density.element import reference_element
from fpsolve.density.gaussian import gaussian_density
from fpsolve.density.start import GaussianStart, gaussian_masses
from fpsolve.problem.problem import Problem
from fpsolve.problem.teacher import Teacher

__all__ = ["DEFAULT_CELLS", "CellSnapshot", "ScharfetterGummel", "fixed_edges"]

Array = NDArray[np.float64]

# Gaussian tails are followed to 1e-16 of their mass, exponential ones to exp(−37).
_REACH = 8.3
_TAIL = 37.0
# At the default number of cells: cells at a threshold per layer D/|a|, and how fast they widen
# away from it. More cells refine both alike, so that the mesh as a whole is refined.
DEFAULT_CELLS = 2000
_PER_LAYER = 4.0
_GROWTH = 1.1


class ScharfetterGummel:
    """Cell densities of all teacher values, in the layout of `step` with cell centres as nodes.

    Parameters
    ----------
    problem : Problem
        What is solved.
    cells : int
        Number of cells, about: layers at thresholds add to it.
    start : GaussianStart
        Initial conditional densities.
    horizon : float
        Last requested τ, which the domain must hold (dimensionless).
    """

    scheme = 1
    regrids = 0

    def __init__(
        self, problem: Problem, *, cells: int, start: GaussianStart, horizon: float
    ) -> None:
        self.problem = problem
        self.floor = problem.rho + problem.noise_variance
        self.edges = fixed_edges(problem, cells=cells, start=start, horizon=horizon)
        # The step kernel wants a reference element; none of it enters the two-node form.
        self.element = reference_element(4)
        edges, count = self.edges, self.edges.size - 2
        values = problem.teacher.values.size
        self.first = np.arange(values + 1, dtype=np.int64) * count
        cell = np.diff(edges)
        self.width = np.tile(0.5 * (cell[1:] + cell[:-1]), values)
        self.half = np.tile(np.stack([0.5 * cell[:-1], 0.5 * cell[1:]]), values)
        owned = np.stack([0.5 * cell[:-1], 0.5 * cell[1:]])
        owned[0, 0], owned[1, -1] = cell[0], cell[-1]
        self.mass = np.tile(owned, values)
        self._set_drift()
        low = (edges[:-1] - start.mean[:, None]) / start.deviation
        high = (edges[1:] - start.mean[:, None]) / start.deviation
        self.u = self._paired(gaussian_masses(low, high) / cell)

    def _set_drift(self) -> None:
        """Mean drift between a centre and a face, and the weights of ε_g − ρ − σ², m and q."""
        problem, edges = self.problem, self.edges
        centers = 0.5 * (edges[1:] + edges[:-1])
        left = _mean_psi(problem, centers[:-1], edges[1:-1])
        right = _mean_psi(problem, edges[1:-1], centers[1:])
        pull = problem.dynamics.constant_rate * (problem.sigma2 + problem.ridge)
        push = (
            problem.dynamics.constant_rate * problem.kappa * problem.teacher.values[:, None, None]
        )
        self.drift = np.concatenate(list(push - pull * np.stack([left, right])), axis=1)
        self.psi = _mean_psi(problem, edges[:-1], edges[1:])
        w_star = problem.teacher.values[:, None]
        share = problem.teacher.probabilities[:, None]
        error = share * self.psi * (problem.sigma2 * self.psi - 2 * problem.kappa * w_star)
        # Cell averages of w² (not the square of the centre) keep q exact for given cell masses.
        square = (edges[1:] ** 2 + edges[1:] * edges[:-1] + edges[:-1] ** 2) / 3
        weights = [error, share * w_star * centers, share * square]
        self.functionals = np.stack([self.mass * self._paired(w) for w in weights])

    def _paired(self, values: Array) -> Array:
        """Cell values (K, N) in the layout of `step`: each face sees its two cells."""
        return np.stack([values[:, :-1].ravel(), values[:, 1:].ravel()])

    @property
    def unknowns(self) -> int:
        """Number of cell densities."""
        return self.problem.teacher.values.size * (self.edges.size - 1)

    def prepare(self, step: float) -> float:
        """Return the step to try: any."""
        return step

    @property
    def generalization_error(self) -> float:
        """ε_g of the present density (dimensionless)."""
        return self.floor + float((self.functionals[0] * self.u).sum())

    def lowest(self, rtol: float) -> float:
        """Least density accepted: rounding, whatever `rtol`, for the scheme is monotone."""
        return -1e-12 * float(self.u.max())

    def adapt(self, new: Array, *, step: float, merge: bool) -> bool:
        """Take over the density `new`; the mesh is fixed."""
        self.u = new
        return True

    def snapshot(self) -> CellSnapshot:
        """Copy of the present density."""
        values = self.problem.teacher.values.size
        density = np.concatenate(
            [self.u[0].reshape(values, -1), self.u[1].reshape(values, -1)[:, -1:]], axis=1
        )
        return CellSnapshot(self.edges, self.psi, density)


@dataclass(frozen=True, eq=False)
class CellSnapshot:
    """Cell averages at one time.

    Attributes
    ----------
    edges : ndarray, shape (N + 1,)
        Cell edges (dimensionless).
    psi : ndarray, shape (N,)
        Cell averages of ψ.
    density : ndarray, shape (K, N)
        Cell averages of the conditional densities.
    """

    edges: Array
    psi: Array
    density: Array

    def moments(self, teacher: Teacher) -> dict[str, float]:
        """Return m, q, m_psi, q_psi and r_psi for densities constant in each cell."""
        edges = self.edges
        masses = self.density * np.diff(edges)
        center = 0.5 * (edges[1:] + edges[:-1])
        square = (edges[1:] ** 2 + edges[1:] * edges[:-1] + edges[:-1] ** 2) / 3
        aligned = teacher.probabilities * teacher.values
        return {
            "m": float(aligned @ masses @ center),
            "q": float(teacher.probabilities @ masses @ square),
            "m_psi": float(aligned @ masses @ self.psi),
            "q_psi": float(teacher.probabilities @ masses @ self.psi**2),
            "r_psi": float(teacher.probabilities @ masses @ (center * self.psi)),
        }

    @property
    def frame(self) -> CellFrame:
        """The densities alone."""
        return CellFrame(self.edges, self.density)


def _mean_psi(problem: Problem, low: Array, high: Array) -> Array:
    """Mean of ψ over [low, high], which contains no threshold inside when T = 0."""
    quantizer = problem.weight_quantizer
    if quantizer is None or quantizer.temperature == 0:
        return problem.quantize(0.5 * (low + high))
    return (quantizer.primitive(high) - quantizer.primitive(low)) / (high - low)


def fixed_edges(problem: Problem, *, cells: int, start: GaussianStart, horizon: float) -> Array:
    """Return cell edges over the region that mass can reach, thresholds among them.

    Cells are equally wide but for the neighbourhood of thresholds, where they resolve the layers
    of width D/|a| for the least D to expect.
    """
    low, high = _extent(problem, start, horizon)
    quantizer = problem.weight_quantizer
    widest = (high - low) / cells
    if quantizer is None:
        return np.linspace(low, high, cells + 1)
    inside = quantizer.thresholds[(quantizer.thresholds > low) & (quantizer.thresholds < high)]
    layer = _layer(problem) if quantizer.temperature == 0 else quantizer.temperature
    share = DEFAULT_CELLS / cells
    narrow = min(widest, share * layer / _PER_LAYER)
    corners = np.concatenate([[low], inside, [high]])
    pieces = []
    for i, (a, b) in enumerate(pairwise(corners)):
        sizes = _graded(b - a, narrow, widest, _GROWTH**share, left=i > 0, right=i < inside.size)
        pieces.append(a + np.concatenate([[0.0], np.cumsum(sizes[:-1])]))
    return np.append(np.concatenate(pieces), high)


def _graded(
    length: float, narrow: float, widest: float, growth: float, *, left: bool, right: bool
) -> Array:
    """Cell widths that fill `length`, from `narrow` at graded ends to `widest` inside."""
    steps = max(0, math.ceil(math.log(widest / narrow) / math.log(growth)))
    ramp = np.minimum(narrow * growth ** np.arange(steps), widest)
    share = length / (2 if left and right else 1)
    ramp = ramp[: int(np.searchsorted(np.cumsum(ramp), share))]
    ends = (ramp if left else ramp[:0], ramp[::-1] if right else ramp[:0])
    middle = length - ends[0].sum() - ends[1].sum()
    count = max(1, math.ceil(middle / widest))
    sizes = np.concatenate([ends[0], np.full(count, max(middle, narrow) / count), ends[1]])
    return np.asarray(sizes * (length / sizes.sum()))


def _layer(problem: Problem) -> float:
    """Least width D/|a| of a layer to expect, down to a twentieth of the untrained ε_g."""
    quantizer, teacher = problem.weight_quantizer, problem.teacher
    assert quantizer is not None
    floor = problem.rho + problem.noise_variance
    error = quantizer.levels * (
        problem.sigma2 * quantizer.levels - 2 * problem.kappa * teacher.values[:, None]
    )
    least = max(floor + float(teacher.probabilities @ error.min(axis=1)), 0.05 * floor)
    speed = np.abs(problem.drift(quantizer.levels, teacher.values[:, None])).max()
    return float(problem.diffusivity(least)) / float(speed)


def _extent(problem: Problem, start: GaussianStart, horizon: float) -> tuple[float, float]:
    """Interval that holds all mass up to 1e-16, from drift, diffusion and horizon."""
    quantizer, teacher = problem.weight_quantizer, problem.teacher
    if quantizer is None:
        return _linear_extent(problem, start, horizon)
    levels, theta = quantizer.levels, quantizer.thresholds
    margin = _REACH * quantizer.temperature
    error = levels * (problem.sigma2 * levels - 2 * problem.kappa * teacher.values[:, None])
    most = problem.rho + problem.noise_variance + teacher.probabilities @ error.max(axis=1)
    diffusivity = float(problem.diffusivity(most))
    spread = _REACH * math.sqrt(start.deviation**2 + 2 * diffusivity * horizon)
    low, high = math.inf, -math.inf
    for w_star, mean in zip(teacher.values, start.mean, strict=True):
        outward = float(problem.drift(1e300, w_star))
        end = max(mean, theta[-1] + margin) + max(outward, 0.0) * horizon + spread
        if outward < 0:
            held = theta[-1] + margin + _TAIL * diffusivity / -outward
            end = min(end, max(mean + _REACH * start.deviation, held))
        high = max(high, end)
        outward = -float(problem.drift(-1e300, w_star))
        end = min(mean, theta[0] - margin) - max(outward, 0.0) * horizon - spread
        if outward < 0:
            held = theta[0] - margin - _TAIL * diffusivity / -outward
            end = max(end, min(mean - _REACH * start.deviation, held))
        low = min(low, end)
    return low, high


def _linear_extent(problem: Problem, start: GaussianStart, horizon: float) -> tuple[float, float]:
    """The same for unquantized weights, from the exact mean and variance of each Gaussian."""
    low = float(start.mean.min()) - _REACH * start.deviation
    high = float(start.mean.max()) + _REACH * start.deviation
    shares = np.concatenate([np.geomspace(1e-6, 1.0, 100), np.linspace(0.0, 1.0, 100)])
    for time in start.time + shares * (horizon - start.time):
        begin, end = gaussian_density(problem, float(time)).support()
        low, high = min(low, begin), max(high, end)
    return low, high
