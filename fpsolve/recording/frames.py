"""Frames read back from a file, one at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import h5py
import numpy as np
from numpy.typing import NDArray

from fpsolve.recording.ragged import ragged_names, read_ragged_row
from fpsolve.recording.reading import opened

__all__ = ["StoredFrames", "read_frame"]

# Variables over `time` that are no part of what a run handed over.
_DERIVED = {"density", "level_occupancy", "marginal_density", "frozen"}


class StoredFrames(Sequence[Mapping[str, NDArray[Any]]]):
    """The frames in a file, each read when it is asked for.

    Parameters
    ----------
    path : Path
        A file that a run has written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __len__(self) -> int:
        with opened(self._path) as file:
            return int(file["time"].size)

    @overload
    def __getitem__(self, index: int) -> Mapping[str, NDArray[Any]]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Mapping[str, NDArray[Any]]]: ...
    def __getitem__(self, index: Any) -> Any:
        with opened(self._path) as file:
            indices = range(file["time"].size)
            if isinstance(index, slice):
                return [read_frame(file, i) for i in indices[index]]
            return read_frame(file, indices[index])

    def __iter__(self) -> Any:
        with opened(self._path) as file:
            for index in range(file["time"].size):
                yield read_frame(file, index)


def read_frame(file: h5py.File, index: int) -> dict[str, NDArray[Any]]:
    """Return the arrays at time number `index`, as they were handed over."""
    arrays = {}
    for name, variable in file.items():
        if not isinstance(variable, h5py.Dataset) or name in _DERIVED:
            continue
        axis = _axis_of("/time", variable)
        if axis >= 0:
            arrays[name] = np.asarray(variable[(slice(None),) * axis + (index,)])
    end = int(arrays.pop("dense_end", np.int64(0)))
    start = int(file["dense_end"][index - 1]) if end and index else 0
    for name, variable in file.items() if "dense_end" in file else ():
        axis = _axis_of("/dense_time", variable) if isinstance(variable, h5py.Dataset) else -1
        if axis >= 0:
            arrays[name] = np.asarray(variable[(slice(None),) * axis + (slice(start, end),)])
    for name in ragged_names(file):
        arrays[name] = read_ragged_row(file, name, index)
    return arrays


def _axis_of(dimension: str, variable: h5py.Dataset) -> int:
    """Return which axis of the variable is `dimension`, −1 if none is."""
    if variable.name == dimension:
        return 0
    for axis, scales in enumerate(variable.dims):
        if any(scale.name == dimension for scale in scales.values()):
            return axis
    return -1
