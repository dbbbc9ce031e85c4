"""Watching a long computation: a bar on a terminal, plain lines otherwise, a log, a callback."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from fpsolve.errors import ParameterError

__all__ = ["Callback", "Progress", "progress_to", "stopped_by", "stops"]

# Told where a computation stands, τ or the point of a search, and the order parameters there.
Callback = Callable[[Any, Any], object] | None

# Silent unless whoever runs fpsolve configures logging, or passes -v on the command line.
_LOG = logging.getLogger("fpsolve")

# Without a terminal one line is written at most this often, in seconds.
_LINE_INTERVAL = 10.0


def stops(callback: Callback, where: object, state: object) -> bool:
    """Tell `callback` what is reached, and return whether it wants no more.

    Parameters
    ----------
    callback : callable or None
        None is told nothing and stops nothing.
    where : object
        Time τ, or the point of a sweep or a search.
    state : object
        Order parameters there, None where there are none.

    Raises
    ------
    ParameterError
        If what it returns is neither true nor false, as an array with one value a run.
    """
    if callback is None:
        return False
    answer = callback(where, state)
    try:
        return bool(answer)
    except ValueError:
        allowed = "must return one truth value, with which the run stops; say .all() or .mean()"
        raise ParameterError("callback", answer, allowed) from None


def stopped_by(
    callback: Callback, where: object, state: object, raised: list[BaseException]
) -> bool:
    """Tell as `stops` does; what the callback raises is put aside, and stops the run too.

    So whoever keeps a result does so first, and raises what is in the list then.
    """
    try:
        return stops(callback, where, state)
    except BaseException as error:
        raised.append(error)
        return True


class Progress(Protocol):
    """What a computation tells about itself while it runs."""

    def reach(
        self, position: float, generalization_error: float | None = None, *, failed: int = 0
    ) -> None:
        """Say that `position`, between 0 and the total, is reached, ε_g there, what failed."""


class _Silent:
    def reach(
        self, position: float, generalization_error: float | None = None, *, failed: int = 0
    ) -> None:
        """Say nothing."""


class _Bar:
    """A tqdm bar, with the time that is left."""

    def __init__(self, bar: Any, total: float) -> None:
        self._bar = bar
        self._total = total

    def reach(
        self, position: float, generalization_error: float | None = None, *, failed: int = 0
    ) -> None:
        if generalization_error is not None:
            self._bar.set_postfix_str(f"eps_g={generalization_error:.4g}", refresh=False)
        if failed:
            self._bar.set_postfix_str(f"{failed} failed", refresh=False)
        self._bar.update(min(position, self._total) - self._bar.n)


class _Lines:
    """A line now and then, for logs and pipes."""

    def __init__(self, label: str, total: float, unit: str) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._start = self._last = time.monotonic()
        self._position = 0.0
        self._error: float | None = None
        self._failed = 0

    def reach(
        self, position: float, generalization_error: float | None = None, *, failed: int = 0
    ) -> None:
        self._position, self._error, self._failed = position, generalization_error, failed
        if time.monotonic() - self._last >= _LINE_INTERVAL:
            self.write()

    def write(self) -> None:
        self._last = time.monotonic()
        elapsed = self._last - self._start
        parts = [f"{self._position:g} of {self._total:g}{self._unit and ' ' + self._unit}"]
        if self._error is not None:
            parts.append(f"eps_g = {self._error:.4g}")
        if self._failed:
            parts.append(f"{self._failed} failed")
        parts.append(f"{elapsed:.1f} s")
        if 0 < self._position < self._total:
            # At the pace so far; a solver whose steps grow ends earlier.
            left = elapsed * (self._total - self._position) / self._position
            parts.append(f"about {left:.0f} s left")
        print(f"{self._label}: {', '.join(parts)}", file=sys.stderr, flush=True)


@contextmanager
def progress_to(total: float, label: str, *, shown: bool, unit: str = "") -> Iterator[Progress]:
    """Yield a `Progress` from 0 to `total`, written to the error stream if `shown`.

    Shown or not, start and end are logged under "fpsolve" at level INFO.

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
    start = time.monotonic()
    _LOG.info("%s starts, to %g%s", label, total, unit and f" {unit}")
    with _shown_as(total, label, unit) if shown else _silence() as progress:
        yield progress
    _LOG.info("%s done in %.2f s", label, time.monotonic() - start)


@contextmanager
def _silence() -> Iterator[Progress]:
    yield _Silent()


@contextmanager
def _shown_as(total: float, label: str, unit: str) -> Iterator[Progress]:
    if sys.stderr.isatty():
        from tqdm import tqdm  # only where a bar is really drawn

        layout = (
            "{desc} {percentage:3.0f}%|{bar}| {n:.4g}/{total:.4g} {unit} "
            "[{elapsed}<{remaining}{postfix}]"
        )
        with tqdm(total=total, desc=label, unit=unit, bar_format=layout) as bar:
            yield _Bar(bar, total)
        return
    lines = _Lines(label, total, unit)
    yield lines
    lines.write()
