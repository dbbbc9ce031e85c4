"""`Sink`: what a run hands over as it goes on, wherever that is kept.

A solver calls, in this order: `open` once, and goes on from `state` if there is one; `extend` with
the requested times it reaches, in order, one or many at once; `checkpoint` whenever
`checkpoint_due()` says so; `close` once, with how the run ended and its last state. It never asks
where things go. After `close` the frames are read back from `sink.frames`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.problem.problem import Problem
from fpsolve.recording.axes import Block

__all__ = ["CHECKPOINT_INTERVAL", "ENDINGS", "Arrays", "Ending", "Sink", "copied", "ending_after"]

# Flat name -> array or scalar: numbers of any dtype, booleans, or one string.
Arrays = Mapping[str, Any]


def copied(arrays: Arrays) -> dict[str, NDArray[Any]]:
    """Return copies of arrays that their owner goes on with."""
    return {name: np.array(value) for name, value in arrays.items()}


# Seconds between checkpoints.
CHECKPOINT_INTERVAL = 60.0

# How a run may end; all but "completed" can be resumed, and "completed" beyond its last time.
ENDINGS = ("completed", "interrupted", "terminated", "failed")


@dataclass(frozen=True)
class Ending:
    """How a run ended.

    Attributes
    ----------
    reason : str
        "completed", "interrupted" (SIGINT), "terminated" (SIGTERM) or "failed".
    stats : mapping
        Statistics of the run: name -> number, boolean, string, None, list of numbers, or one
        level of nesting.
    message : str
        One line on what went wrong; empty unless it failed.
    """

    reason: str = "completed"
    stats: Mapping[str, Any] = field(default_factory=dict)
    message: str = ""


def ending_after(came: Sequence[BaseException], stats: Mapping[str, Any]) -> Ending:
    """Return how a run ended into which nothing came, Ctrl-C, or what a callback raised.

    `stats["interrupted"]` says whether a callback has ended it.
    """
    if not came:
        return Ending("interrupted" if stats.get("interrupted") else "completed", stats)
    if isinstance(came[0], KeyboardInterrupt):
        return Ending("interrupted", stats)
    told = " ".join(str(came[0]).split())
    return Ending("failed", stats, f"the callback raised {type(came[0]).__name__}: {told}")


@runtime_checkable
class Sink(Protocol):
    """Where a run puts what it reaches."""

    @property
    def state(self) -> Arrays | None:
        """After `open`: the checkpoint from which a resumed run goes on, None at a new one."""

    @property
    def constants(self) -> Arrays:
        """Of a resumed run: arrays it was opened with that hold for all times."""

    def open(
        self,
        kind: str,
        problem: Problem | None,
        times: ArrayLike,
        options: Mapping[str, Any],
        *,
        constants: Arrays | None = None,
    ) -> None:
        """Begin a run.

        Parameters
        ----------
        kind : str
            "density", "particles", "macro" or "mckean-vlasov".
        problem : Problem or None
            What is solved; None for a model that is no `Problem`.
        times : array_like, shape (T,)
            Requested times τ (dimensionless).
        options : mapping
            Plain values (numbers, strings, booleans, None, lists) that `resume` passes again.
        constants : mapping, optional
            Arrays that hold for all times, such as teacher weights (runs, d).
        """

    def extend(self, first: int, block: Block) -> None:
        """Keep what the run holds at requested time number `first` and those that follow.

        Parameters
        ----------
        first : int
            Number of the first time in the block.
        block : mapping
            Name -> array over the axes of `axes_of`, or a list of arrays, one a time, whose shapes
            may differ. `time` has the times; arrays `dense_…` have the finer times of all of
            them, and `dense_end` how many of these there are up to each. Names and dtypes are
            those of every other block.
        """

    def checkpoint_due(self) -> bool:
        """Whether the interval between checkpoints has passed; cheap enough for every step."""

    def checkpoint(self, arrays: Arrays) -> None:
        """Replace the last checkpoint by this state, from which the run goes on bit for bit."""

    def close(self, ending: Ending, state: Arrays | None = None) -> None:
        """Keep how the run ended, and, as the last checkpoint, its state.

        Everything handed over is safe when this returns. Without `state` the last checkpoint stays.
        """

    @property
    def frames(self) -> Sequence[Mapping[str, NDArray[Any]]]:
        """What was handed over so far, one mapping a time."""

    def series(self, name: str) -> NDArray[Any]:
        """All that was handed over as `name`, times along the first axis.

        Arrays called `dense_…` are joined end to end, others stacked.
        """

    def stored(self, name: str) -> Any:
        """A view of the array `name` in a file, read when it is asked for; None in memory."""
