"""Variables of a file that grow as a run goes on, and the dimensions they stand over.

The root holds what readers of any kind look for: `time`, the order parameters over it, weights.
Arrays whose shape changes from time to time (adaptive meshes) are in the group `frames`, end to
end: `NAME` holds the values of all times, `NAME_shape` the shape at each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from fpsolve.recording.axes import Column, axes_of, growing_axis
from fpsolve.recording.digest import Ledger
from fpsolve.recording.groups import write_group
from fpsolve.recording.layout import ORDER_PARAMETER_LABELS, TIME, Label, append, create_variable
from fpsolve.recording.protocol import Arrays
from fpsolve.recording.ragged import Ragged, append_ragged, flattened

__all__ = ["Growth", "Part", "remove"]

# What waits for a file: an array over the axes of its name, or one for the group `frames`.
Part = NDArray[Any] | Ragged

_LABELS = {
    **ORDER_PARAMETER_LABELS,
    **{f"dense_{name}": label for name, label in ORDER_PARAMETER_LABELS.items()},
    "time": TIME,
    "dense_time": Label("finer times, steps/dimension", "tau"),
    "dense_end": Label("number of finer times up to this time"),
    "weights": Label("weight", "w_i"),
    "teacher_weights": Label("teacher weight", "w*_i"),
    "flip_counts": Label("how often weights have passed the threshold"),
    "teacher": Label("teacher value", "w*"),
    "teacher_probability": Label("probability of the teacher value", "p(w*)"),
    "functionals": Label("average of the functional", "M_i"),
    "dense_functionals": Label("average of the functional", "M_i"),
    "run": Label("independent run"),
    "coordinate": Label("coordinate of the weight vector", "i"),
    "threshold": Label("number of the threshold"),
    "functional": Label("number of the functional", "i"),
}


class Growth:
    """The variables of a run in its file.

    Parameters
    ----------
    file : h5py.File
        Open for writing.
    kind : str
        Of the run.
    ledger : Ledger
        Told of what comes into being.
    """

    def __init__(self, file: h5py.File, kind: str, ledger: Ledger) -> None:
        self._file, self._kind, self._ledger = file, kind, ledger
        self._variables: dict[str, h5py.Dataset] = {}
        self._expected: dict[str, int] = {}

    def part(self, name: str, column: Column) -> Part:
        """Return a copy of a column of a block, as it waits to be appended."""
        axes = axes_of(self._kind, name)
        if axes is None:
            return flattened(list(column))
        if isinstance(column, np.ndarray):
            return column.copy()
        return np.stack(column, axis=growing_axis(axes))

    def append(self, name: str, parts: Sequence[Any]) -> None:
        """Append what has waited, in order."""
        axes = axes_of(self._kind, name)
        if axes is None:
            for node in append_ragged(self._file, name, parts):
                if isinstance(node, h5py.Group):
                    self._ledger.group(node)
                else:
                    self._ledger.variable(node, {})
            return
        at = growing_axis(axes)
        block = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=at)
        if name not in self._variables:
            self._variables[name] = self._file.get(name) or self._create(name, axes, at, block)
        append(self._variables[name], block, at)

    def constants(self, constants: Arrays) -> None:
        """Write arrays that hold for all times: known ones at the root, others in a group."""
        others = dict(constants)
        for name in [name for name in others if axes_of(self._kind, name) is not None]:
            values = np.asarray(others.pop(name))
            axes = axes_of(self._kind, name) or ()
            if axes == (name,):
                self._dimension(name, values)
                continue
            self._dimensions(axes, values.shape)
            variable = create_variable(self._file, name, values.dtype, values.shape, _LABELS[name])
            variable[...] = values
            self._attach(name, variable, axes)
        write_group(self._file, "constants", others)
        self._ledger.group(self._file["constants"], others)

    def requested(self, times: NDArray[np.float64]) -> None:
        """Write the times that are asked for, instead of those that were."""
        if "requested_time" in self._file:
            self._file["requested_time"].resize(times.size, axis=0)
            self._file["requested_time"][...] = times
        else:
            label = Label("requested time, steps/dimension", "tau")
            self._scale("requested_time", times, label, growing=True)
        if "time" not in self._file:
            self._expected["time"] = times.size
            self._scale("time", np.empty(0), TIME, growing=True)

    def _create(
        self, name: str, axes: tuple[str, ...], at: int, block: NDArray[Any]
    ) -> h5py.Dataset:
        # Of the finer times nothing is known but how many there are in the first block.
        self._expected.setdefault(axes[at], block.shape[at])
        if axes == (name,):
            return self._scale(name, np.empty(0), _LABELS[name], growing=True)
        self._dimensions(axes, block.shape)
        shape = (*block.shape[:at], 0, *block.shape[at + 1 :])
        noise = block.dtype.kind == "f"
        variable = create_variable(
            self._file, name, block.dtype, shape, _LABELS[name], growing=at, noise=noise,
            expected=self._expected[axes[at]],
        )  # fmt: skip
        self._attach(name, variable, axes)
        return variable

    def _dimensions(self, axes: tuple[str, ...], shape: tuple[int, ...]) -> None:
        """Write the dimensions that are not there, numbered from 0."""
        for axis, size in zip(axes, shape, strict=True):
            if axis in self._file:
                continue
            if axis in ("time", "dense_time"):
                self._scale(axis, np.empty(0), _LABELS[axis], growing=True)
            else:
                self._dimension(axis, np.arange(size, dtype=np.int32))

    def _dimension(self, name: str, values: NDArray[Any]) -> None:
        self._scale(name, values, _LABELS[name], growing=False)

    def _attach(self, name: str, variable: h5py.Dataset, axes: tuple[str, ...]) -> None:
        for position, axis in enumerate(axes):
            h5py.h5ds.attach_scale(variable.id, self._file[axis].id, position)
        self._ledger.variable(variable, _LABELS[name].attributes(), axes)

    def _scale(
        self, name: str, values: NDArray[Any], label: Label, *, growing: bool
    ) -> h5py.Dataset:
        """Write a dimension and its coordinate."""
        axis = 0 if growing else None
        variable = create_variable(
            self._file, name, values.dtype, values.shape, label, growing=axis, noise=growing,
            expected=self._expected.get(name, values.size),
        )  # fmt: skip
        if values.size:
            variable[...] = values
        variable.make_scale(name)
        told = {**label.attributes(), "CLASS": "DIMENSION_SCALE", "NAME": name}
        self._ledger.variable(variable, told)
        return variable


def remove(file: h5py.File, name: str) -> None:
    """Delete a variable; no dimension refers to it any more."""
    for axis in file[name].dims:
        for scale in list(axis.values()):
            axis.detach_scale(scale)
    del file[name]
