"""When a simulation writes down what."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.errors import ParameterError
from fpsolve.particles.state import RunState
from fpsolve.problem.checks import requested_times

__all__ = ["MOST_STEPS", "Timetable"]

Array = NDArray[np.float64]

# Order parameters recorded along the way when the caller does not say.
_DENSE = 401
# Beyond this a step has no number of its own among floating-point times.
MOST_STEPS = 2**53


class Timetable:
    """Times at which weights and order parameters are recorded.

    Parameters
    ----------
    times : array_like, shape (T,)
        Times τ at which weights are kept.
    dense_times : array_like, shape (M,), or None
        Times of order parameters; None for 401 of them, evenly from 0 to the last of `times`.
    dimension : int, optional
        Steps per unit of τ, to which times are rounded; by default they stay as they are.
    landing : array_like, optional
        Further times that a step must end on.
    start : optional
        If it is a `RunState`, what it recorded stays in the timetable, and what is new comes after
        the time that its runs are heading for.

    Attributes
    ----------
    kept, dense : ndarray
        Times of the kept weights, shape (T,), and of the order parameters along the way.
    marks : ndarray
        Their union with τ = 0 and the landing points, sorted.

    Raises
    ------
    ParameterError
        If times are negative, do not increase, are too many steps away, or two of `times` fall on
        one step.
    """

    def __init__(
        self,
        times: ArrayLike,
        dense_times: ArrayLike | None,
        dimension: int | None = None,
        landing: ArrayLike = (),
        start: object = None,
    ) -> None:
        wanted = requested_times(times)
        if dense_times is None:
            along = np.linspace(0.0, wanted[-1], _DENSE) if wanted[-1] > 0 else np.zeros(1)
        else:
            along = requested_times(dense_times, "dense_times")
            along = along[along <= wanted[-1]]
        if dimension is not None and wanted[-1] * dimension > MOST_STEPS:
            allowed = (
                f"is {wanted[-1] * dimension:.3g} steps away, at most {MOST_STEPS:.1g} are "
                "possible; end earlier, or ask solve_pde or stationary_states"
            )
            raise ParameterError("times", float(wanted[-1]), allowed)
        self.kept = wanted if dimension is None else np.rint(wanted * dimension) / dimension
        if (np.diff(self.kept) == 0).any():
            allowed = (
                f"two fall on one step; keep them 1/dimension = {1 / (dimension or 1):g} apart"
            )
            raise ParameterError("times", times, allowed)
        dense = along if dimension is None else np.rint(along * dimension) / dimension
        self.dense = np.unique(dense[dense <= self.kept[-1]])
        marks = np.union1d(np.union1d(self.kept, self.dense), [0.0])
        self.marks = np.union1d(marks, np.asarray(landing, dtype=np.float64))
        if isinstance(start, RunState):
            self._keep_past(start)

    def _keep_past(self, state: RunState) -> None:
        heading = state.heading
        old = state.marks[state.marks <= heading]
        between = self.kept[(self.kept < heading) & ~np.isin(self.kept, old)]
        if between.size:
            allowed = f"must be beyond tau = {heading:g}, which the runs are heading for"
            raise ParameterError("times", float(between[0]), allowed)
        self.dense = np.union1d(
            state.dense[state.dense <= heading], self.dense[self.dense > heading]
        )
        self.marks = np.union1d(old, self.marks[self.marks > heading])
