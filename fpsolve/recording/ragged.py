"""Arrays whose shape changes from time to time, end to end in the group `frames` of a file.

`NAME` holds the values of all times in C order, `NAME_shape(time, axis)` the shape at each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from fpsolve.errors import StoreError
from fpsolve.recording.layout import Label, create_variable

__all__ = [
    "RAGGED",
    "append_ragged",
    "ragged_ends",
    "ragged_names",
    "ragged_shapes",
    "read_ragged",
    "read_ragged_row",
]

RAGGED = "frames"


def append_ragged(file: h5py.File, name: str, rows: Sequence[NDArray[Any]]) -> None:
    """Append the arrays of further times, all of one dtype and number of axes."""
    group = file.require_group(RAGGED)
    first = np.asarray(rows[0])
    if name not in group:
        label = Label(f"{name} of all times, end to end")
        create_variable(group, name, first.dtype, (0,), label, growing=0)
        if first.ndim:
            label = Label(f"shape of {name} at each time")
            shape = (0, first.ndim)
            create_variable(group, f"{name}_shape", np.int64, shape, label, growing=0)
    _extend(group[name], np.concatenate([np.ravel(row) for row in rows]))
    if first.ndim:
        _extend(group[f"{name}_shape"], np.array([np.shape(row) for row in rows], dtype=np.int64))


def ragged_names(file: h5py.File) -> list[str]:
    """Return the names of the arrays in the group."""
    group = file.get(RAGGED, {})
    return [name for name in group if not (name.endswith("_shape") and name[:-6] in group)]


def read_ragged(file: h5py.File) -> dict[str, list[NDArray[Any]]]:
    """Return every array at every time."""
    columns = {}
    for name in ragged_names(file):
        values = file[RAGGED][name][...]
        shapes = ragged_shapes(file, name, values.size)
        ends = np.cumsum(np.prod(shapes, axis=1, dtype=np.int64))
        if (shapes < 0).any() or (ends[-1] if ends.size else 0) != values.size:
            raise StoreError(f"is damaged: frames/{name} does not fit its shapes")
        starts = np.concatenate([[0], ends[:-1]])
        columns[name] = [
            values[a:b].reshape(tuple(shape))
            for a, b, shape in zip(starts, ends, shapes, strict=True)
        ]
    return columns


def read_ragged_row(file: h5py.File, name: str, index: int) -> NDArray[Any]:
    """Return one array at one time."""
    variable = file[RAGGED][name]
    sizes = np.prod(ragged_shapes(file, name, index + 1)[: index + 1], axis=1, dtype=np.int64)
    end = int(sizes.sum())
    shape = tuple(ragged_shapes(file, name, index + 1)[index])
    return np.asarray(variable[end - int(sizes[-1]) : end]).reshape(shape)


def ragged_shapes(file: h5py.File, name: str, count: int) -> NDArray[np.int64]:
    """Return the shapes at all times, shape (T, axes); numbers have no axis and no such table."""
    group = file[RAGGED]
    if f"{name}_shape" in group:
        return np.asarray(group[f"{name}_shape"][...], dtype=np.int64)
    return np.empty((count, 0), dtype=np.int64)


def ragged_ends(shapes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where the values of each time end, shape (T,)."""
    return np.cumsum(np.prod(shapes, axis=1, dtype=np.int64))


def _extend(variable: h5py.Dataset, values: NDArray[Any]) -> None:
    known = variable.shape[0]
    variable.resize(known + len(values), axis=0)
    variable[known:] = values
