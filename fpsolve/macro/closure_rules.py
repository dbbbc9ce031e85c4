"""The isotropic closure under schedules and weight decay, where it stays Gaussian.

With η(τ) and decay γ the closed equations of m and v = q − m²/ρ are

    dm/dτ = η (M − γ m),   dv/dτ = η (V − 2γ v) + η² S ε_g/B,

where M and V depend on (m, v) and on the ridge alone: those of a constant rate 1 without noise.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from fpsolve.errors import SolveError
from fpsolve.macro.closure_kernel import Law, closure_rates
from fpsolve.problem.problem import Problem
from fpsolve.problem.schedule import value_at

__all__ = ["integrate_rules"]

Array = NDArray[np.float64]

# v is followed as log v, which keeps it positive however fast it falls.
_LEAST_SPREAD = 1e-300


def integrate_rules(
    problem: Problem, law: Law, start: tuple[float, float], times: Array, rtol: float
) -> tuple[Array, Array, dict[str, int]]:
    """Return the states (m, v) at the times (T, 2), (τ, m, v) at every step (M, 3), and counts.

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

    Raises
    ------
    SolveError
        If the integration fails, as where unquantized weights diverge.
    """
    dynamics, decay = problem.dynamics, problem.weight_decay
    rates, jacobian, averages = np.empty(3), np.empty((3, 2)), np.empty(9)
    sigma2 = float(dynamics.sigma2[0])
    kick = sigma2 / problem.batch_size

    def slope(tau: float, state: Array, end: float) -> list[float]:
        m, v = float(state[0]), float(np.exp(state[1]))
        # At the end of a stretch a schedule has its limit from the left.
        before = tau >= end
        eta = dynamics.rate(tau, before=before)[0]
        law[5][1] = sigma2 + dynamics.ridge(tau, before=before)
        law[5][5] = value_at(problem.noise_variance, tau, before=before)
        closure_rates(m, v, law, averages, rates, jacobian)
        noise = kick * rates[2]
        pull = rates[1] - noise - 2 * decay * v
        return [eta * (rates[0] - decay * m), (eta * pull + eta**2 * noise) / v]

    path = np.empty((times.size, 2))
    state = np.array([start[0], np.log(max(start[1], _LEAST_SPREAD))])
    counts = {"steps": 0, "evaluations": 0}
    ends = np.unique(np.concatenate([[0.0], dynamics.landing_points(float(times[-1])), times[-1:]]))
    path[times == 0] = start
    dense = [np.array([[0.0, *start]])]
    for low, high in pairwise(ends.tolist()):
        wanted = (times > low) & (times <= high)
        solved = solve_ivp(
            slope,
            (low, high),
            state,
            method="LSODA",
            dense_output=True,
            args=(high,),
            rtol=max(rtol, 1e-12),
            atol=1e-12,
        )
        if not solved.success or not np.isfinite(solved.y).all():
            message = "the closure diverges or stiffens; lower learning_rate or end earlier"
            raise SolveError(message, time=float(solved.t[-1]), step=high - low)
        counts["steps"] += solved.t.size - 1
        counts["evaluations"] += solved.nfev
        dense.append(np.stack([solved.t[1:], solved.y[0, 1:], np.exp(solved.y[1, 1:])], axis=1))
        state = solved.y[:, -1]
        if wanted.any() and solved.sol is not None:
            m, log_v = solved.sol(times[wanted])
            path[wanted, 0], path[wanted, 1] = m, np.exp(log_v)
    return path, np.concatenate(dense), counts
