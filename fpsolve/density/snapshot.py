"""`Snapshot`: the density on its mesh at one time, and its reduction to moments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fpsolve.density.element import Element
from fpsolve.density.frame import Frame
from fpsolve.problem.teacher import Teacher

__all__ = ["Snapshot"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Piecewise polynomial conditional densities, elements of all teacher values side by side.

    Attributes
    ----------
    element : Element
        Reference element.
    first : ndarray, shape (K + 1,)
        First element of each teacher value.
    left, width : ndarray, shape (E,)
        Elements (dimensionless).
    x, psi, mass, u : ndarray, shape (p + 1, E)
        Positions, ψ, control volumes and density at the nodes.
    """

    element: Element
    first: NDArray[np.int64]
    left: Array
    width: Array
    x: Array
    psi: Array
    mass: Array
    u: Array

    def moments(self, teacher: Teacher) -> dict[str, float]:
        """Return m, q, m_psi, q_psi and r_psi by the quadrature of the elements."""
        k = np.repeat(np.arange(teacher.values.size), np.diff(self.first))
        weight = self.mass * self.u * teacher.probabilities[k]
        w_star = teacher.values[k]
        return {
            "m": float(np.sum(weight * w_star * self.x)),
            "q": float(np.sum(weight * self.x**2)),
            "m_psi": float(np.sum(weight * w_star * self.psi)),
            "q_psi": float(np.sum(weight * self.psi**2)),
            "r_psi": float(np.sum(weight * self.x * self.psi)),
        }

    def mass_defect(self) -> float:
        """Largest |mass − 1| of a conditional density."""
        totals = np.add.reduceat((self.mass * self.u).sum(axis=0), self.first[:-1])
        return float(np.abs(totals - 1).max())

    def unresolved(self) -> float:
        """Largest L¹ norm, over teacher values, of what the highest Legendre modes carry."""
        tail = np.abs(self.element.legendre[-2:] @ self.u).max(axis=0) * self.width
        return float(np.add.reduceat(tail, self.first[:-1]).max())

    @property
    def frame(self) -> Frame:
        """The densities alone, copied."""
        return Frame(self.element.order, self.first, self.left, self.width, self.u)
