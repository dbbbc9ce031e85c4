"""The worker process: reads tasks from its input, writes what they yield to its output.

`python -m fpsolve.explorer.worker [patient]`. A process, not a thread: it can be
stopped in mid-solve.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any, BinaryIO

from fpsolve.compilation import put_off
from fpsolve.errors import FpsolveError, ParameterError
from fpsolve.explorer.results import TASKS

__all__ = ["DONE", "PART", "READY", "REFUSED", "STOP", "main", "serve"]

# What a message says: that it listens, a result, an error of the library, the end of a task.
READY, PART, REFUSED, DONE = "ready", "part", "refused", "done"
# How much a process for patient tasks leaves the processor to others (see nice(1)).
_PATIENT = 10
# The signal that ends a task but not the process, where there is one.
STOP = getattr(signal, "SIGUSR1", None)


class _StoppedError(BaseException):
    """Nobody waits for the task under way any more; not for `except Exception` to swallow."""


class _Attention:
    """Whether a task may be ended by a signal now, or was told to end when it could not be."""

    task = told = False

    def stop(self, number: int = 0, frame: FrameType | None = None) -> None:
        """End the task under way, once nothing compiles and no message is half sent."""
        if not self.task:
            self.told = True
        elif not put_off(self.stop):
            self.task = False
            raise _StoppedError

    @contextlib.contextmanager
    def given(self) -> Iterator[None]:
        """Let what is done inside be stopped."""
        self.task = True
        try:
            if self.told:
                self.stop()
            yield
        finally:
            self.task = False


_ATTENTION = _Attention()
# Stands for what comes after the last part; a part may be None.
_END = object()


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Carry out tasks (name, arguments) until `source` ends, or nobody listens any more."""
    while True:
        try:
            name, arguments = pickle.load(source)
        except EOFError:
            return
        _ATTENTION.told = False
        try:
            parts = TASKS[name](*arguments)
            while (part := _next_of(parts)) is not _END:
                _send(sink, (PART, part))
        except BrokenPipeError:
            return
        except _StoppedError:
            pass
        except FpsolveError as error:
            field = error.field if isinstance(error, ParameterError) else ""
            _send(sink, (REFUSED, (field, " ".join(str(error).split()))))
        except Exception as error:
            _send(sink, (REFUSED, ("", f"a defect of fpsolve, {type(error).__name__}: {error}")))
        _send(sink, (DONE, None))


def _next_of(parts: Iterator[Any]) -> Any:
    with _ATTENTION.given():
        return next(parts, _END)


def _send(sink: BinaryIO, message: object) -> None:
    pickle.dump(message, sink, protocol=pickle.HIGHEST_PROTOCOL)
    sink.flush()


def main() -> None:
    """Serve the parent on a copy of standard output; whatever else prints goes to the errors."""
    if STOP is not None:
        signal.signal(STOP, _ATTENTION.stop)
    if "patient" in sys.argv[1:] and hasattr(os, "nice"):
        os.nice(_PATIENT)
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    # Kernels compile for longer than a task may take, at their first use on a machine.
    TASKS["warm"]()
    _send(sink, (READY, None))
    serve(sys.stdin.buffer, sink)


if __name__ == "__main__":
    main()
