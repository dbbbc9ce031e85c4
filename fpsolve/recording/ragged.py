"""Arrays whose shape changes from time to time, end to end in the group `frames` of a file.

`NAME` holds the values of all times in C order, `NAME_shape(time, axis)` the shape at each. Meshes
stay the same for a while: of the arrays of `MESH`, `NAME` and `NAME_shape(mesh, axis)` hold those
of each mesh once, and `mesh(time)` says which of them, counted from 0, a time has.
"""

from __future__ import annotations

import operator
from itertools import chain
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from fpsolve.errors import StoreError
from fpsolve.recording.axes import Block, Column
from fpsolve.recording.growing import GrowingVariable
from fpsolve.recording.layout import create_variable, expected_size

__all__ = [
    "MESH",
    "RAGGED",
    "Ragged",
    "RaggedWriter",
    "flattened",
    "ragged_ends",
    "ragged_meshes",
    "ragged_names",
    "ragged_shapes",
    "read_ragged",
    "read_ragged_row",
    "write_ragged",
]

RAGGED = "frames"
MESH = ("first", "left", "width", "cell_edges")
_NUMBER = "mesh"


class Ragged(NamedTuple):
    """Values of several times in C order, and the shape at each, (T, axes); None for numbers."""

    values: NDArray[Any]
    shapes: NDArray[np.int64] | None


class Created(NamedTuple):
    """A variable that has come into being."""

    path: str
    dataset: h5py.h5d.DatasetID
    dtype: np.dtype[Any]


def flattened(rows: Column) -> Ragged:
    """Return the arrays of several times, all of one dtype and number of axes, end to end."""
    if isinstance(rows, np.ndarray) or np.ndim(rows[0]) == 0:
        return Ragged(np.array(rows), None)
    axes = rows[0].ndim
    shapes = np.fromiter(chain.from_iterable(row.shape for row in rows), np.int64)
    shapes = shapes.reshape(len(rows), axes)
    return Ragged(np.concatenate(rows, axis=None), shapes)


def _changed(rows: Column) -> NDArray[np.bool_]:
    """Return whether each array differs, bit for bit, from the one before; False for the first."""
    if all(map(operator.is_, rows, rows[1:])):  # Mostly it is the same array.
        return np.zeros(len(rows), dtype=bool)
    sizes = np.fromiter(map(operator.attrgetter("size"), rows), np.int64, len(rows))
    bits = np.concatenate(rows).view(f"u{rows[0].itemsize}")
    # Each number is compared with that in its place in the array before, of the same size.
    differ = bits != bits[np.arange(bits.size) - np.repeat(sizes, sizes)]
    ends, counts = np.cumsum(sizes), np.append(0, np.cumsum(differ))
    changed = counts[ends] > counts[ends - sizes]
    changed[1:] |= sizes[1:] != sizes[:-1]
    changed[0] = False
    return np.asarray(changed)


class RaggedWriter:
    """Appends the arrays of further times.

    Parameters
    ----------
    file : h5py.File
        Open for writing.
    """

    def __init__(self, file: h5py.File) -> None:
        self._file = file
        self._group: h5py.h5g.GroupID | None = file[RAGGED].id if RAGGED in file else None
        self._variables: dict[str, GrowingVariable] = {}
        # The mesh written last, and how many there are; one that was read is not known again.
        self._mesh: tuple[NDArray[Any], ...] | None = None
        self._meshes = self._stored_meshes()

    def append(self, columns: Block, share: float = 1.0) -> tuple[bool, list[Created]]:
        """Take arrays of several times, one list a name; the first ones decide on their types.

        They are a `share` of all times, and are in the file after `write`.

        Returns
        -------
        fresh : bool
            Whether the group has come into being.
        created : list of Created
            What else has.
        """
        fresh = self._group is None
        if self._group is None:
            self._group = self._file.create_group(RAGGED).id
        created: list[Created] = []
        for name, rows in self._with_meshes(columns).items():
            if len(rows):
                created += self._append(self._group, name, flattened(rows), share)
        return fresh, created

    def _with_meshes(self, columns: Block) -> dict[str, Column]:
        """Keep of meshes those that differ from the one before, and number them."""
        names = [name for name in columns if name in MESH]
        if not names:
            return dict(columns)
        last = self._mesh
        changed = np.zeros(len(columns[names[0]]), dtype=bool)
        for at, name in enumerate(names):
            rows = columns[name]
            changed |= _changed(rows) if last is None else _changed([last[at], *rows])[1:]
        changed[0] |= last is None
        numbers = self._meshes - 1 + np.cumsum(changed)
        new = np.flatnonzero(changed)
        if new.size:
            self._mesh = tuple(columns[name][int(new[-1])].copy() for name in names)
            self._meshes += new.size
        distinct = {name: [columns[name][at] for at in new.tolist()] for name in names}
        return {**columns, **distinct, _NUMBER: numbers}

    def write(self) -> None:
        """Write what was taken."""
        for variable in self._variables.values():
            variable.write()

    def _stored_meshes(self) -> int:
        shapes = [f"{name}_shape" for name in MESH]
        stored = self._file.get(RAGGED, {})
        return max((stored[name].shape[0] for name in shapes if name in stored), default=0)

    def _append(
        self, group: h5py.h5g.GroupID, name: str, part: Ragged, share: float
    ) -> list[Created]:
        created: list[Created] = []
        table = f"{name}_shape"
        for key, values in ((name, part.values), (table, part.shapes)):
            if values is None:
                continue
            if key not in self._variables:
                if group.links.exists(key.encode()):
                    dataset = h5py.h5d.open(group, key.encode())
                else:
                    dataset = create_variable(
                        group, key, values.dtype, (0, *values.shape[1:]), None, growing=0,
                        noise=values.dtype.kind == "f",
                        expected=expected_size(len(values), share),
                    )  # fmt: skip
                    created.append(Created(f"/{RAGGED}/{key}", dataset, values.dtype))
                self._variables[key] = GrowingVariable(dataset, 0)
            self._variables[key].append([values])
        return created


def write_ragged(file: h5py.File, columns: Block) -> None:
    """Write the arrays of all times, one list a name."""
    writer = RaggedWriter(file)
    writer.append(columns)
    writer.write()


def ragged_names(file: h5py.File) -> list[str]:
    """Return the names of the arrays in the group."""
    group = file.get(RAGGED, {})
    tables = {_NUMBER, *(f"{name}_shape" for name in group)}
    return [name for name in group if name not in tables]


def ragged_meshes(file: h5py.File, name: str, count: int) -> NDArray[np.int64]:
    """Return at which place an array of each of `count` times stands, shape (T,).

    Raises
    ------
    StoreError
        If that is nowhere.
    """
    if name not in MESH:
        return np.arange(count)
    numbers = np.asarray(file[RAGGED][_NUMBER][...], dtype=np.int64)
    meshes = file[RAGGED][f"{name}_shape"].shape[0]
    if numbers.size != count or ((numbers < 0) | (numbers >= meshes)).any():
        raise StoreError(f"is damaged: frames/{_NUMBER} does not fit frames/{name}")
    return numbers


def read_ragged(file: h5py.File, count: int) -> dict[str, list[NDArray[Any]]]:
    """Return every array at every one of `count` times."""
    columns = {}
    for name in ragged_names(file):
        values = file[RAGGED][name][...]
        shapes = ragged_shapes(file, name, values.size)
        ends = np.cumsum(np.prod(shapes, axis=1, dtype=np.int64))
        if (shapes < 0).any() or (ends[-1] if ends.size else 0) != values.size:
            raise StoreError(f"is damaged: frames/{name} does not fit its shapes")
        starts = np.concatenate([[0], ends[:-1]])
        rows = [
            values[a:b].reshape(tuple(shape))
            for a, b, shape in zip(starts, ends, shapes, strict=True)
        ]
        if name in MESH:
            rows = [rows[number] for number in ragged_meshes(file, name, count).tolist()]
        if len(rows) != count:
            raise StoreError("is damaged: the group frames does not fit `time`")
        columns[name] = rows
    return columns


def read_ragged_row(file: h5py.File, name: str, index: int) -> NDArray[Any]:
    """Return one array at one time."""
    variable = file[RAGGED][name]
    at = int(ragged_meshes(file, name, file["time"].size)[index])
    shapes = ragged_shapes(file, name, at + 1)
    ends = ragged_ends(shapes)
    begin = int(ends[at - 1]) if at else 0
    return np.asarray(variable[begin : int(ends[at])]).reshape(tuple(shapes[at]))


def ragged_shapes(file: h5py.File, name: str, count: int) -> NDArray[np.int64]:
    """Return the shapes at all times, shape (T, axes); numbers have no axis and no such table."""
    group = file[RAGGED]
    if f"{name}_shape" in group:
        return np.asarray(group[f"{name}_shape"][...], dtype=np.int64)
    return np.empty((count, 0), dtype=np.int64)


def ragged_ends(shapes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where the values of each time end, shape (T,)."""
    return np.cumsum(np.prod(shapes, axis=1, dtype=np.int64))
