"""Compiled evaluation of step functions smoothed at temperature T (theory: ψ_T)."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["relaxed_primitive", "relaxed_step"]

# So many temperatures from its threshold a smoothed step equals 0 or 1 in double precision.
_REACH = 9.0


@njit(cache=True, nogil=True)
def relaxed_step(
    x: NDArray[np.float64],
    levels: NDArray[np.float64],
    thresholds: NDArray[np.float64],
    temperature: float,
    out: NDArray[np.float64],
) -> None:
    """out_i = v_0 + Σ_k (v_k − v_{k−1}) Φ((x_i − θ_k)/T), summing only the steps within reach."""
    reach = _REACH * temperature
    for i in range(x.size):
        first = np.searchsorted(thresholds, x[i] - reach)
        last = np.searchsorted(thresholds, x[i] + reach)
        value = levels[first]
        for k in range(first, last):
            z = (x[i] - thresholds[k]) / temperature
            value += (levels[k + 1] - levels[k]) * 0.5 * math.erfc(-z / math.sqrt(2.0))
        out[i] = value


@njit(cache=True, nogil=True)
def relaxed_primitive(
    x: NDArray[np.float64],
    levels: NDArray[np.float64],
    thresholds: NDArray[np.float64],
    temperature: float,
    out: NDArray[np.float64],
) -> None:
    """out_i = an antiderivative of ψ_T at x_i; at T = 0 the kinked line ∫ψ.

    Each smoothed step contributes T (z Φ(z) + φ(z)), which tends to max(x − θ, 0).
    """
    reach = _REACH * temperature
    slope = np.empty(levels.size)
    offset = np.empty(levels.size)
    slope[0] = levels[0]
    offset[0] = 0.0
    for k in range(thresholds.size):
        slope[k + 1] = levels[k + 1]
        offset[k + 1] = offset[k] - (levels[k + 1] - levels[k]) * thresholds[k]
    for i in range(x.size):
        first = np.searchsorted(thresholds, x[i] - reach)
        last = np.searchsorted(thresholds, x[i] + reach)
        value = slope[first] * x[i] + offset[first]
        for k in range(first, last):
            z = (x[i] - thresholds[k]) / temperature
            step = z * 0.5 * math.erfc(-z / math.sqrt(2.0)) + math.exp(-0.5 * z * z) / math.sqrt(
                2.0 * math.pi
            )
            value += (levels[k + 1] - levels[k]) * temperature * step
        out[i] = value
