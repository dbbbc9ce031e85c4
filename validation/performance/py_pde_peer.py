"""Peer in py-pde: the equation as an expression, thresholds on faces, adaptive Runge–Kutta.

py-pde compiles the equation anew at every solve. Here the compiled stepper is kept, so that running
and compiling can be timed apart.
"""

from __future__ import annotations

import numpy as np
import pde
from numpy.typing import NDArray

from validation.performance.cases import Case, cell_masses, uniform_edges

__all__ = ["PyPDE"]

Array = NDArray[np.float64]


class PyPDE:
    """A case in py-pde, compiled; calling it solves the case.

    Of its solvers the explicit one is the fastest here: implicit ones fall back on fixed-point
    iterations, and SciPy's are called through Python fields.

    Parameters
    ----------
    case : Case
        What to solve.
    cells : int
        Number of cells, about.
    tolerance : float
        Of the adaptive Runge–Kutta method.
    backend : str, default "numba"
        "numba" or, with nothing to compile and slower, "numpy".
    """

    def __init__(self, case: Case, cells: int, *, tolerance: float, backend: str = "numba") -> None:
        edges = uniform_edges(case, cells)
        grid = pde.CartesianGrid([[edges[0], edges[-1]]], edges.size - 1)
        self.case, self.width = case, float(edges[1] - edges[0])
        psi = case.problem.quantize(grid.axes_coords[0])
        self.error_weights = case.error_weights(psi)
        self.start = pde.ScalarField(grid, cell_masses(edges) / self.width)
        equation = pde.PDE(
            {"c": "-d_dx(a * c) + (floor + integral(g * c)) * spread * laplace(c)"},
            consts={
                "a": pde.ScalarField(grid, case.problem.drift(grid.axes_coords[0], 1.0)),
                "g": pde.ScalarField(grid, self.error_weights),
                "floor": case.floor,
                "spread": float(case.problem.diffusivity(1.0)),
            },
            bc={"value": 0},
        )
        solver = pde.RungeKuttaSolver(equation, adaptive=True, tolerance=tolerance, backend=backend)
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
