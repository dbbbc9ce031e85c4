"""An `OptimalRange` in a file."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

from fpsolve.errors import StoreError
from fpsolve.problem.problem import Problem
from fpsolve.recording.attributes import read_values, write_values
from fpsolve.recording.layout import Label, read_variable, write_dimension, write_variable
from fpsolve.store.check import check_shape
from fpsolve.studies.optimal_range import OptimalRange

__all__ = ["read", "write"]

_VARIED = {"weights": ("omega",), "inputs": ("omega_x",), "both": ("omega", "omega_x")}
_FIELDS = ("which", "time", "generalization_error", "omega", "omega_x")


def write(file: h5py.File, result: OptimalRange) -> None:
    """Write the scan over the ranges that were varied, and the optimum as attributes."""
    names = _VARIED[result.which]
    for name, values in zip(names, result.scanned, strict=True):
        what = "weight" if name == "omega" else "input"
        write_dimension(file, name, values, Label(f"range of the {what} quantizer", name))
    label = Label("generalization error", "epsilon_g")
    write_variable(file, "generalization_error", result.scanned_error, names, label)
    write_values(file, "optimum", {name: getattr(result, name) for name in _FIELDS})


def read(file: h5py.File, problem: Problem, stats: dict[str, Any]) -> OptimalRange:
    """Return what `write` wrote."""
    optimum = read_values(file, "optimum")
    scanned = tuple(read_variable(file, name) for name in _VARIED[optimum["which"]])
    error = read_variable(file, "generalization_error")
    check_shape("generalization_error", error, tuple(axis.size for axis in scanned))
    if np.isnan(error).any():  # Infinite where training diverges.
        raise StoreError("is damaged: generalization_error is not a number somewhere")
    return OptimalRange(
        problem=problem, scanned=scanned, scanned_error=error, stats=stats, **optimum
    )
