"""Frames of any kind as flat dictionaries of arrays, as sinks and files keep them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpsolve.density.cell_frame import CellFrame
from fpsolve.density.frame import Frame
from fpsolve.density.gaussian_frame import GaussianFrame
from fpsolve.density.view import AnyFrame

__all__ = ["FRAME_ARRAYS", "frame_arrays", "frame_from"]

# The number `kind` of a frame is its place in this list.
_KINDS: tuple[type[Any], ...] = (Frame, CellFrame, GaussianFrame)
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


def frame_arrays(frame: AnyFrame, *, whole: bool = False) -> dict[str, NDArray[Any]]:
    """Return a frame as a flat dictionary of arrays, with its `kind` as a number.

    With `whole` it has the arrays of all kinds, empty where this one has none, for runs whose
    frames are of several kinds.
    """
    number = next(n for n, kind in enumerate(_KINDS) if isinstance(frame, kind))
    arrays = {name: np.asarray(values) for name, values in frame.to_arrays().items()}
    if whole:
        empty = {n: np.zeros((0,) * axes, dtype) for n, (axes, dtype) in FRAME_ARRAYS.items()}
        arrays = {**empty, **arrays}
    return {"kind": np.asarray(number, dtype=np.int64), **arrays}


def frame_from(arrays: Mapping[str, NDArray[Any]]) -> AnyFrame:
    """Return the frame that `frame_arrays` took apart."""
    frame: AnyFrame = _KINDS[int(arrays.get("kind", 0))].from_arrays(arrays)
    return frame
