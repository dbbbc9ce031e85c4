"""Axes of a sweep: which fields of a problem take which values."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpsolve.errors import ParameterError
from fpsolve.problem.checks import finite, integer
from fpsolve.problem.problem import Problem

__all__ = [
    "PROBLEM_AXIS",
    "Axes",
    "axis_fields",
    "axis_label",
    "problem_at",
    "problem_with",
    "sample_axes",
]

# Name of the axis along which a list of problems lies.
PROBLEM_AXIS = "problem"
# What joins the fields of an axis along which several change together.
_JOINT = "+"


@dataclass(frozen=True, eq=False)
class Axes:
    """A base problem and the values its fields take: the product of all axes.

    Attributes
    ----------
    base : Problem
        Holds whatever the axes do not vary.
    values : dict
        Axis name -> tuple of its values, in the order of the leading dimensions of a result.
    """

    base: Problem
    values: dict[str, tuple[Any, ...]]

    @classmethod
    def of(cls, base: Problem | Sequence[Problem], axes: Mapping[str, Sequence[Any]]) -> Axes:
        """Check every value of every axis; `ParameterError` names the axis and the value."""
        values: dict[str, tuple[Any, ...]] = {}
        if not isinstance(base, Problem):
            listed = tuple(base)
            if not listed or not all(isinstance(p, Problem) for p in listed):
                raise ParameterError("base", base, "must be a Problem or a list of Problems")
            base, values[PROBLEM_AXIS] = listed[0], listed
        values.update({name: _axis(name, given) for name, given in axes.items()})
        if not values:
            allowed = 'must name a field, e.g. {"learning_rate": [0.1]}'
            raise ParameterError("axes", dict(axes), allowed)
        made = cls(base, values)
        _refuse_twice(made.values)
        for position, name in enumerate(made.values):
            before = (0,) * position
            for i in range(len(made.values[name])):
                made.problem((*before, i))
        return made

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of values along each axis."""
        return tuple(len(values) for values in self.values.values())

    def indices(self) -> Iterator[tuple[int, ...]]:
        """Yield the index of every point, the last axis fastest."""
        return itertools.product(*(range(n) for n in self.shape))

    def index(self, number: int) -> tuple[int, ...]:
        """Return the index of the point with flat number `number`."""
        return tuple(int(i) for i in np.unravel_index(number, self.shape))

    def at(self, index: Sequence[int]) -> tuple[Any, ...]:
        """Return the value of each axis at `index`."""
        return tuple(v[i] for v, i in zip(self.values.values(), index, strict=False))

    def problem(self, index: Sequence[int]) -> Problem:
        """Return the problem at `index`; axes without an entry keep the base's value."""
        return problem_at(self.base, tuple(self.values), self.at(index))


def problem_at(base: Problem, names: Sequence[str], values: Sequence[Any]) -> Problem:
    """Return `base` with the fields of the named axes set; later names may have no value."""
    problem = base
    for name, value in zip(names, values, strict=False):
        try:
            problem = _with_axis(problem, name, value)
        except ParameterError as error:
            if error.field == "axes":
                raise
            raise ParameterError(f"axes[{name!r}]", value, error.allowed) from None
    return problem


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
    composed = hasattr(part, "__dict__")
    arguments = list(inspect.signature(type(part)).parameters) if composed else []
    if tail not in arguments:
        has = ", ".join(f"{head}.{a}" for a in arguments) or "no fields"
        raise ParameterError("axes", name, f"is not a field; {head} = {part!r} has {has}")
    kept = {argument: getattr(part, argument) for argument in arguments}
    return replace(problem, **{head: type(part)(**{**kept, tail: value})})


def axis_fields(name: str) -> tuple[str, ...]:
    """Return the fields that vary along an axis, none for a list of problems."""
    return () if name == PROBLEM_AXIS else tuple(name.split(_JOINT))


def axis_label(value: Any) -> Any:
    """Return a number or text as it is, anything else as the text that shows it."""
    return value if isinstance(value, int | float | str) else repr(value)


def sample_axes(
    ranges: Mapping[str, tuple[float, float] | tuple[float, float, str]],
    points: int,
    *,
    method: str = "sobol",
    seed: int = 0,
) -> dict[str, list[tuple[float, ...]]]:
    """Return one axis of random points that fill a box evenly, for `sweep`.

    Parameters
    ----------
    ranges : mapping
        Dotted field name -> (low, high), dimensionless, or (low, high, "log") to be even in
        the logarithm.
    points : int
        How many; powers of two balance a Sobol sequence best.
    method : {"sobol", "halton", "latin-hypercube"}
        Scrambled sequence of `scipy.stats.qmc`.
    seed : int, default 0
        Of the scrambling: the same points every time.

    Returns
    -------
    dict
        One axis, whose name joins the fields by "+": along it they change together.

    Raises
    ------
    ParameterError
        If a range is empty or not positive on a logarithmic scale, or an option is out of range.
    """
    from scipy.stats import qmc  # heavy, and only here

    samplers = {"sobol": qmc.Sobol, "halton": qmc.Halton, "latin-hypercube": qmc.LatinHypercube}
    if method not in samplers:
        raise ParameterError("method", method, f"must be one of {', '.join(samplers)}")
    count = integer("points", points, least=1)
    if not ranges:
        raise ParameterError("ranges", ranges, 'must name a field, e.g. {"ridge": (0.0, 1.0)}')
    sampler = samplers[method](len(ranges), rng=integer("seed", seed, least=0))
    if method == "sobol":  # the next power of two is drawn, since only that many are balanced
        unit = sampler.random_base2(max(count - 1, 0).bit_length())[:count]
    else:
        unit = sampler.random(count)
    columns = [
        _stretch(name, bounds, column)
        for (name, bounds), column in zip(ranges.items(), unit.T, strict=True)
    ]
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    if len(ranges) == 1:
        return {next(iter(ranges)): [row[0] for row in rows]}
    return {_JOINT.join(ranges): rows}


def _stretch(name: str, bounds: Sequence[Any], unit: NDArray[np.float64]) -> NDArray[np.float64]:
    field = f"ranges[{name!r}]"
    if len(bounds) not in (2, 3) or (len(bounds) == 3 and bounds[2] != "log"):
        raise ParameterError(field, bounds, 'must be (low, high) or (low, high, "log")')
    low, high = finite(field, bounds[0]), finite(field, bounds[1])
    if not low < high:
        raise ParameterError(field, bounds, "must hold low < high")
    if len(bounds) == 2:
        return low + (high - low) * unit
    if low <= 0:
        raise ParameterError(field, bounds, "must be > 0 on a logarithmic scale")
    stretched: NDArray[np.float64] = np.exp(np.log(low) + np.log(high / low) * unit)
    return stretched


def _with_axis(problem: Problem, name: str, value: Any) -> Problem:
    names = axis_fields(name)
    if not names:
        return value  # type: ignore[no-any-return]
    for field, part in zip(names, value if len(names) > 1 else (value,), strict=True):
        problem = problem_with(problem, field, part)
    return problem


def _axis(name: str, values: Sequence[Any]) -> tuple[Any, ...]:
    if isinstance(values, str | bytes) or not hasattr(values, "__iter__"):
        raise ParameterError(f"axes[{name!r}]", values, "must be a list of values")
    listed = values.tolist() if isinstance(values, np.ndarray) else list(values)
    if not listed:
        raise ParameterError(f"axes[{name!r}]", values, "must hold at least one value")
    together = len(axis_fields(name))
    if together < 2:
        return _plain(listed)
    for row in listed:
        if not isinstance(row, list | tuple) or len(row) != together:
            allowed = f"must hold {together} values, one for each field"
            raise ParameterError(f"axes[{name!r}]", row, allowed)
    return tuple(zip(*(_plain(column) for column in zip(*listed, strict=True)), strict=True))


def _plain(listed: Sequence[Any]) -> tuple[Any, ...]:
    plain = tuple(v.item() if isinstance(v, np.generic) else v for v in listed)
    if any(isinstance(v, float) for v in plain) and all(isinstance(v, int | float) for v in plain):
        return tuple(float(v) for v in plain)
    return plain


def _refuse_twice(axes: Mapping[str, Any]) -> None:
    seen: set[str] = set()
    for name in axes:
        for field in axis_fields(name):
            if field in seen:
                raise ParameterError("axes", field, "is varied twice; name every field once")
            seen.add(field)
