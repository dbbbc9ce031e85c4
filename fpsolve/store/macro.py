"""A `MacroTrajectory` in a file."""

from __future__ import annotations

from typing import Any

import h5py

from fpsolve.macro.trajectory import MacroTrajectory
from fpsolve.problem.problem import Problem
from fpsolve.recording.layout import (
    TIME,
    read_order_parameters,
    read_variable,
    write_dimension,
    write_order_parameters,
)
from fpsolve.store.check import check_state, check_times
from fpsolve.store.dense import read_dense, write_dense

__all__ = ["read", "write"]


def write(file: h5py.File, result: MacroTrajectory) -> None:
    """Write the order parameters over `time`."""
    write_dimension(file, "time", result.times, TIME)
    write_order_parameters(file, result.order_parameters, ("time",))
    write_dense(file, result)


def read(file: h5py.File, problem: Problem, stats: dict[str, Any]) -> MacroTrajectory:
    """Return what `write` wrote."""
    times, state = read_variable(file, "time"), read_order_parameters(file)
    check_times(times)
    check_state(state, times.shape)
    return MacroTrajectory(problem, times, state, *read_dense(file, times, state), stats)
