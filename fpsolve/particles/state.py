"""`RunState`: all that particles need to go on, bit for bit, as plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpsolve.display import Shown
from fpsolve.errors import ParameterError

__all__ = ["RunState", "Snapshot"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One run between two steps; attributes as in `RunState`, without the axis of the runs."""

    keys: NDArray[np.uint64]
    counters: NDArray[np.int64]
    labels: NDArray[np.int64]
    weights: Array
    teacher_weights: Array
    velocities: Array
    flips: NDArray[np.int64]
    reached: int
    moments: Array
    flip_counts: NDArray[np.int64]
    pending: tuple[tuple[float, Array], ...]


@dataclass(frozen=True, eq=False, repr=False)
class RunState(Shown):
    """All runs of a simulation, each between two steps of its own.

    Attributes
    ----------
    kind : str
        "ste" or "sde".
    seed : str
        The seed, a whole number of any length.
    marks, dense : ndarray, shapes (M,) and (M',)
        Times τ that are recorded, and those of them wanted for order parameters along the way.
    keys : ndarray of uint64, shape (runs, 3, 2)
        Keys of the streams of inputs, labels and rounding; what they give depends on the
        counters alone.
    counters : ndarray of int64, shape (runs, 4)
        Steps done, pairs of the stream of inputs used (SDE), and of the Euler steps to the next
        mark those done and all.
    labels : ndarray of int64, shape (runs, d)
        Classes of the coordinates.
    weights, teacher_weights : ndarray, shape (runs, d)
        w and w* (dimensionless).
    velocities : ndarray, shape (runs, d) or (runs, 0)
        What momentum has gathered; none without it.
    flips : ndarray of int64, shape (runs, L) or (runs, 0)
        How often each threshold was passed so far, if counted.
    reached : ndarray of int64, shape (runs,)
        Number of marks that each run has reached.
    moments, flip_counts : ndarray, shapes (runs, M, 6) and (runs, M, L)
        What was recorded at these.
    pending_runs, pending_times, pending_weights : ndarray, shapes (P,), (P,), (P, d)
        Weights kept for requested times that not all runs had reached.
    """

    kind: str
    seed: str
    marks: Array
    dense: Array
    keys: NDArray[np.uint64]
    counters: NDArray[np.int64]
    labels: NDArray[np.int64]
    weights: Array
    teacher_weights: Array
    velocities: Array
    flips: NDArray[np.int64]
    reached: NDArray[np.int64]
    moments: Array
    flip_counts: NDArray[np.int64]
    pending_runs: NDArray[np.int64]
    pending_times: Array
    pending_weights: Array

    def _shown(self) -> dict[str, object]:
        runs, dimension = self.weights.shape
        time = float(self.marks[max(int(self.reached.min()) - 1, 0)])
        return {"kind": self.kind, "runs": runs, "dimension": dimension, "time": time}

    @property
    def heading(self) -> float:
        """The recorded time that the foremost run is heading for, or has ended at."""
        return float(self.marks[min(int(self.reached.max()), self.marks.size - 1)])

    @classmethod
    def of(cls, kind: str, seed: int, marks: Array, dense: Array, runs: list[Snapshot]) -> RunState:
        """Put the runs side by side."""
        names = [f.name for f in fields(Snapshot) if f.name != "pending"]
        stacked = {name: np.array([getattr(run, name) for run in runs]) for name in names}
        pending = [(r, t, w) for r, run in enumerate(runs) for t, w in run.pending]
        empty = np.empty((0, runs[0].weights.size))
        return cls(
            kind=kind,
            seed=str(seed),
            marks=marks,
            dense=dense,
            pending_runs=np.array([r for r, _, _ in pending], dtype=np.int64),
            pending_times=np.array([t for _, t, _ in pending], dtype=np.float64),
            pending_weights=np.array([w for _, _, w in pending]) if pending else empty,
            **stacked,
        )

    def to_arrays(self) -> dict[str, Any]:
        """Return name -> array or string, for a file; names are those of the attributes."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> RunState:
        """Return what `to_arrays` took apart.

        Raises
        ------
        ParameterError
            If an array is missing, or runs differ in number between arrays.
        """
        missing = [f.name for f in fields(cls) if f.name not in arrays]
        if missing:
            raise ParameterError("state", missing, "must be there; this is no state of particles")
        given = {f.name: arrays[f.name] for f in fields(cls)}
        for name in ("kind", "seed"):
            value = np.asarray(given[name]).item()
            given[name] = value.decode() if isinstance(value, bytes) else str(value)
        for name in given.keys() - {"kind", "seed"}:
            given[name] = np.array(given[name])
        state = cls(**given)
        runs = state.weights.shape[0]
        for f in fields(Snapshot):
            if f.name != "pending" and getattr(state, f.name).shape[0] != runs:
                raise ParameterError("state", f.name, f"must hold the {runs} run(s) of the weights")
        return state
