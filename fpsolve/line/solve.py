"""`solve_mckean_vlasov`: any separable McKean–Vlasov equation, to a tolerance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.errors import ParameterError
from fpsolve.line.fingerprint import check_model, model_values
from fpsolve.line.run import LineRun, Reached
from fpsolve.line.stream import LineStream, frame_from
from fpsolve.line.trajectory import LineTrajectory
from fpsolve.numerics.initial import Initial
from fpsolve.numerics.mckean_vlasov import McKeanVlasov, initial_law
from fpsolve.progress import Callback, progress_to
from fpsolve.recording.signals import undisturbed
from fpsolve.recording.sink import Sink, Store, run_sink

__all__ = ["solve_mckean_vlasov"]

Array = NDArray[np.float64]

_TIGHTEST, _LOOSEST = 1e-10, 1e-2


def solve_mckean_vlasov(
    model: McKeanVlasov,
    initial: Any,
    times: ArrayLike,
    *,
    rtol: float = 1e-6,
    progress: bool = False,
    callback: Callback = None,
    start: LineTrajectory | str | Path | None = None,
    store: Store = None,
    overwrite: bool = False,
    patient: bool = False,
) -> LineTrajectory:
    """Integrate a separable McKean–Vlasov equation to a stated tolerance.

    Parameters
    ----------
    model : McKeanVlasov
        The equation.
    initial : GaussianInitial or (callable, float, float)
        Initial law: a Gaussian, or a density with the interval outside of which it vanishes;
        None with `start`.
    times : array_like, shape (T,)
        Increasing times ≥ 0 at which to return the density (dimensionless).
    rtol : float, default 1e-6
        Accuracy, from 1e-10 to 1e-2: errors of M_i and of E x² are within 10·rtol of the largest
        E|f_i|, and the L¹ error of the density within 100·rtol.
    progress : bool, default False
        Show a progress bar over t on standard error.
    callback : callable, optional
        Called with t and the functionals M, shape (r,), at every requested time; if it returns a
        true value the run stops there, and `stats["interrupted"]` is True.
    start : LineTrajectory, str or Path, optional
        A trajectory, or its file, whose last density is the initial one, at t = 0.
    store : str, Path or Sink, optional
        File to which densities are written as they are reached, with a
        checkpoint every minute. `fpsolve.load` needs no model to read it; functions cannot be
        stored, so `resume(path, model=model)` has to be given the model to go on.
    overwrite : bool, default False
        Whether the file at `store` may be replaced, see `solve_pde`.
    patient : bool, default False
        Whether to go on however long it takes, see `solve_pde`.

    Returns
    -------
    LineTrajectory
        Densities, functionals and statistics.

    Raises
    ------
    ParameterError
        If an argument is outside what is allowed here.
    SolveError
        If the integration cannot reach the last time; its `partial` is what was reached.
    StoreError
        If the file cannot be written, or that of `start` cannot be read.
    KeyboardInterrupt
        If interrupted; with `store` a checkpoint has been written by then.

    Notes
    -----
    Source: the equation is that of `McKeanVlasov` (Dawson, J. Stat. Phys. 31, 29, 1983).

    Examples
    --------
    Ornstein–Uhlenbeck: the variance relaxes to D as 1 − exp(−2t).

    >>> import fpsolve
    >>> model = fpsolve.McKeanVlasov(lambda x: -x, 1.0, functionals=[lambda x: x**2])
    >>> start = fpsolve.GaussianInitial(0.0, 0.25)
    >>> result = fpsolve.solve_mckean_vlasov(model, start, [0.0, 1.0])
    >>> [round(float(m), 5) for m in result.functionals[:, 0]]
    [0.25, 0.8985]
    """
    requested = np.array(times, dtype=np.float64, ndmin=1)
    if requested.ndim != 1 or not np.isfinite(requested).all() or (requested < 0).any():
        raise ParameterError("times", times, "must be finite numbers >= 0")
    if requested.size == 0:
        raise ParameterError("times", times, "must hold at least one time")
    if (np.diff(requested) <= 0).any():
        raise ParameterError("times", times, "must increase strictly; sort them, drop duplicates")
    if not _TIGHTEST <= rtol <= _LOOSEST:
        raise ParameterError("rtol", rtol, f"must be from {_TIGHTEST:g} to {_LOOSEST:g}")
    sink = run_sink(store, overwrite=overwrite)
    with undisturbed():  # What comes while compiled code is loaded waits until the run can end.
        run, stream = _stream(model, initial, start, requested, float(rtol), sink)
        if not patient:
            run.solver.horizon = float(requested[-1])
    with progress_to(float(requested[-1]), "solve_mckean_vlasov", shown=progress, unit="t") as bar:
        return stream.solved(bar.reach, callback)


def _stream(
    model: McKeanVlasov, initial: Any, start: Any, times: Array, rtol: float, sink: Sink | None
) -> tuple[LineRun, LineStream]:
    """Return the run at its start, or, of a sink that holds one, where that stands."""
    kept = {} if sink is None else dict(sink.constants)
    if sink is not None and kept:
        check_model(model, kept)
        # Killed before its first checkpoint, a run begins anew, from the same density.
        state = sink.state or {n[6:]: v for n, v in kept.items() if n.startswith("begin_")}
        solver = {n[7:]: v for n, v in state.items() if n.startswith("solver_")}
        run = LineRun(model, rtol, solver)
        stream = LineStream(run, times, rtol, sink, state)
        sink.open("mckean-vlasov", None, times, {"rtol": rtol})
        return run, stream
    law = _law(model, initial, start)
    run = LineRun(model, rtol, law)
    stream = LineStream(run, times, rtol, sink)
    if sink is not None:
        begin = stream.state()
        ends, looks = np.array(law.support(0)), np.linspace(0.0, times[-1], 3)
        constants = model_values(model, ends, looks, stream.told())
        constants |= {f"begin_{name}": array for name, array in begin.items()}
        sink.open("mckean-vlasov", None, times, {"rtol": rtol}, constants=constants)
    return run, stream


def _law(model: McKeanVlasov, initial: Any, start: Any) -> Initial:
    """Return the initial law: that given, or where another run has ended."""
    if start is None:
        return initial_law(initial, model)
    if initial is not None:
        raise ParameterError("initial", initial, "must be None with start, which says where from")
    if isinstance(start, str | Path):
        from fpsolve.recording.last import last_line  # h5py only where a file is read

        return Reached(frame_from(last_line(start)), model)
    if isinstance(start, LineTrajectory):
        return Reached(start.frames[-1], model)
    allowed = "must be a LineTrajectory or its file, to start from its end"
    raise ParameterError("start", start, allowed)
