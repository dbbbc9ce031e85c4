"""Several runs on several threads, a chunk at a time, until done or interrupted."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence

from fpsolve.problem.checks import integer
from fpsolve.progress import Progress

__all__ = ["round_robin", "thread_count"]

# Seconds between looks at the progress and at Ctrl-C.
_PATIENCE = 0.05
# Seconds between looks at whether what runs have reached was taken off them.
_BREAK = 0.005


def thread_count(threads: int | None) -> int:
    """Return `threads`, or the number of cores this process may use if it is None."""
    if threads is not None:
        return integer("threads", threads, least=1)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def round_robin(
    runs: Sequence[Iterator[int]], threads: int, progress: Progress, *,
    attend: Callable[[], None], done: float = 0.0, full: Callable[[], bool] = lambda: False,
) -> bool:  # fmt: skip
    """Advance all `runs` to their ends, each by a chunk in turn; True if interrupted by Ctrl-C.

    Parameters
    ----------
    runs : sequence of iterators
        `next` advances a run by one chunk, compiled and without the interpreter's lock, and
        returns the work done.
    threads : int
        Number of threads; a run is on one of them at a time, so results do not depend on it.
    progress : Progress
        Told the total work done, from the calling thread.
    attend : callable
        Called from the calling thread now and then.
    done : float, default 0
        Work that was done before.
    full : callable, optional
        While it is true no run goes on; `attend` makes it false.

    Raises
    ------
    Exception
        Whatever a run raised.
    """
    waiting: queue.SimpleQueue[Iterator[int]] = queue.SimpleQueue()
    for run in runs:
        waiting.put(run)
    stop = threading.Event()
    work: list[int] = []
    failures: list[BaseException] = []
    ended = [threading.Event() for _ in range(min(threads, len(runs)))]

    def serve(end: threading.Event) -> None:
        try:
            work_on()
        finally:
            end.set()

    def work_on() -> None:
        while not stop.is_set():
            if full():
                stop.wait(_BREAK)
                continue
            try:
                run = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                work.append(next(run))
            except StopIteration:
                continue
            except BaseException as failure:
                failures.append(failure)
                stop.set()
                return
            waiting.put(run)

    pool = [threading.Thread(target=serve, args=(end,), daemon=True) for end in ended]
    for thread in pool:
        thread.start()
    try:
        interrupted = _wait(ended, stop, work, progress, attend, done)
    except BaseException:
        stop.set()
        for thread in pool:
            thread.join()
        raise
    if failures:
        raise failures[0]
    return interrupted


def _wait(
    ended: Sequence[threading.Event], stop: threading.Event, work: list[int], progress: Progress,
    attend: Callable[[], None], done: float,
) -> bool:  # fmt: skip
    interrupted = False
    seen = 0
    # Not `Thread.join`: interrupted, it takes a thread for dead that still works (Python < 3.13).
    while not all(end.is_set() for end in ended):
        try:
            for end in ended:
                end.wait(_PATIENCE)
            fresh = work[seen:]
            seen += len(fresh)
            done += sum(fresh)
            progress.reach(done)
            attend()
        except KeyboardInterrupt:
            # The chunk under way is finished, so that every run ends between two steps.
            interrupted = True
            stop.set()
    progress.reach(done + sum(work[seen:]))
    return interrupted
