"""The isotropic closure under schedules and weight decay, where it stays Gaussian.

With η(τ) and decay γ the closed equations of m and v = q − m²/ρ are

    dm/dτ = η (M − γ m),   dv/dτ = η (V − 2γ v) + η² S ε_g/B,

where M and V depend on (m, v) and on the ridge alone: those of a constant rate 1 without noise.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import LSODA

from fpsolve.errors import SolveError
from fpsolve.macro.closure_kernel import Law, closure_rates
from fpsolve.problem.problem import Problem
from fpsolve.problem.schedule import value_at

__all__ = ["integrate_rules"]

Array = NDArray[np.float64]

# v is followed as log v, which keeps it positive however fast it falls.
_LEAST_SPREAD = 1e-300


class Integrated(NamedTuple):
    """What an integration has reached.

    Attributes
    ----------
    path : ndarray, shape (T, 2)
        m and v at the requested times.
    dense : ndarray, shape (M, 3)
        τ, m and v at the start and after every step.
    counts : dict
        Steps and evaluations.
    failure : SolveError or None
        Why it went no further, as where unquantized weights diverge.
    """

    path: Array
    dense: Array
    counts: dict[str, int]
    failure: SolveError | None


def integrate_rules(
    problem: Problem, law: Law, start: tuple[float, float], times: Array, rtol: float,
    reached: Callable[[float, float, float], bool],
) -> Integrated:  # fmt: skip
    """Integrate to the last time, or to where nobody wants more.

    Parameters
    ----------
    problem : Problem
        Its schedule, decay and momentum.
    law : Law
        The closure's arrays at the rate 1.
    start : tuple of float
        m and v at τ = 0.
    times : ndarray, shape (T,)
        Increasing times τ ≥ 0.
    rtol : float
        Tolerance of each step.
    reached : callable
        Told τ, m and v at every requested time; if it returns True there are no more of them.

    """
    dynamics, decay = problem.dynamics, problem.weight_decay
    rates, jacobian, averages = np.empty(3), np.empty((3, 2)), np.empty(9)
    sigma2 = float(dynamics.sigma2[0])
    kick = sigma2 / problem.batch_size

    def slope(tau: float, state: Array, end: float) -> Array:
        m, v = float(state[0]), float(np.exp(state[1]))
        # At the end of a stretch a schedule has its limit from the left.
        before = tau >= end
        eta = dynamics.rate(tau, before=before)[0]
        law[5][1] = sigma2 + dynamics.ridge(tau, before=before)
        law[5][5] = value_at(problem.noise_variance, tau, before=before)
        closure_rates(m, v, law, averages, rates, jacobian)
        noise = kick * rates[2]
        pull = rates[1] - noise - 2 * decay * v
        return np.array([eta * (rates[0] - decay * m), (eta * pull + eta**2 * noise) / v])

    path: list[tuple[float, float]] = []
    dense = [(0.0, *start)]
    wanted = deque(times.tolist())
    state = np.array([start[0], np.log(max(start[1], _LEAST_SPREAD))])
    counts = {"steps": 0, "evaluations": 0}

    def pass_by(solver: Any) -> bool:
        """Keep what a step has passed; whether that is to be all."""
        between = solver.dense_output() if wanted and wanted[0] <= solver.t else None
        while between is not None and wanted and wanted[0] <= solver.t:
            tau = wanted.popleft()
            m, log_v = between(tau).tolist()
            path.append((m, math.exp(log_v)))
            if reached(tau, *path[-1]):
                dense.append((tau, *path[-1]))
                return True
        dense.append((float(solver.t), float(solver.y[0]), math.exp(solver.y[1])))
        return False

    def told(failure: SolveError | None = None) -> Integrated:
        return Integrated(np.array(path), np.array(dense), counts, failure)

    if wanted[0] == 0:
        path.append(start)
        if reached(wanted.popleft(), *start):
            return told()
    ends = np.unique(np.concatenate([[0.0], dynamics.landing_points(float(times[-1])), times[-1:]]))
    for low, high in pairwise(ends.tolist()):
        solver: Any = LSODA(
            partial(slope, end=high), low, state, high, rtol=max(rtol, 1e-12), atol=1e-12
        )
        while solver.status == "running":
            solver.step()
            if solver.status == "failed" or not np.isfinite(solver.y).all():
                message = "the closure diverges or stiffens; lower learning_rate or end earlier"
                return told(SolveError(message, time=float(solver.t), step=high - low))
            counts["steps"] += 1
            if pass_by(solver):
                return told()
        counts["evaluations"] += solver.nfev
        state = solver.y
    return told()
