"""The teacher law: finitely many classes of coordinates, each a value w* and an input scale."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.errors import ParameterError
from fpsolve.problem.brief import brief_list
from fpsolve.problem.checks import finite, integer, readonly_vector

__all__ = ["Teacher"]


class Teacher:
    """The law of a teacher weight w* and of the scale of its input, as atoms with probabilities.

    Parameters
    ----------
    values : array_like, shape (K,)
        Teacher values w*_k (dimensionless).
    probabilities : array_like, shape (K,)
        Their probabilities, positive, summing to 1.
    input_scale : float or array_like, shape (K,), default 1
        Standard deviation s_k > 0 of the inputs that these weights act on, x = s_k z
        (dimensionless). Pairs (w*_k, s_k) are distinct.

    Raises
    ------
    ParameterError
        If shapes differ, pairs repeat, scales or probabilities are not positive, or probabilities
        do not sum to 1.
    """

    def __init__(
        self, values: ArrayLike, probabilities: ArrayLike, input_scale: ArrayLike = 1.0
    ) -> None:
        self._values = readonly_vector("teacher.values", values)
        self._probabilities = readonly_vector("teacher.probabilities", probabilities)
        if self._values.size != self._probabilities.size:
            allowed = f"must have as many entries as the {self._values.size} values"
            raise ParameterError("teacher.probabilities", probabilities, allowed)
        self._input_scale = self._scales(input_scale)
        pairs = np.stack([self._values, self._input_scale])
        if np.unique(pairs, axis=1).shape[1] != self._values.size:
            allowed = "must be distinct (as pairs with their input scales); merge equal ones"
            raise ParameterError("teacher.values", values, allowed)
        if (self._probabilities <= 0).any():
            allowed = "must all be > 0; drop the values that never occur"
            raise ParameterError("teacher.probabilities", probabilities, allowed)
        total = math.fsum(self._probabilities)
        if abs(total - 1) > 1e-9:
            allowed = f"must sum to 1, not {total:.12g}; divide them by their sum"
            raise ParameterError("teacher.probabilities", probabilities, allowed)

    def _scales(self, given: ArrayLike) -> NDArray[np.float64]:
        scales = readonly_vector("teacher.input_scale", given)
        if np.ndim(given) == 0:
            scales = readonly_vector("teacher.input_scale", np.full(self._values.size, scales[0]))
        if scales.size != self._values.size:
            allowed = f"must be a number, or one for each of the {self._values.size} values"
            raise ParameterError("teacher.input_scale", given, allowed)
        if (scales <= 0).any():
            raise ParameterError("teacher.input_scale", given, "must be > 0")
        return scales

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
    def power_law(cls, beta: float, gamma: float, classes: int) -> Teacher:
        """Inputs whose variances Λ = s² have density βΛ^(β−1) on (0, 1], with w*² ∝ Λ^γ, ρ = 1.

        The values are Gauss–Jacobi nodes in Λ^¼: averages over Λ of what is smooth in Λ^¼, such as
        exp(−2ητΛ), converge faster than any power of `classes`, at large τ too. Without weight
        quantizer ε_g falls as τ^−(1 + β + γ) at small η, until τ resolves the smallest Λ.

        Parameters
        ----------
        beta : float
            Exponent β > 0 of the distribution function of Λ.
        gamma : float
            Exponent γ > −1 − β of the teacher's variance.
        classes : int
            Number of values, 2 to 512.

        Raises
        ------
        ParameterError
            If an exponent or `classes` is out of range.
        """
        beta = finite("teacher.beta", beta, above=0.0)
        gamma = finite("teacher.gamma", gamma, above=-1.0 - beta, hint="so that E[x²w*²] exists")
        count = integer("teacher.classes", classes, least=2, most=512)
        # SciPy takes long to import; reading a problem needs none of it.
        from scipy.special import roots_jacobi

        nodes, weights = roots_jacobi(count, 0.0, 4 * beta - 1)
        variance = (0.5 * (1 + nodes)) ** 4
        probability = weights / math.fsum(weights)
        square = variance**gamma
        square /= math.fsum(probability * variance * square)
        return cls(np.sqrt(square), probability, np.sqrt(variance))

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
    def input_scale(self) -> NDArray[np.float64]:
        """Standard deviations s_k of their inputs, shape (K,), read-only (dimensionless)."""
        return self._input_scale

    @property
    def rho(self) -> float:
        """Variance ρ = E[s² w*²] that the teacher gives to the labels (dimensionless)."""
        return float(self._probabilities @ np.square(self._input_scale * self._values))

    @property
    def square(self) -> float:
        """Second moment E[w*²] of the values (dimensionless); ρ where all input scales are 1."""
        return float(self._probabilities @ np.square(self._values))

    def _key(self) -> tuple[bytes, ...]:
        return tuple(a.tobytes() for a in (self.values, self.probabilities, self.input_scale))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Teacher) and all(
            np.array_equal(getattr(self, name), getattr(other, name))
            for name in ("values", "probabilities", "input_scale")
        )

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        scaled = (self.input_scale != 1).any()
        if self.values.size == 1 and not scaled:
            return f"Teacher.constant({self.values[0]})"
        lists = [self.values, self.probabilities, *([self.input_scale] if scaled else [])]
        return f"Teacher({', '.join(map(brief_list, lists))})"
