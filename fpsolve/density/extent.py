"""The extent of a mesh: it grows where mass reaches its end and shrinks where there is none."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fpsolve.density.mesh import Mesh

__all__ = ["fit_extent", "grow"]

# The extent grows when an end element carries, and shrinks when it carries less than, these shares
# of the mass that an element may leave unresolved.
_GROW = 0.3
_TRIM = 0.03
_FEWEST = 4


def fit_extent(mesh: Mesh, step: float, *, trim: bool) -> None:
    """Grow or trim the domains of `mesh` as the ends it has marked demand."""
    if (mesh.ends > _GROW * mesh.resolution).any():
        grow(mesh, step)
    elif trim and (mesh.ends < _TRIM * mesh.resolution).any():
        _trim(mesh)


def grow(mesh: Mesh, step: float) -> None:
    """Add empty elements, as far as mass can come in a few steps, where it is near an end."""
    stir = mesh.stir(step)
    # Outward drift at the two ends of each domain, before any element is added.
    drift = np.stack([-mesh.drift[0, mesh.first[:-1]], mesh.drift[-1, mesh.first[1:] - 1]])
    for k in range(mesh.first.size - 1):
        for side in (0, 1):
            if mesh.ends[side, k] <= _GROW * mesh.resolution:
                continue
            own = mesh.own(k)
            end = own.stop - 1 if side else own.start
            cells = mesh.lattice.beyond(
                (int(mesh.bins[end]), int(mesh.level[end]), int(mesh.index[end])),
                outward=1 if side else -1,
                reach=stir + 3.0 * step * max(0.0, float(drift[side, k])),
                free=bool(mesh.detached[k]),
            )
            u = np.zeros((mesh.element.order + 1, len(cells)))
            u[:, 0] = _empty(mesh, float(mesh.u[-1 if side else 0, end]), side)
            if side:
                mesh.replace(k, slice(own.stop, own.stop), cells, u)
            else:
                mesh.replace(k, slice(own.start, own.start), cells[::-1], u[:, ::-1])
    mesh.place()


def _empty(mesh: Mesh, end_value: float, side: int) -> NDArray[np.float64]:
    """An element of mass zero that continues the density's end value."""
    value = np.zeros(mesh.element.order + 1)
    value[0 if side else -1] = end_value
    return np.asarray(value - mesh.element.restore[:, 0] * (mesh.element.weights @ value))


def _trim(mesh: Mesh) -> None:
    """Drop end elements that, like their neighbour, carry nothing.

    What little they held moves one element inward, so that no mass is lost.
    """
    weight = mesh.importance() * mesh.width
    height = np.abs(mesh.u).max(axis=0) * weight < _TRIM * mesh.resolution
    dropped = False
    nothing = np.empty((mesh.element.order + 1, 0))
    for k in reversed(range(mesh.first.size - 1)):
        for side in (1, 0):
            own = mesh.own(k)
            at = own.stop - 1 if side else own.start
            inner = at - 1 if side else at + 1
            if own.stop - own.start < _FEWEST or not (height[at] and height[inner]):
                continue
            moved = mesh.element.weights @ mesh.u[:, at] * (mesh.width[at] / mesh.width[inner])
            mesh.u[:, inner] += moved * mesh.element.restore[:, 0]
            mesh.replace(k, slice(at, at + 1), [], nothing)
            dropped = True
    if dropped:
        mesh.place()
