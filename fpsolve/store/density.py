"""A `DensityTrajectory` in a file."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

from fpsolve.density.cell_frame import CellFrame
from fpsolve.density.trajectory import DensityTrajectory
from fpsolve.density.view import AnyFrame
from fpsolve.errors import ParameterError
from fpsolve.problem.problem import Problem
from fpsolve.recording.layout import (
    TIME,
    Label,
    read_order_parameters,
    read_variable,
    write_dimension,
    write_order_parameters,
    write_variable,
)
from fpsolve.store.check import check_density, check_shape, check_state, check_times
from fpsolve.store.dense import read_dense, write_dense
from fpsolve.store.frames import read_frames, write_frames

__all__ = ["read", "write", "write_cells"]


def write(file: h5py.File, result: DensityTrajectory) -> None:
    """Write the frames, `density(time, teacher, w)`, and what readers would compute from it."""
    teacher = result.problem.teacher
    write_dimension(file, "time", result.times, TIME)
    write_dimension(file, "teacher", teacher.values, Label("teacher value", "w*"))
    label = Label("probability of the teacher value", "p(w*)")
    write_variable(file, "teacher_probability", teacher.probabilities, ("teacher",), label)
    write_order_parameters(file, result.order_parameters, ("time",))
    write_dense(file, result)
    if not _cells_alone(result):
        write_frames(file, result.frames)
    write_cells(file, result)


def read(file: h5py.File, problem: Problem, stats: dict[str, Any]) -> DensityTrajectory:
    """Return what `write`, or a run, wrote."""
    times, state = read_variable(file, "time"), read_order_parameters(file)
    check_times(times)
    check_state(state, times.shape)
    shape = (times.size, problem.teacher.values.size)
    if "density" in file:
        edges, averages = read_variable(file, "w_edges"), read_variable(file, "density")
        check_density(averages, edges, shape)
        check_shape("teacher", read_variable(file, "teacher"), shape[1:])
    frames: tuple[AnyFrame, ...]
    if "frames" in file:
        frames = read_frames(file, shape)
    else:
        frames = tuple(CellFrame(edges, cells) for cells in averages)
    dense = read_dense(file, times, state)
    return DensityTrajectory(problem, times, frames, state, *dense, stats)


def write_cells(file: h5py.File, result: DensityTrajectory) -> None:
    """Write what readers would compute from the frames, unless the times are too many for it."""
    if _has_view(result):
        _write_view(file, result)
    label = Label("share of the weights in point masses")
    write_variable(file, "frozen", result.frozen, ("time",), label)


def _has_view(result: DensityTrajectory) -> bool:
    """Whether the times are few enough for cell averages; otherwise the frames must do."""
    try:
        return result.edges.size > 0
    except ParameterError:
        return False


def _write_view(file: h5py.File, result: DensityTrajectory) -> None:
    write_dimension(file, "w", result.centers, Label("weight at the cell centre", "w"))
    write_dimension(file, "w_edges", result.edges, Label("weight at the cell edges", "w"))
    label = Label("cell average of the density of w given w*", "mu(w|w*)")
    write_variable(file, "density", result.density, ("time", "teacher", "w"), label)
    _write_cells(file, result)
    label = Label("cell average of the density of w, over all teacher values", "mu(w)")
    probabilities = result.problem.teacher.probabilities
    marginal = np.einsum("k,tkn->tn", probabilities, result.density)
    write_variable(file, "marginal_density", marginal, ("time", "w"), label)
    _write_occupancy(file, result)


def _cells_alone(result: DensityTrajectory) -> bool:
    """Whether `density` says everything: frames that are averages over one mesh."""
    frames = result.frames
    first = frames[0]
    return isinstance(first, CellFrame) and all(
        isinstance(f, CellFrame) and np.array_equal(f.cell_edges, first.cell_edges) for f in frames
    )


def _write_cells(file: h5py.File, result: DensityTrajectory) -> None:
    """Write bounds and widths of the cells, so that a sum of density times width is 1."""
    edges = result.edges
    write_dimension(file, "bound", np.array([0, 1], dtype=np.int8), Label("lower, upper"))
    bounds = np.stack([edges[:-1], edges[1:]], axis=1)
    write_variable(file, "w_bounds", bounds, ("w", "bound"), Label("bounds of the cell", "w"))
    write_variable(file, "w_width", np.diff(edges), ("w",), Label("width of the cell", "dw"))
    file["w"].attrs["bounds"] = "w_bounds"
    file["density"].attrs["cell_methods"] = "w: mean"


def _write_occupancy(file: h5py.File, result: DensityTrajectory) -> None:
    """Write how much of each conditional density rounds to each level; cells end at thresholds."""
    quantizer = result.problem.weight_quantizer
    if quantizer is None:
        return
    write_dimension(file, "level", quantizer.levels, Label("level of the weight quantizer", "v_k"))
    bins = np.searchsorted(quantizer.thresholds, result.centers, side="right")
    member = (bins[:, None] == np.arange(quantizer.levels.size)).astype(np.float64)
    label = Label("share of the weights between the thresholds of the level", "P(psi(w) = v_k|w*)")
    axes = ("time", "teacher", "level")
    write_variable(file, "level_occupancy", result.masses @ member, axes, label)
