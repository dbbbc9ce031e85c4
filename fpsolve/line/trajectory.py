"""`LineTrajectory`: what `solve_mckean_vlasov` returns, and what can be asked of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.errors import ParameterError
from fpsolve.numerics.mckean_vlasov import Function
from fpsolve.numerics.polynomials import PiecewisePolynomial

__all__ = ["LineTrajectory"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LineTrajectory:
    """Densities at the requested times.

    Attributes
    ----------
    times : ndarray, shape (T,)
        Times (dimensionless).
    functionals : ndarray, shape (T, r)
        M at these times.
    frames : sequence of PiecewisePolynomial, length T
        The densities; of a long run with `store=` they stay in its file until they are asked for.
    dense_times, dense_functionals : ndarray, shapes (N,), (N, r)
        The same at every accepted step.
    stats : dict
        Steps, rejections, unknowns, error estimates, mass defect, and `interrupted`: whether a
        callback has ended it early.
    """

    times: Array
    functionals: Array
    frames: Sequence[PiecewisePolynomial]
    dense_times: Array
    dense_functionals: Array
    stats: dict[str, Any]

    def _frame(self, time: float) -> PiecewisePolynomial:
        at = np.flatnonzero(np.abs(self.times - time) <= 1e-12 * max(abs(time), 1e-300))
        if not at.size:
            shown = ", ".join(f"{t:.10g}" for t in self.times[:8])
            raise ParameterError("time", time, f"must be one of the times solved for: {shown}")
        return self.frames[int(at[0])]

    def pdf(self, x: ArrayLike, time: float) -> Array:
        """Return the density at points `x`, same shape, at one of the requested times."""
        return self._frame(time).pdf(np.asarray(x, dtype=np.float64))

    def probability(self, low: float, high: float, time: float) -> float:
        """Return the probability of [low, high] at one of the requested times."""
        ends = self._frame(time).cdf(np.array([low, high], dtype=np.float64))
        return float(ends[1] - ends[0])

    def expectation(self, function: Function, time: float) -> float:
        """Return E f(x) at one of the requested times; f may jump at the breaks."""
        return self._frame(time).expectation(function)

    def __repr__(self) -> str:
        steps = self.stats["steps"]
        return f"LineTrajectory({self.times.size} times to {self.times[-1]:g}, {steps} steps)"
