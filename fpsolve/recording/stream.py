"""`Stream`: the course of a run that goes from one requested time to the next, into a sink."""

from __future__ import annotations

import time as clock
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from fpsolve.errors import SolveError, StoreError
from fpsolve.progress import Callback, stopped_by
from fpsolve.recording.protocol import Arrays, Ending, Sink, ending_after
from fpsolve.recording.signals import noticed

__all__ = ["Stream"]

# What is reached waits for more, for it is cheaper to hand on many times: so many, so many values,
# or so many seconds.
_MOST_WAITING, _MOST_VALUES, _LONGEST_WAIT = 256, 2**17, 0.5
# Seconds between looks at what is due.
_LOOK_EVERY = 0.02
# Seconds that a lot of times reached at once should take, and after which a signal does not wait
# for the rest of it.
_LOT_SECONDS, _PATIENCE = 0.02, 1.0

_Result = TypeVar("_Result")


class _Stop(Exception):
    """Leave the loop of steps: a signal has come."""


class Stream(ABC, Generic[_Result]):
    """A run whose results go into a sink, many times together; subclasses say what is run.

    Parameters
    ----------
    sink : Sink or None
        Opened; None if everything is to stay in memory.
    times : ndarray, shape (T,)
        Requested times.

    Attributes
    ----------
    count : int
        Number of times reached.
    interrupted : bool
        Whether a signal or a callback has ended the run.
    most_at_once : int
        How many times may be reached at once.
    """

    most_at_once = 1

    def __init__(self, sink: Sink | None, times: NDArray[np.float64]) -> None:
        self._sink, self._times = sink, times
        self.count = 0
        self.interrupted = False
        self._number = self._values = 0
        self._torn = False
        self._since = self._look_at = clock.monotonic()

    @abstractmethod
    def reach(self, times: list[float], tick: Callable[[float, bool], None]) -> None:
        """Go to `times` and let what is there wait, of which `reached` is told.

        `tick` is told of times on the way, and whether the run can be left there.
        """

    def reached(self, number: int, values: int) -> None:
        """Note that further times have been reached, with so many values together."""
        self.count += number
        self._number += number
        self._values += values

    @abstractmethod
    def hand_on(self, sink: Sink | None) -> None:
        """Hand all that waits to the sink."""

    @abstractmethod
    def state(self) -> Arrays:
        """Return what the run can go on from, once nothing waits."""

    @abstractmethod
    def told(self) -> Any:
        """Return what a callback hears of the last time reached."""

    @abstractmethod
    def statistics(self) -> dict[str, Any]:
        """Return how the run goes."""

    @abstractmethod
    def judge(self) -> None:
        """Raise `SolveError` if what was reached is not what it has to be."""

    @abstractmethod
    def trajectory(self) -> _Result:
        """Return what was reached."""

    def solved(self, progress: Callable[[float], None], callback: Callback) -> _Result:
        """Go through all times, telling `progress` of them; return what was reached.

        Raises
        ------
        SolveError
            If the last time cannot be reached; `partial` is what was, and the sink is told.
        KeyboardInterrupt
            If interrupted, once the sink has a checkpoint.
        Exception
            What the callback, or a function that the run calls, has raised.
        """
        try:
            self._follow(progress, callback)
        except SolveError as error:
            if self.count:  # A solver knows of the last few times only.
                error.partial = self.trajectory()
            raise
        return self.trajectory()

    def _follow(self, progress: Callable[[float], None], callback: Callback) -> None:
        """Go through all times, and leave the sink in order however that ends.

        Raises
        ------
        Exception
            What ends the run, a failure or what the callback raised; the sink is told first.
        KeyboardInterrupt
            If interrupted, once the sink has a checkpoint.
        """
        with noticed() as came:
            try:
                self._go(progress, callback, came)
                self._hand_on()
                self.judge()
            except _Stop:
                pass
            except StoreError:
                raise
            except Exception as error:
                self._hand_on()
                self._close(Ending("failed", self.statistics(), " ".join(str(error).split())))
                raise
            self._hand_on()
            self.interrupted |= bool(came)
            # Left between two times of a lot, the run goes on from its last checkpoint.
            self._close(ending_after(came, self.statistics()), None if self._torn else self.state)
        if came:
            raise came[0]

    def _go(
        self, progress: Callable[[float], None], callback: Callback, came: list[BaseException]
    ) -> None:
        began = clock.monotonic()

        def tick(time: float, in_order: bool) -> None:
            progress(time)
            if in_order:
                self._attend(came)
            elif came and clock.monotonic() - began > _PATIENCE:
                self._torn = True
                raise _Stop

        times, lot = self._times.tolist(), 1
        while self.count < len(times):
            began = clock.monotonic()
            self.reach(times[self.count : self.count + lot], tick)
            # Of many times, the first shows a file what to prepare for while the run goes on.
            first = self._number == self.count and len(times) > _MOST_WAITING
            if first or self._number >= _MOST_WAITING or self._values > _MOST_VALUES:
                self._hand_on()
            if callback is None:
                # Each lot costs something as such, so that they are many soon.
                share = (clock.monotonic() - began) / _LOT_SECONDS
                more = 8 if share < 1 / 8 else 2
                lot = min(more * lot, self.most_at_once) if share < 1 else max(lot // 2, 1)
            elif stopped_by(callback, times[self.count - 1], self.told(), came):
                self.interrupted = True
                return
            self._attend(came)

    def _attend(self, came: list[BaseException]) -> None:
        if came:
            raise _Stop
        now = clock.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + _LOOK_EVERY
        if now - self._since >= _LONGEST_WAIT:
            self._hand_on()
        if self._sink is not None and self._sink.checkpoint_due():
            self._hand_on()
            self._sink.checkpoint(self.state())

    def _hand_on(self) -> None:
        self._since, self._values = clock.monotonic(), 0
        number, self._number = self._number, 0
        if number:
            self.hand_on(self._sink)

    def _close(self, ending: Ending, state: Callable[[], Arrays] | None = None) -> None:
        if self._sink is not None:
            self._sink.close(ending, None if state is None else state())
