"""A `LineTrajectory` in a file."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

from fpsolve.errors import StoreError
from fpsolve.line.stream import frame_arrays, frame_from
from fpsolve.line.trajectory import LineTrajectory
from fpsolve.recording.layout import TIME, Label, read_variable, write_dimension, write_variable
from fpsolve.recording.ragged import read_ragged, write_ragged
from fpsolve.store.check import check_finite, check_shape, check_times

__all__ = ["read", "write"]

# A given initial density has mass 1 to this accuracy, and a run keeps it.
_MASS = 2e-6


def write(file: h5py.File, result: LineTrajectory) -> None:
    """Write the polynomials, and the functionals over `time` and `dense_time`."""
    write_dimension(file, "time", result.times, TIME)
    if result.dense_times.size:
        label = Label("time of a step, steps/dimension", "tau")
        write_dimension(file, "dense_time", result.dense_times, label)
    count = result.functionals.shape[1]
    if count:
        number = np.arange(count, dtype=np.int32)
        write_dimension(file, "functional", number, Label("number of the functional", "i"))
        label = Label("average of the functional", "M_i")
        write_variable(file, "functionals", result.functionals, ("time", "functional"), label)
        if result.dense_times.size:
            axes = ("dense_time", "functional")
            write_variable(file, "dense_functionals", result.dense_functionals, axes, label)
    rows = [frame_arrays(frame) for frame in result.frames]
    write_ragged(file, {name: [row[name] for row in rows] for name in rows[0]})


def read(file: h5py.File, problem: None, stats: dict[str, Any]) -> LineTrajectory:
    """Return what `write`, or a run, wrote."""
    times = read_variable(file, "time")
    check_times(times)
    dense = read_variable(file, "dense_time") if "dense_time" in file else np.empty(0)
    check_times(dense, "dense_time")
    here, along = np.empty((times.size, 0)), np.empty((dense.size, 0))
    if "functionals" in file:
        here = read_variable(file, "functionals")
        check_shape("functionals", here, (times.size, *here.shape[1:]))
        along = np.empty((0, here.shape[1]))
        if dense.size:
            along = read_variable(file, "dense_functionals")
        check_shape("dense_functionals", along, (dense.size, here.shape[1]))
    for name, values in (("functionals", here), ("dense_functionals", along)):
        check_finite(name, values)
    columns = read_ragged(file, times.size)
    frames = []
    for row in range(times.size):
        arrays = {name: column[row] for name, column in columns.items()}
        for name, values in arrays.items():
            check_finite(f"frames/{name}", values)
        if arrays["u"].shape != (int(arrays["order"]) + 1, arrays["left"].size):
            raise StoreError("is damaged: frames/u does not fit frames/order and frames/left")
        frame = frame_from(arrays)
        if arrays["width"].shape != arrays["left"].shape or not abs(frame.mass - 1) < _MASS:
            raise StoreError(f"is damaged: the density at time number {row} has not mass 1")
        frames.append(frame)
    return LineTrajectory(times, here, tuple(frames), dense, along, stats)
