"""Order parameters at the finer times of a run, which stand beside those at the requested ones."""

from __future__ import annotations

from typing import Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from fpsolve.recording.layout import (
    Label,
    read_order_parameters,
    read_variable,
    write_dimension,
    write_order_parameters,
)
from fpsolve.reduction import OrderParameters
from fpsolve.store.check import check_state, check_times

__all__ = ["read_dense", "write_dense"]


class _Trajectory(Protocol):
    @property
    def dense_times(self) -> NDArray[np.float64]: ...
    @property
    def dense_order_parameters(self) -> OrderParameters: ...


def write_dense(file: h5py.File, result: _Trajectory) -> None:
    """Write the seven order parameters over `dense_time`, with the prefix `dense_`."""
    if not result.dense_times.size:  # netCDF takes a dimension of length 0 for an unlimited one.
        return
    label = Label("time of a step, steps/dimension", "tau")
    write_dimension(file, "dense_time", result.dense_times, label)
    write_order_parameters(file, result.dense_order_parameters, ("dense_time",), prefix="dense_")


def read_dense(
    file: h5py.File, times: NDArray[np.float64], state: OrderParameters
) -> tuple[NDArray[np.float64], OrderParameters]:
    """Return what `write_dense` wrote; a file without it knows no finer times than its own."""
    if "dense_time" not in file:
        if int(file.attrs["schema_version"]) == 1:
            return times, state
        return np.empty(0), state[:0]
    dense_times = read_variable(file, "dense_time")
    dense = read_order_parameters(file, prefix="dense_")
    check_times(dense_times, "dense_time")
    check_state(dense, dense_times.shape)
    return dense_times, dense
