"""The isotropic closure: the paper's macroscopic ODE (Eqs. 6–7), and its state."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.errors import ParameterError, SolveError
from fpsolve.macro.closure_kernel import (
    FAILED_STEPS,
    Law,
    closure_averages,
    closure_rates,
    integrate_closure,
)
from fpsolve.macro.closure_rules import integrate_rules
from fpsolve.macro.trajectory import MacroTrajectory
from fpsolve.problem.checks import finite, requested_times
from fpsolve.problem.problem import Problem
from fpsolve.problem.rules import rules_in_use, take_only
from fpsolve.progress import Callback, Progress, progress_to, stops
from fpsolve.recording.signals import undisturbed
from fpsolve.reduction import OrderParameters

__all__ = ["Closure", "closure_order_parameters", "initial_state", "solve_ode"]

Array = NDArray[np.float64]

# Rules under which a Gaussian is closed by m and q as well as under the paper's.
_RULES = ("learning_rate", "ridge", "noise_variance", "momentum", "weight_decay")
_CURE = "it has one mean direction and one spread for all weights; use solve_pde"
_TIGHTEST = 1e-13
_LOOSEST = 1e-2


@dataclass(frozen=True)
class Closure:
    """The closed macroscopic dynamics of a problem, as arrays for the compiled right-hand side.

    It assumes w | w* ~ N(m w*/ρ, s²) for every teacher value (paper Assumption V.1, with s² = q −
    m²/ρ). The state is (m, v = s²); at ρ = 0 all weights are centred and m stays 0.

    Attributes
    ----------
    law : tuple of ndarray
        Teacher values (K,), probabilities (K,), w*/ρ (K,), levels (L + 1,), thresholds (L,), and
        (η, S + λ, κ, S, ρ, σ², B, T); no levels stand for full precision.
    """

    law: Law

    @classmethod
    def of(
        cls, problem: Problem, *, rate: float | None = None, tau: float | None = None
    ) -> Closure:
        """Return the closed dynamics of `problem`, at its own constant rate or at a given one.

        Ridge and noise are those of the time `tau`, or constant without one.
        """
        dynamics = problem.dynamics
        quantizer = problem.weight_quantizer
        values = problem.teacher.values
        rho, sigma2 = problem.rho, float(dynamics.sigma2[0])
        levels = np.empty(0) if quantizer is None else quantizer.levels
        thresholds = np.empty(0) if quantizer is None else quantizer.thresholds
        constants = np.array(
            [
                dynamics.constant_rate if rate is None else rate,
                float(dynamics.restoring[0] if tau is None else sigma2 + dynamics.ridge(tau)),
                float(dynamics.kappa[0]),
                sigma2,
                rho,
                float(dynamics.offset(tau)) - rho,
                float(problem.batch_size),
                0.0 if quantizer is None else quantizer.temperature,
            ]
        )
        direction = values / rho if rho > 0 else np.zeros_like(values)
        # Writable copies: read-only arrays are another type to the compiler, and compile again.
        value, probability = values.copy(), problem.teacher.probabilities.copy()
        steps = levels.copy(), thresholds.copy()
        return cls((value, probability, direction, *steps, constants))

    def averages(self, m: float, v: float) -> Array:
        """Return the nine averages named in `closure_kernel.AVERAGES` at (m, v), v ≥ 0."""
        out = np.empty(9)
        closure_averages(m, v, self.law, out)
        return out

    def rates(self, m: float, v: float) -> tuple[Array, Array]:
        """Return (dm/dτ, dv/dτ, ε_g), shape (3,), and their derivatives by (m, v), shape (3, 2)."""
        rates, jacobian = np.empty(3), np.empty((3, 2))
        closure_rates(m, v, self.law, np.empty(9), rates, jacobian)
        return rates, jacobian


def initial_state(problem: Problem) -> tuple[float, float]:
    """Return m and v = q − m²/ρ of the initial law.

    v is summed as the variance plus the mean square of the conditional means off the teacher's
    direction, so that it is never a difference of large numbers.
    """
    teacher, start = problem.teacher, problem.initial
    means = start.mean + start.overlap * teacher.values
    m = float(teacher.probabilities @ (teacher.values * means))
    aligned = m / problem.rho * teacher.values if problem.rho > 0 else np.zeros_like(means)
    return m, start.variance + float(teacher.probabilities @ np.square(means - aligned))


def closure_order_parameters(
    problem: Problem, m: Array, v: Array, *, times: Array | None = None
) -> OrderParameters:
    """Return the order parameters of the closure at the states (m, v), each of shape (T,).

    Their times are needed where the noise is scheduled.
    """
    # Averages over the weights depend on neither rate nor time.
    closure = Closure.of(problem, rate=1.0, tau=0.0)
    states = zip(m, v, strict=True)
    averages = np.array([closure.averages(mi, vi)[:3] for mi, vi in states])
    m_psi, pull, q_psi = averages.T
    rho = problem.rho
    along = m / rho if rho > 0 else np.zeros_like(m)
    dynamics = problem.dynamics
    error = dynamics.generalization_error(dynamics.loss(m_psi, q_psi), tau=times)
    return OrderParameters(
        m=m,
        q=v + along * m,
        s=np.sqrt(v),
        m_psi=m_psi,
        q_psi=q_psi,
        r_psi=along * m_psi + pull,
        generalization_error=error,
    )


# What a problem may have besides without any bearing on unquantized weights but in its classes.
_SHAPES = ("weight_quantizer.rounding", "teacher.input_scale")


def stability_boundary(problem: Problem) -> float:
    """Return the learning rate beyond which unquantized weights diverge; 2B(S + λ)/S² in the paper.

    Parameters
    ----------
    problem : Problem
        Its own learning rate and weight quantizer are not used.

    Returns
    -------
    float
        The rate 2B / Σ_k p_k S_k²/(S_k + λ + γ) over classes of coordinates with input moments S_k,
        γ the weight decay (dimensionless); with momentum β it is smaller by the factor 1 − β.

    Raises
    ------
    ParameterError
        If the ridge is scheduled, or with a surrogate, weight clipping or dampening.

    Notes
    -----
    Class k has dv_k/dτ = −2η(S_k + λ + γ) v_k + η² S_k ε_g/B for the variance of its weights, and
    ε_g holds Σ_k p_k S_k v_k: a matrix that is diagonal plus rank one, with an eigenvalue 0 where
    Σ_k p_k η S_k²/(2B(S_k + λ + γ)) = 1.

    Source: paper Proposition VI.1, with the batch size B; classes and decay by the same equation.
    """
    taken = ("learning_rate", "noise_variance", "weight_decay", "momentum", *_SHAPES)
    cure = "solve_pde shows whether weights diverge at a rate"
    take_only(problem, taken, solver="stability_boundary", cure=cure)
    dynamics = problem.dynamics
    sigma2 = dynamics.sigma2
    restoring = dynamics.restoring + problem.weight_decay
    spread = float(dynamics.probability @ (sigma2**2 / restoring))
    return 2 * problem.batch_size / spread * (1 - problem.momentum)


def solve_ode(
    problem: Problem,
    times: ArrayLike,
    *,
    rtol: float = 1e-8,
    progress: bool = False,
    callback: Callback = None,
) -> MacroTrajectory:
    """Integrate the isotropic closure, the paper's macroscopic ODE.

    Parameters
    ----------
    problem : Problem
        What to solve; any weight quantizer, temperature, teacher law and batch size, scheduled
        learning rates, momentum and weight decay.
    times : array_like, shape (T,)
        Times τ ≥ 0 to report, strictly increasing (dimensionless); training starts at τ = 0.
    rtol : float, default 1e-8
        Tolerated local error per step from 1e-13 to 1e-2: of s² relative to itself, of m relative
        to (ρ q)^½, of ε_g relative to ε_g + ρ + σ².
    progress : bool, default False
        Whether to show progress over τ.
    callback : callable, optional
        Called with τ and the `OrderParameters` at every requested time, each of shape (); if it
        returns a true value the trajectory ends there, and `stats["interrupted"]` is True.

    Returns
    -------
    MacroTrajectory
        Order parameters of shape (T,).

    Raises
    ------
    ParameterError
        If the times or the tolerance are out of range, or a training rule leaves no Gaussian
        closure.
    SolveError
        If the state overflows, as it does for unquantized weights past the stability boundary;
        its `partial` is the trajectory up to the last time reached.

    Notes
    -----
    The closure takes w | w* ~ N(m w*/ρ, s²) at all times. It is exact for unquantized weights
    whose initial law is of that form, and an approximation otherwise. An initial mean that is not
    proportional to w* enters as spread s²; E ψ(w)² and ε_g then differ from the true ones already
    at τ = 0.

    Source: paper Theorem V.3, Eqs. (6)–(7) and Proposition V.2, with s² = q − m²/ρ; T > 0 from
    appendix IV-A; batch B divides the η² term.
    """
    take_only(problem, _RULES, solver="solve_ode", cure=_CURE)
    times = requested_times(times)
    rtol = finite("rtol", rtol, above=0.0)
    if not _TIGHTEST <= rtol <= _LOOSEST:
        raise ParameterError("rtol", rtol, f"must lie from {_TIGHTEST:g} to {_LOOSEST:g}")
    with progress_to(float(times[-1]), "solve_ode", shown=progress, unit="tau") as bar:
        watch = _Watch(problem, callback, bar if progress else None)
        if set(rules_in_use(problem)) - {"momentum"}:
            problem.dynamics.check_horizon(float(times[-1]))
            return _scheduled(problem, times, rtol, watch)
        return _steady(problem, times, rtol, watch)


class _Watch:
    """Who is told of every time that is reached."""

    def __init__(self, problem: Problem, callback: Callback, bar: Progress | None) -> None:
        self._problem, self._callback, self._bar = problem, callback, bar
        self.stopped = False

    @property
    def anyone(self) -> bool:
        """Whether somebody watches, so that the integration has to pause at every time."""
        return self._callback is not None or self._bar is not None

    def reached(self, tau: float, m: float, v: float) -> bool:
        """Tell of a time; whether the trajectory is to end there."""
        if not self.anyone:
            return False
        at = np.array([tau])
        state = closure_order_parameters(self._problem, np.array([m]), np.array([v]), times=at)[0]
        if self._bar is not None:
            self._bar.reach(tau, float(state.generalization_error))
        self.stopped = stops(self._callback, tau, state)
        return self.stopped


def _steady(problem: Problem, times: Array, rtol: float, watch: _Watch) -> MacroTrajectory:
    """Integrate at constant rates, from one requested time to the next where somebody watches."""
    m, v = initial_state(problem)
    closure = Closure.of(problem)
    rho = problem.rho
    ground = problem.dynamics.offset()
    floor = 1e-6 * (ground + v + (m * m / rho if rho > 0 else 0.0)) or 1e-6
    scales = np.array([rtol, math.sqrt(rho), floor, max(ground, floor)])
    path = np.empty((times.size, 2))
    counts = np.zeros(3, dtype=np.int64)
    dense = [np.array([[0.0, m, v]])]
    status, tau, step, done = 0, 0.0, 0.0, 0
    for ahead in np.split(times, times.size) if watch.anyone else [times]:
        piece = path[done : done + ahead.size]
        with undisturbed():  # Raised while arrays are handed to Python, signals are fatal.
            status, tau, step, along = integrate_closure(
                m, v, (tau, step), ahead.copy(), closure.law, scales, piece, counts
            )
        dense.append(along[1:])
        done += int(np.searchsorted(ahead, tau, side="right"))
        m, v = along[-1, 1:].tolist()
        if status or watch.reached(tau, m, v):
            break
    names = ("steps", "rejections", "evaluations")
    stats = {"method": "rodas4", **dict(zip(names, counts.tolist(), strict=True)), "rtol": rtol}
    stats["interrupted"] = watch.stopped
    told = (times[:done], path[:done], np.concatenate(dense), stats)
    if status:
        partial = _trajectory(problem, *told) if done else None
        raise SolveError(_cure(problem, status), time=tau, step=step, partial=partial)
    return _trajectory(problem, *told)


def _scheduled(problem: Problem, times: Array, rtol: float, watch: _Watch) -> MacroTrajectory:
    """Integrate with rates that change on the way."""
    law = Closure.of(problem, rate=1.0, tau=0.0).law
    start = initial_state(problem)
    path, dense, work, failure = integrate_rules(problem, law, start, times, rtol, watch.reached)
    stats = {"method": "lsoda", **work, "rtol": rtol, "interrupted": watch.stopped}
    reached = None
    if len(path):
        reached = _trajectory(problem, times[: len(path)], path, dense, stats)
    if failure is not None:
        failure.partial = reached
        raise failure
    assert reached is not None
    return reached


def _trajectory(
    problem: Problem, times: Array, path: Array, dense: Array, stats: dict[str, Any]
) -> MacroTrajectory:
    """Complete the states (T, 2) at the times and (M, 3) along the way, there after their τ."""
    state = closure_order_parameters(problem, *path.T.copy(), times=times)
    tau, m, v = (part.copy() for part in dense.T)
    dense_state = closure_order_parameters(problem, m, v, times=tau)
    return MacroTrajectory(problem, times, state, tau, dense_state, stats)


def _cure(problem: Problem, status: int) -> str:
    if status == FAILED_STEPS:
        return "the closure took too many steps; loosen rtol or ask for fewer, earlier times"
    boundary = stability_boundary(problem)
    diverges = problem.dynamics.constant_rate * (1 - problem.momentum) > boundary
    if problem.weight_quantizer is None and diverges:
        return (
            f"unquantized weights diverge for learning_rate > {boundary:.6g}; "
            "lower it, or ask for earlier times"
        )
    return "the closure's step size fell to rounding; loosen rtol"
