"""Densities as the solver knows them: frames of any kind, one a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from fpsolve.density.arrays import FRAME_ARRAYS, frame_arrays, frame_from
from fpsolve.density.view import AnyFrame
from fpsolve.errors import StoreError
from fpsolve.recording.ragged import read_ragged, write_ragged
from fpsolve.store.check import check_finite

__all__ = ["read_frames", "write_frames"]

# A solve keeps the mass to 1e-10.
_MASS = 1e-8


def write_frames(file: h5py.File, frames: Sequence[AnyFrame]) -> None:
    """Write all frames end to end in the group `frames`; arrays that a frame lacks are empty."""
    rows = [frame_arrays(frame) for frame in frames]
    types = {"kind": (0, np.int64), **FRAME_ARRAYS}
    columns: dict[str, list[NDArray[Any]]] = {}
    for name in [n for n in types if any(n in row for row in rows)]:
        axes, dtype = types[name]
        empty: NDArray[Any] = np.zeros((0,) * axes, dtype=dtype)
        columns[name] = [np.asarray(row.get(name, empty), dtype=dtype) for row in rows]
    write_ragged(file, columns)


def read_frames(file: h5py.File, shape: tuple[int, int]) -> tuple[AnyFrame, ...]:
    """Return what `write_frames` wrote: one frame for each time, of so many teacher values."""
    columns = read_ragged(file, shape[0])
    kinds = columns.pop("kind", [np.int64(0)] * shape[0])
    frames = []
    for row in range(shape[0]):
        arrays = {name: column[row] for name, column in columns.items()}
        for name, values in arrays.items():
            check_finite(f"frames/{name}", values)
        if "u" in arrays and arrays["u"].shape[0] not in (0, int(arrays["order"]) + 1):
            raise StoreError("is damaged: frames/order does not fit frames/u")
        frame = frame_from({**arrays, "kind": np.asarray(kinds[row])})
        if frame.count != shape[1] or not frame.mass_defect() < _MASS:
            raise StoreError(f"is damaged: the density at time number {row} has not mass 1")
        frames.append(frame)
    return tuple(frames)
