"""`Dependence`: how coordinates that share the samples of training depend on each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fpsolve.comparison.law import Law

__all__ = ["LEVELS", "Dependence"]

Array = NDArray[np.float64]

# Shares below which a covariance is known; between them it is interpolated.
LEVELS = np.concatenate([[1 / 32], np.arange(1, 16) / 16, [31 / 32]])


class Dependence:
    """The covariance of n^½ F_n, F_n the distribution function of n coordinates trained together.

    Parameters
    ----------
    inflation : float
        φ: what a covariance of sums over the coordinates is at most, over that of independent
        draws (dimensionless).
    excess : ndarray, shape (J, J), optional
        The covariance less that of independent draws, where F has the values `LEVELS`
        (dimensionless); without it φ stands for it.

    Attributes
    ----------
    inflation : float
        φ.
    """

    def __init__(self, inflation: float, excess: Array | None = None) -> None:
        self.inflation, self._excess = inflation, excess

    @classmethod
    def of_excess(cls, excess: Array, slack: float) -> Dependence:
        """Return it for a known excess; all variances are taken as larger by the share `slack`.

        φ is the largest eigenvalue of the covariance of the cells' shares between the levels,
        relative to that of independent draws.
        """
        independent = np.minimum.outer(LEVELS, LEVELS) - np.outer(LEVELS, LEVELS)
        excess = excess + slack * (independent + excess)
        share = np.diff(LEVELS, prepend=0.0, append=1.0)
        root = np.sqrt(share)
        padded = np.pad(excess, 1)
        cells = np.diff(np.diff(padded, axis=0), axis=1)
        relative = np.eye(root.size) - np.outer(root, root) + cells / np.outer(root, root)
        return cls(float(max(1.0, np.linalg.eigvalsh(relative)[-1])), excess)

    def variance(self, values: Array) -> Array:
        """Return n Var F_n where F has these values, shape as `values`."""
        independent = np.clip(values * (1 - values), 0.0, None)
        if self._excess is None:
            return self.inflation * independent
        return np.clip(independent + self._at(values, values), 0.0, None)

    def cell_variance(self, values: Array) -> Array:
        """Return n Var(F_n − F_n) between neighbours of these values of F, shape (P − 1,)."""
        share = np.clip(np.diff(values), 0.0, None)
        independent = share * (1 - share)
        if self._excess is None:
            return self.inflation * independent
        left, right = values[:-1], values[1:]
        added = self._at(left, left) + self._at(right, right) - 2 * self._at(left, right)
        return np.clip(independent + added, 0.0, None)

    def area_variance(self, law: Law) -> float:
        """Return at least n Var ∫h (F_n − F) dw for every function h within ±1."""
        if self._excess is None:
            return self.inflation * law.variance
        ends = np.concatenate([[0.0], LEVELS, [1.0]])
        hats = np.eye(ends.size)[1:-1]
        weight = [np.trapezoid(np.interp(law.cdf, ends, hat), law.x) for hat in hats]
        return law.variance + float(weight @ np.abs(self._excess) @ np.array(weight))

    def _at(self, first: Array, second: Array) -> Array:
        """Return the excess, bilinear between levels and 0 at the ends."""
        assert self._excess is not None
        ends = np.concatenate([[0.0], LEVELS, [1.0]])
        padded = np.pad(self._excess, 1)
        parts = []
        for values in (first, second):
            value = np.clip(values, 0.0, 1.0)
            i = np.clip(np.searchsorted(ends, value, side="right") - 1, 0, ends.size - 2)
            parts.append((i, (value - ends[i]) / (ends[i + 1] - ends[i])))
        (i, s), (j, t) = parts
        return np.asarray(
            (1 - s) * ((1 - t) * padded[i, j] + t * padded[i, j + 1])
            + s * ((1 - t) * padded[i + 1, j] + t * padded[i + 1, j + 1])
        )
