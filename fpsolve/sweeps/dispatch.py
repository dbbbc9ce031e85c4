"""Handing out batches, taking answers back, and what happens when a worker dies."""

from __future__ import annotations

import queue
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpsolve.sweeps.batch import Outcome, Question, pack, solve_batch, solve_point
from fpsolve.sweeps.engines import Engine, local_engine

__all__ = ["Ledger", "solve_elsewhere", "solve_here"]

# A point that was with a dying worker so many times is held to have killed it.
_MOST_DEATHS = 2
# Seconds between looks at jobs that cannot say by themselves that they are done.
_PATIENCE = 0.2
# Batches each worker should still get, so that all end at about the same time.
_SHARES = 2
# Batches get smaller towards the end, but no smaller than this part of a full one.
_LEAST = 8

Packed = dict[str, NDArray[Any]]


class Ledger:
    """What is still to be solved, what a point costs, and where answers go.

    Parameters
    ----------
    points : sequence of int
        Flat numbers of the points to be solved.
    values : callable
        Values of the axes at a flat number.
    deliver : callable
        Told flat numbers and their packed outcomes, once a point.
    """

    def __init__(
        self,
        points: Sequence[int],
        values: Callable[[int], tuple[Any, ...]],
        deliver: Callable[[Sequence[int], Packed], None],
    ) -> None:
        self._points, self._next, self._total = points, 0, len(points)
        self._values, self._deliver = values, deliver
        self._again: deque[int] = deque()
        self._deaths: Counter[int] = Counter()
        self._spent, self._solved = 0.0, 0

    @property
    def left(self) -> int:
        """Points nobody has been given."""
        return self._total - self._next + len(self._again)

    @property
    def cost(self) -> float:
        """Mean seconds a point has taken so far; infinite before the first."""
        return self._spent / self._solved if self._solved else float("inf")

    def take(self, most: int) -> list[int]:
        """Return the next points, those a worker died with one at a time."""
        if self._again:
            return [self._again.popleft()]
        taken = self._points[self._next : self._next + most]
        self._next += len(taken)
        return list(taken)

    def values(self, points: Sequence[int]) -> list[tuple[Any, ...]]:
        """Return the values of the axes at points."""
        return [self._values(point) for point in points]

    def back(self, points: Sequence[int]) -> None:
        """Take back points that nobody would have."""
        self._again.extend(points)

    def done(self, points: Sequence[int], packed: Packed) -> None:
        """Take the outcomes of points."""
        self._spent += float(np.nansum(packed["seconds"]))
        self._solved += len(points)
        self._deliver(points, packed)

    def lost(self, points: Sequence[int], failure: BaseException) -> None:
        """Put points that were with a dying worker back, or name them when it is too often."""
        for point in points:
            self._deaths[point] += 1
            if self._deaths[point] < _MOST_DEATHS:
                self._again.append(point)
                continue
            reason = str(failure).split("\n")[0] or "no reason given"
            text = f"its worker died {_MOST_DEATHS} times: {type(failure).__name__}: {reason}"
            self._deliver([point], pack([Outcome(None, text, final=False)]))


def solve_here(
    ledger: Ledger, question: Question, enough: Callable[[], bool], every: float
) -> None:
    """Solve points in this process, one after the other, until `enough`; Ctrl-C is raised.

    Parameters
    ----------
    ledger : Ledger
        Gives points and takes outcomes, whatever happens.
    question : Question
        What is asked.
    enough : callable
        Whether to stop, asked after every batch.
    every : float
        Seconds between deliveries.
    """
    while ledger.left and not enough():
        points: list[int] = []
        outcomes: list[Outcome] = []
        until = time.perf_counter() + every
        try:
            while ledger.left and time.perf_counter() < until:
                (point,) = ledger.take(1)
                outcomes.append(solve_point(question, ledger.values([point])[0]))
                points.append(point)
        finally:
            if points:
                ledger.done(points, pack(outcomes))


def solve_elsewhere(ledger: Ledger, question: bytes, engine: Engine) -> None:
    """Let an engine solve all that is left; Ctrl-C is raised.

    Parameters
    ----------
    ledger : Ledger
        Gives points and takes outcomes.
    question : bytes
        What is asked, pickled.
    engine : Engine
        Solves batches.

    Notes
    -----
    A batch whose future fails, not one of its points, was with a worker that died: its points are
    handed out again one at a time. An executor that is broken as a whole is replaced by local
    workers, as many as it had.
    """
    out = _Out()
    replaced: list[Engine] = []
    killed = True
    try:
        if engine.at_once:
            _hand_out_at_once(ledger, question, engine, out)
        while ledger.left or out:
            try:
                _hand_out(ledger, question, engine, out)
            except BrokenExecutor:
                if replaced:
                    raise
                engine = local_engine("", engine.width())
                replaced.append(engine)
                continue
            points, future = out.next()
            try:
                packed = future.result()
            except KeyboardInterrupt:
                raise
            except BaseException as failure:
                ledger.lost(points, failure)
                continue
            ledger.done(points, packed)
        killed = False
    finally:
        out.cancel()
        for own in replaced:
            own.close(kill=killed)


def _hand_out(ledger: Ledger, question: bytes, engine: Engine, out: _Out) -> None:
    width = engine.width()
    while ledger.left and len(out) < width * engine.depth:
        full = max(int(engine.seconds / max(ledger.cost, 1e-9)), 1)
        fair = ledger.left // (width * _SHARES)
        points = ledger.take(min(full, max(fair, full // _LEAST, 1)))
        try:
            future = engine.executor.submit(solve_batch, question, ledger.values(points))
        except BrokenExecutor:
            ledger.back(points)
            raise
        out.add(points, future)


def _hand_out_at_once(ledger: Ledger, question: bytes, engine: Engine, out: _Out) -> None:
    """Hand a queue of jobs all points in as many batches as it has room, in one submission."""
    jobs = min(engine.width(), ledger.left)
    points = ledger.take(ledger.left)
    # Neighbours cost alike, so each job takes every so-many-th point.
    shares = [points[job::jobs] for job in range(jobs)]
    together = getattr(engine.executor, "batch", nullcontext)
    with together():
        pairs = [
            (share, engine.executor.submit(solve_batch, question, ledger.values(share)))
            for share in shares
        ]
    for points, job in pairs:
        out.add(points, job)


class _Out:
    """Batches that are out, in the order in which they come back."""

    def __init__(self) -> None:
        self._back: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._points: dict[Any, list[int]] = {}
        self._silent: list[Any] = []

    def __len__(self) -> int:
        return len(self._points)

    def add(self, points: list[int], future: Any) -> None:
        self._points[future] = points
        if hasattr(future, "add_done_callback"):
            future.add_done_callback(self._back.put)
        else:
            self._silent.append(future)

    def next(self) -> tuple[list[int], Any]:
        """Wait for a batch that is back."""
        while True:
            if not self._silent:
                future = self._back.get()
                return self._points.pop(future), future
            for job in self._silent:
                if job.done():
                    self._silent.remove(job)
                    return self._points.pop(job), job
            time.sleep(_PATIENCE)

    def cancel(self) -> None:
        """Call back what is still out, as far as it can be."""
        for future in self._points:
            if hasattr(future, "cancel"):
                future.cancel()
