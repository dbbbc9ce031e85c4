"""`simulate_sde`: the limiting particles, coupled through their empirical ε_g alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.compilation import announce_compilation
from fpsolve.errors import ParameterError
from fpsolve.particles import kernels
from fpsolve.particles.begin import Beginning, Start, begin
from fpsolve.particles.drive import drive
from fpsolve.particles.kernels import Cloud, Physics
from fpsolve.particles.packing import pack, pack_rules
from fpsolve.particles.population import teacher_assignment_name
from fpsolve.particles.state import Snapshot
from fpsolve.particles.streams import entropy_from
from fpsolve.particles.timetable import MOST_STEPS, Timetable
from fpsolve.particles.trajectory import ParticleTrajectory
from fpsolve.particles.workers import thread_count
from fpsolve.problem.checks import finite, integer, requested_times
from fpsolve.problem.problem import Problem
from fpsolve.problem.schedule import Schedule, value_at, varies
from fpsolve.progress import Callback
from fpsolve.recording.signals import noticed
from fpsolve.recording.sink import Store, run_sink

__all__ = ["default_step", "simulate_sde"]

announce_compilation()

Array = NDArray[np.float64]

# Progress is counted in this many parts of τ.
_PARTS = 1_000_000
# Particle-steps of one compiled call: some 10 ms.
_WORK = 4_000_000
# Euler steps are this short against the layer at a threshold, or else against the bin …
_LAYER_SHARE = 0.01
_BIN_SHARE = 1e-4
# … and against the relaxation time where weights are not quantized …
_DECAY_SHARE = 0.005
# … and their noise against the distance of walls, so that a step meets one of them only.
_WALL_SHARE = 0.05


def default_step(problem: Problem, generalization_error: float, time: float = 0.0) -> float:
    """Return the Euler step that resolves the drift's jumps at the present ε_g (dimensionless).

    A particle caught at a threshold overshoots it by up to a·h, which displaces it by about a·h/2
    and widens the layer D/a by the share h a²/(2D). The step keeps that share at 1 %, or the
    displacement at 10⁻⁴ of the narrowest bin where that allows a longer step.

    Parameters
    ----------
    problem : Problem
        What is simulated.
    generalization_error : float
        ε_g at the moment (dimensionless).
    time : float, default 0
        τ, for the learning rate.
    """
    dynamics = problem.dynamics
    rate = dynamics.rate(time)[0]
    if rate == 0:
        return math.inf
    quantizer = problem.weight_quantizer
    pull = float(dynamics.sigma2.max()) + dynamics.ridge(time)
    noise = dynamics.diffusivity(time, generalization_error) * float(dynamics.sigma2.max())
    walls = dynamics.walls
    wall = math.inf
    if walls is not None and noise > 0:
        wall = 0.5 * (_WALL_SHARE * walls.high) ** 2 / float(noise)
    if quantizer is None or quantizer.rounding == "stochastic":
        return min(wall, _DECAY_SHARE / (rate * (pull + problem.weight_decay)))
    reach = float(np.abs(quantizer.levels).max())
    force = rate * float(np.abs(dynamics.kappa * dynamics.w_star).max())
    # Weights with a stronger force are not caught by any threshold.
    fastest = rate * pull * reach + min(force, rate * pull * reach)
    edges = quantizer.thresholds if quantizer.thresholds.size > 1 else quantizer.levels
    narrow = float(np.diff(edges).min())
    # Damping pushes by up to ζ times the distance of two levels; decay as at the outermost one.
    damping = problem.dampening * float(np.diff(quantizer.levels).max())
    fastest += rate * (damping + problem.weight_decay * reach)
    layer = 2 * _LAYER_SHARE * float(noise) / fastest**2
    return min(wall, max(layer, 2 * _BIN_SHARE * narrow / fastest))


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
    start: Start = None,
    store: Store = None,
    overwrite: bool = False,
    threads: int | None = None,
    progress: bool = False,
    callback: Callback = None,
) -> ParticleTrajectory:
    """Follow particles of the limiting equation, dw = a(w; w*) dτ + h(w) η (S ε_g/B)^½ dB.

    ε_g is that of the particles themselves, so their distance to the density is the propagation
    of chaos alone, without what a finite d adds to the straight-through estimator. Clipped weights
    are reflected at the walls; those that a surrogate of slope 0 freezes stay just beyond its
    bound; momentum β multiplies the rate by 1/(1 − β).

    Parameters
    ----------
    problem : Problem
        What to simulate (dimensionless).
    times : array_like, shape (T,)
        Times τ at which the particles are kept; Euler steps end on them exactly.
    particles : int
        Number N ≥ 1 of particles in a run; some 50 bytes each, and 8 more for every kept time.
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
    start, store, overwrite
        As in `simulate_ste`.
    threads : int, optional
        Number of threads; all cores by default.
    progress : bool, default False
        Whether to show progress, with the mean ε_g and the time that is left.
    callback : callable, optional
        Called with τ and the `OrderParameters`, shape (runs,), at every requested time that all
        runs have reached; if it returns a true value the simulation ends there or soon after, as
        after Ctrl-C.

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
    if not problem.dynamics.is_standard:
        allowed = "changes the coefficients in a way simulate_sde does not know; use solve_pde"
        raise ParameterError("dynamics", type(problem.dynamics).__name__, allowed)
    particles = integer("particles", particles, least=1)
    runs = integer("runs", runs, least=1)
    threads = thread_count(threads)
    assignment = teacher_assignment_name(teacher_assignment)
    limit = None if max_step is None else finite("max_step", max_step, above=0.0)
    entropy = entropy_from(seed)
    horizon = float(requested_times(times)[-1])
    problem.dynamics.check_horizon(horizon)
    landing = problem.dynamics.landing_points(horizon)
    timetable = Timetable(times, dense_times, landing=landing, start=start)
    options = {
        "kind": "sde",
        "seed": entropy,
        "dimension": particles,
        "runs": runs,
        "teacher_assignment": assignment,
        "dense_times": None if dense_times is None else timetable.dense.tolist(),
        "shared_initial": False,
        "max_step": limit,
    }
    # From here on signals end the run in order, wherever they come.
    with noticed() as came:
        sink = run_sink(store, overwrite=overwrite)
        beginning = begin(problem, timetable, options, 0, start, sink)
        abreast = min(threads, runs)
        share = max(1, threads // abreast)
        with ThreadPoolExecutor(share) as pool:
            walkers = [
                _Diffusion(problem, timetable, beginning, run, _Helpers(pool, share), limit)
                for run in range(runs)
            ]
            return drive(
                walkers,
                beginning,
                abreast,
                total=runs * float(timetable.marks[-1]) * _PARTS,
                label="simulate_sde",
                unit="1e-6 tau",
                progress=progress,
                callback=callback,
                came=came,
                stats=lambda: {"steps": max(walker.steps for walker in walkers)},
            )


class _Helpers(NamedTuple):
    """Threads that share the chunks of a step."""

    pool: ThreadPoolExecutor
    number: int


class _Diffusion:
    """The particles of one run, and how they advance on one thread or several."""

    def __init__(
        self, problem: Problem, timetable: Timetable, beginning: Beginning, run: int,
        helpers: _Helpers, limit: float | None,
    ) -> None:  # fmt: skip
        self._problem, self._timetable, self._run = problem, timetable, run
        self._record, self._streams = beginning.record, beginning.streams[run]
        self._helpers, self._limit = helpers, limit
        first = beginning.snapshots[run]
        self.steps, self._pair, self._done, self._total = first.counters.tolist()
        scaled = self._record.target.shape[1] > 0
        always = scaled or pack(problem.weight_quantizer).mode == kernels.STOCHASTIC
        ridge = problem.dynamics.ridge(0.0)
        self._rules = pack_rules(problem, always=always, ridge=ridge)
        # Ridge or noise that change with time are those of each step.
        self._varies = varies(problem.ridge) or varies(problem.noise_variance)
        self._cloud = self._describe(first)
        labels, w_star = first.labels, first.teacher_weights
        self._rho = float(np.square(problem.teacher.input_scale[labels] * w_star).mean())
        self._physics = self._physics_at(0.0)
        # A step of length 0 moves nothing and leaves the sums of the weights as they are.
        self._take(0.0, 0.0, np.zeros(1), 1)

    def _physics_at(self, tau: float) -> Physics:
        """Return the physics as the kernels read it, with the ridge and the noise of τ."""
        problem, dynamics = self._problem, self._problem.dynamics
        kappa, sigma2 = float(dynamics.kappa[0]), float(dynamics.sigma2[0])
        ridge, noise = dynamics.ridge(tau), float(value_at(problem.noise_variance, tau))
        kick = math.sqrt(sigma2 / problem.batch_size)
        return Physics(kappa, sigma2 + ridge, kick, sigma2, self._rho + noise)

    def _describe(self, first: Snapshot) -> Cloud:
        """Return the particles as the kernels read them."""
        problem, streams = self._problem, self._streams
        dynamics, labels = problem.dynamics, first.labels
        w_star, batch = first.teacher_weights, problem.batch_size
        if self._rules.plain:
            target = own = noise = np.empty(0)
        else:
            target, own = dynamics.kappa[labels] * w_star, dynamics.sigma2[labels]
            noise = np.sqrt(own / batch)
        chunks = -(-w_star.size // kernels.SDE_CHUNK)
        return Cloud(
            pack(problem.weight_quantizer), first.weights.copy(), w_star, np.zeros((chunks, 2)),
            streams.inputs, streams.rounding, target, own, noise,
        )  # fmt: skip

    @property
    def error(self) -> float:
        """The empirical ε_g."""
        return float(kernels.generalization_error(self._cloud, self._physics, self._rules.plain))

    def snapshot(self) -> Snapshot:
        """Return copies of all that the run needs to go on."""
        record, run, streams = self._record, self._run, self._streams
        return Snapshot(
            keys=np.array([streams.inputs, streams.labels, streams.rounding]),
            counters=np.array([self.steps, self._pair, self._done, self._total]),
            labels=record.labels[run],
            weights=self._cloud.w.copy(),
            teacher_weights=self._cloud.w_star,
            velocities=np.empty(0),
            flips=np.empty(0, dtype=np.int64),
            reached=int(record.reached[run]),
            moments=record.moments[run].copy(),
            flip_counts=record.flip_counts[run].copy(),
            pending=record.pending(run),
        )

    def _take(self, now: float, step: float, rates: Array, steps: int) -> None:
        """Take Euler steps of one length from `now` on, with the physics of their times."""
        pairs = self._cloud.sums.shape[0] * (kernels.SDE_CHUNK // 2)
        if not self._varies:
            self._march(self._pair, step, rates, steps)
            return
        for k in range(steps):
            tau = now + (k + 0.5) * step
            self._physics = self._physics_at(tau)
            self._rules = self._rules._replace(ridge=self._problem.dynamics.ridge(tau))
            rate = rates[k : k + 1] if rates.size > 1 else rates
            self._march(self._pair + k * pairs, step, rate, 1)
        self._physics = self._physics_at(now + steps * step)

    def _march(self, pair: int, step: float, rates: Array, steps: int) -> None:
        """Take Euler steps of one physics; the same numbers on any number of threads."""
        chunks = self._cloud.sums.shape[0]
        workers = min(self._helpers.number, chunks)
        pairs = chunks * (kernels.SDE_CHUNK // 2)
        case = self._cloud, self._physics, self._rules
        if workers == 1:
            kernels.euler_steps(*case, pair, step, rates, steps)
            return
        bounds = np.linspace(0, chunks, workers + 1).astype(int).tolist()
        for k in range(steps):
            first, error = pair + k * pairs, self.error
            rate = float(rates[k if rates.size > 1 else 0])
            parts = [
                self._helpers.pool.submit(
                    kernels.euler_chunks, *case, first, step, rate, error, low, high
                )
                for low, high in pairwise(bounds)
            ]
            for part in parts:
                part.result()

    def advance(self) -> Iterator[int]:
        """Follow the particles to the end, yielding the parts of τ after each chunk of steps."""
        record, run, cloud = self._record, self._run, self._cloud
        most = max(1, _WORK // cloud.w.size)
        pairs = cloud.sums.shape[0] * (kernels.SDE_CHUNK // 2)
        marks = self._timetable.marks.tolist()
        if self._pair == 0:
            # The step of length 0 has numbers of its own.
            self._pair = pairs
        for mark in range(int(record.reached[run]), len(marks)):
            now = marks[mark - 1] if mark else 0.0
            span = marks[mark] - now
            if self._total == 0:
                self._total = self._steps_across(now, span)
            while self._done < self._total:
                steps = min(most, self._total - self._done)
                step = span / self._total
                start = now + self._done * step
                self._take(start, step, self._rates(now, step, steps), steps)
                self._pair += steps * pairs
                self._done += steps
                self.steps += steps
                yield round(_PARTS * span * steps / self._total)
            self._done = self._total = 0
            self._write_down(mark)

    def _steps_across(self, now: float, span: float) -> int:
        """Return the number of Euler steps over the next `span`."""
        if span == 0:
            return 0
        limit = self._limit
        if limit is None:
            # The rate is smooth between marks: three points see where it is largest.
            at = (now, now + 0.5 * span, now + span * (1 - 1e-9))
            limit = min(default_step(self._problem, self.error, time) for time in at)
        needed = span / limit
        if needed > MOST_STEPS:
            allowed = (
                f"needs {needed:.3g} Euler steps from {now:g} on; end earlier, raise max_step, or "
                "use solve_pde or stationary_states"
            )
            raise ParameterError("times", now + span, allowed)
        return math.ceil(needed)

    def _rates(self, now: float, step: float, steps: int) -> Array:
        """Return η/(1 − β) in the middle of each of the next steps, or one number for all."""
        dynamics = self._problem.dynamics
        if not isinstance(self._problem.learning_rate, Schedule):
            return np.array([dynamics.rate()[0]])
        middles = now + (self._done + 0.5 + np.arange(steps)) * step
        gain = 1 / (1 - self._problem.momentum)
        return np.asarray(gain * self._problem.learning_rate(middles))

    def _write_down(self, mark: int) -> None:
        record, run, cloud = self._record, self._run, self._cloud
        psi = np.empty_like(cloud.w)
        kernels.quantize(cloud.w, *cloud.quantizer, psi)
        machine = kernels.Machine(
            cloud.quantizer, cloud.w, psi, cloud.w_star, np.empty(0),
            np.empty(0, dtype=np.int64), cloud.walls,
        )  # fmt: skip
        kernels.record_moments(
            machine, record.target[run], record.sigma2[run], record.moments[run, mark]
        )
        record.keep(run, mark + 1, cloud.w)
