"""A `DensityTrajectory` in a file."""

from __future__ import annotations

import h5py

from fpsolve.density.cell_frame import CellFrame
from fpsolve.density.trajectory import DensityTrajectory
from fpsolve.problem.problem import Problem
from fpsolve.store.layout import (
    Label,
    read_json,
    read_order_parameters,
    read_variable,
    write_dimension,
    write_json,
    write_order_parameters,
    write_variable,
)

__all__ = ["read_density", "write_density"]


def write_density(file: h5py.File, result: DensityTrajectory) -> None:
    """Write `density(time, teacher, w)`, `w_edges` and the order parameters over `time`."""
    write_dimension(file, "time", result.times, Label("time, steps/dimension", "tau"))
    values = result.problem.teacher.values
    write_dimension(file, "teacher", values, Label("teacher value", "w*"))
    write_dimension(file, "w", result.centers, Label("weight at the cell centre", "w"))
    write_dimension(file, "w_edges", result.edges, Label("weight at the cell edges", "w"))
    write_variable(
        file,
        "teacher_probability",
        result.problem.teacher.probabilities,
        ("teacher",),
        Label("probability of the teacher value", "p(w*)"),
    )
    label = Label("cell average of the density of w given w*", "mu(w|w*)")
    write_variable(file, "density", result.density, ("time", "teacher", "w"), label)
    write_order_parameters(file, result.order_parameters, ("time",))
    write_dimension(file, "dense_time", result.dense_times, Label("time of a step", "tau"))
    write_order_parameters(file, result.dense_order_parameters, ("dense_time",), prefix="dense_")
    write_json(file, "stats", result.stats)


def read_density(file: h5py.File, problem: Problem) -> DensityTrajectory:
    """Return what `write_density` wrote."""
    edges, averages = read_variable(file, "w_edges"), read_variable(file, "density")
    return DensityTrajectory(
        problem=problem,
        times=read_variable(file, "time"),
        frames=tuple(CellFrame(edges, cells) for cells in averages),
        order_parameters=read_order_parameters(file),
        dense_times=read_variable(file, "dense_time"),
        dense_order_parameters=read_order_parameters(file, prefix="dense_"),
        stats=read_json(file, "stats"),
    )
