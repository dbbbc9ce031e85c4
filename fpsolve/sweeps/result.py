"""`SweepResult`: a labelled cube of answers, with status and cost at every point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.display import Shown, span
from fpsolve.errors import ParameterError
from fpsolve.problem.problem import Problem
from fpsolve.reduction import ORDER_PARAMETER_NAMES, OrderParameters
from fpsolve.sweeps.answer import ROOT, Answer
from fpsolve.sweeps.axes import PROBLEM_AXIS, Axes, axis_fields, axis_label
from fpsolve.sweeps.batch import Outcome
from fpsolve.sweeps.keys import point_seed

__all__ = ["ELSEWHERE", "FAILED", "INTERRUPTED", "NOT_REACHED", "SOLVED", "SweepResult", "gather"]

Array = NDArray[np.float64]

# Status of a point.
SOLVED, FAILED, NOT_REACHED = 0, 1, 2
# Why a point has no solution that nobody has tried to find.
INTERRUPTED = "interrupted before it was solved"
ELSEWHERE = "belongs to a part of the sweep that is not there"


@dataclass(frozen=True, eq=False, repr=False)
class SweepResult(Shown):
    """Answers over many problems (dimensionless, but for `cost` in seconds).

    Attributes
    ----------
    base : Problem
        The problem whose fields were varied.
    axes : dict
        Axis -> tuple of its values, in the order of the leading dimensions. An axis is a dotted
        field name, several joined by "+" (values are tuples then), or "problem" (a list of them).
    arrays : dict
        Name -> array of shape (axis lengths…, …), NaN exactly at the points named in `errors` and
        where a point has fewer roots than others.
    inner : dict
        Name -> dimensions of that array after those of the axes, e.g. ("time",) or ("root",).
    coordinates : dict
        Inner dimension -> its values, where it has any.
    cost : ndarray, shape (axis lengths…)
        Seconds each point took; NaN where it was not solved.
    errors : dict
        Index of a point without a solution -> why it has none.
    stats : dict
        "solver" and "options" of the sweep, and whether it was "interrupted".
    """

    base: Problem
    axes: dict[str, tuple[Any, ...]]
    arrays: dict[str, NDArray[Any]]
    inner: dict[str, tuple[str, ...]]
    coordinates: dict[str, NDArray[Any]]
    cost: Array
    errors: dict[tuple[int, ...], str]
    stats: dict[str, Any]

    def _shown(self) -> dict[str, object]:
        axes = ", ".join(f"{name} ({len(values)})" for name, values in self.axes.items())
        told: dict[str, object] = {"axes": axes}
        if "time" in self.coordinates:
            told["times"] = span(self.times)
        else:
            told["arrays"] = ", ".join(self.arrays)
        return {**told, "errors": len(self.errors)}

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return the array `name`."""
        if name not in self.arrays:
            raise ParameterError("name", name, f"must be one of {', '.join(self.arrays)}")
        return self.arrays[name]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of values along each axis."""
        return tuple(len(values) for values in self.axes.values())

    @property
    def times(self) -> Array:
        """Times τ of trajectories, shape (T,) (dimensionless)."""
        if "time" not in self.coordinates:
            solver = self.stats["solver"]
            raise ParameterError("times", None, f"are not what {solver} answers; see `arrays`")
        return self.coordinates["time"]

    @property
    def order_parameters(self) -> OrderParameters:
        """Order parameters, each of shape (axis lengths…, T), (…, runs, T) or (…, roots)."""
        return OrderParameters(**{name: self[name] for name in ORDER_PARAMETER_NAMES})

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Names of the dimensions of the first array; of every order parameter, if there are."""
        return (*self.axes, *next(iter(self.inner.values()), ()))

    @property
    def status(self) -> NDArray[np.int8]:
        """0 where a point is solved, 1 failed, 2 not reached, of shape (axis lengths…)."""
        status = np.zeros(self.shape, dtype=np.int8)
        missing = self.not_reached
        for index in self.errors:
            status[index] = NOT_REACHED if index in missing else FAILED
        return status

    @property
    def not_reached(self) -> frozenset[tuple[int, ...]]:
        """Indices of the points that Ctrl-C or another part left unsolved."""
        untried = (INTERRUPTED, ELSEWHERE)
        return frozenset(i for i, error in self.errors.items() if error in untried)

    def problem(self, index: tuple[int, ...]) -> Problem:
        """Return the problem solved at `index`; axes without an entry keep the base's value."""
        return Axes(self.base, self.axes).problem(index)

    def seed(self, index: tuple[int, ...]) -> int | None:
        """Return the seed of the streams at `index`; None if the solver was given none."""
        seed = self.stats["options"].get("seed")
        return None if seed is None else point_seed(seed, self.problem(index))

    def to_xarray(self) -> Any:
        """Return an `xarray.Dataset` of all arrays, `status` and `cost` (needs xarray)."""
        import xarray  # an optional companion, only here

        coordinates: dict[str, Any] = {n: (n, v) for n, v in self.coordinates.items()}
        for name, values in self.axes.items():
            fields = axis_fields(name)
            if len(fields) == 1:
                coordinates[name] = (name, [axis_label(value) for value in values])
            elif name == PROBLEM_AXIS:
                coordinates[name] = (name, np.arange(len(values)))
            for position, field in enumerate(fields if len(fields) > 1 else ()):
                coordinates[field] = (name, [axis_label(value[position]) for value in values])
        variables = {n: ((*self.axes, *self.inner[n]), a) for n, a in self.arrays.items()}
        variables["status"] = (tuple(self.axes), self.status)
        variables["cost"] = (tuple(self.axes), self.cost)
        attributes = {"problem": self.base.to_toml(), "solver": self.stats["solver"]}
        return xarray.Dataset(variables, coords=coordinates, attrs=attributes)


def gather(
    axes: Axes,
    outcomes: Mapping[int, Outcome],
    missing: str,
    stats: dict[str, Any],
    times: ArrayLike,
) -> SweepResult:
    """Return the cube of outcomes by flat number; `missing` is why others are not there.

    Where nothing was solved its order parameters over `times` are all NaN.
    """
    shape = axes.shape
    errors: dict[tuple[int, ...], str] = {}
    cost = np.full(shape, np.nan)
    solved: dict[tuple[int, ...], Answer] = {}
    for number, index in enumerate(axes.indices()):
        outcome = outcomes.get(number)
        if outcome is None:
            errors[index] = missing
            continue
        cost[index] = outcome.seconds
        if outcome.answer is None:
            errors[index] = outcome.error
        else:
            solved[index] = outcome.answer
    first = next(iter(solved.values()), _nothing(times))
    for index, answer in list(solved.items()):
        misfit = _misfit(first, answer)
        if misfit:
            errors[index] = f"{misfit} than the first point"
            del solved[index]
    arrays = {name: _stack(shape, name, first, solved) for name in first.arrays}
    return SweepResult(
        axes.base,
        axes.values,
        arrays,
        first.dimensions,
        first.coordinates,
        cost,
        dict(sorted(errors.items())),
        stats,
    )


def _nothing(times: ArrayLike) -> Answer:
    along = np.atleast_1d(np.asarray(times, dtype=np.float64))
    arrays = {name: np.full(along.shape, np.nan) for name in ORDER_PARAMETER_NAMES}
    return Answer(arrays, dict.fromkeys(arrays, ("time",)), {"time": along})


def _misfit(first: Answer, answer: Answer) -> str:
    """Return what keeps an answer from lying in one array with the first, if anything does."""
    if answer.dimensions.keys() - {"stable"} != first.dimensions.keys() - {"stable"}:
        return "answers other names"
    for name, dimensions in answer.dimensions.items():
        ragged = ROOT in dimensions
        if not ragged and answer.arrays[name].shape != first.arrays[name].shape:
            return f"answers another shape of {name}, {answer.arrays[name].shape},"
    for name, along in first.coordinates.items():
        if not np.array_equal(answer.coordinates.get(name, ()), along):
            return f"answers at another {name}"
    return ""


def _stack(
    shape: tuple[int, ...], name: str, first: Answer, solved: Mapping[tuple[int, ...], Answer]
) -> NDArray[Any]:
    parts = {
        index: answer.arrays[name] for index, answer in solved.items() if name in answer.arrays
    }
    kinds = [part.dtype for part in parts.values()] or [np.dtype(np.float64)]
    kind = np.complex128 if any(k.kind == "c" for k in kinds) else np.float64
    if ROOT not in first.dimensions[name]:
        stacked = np.full((*shape, *first.arrays[name].shape), np.nan, dtype=kind)
        for index, part in parts.items():
            stacked[index] = part
        return stacked
    most = max((part.size for part in parts.values()), default=1)
    stacked = np.full((*shape, max(most, 1)), np.nan, dtype=kind)
    for index, part in parts.items():
        stacked[index][: part.size] = part
    return stacked
