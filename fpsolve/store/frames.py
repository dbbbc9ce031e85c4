"""Densities as the solver knows them: frames of any kind, one a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np

from fpsolve.density.cell_frame import CellFrame
from fpsolve.density.frame import Frame
from fpsolve.density.gaussian_frame import GaussianFrame
from fpsolve.density.view import AnyFrame
from fpsolve.errors import StoreError
from fpsolve.recording.ragged import append_ragged, read_ragged
from fpsolve.store.check import check_finite

__all__ = ["frame_arrays", "frame_from", "read_frames", "write_frames"]

# The attribute `kinds` of the group names them in this order; `kind` is a number of this list.
_KINDS: tuple[type[Any], ...] = (Frame, CellFrame, GaussianFrame)
# Number of axes of every array a frame may have.
_AXES = {
    "order": 0, "first": 1, "left": 1, "width": 1, "u": 2, "atom_positions": 2, "atom_masses": 2,
    "cell_edges": 1, "averages": 2, "mean": 1, "deviation": 1,
}  # fmt: skip
_INTEGERS = {"order", "first"}
# A solve keeps the mass to 1e-10.
_MASS = 1e-8


def frame_arrays(frame: AnyFrame) -> dict[str, Any]:
    """Return a frame as a flat dictionary of arrays, with its `kind` as a number."""
    number = next(n for n, kind in enumerate(_KINDS) if isinstance(frame, kind))
    arrays = {name: np.asarray(values) for name, values in frame.to_arrays().items()}
    return {"kind": np.int64(number), **arrays}


def frame_from(arrays: dict[str, Any]) -> AnyFrame:
    """Return the frame that `frame_arrays` took apart."""
    frame: AnyFrame = _KINDS[int(arrays["kind"])].from_arrays(arrays)
    return frame


def write_frames(file: h5py.File, frames: Sequence[AnyFrame]) -> None:
    """Write all frames end to end in the group `frames`; arrays that a frame lacks are empty."""
    rows = [frame_arrays(frame) for frame in frames]
    names = [n for n in ("kind", *_AXES) if any(n in row for row in rows)]
    for name in names:
        dtype = np.int64 if name in _INTEGERS or name == "kind" else np.float64
        empty = np.zeros((0,) * _AXES.get(name, 0) or (), dtype=dtype)
        arrays = [np.asarray(row.get(name, empty), dtype=dtype) for row in rows]
        append_ragged(file, name, arrays)


def read_frames(file: h5py.File, shape: tuple[int, int]) -> tuple[AnyFrame, ...]:
    """Return what `write_frames` wrote: one frame for each time, of so many teacher values."""
    columns = read_ragged(file)
    if any(len(column) != shape[0] for column in columns.values()):
        raise StoreError("is damaged: the group frames does not fit `time`")
    kinds = columns.pop("kind", [np.int64(0)] * shape[0])
    frames = []
    for row in range(shape[0]):
        arrays = {name: column[row] for name, column in columns.items()}
        for name, values in arrays.items():
            check_finite(f"frames/{name}", values)
        if "u" in arrays and arrays["u"].shape[0] not in (0, int(arrays["order"]) + 1):
            raise StoreError("is damaged: frames/order does not fit frames/u")
        frame = frame_from({**arrays, "kind": kinds[row]})
        if frame.count != shape[1] or not frame.mass_defect() < _MASS:
            raise StoreError(f"is damaged: the density at time number {row} has not mass 1")
        frames.append(frame)
    return tuple(frames)
