"""A `ClosureError` in a file."""

from __future__ import annotations

from typing import Any

import h5py

from fpsolve.problem.problem import Problem
from fpsolve.recording.layout import (
    TIME,
    read_order_parameters,
    read_variable,
    write_dimension,
    write_order_parameters,
)
from fpsolve.store.check import check_state, check_times
from fpsolve.studies.closure_error import ClosureError

__all__ = ["read", "write"]


def write(file: h5py.File, result: ClosureError) -> None:
    """Write the differences, and both minuends with the prefixes `exact_` and `closure_`."""
    write_dimension(file, "time", result.times, TIME)
    write_order_parameters(file, result.order_parameters, ("time",))
    write_order_parameters(file, result.exact, ("time",), prefix="exact_")
    write_order_parameters(file, result.closure, ("time",), prefix="closure_")


def read(file: h5py.File, problem: Problem, stats: dict[str, Any]) -> ClosureError:
    """Return what `write` wrote."""
    times = read_variable(file, "time")
    check_times(times)
    difference, exact, closure = (
        read_order_parameters(file, prefix) for prefix in ("", "exact_", "closure_")
    )
    for part in (difference, exact, closure):
        check_state(part, times.shape)
    return ClosureError(problem, times, difference, exact, closure, stats)
