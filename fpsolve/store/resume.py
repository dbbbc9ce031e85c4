"""`resume`: a stored run goes on, as if it had never stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.density.solve import solve_pde
from fpsolve.errors import ParameterError, StoreError
from fpsolve.line.solve import solve_mckean_vlasov
from fpsolve.numerics.mckean_vlasov import McKeanVlasov
from fpsolve.particles.sde import simulate_sde
from fpsolve.particles.state import RunState
from fpsolve.particles.ste import simulate_ste
from fpsolve.problem.checks import requested_times
from fpsolve.problem.problem import Problem
from fpsolve.recording.hdf5 import Hdf5Sink
from fpsolve.recording.reading import opened
from fpsolve.recording.signals import undisturbed
from fpsolve.recording.sink import CHECKPOINT_INTERVAL, Ending
from fpsolve.store.files import load, problem_of

__all__ = ["resume", "resumed"]

Array = NDArray[np.float64]


def resume(
    path: str | Path,
    *,
    times: ArrayLike | None = None,
    progress: bool = False,
    interval: float = CHECKPOINT_INTERVAL,
    model: McKeanVlasov | None = None,
    **options: Any,
) -> Any:
    """Go on where a stored run stopped, or beyond its end.

    An ODE takes milliseconds and keeps no state to go on from: `solve_ode` solves it again.

    Parameters
    ----------
    path : str or Path
        What a run wrote with `store=`, whether it was finished, interrupted or killed. Where a run
        was to replace this file and did not end, that is the run; this file is then replaced.
    times : array_like, shape (n,), optional
        Further times τ (dimensionless), or all of them; by default those that were asked for.
    progress : bool, default False
        Whether to show progress.
    interval : float, default 60 s
        Seconds between checkpoints.
    model : McKeanVlasov, optional
        The equation of a run of `solve_mckean_vlasov`; a file holds no functions.
    **options
        Options that do not change the result: `threads`; `patient`, to go on however long it takes
        where a density's run was refused for that; and `callback`, which is told of the times
        that are reached now; where it stops the run, `resume` goes on another time.

    Returns
    -------
    DensityTrajectory, ParticleTrajectory or LineTrajectory
        The whole run, bit for bit as if it had been asked for in one go.

    Raises
    ------
    StoreError
        If the file is damaged, is no run, or is being written by another one.
    ParameterError
        If `times` leave out a time that the file holds, or lie before the state it stopped in;
        if the model is missing or is another one.
    """
    with undisturbed():  # HDF5 calls back; what is raised meanwhile may get lost.
        sink = Hdf5Sink(path, resume=True, interval=interval)
    return resumed(sink, times, model=model, progress=progress, **options)


def resumed(
    sink: Hdf5Sink, times: ArrayLike | None, *, model: McKeanVlasov | None = None, **options: Any
) -> Any:
    """Go on with the run in a sink; see `resume`."""
    path = sink.path
    try:
        with undisturbed(), opened(path) as file:
            problem = problem_of(path, file)
    except StoreError:
        sink.abandon()
        raise
    wanted = _all_times(sink, times)
    if sink.status == "completed" and wanted.size == sink.times.size:
        sink.close(Ending("completed", sink.stats))
        return load(sink.path)
    if sink.kind not in _RESUMED:
        sink.abandon()
        raise StoreError(f"{path}: holds a {sink.kind} run, which cannot go on")
    try:
        if sink.kind == "mckean-vlasov":
            options["model"] = _needed(path, model)
        elif model is not None:
            raise ParameterError("model", model, f"is not for a {sink.kind} run; leave it out")
        return _RESUMED[sink.kind](problem, wanted, sink, **options)
    except ParameterError:
        sink.abandon()
        raise


def _needed(path: str | Path, model: McKeanVlasov | None) -> McKeanVlasov:
    if isinstance(model, McKeanVlasov):
        return model
    allowed = (
        f"must be the McKeanVlasov of the run in {path}, for a file holds no functions; pass "
        "resume(path, model=...), or load what was reached"
    )
    raise ParameterError("model", model, allowed)


def _all_times(sink: Hdf5Sink, times: ArrayLike | None) -> Array:
    """Return the times of the file and those beyond them."""
    if times is None:
        return np.asarray(sink.times)
    further = requested_times(times)
    kept = sink.times[: sink.count]
    whole = np.union1d(kept, further)
    if not np.array_equal(whole[: kept.size], kept):
        sink.abandon()
        last = float(kept[-1])
        between = further[~np.isin(further, kept)]
        raise ParameterError("times", float(between[0]), f"must be beyond {last:g} or in the file")
    return whole


def _particles(problem: Problem, times: Array, sink: Hdf5Sink, **options: Any) -> Any:
    told = dict(sink.options)
    simulate: Callable[..., Any] = simulate_ste if told.pop("kind") == "ste" else simulate_sde
    told["dimension" if simulate is simulate_ste else "particles"] = told.pop("dimension")
    if simulate is simulate_sde:
        told.pop("shared_initial")
    state = None if sink.state is None else RunState.from_arrays(sink.state)
    return simulate(
        problem,
        times,
        **told,
        start=state,
        store=sink,
        **options,
    )


def _density(problem: Problem, times: Array, sink: Hdf5Sink, **options: Any) -> Any:
    return solve_pde(problem, times, **sink.options, store=sink, **options)


def _line(
    problem: None, times: Array, sink: Hdf5Sink, *, model: McKeanVlasov, **options: Any
) -> Any:
    return solve_mckean_vlasov(model, None, times, **sink.options, store=sink, **options)


_RESUMED: dict[str, Callable[..., Any]] = {
    "particles": _particles,
    "density": _density,
    "mckean-vlasov": _line,
}
