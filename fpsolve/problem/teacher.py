"""The teacher law p(w*): finitely many values with probabilities."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.errors import ParameterError
from fpsolve.problem.checks import finite, integer, readonly_vector

__all__ = ["Teacher"]


class Teacher:
    """The law of a teacher weight w*, as atoms with probabilities.

    Parameters
    ----------
    values : array_like, shape (K,)
        Distinct teacher values w*_k (dimensionless).
    probabilities : array_like, shape (K,)
        Their probabilities, positive, summing to 1.

    Raises
    ------
    ParameterError
        If shapes differ, values repeat, or probabilities are not positive or do not sum to 1.
    """

    def __init__(self, values: ArrayLike, probabilities: ArrayLike) -> None:
        self._values = readonly_vector("teacher.values", values)
        self._probabilities = readonly_vector("teacher.probabilities", probabilities)
        if self._values.size != self._probabilities.size:
            allowed = f"must have as many entries as the {self._values.size} values"
            raise ParameterError("teacher.probabilities", probabilities, allowed)
        if np.unique(self._values).size != self._values.size:
            raise ParameterError("teacher.values", values, "must be distinct; merge equal values")
        if (self._probabilities <= 0).any():
            allowed = "must all be > 0; drop the values that never occur"
            raise ParameterError("teacher.probabilities", probabilities, allowed)
        total = math.fsum(self._probabilities)
        if abs(total - 1) > 1e-9:
            allowed = f"must sum to 1, not {total:.12g}; divide them by their sum"
            raise ParameterError("teacher.probabilities", probabilities, allowed)

    @classmethod
    def constant(cls, value: float) -> Teacher:
        """All teacher weights equal to `value` (the paper's w* = 1)."""
        return cls([finite("teacher.value", value)], [1.0])

    @classmethod
    def rademacher(cls) -> Teacher:
        """w* = ±1 with equal probability."""
        return cls([-1.0, 1.0], [0.5, 0.5])

    @classmethod
    def gaussian(cls, variance: float, nodes: int) -> Teacher:
        """N(0, variance) by Gauss–Hermite quadrature with `nodes` values (2 to 128).

        Moments up to order 2·nodes − 1 are those of the Gaussian.
        """
        scale = math.sqrt(finite("teacher.variance", variance, above=0.0))
        count = integer("teacher.nodes", nodes, least=2, most=128)
        points, weights = np.polynomial.hermite_e.hermegauss(count)
        # Remote nodes whose weight underflows carry nothing; the rest sum to 1 up to rounding.
        kept = weights > 0
        weights = weights[kept] / math.fsum(weights[kept])
        return cls(scale * points[kept], weights)

    @property
    def values(self) -> NDArray[np.float64]:
        """Teacher values w*_k, shape (K,), read-only (dimensionless)."""
        return self._values

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Their probabilities, shape (K,), read-only."""
        return self._probabilities

    @property
    def rho(self) -> float:
        """Second moment ρ = E[w*²] (dimensionless)."""
        return float(self._probabilities @ np.square(self._values))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Teacher)
            and np.array_equal(self.values, other.values)
            and np.array_equal(self.probabilities, other.probabilities)
        )

    def __hash__(self) -> int:
        return hash((self.values.tobytes(), self.probabilities.tobytes()))

    def __repr__(self) -> str:
        if self.values.size == 1:
            return f"Teacher.constant({self.values[0]})"
        return (
            f"Teacher(values={self.values.tolist()}, probabilities={self.probabilities.tolist()})"
        )
