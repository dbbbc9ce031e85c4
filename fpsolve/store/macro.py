"""A `MacroTrajectory` in a file."""

from __future__ import annotations

import h5py

from fpsolve.macro.trajectory import MacroTrajectory
from fpsolve.problem.problem import Problem
from fpsolve.store.layout import (
    Label,
    read_json,
    read_order_parameters,
    read_variable,
    write_dimension,
    write_json,
    write_order_parameters,
)

__all__ = ["read_macro", "write_macro"]


def write_macro(file: h5py.File, result: MacroTrajectory) -> None:
    """Write the order parameters over `time`."""
    write_dimension(file, "time", result.times, Label("time, steps/dimension", "tau"))
    write_order_parameters(file, result.order_parameters, ("time",))
    write_dimension(file, "dense_time", result.dense_times, Label("time of a step", "tau"))
    write_order_parameters(file, result.dense_order_parameters, ("dense_time",), prefix="dense_")
    write_json(file, "stats", result.stats)


def read_macro(file: h5py.File, problem: Problem) -> MacroTrajectory:
    """Return what `write_macro` wrote."""
    return MacroTrajectory(
        problem=problem,
        times=read_variable(file, "time"),
        order_parameters=read_order_parameters(file),
        dense_times=read_variable(file, "dense_time"),
        dense_order_parameters=read_order_parameters(file, prefix="dense_"),
        stats=read_json(file, "stats"),
    )
