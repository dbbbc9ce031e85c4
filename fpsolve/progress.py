"""Progress of a long computation: a bar on a terminal, plain lines otherwise."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

__all__ = ["Progress", "progress_to"]

# Without a terminal one line is written at most this often, in seconds.
_LINE_INTERVAL = 10.0


class Progress(Protocol):
    """What a computation tells about itself while it runs."""

    def reach(self, position: float) -> None:
        """Say that `position`, between 0 and the total, has been reached."""


class _Silent:
    def reach(self, position: float) -> None:
        """Say nothing."""


class _Bar:
    """A tqdm bar, with the time that is left."""

    def __init__(self, bar: Any, total: float) -> None:
        self._bar = bar
        self._total = total

    def reach(self, position: float) -> None:
        self._bar.update(min(position, self._total) - self._bar.n)


class _Lines:
    """A line now and then, for logs and pipes."""

    def __init__(self, label: str, total: float, unit: str) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._start = self._last = time.monotonic()
        self._position = 0.0

    def reach(self, position: float) -> None:
        self._position = position
        if time.monotonic() - self._last >= _LINE_INTERVAL:
            self.write()

    def write(self) -> None:
        self._last = time.monotonic()
        elapsed = self._last - self._start
        done = f"{self._position:g} of {self._total:g}{self._unit and ' ' + self._unit}"
        print(f"{self._label}: {done}, {elapsed:.1f} s", file=sys.stderr, flush=True)


@contextmanager
def progress_to(total: float, label: str, *, shown: bool, unit: str = "") -> Iterator[Progress]:
    """Yield a `Progress` from 0 to `total`, written to the error stream if `shown`.

    Parameters
    ----------
    total : float
        Where the computation ends, in `unit`.
    label : str
        What is being done.
    shown : bool
        False yields a `Progress` that says nothing.
    unit : str, default ""
        Unit of the position, e.g. "tau" or "steps".
    """
    if not shown:
        yield _Silent()
        return
    if sys.stderr.isatty():
        from tqdm import tqdm  # only where a bar is really drawn

        layout = (
            "{desc} {percentage:3.0f}%|{bar}| {n:.4g}/{total:.4g} {unit} [{elapsed}<{remaining}]"
        )
        with tqdm(total=total, desc=label, unit=unit, bar_format=layout) as bar:
            yield _Bar(bar, total)
        return
    lines = _Lines(label, total, unit)
    yield lines
    lines.write()
