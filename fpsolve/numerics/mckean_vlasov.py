"""`McKeanVlasov` and `solve_mckean_vlasov`: any separable equation on a line."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.errors import ParameterError, SolveError
from fpsolve.numerics import kernels
from fpsolve.numerics.element import reference_element
from fpsolve.numerics.equation import Equation
from fpsolve.numerics.foreign import ForeignLaw
from fpsolve.numerics.gaussian import GaussianStart
from fpsolve.numerics.initial import default_order, start_solver
from fpsolve.numerics.lattice import bins_between
from fpsolve.numerics.polynomials import PiecewisePolynomial
from fpsolve.numerics.solver import Ending

__all__ = ["LineTrajectory", "McKeanVlasov", "solve_mckean_vlasov"]

Array = NDArray[np.float64]
Function = Callable[[Array], ArrayLike]

_TIGHTEST, _LOOSEST = 1e-10, 1e-2
_LOOSEST_WORK = 3e-4
_RESOLUTION = 5.0
# Points at which an initial density is looked at to find where it lives, and its total mass.
_LOOK = 4001
# Functionals are smooth between breaks; side limits are taken this share of a bin inside.
_INSIDE = 1e-12
_MOST_DEFECT = 1e-10


@dataclass(frozen=True, kw_only=False, eq=False)
class McKeanVlasov:
    """∂_t μ = −∂_x(a μ) + ∂_x²(D h² μ) with a = Σ_j c_j(t, M) a_j(x), M_i = ∫ f_i μ.

    Everything is dimensionless.

    Parameters
    ----------
    drift : callable or sequence of callables
        a_j(x), each elementwise on arrays; smooth between `breaks`.
    diffusion : float or callable
        D > 0, a number or a function of (t, M).
    coefficients : callable, optional
        `coefficients(t, M)` returns as many c_j as there are drifts; all 1 by default.
    functionals : sequence of callables
        f_i(x), elementwise; `M` has their averages in this order, shape (r,).
    breaks : sequence of float
        Points where a drift, `shape` or a functional jumps or kinks.
    walls : (float, float), optional
        Ends of an interval that nothing leaves; the whole line by default.
    shape : callable, optional
        h(x) > 0, elementwise; 1 by default.

    Raises
    ------
    ParameterError
        If an argument is not of this form.

    Notes
    -----
    Source: for McKean–Vlasov equations of this form, Dawson, J. Stat. Phys. 31, 29 (1983).
    """

    drift: Function | Sequence[Function]
    diffusion: float | Callable[[float, Array], float]
    coefficients: Callable[[float, Array], ArrayLike] | None = field(default=None, kw_only=True)
    functionals: Sequence[Function] = field(default=(), kw_only=True)
    breaks: Sequence[float] = field(default=(), kw_only=True)
    walls: tuple[float, float] | None = field(default=None, kw_only=True)
    shape: Function | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        several = isinstance(self.drift, (list, tuple)) and bool(self.drift)
        if not callable(self.drift) and not (several and all(map(callable, self.drift))):
            allowed = "must be a function of x or several; for no drift give lambda x: 0 * x"
            raise ParameterError("drift", self.drift, allowed)
        if not callable(self.diffusion) and not (
            isinstance(self.diffusion, (int, float))
            and math.isfinite(self.diffusion)
            and self.diffusion > 0
        ):
            raise ParameterError("diffusion", self.diffusion, "must be > 0 or a function of (t, M)")
        points = np.asarray(self.breaks, dtype=np.float64)
        if points.ndim != 1 or not np.isfinite(points).all() or (np.diff(points) <= 0).any():
            raise ParameterError("breaks", self.breaks, "must be finite and increase strictly")
        if self.walls is not None:
            low, high = self.walls
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                allowed = "must be two finite numbers, the lower first, or None for the whole line"
                raise ParameterError("walls", self.walls, allowed)

    @property
    def drifts(self) -> list[Function]:
        """The drift terms as a list."""
        return [self.drift] if callable(self.drift) else list(self.drift)

    def law(self, time: float, moments: Array) -> Array:
        """(c_1 … c_J, D) at (t, M), shape (J + 1,)."""
        count = len(self.drifts)
        c = np.ones(count)
        if self.coefficients is not None:
            c = np.asarray(self.coefficients(time, moments), dtype=np.float64).reshape(-1)
            if c.size != count:
                allowed = f"must return {count} numbers, one a drift"
                raise ParameterError("coefficients", c, allowed)
        diffusion = self.diffusion
        d = diffusion(time, moments) if callable(diffusion) else diffusion
        out = np.append(c, float(d))
        if not (np.isfinite(out).all() and out[-1] >= 0):
            allowed = f"must be finite, with D >= 0; at t = {time:.6g}, M = {moments.tolist()}"
            raise ParameterError("coefficients, diffusion", out.tolist(), allowed)
        return out

    def __repr__(self) -> str:
        where = "the line" if self.walls is None else f"{list(self.walls)}"
        return (
            f"McKeanVlasov({len(self.drifts)} drift(s), {len(self.functionals)} functional(s), "
            f"{len(tuple(self.breaks))} break(s), on {where})"
        )


@dataclass(frozen=True, eq=False)
class LineTrajectory:
    """Densities at the requested times.

    Attributes
    ----------
    times : ndarray, shape (T,)
        Times (dimensionless).
    functionals : ndarray, shape (T, r)
        M at these times.
    frames : tuple of PiecewisePolynomial
        The densities.
    dense_times, dense_functionals : ndarray, shapes (N,), (N, r)
        The same at every accepted step.
    stats : dict
        Steps, rejections, unknowns, error estimates, mass defect.
    """

    times: Array
    functionals: Array
    frames: tuple[PiecewisePolynomial, ...]
    dense_times: Array
    dense_functionals: Array
    stats: dict[str, Any]

    def _frame(self, time: float) -> PiecewisePolynomial:
        at = np.flatnonzero(np.abs(self.times - time) <= 1e-12 * max(abs(time), 1e-300))
        if not at.size:
            shown = ", ".join(f"{t:.10g}" for t in self.times[:8])
            raise ParameterError("time", time, f"must be one of the times solved for: {shown}")
        return self.frames[int(at[0])]

    def pdf(self, x: ArrayLike, time: float) -> Array:
        """Return the density at points `x`, same shape, at one of the requested times."""
        return self._frame(time).pdf(np.asarray(x, dtype=np.float64))

    def probability(self, low: float, high: float, time: float) -> float:
        """Return the probability of [low, high] at one of the requested times."""
        ends = self._frame(time).cdf(np.array([low, high], dtype=np.float64))
        return float(ends[1] - ends[0])

    def expectation(self, function: Function, time: float) -> float:
        """Return E f(x) at one of the requested times; f may jump at the breaks."""
        return self._frame(time).expectation(function)

    def __repr__(self) -> str:
        steps = self.stats["steps"]
        return f"LineTrajectory({self.times.size} times to {self.times[-1]:g}, {steps} steps)"


class _Given:
    """An initial density given as a function on an interval."""

    def __init__(self, density: Function, low: float, high: float) -> None:
        self._density, self._low, self._high = density, low, high
        grid = np.linspace(low, high, _LOOK)
        values = self.pdf(0, grid)
        if not np.isfinite(values).all() or (values < 0).any():
            raise ParameterError("initial", density, "must be finite and >= 0 on its interval")
        mass = float(self.masses(0, grid[:-1], grid[1:]).sum())
        if abs(mass - 1) > 1e-6:
            allowed = f"must integrate to 1 over [{low:g}, {high:g}], not {mass:.9g}; divide by it"
            raise ParameterError("initial", density, allowed)

    def support(self, k: int) -> tuple[float, float]:
        return self._low, self._high

    def scale(self, k: int) -> float:
        return (self._high - self._low) / 16

    def pdf(self, k: int, x: Array) -> Array:
        values = np.broadcast_to(np.asarray(self._density(x), dtype=np.float64), x.shape)
        return np.where((x >= self._low) & (x <= self._high), values, 0.0)

    def masses(self, k: int, left: Array, right: Array) -> Array:
        nodes, weights = np.polynomial.legendre.leggauss(12)
        half = 0.5 * (right - left)
        x = left + half * (1.0 + nodes[:, None])
        return np.asarray(half * (weights @ self.pdf(k, x)))


def _initial(initial: Any, model: McKeanVlasov) -> GaussianStart | _Given:
    if hasattr(initial, "mean") and hasattr(initial, "variance"):
        if initial.variance <= 0:
            raise ParameterError("initial", initial, "must have a variance > 0 here")
        gaussian = GaussianStart(
            0.0, np.array([initial.mean]), np.array([math.sqrt(initial.variance)])
        )
        if model.walls is not None:
            low, high = gaussian.support(0)
            if low < model.walls[0] or high > model.walls[1]:
                allowed = (
                    "reaches beyond the walls; narrow it, or give a density and its interval "
                    "(density, low, high)"
                )
                raise ParameterError("initial", initial, allowed)
        return gaussian
    if isinstance(initial, tuple) and len(initial) == 3 and callable(initial[0]):
        return _Given(initial[0], float(initial[1]), float(initial[2]))
    allowed = "must be a GaussianInitial, or (density, low, high) with a function of x"
    raise ParameterError("initial", initial, allowed)


def _equation(model: McKeanVlasov, unit: float) -> Equation:
    """The equation as kernels take it; coefficients are values at points."""
    breaks = np.asarray(model.breaks, dtype=np.float64)
    if model.walls is not None:
        breaks = breaks[(breaks > model.walls[0]) & (breaks < model.walls[1])]
    bins = bins_between(breaks, walls=model.walls, absorbing=(False, False), unit=unit)
    drifts = model.drifts
    functionals: list[Function] = [*model.functionals, np.square]

    def fields(
        x: Array, own: NDArray[np.int64], classes: NDArray[np.int64]
    ) -> tuple[Array, Array, Array]:
        # On a break the value is that of the element's own side.
        span = np.where(np.isfinite(bins.span[own]), bins.span[own], 1.0)
        low = np.where(np.isfinite(bins.lower[own]), bins.lower[own] + _INSIDE * span, -np.inf)
        high = np.where(np.isfinite(bins.upper[own]), bins.upper[own] - _INSIDE * span, np.inf)
        at = np.clip(x, low, high)
        h = np.ones(x.shape) if model.shape is None else _values("shape", model.shape, at)
        if not (h > 0).all():
            raise ParameterError("shape", float(h.min()), "must be > 0 wherever mass can be")
        drift = np.stack([_values("drift", a, at) for a in drifts])
        return drift, h, np.stack([_values("functionals", f, at) for f in functionals])

    terms, count = len(drifts), len(functionals)
    empty = np.empty((0, 1, bins.span.size, 3))
    rule = [kernels.ABSOLUTE] * (count - 1) + [kernels.GUARDED]
    return Equation(
        bins=bins,
        drift=empty,
        shape=np.empty((0, 3)),
        functionals=empty,
        terms=terms,
        flat=np.full((terms, 1, bins.span.size), np.nan),
        probability=np.ones(1),
        scale=np.ones(1),
        relevance=np.ones(1),
        walls=np.zeros((2, count, 1)),
        offset=np.zeros(count),
        rule=np.array(rule),
        fields=fields,
    )


def _values(name: str, function: Function, x: Array) -> Array:
    values = np.broadcast_to(np.asarray(function(x), dtype=np.float64), x.shape)
    if not np.isfinite(values).all():
        at = float(x[~np.isfinite(values)][0])
        raise ParameterError(name, float("nan"), f"must be finite, also at x = {at:.6g}")
    return values


def solve_mckean_vlasov(
    model: McKeanVlasov, initial: Any, times: ArrayLike, *, rtol: float = 1e-6
) -> LineTrajectory:
    """Integrate a separable McKean–Vlasov equation to a stated tolerance.

    Parameters
    ----------
    model : McKeanVlasov
        The equation.
    initial : GaussianInitial or (callable, float, float)
        Initial law: a Gaussian, or a density with the interval outside of which it vanishes.
    times : array_like, shape (T,)
        Increasing times ≥ 0 at which to return the density (dimensionless).
    rtol : float, default 1e-6
        Accuracy, from 1e-10 to 1e-2: errors of M_i and of E x² are within 10·rtol of the largest
        E|f_i|, and the L¹ error of the density within 100·rtol.

    Returns
    -------
    LineTrajectory
        Densities, functionals and statistics.

    Raises
    ------
    ParameterError
        If an argument is outside what is allowed here.
    SolveError
        If the integration cannot reach the last time.

    Notes
    -----
    Source: the equation is that of `McKeanVlasov` (Dawson, J. Stat. Phys. 31, 29, 1983).

    Examples
    --------
    Ornstein–Uhlenbeck: the variance relaxes to D as 1 − exp(−2t).

    >>> import fpsolve
    >>> model = fpsolve.McKeanVlasov(lambda x: -x, 1.0, functionals=[lambda x: x**2])
    >>> start = fpsolve.GaussianInitial(0.0, 0.25)
    >>> result = fpsolve.solve_mckean_vlasov(model, start, [0.0, 1.0])
    >>> [round(float(m), 5) for m in result.functionals[:, 0]]
    [0.25, 0.8985]
    """
    requested = np.array(times, dtype=np.float64, ndmin=1)
    if requested.ndim != 1 or not np.isfinite(requested).all() or (requested < 0).any():
        raise ParameterError("times", times, "must be finite numbers >= 0")
    if (np.diff(requested) <= 0).any():
        raise ParameterError("times", times, "must increase strictly; sort them, drop duplicates")
    if not _TIGHTEST <= rtol <= _LOOSEST:
        raise ParameterError("rtol", rtol, f"must be from {_TIGHTEST:g} to {_LOOSEST:g}")
    work = min(float(rtol), _LOOSEST_WORK)
    start = _initial(initial, model)
    low, high = start.support(0)
    order, rank = default_order(work), len(model.functionals)
    foreign = ForeignLaw(model.law, terms=len(model.drifts), rank=rank)
    law = foreign.law(terms=len(model.drifts), rank=rank)
    solver = start_solver(
        _equation(model, 0.5 * (high - low)),
        law,
        start,
        order=order,
        rtol=work,
        resolution=_RESOLUTION * work,
    )
    frames, moments = [], []
    for time in requested.tolist():
        ending = _advance(solver, law, foreign, time)
        if ending is not Ending.REACHED:
            raise SolveError(ending.value, time=solver.time, step=solver.step)
        element = reference_element(order)
        h2 = 0.5 * solver.mesh.width * element.weights[:, None] / solver.mesh.mass
        frame = PiecewisePolynomial(order, solver.mesh.left, solver.mesh.width, solver.u / h2)
        frames.append(frame)
        moments.append(solver.moments[:rank])
    defect = max(abs(f.mass - frames[0].mass) for f in frames)
    if not defect < _MOST_DEFECT:
        message = f"the density lost its mass by {defect:.2g}; tighten rtol"
        raise SolveError(message, time=solver.time, step=solver.step)
    log = np.concatenate(solver.log)
    stats = {**solver.statistics(), "order": order, "rtol": rtol, "mass_defect": defect}
    return LineTrajectory(
        requested,
        np.array(moments).reshape(requested.size, rank),
        tuple(frames),
        log[:, 0],
        log[:, 1 : 1 + rank],
        stats,
    )


def _advance(solver: Any, law: kernels.Law, foreign: ForeignLaw, time: float) -> Ending:
    try:
        ending: Ending = solver.advance(law, time)
    except SolveError:
        if foreign.failure is not None:
            raise foreign.failure from None
        raise
    return ending
