"""What a simulation writes down along the way, and the trajectory it becomes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from fpsolve.errors import ParameterError, SolveError
from fpsolve.order_parameters import OrderParameters
from fpsolve.particles.trajectory import ParticleTrajectory
from fpsolve.problem.checks import requested_times
from fpsolve.problem.problem import Problem

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
    """

    def __init__(self, problem: Problem, schedule: Schedule, runs: int, size: int) -> None:
        self._problem, self._schedule, self._size = problem, schedule, size
        self.teacher_weights = np.empty((runs, size))
        self.weights = np.empty((runs, schedule.kept.size, size))
        self._moments = np.empty((runs, schedule.marks.size, 5))
        self._reached = np.zeros(runs, dtype=np.int64)

    def take(self, run: int, mark: int, w: Array, psi: Array) -> None:
        """Write down the weights of `run` at mark number `mark`, with their images ψ(w).

        Raises
        ------
        SolveError
            If the weights have left the range of floating-point numbers.
        """
        time = self._schedule.marks[mark]
        sums = _moment_sums(w, self.teacher_weights[run], psi)
        if not all(map(math.isfinite, sums)):
            message = "the weights diverge; lower learning_rate or quantize the weights"
            before = self._schedule.marks[max(mark - 1, 0)]
            raise SolveError(message, time=float(before), step=float(time - before))
        self._moments[run, mark] = np.array(sums) / self._size
        where = np.flatnonzero(self._schedule.kept == time)
        if where.size:
            self.weights[run, where[0]] = w
        self._reached[run] = mark + 1

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
        m, q, m_psi, q_psi, r_psi = np.moveaxis(self._moments[:, marks], -1, 0)
        rho = np.square(self.teacher_weights).mean(axis=1, keepdims=True)
        return OrderParameters.from_moments(
            self._problem, m=m, q=q, m_psi=m_psi, q_psi=q_psi, r_psi=r_psi, rho=rho
        )


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def _moment_sums(w: Array, w_star: Array, psi: Array) -> tuple[float, float, float, float, float]:
    """Return Σ w* w, Σ w², Σ w* ψ, Σ ψ², Σ w ψ."""
    m = q = m_psi = q_psi = r_psi = 0.0
    for i in range(w.size):
        m += w_star[i] * w[i]
        q += w[i] * w[i]
        m_psi += w_star[i] * psi[i]
        q_psi += psi[i] * psi[i]
        r_psi += w[i] * psi[i]
    return m, q, m_psi, q_psi, r_psi
