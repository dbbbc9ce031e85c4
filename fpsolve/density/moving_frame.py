"""Meshes that move with the drift while all their mass lies inside one quantization bin.

There the drift is one constant: in its frame only diffusion is left, so that far travel, inward or
running away for ever, costs neither steps nor accuracy.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fpsolve.density.lattice import Cell
from fpsolve.density.mesh import Mesh

__all__ = ["detach", "keep_inside"]

# A mesh is set moving if it can move for so many steps before it reaches the end of its bin.
_STEPS = 10.0
# So many temperatures from its threshold a smoothed step equals 0 or 1 in double precision.
_SMOOTH = 9.0


def detach(mesh: Mesh, step: float) -> None:
    """Set those meshes moving whose mass lies inside one bin, clear of its ends."""
    if mesh.problem.weight_quantizer is None:
        return
    stir = mesh.stir(step)
    moved = False
    for k in np.flatnonzero(~mesh.detached).tolist():
        own = mesh.own(k)
        if (mesh.bins[own] != mesh.bins[own.start]).any():
            continue
        speed = float(mesh.drift[0, own.start])
        reach = stir + _STEPS * step * abs(speed)
        below, above = _gaps(mesh, k)
        if below > (reach if speed < 0 else stir) and above > (reach if speed > 0 else stir):
            mesh.detached[k] = moved = True
            mesh.speed[k] = speed
    if moved:
        mesh.place()


def keep_inside(mesh: Mesh, step: float) -> float:
    """Return the step to try, shortened, or with meshes at rest, so that none leaves its bin."""
    for k in np.flatnonzero(mesh.detached).tolist():
        gaps = _gaps(mesh, k)
        margin = 2.0 * mesh.stir(step)
        ahead = gaps[1 if mesh.speed[k] > 0 else 0]
        if min(gaps) < margin:
            _attach(mesh, k)
            mesh.place()
        elif ahead < math.inf and mesh.speed[k] != 0:
            # Come closer, but end near enough for the next step to attach the mesh.
            step = min(step, 0.9 * (ahead - margin) / abs(mesh.speed[k]) + 1e-3 * step)
    return step


def _gaps(mesh: Mesh, k: int) -> tuple[float, float]:
    """Distance of the domain of teacher value k to the lower and upper end of its bin.

    Smoothed steps reach into the bins: there the ends are where the drift ceases to be constant.
    """
    own, lattice, quantizer = mesh.own(k), mesh.lattice, mesh.problem.weight_quantizer
    smooth = 0.0 if quantizer is None else _SMOOTH * quantizer.temperature
    b = mesh.bins[own.start]
    right = mesh.left[own.stop - 1] + mesh.width[own.stop - 1]
    below, above = mesh.left[own.start] - lattice.lower[b], lattice.upper[b] - right
    return float(below) - smooth, float(above) - smooth


def _attach(mesh: Mesh, k: int) -> None:
    """Put the density of teacher value k back on the lattice at rest, mass kept exactly."""
    old, own = mesh.snapshot().frame, mesh.own(k)
    cells = _cells_like(mesh, mesh.left[own], mesh.width[own])
    size = np.array([mesh.lattice.width(c) for c in cells])
    start = np.array(
        [mesh.lattice.origin[b] + index * w for (b, _, index), w in zip(cells, size, strict=True)]
    )
    x = start + 0.5 * size * (1.0 + mesh.element.nodes[:, None])
    edges = np.append(start, start[-1] + size[-1])
    u = old.pdf(k, x)
    u[0, 1:] = u[-1, :-1]
    exact = old.cell_averages(edges)[k] * np.diff(edges)
    defect = exact - 0.5 * size * (mesh.element.weights @ u)
    u += mesh.element.restore[:, :1] * (2.0 * defect / size)
    mesh.replace(k, own, cells, u)
    mesh.shift[k] = mesh.speed[k] = 0.0
    mesh.detached[k] = False


def _cells_like(mesh: Mesh, left: NDArray[np.float64], width: NDArray[np.float64]) -> list[Cell]:
    """Lattice cells that cover given elements and are nowhere wider than these."""
    cells = mesh.lattice.cover(left[0], left[-1] + width[-1], float(width.max()))
    while True:
        fine: list[Cell] = []
        for cell in cells:
            b, level, index = cell
            size = mesh.lattice.width(cell)
            begin = mesh.lattice.origin[b] + index * size
            low = max(int(np.searchsorted(left, begin, side="right")) - 1, 0)
            high = max(int(np.searchsorted(left, begin + size)), low + 1)
            if size > 1.01 * width[low:high].min():
                fine += [(b, level + 1, 2 * index), (b, level + 1, 2 * index + 1)]
            else:
                fine.append(cell)
        if len(fine) == len(cells):
            return cells
        cells = fine
