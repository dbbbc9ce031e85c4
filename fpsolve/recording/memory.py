"""`MemorySink`: what a run reaches, kept in memory."""

from __future__ import annotations

import time as clock
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.problem.problem import Problem
from fpsolve.recording.axes import Block, frames_of
from fpsolve.recording.protocol import CHECKPOINT_INTERVAL, Arrays, Ending, copied

__all__ = ["MemorySink"]


class MemorySink:
    """Frames and the last checkpoint, copied into memory; see `Sink` for the methods.

    Parameters
    ----------
    interval : float, default 60 s
        Seconds between checkpoints.

    Attributes
    ----------
    frames : list of dict
        One a time, each with its "time".
    state : dict or None
        The last checkpoint.
    ending : Ending or None
        None while the run goes on.
    """

    def __init__(self, *, interval: float = CHECKPOINT_INTERVAL) -> None:
        self.frames: list[dict[str, NDArray[Any]]] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self.state: dict[str, NDArray[Any]] | None = None
        self.ending: Ending | None = None
        self._interval = interval
        self._last = clock.monotonic()

    def open(
        self,
        kind: str,
        problem: Problem | None,
        times: ArrayLike,
        options: Mapping[str, Any],
        *,
        constants: Arrays | None = None,
    ) -> None:
        """Begin a run."""
        self.kind, self.problem, self.options = kind, problem, dict(options)
        self.times = np.array(times, dtype=np.float64)
        self.constants = copied(constants or {})

    def extend(self, first: int, block: Block) -> None:
        """Keep a copy."""
        assert first == len(self.frames), "blocks come in the order of the times"
        self.frames += frames_of(self.kind, block)

    def checkpoint_due(self) -> bool:
        """Whether the interval has passed."""
        return clock.monotonic() - self._last >= self._interval

    def checkpoint(self, arrays: Arrays) -> None:
        """Keep a copy of the state."""
        self.state = copied(arrays)
        self._last = clock.monotonic()

    def close(self, ending: Ending, state: Arrays | None = None) -> None:
        """Keep how the run ended."""
        if state is not None:
            self.checkpoint(state)
        self.ending = ending

    def series(self, name: str) -> NDArray[Any]:
        """All that was handed over as `name`, times along the first axis."""
        join = np.concatenate if name.startswith("dense_") else np.stack
        return np.asarray(join([frame[name] for frame in self.frames]))

    def stored(self, name: str) -> None:
        """Nothing: there is no file."""
