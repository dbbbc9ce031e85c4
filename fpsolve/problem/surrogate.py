"""`Surrogate`: the factor h(w) by which a straight-through gradient is passed on to a weight."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fpsolve.errors import ParameterError
from fpsolve.problem.checks import finite

__all__ = ["Surrogate"]

Array = NDArray[np.float64]


class Surrogate:
    """The backward pass of the quantizer: h = 1 for |w| ≤ bound, `slope` beyond.

    No surrogate at all is the identity straight-through estimator of the paper.

    Parameters
    ----------
    bound : float or None, default None
        Half-width > 0 of the interval of full gradients (dimensionless); None for the outermost
        level of the weight quantizer (ω of a uniform one).
    slope : float, default 0
        h beyond, in [0, 1): 0 is the clipped estimator, which freezes weights beyond the bound;
        anything in between is a leaky one.

    Raises
    ------
    ParameterError
        If `bound` is not positive or `slope` is outside [0, 1).

    Notes
    -----
    Source: Bengio, Léonard and Courville, arXiv 1308.3432 (clipped); theory: h enters the drift
    once and the diffusion twice.
    """

    def __init__(self, bound: float | None = None, slope: float = 0.0) -> None:
        self._bound = None if bound is None else finite("surrogate.bound", bound, above=0.0)
        self._slope = finite("surrogate.slope", slope, least=0.0)
        if self._slope >= 1:
            allowed = "must be in [0, 1); for the identity use surrogate=None"
            raise ParameterError("surrogate.slope", slope, allowed)
        self._is_triangular = False

    @classmethod
    def triangular(cls, width: float) -> Surrogate:
        """Return the surrogate h = max(0, 1 − |w|/width), continuous and 0 from `width` on.

        Raises
        ------
        ParameterError
            If `width` is not positive.
        """
        made = cls(finite("surrogate.width", width, above=0.0))
        made._is_triangular = True
        return made

    @property
    def bound(self) -> float | None:
        """Where full gradients end, or where a triangle reaches 0; None: the outermost level."""
        return self._bound

    @property
    def slope(self) -> float:
        """h beyond the bound (dimensionless)."""
        return self._slope

    @property
    def is_triangular(self) -> bool:
        """Whether h falls linearly from 1 at w = 0."""
        return self._is_triangular

    def breaks(self, bound: float) -> list[float]:
        """Return the points where h jumps or kinks, for a resolved bound."""
        return [-bound, 0.0, bound] if self.is_triangular else [-bound, bound]

    def line(self, points: Array, bound: float) -> Array:
        """Return h near each of the `points`, shape (B,), as [constant, slope], shape (B, 2)."""
        line = np.zeros((points.size, 2))
        inside = np.abs(points) <= bound
        line[:, 0] = np.where(inside, 1.0, self.slope)
        if self.is_triangular:
            line[:, 1] = np.where(inside, -np.sign(points) / bound, 0.0)
        return line

    def _key(self) -> tuple[object, ...]:
        return (self._bound, self._slope, self._is_triangular)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Surrogate) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        if self.is_triangular:
            return f"Surrogate.triangular({self.bound})"
        return f"Surrogate(bound={self.bound}, slope={self.slope})"
