"""The Rosenbrock step of `step` with teacher values spread over threads.

Threads meet once per stage and wait without spinning, so that a busy machine only loses the gain.
A step lasts milliseconds and has ten meetings: plain locks meet in some 25 µs, half of what a
`ThreadPoolExecutor` takes.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpsolve.density.step import begin_step, end_step, report_step, take_stage

__all__ = ["Crew", "hired_crew", "threaded_step"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


class _Helper:
    """A thread that waits for a kernel, runs it, and says so."""

    def __init__(self) -> None:
        self._work: tuple[Callable[..., None], tuple[Any, ...]] | None = None
        self._failure: BaseException | None = None
        self._given, self._done = threading.Lock(), threading.Lock()
        self._given.acquire()
        self._done.acquire()
        threading.Thread(target=self._serve, name="fpsolve", daemon=True).start()

    def give(self, kernel: Callable[..., None], args: tuple[Any, ...]) -> None:
        self._work = kernel, args
        self._given.release()

    def wait(self) -> None:
        self._done.acquire()
        if self._failure is not None:
            raise self._failure

    def _serve(self) -> None:
        while True:
            self._given.acquire()
            assert self._work is not None
            kernel, args = self._work
            try:
                kernel(*args)
            except BaseException as failure:
                self._failure = failure
            self._work = None
            self._done.release()


class Crew:
    """A helper for every processor but the one that asks."""

    def __init__(self) -> None:
        self.free = threading.Lock()
        self.helpers = [_Helper() for _ in range(_processors() - 1)]


@lru_cache(maxsize=1)
def _crew() -> Crew:
    return Crew()


if hasattr(os, "register_at_fork"):  # Threads stay behind: a child hires its own.
    os.register_at_fork(after_in_child=_crew.cache_clear)


@contextmanager
def hired_crew() -> Iterator[Crew | None]:
    """Yield the crew of this process, None while another thread of it has hired the crew."""
    crew = _crew()
    if not crew.free.acquire(blocking=False):
        yield None
        return
    try:
        yield crew
    except BaseException:  # Ctrl-C between giving and waiting: who is where is not known any more.
        _crew.cache_clear()
        raise
    finally:
        crew.free.release()


def _processors() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _ranges(first: Indices, count: int) -> list[tuple[int, int]]:
    """Consecutive teacher values with about equal numbers of elements, one range per thread."""
    count = min(count, first.size - 1)
    targets = first[-1] * np.arange(1, count) / count
    cuts = np.unique([0, *np.searchsorted(first, targets).tolist(), first.size - 1])
    return list(zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True))


def _everywhere(
    crew: Crew, kernel: Callable[..., None], ranges: list[tuple[int, int]], *args: Any
) -> None:
    """Run `kernel` on all ranges at once."""
    hired = crew.helpers[: len(ranges) - 1]
    for helper, own in zip(hired, ranges[1:], strict=True):
        helper.give(kernel, (own, *args))
    kernel(ranges[0], *args)
    for helper in hired:
        helper.wait()


def threaded_step(
    crew: Crew,
    scheme: int,
    u: Array,
    dt: float,
    present: float,
    floor: float,
    dfactor: float,
    least: float,
    mass: Array,
    functionals: Array,
    drift: Array,
    metric: Array,
    half: Array,
    first: Indices,
    derivative: Array,
    quadrature: Array,
    weak: Array,
    stiffness: Array,
    gamma: float,
    stage_weights: Array,
    coupling: Array,
    work: Array,
    matrix: Array,
    lower: Array,
    pivot: Array,
    parts: Array,
    new: Array,
    report: Array,
) -> int:
    """`step.rosenbrock_step` bit for bit, with the help of a crew."""
    ranges = _ranges(first, 1 + len(crew.helpers))
    weights = functionals[0]
    field = (mass, weights, drift, metric, half, first, derivative, quadrature)
    factored = (work, matrix, lower, pivot, parts)
    coupled = dfactor if dfactor * present > least else 0.0
    diffusivity = max(least, dfactor * present)
    shift = 1.0 / (gamma * dt)
    start = (scheme, u, shift, diffusivity, *field, weak, stiffness, *factored)
    _everywhere(crew, begin_step, ranges, *start)
    column = _total(parts)
    bend = 1.0 - coupled * column
    gains: list[float] = []
    correction = 0.0
    for s in range(stage_weights.shape[0]):
        error = present
        for r, gain in enumerate(gains):
            error += stage_weights[s, r] * gain
        stage = (s, correction, scheme, u, dt, max(least, coupled * error), *field)
        _everywhere(crew, take_stage, ranges, *stage, stage_weights, coupling, *factored)
        gained = _total(parts)
        correction = coupled * gained / bend
        gains.append(gained + correction * column)
    _everywhere(
        crew, end_step, ranges, correction, scheme, u, mass, functionals, first, work, new, parts
    )
    return int(report_step(floor, parts, report))


def _total(parts: Array) -> float:
    """Sum of the first column in the order that the compiled step adds it."""
    total = 0.0
    for part in parts[:, 0].tolist():
        total += part
    return total
