"""Frames of any kind as flat dictionaries of arrays, as sinks and files keep them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpsolve.density.cell_frame import CellFrame
from fpsolve.density.frame import Frame
from fpsolve.density.gaussian_frame import GaussianFrame
from fpsolve.density.view import AnyFrame
from fpsolve.recording.axes import Column

__all__ = ["FRAME_ARRAYS", "frame_arrays", "frame_columns", "frame_from"]

# The number `kind` of a frame is its place in this list.
_KINDS: tuple[type[Any], ...] = (Frame, CellFrame, GaussianFrame)
_NUMBERS = {kind: number for number, kind in enumerate(_KINDS)}
# Number of axes of every array a frame may have, and its type.
FRAME_ARRAYS: dict[str, tuple[int, type[Any]]] = {
    "order": (0, np.int64),
    "first": (1, np.int64),
    **dict.fromkeys(("left", "width"), (1, np.float64)),
    **dict.fromkeys(("u", "atom_positions", "atom_masses"), (2, np.float64)),
    "cell_edges": (1, np.float64),
    "averages": (2, np.float64),
    "mean": (1, np.float64),
    "deviation": (1, np.float64),
}


def frame_arrays(frame: AnyFrame) -> dict[str, NDArray[Any]]:
    """Return a frame as a flat dictionary of arrays, with its `kind` as a number."""
    return {"kind": np.asarray(_NUMBERS[type(frame)]), **frame.to_arrays()}


def frame_columns(frames: Sequence[AnyFrame], *, whole: bool = False) -> dict[str, Column]:
    """Return frames as columns of a block, each array of all of them together.

    With `whole` there are the arrays of all kinds, empty where a frame has none, for runs whose
    frames are of several kinds.
    """
    kinds = np.array([_NUMBERS[type(frame)] for frame in frames])
    polynomials = [frame for frame in frames if isinstance(frame, Frame)]
    if len(polynomials) == len(frames) and not whole:
        return {"kind": kinds, **Frame.columns(polynomials)}
    rows = [frame.to_arrays() for frame in frames]
    if whole:
        empty = {n: np.zeros((0,) * axes, dtype) for n, (axes, dtype) in FRAME_ARRAYS.items()}
        rows = [{**empty, **arrays} for arrays in rows]
    columns: dict[str, Column] = {"kind": kinds}
    for name in rows[0]:
        column = [arrays[name] for arrays in rows]
        columns[name] = column if FRAME_ARRAYS[name][0] else np.array(column)
    return columns


def frame_from(arrays: Mapping[str, NDArray[Any]]) -> AnyFrame:
    """Return the frame that `frame_arrays` took apart."""
    frame: AnyFrame = _KINDS[int(arrays.get("kind", 0))].from_arrays(arrays)
    return frame
