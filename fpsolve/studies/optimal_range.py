"""The quantization range that serves best at a given number of bits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize, minimize_scalar

from fpsolve.density.solve import solve_pde
from fpsolve.display import Shown
from fpsolve.errors import ParameterError
from fpsolve.macro.stationary import stationary_states
from fpsolve.macro.stationary_state import StationaryState
from fpsolve.problem.checks import finite, integer, readonly_vector
from fpsolve.problem.problem import Problem
from fpsolve.problem.quantizer import UniformQuantizer
from fpsolve.progress import Callback, progress_to
from fpsolve.reduction import OrderParameters
from fpsolve.studies.search import Search

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
    stats : dict
        "evaluations": ranges tried in all; "interrupted": whether a callback ended the search.
    """

    problem: Problem
    which: str
    time: float | None
    generalization_error: float
    omega: float | None
    omega_x: float | None
    scanned: tuple[Array, ...]
    scanned_error: Array
    stats: dict[str, Any] = field(default_factory=dict)

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
    progress: bool = False,
    callback: Callback = None,
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
    progress : bool, default False
        Whether to show progress over the ranges scanned.
    callback : callable, optional
        Called with every range tried (for "both" with the pair) and the `OrderParameters` there,
        each of shape (), None where training diverges; if it returns a true value the search ends,
        with the best of what it has tried.

    Returns
    -------
    OptimalRange
        The curve has a local minimum wherever levels fall on the targets, so it is scanned, and
        the lowest few minima are refined. Minima narrower than the scan's spacing can be missed.
        What a callback has left out of the scan is not in `scanned`: of a grid its last rows.

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

    mesh = np.stack(np.meshgrid(*(np.log(g) for g in grids), indexing="ij"), axis=-1)
    shape = mesh.shape[:-1]
    with progress_to(math.prod(shape), "optimal_range", shown=progress, unit="ranges") as bar:
        search = Search(callback, bar)

        def error(log_ranges: Array) -> float:
            ranges = tuple(np.clip(np.exp(log_ranges), *np.transpose(box)).tolist())
            value, state = _outcome(_with_ranges(problem, names, ranges), time)
            return search.tell(ranges if len(names) > 1 else ranges[0], value, state)

        with search:
            scanned = np.apply_along_axis(error, -1, mesh)
            _refine(error, grids, scanned)
    best, least = search.best
    found = dict(zip(names, np.atleast_1d(best).tolist(), strict=True))
    along, values = _reached(grids, [value for _, value in search.tried[: mesh[..., 0].size]])
    return OptimalRange(
        problem=_with_ranges(problem, names, list(found.values())),
        which=which,
        time=time,
        generalization_error=least,
        omega=found.get("weight_quantizer"),
        omega_x=found.get("input_quantizer"),
        scanned=along,
        scanned_error=values,
        stats=search.stats,
    )


def _reached(grids: tuple[Array, ...], values: list[float]) -> tuple[tuple[Array, ...], Array]:
    """Return the ranges scanned and ε_g there, of a grid the whole rows unless it has none."""
    if len(grids) == 1:
        return (grids[0][: len(values)],), np.array(values)
    rows, columns = divmod(len(values), grids[1].size)
    shape = (rows, grids[1].size) if rows else (1, columns)
    along = (grids[0][: shape[0]], grids[1][: shape[1]])
    return along, np.reshape(values[: math.prod(shape)], shape)


def range_curve(
    problem: Problem,
    ranges: ArrayLike,
    *,
    which: str = "weights",
    time: float | None = None,
    progress: bool = False,
    callback: Callback = None,
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
    progress, callback
        As for `optimal_range`.

    Returns
    -------
    ndarray, shape (N,)
        ε_g, stationary unless a time τ is given; inf where training diverges. Where a callback has
        stopped it it is that short.

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
    shown = progress_to(values.size, "range_curve", shown=progress, unit="ranges")
    with shown as bar, Search(callback, bar) as search:
        for omega in values.tolist():
            search.tell(omega, *_outcome(_with_ranges(problem, names, [omega]), time))
    return np.array([value for _, value in search.tried])


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


def _outcome(
    problem: Problem, time: float | None
) -> tuple[float, OrderParameters | StationaryState | None]:
    """Return ε_g at a time or at rest, and the state there; inf and None where there is none."""
    if time is not None:
        state = solve_pde(problem, [time], rtol=_RTOL_AT_TIME).order_parameters[0]
        return float(state.generalization_error), state
    states = stationary_states(problem)
    if not states:
        return math.inf, None
    return states[-1].generalization_error, states[-1]


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


def _refine(error: Callable[[Array], float], grids: tuple[Array, ...], scanned: Array) -> None:
    """Search from the lowest minima of the scan."""
    for index in _local_minima(scanned)[:_REFINED]:
        start = [math.log(grid[i]) for grid, i in zip(grids, index, strict=True)]
        steps = [math.log(grid[1] / grid[0]) for grid in grids]
        inside = [(math.log(grid[0]), math.log(grid[-1])) for grid in grids]
        box = [
            (max(x - h, low), min(x + h, high))
            for x, h, (low, high) in zip(start, steps, inside, strict=True)
        ]
        _minimize(error, start, box)


def _minimize(
    error: Callable[[Array], float], start: list[float], box: list[tuple[float, float]]
) -> None:
    """Minimize within `box`: by golden section in one dimension, Nelder–Mead in two."""
    options: Any
    if len(start) == 1:
        options = {"xatol": 1e-7}
        one: Callable[[float], float] = lambda x: error(np.array([x]))  # noqa: E731
        minimize_scalar(one, bounds=box[0], method="bounded", options=options)
        return
    options = {"xatol": 1e-6, "fatol": 1e-12, "maxfev": 200}
    minimize(error, np.array(start), method="Nelder-Mead", bounds=box, options=options)


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
