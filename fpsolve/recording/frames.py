"""Frames read back from a file, one at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import h5py
import numpy as np
from numpy.typing import NDArray

from fpsolve.recording.ragged import (
    RAGGED,
    ragged_ends,
    ragged_meshes,
    ragged_names,
    ragged_shapes,
)
from fpsolve.recording.reading import Stamp, opened, stamp_of

__all__ = ["StoredFrames"]

# Variables over `time` that are no part of what a run handed over.
_DERIVED = {"density", "level_occupancy", "marginal_density", "frozen"}
# Frames that are read at once when all are wanted, and bytes that bound their number.
_MOST, _BYTES = 1024, 2**24


class StoredFrames(Sequence[Mapping[str, NDArray[Any]]]):
    """The frames in a file, each read when it is asked for.

    Parameters
    ----------
    path : Path
        A file that a run has written.
    seen : Stamp, optional
        The state in which this process has left the file.
    """

    def __init__(self, path: Path, seen: Stamp | None = None) -> None:
        self._path = path
        # The state of the file whose digests were compared; unchanged, they need not be again.
        self._seen = seen
        self._places: _Places | None = None

    def __len__(self) -> int:
        with self._opened() as (_, places):
            return places.count

    @overload
    def __getitem__(self, index: int) -> Mapping[str, NDArray[Any]]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Mapping[str, NDArray[Any]]]: ...
    def __getitem__(self, index: Any) -> Any:
        with self._opened() as (file, places):
            if not isinstance(index, slice):
                at = range(places.count)[index]
                return places.rows(file, at, at + 1)[0]
            wanted = range(places.count)[index]
            if wanted.step == 1:
                return places.rows(file, wanted.start, max(wanted.stop, wanted.start))
            return [places.rows(file, at, at + 1)[0] for at in wanted]

    def __iter__(self) -> Iterator[Mapping[str, NDArray[Any]]]:
        at, count = 0, 1
        while at < count:  # The file is open only while it is read: a run may want to go on.
            with self._opened() as (file, places):
                count = places.count
                block = places.rows(file, at, min(at + places.many, count))
            yield from block
            at += len(block)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[tuple[h5py.File, _Places]]:
        """Yield the open file and what is where in it, which stays known while it is the same."""
        before, now = self._seen, stamp_of(self._path)
        with opened(self._path, seen=before) as file:
            if self._places is None or now != before:
                self._places = _Places(file)
            self._seen = now
            yield file, self._places


class _Places:
    """Where everything stands in a file, and how to read some frames of it.

    Attributes
    ----------
    count : int
        Number of frames.
    many : int
        How many of them to read at once where all are wanted.
    """

    def __init__(self, file: h5py.File) -> None:
        self.count = int(file["time"].size)
        self._along: dict[str, int] = {}
        self._dense: dict[str, int] = {}
        for name, variable in file.items():
            if not isinstance(variable, h5py.Dataset) or name in _DERIVED:
                continue
            for dimension, found in (("/time", self._along), ("/dense_time", self._dense)):
                axis = _axis_of(dimension, variable)
                if axis >= 0:
                    found[name] = axis
        self._along.pop("dense_end", None)
        self._ends = file["dense_end"][...] if "dense_end" in file else np.empty(0, np.int64)
        self._ragged = {n: ragged_shapes(file, n, self.count) for n in ragged_names(file)}
        self._stops = {n: np.append(0, ragged_ends(shapes)) for n, shapes in self._ragged.items()}
        self._at = {n: ragged_meshes(file, n, self.count) for n in self._ragged}
        held = [file[n] for n in (*self._along, *self._dense)]
        held += [file[RAGGED][n] for n in self._ragged]
        size = sum(variable.size * variable.dtype.itemsize for variable in held)
        self.many = int(np.clip(_BYTES * self.count / max(size, 1), 1, _MOST))

    def rows(self, file: h5py.File, start: int, stop: int) -> list[dict[str, NDArray[Any]]]:
        """Return frames number `start` to `stop`, as they were handed over."""
        found: list[dict[str, NDArray[Any]]] = [{} for _ in range(start, stop)]
        for name, axis in self._along.items():
            block = file[name][(slice(None),) * axis + (slice(start, stop),)]
            for row, i in zip(found, range(stop - start), strict=True):
                row[name] = np.asarray(block[(slice(None),) * axis + (i,)])
        for name, axis in self._dense.items():
            ends = [int(self._ends[start - 1]) if start else 0, *self._ends[start:stop].tolist()]
            block = file[name][(slice(None),) * axis + (slice(ends[0], ends[-1]),)]
            for row, a, b in zip(found, ends[:-1], ends[1:], strict=True):
                row[name] = block[(slice(None),) * axis + (slice(a - ends[0], b - ends[0]),)]
        for name, shapes in self._ragged.items():
            at = self._at[name][start:stop]  # Ascending.
            first, beyond = self._stops[name][at], self._stops[name][at + 1]
            block = file[RAGGED][name][first[0] : beyond[-1]] if at.size else np.empty(0)
            for i, begin, end, row in zip(at, first, beyond, found, strict=True):
                part = block[begin - first[0] : end - first[0]]
                row[name] = part.reshape(tuple(shapes[i]))
        return found


def _axis_of(dimension: str, variable: h5py.Dataset) -> int:
    """Return which axis of the variable is `dimension`, −1 if none is."""
    if variable.name == dimension:
        return 0
    for axis, scales in enumerate(variable.dims):
        if any(scale.name == dimension for scale in scales.values()):
            return axis
    return -1
