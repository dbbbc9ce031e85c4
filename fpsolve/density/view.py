"""One mesh of cells for the densities of all times, drawn from the frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fpsolve.density.cell_frame import CellFrame
from fpsolve.density.frame import Frame
from fpsolve.density.gaussian_frame import GaussianFrame
from fpsolve.errors import ParameterError

__all__ = ["AnyFrame", "shared_edges", "thin_edges"]

Array = NDArray[np.float64]

AnyFrame = Frame | CellFrame | GaussianFrame

_MOST_VALUES = 2e8
# Half-width of the cell around a point mass, relative to its position.
_POINT = 1e-9
# Cells narrower than this many units in the last place of their position have no exact width.
_ULPS = 64


def shared_edges(frames: Sequence[AnyFrame], thresholds: Array) -> Array:
    """Return edges (N + 1,) that resolve every frame and contain every threshold in their range.

    Frames that share one mesh of cells keep it. Otherwise elements of all frames are overlaid;
    where meshes shifted against each other would leave slivers, edges closer than half the local
    element are dropped, thresholds never. No cell has width zero.

    Raises
    ------
    ParameterError
        If the cell averages of all times would not fit in memory.
    """
    cells = [f for f in frames if isinstance(f, CellFrame)]
    if len(cells) == len(frames) and all(
        np.array_equal(f.cell_edges, cells[0].cell_edges) for f in cells
    ):
        return cells[0].cell_edges
    whole = _overlaid(frames, thresholds)
    values = len(frames) * frames[0].count * (whole.size - 1)
    order = max((f.order for f in frames if isinstance(f, Frame)), default=1)
    parts = int(min(order, _MOST_VALUES // values))
    if parts < 1:
        raise ParameterError(
            "density",
            (len(frames), frames[0].count, whole.size - 1),
            "cell averages of all times would not fit in memory; "
            "ask `pdf`, `probability` or `frames` for single times",
        )
    within = np.arange(parts) / parts
    edges = (whole[:-1, None] + np.diff(whole)[:, None] * within).ravel()
    return _apart(np.append(edges, whole[-1]))


def _overlaid(frames: Sequence[AnyFrame], thresholds: Array) -> Array:
    """Ends of all elements, and the thresholds in their range, thinned out."""
    outlines = [f.outline() for f in frames]
    held = [f.atoms.held() for f in frames if isinstance(f, Frame)]
    edge = np.concatenate([e for e, _ in outlines])
    size = np.concatenate([s for _, s in outlines])
    low, high = (edge.min(), edge.max()) if edge.size else (np.inf, -np.inf)
    points = np.unique(np.concatenate(held)) if held else np.empty(0)
    # Point masses that no element holds get a cell of their own.
    points = points[(points < low) | (points > high)]
    half = _POINT * np.maximum(1.0, np.abs(points))
    edge = np.concatenate([edge, points - half, points + half])
    size = np.concatenate([size, half, half])
    low, high = edge.min(), edge.max()
    inside = thresholds[(thresholds > low) & (thresholds < high)]
    mandatory = np.concatenate([[low], inside, [high]])
    edge = np.concatenate([edge, mandatory])
    size = np.concatenate([size, np.zeros(mandatory.size)])
    order = np.argsort(edge, kind="stable")
    return np.asarray(thin_edges(edge[order], size[order]))


def _apart(edges: Array) -> Array:
    """Drop edges that differ from the one before by rounding; the last one stays."""
    apart = np.diff(edges) > _ULPS * np.spacing(np.abs(edges[1:]))
    if apart.all():
        return edges
    kept = [edges[0]]
    for edge in edges[1:-1]:
        if edge - kept[-1] > _ULPS * np.spacing(abs(edge)):
            kept.append(edge)
    if len(kept) > 1 and edges[-1] - kept[-1] <= _ULPS * np.spacing(abs(edges[-1])):
        kept.pop()
    return np.array([*kept, edges[-1]])


@njit(cache=True, nogil=True)
def thin_edges(edge: Array, size: Array) -> Array:
    """Drop edges closer to a kept one than 0.49 of their element; size 0 is mandatory.

    An edge that is not mandatory gives way to a mandatory one that follows as close.
    """
    kept = np.empty_like(edge)
    count = 0
    fixed = False
    narrow = 0.0
    i = 0
    while i < edge.size:
        # Coinciding edges (up to rounding) count once, with the smallest element among them.
        smallest = np.inf
        at = edge[i]
        mandatory = False
        j = i
        while j < edge.size and edge[j] - edge[i] <= max(1e-9 * size[j], 1e-15 * abs(edge[i])):
            if size[j] == 0.0:
                mandatory = True
                at = edge[j]
            else:
                smallest = min(smallest, size[j])
            j += 1
        if mandatory and count > 0 and not fixed and at - kept[count - 1] < 0.49 * narrow:
            count -= 1
        if count == 0 or mandatory or at - kept[count - 1] > 0.49 * smallest:
            kept[count] = at
            count += 1
            fixed = mandatory
            narrow = smallest
        i = j
    return kept[:count].copy()
