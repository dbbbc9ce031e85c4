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
from typing import IO, Any

from fpsolve.explorer.worker import DONE, REFUSED, STOP

__all__ = ["Task", "Workers"]

_MOST = max(2, os.cpu_count() or 1)
# Seconds a task that was told to stop gets to do so; its process is killed then.
_HEED = 0.3
# Seconds a process may take that is told to do nothing once it has started.
_START = 60.0
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
        was completed; not at all if it was stopped by `stop`.
    patient : bool, default False
        Whether it leaves the processor to whoever else wants it.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[Any],
        *,
        budget: float,
        part: Callable[[Any], None],
        done: Callable[[tuple[str, str] | None], None],
        patient: bool = False,
    ) -> None:
        self.call = (name, tuple(arguments))
        self.budget, self.part, self.done = budget, part, done
        self.patient = patient
        self.stopped = False
        self.late = self._killed = False
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def stop(self) -> None:
        """Stop the task wherever it is; nothing more comes of it."""
        with self._lock:
            self.stopped = True
            if self._process is None:
                return
            if STOP is not None:
                self._process.send_signal(STOP)
        _after(_HEED if STOP is not None else 0.0, self._kill)

    def _kill(self) -> None:
        with self._lock:
            if self._process is not None:
                self._killed = True
                self._process.kill()

    def _expire(self) -> None:
        self.late = True
        self._kill()

    def run(self, process: subprocess.Popen[bytes], fresh: bool) -> bool:
        """Carry the task out in `process`; return whether that waits for another one.

        A fresh process is not told anything before it has said that it listens.
        """
        refused: tuple[str, str] | None = None
        complete = False
        try:
            if fresh:
                pickle.load(_pipes(process)[1])
            refused = self._exchange(process)
            complete = True
        except (EOFError, OSError, pickle.UnpicklingError):
            if self.late:
                hint = "lower the horizon or raise the learning rate"
                refused = ("", f"this takes more than {self.budget:g} s; {hint}")
            else:
                refused = ("", "the worker process ended; try again")
        if not self.stopped:
            self.done(refused)
        # A process that was told to die may still seem alive: only the end of a task counts.
        return complete and not self._killed

    def _exchange(self, process: subprocess.Popen[bytes]) -> tuple[str, str] | None:
        """Hand the task over and take what comes of it; return how it was refused."""
        to, back = _pipes(process)
        with self._lock:
            if self.stopped:
                return None
            self._process = process
        timer = _after(self.budget, self._expire)
        refused = None
        try:
            pickle.dump(self.call, to)
            to.flush()
            while True:
                kind, content = pickle.load(back)
                if kind == DONE:
                    return refused
                if kind == REFUSED:
                    refused = content
                elif not self.stopped:
                    self.part(content)
        finally:
            timer.cancel()
            with self._lock:
                self._process = None


class Workers:
    """At most as many processes as there are processors, started when first needed.

    Patient tasks have as many of their own, which leave the processors to the others.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._free = {patient: threading.Semaphore(most) for patient in (False, True)}
        self._idle: dict[bool, list[subprocess.Popen[bytes]]] = {False: [], True: []}
        self._busy: dict[threading.Thread, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()
        self._closed = False
        atexit.register(self.close)

    def start(self, task: Task) -> None:
        """Carry out `task` as soon as a process is free; returns at once."""
        threading.Thread(target=self._carry_out, args=(task,), daemon=True).start()

    def _carry_out(self, task: Task) -> None:
        with self._free[task.patient]:
            me, idle = threading.current_thread(), self._idle[task.patient]
            with self._lock:
                if task.stopped or self._closed:
                    return
                process = _alive(idle)
                fresh = process is None
                process = process or _worker(task.patient)
                self._busy[me] = process
            usable = task.run(process, fresh)
            with self._lock:
                del self._busy[me]
                usable = usable and not self._closed
                if usable:
                    idle.append(process)
                alone = not (idle or task.patient or self._closed)
            if not usable:
                _end(process)
            if alone:
                # Whoever moves a control next does not wait until a process has started.
                self.warm()

    def warm(self) -> None:
        """Start a process before it is needed: importing and loading compiled code takes time."""
        nothing: Callable[[Any], None] = lambda _: None  # noqa: E731
        self.start(Task("nothing", [], budget=_START, part=nothing, done=nothing))

    def close(self) -> None:
        """End every process, in whatever it is."""
        with self._lock:
            self._closed = True
            idle = [process for crew in self._idle.values() for process in crew]
            busy = dict(self._busy)
        for process in [*idle, *busy.values()]:
            process.kill()
        for process in idle:
            _end(process)
        for thread in busy:
            thread.join(_LEAVE)


def _after(seconds: float, call: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(seconds, call)
    timer.daemon = True
    timer.start()
    return timer


def _alive(idle: list[subprocess.Popen[bytes]]) -> subprocess.Popen[bytes] | None:
    """Take an idle process, if there is one."""
    while idle:
        process = idle.pop()
        if process.poll() is None:
            return process
        _end(process)
    return None


def _worker(patient: bool) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "fpsolve.explorer.worker", *(["patient"] if patient else [])]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):  # what it never read cannot be flushed
                stream.close()
    process.wait()
