"""Compiled evaluation of step functions smoothed at temperature T (theory: ψ_T)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["StepTable", "relaxed_primitive", "relaxed_step"]

# So many temperatures from its threshold a smoothed step equals 0 or 1 in double precision.
_REACH = 9.0
# A table has cells of half a temperature. There the Chebyshev coefficients of a smoothed step fall
# by more than 8 each: 14 of them leave less than rounding.
_CELLS_A_TEMPERATURE = 2.0
_COEFFICIENTS = 14
# From so many steps within reach of a point on a table is quicker, and soon pays.
_CROWDED = 24.0


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


@dataclass(frozen=True, eq=False)
class StepTable:
    """ψ_T where many smoothed steps overlap: polynomials on cells, to rounding (dimensionless).

    Attributes
    ----------
    origin, width : float
        Left end of the first cell, and width of all.
    coefficients : ndarray, shape (C, 14)
        Chebyshev coefficients on each cell.
    below, above : float
        The outermost levels, which hold beyond the cells.
    """

    origin: float
    width: float
    coefficients: NDArray[np.float64]
    below: float
    above: float

    @classmethod
    def of(
        cls, levels: NDArray[np.float64], thresholds: NDArray[np.float64], temperature: float
    ) -> StepTable | None:
        """Return the table of a quantizer, None where few steps overlap."""
        extent = float(thresholds[-1] - thresholds[0])
        within = min(2.0 * _REACH * temperature / extent, 1.0) if extent > 0.0 else 0.0
        if within * thresholds.size < _CROWDED:
            return None
        origin, width = thresholds[0] - _REACH * temperature, temperature / _CELLS_A_TEMPERATURE
        cells = math.ceil((extent + 2.0 * _REACH * temperature) / width)
        angle = np.pi * (np.arange(_COEFFICIENTS) + 0.5) / _COEFFICIENTS
        x = origin + width * (np.arange(cells)[:, None] + 0.5 * (1.0 + np.cos(angle)))
        values = np.empty(x.size)
        relaxed_step(x.ravel(), levels, thresholds, temperature, values)
        cosines = np.cos(np.arange(_COEFFICIENTS)[:, None] * angle) * (2.0 / _COEFFICIENTS)
        cosines[0] *= 0.5
        table = values.reshape(x.shape) @ cosines.T
        return cls(float(origin), width, table, float(levels[0]), float(levels[-1]))

    def __call__(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ψ_T(x), shape (n,)."""
        out = np.empty(x.size)
        _look_up(x, self.origin, self.width, self.coefficients, (self.below, self.above), out)
        return out


@njit(cache=True, nogil=True)
def _look_up(
    x: NDArray[np.float64],
    origin: float,
    width: float,
    table: NDArray[np.float64],
    beyond: tuple[float, float],
    out: NDArray[np.float64],
) -> None:
    """out_i = the Chebyshev series of the cell that holds x_i, by Clenshaw's recurrence."""
    for i in range(x.size):
        at = (x[i] - origin) / width
        if at <= 0.0:
            out[i] = beyond[0]
        elif at >= table.shape[0]:
            out[i] = beyond[1]
        else:
            cell = int(at)
            t = 2.0 * (at - cell) - 1.0
            one, two = 0.0, 0.0
            for j in range(table.shape[1] - 1, 0, -1):
                one, two = 2.0 * t * one - two + table[cell, j], one
            out[i] = t * one - two + table[cell, 0]
