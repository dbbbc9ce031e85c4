"""The Rosenbrock step of `step` with teacher values spread over threads.

Threads meet once per stage and wait without spinning, so that a busy machine only loses the gain.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpsolve.density.step import begin_step, end_step, report_step, take_stage

__all__ = ["threaded_step"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_threads(), thread_name_prefix="fpsolve")


def _threads() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _ranges(first: Indices) -> list[tuple[int, int]]:
    """Consecutive teacher values with about equal numbers of elements, one range per thread."""
    count = min(_threads(), first.size - 1)
    targets = first[-1] * np.arange(1, count) / count
    cuts = np.unique([0, *np.searchsorted(first, targets).tolist(), first.size - 1])
    return list(zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True))


def _everywhere(kernel: Callable[..., None], ranges: list[tuple[int, int]], *args: Any) -> None:
    """Run `kernel` on all ranges at once."""
    others = [_pool().submit(kernel, own, *args) for own in ranges[1:]]
    kernel(ranges[0], *args)
    for other in others:
        other.result()


def threaded_step(
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
    width: Array,
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
    """`step.rosenbrock_step` bit for bit, on all processors."""
    ranges = _ranges(first)
    weights = functionals[0]
    field = (mass, weights, drift, width, half, first, derivative, quadrature)
    factored = (work, matrix, lower, pivot, parts)
    coupled = dfactor if dfactor * present > least else 0.0
    diffusivity = max(least, dfactor * present)
    shift = 1.0 / (gamma * dt)
    start = (scheme, u, shift, diffusivity, *field, weak, stiffness, *factored)
    _everywhere(begin_step, ranges, *start)
    column = _total(parts)
    bend = 1.0 - coupled * column
    gains: list[float] = []
    correction = 0.0
    for s in range(stage_weights.shape[0]):
        error = present
        for r, gain in enumerate(gains):
            error += stage_weights[s, r] * gain
        stage = (s, correction, scheme, u, dt, max(least, coupled * error), *field)
        _everywhere(take_stage, ranges, *stage, stage_weights, coupling, *factored)
        gained = _total(parts)
        correction = coupled * gained / bend
        gains.append(gained + correction * column)
    _everywhere(end_step, ranges, correction, scheme, u, mass, functionals, first, work, new, parts)
    return int(report_step(floor, parts, report))


def _total(parts: Array) -> float:
    """Sum of the first column in the order that the compiled step adds it."""
    total = 0.0
    for part in parts[:, 0].tolist():
        total += part
    return total
