"""A few worker processes shared by all windows; a task runs in one and can be stopped."""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

from fpsolve.explorer.worker import DONE, REFUSED

__all__ = ["Task", "Workers"]

_MOST = max(2, os.cpu_count() or 1)
# Seconds a thread gets to put away its process when all end.
_LEAVE = 2.0


class Task:
    """One task under way.

    Parameters
    ----------
    name : str
        Key of `results.TASKS`.
    arguments : sequence
        Its arguments.
    budget : float
        Seconds after which it is stopped.
    part : callable
        Called from another thread with every result.
    done : callable
        Called from another thread at the end, with (field, message) if it was refused, None if it
        was completed or stopped by `stop`.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[Any],
        *,
        budget: float,
        part: Callable[[Any], None],
        done: Callable[[tuple[str, str] | None], None],
    ) -> None:
        self.call = (name, tuple(arguments))
        self.budget, self.part, self.done = budget, part, done
        self.stopped = False
        self.late = False
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def stop(self) -> None:
        """Stop the task wherever it is; nothing more comes of it."""
        with self._lock:
            self.stopped = True
            if self._process is not None:
                self._process.kill()

    def _expire(self) -> None:
        with self._lock:
            if self._process is not None:
                self.late = True
                self._process.kill()

    def run(self, process: subprocess.Popen[bytes]) -> bool:
        """Carry the task out in `process`; return whether that waits for another one."""
        with self._lock:
            if self.stopped:
                return True
            self._process = process
        timer = threading.Timer(self.budget, self._expire)
        timer.daemon = True
        timer.start()
        refused: tuple[str, str] | None = None
        complete = False
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            pickle.dump(self.call, process.stdin)
            process.stdin.flush()
            while True:
                kind, content = pickle.load(process.stdout)
                if kind == DONE:
                    complete = True
                    break
                if kind == REFUSED:
                    refused = content
                elif not self.stopped:
                    self.part(content)
        except (EOFError, OSError, pickle.UnpicklingError):
            if self.late:
                hint = "lower the horizon or raise the learning rate"
                refused = ("", f"this takes more than {self.budget:g} s; {hint}")
            elif not self.stopped:
                refused = ("", "the worker process ended; try again")
        finally:
            timer.cancel()
            with self._lock:
                self._process = None
        # A process that was told to die may still seem alive: only the end of a task counts.
        complete = complete and not self.stopped and not self.late
        if not self.stopped:
            self.done(refused)
        return complete


class Workers:
    """At most as many processes as there are processors, started when first needed."""

    def __init__(self, most: int = _MOST) -> None:
        self._free = threading.Semaphore(most)
        self._idle: list[subprocess.Popen[bytes]] = []
        self._busy: dict[threading.Thread, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()
        self._closed = False
        atexit.register(self.close)

    def start(self, task: Task) -> None:
        """Carry out `task` as soon as a process is free; returns at once."""
        threading.Thread(target=self._carry_out, args=(task,), daemon=True).start()

    def _carry_out(self, task: Task) -> None:
        with self._free:
            if task.stopped:
                return
            me = threading.current_thread()
            with self._lock:
                if self._closed:
                    return
                process = self._alive() or _worker()
                self._busy[me] = process
            usable = task.run(process)
            with self._lock:
                del self._busy[me]
                if self._closed:
                    usable = False
                elif usable:
                    self._idle.append(process)
                elif not self._idle:
                    # Whoever moves a control next does not wait until a process has started.
                    self._idle.append(_worker())
            if not usable:
                _end(process)

    def _alive(self) -> subprocess.Popen[bytes] | None:
        """An idle process, if there is one."""
        while self._idle:
            process = self._idle.pop()
            if process.poll() is None:
                return process
            _end(process)
        return None

    def warm(self) -> None:
        """Start a process before it is needed: importing and loading compiled code takes time."""
        with self._lock:
            self._idle.append(_worker())

    def close(self) -> None:
        """End every process, in whatever it is."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            busy = dict(self._busy)
        for process in [*idle, *busy.values()]:
            process.kill()
        for process in idle:
            _end(process)
        for thread in busy:
            thread.join(_LEAVE)


def _worker() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "fpsolve.explorer.worker"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):  # what it never read cannot be flushed
                stream.close()
    process.wait()
