"""`Sink`: what a run hands over as it goes on, wherever that is kept.

A solver calls, in this order: `open` once, and goes on from `state` if there is one; `frame` at
every requested time it reaches, in order; `checkpoint` whenever `checkpoint_due()` says so, and
before the end; `close` once, with how the run ended. It never asks where things go. After `close`
the frames are read back from `sink.frames`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from numpy.typing import ArrayLike, NDArray

from fpsolve.problem.problem import Problem

__all__ = ["CHECKPOINT_INTERVAL", "ENDINGS", "Arrays", "Ending", "Sink"]

# Flat name -> array or scalar: numbers of any dtype, booleans, or one string.
Arrays = Mapping[str, Any]

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

    def frame(self, index: int, time: float, arrays: Arrays) -> None:
        """Keep what the run holds at requested time number `index`.

        `arrays` has the same names and dtypes at every time; shapes may differ from time to time.
        """

    def checkpoint_due(self) -> bool:
        """Whether the interval between checkpoints has passed; cheap enough for every step."""

    def checkpoint(self, arrays: Arrays) -> None:
        """Replace the last checkpoint by this state, from which the run goes on bit for bit."""

    def close(self, ending: Ending) -> None:
        """Keep how the run ended; everything handed over is safe when this returns."""

    @property
    def frames(self) -> Sequence[Mapping[str, NDArray[Any]]]:
        """The frames so far, each as it was handed over."""

    def series(self, name: str) -> NDArray[Any]:
        """All that was handed over as `name`, times along the first axis.

        Arrays called `dense_…` are joined end to end, others stacked.
        """

    def stored(self, name: str) -> Any:
        """A view of the array `name` in a file, read when it is asked for; None in memory."""
