"""`DensityTrajectory`: what `solve_pde` returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpsolve.problem.problem import Problem
from fpsolve.reduction import OrderParameters

__all__ = ["DensityTrajectory"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DensityTrajectory:
    """Densities μ_τ(w | w*_k) at the requested times, and their order parameters.

    Attributes
    ----------
    problem : Problem
        What was solved.
    times : ndarray, shape (T,)
        Times τ (dimensionless).
    edges : ndarray, shape (N + 1,)
        Cell edges in w, one mesh for all times; every threshold inside its range is an edge.
    density : ndarray, shape (T, K, N)
        Cell averages of μ_τ(w | w*_k), in the order of `problem.teacher.values`.
    order_parameters : OrderParameters
        Each of shape (T,).
    stats : dict
        How the integration went: scheme, steps, rejections, unknowns, error estimates,
        largest mass defect, smallest density relative to the largest.
    """

    problem: Problem
    times: Array
    edges: Array
    density: Array
    order_parameters: OrderParameters
    stats: dict[str, Any]

    @property
    def centers(self) -> Array:
        """Cell centres in w, shape (N,)."""
        return 0.5 * (self.edges[1:] + self.edges[:-1])

    @property
    def masses(self) -> Array:
        """Cell masses of each conditional density, shape (T, K, N)."""
        return self.density * np.diff(self.edges)
