"""What a solver or study answers at one point, as named arrays."""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpsolve.reduction import ORDER_PARAMETER_NAMES

__all__ = ["Answer", "answer_of"]

# Dimension along which the number of values may differ from point to point.
ROOT = "root"


@dataclass(frozen=True, eq=False)
class Answer:
    """Named arrays of one point.

    Attributes
    ----------
    arrays : dict
        Name -> array.
    dimensions : dict
        Name -> names of its dimensions.
    coordinates : dict
        Dimension -> its values, where it has any.
    """

    arrays: dict[str, NDArray[Any]]
    dimensions: dict[str, tuple[str, ...]]
    coordinates: dict[str, NDArray[Any]] = field(default_factory=dict)


def answer_of(found: Any) -> Answer:
    """Return what is kept of `found`; densities and weights need not travel.

    Parameters
    ----------
    found : object
        A trajectory (its order parameters over time), a tuple of states (theirs, along "root"), a
        dataclass (its numbers), a mapping to numbers or arrays, or a number or array.

    Raises
    ------
    TypeError
        If there is nothing numeric in it.
    """
    if hasattr(found, "times") and hasattr(found, "order_parameters"):
        state = found.order_parameters
        dimensions = ("run",) * (state.m.ndim - 1) + ("time",)
        return Answer(
            {name: getattr(state, name) for name in ORDER_PARAMETER_NAMES},
            dict.fromkeys(ORDER_PARAMETER_NAMES, dimensions),
            {"time": np.asarray(found.times)},
        )
    if isinstance(found, tuple) and all(hasattr(s, "order_parameters") for s in found):
        return _states(found)
    if isinstance(found, Mapping):
        return _named({str(name): value for name, value in found.items()})
    if is_dataclass(found):
        scalars = {f.name: getattr(found, f.name) for f in fields(found)}
        return _named({n: v for n, v in scalars.items() if isinstance(v, numbers.Number)})
    return _named({"value": found})


def _states(found: Sequence[Any]) -> Answer:
    arrays = {
        name: np.array([getattr(s.order_parameters, name) for s in found], dtype=np.float64)
        for name in ORDER_PARAMETER_NAMES
    }
    if found and hasattr(found[0], "classification"):  # cheap there, a spectrum elsewhere
        arrays["stable"] = np.array([s.stable for s in found], dtype=np.float64)
    return Answer(arrays, dict.fromkeys(arrays, (ROOT,)))


def _named(values: Mapping[str, Any]) -> Answer:
    arrays = {name: np.asarray(value) for name, value in values.items()}
    for name, array in arrays.items():
        if array.dtype.kind not in "biufc":
            text = "must return numbers, arrays, a mapping to them, a dataclass or a trajectory"
            raise TypeError(f"{text}; {name!r} is a {type(values[name]).__name__}")
    if not arrays:
        raise TypeError("must return at least one number")
    dimensions = {
        name: tuple(f"{name}_{axis}" for axis in range(array.ndim))
        for name, array in arrays.items()
    }
    return Answer(arrays, dimensions)
