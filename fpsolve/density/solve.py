"""`solve_pde`: from a problem to its densities at the requested times."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.density.gaussian import gaussian_moments, gaussian_path
from fpsolve.density.gaussian_frame import GaussianFrame
from fpsolve.density.integrate import Discretization, Integrator, State
from fpsolve.density.scharfetter_gummel import DEFAULT_CELLS, ScharfetterGummel
from fpsolve.density.snapshot import Snapshot
from fpsolve.density.spectral_volume import SpectralVolumes, default_order
from fpsolve.density.start import GaussianStart, PointSnapshot, gaussian_start
from fpsolve.density.trajectory import DensityTrajectory
from fpsolve.errors import ParameterError, SolveError
from fpsolve.problem.checks import finite, integer, requested_times
from fpsolve.problem.problem import Problem
from fpsolve.problem.rules import take_only
from fpsolve.progress import progress_to
from fpsolve.reduction import OrderParameters

__all__ = ["SCHEMES", "solve_pde"]

Array = NDArray[np.float64]

SCHEMES = ("auto", "spectral-volume", "scharfetter-gummel")
_TIGHTEST, _LOOSEST = 1e-10, 1e-2
# Rounding leaves far less; more means that the solve went wrong.
_MOST_DEFECT = 1e-10
# Looser than this saves no work; it would only let ripples through.
_LOOSEST_WORK = 3e-4
# Mass an element may leave unresolved, in units of rtol; see the promise below.
_RESOLUTION = 5.0


def solve_pde(
    problem: Problem,
    times: ArrayLike,
    *,
    rtol: float = 1e-6,
    scheme: str = "auto",
    order: int | None = None,
    cells: int | None = None,
    progress: bool = False,
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
        conditional density within 100·rtol. With Scharfetter–Gummel it governs time steps only.
    scheme : {"auto", "spectral-volume", "scharfetter-gummel"}
        "spectral-volume" is of high order and adaptive in space; "scharfetter-gummel" is of second
        order and monotone in space on a fixed mesh. "auto" is the former, but for full-precision
        weights, whose density is a Gaussian known in closed form.
    order : int, optional
        Polynomial degree of the spectral volumes, 4 to 16; chosen from `rtol` by default.
    cells : int, optional
        Number of Scharfetter–Gummel cells, about; 2000 by default.
    progress : bool, default False
        Show a progress bar over τ on standard error.

    Returns
    -------
    DensityTrajectory
        Densities, order parameters and statistics. `stats["time_error"]` adds up the estimated
        error of every step, relative to the largest ε_g; `stats["space_error"]` (spectral volumes)
        is the L¹ norm that the highest modes carry. Both are cautious: they overestimate.

    Raises
    ------
    ParameterError
        If an argument is outside what is allowed here.
    SolveError
        If the integration cannot reach the last time, with the reason and the cure.

    Notes
    -----
    Source: paper Eq. (5) with Eq. (3); D = η² S ε_g/(2B).
    """
    take_only(problem, (), solver="solve_pde", cure="leave it out")
    requested = requested_times(times)
    rtol = finite("rtol", rtol, above=0.0)
    if not _TIGHTEST <= rtol <= _LOOSEST:
        raise ParameterError("rtol", rtol, f"must be from {_TIGHTEST:g} to {_LOOSEST:g}")
    work = min(rtol, _LOOSEST_WORK)
    if scheme not in SCHEMES:
        raise ParameterError("scheme", scheme, f"must be one of {', '.join(SCHEMES)}")
    if scheme == "auto" and problem.weight_quantizer is None and order is None and cells is None:
        return _solve_gaussian(problem, requested, rtol)
    positive = requested[requested > 0]
    start = gaussian_start(problem, work, float(positive[0]) if positive.size else 1.0)
    grid: Discretization
    if scheme == "scharfetter-gummel":
        if order is not None:
            raise ParameterError("order", order, "is for the spectral-volume scheme; drop it")
        count = (
            DEFAULT_CELLS if cells is None else integer("cells", cells, least=16, most=10_000_000)
        )
        grid = ScharfetterGummel(problem, cells=count, start=start, horizon=float(requested[-1]))
    else:
        if cells is not None:
            raise ParameterError("cells", cells, "is for scharfetter-gummel; set rtol instead")
        degree = default_order(work) if order is None else integer("order", order, least=4, most=16)
        grid = SpectralVolumes(problem, order=degree, resolution=_RESOLUTION * work, start=start)
    return _run(problem, requested, rtol, work, grid, start, progress)


def _run(
    problem: Problem,
    times: Array,
    rtol: float,
    work: float,
    grid: Discretization,
    start: GaussianStart,
    progress: bool,
) -> DensityTrajectory:
    integrator = Integrator(problem, grid, work, float(times[-1]), start.time)
    snapshots: list[State] = []
    with progress_to(float(times[-1]), "solve_pde", shown=progress, unit="tau") as bar:
        for time in times:
            if time < start.time:
                snapshots.append(PointSnapshot.of(problem))
                continue
            integrator.advance(float(time), bar.reach)
            snapshots.append(grid.snapshot())
    frames = tuple(s.frame for s in snapshots)
    defect = max(f.mass_defect() for f in frames)
    minimum = min(f.lowest() for f in frames)
    # Written so that NaN fails too.
    if not defect < _MOST_DEFECT:
        raise _failed(integrator, f"lost its mass by {defect:.2g}")
    if not minimum >= -rtol:
        raise _failed(integrator, f"has ripples down to {minimum:.2g} of its maximum")
    path = [(0.0, PointSnapshot.of(problem).moments(problem.teacher))] if start.time else []
    path += integrator.path
    unresolved = [s.unresolved() for s in snapshots if isinstance(s, Snapshot)]
    stats: dict[str, Any] = {
        **integrator.stats,
        "scheme": "scharfetter-gummel" if grid.scheme else "spectral-volume",
        "order": grid.element.order,
        "rtol": rtol,
        "regrids": grid.regrids,
        "mass_defect": defect,
        "minimum": minimum,
        **({} if grid.scheme else {"space_error": max(unresolved, default=0.0)}),
    }
    return DensityTrajectory(
        problem,
        times,
        frames,
        _reduced(problem, [s.moments(problem.teacher) for s in snapshots]),
        np.array([t for t, _ in path]),
        _reduced(problem, [moments for _, moments in path]),
        stats,
    )


def _failed(integrator: Integrator, what: str) -> SolveError:
    return SolveError(
        f"the density {what}; tighten rtol", time=integrator.time, step=integrator.step
    )


def _solve_gaussian(problem: Problem, times: Array, rtol: float) -> DensityTrajectory:
    """Full precision: a closed form, drawn at the requested times and densely between them."""
    latest = float(times[-1])
    dense = np.unique(np.concatenate([[0.0], times, latest * _between()]))
    mean, deviation = gaussian_path(problem, dense)
    state = OrderParameters.from_moments(
        problem, **gaussian_moments(problem.teacher, mean, deviation)
    )
    at = np.searchsorted(dense, times)
    frames = tuple(GaussianFrame(mean[i], deviation[i]) for i in at)
    stats = {
        "scheme": "gaussian",
        "rtol": rtol,
        "steps": 0,
        "rejected": 0,
        "time_error": 0.0,
        "space_error": 0.0,
        "mass_defect": max(f.mass_defect() for f in frames),
        "minimum": 0.0,
    }
    return DensityTrajectory(problem, times, frames, state[at], dense, state, stats)


def _between() -> Array:
    """Shares of a horizon that make curves over τ smooth, on linear and logarithmic axes."""
    return np.concatenate([np.linspace(0.0, 1.0, 129), np.geomspace(1e-4, 1.0, 129)])


def _reduced(problem: Problem, moments: list[dict[str, float]]) -> OrderParameters:
    columns = {name: np.array([m[name] for m in moments]) for name in moments[0]}
    return OrderParameters.from_moments(problem, **columns)
