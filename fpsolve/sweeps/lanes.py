"""Local worker processes, each on its own, so that the death of one touches no other."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from typing import Any

__all__ = ["Lanes"]


class _Lane:
    """A pool of one process, and the task it has."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._process: Future[int] | None = None
        self.task: Future[Any] | None = None

    @property
    def idle(self) -> bool:
        return self.task is None or self.task.done()

    def submit(self, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
        try:
            self.task = self._started().submit(call, *arguments)
        except BrokenProcessPool:  # its process has died: a new one takes its place
            self._pool = None
            self.task = self._started().submit(call, *arguments)
        return self.task

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(1, mp_context=_context(), initializer=_settle)
            self._process = self._pool.submit(os.getpid)
        return self._pool

    def close(self, *, kill: bool) -> None:
        if self._pool is None or self._process is None:
            return
        self._pool.shutdown(wait=False, cancel_futures=True)
        if kill and self._process.done() and self._process.exception() is None:
            with suppress(ProcessLookupError):
                os.kill(self._process.result(), signal.SIGKILL)


class Lanes:
    """As many processes as asked for; `submit` may be called while one of them is idle.

    Processes are fresh (a fork would copy the threads of compiled code in an unknown state), but
    forked from a server that has imported the package once. They know nothing of the caller's
    main module, so scripts need no `__main__` guard, and they end when the caller does.

    Parameters
    ----------
    width : int
        Number of processes.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self._lanes = [_Lane() for _ in range(width)]

    def submit(self, call: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        """Run `call` in the first idle process."""
        lane = next(lane for lane in self._lanes if lane.idle)
        with _without_main():
            return lane.submit(call, *arguments)

    def close(self, *, kill: bool) -> None:
        """Let the processes end; with `kill`, without finishing what they are at."""
        for lane in self._lanes:
            lane.close(kill=kill)


def _context() -> Any:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fpsolve.sweeps.preload"])
    return context


def _settle() -> None:
    """Leave Ctrl-C to the parent, and end when it ends, even by SIGKILL."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _follow(parent: Any) -> None:
    parent.join()
    os._exit(1)


@contextmanager
def _without_main() -> Iterator[None]:
    """Keep new processes from running the caller's script, which may have no guard, once more.

    Functions defined there travel by value.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
