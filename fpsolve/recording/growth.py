"""Variables of a file that grow as a run goes on, and the dimensions they stand over.

The root holds what readers of any kind look for: `time`, the order parameters over it, weights.
Arrays whose shape changes from time to time are in the group `frames`, see `ragged`.
"""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from fpsolve.recording.axes import Block, Column, axes_of, block_size, growing_axis
from fpsolve.recording.digest import Ledger
from fpsolve.recording.groups import write_group
from fpsolve.recording.growing import GrowingVariable
from fpsolve.recording.layout import (
    ORDER_PARAMETER_LABELS,
    TIME,
    Label,
    create_variable,
    expected_size,
    fill,
)
from fpsolve.recording.protocol import Arrays
from fpsolve.recording.ragged import RAGGED, RaggedWriter

__all__ = ["Growth", "remove"]

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
        self._ragged = RaggedWriter(file)
        self._variables: dict[str, h5py.h5d.DatasetID] = {}
        self._growing: dict[str, GrowingVariable] = {}
        self._expected: dict[str, int] = {}

    def append(self, block: Block) -> None:
        """Take the next times, which are in the file after `write`."""
        share = block_size(block) / max(self._expected.get("time", 0), 1)
        ragged: dict[str, Column] = {}
        for name, column in block.items():
            axes = axes_of(self._kind, name)
            if axes is None:
                ragged[name] = column
                continue
            at = growing_axis(axes)
            values = column if isinstance(column, np.ndarray) else np.stack(column, axis=at)
            variable = self._variable(name)
            if variable is None:
                # Of the finer times nothing is known but how many there are at first.
                self._expected.setdefault(axes[at], expected_size(values.shape[at], share))
                variable = self._create(name, axes, at, values)
            if name not in self._growing:
                self._growing[name] = GrowingVariable(variable, at)
            self._growing[name].append([values])
        if ragged:
            fresh, created = self._ragged.append(ragged, share)
            if fresh:
                self._ledger.group(f"/{RAGGED}")
            for path, variable, dtype in created:
                self._ledger.variable(path, variable, dtype, {})

    def write(self) -> None:
        """Write what was taken."""
        for variable in self._growing.values():
            variable.write()
        self._ragged.write()

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
            label = _LABELS[name]
            variable = create_variable(self._file.id, name, values.dtype, values.shape, label)
            fill(variable, values)
            self._attach(name, variable, values.dtype, axes)
        self._ledger.group("/constants", write_group(self._file, "constants", others))

    def requested(self, times: NDArray[np.float64]) -> None:
        """Write the times that are asked for, instead of those that were."""
        known = self._variable("requested_time")
        self._expected["time"] = times.size
        if known is not None:
            known.set_extent(times.shape)
            fill(known, times)
        else:
            label = Label("requested time, steps/dimension", "tau")
            self._scale("requested_time", times, label, growing=True)
        if self._variable("time") is None:
            self._scale("time", np.empty(0), TIME, growing=True)

    def _variable(self, name: str) -> h5py.h5d.DatasetID | None:
        """Return a variable at the root if there is one."""
        if name not in self._variables and self._file.id.links.exists(name.encode()):
            self._variables[name] = h5py.h5d.open(self._file.id, name.encode())
        return self._variables.get(name)

    def _create(
        self, name: str, axes: tuple[str, ...], at: int, block: NDArray[Any]
    ) -> h5py.h5d.DatasetID:
        if axes == (name,):
            return self._scale(name, np.empty(0), _LABELS[name], growing=True)
        self._dimensions(axes, block.shape)
        shape = (*block.shape[:at], 0, *block.shape[at + 1 :])
        noise = block.dtype.kind == "f"
        variable = create_variable(
            self._file.id, name, block.dtype, shape, _LABELS[name], growing=at, noise=noise,
            expected=self._expected[axes[at]],
        )  # fmt: skip
        self._attach(name, variable, block.dtype, axes)
        return variable

    def _dimensions(self, axes: tuple[str, ...], shape: tuple[int, ...]) -> None:
        """Write the dimensions that are not there, numbered from 0."""
        for axis, size in zip(axes, shape, strict=True):
            if self._variable(axis) is not None:
                continue
            if axis in ("time", "dense_time"):
                self._scale(axis, np.empty(0), _LABELS[axis], growing=True)
            else:
                self._dimension(axis, np.arange(size, dtype=np.int32))

    def _dimension(self, name: str, values: NDArray[Any]) -> None:
        self._scale(name, values, _LABELS[name], growing=False)

    def _attach(
        self, name: str, variable: h5py.h5d.DatasetID, dtype: np.dtype[Any], axes: tuple[str, ...]
    ) -> None:
        for position, axis in enumerate(axes):
            h5py.h5ds.attach_scale(variable, self._variable(axis), position)
        self._variables[name] = variable
        self._ledger.variable(f"/{name}", variable, dtype, _LABELS[name].attributes(), axes)

    def _scale(
        self, name: str, values: NDArray[Any], label: Label, *, growing: bool
    ) -> h5py.h5d.DatasetID:
        """Write a dimension and its coordinate."""
        axis = 0 if growing else None
        variable = create_variable(
            self._file.id, name, values.dtype, values.shape, label, growing=axis, noise=growing,
            expected=self._expected.get(name, values.size),
        )  # fmt: skip
        if values.size:
            fill(variable, values)
        h5py.h5ds.set_scale(variable, name.encode())
        self._variables[name] = variable
        told = {**label.attributes(), "CLASS": "DIMENSION_SCALE", "NAME": name}
        self._ledger.variable(f"/{name}", variable, values.dtype, told)
        return variable


def remove(file: h5py.File, name: str) -> None:
    """Delete a variable; no dimension refers to it any more."""
    for axis in file[name].dims:
        for scale in list(axis.values()):
            axis.detach_scale(scale)
    del file[name]
