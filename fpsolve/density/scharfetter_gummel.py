"""Scharfetter–Gummel: exponentially fitted, monotone finite volumes on a fixed mesh.

Cells share one mesh for all teacher values and never straddle a threshold. The flux between two
centres is that of the local stationary density with the drift integrated exactly on either side of
the face: the matrix is an M-matrix at any Péclet number, stationary densities are reproduced,
and the scheme stays second order across thresholds.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fpsolve.density.cell_frame import CellFrame
from fpsolve.density.equation import equation_of
from fpsolve.density.gaussian import gaussian_path
from fpsolve.numerics.gaussian import REACH, GaussianStart
from fpsolve.numerics.kernels import Cells, Law, Mesh
from fpsolve.numerics.solver import Solver
from fpsolve.problem.problem import Problem

__all__ = ["DEFAULT_CELLS", "ScharfetterGummel", "fixed_edges"]

Array = NDArray[np.float64]

# Exponential tails are followed to exp(−37) of their mass.
_TAIL = 37.0
# At the default number of cells: cells at a threshold per layer D/|a|, and how fast they widen
# away from it. More cells refine both alike, so that the mesh as a whole is refined.
DEFAULT_CELLS = 2000
_PER_LAYER = 4.0
_GROWTH = 1.1
# Gauss points an interval: exact for the polynomials of degree 2 that coefficients are at T = 0.
_GAUSS, _GAUSS_WEIGHTS = np.polynomial.legendre.leggauss(4)


class ScharfetterGummel(Solver):
    """Cell densities of all teacher values on one fixed mesh, cell centres being the nodes.

    Parameters
    ----------
    problem : Problem
        What is solved.
    law : Law
        Scalar coefficients at the start.
    rtol : float
        Tolerance of the time steps.
    cells : int
        Number of cells, about: layers at thresholds add to it.
    start : GaussianStart
        Initial conditional densities.
    horizon : float
        Last requested τ, which the domain must hold (dimensionless).
    """

    scheme = 1

    def __init__(
        self,
        problem: Problem,
        law: Law,
        *,
        rtol: float,
        cells: int,
        start: GaussianStart,
        horizon: float,
    ) -> None:
        self.problem = problem
        self.edges = fixed_edges(problem, cells=cells, start=start, horizon=horizon)
        self.edges.flags.writeable = False
        count, classes = self.edges.size - 2, problem.teacher.values.size
        first = np.arange(classes + 1, dtype=np.int64) * count
        nothing = np.zeros(first[-1], np.int64)
        # The kernels want a reference element; none of it enters the two-node form.
        super().__init__(
            equation_of(problem, rtol),
            order=4,
            rtol=rtol,
            resolution=1.0,
            cells=Cells(nothing, nothing, nothing, first),
            time=start.time,
        )
        # The scheme is monotone: what is negative is rounding, whatever rtol.
        self.negative = 1e-12
        edges = self.edges
        parts = [start.masses(k, edges[:-1], edges[1:]) for k in range(classes)]
        self.u = self._paired(np.stack(parts) / np.diff(edges))
        self.begin()

    def place(self) -> None:
        """Fill the mesh: drift between a centre and a face, and the weights of the functionals."""
        edges, classes = self.edges, self.problem.teacher.values.size
        cell = np.diff(edges)
        width = np.tile(0.5 * (cell[1:] + cell[:-1]), classes)
        half = np.tile(np.stack([0.5 * cell[:-1], 0.5 * cell[1:]]), classes)
        owned = np.stack([0.5 * cell[:-1], 0.5 * cell[1:]])
        owned[0, 0], owned[1, -1] = cell[0], cell[-1]
        mass = np.tile(owned, classes)
        centers = 0.5 * (edges[1:] + edges[:-1])
        drift = np.stack(
            [
                np.concatenate([self._mean(k, a, b)[0] for k in range(classes)], axis=-1)
                for a, b in ((centers[:-1], edges[1:-1]), (edges[1:-1], centers[1:]))
            ],
            axis=1,
        )
        means = np.stack([self._mean(k, edges[:-1], edges[1:])[1] for k in range(classes)], axis=1)
        weights = [self._paired(p) for p in means * self.problem.teacher.probabilities[:, None]]
        functionals = mass * np.stack(weights)
        widest = np.full(width.size, math.inf)
        left = np.tile(centers[:-1], classes)
        scale = np.repeat(self.model.scale, width.size // classes)
        grid = (left, width, np.zeros(width.size), widest, np.ones(width.size), scale, half)
        self.mesh = Mesh(self.cells.first, *grid, mass, drift, functionals)

    def _mean(self, k: int, low: Array, high: Array) -> tuple[Array, Array]:
        """Means of drift terms (J, N) and functionals (6, N) over intervals that cross no break."""
        dynamics = self.problem.dynamics
        bins = dynamics.bins(0.5 * (low + high))
        nodes = 0.5 * (low + high) + 0.5 * (high - low) * _GAUSS[:, None]
        fields = dynamics.fields(nodes, np.broadcast_to(bins, nodes.shape), k)
        share = 0.5 * _GAUSS_WEIGHTS[:, None]
        return (fields.drift * share).sum(axis=1), (fields.functionals * share).sum(axis=1)

    def _paired(self, values: Array) -> Array:
        """Cell values (K, N) in the layout of the kernels: each face sees its two cells."""
        return np.stack([values[:, :-1].ravel(), values[:, 1:].ravel()])

    def frame(self) -> CellFrame:
        """Copy of the present density."""
        classes = self.problem.teacher.values.size
        last = self.u[1].reshape(classes, -1)[:, -1:]
        averages = np.concatenate([self.u[0].reshape(classes, -1), last], axis=1)
        averages.flags.writeable = False
        return CellFrame(self.edges, averages)


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
    floor = problem.dynamics.offset()
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
    margin = REACH * quantizer.temperature
    error = levels * (problem.sigma2 * levels - 2 * problem.kappa * teacher.values[:, None])
    most = problem.dynamics.offset() + teacher.probabilities @ error.max(axis=1)
    diffusivity = float(problem.diffusivity(most))
    deviation = float(start.deviation.max())
    spread = REACH * math.sqrt(deviation**2 + 2 * diffusivity * horizon)
    low, high = math.inf, -math.inf
    for w_star, mean in zip(teacher.values, start.mean, strict=True):
        outward = float(problem.drift(1e300, w_star))
        end = max(mean, theta[-1] + margin) + max(outward, 0.0) * horizon + spread
        if outward < 0:
            held = theta[-1] + margin + _TAIL * diffusivity / -outward
            end = min(end, max(mean + REACH * deviation, held))
        high = max(high, end)
        outward = -float(problem.drift(-1e300, w_star))
        end = min(mean, theta[0] - margin) - max(outward, 0.0) * horizon - spread
        if outward < 0:
            held = theta[0] - margin - _TAIL * diffusivity / -outward
            end = max(end, min(mean - REACH * deviation, held))
        low = min(low, end)
    return low, high


def _linear_extent(problem: Problem, start: GaussianStart, horizon: float) -> tuple[float, float]:
    """The same for unquantized weights, from the exact mean and variance of each Gaussian."""
    shares = np.concatenate([[0.0], np.geomspace(1e-6, 1.0, 100), np.linspace(0.0, 1.0, 100)])
    times = np.unique(start.time + shares * (horizon - start.time))
    mean, deviation = gaussian_path(problem, times)
    reach = REACH * deviation[:, None]
    return float((mean - reach).min()), float((mean + reach).max())
