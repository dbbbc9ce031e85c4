"""A run of any McKean–Vlasov equation into a sink, and what it becomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpsolve.errors import ParameterError, SolveError
from fpsolve.line.run import LineRun
from fpsolve.line.trajectory import LineTrajectory
from fpsolve.numerics.polynomials import PiecewisePolynomial
from fpsolve.recording.mapped import Mapped
from fpsolve.recording.sink import Sink
from fpsolve.recording.stream import Stream

__all__ = ["LineStream", "frame_arrays", "frame_from"]

Array = NDArray[np.float64]

# Densities of so many bytes stay in memory, where they are at hand; more stay in the file.
_SMALL = 2**26
_MOST_DEFECT = 1e-10


def frame_arrays(frame: PiecewisePolynomial) -> dict[str, NDArray[Any]]:
    """Return a density as a flat dictionary of arrays."""
    order = np.asarray(frame.order, dtype=np.int64)
    return {"order": order, "left": frame.left, "width": frame.width, "u": frame.u}


def frame_from(arrays: Mapping[str, NDArray[Any]]) -> PiecewisePolynomial:
    """Return the density that `frame_arrays` took apart."""
    u, order = np.asarray(arrays["u"]), int(arrays["order"])
    return PiecewisePolynomial(order, np.asarray(arrays["left"]), np.asarray(arrays["width"]), u)


class LineStream(Stream[LineTrajectory]):
    """Densities and functionals of a model at one requested time after another.

    Parameters
    ----------
    run : LineRun
        At its start, or where `state` stands.
    times : ndarray, shape (T,)
        Requested times.
    rtol : float
        As asked for.
    sink : Sink or None
        Opened; None keeps everything in memory.
    state : mapping, optional
        What `state` returned, of a run that goes on.
    """

    def __init__(
        self, run: LineRun, times: Array, rtol: float, sink: Sink | None,
        state: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(sink, times)
        self._run, self._rtol = run, rtol
        self._begun = run.frame.mass
        self._defect = 0.0
        self._dense = np.empty((0, 2 + run.rank))
        self._waiting: list[tuple[float, PiecewisePolynomial, Array]] = []
        self._frames: list[PiecewisePolynomial] | None = []
        # Times, functionals there, times and functionals along the way.
        self._blocks: list[tuple[Array, Array, Array, Array]] = []
        self._size = 0
        if state is not None:
            self._frames = None
            self._begun, self._defect = float(state["begun"]), float(state["defect"])
            self._dense = np.array(state["dense"], dtype=np.float64)
            self.count = int(state["count"])
            ahead = times[self.count :]
            if ahead.size and ahead[0] < run.solver.time:
                allowed = f"must be beyond t = {run.solver.time:g}, where the run stands"
                raise ParameterError("times", float(ahead[0]), allowed)

    def reach(self, times: list[float], tick: Callable[[float, bool], None]) -> None:
        """Go to one time and let the density there wait."""
        run, (time,) = self._run, times
        run.reach(time, lambda now: tick(now, now < time))
        self._waiting.append((time, run.frame, run.functionals))
        self.reached(1, run.solver.u.size)

    def told(self) -> Array:
        """Functionals at the last time reached, shape (r,)."""
        return self._run.functionals

    def judge(self) -> None:
        """Raise `SolveError` if mass was lost."""
        if not self._defect < _MOST_DEFECT:
            message = f"the density lost its mass by {self._defect:.2g}; tighten rtol"
            solver = self._run.solver
            raise SolveError(message, time=solver.time, step=solver.step)

    def hand_on(self, sink: Sink | None) -> None:
        """Hand what waits to the sink, with the steps that led there."""
        waiting, self._waiting = self._waiting, []
        frames = [frame for _, frame, _ in waiting]
        self._defect = max(self._defect, *(abs(frame.mass - self._begun) for frame in frames))
        times = np.array([time for time, _, _ in waiting])
        here = np.array([functionals for _, _, functionals in waiting])
        rows = self._rows()
        ends = np.searchsorted(rows[:, 0], times, side="right")  # Rows ascend in time.
        reached, self._dense = rows[: ends[-1]], rows[ends[-1] :]
        self._run.solver.log[:] = []
        along = reached[:, 1 : 1 + self._run.rank]
        if sink is not None:
            block: dict[str, Any] = {"time": times, "dense_time": reached[:, 0], "dense_end": ends}
            if self._run.rank:
                block |= {"functionals": here, "dense_functionals": along}
            arrays = [frame_arrays(frame) for frame in frames]
            block |= {name: [one[name] for one in arrays] for name in arrays[0]}
            block["order"] = np.array(block["order"])
            sink.extend(self.count - len(waiting), block)
        if self._frames is None:
            return
        self._frames += frames
        self._blocks.append((times, here, reached[:, 0], along))
        self._size += sum(frame.u.nbytes for frame in frames)
        if sink is not None and self._size > _SMALL:
            self._frames = None
            self._blocks.clear()

    def state(self) -> dict[str, Any]:
        """Return solver, steps not handed on, masses and count."""
        return {
            **{f"solver_{name}": array for name, array in self._run.to_arrays().items()},
            "dense": self._rows(),
            "begun": np.float64(self._begun),
            "defect": np.float64(self._defect),
            "count": np.int64(self.count),
        }

    def statistics(self) -> dict[str, Any]:
        """Return how the run goes."""
        return {
            **self._run.solver.statistics(),
            "order": self._run.order,
            "rtol": self._rtol,
            "mass_defect": self._defect,
            "interrupted": self.interrupted,
        }

    def _rows(self) -> Array:
        return np.concatenate([self._dense, *self._run.solver.log])

    def trajectory(self) -> LineTrajectory:
        stats = self.statistics()
        if self._frames is not None:
            columns = [np.concatenate(parts) for parts in zip(*self._blocks, strict=True)]
            times, here, dense, along = columns
            return LineTrajectory(times, here, tuple(self._frames), dense, along, stats)
        assert self._sink is not None, "without a sink everything is at hand"
        return stored_line(self._sink, self._run.rank, stats)


def stored_line(sink: Sink, rank: int, stats: dict[str, Any]) -> LineTrajectory:
    """Return what a closed sink holds; its densities stay there until they are asked for."""
    times, dense = sink.series("time"), sink.series("dense_time")
    here, along = np.empty((times.size, 0)), np.empty((dense.size, 0))
    if rank:
        here, along = sink.series("functionals"), sink.series("dense_functionals")
    stored = sink.frames
    frames: Sequence[PiecewisePolynomial] = Mapped(stored, frame_from)
    if len(stored) * sum(array.nbytes for array in stored[-1].values()) <= _SMALL:
        frames = tuple(frames)
    return LineTrajectory(times, here, frames, dense, along, stats)
