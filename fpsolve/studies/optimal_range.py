"""The quantization range that serves best at a given number of bits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize, minimize_scalar

from fpsolve.density.solve import solve_pde
from fpsolve.display import Shown
from fpsolve.errors import ParameterError
from fpsolve.macro.stationary import stationary_states
from fpsolve.problem.checks import finite, integer, readonly_vector
from fpsolve.problem.problem import Problem
from fpsolve.problem.quantizer import UniformQuantizer

__all__ = ["OptimalRange", "optimal_range", "range_curve", "usual_ranges"]

Array = NDArray[np.float64]

_FIELDS = {
    "weights": ("weight_quantizer",),
    "inputs": ("input_quantizer",),
    "both": ("weight_quantizer", "input_quantizer"),
}
# Local minima of the scanned curve that are refined.
_REFINED = 4
_RTOL_AT_TIME = 1e-5


@dataclass(frozen=True, eq=False, repr=False)
class OptimalRange(Shown):
    """The best range found, and the scan it comes from (dimensionless).

    Attributes
    ----------
    problem : Problem
        The problem with the best range or ranges set.
    which : str
        "weights", "inputs" or "both".
    time : float or None
        τ at which ε_g was compared; None for the stationary state.
    generalization_error : float
        ε_g at the optimum.
    omega, omega_x : float or None
        Best weight and input range; None for a quantizer that was not varied.
    scanned : tuple of ndarray, each of shape (points,)
        The ranges tried, one array for each varied quantizer, in the order weights, inputs.
    scanned_error : ndarray, shape (lengths of `scanned`)
        ε_g there; inf where training diverges.
    """

    problem: Problem
    which: str
    time: float | None
    generalization_error: float
    omega: float | None
    omega_x: float | None
    scanned: tuple[Array, ...]
    scanned_error: Array

    def _shown(self) -> dict[str, object]:
        found = {"omega": self.omega, "omega_x": self.omega_x}
        return {
            "which": self.which,
            **{name: value for name, value in found.items() if value is not None},
            "generalization_error": self.generalization_error,
            "time": "stationary" if self.time is None else self.time,
            "scanned": self.scanned_error.size,
        }


def optimal_range(
    problem: Problem,
    *,
    which: str = "weights",
    time: float | None = None,
    bounds: ArrayLike | None = None,
    points: int | None = None,
) -> OptimalRange:
    """Return the quantization range that minimizes ε_g at the problem's bit widths.

    Parameters
    ----------
    problem : Problem
        Its quantizers give the bit widths; their ranges only matter where they are not varied.
    which : {"weights", "inputs", "both"}
        Which range to vary.
    time : float, optional
        Training time τ > 0 (dimensionless) at which to compare, by `solve_pde`; by
        default the stationary state.
    bounds : array_like, shape (2,) or (2, 2), optional
        Least and largest range tried; for "both" a pair for the weights, then one for the inputs.
        By default the weights' reach from a tenth of the root mean square of κw*/(S + λ) to 1.5
        times its maximum (at least four times the root mean square); the inputs' from 0.1 to 6.
    points : int, optional
        Ranges scanned, evenly in their logarithm (for "both": in each direction). By default 256
        for one range and 48 each for both; a quarter of that at a given time.

    Returns
    -------
    OptimalRange
        The curve has a local minimum wherever levels fall on the targets, so it is scanned, and
        the lowest few minima are refined. Minima narrower than the scan's spacing can be missed.

    Raises
    ------
    ParameterError
        If a varied quantizer is not a `UniformQuantizer`, or an option is out of range.

    Notes
    -----
    Where several stationary states coexist the largest ε_g counts. Source: stationary density of
    paper Eq. (4); the paper's Fig. 6 shows the curve for b = 2 and 3.
    """
    names = _varied(problem, which)
    if time is not None:
        time = finite("time", time, above=0.0)
    default = 256 if len(names) == 1 else 48
    count = default // (1 if time is None else 4) if points is None else points
    count = integer("points", count, least=3)
    box = _default_bounds(problem, names) if bounds is None else _bounds(bounds, len(names))
    grids = tuple(np.geomspace(low, high, count) for low, high in box)

    def error(log_ranges: Array) -> float:
        return _error(_with_ranges(problem, names, np.exp(log_ranges)), time)

    mesh = np.stack(np.meshgrid(*(np.log(g) for g in grids), indexing="ij"), axis=-1)
    scanned = np.apply_along_axis(error, -1, mesh)
    best, value = _refine(error, grids, scanned)
    ranges = dict(zip(names, best, strict=True))
    return OptimalRange(
        problem=_with_ranges(problem, names, best),
        which=which,
        time=time,
        generalization_error=value,
        omega=ranges.get("weight_quantizer"),
        omega_x=ranges.get("input_quantizer"),
        scanned=grids,
        scanned_error=scanned,
    )


def range_curve(
    problem: Problem, ranges: ArrayLike, *, which: str = "weights", time: float | None = None
) -> Array:
    """Return ε_g at each of `ranges` of the weights or of the inputs.

    Parameters
    ----------
    problem : Problem
        What is trained; the range of one of its quantizers is varied.
    ranges : array_like, shape (N,)
        Ranges ω > 0 (dimensionless).
    which, time
        As for `optimal_range`, "both" excluded.

    Returns
    -------
    ndarray, shape (N,)
        ε_g, stationary unless a time τ is given; inf where training diverges.

    Raises
    ------
    ParameterError
        As for `optimal_range`.

    Notes
    -----
    Source: paper Figs. 5 (right) and 6.
    """
    if which == "both":
        raise ParameterError("which", which, "must be 'weights' or 'inputs'")
    names = _varied(problem, which)
    values = readonly_vector("ranges", ranges)
    if time is not None:
        time = finite("time", time, above=0.0)
    return np.array([_error(_with_ranges(problem, names, [w]), time) for w in values])


def usual_ranges(weights: ArrayLike, bit_width: int) -> dict[str, float]:
    """Return the ranges in common use for quantizing given weights, without any dynamics.

    Parameters
    ----------
    weights : array_like
        Weights of a layer, any shape (dimensionless).
    bit_width : int
        b, from 2 to 16.

    Returns
    -------
    dict
        "max_abs": the largest |w|; "three_sigma": three root mean squares; "mse": the range that
        minimizes the mean square of w − ψ(w); all dimensionless.

    Raises
    ------
    ParameterError
        If the weights are not finite numbers, are all 0 or none at all, or `bit_width` is not an
        integer from 2 to 16.

    Notes
    -----
    Source: ψ is the quantizer of paper §II-C; none of the ranges follows from its theory.
    """
    flat = np.abs(readonly_vector("weights", np.ravel(np.asarray(weights))))
    top = float(flat.max())
    if top == 0:
        raise ParameterError("weights", 0.0, "must not all be zero")
    rms = math.sqrt(float(np.mean(np.square(flat))))

    def loss(log_range: float) -> float:
        quantizer = UniformQuantizer(bit_width, math.exp(log_range))
        return float(np.mean(np.square(flat - quantizer(flat))))

    grid = np.linspace(math.log(0.2 * rms), math.log(1.2 * top), 200)
    lowest = int(np.argmin([loss(x) for x in grid]))
    low, high = grid[max(lowest - 1, 0)], grid[min(lowest + 1, grid.size - 1)]
    fit = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6})
    return {"max_abs": top, "three_sigma": 3 * rms, "mse": math.exp(float(fit.x))}


def _varied(problem: Problem, which: str) -> tuple[str, ...]:
    if which not in _FIELDS:
        raise ParameterError("which", which, f"must be one of {', '.join(map(repr, _FIELDS))}")
    for name in _FIELDS[which]:
        quantizer = getattr(problem, name)
        if not isinstance(quantizer, UniformQuantizer):
            raise ParameterError(name, quantizer, "must be a UniformQuantizer to have a range")
    return _FIELDS[which]


def _with_ranges(problem: Problem, names: tuple[str, ...], ranges: ArrayLike) -> Problem:
    quantizers: dict[str, Any] = {}
    for name, omega in zip(names, np.asarray(ranges), strict=True):
        old = getattr(problem, name)
        quantizers[name] = UniformQuantizer(old.bit_width, float(omega), old.temperature)
    return replace(problem, **quantizers)


def _error(problem: Problem, time: float | None) -> float:
    if time is not None:
        trajectory = solve_pde(problem, [time], rtol=_RTOL_AT_TIME)
        return float(trajectory.order_parameters.generalization_error[0])
    states = stationary_states(problem)
    return states[-1].generalization_error if states else math.inf


def _default_bounds(problem: Problem, names: tuple[str, ...]) -> list[tuple[float, float]]:
    box = []
    for name in names:
        if name == "input_quantizer":
            box.append((0.1, 6.0))
            continue
        # κ/(S + λ) of unquantized inputs: κ ≤ S^½ makes it the right size for quantized ones too.
        varied = "input_quantizer" in names
        of_inputs = replace(problem, input_quantizer=None) if varied else problem
        targets = np.abs(of_inputs.dynamics.target)
        rms = math.sqrt(float(problem.teacher.probabilities @ np.square(targets)))
        if rms == 0:
            allowed = "must not be 0 alone; give bounds for the range"
            raise ParameterError("teacher", problem.teacher, allowed)
        box.append((0.1 * rms, max(4 * rms, 1.5 * float(targets.max()))))
    return box


def _bounds(bounds: ArrayLike, count: int) -> list[tuple[float, float]]:
    pairs = np.asarray(bounds, dtype=np.float64).reshape(-1, 2)
    ordered = np.isfinite(pairs).all() and (pairs > 0).all() and (pairs[:, 0] < pairs[:, 1]).all()
    if pairs.shape[0] != count or not ordered:
        allowed = f"must be {count} pair(s) of ranges 0 < low < high"
        raise ParameterError("bounds", bounds, allowed)
    return [(float(low), float(high)) for low, high in pairs]


def _refine(
    error: Callable[[Array], float], grids: tuple[Array, ...], scanned: Array
) -> tuple[list[float], float]:
    """Return the best ranges and their ε_g, refined from the lowest minima of the scan."""
    best_index = np.unravel_index(int(np.argmin(scanned)), scanned.shape)
    best = [float(grid[i]) for grid, i in zip(grids, best_index, strict=True)]
    value = float(scanned[best_index])
    for index in _local_minima(scanned)[:_REFINED]:
        start = [math.log(grid[i]) for grid, i in zip(grids, index, strict=True)]
        steps = [math.log(grid[1] / grid[0]) for grid in grids]
        inside = [(math.log(grid[0]), math.log(grid[-1])) for grid in grids]
        box = [
            (max(x - h, low), min(x + h, high))
            for x, h, (low, high) in zip(start, steps, inside, strict=True)
        ]
        point, found = _local_minimum(error, start, box)
        if found < value:
            best, value = [math.exp(x) for x in point], found
    return best, value


def _local_minimum(
    error: Callable[[Array], float], start: list[float], box: list[tuple[float, float]]
) -> tuple[list[float], float]:
    """Minimize within `box`: by golden section in one dimension, Nelder–Mead in two."""
    fit: Any
    if len(start) == 1:
        fit = minimize_scalar(
            lambda x: error(np.array([x])),
            bounds=box[0],
            method="bounded",
            options={"xatol": 1e-7},
        )
    else:
        fit = minimize(
            error,
            np.array(start),
            method="Nelder-Mead",
            bounds=box,
            options={"xatol": 1e-6, "fatol": 1e-12, "maxfev": 200},
        )
    return [float(x) for x in np.atleast_1d(fit.x)], float(fit.fun)


def _local_minima(scanned: Array) -> list[tuple[int, ...]]:
    """Return the indices that no neighbour along an axis undercuts, lowest first."""
    lowest = np.isfinite(scanned)
    for axis in range(scanned.ndim):
        pad = [(1, 1) if a == axis else (0, 0) for a in range(scanned.ndim)]
        padded = np.pad(scanned, pad, constant_values=np.inf)
        left = np.take(padded, range(scanned.shape[axis]), axis=axis)
        right = np.take(padded, range(2, scanned.shape[axis] + 2), axis=axis)
        lowest &= (scanned <= left) & (scanned <= right)
    found = [tuple(int(i) for i in index) for index in np.argwhere(lowest)]
    return sorted(found, key=lambda index: float(scanned[index]))
