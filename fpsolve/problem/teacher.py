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

    @classmethod
    def from_samples(cls, weights: ArrayLike, nodes: int) -> Teacher:
        """Return the law of given weights, e.g. of a trained layer, as at most `nodes` values.

        The sorted weights are cut into `nodes` runs that carry equal shares of Σ(1 + w²/E w²), so
        that rare large weights get values of their own; each run becomes its mean, with its share
        of the weights. All values are then multiplied by one factor, slightly above 1, that
        restores E w², which enters ε_g as ρ.

        Parameters
        ----------
        weights : array_like, any shape
            Samples of w*, all finite, not all zero (dimensionless). For a layer in its own units
            divide by its standard deviation, and multiply ranges found for it by the same.
        nodes : int
            Number of values wanted, from 2 to 1024; ties may leave fewer.

        Raises
        ------
        ParameterError
            If a weight is not finite, all are zero, or `nodes` is out of range.
        """
        count = integer("nodes", nodes, least=2, most=1024)
        samples = readonly_vector("weights", np.ravel(np.asarray(weights)))
        power = float(np.mean(np.square(samples)))
        if power == 0:
            raise ParameterError("weights", 0.0, "must not all be zero")
        # Equal weights stay in one run, so that values are distinct.
        values, repeats = np.unique(samples, return_counts=True)
        if values.size <= count:
            return cls(values, repeats / samples.size)
        share = np.cumsum(repeats * (1 + np.square(values) / power))
        run = np.minimum((share - 0.5 * np.diff(share, prepend=0.0)) / share[-1] * count, count - 1)
        starts = np.unique(run.astype(np.int64), return_index=True)[1]
        sizes = np.add.reduceat(repeats, starts)
        means = np.add.reduceat(repeats * values, starts) / sizes
        kept = sizes / samples.size
        left = float(kept @ np.square(means))
        if left == 0:
            raise ParameterError("nodes", nodes, "leaves nothing but 0 of these weights; raise it")
        return cls(math.sqrt(power / left) * means, kept)

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
