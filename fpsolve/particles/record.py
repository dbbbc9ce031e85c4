"""What a simulation writes down along the way, and the trajectory it becomes."""

from __future__ import annotations

import time as clock
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpsolve.errors import ParameterError, SolveError
from fpsolve.particles import kernels
from fpsolve.particles.population import Population
from fpsolve.particles.reduction import from_sums
from fpsolve.particles.state import RunState
from fpsolve.particles.timetable import Timetable
from fpsolve.particles.trajectory import ParticleTrajectory
from fpsolve.problem.problem import Problem
from fpsolve.recording.signals import undisturbed
from fpsolve.recording.sink import Sink
from fpsolve.reduction import ORDER_PARAMETER_NAMES, OrderParameters

__all__ = ["Record"]

Array = NDArray[np.float64]

# More weights than these stay in the file of a run.
_MOST = 2**24
# So many weights may wait for the sink.
_MOST_WAITING = 2**22
# It is cheaper to hand on many times: so many, so many weights, or those of so many seconds.
_MANY, _MANY_WEIGHTS, _LONGEST_WAIT = 256, 2**17, 0.5
# Weights of so many bytes are kept when the sink has them: reading them again takes longer.
_AT_HAND = 2**26


class Record:
    """Weights and order parameters of all runs, filled in as they proceed.

    Parameters
    ----------
    problem : Problem
        What is simulated.
    timetable : Timetable
        When to record.
    populations : sequence of Population
        The coordinates (or particles) of each run.
    thresholds : int
        Number of thresholds whose passing is counted, 0 for none.
    sink : Sink or None
        Where requested times are handed on, in order, once all runs have reached them.

    Attributes
    ----------
    weights : ndarray, shape (runs, T, d)
        As in `ParticleTrajectory`; with a sink, T = 0: they are kept until it has them.
    moments, flip_counts : ndarray, shapes (runs, M, 6) and (runs, M, L)
        Sums over coordinates, in the order of `kernels.record_moments`, and how often each
        threshold was passed until then, for compiled loops to write.
    target, sigma2 : ndarray, shape (runs, d) or (runs, 0)
        κ_i w*_i and S_i where they differ between classes.
    reached : ndarray of int64, shape (runs,)
        Number of marks behind each run.
    handed : int
        Number of requested times that the sink has.
    """

    def __init__(
        self, problem: Problem, timetable: Timetable, populations: Sequence[Population],
        thresholds: int, sink: Sink | None = None,
    ) -> None:  # fmt: skip
        self._problem, self._timetable, self._sink = problem, timetable, sink
        self.labels = np.array([p.labels for p in populations])
        self.teacher_weights = np.array([p.w_star for p in populations])
        runs, size = self.teacher_weights.shape
        marks = timetable.marks.size
        self.weights = np.empty((runs, timetable.kept.size if sink is None else 0, size))
        self._waiting: dict[int, Array] = {}
        self.moments = np.zeros((runs, marks, kernels.MOMENTS))
        self.flip_counts = np.zeros((runs, marks, thresholds), dtype=np.int64)
        dynamics = problem.dynamics
        if (dynamics.input_scale != dynamics.input_scale[0]).any():
            self.target = dynamics.kappa[self.labels] * self.teacher_weights
            self.sigma2 = dynamics.sigma2[self.labels]
        else:
            self.target = self.sigma2 = np.empty((runs, 0))
        self.reached = np.zeros(runs, dtype=np.int64)
        self.handed = 0
        self._since = clock.monotonic()
        self._at_hand: list[Array] | None = None if sink is None else []
        self._kept_marks = np.searchsorted(timetable.marks, timetable.kept)

    def keep(self, run: int, marks: int, w: Array) -> None:
        """Write down that `run` has passed its first `marks` marks, and w where it is wanted.

        Weights are wanted only where the last of these marks is a requested time.

        Raises
        ------
        SolveError
            If the weights have left the range of floating-point numbers.
        """
        timetable, known = self._timetable, int(self.reached[run])
        bad = np.flatnonzero(~np.isfinite(self.moments[run, known:marks]).all(axis=1))
        if bad.size:
            first = known + int(bad[0])
            before = timetable.marks[max(first - 1, 0)]
            message = "the weights diverge; lower learning_rate or quantize the weights"
            step = float(timetable.marks[first] - before)
            raise SolveError(message, time=float(before), step=step)
        where = np.flatnonzero(self._kept_marks == marks - 1)
        if where.size and marks > known:
            self._put(run, int(where[0]), w)
        self.reached[run] = marks

    def _put(self, run: int, i: int, w: Array) -> None:
        if self._sink is None:
            self.weights[run, i] = w
        else:
            self._waiting.setdefault(i, np.empty(self.teacher_weights.shape))[run] = w

    def pending(self, run: int) -> tuple[tuple[float, Array], ...]:
        """Return time and weights of what `run` has reached and the sink does not have yet."""
        if self._sink is None:
            return ()
        own = int(np.searchsorted(self._kept_marks, self.reached[run]))
        kept = self._timetable.kept.tolist()
        # Meanwhile the sink may have been handed some of it.
        rows = [(i, self._waiting.get(i)) for i in range(self.handed, own)]
        return tuple((kept[i], row[run].copy()) for i, row in rows if row is not None)

    def full(self) -> bool:
        """Whether so much waits for the sink that runs had better wait too."""
        # Only what all runs have reached counts: the sink can be handed that.
        if self._sink is None:
            return False
        return (self.complete - self.handed) * self.teacher_weights.size > _MOST_WAITING

    @property
    def complete(self) -> int:
        """Number of requested times that all runs have reached."""
        return int(np.searchsorted(self._kept_marks, self.reached.min()))

    def state_at(self, index: int) -> tuple[float, OrderParameters]:
        """Return requested time number `index` and the order parameters there, shape (runs,)."""
        here = self._order_parameters(self._kept_marks[index : index + 1])
        arrays = {name: getattr(here, name)[:, 0] for name in ORDER_PARAMETER_NAMES}
        return float(self._timetable.kept[index]), OrderParameters(**arrays)

    def hand_on(self, *, all_of_it: bool = False) -> None:
        """Hand the requested times that all runs have reached to the sink, many at a time.

        Fewer wait for each other, half a second at most, unless `all_of_it` is asked for.
        """
        complete = self.complete
        if self._sink is None or self.handed == complete:
            return
        count, now = complete - self.handed, clock.monotonic()
        few = count < _MANY and count * self.teacher_weights.size < _MANY_WEIGHTS
        if few and not all_of_it and now - self._since < _LONGEST_WAIT:
            return
        self._since = now
        begin = 0 if self.handed == 0 else int(self._kept_marks[self.handed - 1]) + 1
        marks = np.arange(begin, int(self._kept_marks[complete - 1]) + 1)
        own = np.flatnonzero(np.isin(self._timetable.marks[marks], self._timetable.dense))
        here = self._kept_marks[self.handed : complete] - begin
        state = self._order_parameters(marks)
        block: dict[str, Any] = {
            "time": self._timetable.kept[self.handed : complete],
            "weights": [self._waiting[i] for i in range(self.handed, complete)],
            "dense_time": self._timetable.marks[marks[own]],
            "dense_end": np.searchsorted(own, here, side="right"),
        }
        for name in ORDER_PARAMETER_NAMES:
            values = getattr(state, name)
            block[name], block[f"dense_{name}"] = values[:, here], values[:, own]
        if self.flip_counts.shape[-1]:
            block["flip_counts"] = self.flip_counts[:, marks[own]]
        for row in block["weights"]:
            row.flags.writeable = False  # A sink need not copy what nobody changes.
        with undisturbed():
            self._sink.extend(self.handed, block)
            if self._at_hand is not None:
                self._at_hand += block["weights"]
                if len(self._at_hand) * self.teacher_weights.nbytes > _AT_HAND:
                    self._at_hand = None
            for i in range(self.handed, complete):
                del self._waiting[i]
            self.handed = complete

    def restore(self, state: RunState) -> None:
        """Take over what `state` had recorded, and what the sink has already.

        Raises
        ------
        ParameterError
            If requested times lie before the state and the sink does not have them.
        """
        marks, old = self._timetable.marks, state.marks
        for run, reached in enumerate(state.reached.tolist()):
            if reached == 0:
                continue
            now = old[reached - 1]
            self.reached[run] = int(np.searchsorted(marks, now, side="right"))
            common = np.flatnonzero(np.isin(marks, old[:reached]))
            source = np.searchsorted(old, marks[common])
            self.moments[run, common] = state.moments[run, source]
            self.flip_counts[run, common] = state.flip_counts[run, source]
        has = 0 if self._sink is None else len(self._sink.frames)
        self.handed = min(has, self._timetable.kept.size)
        if has:
            self._at_hand = None
        there = {(run, i) for i in range(self.handed) for run in range(self.reached.size)}
        kept = zip(state.pending_runs.tolist(), state.pending_times.tolist(), strict=True)
        for (run, time), w in zip(kept, state.pending_weights, strict=True):
            for i in np.flatnonzero(self._timetable.kept == time).tolist():
                if (run, i) not in there:
                    self._put(run, i, w)
                    there.add((run, i))
        for run in range(self.reached.size):
            for i in np.flatnonzero(self._kept_marks < self.reached[run]).tolist():
                if (run, i) not in there:
                    allowed = (
                        f"must be beyond tau = {old[state.reached[run] - 1]:g}, where the state "
                        "stands, unless the sink has them; ask for later times"
                    )
                    raise ParameterError("times", float(self._timetable.kept[i]), allowed)

    def trajectory(
        self, stats: dict[str, Any], state: RunState, *, interrupted: bool
    ) -> ParticleTrajectory:
        """Return what all runs have reached, with the state in which they ended.

        Raises
        ------
        KeyboardInterrupt
            If the simulation was interrupted before every run had begun.
        """
        complete = int(self.reached.min())
        if complete == 0:
            raise KeyboardInterrupt
        timetable = self._timetable
        marks = timetable.marks[:complete]
        kept = timetable.kept[timetable.kept <= marks[-1]]
        dense = timetable.dense[timetable.dense <= marks[-1]]
        along = np.searchsorted(marks, dense)
        counts = self.flip_counts[:, along] if self.flip_counts.shape[-1] else None
        return ParticleTrajectory(
            problem=self._problem,
            times=kept,
            weights=self._kept_weights(kept.size),
            teacher_weights=self.teacher_weights,
            order_parameters=self._order_parameters(np.searchsorted(marks, kept)),
            dense_times=dense,
            dense_order_parameters=self._order_parameters(along),
            stats={**stats, "interrupted": interrupted},
            flip_counts=counts,
            state=state,
        )

    def _kept_weights(self, count: int) -> Array:
        """Weights at the first requested times; in memory, or, if they are many, in the file."""
        runs, size = self.teacher_weights.shape
        if self._sink is None:
            return self.weights[:, :count]
        if count == 0:
            return np.empty((runs, 0, size))
        if self._at_hand is not None and len(self._at_hand) == count:
            return np.stack(self._at_hand, axis=1)
        stored: Any = None if runs * count * size <= _MOST else self._sink.stored("weights")
        if stored is not None:
            weights: Array = stored  # It has of an array what those who ask for weights need.
            return weights
        return np.ascontiguousarray(np.moveaxis(self._sink.series("weights"), 0, 1))

    def _order_parameters(self, marks: NDArray[Any]) -> OrderParameters:
        times = self._timetable.marks[marks]
        sums = self.moments[:, marks]
        return from_sums(self._problem, sums, self.labels, self.teacher_weights, times)
