"""A search: what it has tried so far, the best of it, and who is told."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from fpsolve.macro.stationary_state import StationaryState
from fpsolve.progress import Callback, Progress, stops
from fpsolve.reduction import OrderParameters

__all__ = ["Search"]


class _Enough(Exception):
    """Whoever is told wants no more."""


class Search:
    """A search for the least of something, which a callback can end.

    As a context it ends quietly where the callback wants no more.

    Parameters
    ----------
    callback : callable or None
        Told of every point and the order parameters there.
    progress : Progress
        Told how many points were tried, and ε_g.

    Attributes
    ----------
    tried : list of (object, float)
        Points, and what is to be least, in the order in which they were tried.
    interrupted : bool
        Whether the callback has ended it.
    """

    def __init__(self, callback: Callback, progress: Progress) -> None:
        self._callback, self._progress = callback, progress
        self.tried: list[tuple[Any, float]] = []
        self.interrupted = False

    def __enter__(self) -> Search:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> bool:
        return isinstance(error, _Enough)

    def tell(
        self, point: object, value: float, state: OrderParameters | StationaryState | None
    ) -> float:
        """Take down what a point gives, tell of it, and return it.

        Parameters
        ----------
        point : object
            What was tried.
        value : float
            What is to be least.
        state : OrderParameters, StationaryState or None
            Order parameters there, or what has them; None where there are none.
        """
        self.tried.append((point, value))
        error = None if state is None else float(state.generalization_error)
        self._progress.reach(len(self.tried), error)
        if self._callback is not None and isinstance(state, StationaryState):
            state = state.order_parameters  # which take longer than ε_g
        if stops(self._callback, point, state):
            self.interrupted = True
            raise _Enough
        return value

    @property
    def best(self) -> tuple[Any, float]:
        """The point where it is least, the first of several, and what it is there."""
        return min(self.tried, key=lambda pair: pair[1])

    @property
    def stats(self) -> dict[str, Any]:
        """What is told of it afterwards."""
        return {"evaluations": len(self.tried), "interrupted": self.interrupted}
