"""A `ParticleTrajectory` in a file."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

from fpsolve.errors import StoreError
from fpsolve.particles.state import RunState
from fpsolve.particles.trajectory import ParticleTrajectory
from fpsolve.problem.problem import Problem
from fpsolve.recording.groups import read_group, write_group
from fpsolve.recording.layout import (
    TIME,
    Label,
    read_order_parameters,
    read_variable,
    write_dimension,
    write_order_parameters,
    write_variable,
)
from fpsolve.store.check import check_finite, check_shape, check_state, check_times

__all__ = ["read", "write"]


def write(file: h5py.File, result: ParticleTrajectory) -> None:
    """Write `weights(run, time, coordinate)`, the teachers, and both sets of order parameters."""
    if result.weights.ndim != 3:
        raise StoreError(f"weights: has shape {result.weights.shape}, not (runs, T, d)")
    runs, _, dimension = result.weights.shape
    run = np.arange(runs, dtype=np.int32)
    coordinate = np.arange(dimension, dtype=np.int32)
    write_dimension(file, "run", run, Label("independent run"))
    write_dimension(file, "time", result.times, TIME)
    write_dimension(file, "coordinate", coordinate, Label("coordinate of the weight vector", "i"))
    axes = ("run", "time", "coordinate")
    write_variable(file, "weights", result.weights, axes, Label("weight", "w_i"))
    label = Label("teacher weight", "w*_i")
    write_variable(file, "teacher_weights", result.teacher_weights, ("run", "coordinate"), label)
    write_order_parameters(file, result.order_parameters, ("run", "time"))
    if result.dense_times.size:
        label = Label("finer times, steps/dimension", "tau")
        write_dimension(file, "dense_time", result.dense_times, label)
        write_order_parameters(
            file, result.dense_order_parameters, ("run", "dense_time"), prefix="dense_"
        )
        if result.flip_counts is not None:
            number = np.arange(result.flip_counts.shape[-1], dtype=np.int32)
            write_dimension(file, "threshold", number, Label("number of the threshold"))
            axes = ("run", "dense_time", "threshold")
            label = Label("how often weights have passed the threshold")
            write_variable(file, "flip_counts", result.flip_counts, axes, label)
    if result.state is not None:
        write_group(file, "checkpoint", result.state.to_arrays())


def read(file: h5py.File, problem: Problem, stats: dict[str, Any]) -> ParticleTrajectory:
    """Return what `write` wrote."""
    order_parameters = read_order_parameters(file)
    if "dense_time" in file:
        dense_times = read_variable(file, "dense_time")
        dense_order_parameters = read_order_parameters(file, prefix="dense_")
    else:  # netCDF readers take a dimension of length 0 for an unlimited one, so none is written
        dense_times = np.empty(0)
        dense_order_parameters = order_parameters[:, :0]
    result = ParticleTrajectory(
        problem=problem,
        times=read_variable(file, "time"),
        weights=read_variable(file, "weights"),
        teacher_weights=read_variable(file, "teacher_weights"),
        order_parameters=order_parameters,
        dense_times=dense_times,
        dense_order_parameters=dense_order_parameters,
        stats=stats,
        flip_counts=read_variable(file, "flip_counts") if "flip_counts" in file else None,
        state=RunState.from_arrays(read_group(file["checkpoint"]))
        if "checkpoint" in file
        else None,
    )
    _check(result)
    return result


def _state(file: h5py.File) -> RunState | None:
    return RunState.from_arrays(read_group(file["checkpoint"])) if "checkpoint" in file else None


def _check(result: ParticleTrajectory) -> None:
    runs, count, dimension = result.weights.shape
    check_times(result.times)
    check_shape("time", result.times, (count,))
    check_finite("weights", result.weights)
    check_shape("teacher_weights", result.teacher_weights, (runs, dimension))
    check_finite("teacher_weights", result.teacher_weights)
    check_state(result.order_parameters, (runs, count))
    check_state(result.dense_order_parameters, (runs, result.dense_times.size))
    # The order parameters are those of the weights beside them.
    square = np.square(result.weights).mean(axis=-1)
    if not np.allclose(result.order_parameters.q, square, rtol=1e-9, atol=1e-300):
        raise StoreError("is damaged: q does not fit the weights")
