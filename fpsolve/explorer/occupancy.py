"""The share of weights that each level of a quantizer has, of densities and of runs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fpsolve.density.trajectory import DensityTrajectory
from fpsolve.problem.quantizer import StepQuantizer

__all__ = ["level_probabilities", "level_shares"]

Array = NDArray[np.float64]


def level_probabilities(quantizer: StepQuantizer, w: Array, k: int) -> Array:
    """Return the probability that each of the weights `w` is rounded to level number `k`.

    1 or 0 unless rounding is stochastic: then it falls off linearly to 0 at the next level, and
    weights beyond the range take the last one. Smoothed steps count as the sharp ones they smooth.
    """
    if quantizer.rounding == "stochastic":
        found = np.interp(w, quantizer.levels, np.eye(quantizer.levels.size)[k])
    else:
        found = np.searchsorted(quantizer.thresholds, w, side="right") == k
    return np.asarray(found, dtype=np.float64)


def level_shares(result: DensityTrajectory, index: int) -> Array:
    """Return the share of each level at requested time number `index`, shape (L + 1,).

    It is E P(level | w) over the density and the classes of coordinates (dimensionless).
    """
    quantizer = result.problem.weight_quantizer
    assert quantizer is not None
    if quantizer.rounding == "stochastic":
        # The kinks are at the levels, where elements of the density meet.
        frame, law = result.frames[index], result.problem.teacher.probabilities

        def share(k: int) -> float:
            return float(law @ frame.expectation(lambda w: level_probabilities(quantizer, w, k)))

        return np.array([share(k) for k in range(quantizer.levels.size)])
    time = float(result.times[index])
    below = [float(result.probability(-np.inf, t, time)) for t in quantizer.thresholds]
    return np.diff([0.0, *below, 1.0])
