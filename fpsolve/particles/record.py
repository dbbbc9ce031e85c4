"""What a simulation writes down along the way, and the trajectory it becomes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.errors import ParameterError, SolveError
from fpsolve.particles import kernels
from fpsolve.particles.trajectory import ParticleTrajectory
from fpsolve.problem.checks import requested_times
from fpsolve.problem.problem import Problem
from fpsolve.reduction import OrderParameters

__all__ = ["Record", "Schedule"]

Array = NDArray[np.float64]

# Order parameters recorded along the way when the caller does not say.
_DENSE = 401


class Schedule:
    """Times at which weights and order parameters are recorded.

    Parameters
    ----------
    times : array_like, shape (T,)
        Times τ at which weights are kept.
    dense_times : array_like, shape (M,), or None
        Times of order parameters; None for 401 of them, evenly from 0 to the last of `times`.
    dimension : int, optional
        Steps per unit of τ, to which times are rounded; by default they stay as they are.

    Attributes
    ----------
    kept, dense : ndarray
        Times of the kept weights, shape (T,), and of the order parameters along the way.
    marks : ndarray
        Their union with τ = 0, sorted.

    Raises
    ------
    ParameterError
        If times are negative, do not increase, or two of `times` fall on one step.
    """

    def __init__(
        self, times: ArrayLike, dense_times: ArrayLike | None, dimension: int | None = None
    ) -> None:
        wanted = requested_times(times)
        if dense_times is None:
            along = np.linspace(0.0, wanted[-1], _DENSE) if wanted[-1] > 0 else np.zeros(1)
        else:
            along = requested_times(dense_times)
        self.kept = wanted if dimension is None else np.rint(wanted * dimension) / dimension
        if (np.diff(self.kept) == 0).any():
            allowed = (
                f"two fall on one step; keep them 1/dimension = {1 / (dimension or 1):g} apart"
            )
            raise ParameterError("times", times, allowed)
        dense = along if dimension is None else np.rint(along * dimension) / dimension
        self.dense = np.unique(dense[dense <= self.kept[-1]])
        self.marks = np.union1d(np.union1d(self.kept, self.dense), [0.0])


class Record:
    """Weights and order parameters of all runs, filled in as they proceed.

    Parameters
    ----------
    problem : Problem
        What is simulated.
    schedule : Schedule
        When to record.
    runs, size : int
        Number of runs, and of coordinates (or particles) in each.

    Attributes
    ----------
    teacher_weights, weights : ndarray
        As in `ParticleTrajectory`, for compiled loops to read and `keep` to write.
    moments : ndarray, shape (runs, marks, 5)
        Sums over coordinates, in the order of `kernels.moment_sums`.
    """

    def __init__(self, problem: Problem, schedule: Schedule, runs: int, size: int) -> None:
        self._problem, self._schedule, self._size = problem, schedule, size
        self.teacher_weights = np.empty((runs, size))
        self.weights = np.empty((runs, schedule.kept.size, size))
        self.moments = np.empty((runs, schedule.marks.size, 5))
        self._reached = np.zeros(runs, dtype=np.int64)

    def take(self, run: int, mark: int, w: Array, psi: Array) -> None:
        """Write down all about `run` at mark number `mark`; see `keep`."""
        kernels.moment_sums(w, self.teacher_weights[run], psi, self.moments[run, mark])
        self.keep(run, mark + 1, w)

    def keep(self, run: int, marks: int, w: Array | None) -> None:
        """Write down that `run` has passed its first `marks` marks, and w if it is at the last.

        None for w says that it is beyond that mark already.

        Raises
        ------
        SolveError
            If the weights have left the range of floating-point numbers.
        """
        schedule, known = self._schedule, int(self._reached[run])
        bad = np.flatnonzero(~np.isfinite(self.moments[run, known:marks]).all(axis=1))
        if bad.size:
            first = known + int(bad[0])
            before = schedule.marks[max(first - 1, 0)]
            message = "the weights diverge; lower learning_rate or quantize the weights"
            step = float(schedule.marks[first] - before)
            raise SolveError(message, time=float(before), step=step)
        where = np.flatnonzero(schedule.kept == schedule.marks[marks - 1])
        if where.size and w is not None:
            self.weights[run, where[0]] = w
        self._reached[run] = marks

    def trajectory(self, stats: dict[str, Any], *, interrupted: bool) -> ParticleTrajectory:
        """Return what all runs have reached.

        Raises
        ------
        KeyboardInterrupt
            If the simulation was interrupted before every run had begun.
        """
        complete = int(self._reached.min())
        if complete == 0:
            raise KeyboardInterrupt
        schedule = self._schedule
        marks = schedule.marks[:complete]
        kept = schedule.kept[schedule.kept <= marks[-1]]
        dense = schedule.dense[schedule.dense <= marks[-1]]
        return ParticleTrajectory(
            problem=self._problem,
            times=kept,
            weights=self.weights[:, : kept.size],
            teacher_weights=self.teacher_weights,
            order_parameters=self._order_parameters(np.searchsorted(marks, kept)),
            dense_times=dense,
            dense_order_parameters=self._order_parameters(np.searchsorted(marks, dense)),
            stats={**stats, "interrupted": interrupted},
        )

    def _order_parameters(self, marks: NDArray[np.intp]) -> OrderParameters:
        m, q, m_psi, q_psi, r_psi = np.moveaxis(self.moments[:, marks] / self._size, -1, 0)
        rho = np.square(self.teacher_weights).mean(axis=1, keepdims=True)
        return OrderParameters.from_moments(
            self._problem, m=m, q=q, m_psi=m_psi, q_psi=q_psi, r_psi=r_psi, rho=rho
        )
