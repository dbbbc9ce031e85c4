"""`solve_pde`: from a problem to its densities at the requested times."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.density.gaussian import gaussian_moments, gaussian_path
from fpsolve.density.gaussian_frame import GaussianFrame
from fpsolve.density.points import Points, points_of
from fpsolve.density.restart import FrameStart, Start, initial_of
from fpsolve.density.run import Run, begin, reduced
from fpsolve.density.scharfetter_gummel import DEFAULT_CELLS
from fpsolve.density.stream import DensityStream, handed_on
from fpsolve.density.trajectory import DensityTrajectory
from fpsolve.errors import ParameterError
from fpsolve.numerics.initial import default_order
from fpsolve.problem.checks import finite, integer, requested_times
from fpsolve.problem.dynamics import FUNCTIONAL_NAMES
from fpsolve.problem.problem import Problem
from fpsolve.problem.schedule import Schedule
from fpsolve.progress import Callback, progress_to, stops
from fpsolve.recording.signals import noticed, undisturbed
from fpsolve.recording.sink import Sink, Store, run_sink
from fpsolve.reduction import OrderParameters

__all__ = ["SCHEMES", "solve_pde"]

Array = NDArray[np.float64]

SCHEMES = ("auto", "spectral-volume", "scharfetter-gummel")
_TIGHTEST, _LOOSEST = 1e-10, 1e-2
# Looser than this saves no work; it would only let ripples through.
_LOOSEST_WORK = 3e-4


def solve_pde(
    problem: Problem,
    times: ArrayLike,
    *,
    rtol: float = 1e-6,
    scheme: str = "auto",
    order: int | None = None,
    cells: int | None = None,
    progress: bool = False,
    callback: Callback = None,
    start: Start = None,
    store: Store = None,
    overwrite: bool = False,
    patient: bool = False,
) -> DensityTrajectory:
    """Integrate the McKean–Vlasov Fokker–Planck equation of training.

    Parameters
    ----------
    problem : Problem
        What is trained.
    times : array_like, shape (T,)
        Increasing times τ = steps/dimension ≥ 0 at which to return the density (dimensionless).
    rtol : float, default 1e-6
        Accuracy, from 1e-10 to 1e-2. With the spectral-volume scheme, at every requested time the
        errors of ε_g, m and q are within 10·rtol of their largest value, and the L¹ error of each
        conditional density within 100·rtol; of a teacher value less probable than 1/1000 within
        100·rtol/(1000·probability), 5 % at most. With Scharfetter–Gummel it governs time steps
        only.
    scheme : {"auto", "spectral-volume", "scharfetter-gummel"}
        "spectral-volume" is of high order and adaptive in space; "scharfetter-gummel" is of second
        order and monotone in space on a fixed mesh, for the paper's training rule. "auto" is the
        former, but for full-precision weights trained by that rule, whose density is a Gaussian
        known in closed form.
    order : int, optional
        Polynomial degree of the spectral volumes, 4 to 16; chosen from `rtol` by default.
    cells : int, optional
        Number of Scharfetter–Gummel cells, about; 2000 by default.
    progress : bool, default False
        Show a progress bar over τ on standard error.
    callback : callable, optional
        Called with τ and the `OrderParameters` at every requested time, each of shape (); if it
        returns a true value the run stops there, the trajectory ends with that time, and
        `stats["interrupted"]` is True.
    start : DensityTrajectory, str or Path, optional
        A trajectory, or its file, whose last density is the initial one instead of that of the
        problem: training goes on with another rate or quantizer, from τ = 0 on. Teacher values
        must be the same, and the density must fit between the walls of weight_clip or a surrogate,
        without point masses or layers thinner than positions tell.
    store : str, Path or Sink, optional
        File to which densities are written as they are reached, with a
        checkpoint every minute; they are kept there instead of in memory, and `resume` goes on with
        the run, however it ended.
    overwrite : bool, default False
        Whether the file at `store` may be replaced, which it is once the run is complete; until
        then the run grows in `NAME.partial` beside it.
    patient : bool, default False
        Whether to go on however long it takes. Otherwise a run ends with a `SolveError` as soon as
        it is clear that it would take far longer than half a minute, 4 minutes at rtol 1e-9.

    Returns
    -------
    DensityTrajectory
        Densities, order parameters and statistics. `stats["time_error"]` adds up the estimated
        error of every step, relative to the largest ε_g; `stats["space_error"]` (spectral volumes)
        is the L¹ norm that the highest modes carry. Both are cautious: they overestimate.
        `stats["lifted"]` bounds what keeping densities positive has added to the errors of
        functionals, or a tenth of what it has added to those of densities; see `docs/accuracy.md`.
        `stats["scheme"]` is "points" where all weights start at points and see no noise, and
        "gaussian" where the closed form was taken.

    Raises
    ------
    ParameterError
        If an argument is outside what is allowed here.
    SolveError
        If the integration cannot reach the last time, with the reason and the cure; its `partial`
        is the trajectory up to the last time reached.
    StoreError
        If the file cannot be written, or that of `start` cannot be read.
    KeyboardInterrupt
        If interrupted; with `store` a checkpoint has been written by then.

    Notes
    -----
    Source: paper Eq. (5) with Eq. (3); D = η² S ε_g/(2B).
    """
    requested = requested_times(times)
    rtol = finite("rtol", rtol, above=0.0)
    if not _TIGHTEST <= rtol <= _LOOSEST:
        raise ParameterError("rtol", rtol, f"must be from {_TIGHTEST:g} to {_LOOSEST:g}")
    if scheme not in SCHEMES:
        raise ParameterError("scheme", scheme, f"must be one of {', '.join(SCHEMES)}")
    problem.dynamics.check_horizon(float(requested[-1]))
    told = {"rtol": rtol, "scheme": scheme, "order": order, "cells": cells}
    sink = run_sink(store, overwrite=overwrite)
    first = initial_of(problem, start, sink)
    by_choice = scheme == "auto" and order is None and cells is None and first is None
    if by_choice and problem.weight_quantizer is None and _is_papers(problem):
        _open(sink, problem, requested, told, first)
        return _solve_gaussian(problem, requested, rtol, sink, callback)
    work = min(rtol, _LOOSEST_WORK)
    count = _cells(problem, scheme, order, cells, first)
    degree = default_order(work) if order is None else integer("order", order, least=4, most=16)
    meshed = count is None and first is None
    points = _points(problem, requested, work, sink) if meshed else None
    if points is not None and points.alone:
        _open(sink, problem, requested, told, first)
        return _solve_points(problem, requested, rtol, points, sink, callback)
    with undisturbed():  # What comes while compiled code is loaded waits until the run can end.
        state = begin(problem, requested, work, degree, count, given=first, points=points)
        if not patient:
            state.solver.horizon = float(requested[-1])
        run = Run(problem, requested, rtol=rtol, state=state)
        _open(sink, problem, requested, told, first)
    with progress_to(float(requested[-1]), "solve_pde", shown=progress, unit="tau") as bar:

        def shown(time: float) -> None:
            bar.reach(time, run.error if progress else None)

        if sink is not None:
            return DensityStream(run, sink).solved(shown, callback)
        return _in_memory(run, shown, callback)


def _in_memory(run: Run, shown: Callable[[float], None], callback: Callback) -> DensityTrajectory:
    """Go through all times and keep everything."""
    interrupted = False
    with noticed() as came:  # Raised while arrays are handed to Python, signals are fatal.

        def tick(time: float) -> None:
            shown(time)
            if came:
                raise came[0]

        if callback is None:
            run.reach(run.times.tolist(), tick)
        else:
            for time in run.times.tolist():
                run.reach([time], tick)
                interrupted = stops(callback, time, run.last)
                if interrupted:
                    break
    if came:
        raise came[0]
    return run.trajectory(interrupted=interrupted)


def _cells(
    problem: Problem, scheme: str, order: int | None, cells: int | None, start: FrameStart | None
) -> int | None:
    """Return the number of Scharfetter–Gummel cells, None for spectral volumes."""
    if scheme != "scharfetter-gummel":
        if cells is not None:
            raise ParameterError("cells", cells, "is for scharfetter-gummel; set rtol instead")
        return None
    if order is not None:
        raise ParameterError("order", order, "is for the spectral-volume scheme; drop it")
    if not _is_papers(problem):
        allowed = "knows the paper's training rule only; use scheme 'spectral-volume'"
        raise ParameterError("scheme", scheme, allowed)
    if start is not None:
        allowed = "begins with a Gaussian; with start= use scheme 'spectral-volume'"
        raise ParameterError("scheme", scheme, allowed)
    if cells is None:
        return DEFAULT_CELLS
    return integer("cells", cells, least=16, most=10_000_000)


def _points(problem: Problem, times: Array, work: float, sink: Sink | None) -> Points | None:
    """Return the classes that stay points, which a run that goes on knows already.

    Raises
    ------
    ParameterError
        If noise takes some of them apart before the last time, but not before the old end.
    """
    latest = float(times[-1])
    points = points_of(problem, latest, work)
    kept = None if sink is None else sink.state
    before = latest if kept is None else float(kept.get("horizon", latest))
    known = points if before == latest else points_of(problem, before, work)
    if (known is None) != (points is None) or (
        known is not None and points is not None and (known.which != points.which).any()
    ):
        allowed = (
            f"must end at tau = {before:g}, up to which weights stay points that noise takes apart "
            "later; ask for all times anew"
        )
        raise ParameterError("times", latest, allowed)
    return points


def _open(
    sink: Sink | None, problem: Problem, times: Array, options: dict[str, Any],
    start: FrameStart | None,
) -> None:  # fmt: skip
    if sink is not None:
        law = problem.teacher
        constants = {"teacher": law.values, "teacher_probability": law.probabilities}
        if start is not None:
            constants |= {f"start_{name}": array for name, array in start.to_arrays().items()}
        sink.open("density", problem, times, options, constants=constants)


def _is_papers(problem: Problem) -> bool:
    """Whether training follows the paper: nothing scheduled, identity STE, alike inputs."""
    quantizer = problem.weight_quantizer
    plain = problem.surrogate is None and problem.weight_clip is None
    plain = plain and problem.weight_decay == 0 and problem.dampening == 0
    plain = plain and (quantizer is None or quantizer.rounding == "nearest")
    alike = bool((problem.teacher.input_scale == problem.teacher.input_scale[0]).all())
    numbers = (problem.learning_rate, problem.ridge, problem.noise_variance)
    steady = not any(isinstance(number, Schedule) for number in numbers)
    return plain and alike and steady and problem.dynamics.is_standard


def _solve_gaussian(
    problem: Problem, times: Array, rtol: float, sink: Sink | None, callback: Callback
) -> DensityTrajectory:
    """Full precision: a closed form, drawn at the requested times and densely between them."""
    interrupted = False
    if sink is None and callback is not None:  # A sink comes first, see `handed_on`.
        mean, deviation = gaussian_path(problem, times)
        here = OrderParameters.from_moments(
            problem, **gaussian_moments(problem.teacher, mean, deviation)
        )
        told = (stops(callback, time, here[i]) for i, time in enumerate(times.tolist()))
        last = next((i for i, enough in enumerate(told) if enough), None)
        interrupted = last is not None
        times = times if last is None else times[: last + 1]
    dense = _along(times)
    mean, deviation = gaussian_path(problem, dense)
    state = OrderParameters.from_moments(
        problem, **gaussian_moments(problem.teacher, mean, deviation)
    )
    at = np.searchsorted(dense, times)
    frames = tuple(GaussianFrame(mean[i], float(deviation[i])) for i in at)
    stats: dict[str, Any] = {
        "scheme": "gaussian",
        "rtol": rtol,
        "steps": 0,
        "rejected": 0,
        "time_error": 0.0,
        "space_error": 0.0,
        "mass_defect": max(f.mass_defect() for f in frames),
        "minimum": 0.0,
        "interrupted": interrupted,
    }
    whole = DensityTrajectory(problem, times, frames, state[at], dense, state, stats)
    return whole if sink is None else handed_on(whole, sink, callback)


def _solve_points(
    problem: Problem, times: Array, rtol: float, points: Points,
    sink: Sink | None, callback: Callback,
) -> DensityTrajectory:  # fmt: skip
    """All weights stay points: their paths, at the requested times and densely between them."""
    dense = _along(times)
    offset = np.zeros(len(FUNCTIONAL_NAMES))
    offset[0] = problem.dynamics.steady_offset
    state = reduced(problem, dense, points.functionals(dense) + offset)
    at = np.searchsorted(dense, times)
    interrupted = False
    if sink is None and callback is not None:  # A sink comes first, see `handed_on`.
        told = (stops(callback, time, state[int(at[i])]) for i, time in enumerate(times.tolist()))
        last = next((i for i, enough in enumerate(told) if enough), None)
        if interrupted := last is not None:
            times, at = times[: last + 1], at[: last + 1]
            dense, state = dense[: at[-1] + 1], state[: at[-1] + 1]
    frames = tuple(points.frame(time) for time in times.tolist())
    stats: dict[str, Any] = {
        "scheme": "points",
        "rtol": rtol,
        "steps": 0,
        "rejected": 0,
        "time_error": 0.0,
        "space_error": 0.0,
        "mass_defect": 0.0,
        "minimum": 0.0,
        "interrupted": interrupted,
    }
    whole = DensityTrajectory(problem, times, frames, state[at], dense, state, stats)
    return whole if sink is None else handed_on(whole, sink, callback)


def _along(times: Array) -> Array:
    """Times up to the last one asked for that make curves smooth, on linear and logarithmic axes.

    Beside the requested ones these are 64 an octave, counted from the first after the start: runs
    that go further have the same ones so far.
    """
    latest = float(times[-1])
    first = float(times[times > 0][0]) if latest > 0 else 1.0
    exponents = np.arange(-13, math.ceil(math.log2(max(latest, 1e-300) / first)) + 1)
    octave = first * np.linspace(1.0, 2.0, 64, endpoint=False)
    between = np.ldexp(octave, exponents[:, None]).ravel()
    return np.unique(np.concatenate([[0.0], times, between[between < latest]]))
