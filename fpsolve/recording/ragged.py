"""Arrays whose shape changes from time to time, end to end in the group `frames` of a file.

`NAME` holds the values of all times in C order, `NAME_shape(time, axis)` the shape at each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from fpsolve.errors import StoreError
from fpsolve.recording.layout import append, create_variable

__all__ = [
    "RAGGED",
    "Ragged",
    "append_ragged",
    "flattened",
    "ragged_ends",
    "ragged_names",
    "ragged_shapes",
    "read_ragged",
    "read_ragged_row",
]

RAGGED = "frames"
# Meshes, which stay the same for a while and compress well; digits of densities are noise.
_MESHES = ("left", "width", "cell_edges")


class Ragged(NamedTuple):
    """Values of several times in C order, and the shape at each, (T, axes); None for numbers."""

    values: NDArray[Any]
    shapes: NDArray[np.int64] | None


def flattened(rows: Sequence[NDArray[Any]]) -> Ragged:
    """Return the arrays of several times, all of one dtype and number of axes, end to end."""
    first = np.asarray(rows[0])
    if first.ndim == 0:
        return Ragged(np.array(rows), None)
    shapes = np.array([row.shape for row in rows], dtype=np.int64)
    return Ragged(np.concatenate([row.ravel() for row in rows]), shapes)


def append_ragged(
    file: h5py.File, name: str, parts: Sequence[Ragged]
) -> list[h5py.Group | h5py.Dataset]:
    """Append the arrays of further times; the first ones decide on dtype and number of axes.

    Returns
    -------
    list
        What has come into being: the group, the values, their shapes.
    """
    created: list[h5py.Group | h5py.Dataset] = []
    group = file.get(RAGGED)
    if group is None:
        group = file.create_group(RAGGED)
        created.append(group)
    values, shapes = parts[0]
    if name not in group:
        noise = values.dtype.kind == "f" and name not in _MESHES
        about: dict[str, Any] = {"growing": 0, "noise": noise, "expected": values.size}
        created.append(create_variable(group, name, values.dtype, (0,), None, **about))
        if shapes is not None:
            table, shape = f"{name}_shape", (0, shapes.shape[1])
            about = {"growing": 0, "expected": len(shapes)}
            created.append(create_variable(group, table, np.int64, shape, None, **about))
    append(group[name], np.concatenate([part.values for part in parts]))
    if shapes is not None:
        tables = [part.shapes for part in parts if part.shapes is not None]
        append(group[f"{name}_shape"], np.concatenate(tables))
    return created


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
