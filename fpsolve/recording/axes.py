"""Blocks of times: what a run hands over, and over which dimensions each array of it stands.

An array of a block is one of three kinds. It stands over the requested times (`time` among its
axes), over the finer times along the way (`dense_time`), or it changes its shape from time to time,
as adaptive meshes do: then it is a list, one array a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpsolve.reduction import ORDER_PARAMETER_NAMES

__all__ = [
    "Block",
    "Column",
    "axes_of",
    "block_bytes",
    "block_size",
    "frames_of",
    "growing_axis",
    "owned",
    "part_of",
]

Column = NDArray[Any] | Sequence[NDArray[Any]]
Block = Mapping[str, Column]

_TIMES = {"time": ("time",), "dense_time": ("dense_time",), "dense_end": ("time",)}
# Arrays at the root of a file, with their axes; all others change their shapes.
_ROOT: dict[str, dict[str, tuple[str, ...]]] = {
    "particles": {
        **_TIMES,
        **dict.fromkeys(ORDER_PARAMETER_NAMES, ("run", "time")),
        **dict.fromkeys((f"dense_{name}" for name in ORDER_PARAMETER_NAMES), ("run", "dense_time")),
        "weights": ("run", "time", "coordinate"),
        "flip_counts": ("run", "dense_time", "threshold"),
        "teacher_weights": ("run", "coordinate"),
    },
    "mckean-vlasov": {
        **_TIMES,
        "functionals": ("time", "functional"),
        "dense_functionals": ("dense_time", "functional"),
    },
    "*": {
        **_TIMES,
        **dict.fromkeys(ORDER_PARAMETER_NAMES, ("time",)),
        **dict.fromkeys((f"dense_{name}" for name in ORDER_PARAMETER_NAMES), ("dense_time",)),
        "teacher": ("teacher",),
        "teacher_probability": ("teacher",),
    },
}


def axes_of(kind: str, name: str) -> tuple[str, ...] | None:
    """Return the dimensions of an array of a run, None if its shape changes from time to time."""
    return _ROOT.get(kind, _ROOT["*"]).get(name)


def growing_axis(axes: tuple[str, ...]) -> int:
    """Return which of the dimensions grows as a run goes on."""
    return next(at for at, axis in enumerate(axes) if axis in ("time", "dense_time"))


def block_size(block: Block) -> int:
    """Return the number of times in a block."""
    return len(block["time"])


def block_bytes(block: Block) -> int:
    """Return how much memory a block takes, about: the rows of a list are much alike."""
    size = 0
    for column in block.values():
        size += column.nbytes if isinstance(column, np.ndarray) else len(column) * column[-1].nbytes
    return size


def owned(block: Block) -> dict[str, Column]:
    """Return a block that nobody else can change: copied, but for arrays that are read-only."""

    def own(rows: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        # Many times have the same mesh.
        copies = {id(row): row for row in rows if row.flags.writeable}
        copies = {key: row.copy() for key, row in copies.items()}
        return [copies.get(id(row), row) for row in rows] if copies else list(rows)

    return {
        name: own([column])[0] if isinstance(column, np.ndarray) else own(column)
        for name, column in block.items()
    }


def part_of(kind: str, block: Block, start: int, stop: int) -> dict[str, Column]:
    """Return times number `start` to `stop` of a block, as a block."""
    part: dict[str, Column] = {}
    ends = np.append(0, block["dense_end"]) if "dense_end" in block else np.zeros(1, np.int64)
    for name, column in block.items():
        axes = axes_of(kind, name)
        if isinstance(column, np.ndarray) and axes is not None:
            at = growing_axis(axes)
            dense = axes[at] == "dense_time"
            own = slice(ends[start], ends[stop]) if dense else slice(start, stop)
            part[name] = column[(slice(None),) * at + (own,)]
        else:
            part[name] = column[start:stop]
    if "dense_end" in part:
        part["dense_end"] = part["dense_end"] - ends[start]
    return part


def frames_of(kind: str, block: Block) -> list[dict[str, NDArray[Any]]]:
    """Return a block as one mapping a time, of what there is at that time and on the way to it."""
    frames = []
    for i in range(block_size(block)):
        frame = {}
        for name, column in part_of(kind, block, i, i + 1).items():
            axes = axes_of(kind, name)
            if isinstance(column, np.ndarray) and axes is not None:
                at = growing_axis(axes)
                dense = axes[at] == "dense_time"
                frame[name] = np.array(column if dense else column.take(0, axis=at))
            elif name != "dense_end":
                frame[name] = np.array(column[0])
        frame.pop("dense_end", None)
        frames.append(frame)
    return frames
