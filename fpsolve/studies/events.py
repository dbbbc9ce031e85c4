"""Events on a learning curve: its minimum (early stopping) and its plateau.

They read times and values only, so they serve every trajectory, closed, exact or simulated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import PchipInterpolator

from fpsolve.errors import ParameterError
from fpsolve.problem.checks import finite, readonly_vector, requested_times

__all__ = ["CurveMinimum", "Plateau", "find_minimum", "find_plateau"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class CurveMinimum:
    """Where a learning curve is lowest (all dimensionless).

    Attributes
    ----------
    time : float
        τ of the minimum.
    value : float
        ε_g there.
    final : float
        ε_g at the last time.
    interior : bool
        Whether the minimum lies strictly before the last time, so that stopping early helps.
    """

    time: float
    value: float
    final: float
    interior: bool

    @property
    def gain(self) -> float:
        """What stopping there saves against the last time, ≥ 0."""
        return self.final - self.value


@dataclass(frozen=True)
class Plateau:
    """A stretch of slow change between two falls (all dimensionless).

    Attributes
    ----------
    start, end : float
        First and last τ of the stretch.
    value : float
        ε_g at its slowest point.
    """

    start: float
    end: float
    value: float

    @property
    def length(self) -> float:
        """Duration in τ."""
        return self.end - self.start


def find_minimum(times: ArrayLike, generalization_error: ArrayLike) -> CurveMinimum:
    """Return the lowest point of a learning curve, between its samples where it is smooth.

    Parameters
    ----------
    times : array_like, shape (T,)
        Times τ, strictly increasing (dimensionless).
    generalization_error : array_like, shape (T,)
        ε_g at those times.

    Returns
    -------
    CurveMinimum
        The vertex of the parabola through the lowest sample and its neighbours, which errs by
        O(h²) in τ and O(h³) in ε_g for a spacing h; the sample itself at either end.

    Raises
    ------
    ParameterError
        If the shapes differ or a value is not finite.
    """
    tau, error = _curve(times, generalization_error)
    lowest = int(np.argmin(error))
    final = float(error[-1])
    if lowest in (0, error.size - 1):
        interior = lowest < error.size - 1
        return CurveMinimum(float(tau[lowest]), float(error[lowest]), final, interior)
    t0, t1, t2 = tau[lowest - 1 : lowest + 2]
    e0, e1, e2 = error[lowest - 1 : lowest + 2]
    rise_left, rise_right = (e0 - e1) / (t1 - t0), (e2 - e1) / (t2 - t1)
    curvature = (rise_left + rise_right) / (t2 - t0)
    if curvature <= 0:  # Three equal samples: the curve is flat here.
        return CurveMinimum(float(t1), float(e1), final, True)
    slope = (rise_right * (t1 - t0) - rise_left * (t2 - t1)) / (t2 - t0)
    shift = -0.5 * slope / curvature
    return CurveMinimum(float(t1 + shift), float(e1 - curvature * shift**2), final, True)


def find_plateau(
    times: ArrayLike, generalization_error: ArrayLike, *, flatness: float = 0.3
) -> Plateau | None:
    """Return the longest plateau of a learning curve, or None if it has none.

    A plateau is a stretch where |dε_g/dτ| stays below `flatness` times the steepest fall that
    comes *after* it. It may begin at τ = 0; a curve that merely levels off at its end has none.

    Parameters
    ----------
    times : array_like, shape (T,)
        Times τ, strictly increasing (dimensionless); at least 4.
    generalization_error : array_like, shape (T,)
        ε_g at those times.
    flatness : float, default 0.3
        Fraction of the steepest later fall, between 0 and 1.

    Returns
    -------
    Plateau or None
        Start and end are located on the monotone cubic interpolant's slope at the samples, by
        linear interpolation.

    Raises
    ------
    ParameterError
        If the shapes differ, a value is not finite, or `flatness` is out of range.
    """
    tau, error = _curve(times, generalization_error)
    flatness = finite("flatness", flatness, above=0.0)
    if flatness >= 1:
        raise ParameterError("flatness", flatness, "must be < 1")
    if tau.size < 4:
        raise ParameterError("times", times, "must hold at least 4 times to show a plateau")
    slope = np.asarray(PchipInterpolator(tau, error).derivative()(tau))
    # Steepest fall from each sample on.
    fall = np.maximum.accumulate(np.maximum(-slope, 0.0)[::-1])[::-1]
    excess = np.abs(slope) - flatness * fall
    flat = excess < 0
    best: Plateau | None = None
    for first, last in _runs(flat):
        start = _crossing(tau, excess, first - 1) if first > 0 else tau[0]
        end = _crossing(tau, excess, last) if last < tau.size - 1 else tau[-1]
        if best is None or end - start > best.length:
            slowest = first + int(np.argmin(np.abs(slope[first : last + 1])))
            best = Plateau(float(start), float(end), float(error[slowest]))
    return best


def _curve(times: ArrayLike, generalization_error: ArrayLike) -> tuple[Array, Array]:
    tau = requested_times(times)
    error = readonly_vector("generalization_error", generalization_error)
    if error.size != tau.size:
        allowed = f"must have one value for each of the {tau.size} times, not {error.size}"
        raise ParameterError("generalization_error", error, allowed)
    return tau, error


def _runs(flat: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return first and last index of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flat, [False]])))
    return [(int(a), int(b) - 1) for a, b in edges.reshape(-1, 2)]


def _crossing(tau: Array, excess: Array, index: int) -> float:
    """Return where `excess` crosses 0 between two samples."""
    low, high = excess[index], excess[index + 1]
    share = low / (low - high) if low != high else 0.5
    return float(tau[index] + share * (tau[index + 1] - tau[index]))
