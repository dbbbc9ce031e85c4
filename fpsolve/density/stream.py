"""A run of the density into a sink: frames as they are reached, checkpoints, and going on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpsolve.density.arrays import frame_columns, frame_from
from fpsolve.density.run import Quality, Run, reduced
from fpsolve.density.trajectory import DensityTrajectory
from fpsolve.density.view import AnyFrame
from fpsolve.errors import ParameterError
from fpsolve.problem.problem import Problem
from fpsolve.progress import Callback, stopped_by
from fpsolve.recording.axes import block_bytes
from fpsolve.recording.mapped import Mapped
from fpsolve.recording.signals import noticed
from fpsolve.recording.sink import Sink, ending_after
from fpsolve.recording.stream import Stream
from fpsolve.reduction import ORDER_PARAMETER_NAMES, OrderParameters

__all__ = ["DensityStream", "handed_on", "stored_trajectory"]

Array = NDArray[np.float64]


# Densities of so many bytes stay in memory, where they are at hand; more stay in the file.
_SMALL = 2**26
# Times of a closed form that are handed on at once.
_AT_ONCE = 256


@dataclass
class _AtHand:
    """What a run has handed on, while it is small."""

    frames: list[AnyFrame] = field(default_factory=list)
    # Times and order parameters, as asked for and along the way.
    here: list[tuple[Array, OrderParameters]] = field(default_factory=list)
    along: list[tuple[Array, OrderParameters]] = field(default_factory=list)
    size: int = 0

    def trajectory(self, problem: Problem, stats: dict[str, Any]) -> DensityTrajectory:
        """Return it as a result, the same as what the sink holds."""
        times, state = _joined(self.here)
        return DensityTrajectory(
            problem, times, tuple(self.frames), state, *_joined(self.along), stats
        )


def _joined(parts: list[tuple[Array, OrderParameters]]) -> tuple[Array, OrderParameters]:
    columns = {
        name: np.concatenate([getattr(state, name) for _, state in parts])
        for name in ORDER_PARAMETER_NAMES
    }
    return np.concatenate([times for times, _ in parts]), OrderParameters(**columns)


class DensityStream(Stream[DensityTrajectory]):
    """A run whose densities go into a sink, and stay nowhere else if they are many.

    Parameters
    ----------
    run : Run
        At its start.
    sink : Sink
        Opened; where it has a state, the run goes on from there.
    """

    most_at_once = 256

    def __init__(self, run: Run, sink: Sink) -> None:
        super().__init__(sink, run.times)
        self._run, self._opened = run, sink
        self._quality = Quality()
        before = run.state.before
        width = 1 + run.state.solver.model.offset.size
        self._dense = np.empty((0, width)) if before is None else np.append(0.0, before[2])[None]
        self._last = np.empty(width - 1)
        # Point masses and cells in one run: every frame has the arrays of both.
        self._whole = before is not None and run.state.solver.scheme == 1
        # Time, density and functionals there.
        self._waiting: list[tuple[float, AnyFrame, Array]] = []
        self._at_hand: _AtHand | None = _AtHand()
        if sink.state is not None:
            self._at_hand = None
            self._restore(sink.state)

    def reach(self, times: list[float], tick: Callable[[float, bool], None]) -> None:
        """Go to `times` and let the densities there wait."""
        run = self._run
        try:
            # A stretch that has reached its end is not in order before the next one begins, nor is
            # the run while densities are with the solver.
            run.reach(times, lambda now: tick(now, now < run.stop and now < times[0]))
        finally:
            reached = list(zip(times, run.frames, run.moments, strict=False))
            run.frames.clear()
            run.moments.clear()
            self._waiting += reached
            if reached:
                self._last = reached[-1][2]
            self.reached(len(reached), len(reached) * run.state.solver.u.size)

    def told(self) -> OrderParameters:
        """Order parameters at the last time reached, each of shape ()."""
        at = self._run.times[self.count - 1 : self.count]
        return reduced(self._run.problem, at, self._last[None])[0]

    def judge(self) -> None:
        """Raise `SolveError` where the densities reached are not what they have to be."""
        self._run.judge(self._quality)

    def hand_on(self, sink: Sink | None) -> None:
        """Hand what waits to the sink, with the steps that led there."""
        waiting, self._waiting = self._waiting, []
        frames = [frame for _, frame, _ in waiting]
        for frame in frames:
            self._quality = self._quality.with_frame(frame)
        times = np.array([time for time, _, _ in waiting])
        rows = self._rows()
        ends = np.searchsorted(rows[:, 0], times, side="right")  # Rows ascend in time.
        reached, self._dense = rows[: ends[-1]], rows[ends[-1] :]
        self._run.state.solver.log[:] = []
        moments = np.vstack([reached[:, 1:], [moments for _, _, moments in waiting]])
        state = reduced(self._run.problem, np.append(reached[:, 0], times), moments)
        along, here = state[: len(reached)], state[len(reached) :]
        block: dict[str, Any] = {"time": times, "dense_time": reached[:, 0], "dense_end": ends}
        for name in ORDER_PARAMETER_NAMES:
            block[name], block[f"dense_{name}"] = getattr(here, name), getattr(along, name)
        block |= frame_columns(frames, whole=self._whole)
        self._opened.extend(self.count - len(waiting), block)
        if self._at_hand is not None:
            self._at_hand.frames += frames
            self._at_hand.here.append((times, here))
            self._at_hand.along.append((reached[:, 0], along))
            self._at_hand.size += block_bytes(block)
            if self._at_hand.size > _SMALL:
                self._at_hand = None

    def _rows(self) -> Array:
        """Steps that were not handed on yet, as rows (time, functionals)."""
        return np.concatenate([self._dense, *self._run.state.solver.log])

    def state(self) -> dict[str, Any]:
        """Return solver, steps not handed on, quality and count."""
        run = self._run
        law = np.nan if run.law_time is None else run.law_time
        return {
            **{f"solver_{name}": value for name, value in run.state.solver.to_arrays().items()},
            "dense": self._rows(),
            "quality": np.array(self._quality),
            "last": self._last,
            "law_time": np.float64(law),
            "count": np.int64(self.count),
            "horizon": np.float64(run.times[-1]),
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        run = self._run
        solver = run.state.solver
        horizon = float(state["horizon"])
        if solver.scheme and run.times[-1] > horizon:
            allowed = (
                f"must end at tau = {horizon:g}, up to which the cells of scharfetter-gummel "
                "reach; ask for all times anew"
            )
            raise ParameterError("times", float(run.times[-1]), allowed)
        solver.restore({n[7:]: v for n, v in state.items() if n.startswith("solver_")})
        self._dense = np.array(state["dense"], dtype=np.float64)
        self._quality = Quality(*np.asarray(state["quality"], dtype=np.float64).tolist())
        self._last = np.array(state["last"], dtype=np.float64)
        law = float(state["law_time"])
        run.law_time = None if np.isnan(law) else law
        self.count = int(state["count"])
        ahead = run.times[self.count :]
        before = 0.0 if run.state.before is None else run.state.before[0]
        if ahead.size and before <= ahead[0] < solver.time:
            allowed = f"must be beyond tau = {solver.time:g}, where the run stands"
            raise ParameterError("times", float(ahead[0]), allowed)

    def statistics(self) -> dict[str, Any]:
        """Return how the run goes."""
        return self._run.statistics(self._quality, interrupted=self.interrupted)

    def trajectory(self) -> DensityTrajectory:
        stats = self.statistics()
        if self._at_hand is not None:
            return self._at_hand.trajectory(self._run.problem, stats)
        return stored_trajectory(self._run.problem, self._opened, stats)


def handed_on(whole: DensityTrajectory, sink: Sink, callback: Callback) -> DensityTrajectory:
    """Hand a trajectory that is known as a whole to an opened sink; return what that holds.

    Raises
    ------
    KeyboardInterrupt
        If interrupted; the sink holds what it was handed until then.
    """
    count = whole.times.size
    ends = np.searchsorted(whole.dense_times, whole.times, side="right")
    begins = np.append(0, ends)
    # A callback hears of a time once the sink has it; a resumed run has told of some already.
    step = _AT_ONCE if callback is None else 1
    heard = 0 if sink.state is None or callback is None else len(sink.frames)
    interrupted = False
    with noticed() as came:
        for first in range(0, count, step):
            last = min(first + step, count)
            dense = slice(begins[first], begins[last])
            block: dict[str, Any] = {"time": whole.times[first:last]}
            block |= {"dense_time": whole.dense_times[dense]}
            block |= {"dense_end": ends[first:last] - begins[first]}
            for name in ORDER_PARAMETER_NAMES:
                block[name] = getattr(whole.order_parameters, name)[first:last]
                block[f"dense_{name}"] = getattr(whole.dense_order_parameters, name)[dense]
            block |= frame_columns(whole.frames[first:last])
            sink.extend(first, block)
            if callback is not None and first >= heard:
                at = whole.order_parameters[first]
                interrupted = stopped_by(callback, float(whole.times[first]), at, came)
            if came or interrupted:
                break
        stats = {**whole.stats, "interrupted": interrupted or bool(came)}
        state = {"horizon": np.float64(whole.times[-1])}
        sink.close(ending_after(came, stats), state)
    if came:
        raise came[0]
    return stored_trajectory(whole.problem, sink, stats)


def stored_trajectory(problem: Problem, sink: Sink, stats: dict[str, Any]) -> DensityTrajectory:
    """Return what a closed sink holds; its densities stay there until they are asked for."""
    here, along = (
        OrderParameters(**{name: sink.series(prefix + name) for name in ORDER_PARAMETER_NAMES})
        for prefix in ("", "dense_")
    )
    stored = sink.frames
    frames: Sequence[AnyFrame] = Mapped(stored, frame_from)
    if len(stored) * sum(array.nbytes for array in stored[-1].values()) <= _SMALL:
        frames = tuple(frames)
    times, dense_times = sink.series("time"), sink.series("dense_time")
    return DensityTrajectory(problem, times, frames, here, dense_times, along, stats)
