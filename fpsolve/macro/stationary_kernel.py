"""Compiled stationary averages of sharp weight quantizers, and the roots of their self-consistency.

In the stationary state of diffusivity D the density of w given w* is exp(∫a dw / D): linear in w
on every bin in its logarithm, and highest at the threshold where the drift a changes sign. Summing
from there outwards in multiples of that height needs no logarithms and cannot overflow.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["self_consistent_errors", "stationary_error"]

Array = NDArray[np.float64]
# Drifts (K, L + 1) of the bins, thresholds (L,), squared distances (K, L + 1) of the levels from
# κw*/S, probabilities (K,), outermost level a teacher value runs away to (K,): −1 none, else index.
Bins = tuple[Array, Array, Array, Array, NDArray[np.int64]]

# exp(−50) of the highest density, and of its mass, is below rounding.
_NEGLIGIBLE = -50.0
_MOST_ROOTS = 16


@njit(cache=True, nogil=True)
def _relative_mass(x: float) -> float:
    """Return (e^x − 1)/x for x ≤ 0: mass of a unit bin whose log density falls by −x."""
    if x > -1e-5:
        return 1.0 + 0.5 * x * (1.0 + x / 3.0)
    return math.expm1(x) / x


@njit(cache=True, nogil=True)
def _mean_square(drift: Array, thresholds: Array, square: Array, diffusivity: float) -> float:
    """Return E(ψ − κw*/S)² for one confined teacher value: Σ mass·square / Σ mass."""
    last = thresholds.size
    peak = 0
    while drift[peak] > 0.0:
        peak += 1
    mass = 0.0
    total = 0.0
    height = 0.0
    for j in range(peak, last + 1):
        if height < _NEGLIGIBLE:
            break
        if j == last:
            part = math.exp(height) * (-diffusivity / drift[j])
        else:
            width = thresholds[j] - thresholds[j - 1]
            fall = drift[j] / diffusivity * width
            part = math.exp(height) * width * _relative_mass(fall)
            height += fall
        mass += part
        total += part * square[j]
    height = 0.0
    for j in range(peak - 1, -1, -1):
        if height < _NEGLIGIBLE:
            break
        if j == 0:
            part = math.exp(height) * (diffusivity / drift[j])
        else:
            width = thresholds[j] - thresholds[j - 1]
            fall = -drift[j] / diffusivity * width
            part = math.exp(height) * width * _relative_mass(fall)
            height += fall
        mass += part
        total += part * square[j]
    return total / mass


@njit(cache=True, nogil=True)
def stationary_error(diffusivity: float, bins: Bins, sigma2: float, base: float) -> float:
    """Return ε_g of the stationary densities of a given D: base + S E(ψ − κw*/S)².

    base = ρ(1 − κ²/S) + σ² is what no weights can remove; the sum of positive terms keeps its
    accuracy where ε_g is small.
    """
    drifts, thresholds, squares, probabilities, escapes = bins
    total = 0.0
    for k in range(probabilities.size):
        if escapes[k] >= 0:
            total += probabilities[k] * squares[k, escapes[k]]
        else:
            total += probabilities[k] * _mean_square(drifts[k], thresholds, squares[k], diffusivity)
    return base + sigma2 * total


@njit(cache=True, nogil=True)
def self_consistent_errors(
    grid: Array, kick: float, bins: Bins, sigma2: float, base: float
) -> Array:
    """Return every ε between sign changes of F(ε) − ε on `grid`, F(ε) = ε_g at D = kick·ε.

    Each bracket is halved until it holds no number strictly inside.
    """
    roots = np.empty(_MOST_ROOTS)
    count = 0
    before = stationary_error(kick * grid[0], bins, sigma2, base) - grid[0]
    for i in range(1, grid.size):
        after = stationary_error(kick * grid[i], bins, sigma2, base) - grid[i]
        if (before > 0.0) != (after > 0.0) and count < _MOST_ROOTS:
            low = grid[i - 1]
            high = grid[i]
            while True:
                middle = 0.5 * (low + high)
                if middle <= low or middle >= high:
                    break
                value = stationary_error(kick * middle, bins, sigma2, base) - middle
                if (value > 0.0) == (before > 0.0):
                    low = middle
                else:
                    high = middle
            roots[count] = middle
            count += 1
        before = after
    return roots[:count]
