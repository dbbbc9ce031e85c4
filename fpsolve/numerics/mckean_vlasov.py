"""`McKeanVlasov`: any separable equation on a line, as the kernels take it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.errors import ParameterError
from fpsolve.numerics import kernels
from fpsolve.numerics.equation import Equation
from fpsolve.numerics.gaussian import GaussianStart
from fpsolve.numerics.lattice import bins_between

__all__ = ["Function", "McKeanVlasov", "equation_of", "initial_law"]

Array = NDArray[np.float64]
Function = Callable[[Array], ArrayLike]

# Points at which an initial density is looked at to find where it lives, and its total mass.
_LOOK = 4001
# Functionals are smooth between breaks; side limits are taken this share of a bin inside.
_INSIDE = 1e-12


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


def initial_law(initial: Any, model: McKeanVlasov) -> GaussianStart | _Given:
    """Return a Gaussian, or a density with its interval, as the initial law of a solver."""
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


def equation_of(model: McKeanVlasov, unit: float) -> Equation:
    """Return the equation as kernels take it, by values at points, on bins of about `unit`."""
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
