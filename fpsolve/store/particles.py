"""A `ParticleTrajectory` in a file."""

from __future__ import annotations

import h5py
import numpy as np

from fpsolve.errors import StoreError
from fpsolve.particles.trajectory import ParticleTrajectory
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

__all__ = ["read_particles", "write_particles"]


def write_particles(file: h5py.File, result: ParticleTrajectory) -> None:
    """Write `weights(run, time, coordinate)`, the teachers, and both sets of order parameters."""
    if result.weights.ndim != 3:
        raise StoreError(f"weights: has shape {result.weights.shape}, not (runs, T, d)")
    runs, _, dimension = result.weights.shape
    run = np.arange(runs, dtype=np.int32)
    coordinate = np.arange(dimension, dtype=np.int32)
    write_dimension(file, "run", run, Label("independent run"))
    write_dimension(file, "time", result.times, Label("time, steps/dimension", "tau"))
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
    write_json(file, "stats", result.stats)


def read_particles(file: h5py.File, problem: Problem) -> ParticleTrajectory:
    """Return what `write_particles` wrote."""
    order_parameters = read_order_parameters(file)
    if "dense_time" in file:
        dense_times = read_variable(file, "dense_time")
        dense_order_parameters = read_order_parameters(file, prefix="dense_")
    else:  # netCDF readers take a dimension of length 0 for an unlimited one, so none is written
        dense_times = np.empty(0)
        dense_order_parameters = order_parameters[:, :0]
    return ParticleTrajectory(
        problem=problem,
        times=read_variable(file, "time"),
        weights=read_variable(file, "weights"),
        teacher_weights=read_variable(file, "teacher_weights"),
        order_parameters=order_parameters,
        dense_times=dense_times,
        dense_order_parameters=dense_order_parameters,
        stats=read_json(file, "stats"),
    )
