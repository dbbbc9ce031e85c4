"""Write-behind: what a run hands over is written by another thread while the run goes on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from fpsolve.recording.signals import undisturbed

__all__ = ["Behind"]

# Calls that may wait or be under way; whoever asks for more waits, so that memory is bounded.
_MOST = 2


class Behind:
    """Calls that a thread of its own makes, one after another, in the order they were asked for.

    HDF5, checksums and the disk let go of the interpreter's lock, as steps of a solver do. What a
    call raises is raised again where the next one is asked for, or waited for; no call is made
    after one has failed. A process that ends waits for all of them.
    """

    def __init__(self) -> None:
        self._executor: ThreadPoolExecutor | None = None
        self._asked: deque[Future[None]] = deque()
        self._failed = False

    def idle(self) -> bool:
        """Return whether every call has been made; what one has raised is raised here."""
        while self._asked and self._asked[0].done():
            self._settle()
        return not self._asked

    def do(self, function: Callable[..., None], *arguments: Any) -> None:
        """Have `function` called, once there is room."""
        with undisturbed():
            while not self.idle() and len(self._asked) >= _MOST:
                self._settle()
            if self._executor is None:  # A file that is only read again has no use for a thread.
                self._executor = ThreadPoolExecutor(1, thread_name_prefix="fpsolve-store")
                # Whoever starts a thread waits for it, and would wait for what it does first.
                self._executor.submit(_nothing)
            self._asked.append(self._executor.submit(self._call, function, *arguments))

    def wait(self) -> None:
        """Return once every call has been made."""
        while self._asked:
            self._settle()

    def stop(self) -> None:
        """Let go of calls that have not begun, and end the thread."""
        busy = not all(call.done() for call in self._asked)
        for call in self._asked:
            call.cancel()
        self._asked.clear()
        if self._executor is not None:
            self._executor.shutdown(wait=busy)
            self._executor = None

    def _settle(self) -> None:
        """Wait for the first call; Ctrl-C may end that, and leaves the call in its place."""
        self._asked[0].result()
        self._asked.popleft()

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        if self._failed:
            return
        try:
            function(*arguments)
        except BaseException:
            self._failed = True
            raise


def _nothing() -> None:
    """Do nothing."""
