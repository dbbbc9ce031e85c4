"""Peer in FiPy: central convection on faces, implicit Euler swept to the new ε_g, extrapolated."""

from __future__ import annotations

import os
import sys

import numpy as np
from numpy.typing import NDArray

from validation.performance.cases import Case, cell_masses, uniform_edges

# FiPy reads its choice of solvers and the arguments of the script when it is imported.
os.environ.setdefault("FIPY_SOLVERS", "scipy")
_arguments, sys.argv = sys.argv, sys.argv[:1]
import fipy  # noqa: E402

sys.argv = _arguments

__all__ = ["implicit_euler", "solve"]

Array = NDArray[np.float64]


def implicit_euler(case: Case, cells: int, steps: int, sweeps: int = 2) -> Array:
    """Return ε_g at the times of the case from about `steps` implicit Euler steps.

    The exponential convection term would keep the Péclet number of the first D, so the central one
    is used. Each interval between times gets steps in proportion to the root of its length.
    """
    edges = uniform_edges(case, cells)
    width = float(edges[1] - edges[0])
    mesh = fipy.Grid1D(nx=edges.size - 1, dx=width) + np.array([[edges[0]]])
    centers = 0.5 * (edges[1:] + edges[:-1])
    drift = case.problem.drift(centers, 1.0)
    at_faces = np.zeros((1, edges.size))
    at_faces[0, 1:-1] = 0.5 * (drift[1:] + drift[:-1])
    velocity = fipy.FaceVariable(mesh=mesh, rank=1, value=at_faces)
    density = fipy.CellVariable(mesh=mesh, value=cell_masses(edges) / width, hasOld=True)
    weights = width * case.error_weights(case.problem.quantize(centers))
    diffusivity = fipy.Variable(value=0.0)
    convection = fipy.CentralDifferenceConvectionTerm(coeff=velocity)
    equation = fipy.TransientTerm() == fipy.DiffusionTerm(coeff=diffusivity) - convection
    solver = fipy.LinearLUSolver(tolerance=1e-12)

    intervals = np.diff(case.times)
    counts = np.maximum(1, np.round(steps * np.sqrt(intervals) / np.sqrt(intervals).sum()))
    errors = [case.floor + float(weights @ density.value)]
    for interval, count in zip(intervals, counts.astype(int), strict=True):
        for _ in range(count):
            density.updateOld()
            for _ in range(sweeps):
                error = case.floor + float(weights @ density.value)
                diffusivity.setValue(float(case.problem.diffusivity(error)))
                equation.sweep(density, dt=interval / count, solver=solver)
        errors.append(case.floor + float(weights @ density.value))
    return np.array(errors)


def solve(case: Case, cells: int, steps: int) -> Array:
    """Return ε_g from `steps` and 2·`steps` time steps, extrapolated to second order in time."""
    coarse = implicit_euler(case, cells, steps)
    return 2 * implicit_euler(case, cells, 2 * steps) - coarse
