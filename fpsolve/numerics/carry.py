"""What a mesh has in common with the one before it, which is not evaluated again."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fpsolve.numerics.kernels import Mesh

__all__ = ["Placed", "carry_over", "fill_in", "same_elements"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


class Placed(NamedTuple):
    """A mesh as it was made, and the speeds (J, K) of its classes then, see `kernels.Motion`."""

    mesh: Mesh
    speed: Array


def same_elements(before: Placed, mesh: Mesh, speed: Array, *, ends: bool) -> Indices:
    """Return the elements of a mesh before that those of a new one are, −1 if none is.

    Parameters
    ----------
    before : Placed
        The mesh before, of the same classes.
    mesh : Mesh
        The new one, of which positions are known.
    speed : ndarray, shape (J, K)
        Speeds now: of classes that have changed theirs nothing is the same.
    ends : bool
        Whether the outermost elements of a class count; they do not where they hold atoms.

    Returns
    -------
    ndarray of int, shape (E,)
        Numbers of elements.
    """
    source = np.empty(mesh.left.size, np.int64)
    same = (before.speed == speed).all(axis=0)
    old = before.mesh
    _find(old.first, old.left, old.width, mesh.first, mesh.left, mesh.width, same, ends, source)
    return source


@njit(cache=True, nogil=True)
def _find(
    first: Indices,
    left: Array,
    width: Array,
    new_first: Indices,
    new_left: Array,
    new_width: Array,
    same: NDArray[np.bool_],
    ends: bool,
    source: Indices,
) -> None:
    """See `same_elements`. Elements of a class ascend on both meshes."""
    for k in range(same.size):
        old, end, last = first[k], first[k + 1], new_first[k + 1] - 1
        for e in range(new_first[k], last + 1):
            source[e] = -1
            while old < end and left[old] < new_left[e]:
                old += 1
            if not same[k] or old == end or left[old] != new_left[e] or width[old] != new_width[e]:
                continue
            if ends or (first[k] < old < end - 1 and new_first[k] < e < last):
                source[e] = old


def carry_over(before: Mesh, mesh: Mesh, source: Indices) -> None:
    """Fill the columns of a mesh that it has in common with one before, see `same_elements`."""
    for name in ("mass", "drift", "functionals", "inverse", "widest"):
        rows, out = getattr(before, name), getattr(mesh, name)
        _carry(rows.reshape(-1, rows.shape[-1]), source, out.reshape(-1, source.size))


@njit(cache=True, nogil=True)
def _carry(rows: Array, source: Indices, out: Array) -> None:
    """out[:, e] = rows[:, source[e]] where that is an element; rows are (R, E)."""
    for i in range(rows.shape[0]):
        for e in range(source.size):
            if source[e] >= 0:
                out[i, e] = rows[i, source[e]]


@njit(cache=True, nogil=True)
def fill_in(
    mesh: Mesh,
    new: Indices,
    classes: Indices,
    weights: Array,
    found: tuple[Array, Array, Array],
    speed: Array,
    probability: Array,
) -> None:
    """Fill the other columns, elements `new` of the given `classes`, (N,).

    `found` are drift terms (J, n, N), h (n, N) and functionals (F, n, N) at the nodes, and
    `weights` those of the nodes.
    """
    terms, h, seen = found
    # One row after the other, as they stand in memory; h² is wanted again.
    square = np.empty(new.size)
    for j in range(h.shape[0]):
        for i in range(new.size):
            square[i] = h[j, i] * h[j, i]
            mesh.mass[j, new[i]] = 0.5 * mesh.width[new[i]] * weights[j] / square[i]
        if j == h.shape[0] // 2:
            for i in range(new.size):
                mesh.inverse[new[i]] = 1.0 / square[i]
        for t in range(terms.shape[0]):
            for i in range(new.size):
                mesh.drift[t, j, new[i]] = (terms[t, j, i] - speed[t, classes[i]]) / square[i]
        for f in range(seen.shape[0]):
            for i in range(new.size):
                weight = probability[classes[i]] * mesh.mass[j, new[i]]
                mesh.functionals[f, j, new[i]] = weight * seen[f, j, i]
