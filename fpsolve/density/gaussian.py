"""Full-precision weights: the drift is linear, and a Gaussian stays one. Exact in closed form."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import exprel

from fpsolve.density.gaussian_frame import GaussianFrame
from fpsolve.errors import SolveError
from fpsolve.problem.problem import Problem
from fpsolve.problem.teacher import Teacher

__all__ = ["gaussian_density", "gaussian_moments", "gaussian_path"]

Array = NDArray[np.float64]

# exp of more than this is not far from overflow.
_LARGEST = 600.0


def gaussian_density(problem: Problem, time: float) -> GaussianFrame:
    """Return the density of full-precision weights at τ = `time`, exact up to rounding.

    Raises
    ------
    SolveError
        As for `gaussian_path`.
    """
    mean, deviation = gaussian_path(problem, np.array([time]))
    return GaussianFrame(mean[0], float(deviation[0]))


def gaussian_path(problem: Problem, times: Array) -> tuple[Array, Array]:
    """Return means (T, K) and the common standard deviation (T,) of full-precision weights.

    Means relax at the rate η(S + λ) towards κw*/(S + λ); the variance obeys a linear equation
    whose source is quadratic in exp(−η(S + λ)τ).

    Raises
    ------
    SolveError
        If the variance overflows: the learning rate is above the stability boundary.

    Notes
    -----
    Source: paper Eqs. (6)–(7) with ψ the identity, where the closure is exact.
    """
    teacher, initial = problem.teacher, problem.initial
    pull = float(problem.dynamics.restoring[0])
    eta = problem.dynamics.constant_rate
    rate = eta * pull
    noise = eta**2 * problem.sigma2 / problem.batch_size
    # Inputs that are all quantized to 0 move nothing: then κ is 0, too.
    goal = problem.kappa * teacher.values / (pull if pull > 0.0 else 1.0)
    away = initial.mean + initial.overlap * teacher.values - goal
    probability = teacher.probabilities
    # ε_g without the variance's share, as coefficients of exp(−j·rate·τ).
    source = [
        problem.sigma2 * (probability @ goal**2)
        - 2 * problem.kappa * (probability @ (teacher.values * goal))
        + problem.dynamics.offset(),
        2 * (problem.sigma2 * goal - problem.kappa * teacher.values) @ (probability * away),
        problem.sigma2 * (probability @ away**2),
    ]
    decay = 2 * rate - noise * problem.sigma2
    latest = float(times[-1])
    if -decay * latest > _LARGEST:
        raise SolveError(
            "the variance grows without bound; the learning rate is above "
            "2(S + ridge)/S^2, lower it or shorten the horizon",
            time=latest,
            step=latest,
        )
    variance = initial.variance * np.exp(-decay * times)
    for j, strength in enumerate(source):
        variance = variance + noise * float(strength) * _response(decay, j * rate, times)
    mean = goal + away * np.exp(-rate * times)[:, None]
    # Without noise and with w* within reach the variance decays to 0; rounding may cross it.
    return mean, np.sqrt(np.where(variance > 0, variance, 0.0))


def gaussian_moments(teacher: Teacher, mean: Array, deviation: Array) -> dict[str, Array]:
    """Return m, q, m_psi, q_psi and r_psi, each (T,), of what `gaussian_path` returned."""
    m = mean @ (teacher.probabilities * teacher.values)
    q = np.square(mean) @ teacher.probabilities + np.square(deviation)
    return {"m": m, "q": q, "m_psi": m, "q_psi": q, "r_psi": q}


def _response(decay: float, rate: float, times: Array) -> Array:
    """∫_0^τ exp(−decay (τ − t)) exp(−rate t) dt, stable where both rates agree."""
    gap = decay - rate
    slower = rate if gap >= 0 else decay
    return np.asarray(np.exp(-slower * times) * times * exprel(-abs(gap) * times))
