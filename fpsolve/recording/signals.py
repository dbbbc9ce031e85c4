"""Ctrl-C and SIGTERM during a run: never in the middle of a write, and told apart at the end."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from fpsolve.compilation import put_off

__all__ = [
    "Terminated",
    "noticed",
    "stopping_code",
    "stopping_signal",
    "terminable",
    "undisturbed",
]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# What may raise in the middle of anything: time limits, too, where there are such signals.
_RAISING = (*_SIGNALS, *(s for s in signal.Signals if s.name == "SIGALRM"))
# The last of these that stopped something; None as long as none has.
_last: signal.Signals | None = None
# Whether `noticed` is at work, which lets no signal disturb anything.
_noticing = False


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a run as Ctrl-C does: in order."""


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM interrupt what is done inside, as Ctrl-C does; for the main thread.

    Both are remembered for `stopping_signal`.
    """
    global _last
    _last = None
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = {number: signal.getsignal(number) for number in _SIGNALS}
    signal.signal(signal.SIGTERM, _terminate)
    if old[signal.SIGINT] is not signal.SIG_IGN:  # A shell's background job ignores Ctrl-C.
        signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def stopping_signal() -> signal.Signals | None:
    """Return the signal that has interrupted what `terminable` surrounds, or None."""
    return _last


def stopping_code() -> int:
    """Return the exit code of a process that has stopped in order: 143 by SIGTERM, else 130."""
    return 128 + (_last or signal.SIGINT)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Put off Ctrl-C, SIGTERM and SIGALRM until all inside is done; for the main thread."""
    if _noticing or threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    old: dict[signal.Signals, Any] = {}
    for number in _RAISING:
        handler = signal.getsignal(number)
        if callable(handler):  # Otherwise the system ends the process, or nothing happens.
            old[number] = handler
            signal.signal(number, lambda n, frame: came.append((n, frame)))
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
        for number_, frame in came[:1]:
            old[signal.Signals(number_)](number_, frame)


@contextlib.contextmanager
def noticed() -> Iterator[list[BaseException]]:
    """Collect what Ctrl-C, SIGTERM and SIGALRM would have raised inside; for the main thread.

    Whoever works inside looks at the list between two pieces of work, and raises its first entry
    once everything is in order.
    """
    global _noticing
    came: list[BaseException] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    old = {number: signal.getsignal(number) for number in _RAISING}

    def notice(number: int, frame: FrameType | None) -> None:
        handler = old[signal.Signals(number)]
        try:
            if callable(handler):
                handler(number, frame)
        except BaseException as stop:
            came.append(stop)

    heard = [number for number, handler in old.items() if callable(handler)]
    for number in heard:  # Otherwise the system ends the process, or nothing happens.
        signal.signal(number, notice)
    outer, _noticing = _noticing, True
    try:
        yield came
    finally:
        _noticing = outer
        for number in heard:
            signal.signal(number, old[number])


def _terminate(number: int, frame: FrameType | None) -> None:
    global _last
    _last = signal.SIGTERM
    _stop(Terminated())


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _last
    _last = signal.SIGINT
    _stop(KeyboardInterrupt())


def _stop(how: BaseException) -> None:
    """Raise, or do so once kernels are compiled; what `noticed` catches does not get that far."""

    def stop() -> None:
        raise how

    if _noticing or not put_off(stop):
        stop()
