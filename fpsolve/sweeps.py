"""`sweep`: one solver over a grid of problems."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fpsolve.display import Shown, span
from fpsolve.errors import FpsolveError, ParameterError
from fpsolve.problem.initial import GaussianInitial
from fpsolve.problem.problem import Problem
from fpsolve.problem.quantizer import StepQuantizer
from fpsolve.problem.teacher import Teacher
from fpsolve.progress import progress_to
from fpsolve.reduction import ORDER_PARAMETER_NAMES, OrderParameters

__all__ = ["SweepResult", "problem_with", "sweep"]

Array = NDArray[np.float64]

# Why a point has no solution when Ctrl-C came first.
_NOT_REACHED = "interrupted before it was solved"


class Trajectory(Protocol):
    """What a solver returns: times and the order parameters over them."""

    @property
    def times(self) -> Array:
        """Times τ, shape (T,)."""

    @property
    def order_parameters(self) -> OrderParameters:
        """Each of shape (T,) or (runs, T)."""


class Mapper(Protocol):
    """An executor: `concurrent.futures` pools, `mpi4py.futures`, `multiprocessing.Pool` …"""

    def map(self, fn: Callable[..., Any], iterable: Iterable[Any], /) -> Iterable[Any]:
        """Apply `fn` to every item, results in order."""


@dataclass(frozen=True, eq=False, repr=False)
class SweepResult(Shown):
    """Order parameters over a grid of problems.

    Attributes
    ----------
    base : Problem
        The problem whose fields were varied.
    axes : dict
        Dotted field name -> tuple of its values, in the order of the leading dimensions.
    times : ndarray, shape (T,)
        Times τ (dimensionless).
    order_parameters : OrderParameters
        Each of shape (axis lengths…, T), or (axis lengths…, runs, T) for particles; NaN exactly
        at the points named in `errors`.
    errors : dict
        Index of a point that failed -> why it failed.
    stats : dict
        "solver" and "options" of the sweep, and whether it was "interrupted".
    """

    base: Problem
    axes: dict[str, tuple[Any, ...]]
    times: Array
    order_parameters: OrderParameters
    errors: dict[tuple[int, ...], str]
    stats: dict[str, Any]

    def _shown(self) -> dict[str, object]:
        return {
            "axes": ", ".join(f"{name} ({len(values)})" for name, values in self.axes.items()),
            "times": span(self.times),
            "errors": len(self.errors),
        }

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of values along each axis."""
        return tuple(len(values) for values in self.axes.values())

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Names of the dimensions of every order parameter."""
        runs = ("run",) * (self.order_parameters.m.ndim - len(self.axes) - 1)
        return (*self.axes, *runs, "time")

    @property
    def not_reached(self) -> frozenset[tuple[int, ...]]:
        """Indices of the points that Ctrl-C left unsolved."""
        return frozenset(i for i, error in self.errors.items() if error == _NOT_REACHED)

    def problem(self, index: tuple[int, ...]) -> Problem:
        """Return the problem solved at `index`; axes without an entry keep the base's value."""
        return _problem_at(self.base, self.axes, index)

    def to_xarray(self) -> Any:
        """Return an `xarray.Dataset` with one variable an order parameter (needs xarray)."""
        import xarray  # an optional companion, only here

        coordinates: dict[str, Any] = {
            name: [axis_label(value) for value in values] for name, values in self.axes.items()
        }
        coordinates["time"] = self.times
        return xarray.Dataset(
            {
                n: (self.dimensions, getattr(self.order_parameters, n))
                for n in ORDER_PARAMETER_NAMES
            },
            coords=coordinates,
            attrs={"problem": self.base.to_toml()},
        )


def sweep(
    base: Problem,
    axes: Mapping[str, Sequence[Any]],
    solve: Callable[..., Trajectory],
    *,
    executor: Mapper | None = None,
    progress: bool = False,
    **solve_options: Any,
) -> SweepResult:
    """Solve a grid of problems, the product of all `axes`.

    Parameters
    ----------
    base : Problem
        Holds whatever the axes do not vary.
    axes : mapping
        Dotted field name of `Problem` -> values, e.g. `{"weight_quantizer.omega": [0.5, 1.0],
        "learning_rate": [0.01, 0.04], "teacher": [Teacher.rademacher()]}`.
    solve : callable
        `solve_pde`, `solve_ode`, `simulate_ste`, `simulate_sde`, or anything that is called as
        `solve(problem, **solve_options)` and returns a trajectory.
    executor : optional
        Whatever has an ordered `map`: a thread or process pool of `concurrent.futures`,
        `mpi4py.futures` or `multiprocessing.Pool`. None solves one point after the other.
    progress : bool, default False
        Whether to show progress over the points.
    **solve_options
        Passed to `solve`, e.g. `times=[0, 10, 100]`.

    Returns
    -------
    SweepResult
        A point that raises `SolveError` or `ParameterError` is recorded in its `errors`. After
        Ctrl-C the points that were not reached are there too, what was solved is kept, and
        `stats["interrupted"]` is True.

    Raises
    ------
    ParameterError
        If an axis is empty, names no field, or a value is not allowed there; nothing has been
        solved then.
    """
    checked = {name: _axis(name, values) for name, values in axes.items()}
    if not checked:
        raise ParameterError("axes", dict(axes), 'must name a field, e.g. {"learning_rate": [0.1]}')
    shape = tuple(len(values) for values in checked.values())
    indices = list(itertools.product(*(range(n) for n in shape)))
    problems = [_problem_at(base, checked, index) for index in indices]
    work = partial(_solve_point, solve, solve_options)
    outcomes: list[tuple[Array, OrderParameters] | str] = []
    interrupted = False
    with progress_to(len(problems), "sweep", shown=progress, unit="points") as shown:
        try:
            solving = map(work, problems) if executor is None else executor.map(work, problems)
            for outcome in solving:
                outcomes.append(outcome)
                shown.reach(len(outcomes))
        except KeyboardInterrupt:
            interrupted = True
    outcomes += [_NOT_REACHED] * (len(problems) - len(outcomes))
    errors = {i: o for i, o in zip(indices, outcomes, strict=True) if isinstance(o, str)}
    solved = {i: o for i, o in zip(indices, outcomes, strict=True) if not isinstance(o, str)}
    times, state = _assemble(shape, solved, solve_options)
    stats = {**_stats(solve, solve_options), "interrupted": interrupted}
    return SweepResult(base, checked, times, state, errors, stats)


def problem_with(problem: Problem, name: str, value: Any) -> Problem:
    """Return `problem` with the field of dotted `name` replaced, e.g. "weight_quantizer.omega"."""
    head, _, tail = name.partition(".")
    known = {f.name for f in fields(Problem)}
    if head not in known:
        raise ParameterError("axes", name, f"must start with one of {', '.join(sorted(known))}")
    if not tail:
        return replace(problem, **{head: value})
    part = getattr(problem, head)
    # What a part is made of is what its constructor asks for, and it keeps each under that name.
    composed = isinstance(part, StepQuantizer | Teacher | GaussianInitial)
    arguments = list(inspect.signature(type(part)).parameters) if composed else []
    if tail not in arguments:
        has = ", ".join(f"{head}.{a}" for a in arguments) or "no fields"
        raise ParameterError("axes", name, f"is not a field; {head} = {part!r} has {has}")
    kept = {argument: getattr(part, argument) for argument in arguments}
    return replace(problem, **{head: type(part)(**{**kept, tail: value})})


def axis_label(value: Any) -> Any:
    """Return a number or text as it is, anything else as the text that shows it."""
    return value if isinstance(value, int | float | str) else repr(value)


def _axis(name: str, values: Sequence[Any]) -> tuple[Any, ...]:
    if isinstance(values, str | bytes) or not hasattr(values, "__iter__"):
        raise ParameterError(f"axes[{name!r}]", values, "must be a list of values")
    listed = values.tolist() if isinstance(values, np.ndarray) else list(values)
    plain = tuple(v.item() if isinstance(v, np.generic) else v for v in listed)
    if not plain:
        raise ParameterError(f"axes[{name!r}]", values, "must hold at least one value")
    if any(isinstance(v, float) for v in plain) and all(isinstance(v, int | float) for v in plain):
        return tuple(float(v) for v in plain)
    return plain


def _problem_at(base: Problem, axes: Mapping[str, Sequence[Any]], index: Sequence[int]) -> Problem:
    problem = base
    for (name, values), i in zip(axes.items(), index, strict=False):
        try:
            problem = problem_with(problem, name, values[i])
        except ParameterError as error:
            if error.field == "axes":
                raise
            raise ParameterError(f"axes[{name!r}]", values[i], error.allowed) from None
    return problem


def _solve_point(
    solve: Callable[..., Trajectory], options: Mapping[str, Any], problem: Problem
) -> tuple[Array, OrderParameters] | str:
    """Return times and order parameters only: densities and weights need not travel back."""
    try:
        trajectory = solve(problem, **options)
    except FpsolveError as error:
        return str(error)
    if getattr(trajectory, "stats", {}).get("interrupted"):  # A simulation that ended early.
        raise KeyboardInterrupt
    return trajectory.times, trajectory.order_parameters


def _assemble(
    shape: tuple[int, ...],
    solved: Mapping[tuple[int, ...], tuple[Array, OrderParameters]],
    options: Mapping[str, Any],
) -> tuple[Array, OrderParameters]:
    if solved:
        times, first = next(iter(solved.values()))
        trailing = first.m.shape
    else:
        times = np.atleast_1d(np.asarray(options.get("times", [np.nan]), dtype=np.float64))
        trailing = times.shape
    arrays = {n: np.full((*shape, *trailing), np.nan) for n in ORDER_PARAMETER_NAMES}
    for index, (point_times, state) in solved.items():
        if not np.array_equal(point_times, times):
            allowed = "must return the same times at every point"
            raise ParameterError("solve", point_times, allowed)
        for name, array in arrays.items():
            array[index] = getattr(state, name)
    return times, OrderParameters(**arrays)


def _stats(solve: Callable[..., Trajectory], options: Mapping[str, Any]) -> dict[str, Any]:
    plain = {
        name: value if isinstance(value, bool | int | float | str | None) else repr(value)
        for name, value in options.items()
        if name != "times"
    }
    return {"solver": getattr(solve, "__name__", repr(solve)), "options": plain}
