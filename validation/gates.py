"""Gates: measured numbers with bounds that are computed, and the statistics that bound them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

__all__ = [
    "FALSE_ALARM",
    "Gate",
    "Table",
    "fitted_exponent",
    "fitted_slope",
    "mean_and_error",
    "normal_limit",
    "student_limit",
]

# Probability, at most, that one statistical gate fails although nothing is wrong.
FALSE_ALARM = 1e-6


@dataclass(frozen=True)
class Gate:
    """One number that decides, and the bounds it must keep (dimensionless).

    Attributes
    ----------
    name : str
        What is measured.
    value : float
        What was measured.
    low, high : float
        Bounds, infinite where there is none.
    reason : str
        Where the bounds come from.
    noise : float
        Standard error of `value` in independent repetitions; 0 for what is not drawn.
    """

    name: str
    value: float
    low: float
    high: float
    reason: str
    noise: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether the value is a number within its bounds."""
        return bool(self.low <= self.value <= self.high)

    @property
    def seen(self) -> float:
        """By how much the measured number must be off to turn the gate red, with 95 per cent.

        From the truth in the middle of two bounds; from where it is, of one bound.
        """
        sure = -float(stats.norm.ppf(0.05)) * self.noise
        if math.isfinite(self.low) and math.isfinite(self.high):
            return 0.5 * (self.high - self.low) + sure
        bound = self.low if math.isfinite(self.low) else self.high
        return abs(bound - self.value) + sure

    @property
    def relative(self) -> float:
        """`seen` over the truth in the middle of two bounds, NaN of one bound or a truth of 0."""
        middle = 0.5 * (self.low + self.high) if math.isfinite(self.high - self.low) else 0.0
        tiny = abs(middle) <= 1e-12 * max(abs(self.low), abs(self.high), 1e-300)
        return math.nan if tiny else self.seen / abs(middle)

    @classmethod
    def at_most(
        cls, name: str, value: float, bound: float, reason: str, *, noise: float = 0.0
    ) -> Gate:
        """Return a gate with an upper bound alone."""
        return cls(name, float(value), -math.inf, float(bound), reason, float(noise))

    @classmethod
    def at_least(
        cls, name: str, value: float, bound: float, reason: str, *, noise: float = 0.0
    ) -> Gate:
        """Return a gate with a lower bound alone."""
        return cls(name, float(value), float(bound), math.inf, reason, float(noise))

    @classmethod
    def near(
        cls,
        name: str,
        value: float,
        truth: float,
        tolerance: float,
        reason: str,
        *,
        noise: float = 0.0,
    ) -> Gate:
        """Return a gate around a truth."""
        low, high = float(truth - tolerance), float(truth + tolerance)
        return cls(name, float(value), low, high, reason, float(noise))


@dataclass(frozen=True)
class Table:
    """Numbers shown in the report, one row each; cells are text or numbers."""

    title: str
    columns: list[str]
    rows: list[list[object]]

    @classmethod
    def of(cls, title: str, columns: dict[str, str], rows: Iterable[dict[str, Any]]) -> Table:
        """Return a table of dictionaries; `columns` maps a heading to the key of its cells."""
        return cls(title, list(columns), [[row[key] for key in columns.values()] for row in rows])


def normal_limit(tests: int = 1, rate: float = FALSE_ALARM) -> float:
    """Return z such that none of `tests` standard normals exceeds it, with probability 1 − rate."""
    return float(-stats.norm.ppf(rate / (2 * tests)))


def student_limit(degrees: float, tests: int = 1, rate: float = FALSE_ALARM) -> float:
    """Return the same for Student's t with so many degrees of freedom."""
    return float(-stats.t.ppf(rate / (2 * tests), degrees))


def mean_and_error(values: object, axis: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard error over an axis of independent runs."""
    array = np.asarray(values, dtype=np.float64)
    count = array.shape[axis]
    return array.mean(axis=axis), array.std(axis=axis, ddof=1) / math.sqrt(count)


def fitted_slope(
    x: Iterable[float], y: Iterable[float], error: Iterable[float]
) -> tuple[float, float]:
    """Return the weighted least-squares slope of y(x) and its standard error, given those of y."""
    x, y, error = (np.asarray(list(v), dtype=np.float64) for v in (x, y, error))
    weight = 1 / np.square(error)
    center = float(weight @ x / weight.sum())
    spread = float(weight @ np.square(x - center))
    return float(weight @ ((x - center) * y) / spread), 1 / math.sqrt(spread)


def fitted_exponent(
    x: Iterable[float], y: Iterable[float], error: Iterable[float]
) -> tuple[float, float]:
    """Return the exponent of y in x and its standard error, given the standard errors of y."""
    x, y, error = (np.asarray(list(v), dtype=np.float64) for v in (x, y, error))
    return fitted_slope(np.log(x), np.log(y), error / y)
