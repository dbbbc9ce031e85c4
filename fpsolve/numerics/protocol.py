"""What the rooms about a `solver.Solver` need of it, which it imports itself."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fpsolve.numerics import kernels
from fpsolve.numerics.element import Element
from fpsolve.numerics.equation import Equation

__all__ = ["Solver"]

Array = NDArray[np.float64]


class Solver(Protocol):
    """A `solver.Solver` to those that it calls: `attach`, `lead` and `rest`."""

    equation: Equation
    element: Element
    model: kernels.Model
    motion: kernels.Motion
    control: kernels.Control
    reference: kernels.Reference
    mesh: kernels.Mesh
    arrival: tuple[kernels.Cells, kernels.Mesh] | None
    cells: kernels.Cells
    u: Array
    fallen: Array
    rtol: float

    @property
    def time(self) -> float: ...
    @property
    def step(self) -> float: ...
    @property
    def moments(self) -> Array: ...
    @property
    def x(self) -> Array: ...
    @property
    def classes(self) -> NDArray[np.int64]: ...
    def place(self) -> None: ...
    def mesh_at(self, motion: kernels.Motion) -> kernels.Mesh: ...
