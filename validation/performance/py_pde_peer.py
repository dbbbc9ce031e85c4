"""Peer in py-pde: the equation as an expression, thresholds on faces, adaptive Runge–Kutta.

py-pde compiles the equation anew at every solve. Here the compiled stepper is kept, so that running
and compiling can be timed apart.
"""

from __future__ import annotations

import numpy as np
import pde
from numpy.typing import NDArray

from validation.performance.cases import Case, cell_masses, uniform_edges

__all__ = ["PyPDE", "equation"]

Array = NDArray[np.float64]


def equation(case: Case, cells: int) -> tuple[pde.PDE, pde.ScalarField]:
    """Return a case in the words of py-pde, with its start on `cells` cells, about."""
    edges = uniform_edges(case, cells)
    grid = pde.CartesianGrid([[edges[0], edges[-1]]], edges.size - 1)
    centers = 0.5 * (edges[1:] + edges[:-1])
    error_weights = case.error_weights(case.problem.quantize(centers))
    law = pde.PDE(
        {"c": "-d_dx(a * c) + (floor + integral(g * c)) * spread * laplace(c)"},
        consts={
            "a": pde.ScalarField(grid, case.problem.drift(centers, 1.0)),
            "g": pde.ScalarField(grid, error_weights),
            "floor": case.floor,
            "spread": float(case.problem.diffusivity(1.0)),
        },
        bc={"value": 0},
    )
    return law, pde.ScalarField(grid, cell_masses(edges) / np.diff(edges))


class PyPDE:
    """A case in py-pde, compiled; calling it solves the case.

    Of its solvers the explicit one is the fastest here: implicit ones iterate on a fixed point, and
    SciPy's are called through Python fields.

    Parameters
    ----------
    case : Case
        What to solve.
    cells : int
        Number of cells, about.
    tolerance : float
        Of the adaptive Runge–Kutta method.
    """

    def __init__(self, case: Case, cells: int, *, tolerance: float) -> None:
        law, self.start = equation(case, cells)
        self.case, self.width = case, float(self.start.grid.discretization[0])
        self.error_weights = law.consts["g"].data
        solver = pde.RungeKuttaSolver(law, adaptive=True, tolerance=tolerance, backend="numba")
        self.stepper = solver.make_stepper(self.start.copy(), dt=1e-3)

    def __call__(self) -> Array:
        """Return ε_g at the times of the case."""
        field = self.start.copy()
        error, now = [], 0.0
        for time in self.case.times:
            if time > now:
                self.stepper(field, now, float(time))
                now = float(time)
            error.append(self.case.floor + self.width * float(self.error_weights @ field.data))
        return np.array(error)
