"""`simulate_ste`: training with the straight-through estimator itself, at finite dimension."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.particles import kernels
from fpsolve.particles.packing import pack
from fpsolve.particles.population import draw_population, teacher_assignment_name
from fpsolve.particles.record import Record, Schedule
from fpsolve.particles.streams import LAWS, RunStreams, draw, entropy_from, run_streams
from fpsolve.particles.trajectory import ParticleTrajectory
from fpsolve.particles.workers import round_robin, thread_count
from fpsolve.problem.checks import integer
from fpsolve.problem.problem import Problem
from fpsolve.problem.rules import take_only
from fpsolve.progress import progress_to

__all__ = ["simulate_ste"]

Array = NDArray[np.float64]

# Coordinates × samples of one compiled call: some 10 ms, so that Ctrl-C is answered at once.
_CHUNK = 4_000_000


def simulate_ste(
    problem: Problem,
    times: ArrayLike,
    *,
    dimension: int,
    runs: int = 1,
    seed: int | None = None,
    teacher_assignment: str = "exact",
    shared_initial: bool = False,
    dense_times: ArrayLike | None = None,
    threads: int | None = None,
    progress: bool = False,
) -> ParticleTrajectory:
    """Train by one-pass STE, w ← w − η[(ŷ − y) ψ_x(x)/√d + (λ/d) ψ(w)], in independent runs.

    Every step takes `problem.batch_size` fresh samples and averages its first term over them.

    Parameters
    ----------
    problem : Problem
        Quantizers, learning rate, teacher, initial weights, input law (dimensionless).
    times : array_like, shape (T,)
        Times τ at which weights are kept; each goes to the nearest step, round(τ d).
    dimension : int
        Number of weights d ≥ 1.
    runs : int, default 1
        Number of independent runs, distributed over the threads.
    seed : int, optional
        Non-negative integer; by default drawn anew. Either way `stats["seed"]` repeats the run,
        to the last bit, for any number of threads; run r does not depend on `runs`.
    teacher_assignment : str, default "exact"
        "exact": each teacher value on its share of the coordinates; "random": i.i.d. draws.
    shared_initial : bool, default False
        Whether all runs start from the teacher and initial weights of the first.
    dense_times : array_like, shape (M,), optional
        Times of the order parameters along the way; 401 of them by default.
    threads : int, optional
        Number of threads; all cores by default.
    progress : bool, default False
        Whether to show progress, with the time that is left.

    Returns
    -------
    ParticleTrajectory
        With the times of the steps, τ = steps/d, and order parameters exact for the weights at
        hand: ε_g needs no test set (ρ_d = |w*|²/d replaces ρ). After Ctrl-C it ends at the last
        time that every run had reached, and `stats["interrupted"]` is True.

    Raises
    ------
    ParameterError
        Naming the argument, its value and what is allowed.
    SolveError
        If the weights diverge.

    Notes
    -----
    Source: paper §II, Eq. (2), and its Appendix III, Eq. (9). Random numbers: `streams`, `kernels`.
    """
    take_only(problem, (), solver="simulate_ste", cure="leave it out")
    dimension = integer("dimension", dimension, least=1)
    runs = integer("runs", runs, least=1)
    threads = thread_count(threads)
    assignment = teacher_assignment_name(teacher_assignment)
    entropy = entropy_from(seed)
    schedule = Schedule(times, dense_times, dimension)
    record = Record(problem, schedule, runs, dimension)
    advance = []
    for run in range(runs):
        streams = run_streams(entropy, run)
        origin = run_streams(entropy, 0) if shared_initial else streams
        w_star, w = draw_population(problem, dimension, assignment, origin)
        record.teacher_weights[run] = w_star
        advance.append(_train(problem, schedule, record, run, streams, w))
    steps = round(schedule.marks[-1] * dimension)
    with progress_to(steps * runs, "STE", shown=progress, unit="steps") as reporter:
        interrupted = round_robin(advance, threads, reporter)
    stats = {
        "kind": "ste",
        "seed": entropy,
        "steps": steps,
        "dimension": dimension,
        "runs": runs,
        "teacher_assignment": assignment,
        "shared_initial": bool(shared_initial),
    }
    return record.trajectory(stats, interrupted=interrupted)


def _train(
    problem: Problem, schedule: Schedule, record: Record, run: int, streams: RunStreams, w: Array
) -> Iterator[int]:
    """Train one run, yielding the number of steps after each chunk."""
    w_star = record.teacher_weights[run]
    weights, inputs = pack(problem.weight_quantizer), pack(problem.input_quantizer)
    law, batch, d = LAWS[problem.input_distribution], problem.batch_size, w.size
    rate = problem.dynamics.constant_rate / (d * batch)
    decay = problem.dynamics.constant_rate * problem.ridge / d
    psi = np.empty(d)
    kernels.quantize(w, *weights, psi)
    longest = max(1, _CHUNK // (d * batch))
    # A chunk ends where weights are kept, so that the rest needs no interpreter.
    stops = np.rint(schedule.kept * d).astype(np.int64)
    marks = np.rint(schedule.marks * d).astype(np.int64)
    record.take(run, 0, w, psi)
    step, mark = 0, 1
    for stop in stops.tolist():
        while step < stop:
            steps = min(longest, stop - step)
            noise = _label_noise(problem, streams, step * batch, steps * batch, d)
            mark = kernels.ste_steps(
                streams.inputs, step, steps, batch, law, noise, rate, decay, weights, inputs,
                w, psi, w_star, marks, mark, record.moments[run],
            )  # fmt: skip
            step += steps
            record.keep(run, mark, w if step == stop else None)
            yield steps


def _label_noise(
    problem: Problem, streams: RunStreams, first: int, count: int, dimension: int
) -> Array:
    """Return √d ξ of the samples `first` …, shape (count,): the even members of their pairs."""
    if problem.noise_variance == 0:
        return np.zeros(count)
    scale = math.sqrt(dimension * problem.noise_variance)
    return np.ascontiguousarray(scale * draw(streams.labels, first, count)[0])
