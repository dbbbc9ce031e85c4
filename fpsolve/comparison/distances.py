"""Distances between sampled coordinates and a density, and what sampling noise alone makes of them.

For n independent draws, the empirical distribution function is the true F plus n^−½ times a
Brownian bridge in F. For each distance this gives an expected value and a limit that is exceeded
with probability α at most:

- Wasserstein-1 = ∫|F_n − F|: mean (2/π)^½ ∫(F(1−F)/n)^½, and it exceeds its mean by
  (2 ln(1/α) Var w / n)^½ with probability ≤ α (Borell–TIS: |∫hB| over |h| ≤ 1 has variance
  ≤ Var w);
- Kolmogorov–Smirnov = max|F_n − F|: limit (ln(2/α)/2n)^½ (Dvoretzky–Kiefer–Wolfowitz, Massart
  1990), mean .8687 n^−½;
- L¹ over cells = Σ|p_n − p|: mean Σ(2p(1−p)/πn)^½, exceeded by (2 ln(1/α)/n)^½ (McDiarmid).

Coordinates that were trained together depend on each other. Then n^½(F_n − F) is a Gaussian process
whose covariance `Dependence` knows: the means above hold with its variances in place of F(1−F) and
p(1−p), the excess with its largest variance in place of Var w and 1. Where it is at most φ times
that of independent draws, all three are at most φ^½ times as large (Anderson's inequality: they
are norms), which is what the limit of the Kolmogorov–Smirnov distance uses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fpsolve.comparison.dependence import Dependence
from fpsolve.comparison.law import Law

__all__ = ["Distance", "Law", "binned_l1", "kolmogorov_smirnov", "wasserstein"]

Array = NDArray[np.float64]

# Cells of equal probability for the binned distance.
_BINS = 32
# A mean of max|bridge|: (π/2)^½ ln 2.
_KS_MEAN = math.sqrt(math.pi / 2) * math.log(2)


@dataclass(frozen=True)
class Distance:
    """A distance between samples and a density.

    Attributes
    ----------
    value : float
        As measured; in units of w for Wasserstein-1 (dimensionless).
    expected : float
        Its mean under sampling noise alone.
    limit : float
        What sampling noise alone exceeds with the probability stated for the comparison.
    """

    value: float
    expected: float
    limit: float

    @property
    def within(self) -> bool:
        """Whether sampling noise explains the value."""
        return self.value <= self.limit


def wasserstein(law: Law, samples: Array, dependence: Dependence, alpha: float) -> Distance:
    """Return ∫|F_n − F| dw for sorted `samples`."""
    n = samples.size
    grid = np.concatenate([law.x, samples])
    grid.sort()
    step = np.searchsorted(samples, grid[:-1], side="right") / n
    left, right = step - law(grid[:-1]), step - law.left(grid[1:])
    width = np.diff(grid)
    total = np.abs(left) + np.abs(right)
    # Where the difference changes sign inside an interval, two triangles replace the trapezoid.
    crossing = left * right < 0
    area = 0.5 * total
    area[crossing] = 0.5 * (left**2 + right**2)[crossing] / total[crossing]
    spread = np.sqrt(dependence.variance(law.cdf))
    mean = math.sqrt(2 / math.pi / n) * float(np.trapezoid(spread, law.x))
    excess = math.sqrt(2 * math.log(1 / alpha) * dependence.area_variance(law) / n)
    return Distance(float(area @ width), mean, mean + excess)


def kolmogorov_smirnov(law: Law, samples: Array, dependence: Dependence, alpha: float) -> Distance:
    """Return max|F_n − F| for sorted `samples`."""
    n = samples.size
    points = np.concatenate([samples, law.x[law.cdf > law.before]])
    below = np.searchsorted(samples, points, side="left") / n
    reached = np.searchsorted(samples, points, side="right") / n
    gaps = np.abs(law.left(points) - below).max(), np.abs(law(points) - reached).max()
    value = float(max(gaps))
    scale = math.sqrt(dependence.inflation / n)
    return Distance(value, scale * _KS_MEAN, scale * math.sqrt(0.5 * math.log(2 / alpha)))


def binned_l1(law: Law, samples: Array, dependence: Dependence, alpha: float) -> Distance:
    """Return Σ|p_n − p| over 32 cells of equal probability."""
    n = samples.size
    bounds = law.quantiles(np.arange(1, _BINS) / _BINS * law.cdf[-1])
    values = np.concatenate([[0.0], law(bounds), [law.cdf[-1]]])
    counts = np.diff(np.concatenate([[0], np.searchsorted(samples, bounds, side="right"), [n]]))
    value = float(np.abs(counts / n - np.diff(values)).sum())
    mean = float(np.sqrt(2 * dependence.cell_variance(values) / (math.pi * n)).sum())
    excess = math.sqrt(2 * math.log(1 / alpha) * dependence.inflation / n)
    return Distance(value, mean, mean + excess)
