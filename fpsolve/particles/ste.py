"""`simulate_ste`: training with the straight-through estimator itself, at finite dimension."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.compilation import announce_compilation
from fpsolve.errors import ParameterError
from fpsolve.particles import kernels
from fpsolve.particles.begin import Beginning, Start, begin
from fpsolve.particles.drive import drive
from fpsolve.particles.kernels import Machine, Marks, Rates, Samples
from fpsolve.particles.packing import pack, pack_rules
from fpsolve.particles.population import teacher_assignment_name
from fpsolve.particles.state import Snapshot
from fpsolve.particles.streams import LAWS, RunStreams, draw, entropy_from
from fpsolve.particles.timetable import Timetable
from fpsolve.particles.trajectory import ParticleTrajectory
from fpsolve.particles.workers import thread_count
from fpsolve.problem.checks import integer
from fpsolve.problem.problem import Problem
from fpsolve.problem.schedule import Schedule, value_at
from fpsolve.progress import Callback
from fpsolve.recording.signals import noticed
from fpsolve.recording.sink import Store, run_sink

__all__ = ["simulate_ste"]

announce_compilation()

Array = NDArray[np.float64]

# Coordinates × samples of one compiled call: some 10 ms, so that Ctrl-C is answered at once.
_CHUNK = 4_000_000
# Coordinates × samples of one step, which no call can do without: some seconds.
_LARGEST_STEP = 2**30
# Samples of one step, whose label noise is drawn at once.
_LARGEST_BATCH = 2**24
# Numbers in a stream.
_STREAM = 2**62


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
    count_flips: bool = False,
    start: Start = None,
    store: Store = None,
    overwrite: bool = False,
    threads: int | None = None,
    progress: bool = False,
    callback: Callback = None,
) -> ParticleTrajectory:
    """Train by one-pass STE, w ← w − η[(ŷ − y) ψ_x(x)/√d + (λ/d) ψ(w)], in independent runs.

    Every step takes `problem.batch_size` fresh samples and averages its first term over them. The
    problem's rules are simulated as they stand: the rate of the step, the surrogate's factor,
    weight decay, dampening, clipping after every step, a velocity for momentum, random rounding.

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
    count_flips : bool, default False
        Whether to count how often weights pass each threshold (`flip_rate` of the result), which
        costs a few per cent.
    start : ParticleTrajectory, path or RunState, optional
        A trajectory or its file, whose last weights and teacher weights are the initial ones at
        τ = 0; or the state of a run (`state` of a result), which goes on as if never interrupted,
        with the same problem and arguments, to `times` beyond it.
    store : path or Sink, optional
        Where every requested time goes as soon as all runs have reached it, with states to go on
        from now and then.
    overwrite : bool, default False
        Whether the file at `store` may be replaced, which it is once the run is complete; until
        then the run grows in `NAME.partial` beside it.
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
    Source: paper §II, Eq. (2), and its Appendix III, Eq. (9). With momentum β the velocity is
    v ← βv + (all that η multiplies), w ← w − ηv. Random numbers: `streams`, `kernels`.
    """
    dimension = integer("dimension", dimension, least=1)
    runs = integer("runs", runs, least=1)
    threads = thread_count(threads)
    assignment = teacher_assignment_name(teacher_assignment)
    entropy = entropy_from(seed)
    timetable = Timetable(times, dense_times, dimension, start=start)
    _check_work(problem, dimension, float(timetable.kept[-1]))
    thresholds = _counted_thresholds(problem) if count_flips else 0
    options = {
        "kind": "ste",
        "seed": entropy,
        "dimension": dimension,
        "runs": runs,
        "teacher_assignment": assignment,
        "dense_times": None if dense_times is None else timetable.dense.tolist(),
        "shared_initial": bool(shared_initial),
        "count_flips": bool(count_flips),
    }
    # From here on signals end the run in order, wherever they come.
    with noticed() as came:
        sink = run_sink(store, overwrite=overwrite)
        beginning = begin(problem, timetable, options, thresholds, start, sink)
        trainings = [_Training(problem, timetable, beginning, run) for run in range(runs)]
        steps = round(timetable.marks[-1] * dimension)
        return drive(
            trainings,
            beginning,
            threads,
            total=steps * runs,
            label="simulate_ste",
            unit="steps",
            progress=progress,
            callback=callback,
            came=came,
            stats=lambda: {"steps": steps},
        )


def _check_work(problem: Problem, dimension: int, horizon: float) -> None:
    """Raise `ParameterError` for steps that are too large, or too many for a stream."""
    problem.dynamics.check_horizon(horizon)
    batch = problem.batch_size
    most = min(_LARGEST_BATCH, max(1, _LARGEST_STEP // dimension))
    if batch > most:
        allowed = (
            f"must be at most {most} for simulate_ste at dimension {dimension}, which draws every "
            "sample; lower it, or use simulate_sde or solve_pde, where it costs nothing"
        )
        raise ParameterError("batch_size", batch, allowed)
    half = (dimension + 15) // 16 * 8
    if horizon * dimension * batch * half > _STREAM:
        allowed = (
            f"needs {horizon * dimension:.3g} steps, more than one stream has random numbers for; "
            "end earlier, or use solve_pde or stationary_states"
        )
        raise ParameterError("times", horizon, allowed)


def _counted_thresholds(problem: Problem) -> int:
    quantizer = problem.weight_quantizer
    if quantizer is None or quantizer.temperature > 0 or quantizer.rounding != "nearest":
        allowed = (
            "must be False for weights without quantizer, with temperature > 0 or with random "
            "rounding: no threshold makes them flip"
        )
        raise ParameterError("count_flips", True, allowed)
    return int(quantizer.thresholds.size)


class _Training:
    """One run of STE."""

    def __init__(
        self, problem: Problem, timetable: Timetable, beginning: Beginning, run: int
    ) -> None:
        self._problem, self._timetable, self._run = problem, timetable, run
        self._record, self._streams = beginning.record, beginning.streams[run]
        first = beginning.snapshots[run]
        d = first.weights.size
        self._step = int(first.counters[0])
        w, psi = first.weights.copy(), np.empty(d)
        self._machine = Machine(
            pack(problem.weight_quantizer), w, psi, first.teacher_weights,
            first.velocities.copy(), first.flips.copy(), self._streams.rounding,
        )  # fmt: skip
        if self._machine.quantizer.mode == kernels.STOCHASTIC:
            kernels.round_randomly(
                self._streams.rounding, self._step, w, self._machine.quantizer.levels, psi
            )
        else:
            kernels.quantize(w, *self._machine.quantizer, psi)
        self._scale = _paired(problem.teacher.input_scale[first.labels])
        record = self._record
        self._marks = Marks(
            np.rint(timetable.marks * d).astype(np.int64), record.moments[run],
            record.flip_counts[run], record.target[run], record.sigma2[run],
        )  # fmt: skip

    def snapshot(self) -> Snapshot:
        """Return copies of all that the run needs to go on."""
        machine, record, run = self._machine, self._record, self._run
        streams = self._streams
        return Snapshot(
            keys=np.array([streams.inputs, streams.labels, streams.rounding]),
            counters=np.array([self._step, 0, 0, 0]),
            labels=record.labels[run],
            weights=machine.w.copy(),
            teacher_weights=machine.w_star,
            velocities=machine.velocity.copy(),
            flips=machine.flips.copy(),
            reached=int(record.reached[run]),
            moments=record.moments[run].copy(),
            flip_counts=record.flip_counts[run].copy(),
            pending=record.pending(run),
        )

    def advance(self) -> Iterator[int]:
        """Train to the end, yielding the number of steps after each chunk."""
        problem, timetable, machine, marks = (
            self._problem, self._timetable, self._machine, self._marks,
        )  # fmt: skip
        record, run = self._record, self._run
        d, batch = machine.w.size, problem.batch_size
        quantizer, rules = pack(problem.input_quantizer), pack_rules(problem)
        law = LAWS[problem.input_distribution]
        longest = max(1, _CHUNK // (d * batch))
        mark = int(record.reached[run])
        if mark == 0:
            kernels.record_moments(machine, marks.target, marks.sigma2, marks.moments[0])
            record.keep(run, 1, machine.w)
            mark = 1
        # A chunk ends where weights are kept, so that the rest needs no interpreter.
        for stop in np.rint(timetable.kept * d).astype(np.int64).tolist():
            while self._step < stop:
                steps = min(longest, stop - self._step)
                noise = _label_noise(problem, self._streams, self._step, steps, d)
                samples = Samples(self._streams.inputs, law, batch, quantizer, self._scale, noise)
                rates = _rates(problem, self._step, steps, d)
                mark = kernels.ste_steps(
                    samples, rates, rules, machine, marks, self._step, steps, mark
                )
                self._step += steps
                record.keep(run, mark, machine.w)
                yield steps


def _paired(scale: Array) -> Array:
    """Return the input scales as `kernels.Samples` has them, (2, half), or (2, 0) if all are 1."""
    if (scale == 1).all():
        return np.empty((2, 0))
    half = (scale.size + 15) // 16 * 8
    padded = np.ones(2 * half)
    padded[: scale.size] = scale
    return padded.reshape(2, half)


def _rates(problem: Problem, first: int, steps: int, dimension: int) -> Rates:
    """Return the rates of the steps `first` …; step number n has η(n/d) and λ(n/d)."""
    numbers = (problem.learning_rate, problem.ridge)
    scheduled = any(isinstance(number, Schedule) for number in numbers)
    tau = np.arange(first, first + (steps if scheduled else 1)) / dimension
    rate, ridge = (np.asarray(value_at(number, tau)) for number in numbers)
    return Rates(
        rate / (dimension * problem.batch_size), rate * ridge / dimension, rate / dimension, ridge
    )


def _label_noise(
    problem: Problem, streams: RunStreams, first: int, steps: int, dimension: int
) -> Array:
    """Return √d ξ of the samples of `steps` steps, (steps·B,): the even members of their pairs."""
    count = steps * problem.batch_size
    if problem.noise_variance == 0:
        return np.zeros(count)
    tau = np.repeat(np.arange(first, first + steps) / dimension, problem.batch_size)
    scale = np.sqrt(dimension * value_at(problem.noise_variance, tau))
    numbers = draw(streams.labels, first * problem.batch_size, count)
    return np.ascontiguousarray(scale * numbers[0])
