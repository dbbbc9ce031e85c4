"""How much order parameters vary from run to run: their covariance at leading order in 1/d."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from fpsolve.comparison.fluctuation_kernel import (
    Line,
    Records,
    Steps,
    march_adjoint,
    march_density,
    product,
)
from fpsolve.density.solve import solve_pde
from fpsolve.errors import ParameterError, SolveError
from fpsolve.problem.checks import finite
from fpsolve.problem.problem import Problem
from fpsolve.problem.schedule import Schedule
from fpsolve.reduction import OrderParameters

__all__ = ["Fluctuations", "Solved", "fluctuations", "fluctuations_about"]

Array = NDArray[np.float64]

# Functionals of the density whose adjoints are solved, those of `Fluctuations.names` but for the
# last, from which s follows: the mean square of w − m w*/ρ, which would lose all digits as a
# difference of m's and q's variations.
_NAMES = ("m", "q", "m_psi", "q_psi", "r_psi", "generalization_error", "spread")
_MOST_CELLS = 20_000
# Cells in a bin, and growth of cells and of steps with the distance to where they are smallest.
_PER_BIN, _GROWTH, _STEP_GROWTH = 8, 0.4, 0.4
# Two meshes tell an error of second order where one is finer by this many halvings at least.
_APART = 0.75


@dataclass(frozen=True, eq=False)
class Fluctuations:
    """d times the covariance of order parameters over independent runs, as d → ∞.

    Attributes
    ----------
    problem : Problem
        What is trained.
    times : ndarray, shape (T,)
        Times τ (dimensionless).
    covariance : ndarray, shape (T, 7, T, 7)
        d·Cov[X_f(τ), X_g(τ')], functionals in the order of `names`, within the same run.
    error : float
        Estimated relative error of the variances, that of s excepted; where a variance is below
        a hundredth of its largest value, relative to that hundredth.
    stats : dict
        "cells", "steps" of the finer of the two solutions it was extrapolated from; "error_of_s",
        the same estimate for s, which is hard to know where the weights all but coincide; and
        "generalization_error_defect": how far its ε_g is from that of `solve_pde`.
    """

    problem: Problem
    times: Array
    covariance: Array
    error: float
    stats: dict[str, Any]

    names = (*_NAMES[:-1], "s")

    def variance(self, name: str) -> Array:
        """Return d times the variance of an order parameter, shape (T,)."""
        if name not in self.names:
            raise ParameterError("name", name, f"must be one of {', '.join(self.names)}")
        at = self.names.index(name)
        return np.diagonal(self.covariance[:, at, :, at]).copy()

    def standard_error(self, name: str, dimension: float, runs: float = 1) -> Array:
        """Return the standard error of a mean over runs, shape (T,), to leading order in 1/d."""
        dimension = finite("dimension", dimension, above=0.0)
        # Where next to nothing varies, the variance is known to within 0.
        variance = np.maximum(self.variance(name), 0.0)
        return np.sqrt(variance / (dimension * finite("runs", runs, above=0.0)))

    @property
    def m(self) -> Array:
        """d·Var m, shape (T,)."""
        return self.variance("m")

    @property
    def q(self) -> Array:
        """d·Var q, shape (T,)."""
        return self.variance("q")

    @property
    def s(self) -> Array:
        """d·Var s, shape (T,), by the linear part of s in m and q."""
        return self.variance("s")

    @property
    def m_psi(self) -> Array:
        """d·Var m_ψ, shape (T,)."""
        return self.variance("m_psi")

    @property
    def q_psi(self) -> Array:
        """d·Var q_ψ, shape (T,)."""
        return self.variance("q_psi")

    @property
    def r_psi(self) -> Array:
        """d·Var r_ψ, shape (T,)."""
        return self.variance("r_psi")

    @property
    def generalization_error(self) -> Array:
        """d·Var ε_g, shape (T,)."""
        return self.variance("generalization_error")


def fluctuations(problem: Problem, times: ArrayLike, *, rtol: float = 1e-2) -> Fluctuations:
    """Return d times the covariance of the order parameters over independent runs of STE.

    Runs differ by their initial weights, drawn independently given the teacher weights, whose
    counts are those of the law, and by their samples. One backward sweep of the linearized
    equation's adjoint serves all times.

    Parameters
    ----------
    problem : Problem
        What is trained, by any rule that leaves no weight frozen: a surrogate must be positive
        everywhere.
    times : array_like, shape (T,)
        Times τ ≥ 0, strictly increasing (dimensionless).
    rtol : float, default 1e-2
        Relative accuracy of the variances: what is returned is extrapolated from two meshes,
        which are refined until that adds less than twice as much.

    Returns
    -------
    Fluctuations

    Raises
    ------
    ParameterError
        Naming the argument, its value and what is allowed.
    SolveError
        If the accuracy needs more cells than memory should hold, or ε_g vanishes.

    Notes
    -----
    With φ the adjoint, −∂_τφ = aφ' + h²Dφ'' + E[(∂D/∂ε_g) h²φ''] ℓ, φ_T = f, ℓ = Sψ² − 2κw*ψ,

        d Var X_f = Σ p_k Var(φ_0|k) + ∫ 2E(h²Dφ'²) + (α² − 4αβ + 2β²)/B dτ,
        α = η E[hφ'(Sψ − κw*)],  β = E[h²Dφ''].

    The second bracket is there because all coordinates of a step share one residual r: with F
    the field of hφ', (r, F) is Gaussian. Momentum is η/(1 − β) here as in the limit itself: the
    weights' own velocity holds O(1/d) of a mean. Since d/dτ E φ² = 2E(h²Dφ'²) − 2(β/ε_g) E[φℓ],
    the integral of φ'², singular at T where f jumps, is written as E f² − E φ_0² +
    2∫(β/ε_g) E[φℓ] dτ.

    Source: the above follows from paper Eq. (2) with the drift and diffusion of Eq. (5).
    """
    rtol = finite("rtol", rtol, above=0.0)
    if rtol > 0.1:
        raise ParameterError("rtol", rtol, "must be at most 0.1")
    _refuse(problem)
    solved = solve_pde(problem, times, rtol=1e-4)
    known = Solved(solved.times, solved.order_parameters, solved.edges[[0, -1]])
    return fluctuations_about(problem, known, rtol, _MOST_CELLS)[0]


class Shares(NamedTuple):
    """n·Cov of the shares of n coordinates of a class below points, less that of independent draws.

    `excess` has shape (T, K, J, J); `error` is its estimated error over the largest variance.
    """

    excess: Array
    error: float


class Solved(NamedTuple):
    """What is known of a density: its order parameters at times, and the ends of its cells.

    `points`, shape (T, K, J), are weights c of which the share below, of class k, is asked as well.
    """

    times: Array
    order_parameters: OrderParameters
    edges: Array
    points: Array | None = None


def fluctuations_about(
    problem: Problem, solved: Solved, rtol: float, most_cells: int, *, residual: bool = True
) -> tuple[Fluctuations, Shares | None]:
    """Return the fluctuations about a density; raise `SolveError` if `most_cells` do not do.

    Beside them are those of the shares of coordinates below `solved.points`, where these are given.

    Parameters
    ----------
    problem : Problem
        What is trained.
    solved : Solved
        Its density at the times that are asked for.
    rtol : float
        As in `fluctuations`.
    most_cells : int
        Cells beyond which the mesh is not refined any more.
    residual : bool, default True
        Whether the coordinates of a step share one residual, as those of STE do. Particles of the
        limiting equation have noise of their own and share ε_g alone.
    """
    _refuse(problem)
    times = solved.times
    if not solved.order_parameters.generalization_error.min() > 0:
        raise SolveError(
            "the error vanishes, and with it the diffusion: nothing varies from run to run there; "
            "add noise_variance, or end the times before",
            time=float(times[-1]),
            step=0.0,
        )
    levels = [_solve(problem, solved, level, residual) for level in (0.0, 1.0)]
    while True:
        fine = levels[-1]
        coarse = [level for level in levels if level.level <= fine.level - _APART][-1]
        # Of second order: this share of the change is what extrapolation adds.
        share = 1 / (4 ** (fine.level - coarse.level) - 1)
        covariance = fine.covariance + share * (fine.covariance - coarse.covariance)
        size, added = _diagonal(fine.covariance), _diagonal(covariance - fine.covariance)
        # Where a variance is all but gone, what counts is its size when it was there.
        scale = np.maximum(size, 1e-2 * size.max(axis=0))
        # What extrapolation leaves is taken as half of what it adds.
        errors = np.max(np.abs(added) / np.where(scale > 0, scale, 1.0), axis=0) / 2
        error = float(errors[:-1].max())
        if error <= rtol:
            state = solved.order_parameters.generalization_error
            stats = {
                "cells": fine.cells,
                "steps": fine.steps,
                "error_of_s": float(errors[-1]),
                "generalization_error_defect": float(
                    np.abs(fine.generalization_error - state).max()
                ),
            }
            told = Fluctuations(problem, times, covariance, error, stats)
            return told, _extrapolated_shares(coarse.excess, fine.excess, share)
        if fine.cells >= most_cells:
            break
        # No finer than it takes, with a quarter to spare.
        further = float(np.clip(0.5 * np.log2(error / (0.75 * rtol)), 0.25, 1.0))
        levels.append(_solve(problem, solved, fine.level + further, residual))
    raise SolveError(
        f"variances are known to {error:.1e} with {fine.cells} cells, not to rtol = {rtol:g}; "
        "raise rtol, or the learning rate: layers are thinner than cells",
        time=0.0,
        step=0.0,
    )


def _refuse(problem: Problem) -> None:
    """Raise where weights freeze, or where a subclass has coefficients of its own."""
    walls = problem.dynamics.walls
    if walls is not None and walls.kind == "absorb":
        allowed = "must be positive everywhere for fluctuations; give it a slope above 0"
        raise ParameterError("surrogate", problem.surrogate, allowed)
    for name in ("ridge", "noise_variance"):
        if isinstance(getattr(problem, name), Schedule):
            allowed = "must be a number for fluctuations; of the schedules they know the rate's"
            raise ParameterError(name, getattr(problem, name), allowed)
    if not problem.dynamics.is_standard:
        allowed = "must have the coefficients of fpsolve.Problem for fluctuations"
        raise ParameterError("problem", type(problem).__name__, allowed)


def _extrapolated_shares(coarse: Array, fine: Array, share: float) -> Shares | None:
    """Return the covariance of shares, a `share` of the change added; None where none was asked."""
    if not fine.size:
        return None
    # A variance of independent draws is a quarter at most.
    added = share * (fine - coarse)
    return Shares(fine + added, float(np.abs(added).max() / 2 / 0.25))


def _diagonal(covariance: Array) -> Array:
    """Return the variances (T, 7) of a covariance (T, 7, T, 7)."""
    return np.asarray(np.einsum("tftf->tf", covariance))


@dataclass(frozen=True)
class _Level:
    """What one mesh says: covariance (T, 7, T, 7) of the order parameters, and ε_g (T,).

    `excess`, shape (T, K, J, J), is that of `Shares`.
    """

    level: float
    covariance: Array
    excess: Array
    generalization_error: Array
    cells: int
    steps: int


def _complete(solved: Solved, covariance: Array) -> Array:
    """Return the covariance of the order parameters: δs = δ(s²)/2s, the others as they are."""
    covariance = covariance[:, : len(_NAMES), :, : len(_NAMES)]
    s = solved.order_parameters.s
    factor = np.ones((s.size, len(_NAMES)))
    factor[:, -1] = np.divide(0.5, s, out=np.zeros_like(s), where=s > 0)
    return np.asarray(covariance * factor[:, :, None, None] * factor)


def _rate_span(problem: Problem, solved: Solved) -> tuple[float, float]:
    """Return the smallest positive and the largest η up to the last time."""
    times = np.linspace(0.0, solved.times[-1], 65)
    rates = np.array([problem.dynamics.rate(float(tau))[0] for tau in times])
    return float(rates[rates > 0].min()), float(rates.max())


def _scales(problem: Problem, solved: Solved) -> tuple[float, float]:
    """Return the smallest D/η² and the largest |a|/η within the range of ψ."""
    dynamics = problem.dynamics
    error = float(solved.order_parameters.generalization_error.min())
    quantizer = problem.weight_quantizer
    w = solved.edges[[0, -1]] if quantizer is None else np.asarray(quantizer.levels)
    unit = 0.5 / problem.batch_size * float(dynamics.sigma2.min())
    return max(unit * error, 0.0), float(np.abs(_drift(problem, w)).max())


def _drift(problem: Problem, w: Array) -> Array:
    """Return the drift a/η of every class at the points, shape (K, P)."""
    dynamics = problem.dynamics
    bins = dynamics.bins(w)
    return np.array([dynamics.fields(w, bins, k).drift[0] for k in range(dynamics.w_star.size)])


def _mesh(problem: Problem, solved: Solved, level: float) -> Array:
    """Return cell edges, breaks among them, refined towards breaks; shape (N + 1,)."""
    low, high = float(solved.edges[0]), float(solved.edges[-1])
    if problem.dynamics.walls is not None:
        low, high = problem.dynamics.walls.low, problem.dynamics.walls.high
    inner = problem.dynamics.breaks
    # An end of the range may be a threshold up to rounding.
    near = 1e-9 * (high - low)
    inner = inner[(inner > low + near) & (inner < high - near)]
    cuts = np.concatenate([[low], inner, [high]])
    spread = float(np.sqrt(problem.initial.variance)) or 1.0
    diffusivity, speed = _scales(problem, solved)
    slowest = _rate_span(problem, solved)[0]
    layer = slowest * diffusivity / speed if speed > 0 else spread
    layer = max(layer, 1e-3 * spread / _PER_BIN)
    edges = [np.array([low])]
    for left, right in pairwise(cuts):
        widest = min(right - left, spread) / _PER_BIN
        widest = max(widest, (high - low) / 1000)
        w = np.linspace(left, right, 2001)
        away = np.full(w.shape, np.inf)
        for end in (left, right):
            if end in inner:
                away = np.minimum(away, np.abs(w - end))
        size = np.minimum(widest, _GROWTH * (away + layer))
        edges.append(_divide(w, 1 / size, level)[1:])
    return np.concatenate(edges)


def _divide(x: Array, density: Array, level: float) -> Array:
    """Return points from x[0] to x[-1] of the given density, about 2**level times as many."""
    total = np.concatenate([[0.0], np.cumsum(np.diff(x) * 0.5 * (density[1:] + density[:-1]))])
    count = round(max(4, int(np.ceil(total[-1]))) * 2**level)
    points = np.interp(np.linspace(0, total[-1], count + 1), total, x)
    points[0], points[-1] = x[0], x[-1]
    return points


def _time_grid(problem: Problem, solved: Solved, level: float) -> list[Array]:
    """Return the times from one event to the next, fine behind 0 and around each output time."""
    dynamics, fastest = problem.dynamics, _rate_span(problem, solved)[1]
    diffusivity, speed = _scales(problem, solved)
    # A layer's own time, D/a², within reason.
    slow = 0.01 / (fastest * float(dynamics.restoring.max()))
    scale = float(np.clip(0.05 * diffusivity / speed**2 if speed > 0 else slow, 0.01 * slow, slow))
    jumps = dynamics.landing_points(float(solved.times[-1]))
    events = np.unique(np.concatenate([[0.0], solved.times, jumps]))
    pieces = []
    for left, right in pairwise(events):
        t = left + (right - left) * 0.5 * (1 - np.cos(np.linspace(0, np.pi, 2001)))
        nearest = np.minimum(t - left, right - t)
        pieces.append(_divide(t, 1 / (_STEP_GROWTH * (nearest + scale)), level))
    return pieces


def _initial_mass(problem: Problem, edges: Array) -> Array:
    """Return the masses of the initial law in the cells, shape (K, N)."""
    law, values = problem.initial, problem.teacher.values
    means = (law.mean + law.overlap * values)[:, None]
    if law.variance > 0:
        inner = ndtr((edges[1:-1] - means) / np.sqrt(law.variance))
        ones = np.ones((values.size, 1))
        return np.diff(np.concatenate([0 * ones, inner, ones], axis=1), axis=1)
    # A point between two centres is shared so that its mean is kept.
    centers = 0.5 * (edges[1:] + edges[:-1])
    mass = np.zeros((values.size, centers.size))
    means = np.clip(means, centers[0], centers[-1])
    for row, at in zip(mass, means[:, 0], strict=True):
        i = int(np.clip(np.searchsorted(centers, at) - 1, 0, centers.size - 2))
        share = float(np.clip((at - centers[i]) / (centers[i + 1] - centers[i]), 0, 1))
        row[i], row[i + 1] = 1 - share, share
    return mass


def _functionals(problem: Problem, edges: Array, solved: Solved) -> Array:
    """Return the functionals of `_NAMES`, then the shares, as cell averages, shape (T, K, N, F)."""
    aligned = solved.order_parameters.m
    dynamics, w = problem.dynamics, 0.5 * (edges[1:] + edges[:-1])
    square = (edges[1:] ** 2 + edges[1:] * edges[:-1] + edges[:-1] ** 2) / 3
    bins, star = dynamics.bins(w), dynamics.w_star[:, None]
    of = [dynamics.fields(w, bins, k).functionals for k in range(star.size)]
    loss, m, _, m_psi, q_psi, r_psi = np.moveaxis(np.array(of), 1, 0)
    along = problem.teacher.square
    shift = star * (aligned / along if along > 0 else 0 * aligned)[:, None, None]
    rows = (m, square, m_psi, q_psi, r_psi, loss, square - 2 * shift * w)
    shape = (aligned.size, star.size, w.size)
    form = np.stack([np.broadcast_to(row, shape) for row in rows], axis=3)
    if solved.points is None:
        return form
    parts = [form]
    for k in range(star.size):
        below = (solved.points[:, k, None, :] - edges[:-1, None]) / np.diff(edges)[:, None]
        share = np.zeros((*shape, below.shape[2]))
        share[:, k] = np.clip(below, 0.0, 1.0)
        parts.append(share)
    return np.concatenate(parts, axis=3)


def _face_drift(problem: Problem, edges: Array) -> Array:
    """Return the mean a/(ηh²) between neighbouring centres, shape (K, N − 1).

    From the middle of either half cell, which is exact across a threshold.
    """
    width = np.diff(edges)
    inner = edges[1:-1]
    sides = []
    for w, share in (
        (inner - 0.25 * width[:-1], width[:-1]),
        (inner + 0.25 * width[1:], width[1:]),
    ):
        sides.append(_drift(problem, w) / np.square(problem.dynamics.shape(w)) * share)
    return np.asarray((sides[0] + sides[1]) / (width[:-1] + width[1:]))


def _solve(problem: Problem, solved: Solved, level: float, residual: bool) -> _Level:
    """Return covariances of the functionals on one mesh: one march forward, one backward."""
    dynamics = problem.dynamics
    edges = _mesh(problem, solved, level)
    center, shape = 0.5 * (edges[1:] + edges[:-1]), dynamics.shape(0.5 * (edges[1:] + edges[:-1]))
    width = np.diff(edges)
    delta, volume = 0.5 * (width[1:] + width[:-1]), width / np.square(shape)
    drift = _face_drift(problem, edges)
    form = _functionals(problem, edges, solved)
    error_form = np.ascontiguousarray(form[0, :, :, _NAMES.index("generalization_error")])
    sigma2 = np.ascontiguousarray(dynamics.sigma2)
    reached = (dynamics.kappa * dynamics.w_star)[:, None]
    kick = shape * (sigma2[:, None] * problem.quantize(center) - reached)
    pieces = _time_grid(problem, solved, level)
    grid = np.concatenate([[0.0], *[piece[1:] for piece in pieces]])
    steps = np.diff(grid)
    ends = np.searchsorted(grid, solved.times)
    rate = np.array([dynamics.rate(tau)[0] for tau in (grid[1:] - 0.5 * steps).tolist()])
    unit = np.square(rate) / (2 * problem.batch_size)
    probability = np.ascontiguousarray(dynamics.probability)
    mass = np.empty((grid.size, probability.size, width.size))
    mass[0] = _initial_mass(problem, edges)
    diffusivity = np.empty(steps.size)
    # Backward Euler first: Crank–Nicolson alone would keep the ripples of a jump.
    implicit = np.full(steps.size, 0.5)
    implicit[:2] = 1.0
    line = Line(volume, delta, drift, error_form, kick, probability, sigma2)
    forward = Steps(steps, rate, unit, implicit, diffusivity)
    march_density(mass, line, forward, dynamics.offset())
    backward = _Backward(probability, mass, ends, form)
    begin = np.union1d([0], ends)[::-1]
    for end, start in pairwise(begin):
        backward.join(end)
        part = slice(start, end)
        theta = np.full(end - start, 0.5)
        theta[-2:] = 1.0
        own = Steps(steps[part], rate[part], unit[part], theta, diffusivity[part])
        backward.march(mass[start : end + 1], line, own)
    if solved.times[0] == 0:
        backward.join(0)
    error = np.einsum("k,tkn,kn->t", probability, mass[ends], error_form)
    batch = problem.batch_size if residual else np.inf
    covariance = backward.covariance(batch, steps, unit, diffusivity)
    return _Level(
        level,
        _complete(solved, covariance),
        _excess(covariance - backward.overlap.reshape(covariance.shape), probability),
        error + dynamics.offset(),
        width.size,
        steps.size,
    )


def _excess(covariance: Array, probability: Array) -> Array:
    """Return the blocks (T, K, J, J) of shares of one class at one time, over its probability."""
    count = (covariance.shape[1] - len(_NAMES)) // probability.size
    blocks = np.empty((covariance.shape[0], probability.size, count, count))
    for k, p in enumerate(probability.tolist()):
        own = slice(len(_NAMES) + k * count, len(_NAMES) + (k + 1) * count)
        for t in range(covariance.shape[0]):
            blocks[t, k] = covariance[t, own, t, own] / p
    return blocks


class _Backward:
    """The adjoints of all functionals at all times so far, and what their marches recorded."""

    def __init__(self, probability: Array, mass: Array, ends: Any, form: Array) -> None:
        self.probability, self.mass, self.ends, self.form = probability, mass, ends, form
        self.phi = np.empty((*form.shape[1:3], 0))
        count = ends.size * form.shape[3]
        self.overlap = np.zeros((count, count))
        self.records: list[tuple[Array, Array, Array]] = []

    def join(self, end: int) -> None:
        """Let the functionals at step `end` join those of later times, centred in each class."""
        at = int(np.flatnonzero(self.ends == end)[0])
        form, mass = self.form[at], self.mass[end]
        size = form.shape[2]
        row = at * size
        new = form - np.einsum("kn,knf->kf", mass, form)[:, None, :]
        self.phi = np.ascontiguousarray(np.concatenate([new, self.phi], axis=2))
        weighted = (self.probability[:, None] * mass)[:, :, None] * new
        shared = _product(weighted.reshape(-1, size).T, self.phi.reshape(-1, self.phi.shape[2]))
        self.overlap[row : row + size, row:] = shared
        self.overlap[row:, row : row + size] = shared.T

    def march(self, mass: Array, line: Line, steps: Steps) -> None:
        """March over one piece of time and keep its records, zero for what has not joined."""
        count = steps.size.size
        found = [np.zeros((count, self.overlap.shape[0])) for _ in range(3)]
        own = Records(*(np.empty((count, self.phi.shape[2])) for _ in range(3)))
        march_adjoint(self.phi, mass, line, steps, own)
        for whole, part in zip(found, own, strict=True):
            whole[:, whole.shape[1] - part.shape[1] :] = part
        self.records.insert(0, (found[0], found[1], found[2]))

    def covariance(self, batch: float, steps: Array, unit: Array, diffusivity: Array) -> Array:
        """Return the covariance of all functionals at all times, shape (T, F, T, F).

        `batch` samples a step have one residual each, infinitely many none that is left.
        """
        start = np.einsum("kn,knf->kf", self.mass[0], self.phi)
        total = self.overlap - np.einsum("k,kf,kg->fg", self.probability, start, start)
        if self.records:
            first, curvature, mean = (
                np.concatenate(part) for part in zip(*self.records, strict=True)
            )
            b = diffusivity[:, None] * curvature
            pull, weight = (steps * unit)[:, None] * curvature, steps[:, None] / batch
            # α² − 4αβ + 2β² = (α − 2β)² − 2β².
            bare = first - 2 * b
            left = np.concatenate([weight * bare, -2 * weight * b, pull, mean])
            total += _product(left.T, np.concatenate([bare, b, mean, pull]))
        shape = 2 * (self.ends.size, self.form.shape[3])
        return np.asarray(total.reshape(shape))


def _product(left: Array, right: Array) -> Array:
    """Return the matrix product, computed by one thread."""
    out = np.empty((left.shape[0], right.shape[1]))
    product(np.ascontiguousarray(left), np.ascontiguousarray(right), out)
    return out
