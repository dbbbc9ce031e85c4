"""`simulate_sde`: the limiting particles, coupled through their empirical ε_g alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.particles import kernels
from fpsolve.particles.packing import pack
from fpsolve.particles.population import draw_population, teacher_assignment_name
from fpsolve.particles.record import Record, Schedule
from fpsolve.particles.streams import RunStreams, entropy_from, run_streams
from fpsolve.particles.trajectory import ParticleTrajectory
from fpsolve.particles.workers import round_robin, thread_count
from fpsolve.problem.checks import finite, integer
from fpsolve.problem.problem import Problem
from fpsolve.problem.rules import take_only
from fpsolve.progress import progress_to

__all__ = ["default_step", "simulate_sde"]

Array = NDArray[np.float64]

# Progress is counted in this many parts of τ.
_PARTS = 1_000_000
# Particle-steps of one compiled call: some 10 ms.
_WORK = 4_000_000
# Euler steps are this short against the layer at a threshold, or else against the bin …
_LAYER_SHARE = 0.01
_BIN_SHARE = 1e-4
# … and against the relaxation time where weights are not quantized.
_DECAY_SHARE = 0.005


def default_step(problem: Problem, generalization_error: float) -> float:
    """Return the Euler step that resolves the drift's jumps at the present ε_g (dimensionless).

    A particle caught at a threshold overshoots it by up to a·h, which displaces it by about a·h/2
    and widens the layer D/a by the share h a²/(2D). The step keeps that share at 1 %, or the
    displacement at 10⁻⁴ of the narrowest bin where that allows a longer step.
    """
    pull = problem.dynamics.constant_rate * (problem.sigma2 + problem.ridge)
    quantizer = problem.weight_quantizer
    if quantizer is None:
        return _DECAY_SHARE / pull
    reach = float(np.abs(quantizer.levels).max())
    force = (
        problem.dynamics.constant_rate * problem.kappa * float(np.abs(problem.teacher.values).max())
    )
    # Weights with a stronger force are not caught by any threshold.
    fastest = pull * reach + min(force, pull * reach)
    edges = quantizer.thresholds if quantizer.thresholds.size > 1 else quantizer.levels
    layer = 2 * _LAYER_SHARE * float(problem.diffusivity(generalization_error)) / fastest**2
    return max(layer, 2 * _BIN_SHARE * float(np.diff(edges).min()) / fastest)


def simulate_sde(
    problem: Problem,
    times: ArrayLike,
    *,
    particles: int,
    runs: int = 1,
    seed: int | None = None,
    teacher_assignment: str = "exact",
    max_step: float | None = None,
    dense_times: ArrayLike | None = None,
    threads: int | None = None,
    progress: bool = False,
) -> ParticleTrajectory:
    """Follow particles of the limiting equation, dw = a(w; w*) dτ + η (S ε_g/B)^½ dB.

    ε_g is that of the particles themselves, so their distance to the density is the propagation
    of chaos alone, without what a finite d adds to the straight-through estimator.

    Parameters
    ----------
    problem : Problem
        What to simulate (dimensionless).
    times : array_like, shape (T,)
        Times τ at which the particles are kept; Euler steps end on them exactly.
    particles : int
        Number N ≥ 1 of particles in a run; 24 bytes each, and 8 more for every kept time.
    runs : int, default 1
        Number of independent runs.
    seed : int, optional
        As in `simulate_ste`: the result is the same for any number of threads.
    teacher_assignment : str, default "exact"
        "exact": each teacher value on its share of the particles; "random": i.i.d. draws.
    max_step : float, optional
        Longest Euler step in τ; by default `default_step` at the present ε_g, anew at every
        recorded time. The drift jumps at thresholds, so a step h displaces the particles caught
        there by about a·h/2; halve it to see what is left.
    dense_times : array_like, shape (M,), optional
        Times of the order parameters along the way; 401 of them by default.
    threads : int, optional
        Number of threads; all cores by default.
    progress : bool, default False
        Whether to show progress, with the time that is left.

    Returns
    -------
    ParticleTrajectory
        `weights` are the particles, d = N; after Ctrl-C what all runs have reached.

    Raises
    ------
    ParameterError
        Naming the argument, its value and what is allowed.
    SolveError
        If the particles diverge.

    Notes
    -----
    Source: paper Theorem IV.3.
    """
    take_only(problem, (), solver="simulate_sde", cure="leave it out")
    particles = integer("particles", particles, least=1)
    runs = integer("runs", runs, least=1)
    threads = thread_count(threads)
    assignment = teacher_assignment_name(teacher_assignment)
    limit = None if max_step is None else finite("max_step", max_step, above=0.0)
    entropy = entropy_from(seed)
    schedule = Schedule(times, dense_times)
    record = Record(problem, schedule, runs, particles)
    step_counts = np.zeros(runs, dtype=np.int64)
    abreast = min(threads, runs)
    share = max(1, threads // abreast)
    with ThreadPoolExecutor(share) as pool:
        advance = []
        for run in range(runs):
            streams = run_streams(entropy, run)
            w_star, w = draw_population(problem, particles, assignment, streams)
            record.teacher_weights[run] = w_star
            cloud = _Cloud(problem, streams, w, record.teacher_weights[run], pool, share)
            advance.append(_diffuse(cloud, schedule, record, run, limit, step_counts))
        total = runs * float(schedule.marks[-1])
        with progress_to(total * _PARTS, "SDE", shown=progress, unit="1e-6 tau") as reporter:
            interrupted = round_robin(advance, abreast, reporter)
    stats = {
        "kind": "sde",
        "seed": entropy,
        "steps": int(step_counts.max()),
        "dimension": particles,
        "runs": runs,
        "teacher_assignment": assignment,
        "shared_initial": False,
        "max_step": limit,
    }
    return record.trajectory(stats, interrupted=interrupted)


class _Cloud:
    """The particles of one run, and how they advance on one thread or several."""

    def __init__(
        self, problem: Problem, streams: RunStreams, w: Array, w_star: Array,
        pool: ThreadPoolExecutor, threads: int,
    ) -> None:  # fmt: skip
        self.problem, self.w, self.w_star = problem, w, w_star
        self._key, self._pool, self._threads = streams.inputs, pool, threads
        self._weights = pack(problem.weight_quantizer)
        eta = problem.dynamics.constant_rate
        floor = float(np.square(w_star).mean()) + problem.noise_variance
        self._physics = (
            eta * problem.kappa,
            eta * (problem.sigma2 + problem.ridge),
            eta * math.sqrt(problem.sigma2 / problem.batch_size),
            problem.kappa,
            problem.sigma2,
            floor,
        )
        chunks = -(-w.size // kernels.SDE_CHUNK)
        self._sums = np.zeros((chunks, 2))
        self._pair = 0
        # A step of length 0 moves nothing and leaves the sums of the initial weights.
        self.advance(1, 0.0)

    @property
    def error(self) -> float:
        """The empirical ε_g."""
        return float(kernels.generalization_error(self._sums, self.w.size, self._physics))

    def image(self) -> Array:
        """Return ψ(w), shape (N,)."""
        psi = np.empty_like(self.w)
        kernels.quantize(self.w, *self._weights, psi)
        return psi

    def advance(self, steps: int, step: float) -> None:
        """Take `steps` Euler steps of length `step`; the same numbers on any number of threads."""
        chunks = self._sums.shape[0]
        workers = min(self._threads, chunks)
        pairs = chunks * (kernels.SDE_CHUNK // 2)
        state = self._physics, self._weights, self.w, self.w_star, self._sums
        if workers == 1:
            kernels.euler_steps(self._key, self._pair, steps, step, *state)
        else:
            bounds = np.linspace(0, chunks, workers + 1).astype(int).tolist()
            for k in range(steps):
                start, error = self._pair + k * pairs, self.error
                parts = [
                    self._pool.submit(
                        kernels.euler_chunks, self._key, start, step, error, *state, low, high
                    )
                    for low, high in pairwise(bounds)
                ]
                for part in parts:
                    part.result()
        self._pair += steps * pairs


def _diffuse(
    cloud: _Cloud, schedule: Schedule, record: Record, run: int, max_step: float | None,
    step_counts: NDArray[np.int64],
) -> Iterator[int]:  # fmt: skip
    """Follow one run, yielding the parts of τ after each chunk of steps."""
    most = max(1, _WORK // cloud.w.size)
    now = 0.0
    for mark, end in enumerate(schedule.marks.tolist()):
        span = end - now
        limit = default_step(cloud.problem, cloud.error) if max_step is None else max_step
        total = math.ceil(span / limit)
        done = 0
        while done < total:
            steps = min(most, total - done)
            cloud.advance(steps, span / total)
            done += steps
            yield round(_PARTS * span * steps / total)
        step_counts[run] += total
        now = end
        record.take(run, mark, cloud.w, cloud.image())
