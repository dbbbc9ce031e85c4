"""Exact results that tests hold the code against."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from fpsolve import Problem
from fpsolve.density.trajectory import DensityTrajectory
from fpsolve.macro.trajectory import MacroTrajectory
from fpsolve.particles.trajectory import ParticleTrajectory
from fpsolve.reduction import OrderParameters


def linear_moments(problem: Problem, times):
    """Exact m(τ), q(τ) for full-precision weights: both obey linear equations (paper Eqs. 6-7)."""
    eta, s, kappa, rho = problem.learning_rate, problem.sigma2, problem.kappa, problem.rho
    first, law = problem.teacher.probabilities @ problem.teacher.values, problem.initial
    pull = eta * (s + problem.ridge)
    noise = eta**2 * s / problem.batch_size
    m_0 = law.mean * first + law.overlap * rho
    q_0 = law.variance + law.mean**2 + 2 * law.mean * law.overlap * first + law.overlap**2 * rho
    m_inf = eta * kappa * rho / pull
    decay = 2 * pull - noise * s
    source = 2 * kappa * (eta - noise)
    constant = (source * m_inf + noise * (rho + problem.noise_variance)) / decay
    slow = source * (m_0 - m_inf) / (decay - pull)
    t = np.asarray(times, dtype=float)
    m = m_inf + (m_0 - m_inf) * np.exp(-pull * t)
    q = constant + slow * np.exp(-pull * t) + (q_0 - constant - slow) * np.exp(-decay * t)
    return m, q


def ornstein_uhlenbeck(problem: Problem, times):
    """Means (T, K) and variances (T,) of w given w*, which stays Gaussian: no quantized weights."""
    eta, s, teacher = problem.learning_rate, problem.sigma2, problem.teacher
    pull = eta * (s + problem.ridge)
    t = np.asarray(times, dtype=float)[:, None]
    start = problem.initial.mean + problem.initial.overlap * teacher.values
    end = eta * problem.kappa * teacher.values / pull
    means = end + (start - end) * np.exp(-pull * t)
    _, q = linear_moments(problem, times)
    return means, q - np.square(means) @ teacher.probabilities


def exact_order_parameters(problem: Problem, times) -> OrderParameters:
    """Order parameters of full-precision weights."""
    m, q = linear_moments(problem, times)
    return OrderParameters.from_moments(problem, m=m, q=q, m_psi=m, q_psi=q, r_psi=q)


def exact_density(problem: Problem, times, cells: int = 400) -> DensityTrajectory:
    """Exact cell averages of the Gaussian density of full-precision weights."""
    times = np.asarray(times, dtype=float)
    means, variances = ornstein_uhlenbeck(problem, times)
    spread = np.sqrt(variances)
    reach = 9 * spread.max()
    edges = np.linspace(means.min() - reach, means.max() + reach, cells + 1)
    cumulative = ndtr((edges - means[..., None]) / spread[:, None, None])
    density = np.diff(cumulative) / np.diff(edges)
    state = exact_order_parameters(problem, times)
    stats = {"scheme": "exact", "steps": 0}
    return DensityTrajectory.from_cells(problem, times, edges, density, state, stats)


def exact_macro(problem: Problem, times) -> MacroTrajectory:
    """The same order parameters as the closure's result."""
    times = np.asarray(times, dtype=float)
    state = exact_order_parameters(problem, times)
    return MacroTrajectory(problem, times, state, times, state, {"steps": 0})


def sampled_particles(
    problem: Problem, times, *, runs: int = 3, dimension: int = 200, seed: int = 5
) -> ParticleTrajectory:
    """Independent draws from the exact density, with their own order parameters."""
    rng = np.random.default_rng(seed)
    times = np.asarray(times, dtype=float)
    means, variances = ornstein_uhlenbeck(problem, times)
    which = rng.choice(problem.teacher.values.size, size=(runs, dimension))
    noise = rng.standard_normal((runs, times.size, dimension)) * np.sqrt(variances)[:, None]
    weights = means.T[which].transpose(0, 2, 1) + noise
    teachers = problem.teacher.values[which]
    m = (weights * teachers[:, None]).mean(-1)
    q = np.square(weights).mean(-1)
    rho = np.square(teachers).mean(-1)[:, None] * np.ones(times.size)
    state = OrderParameters.from_moments(
        problem, m=m, q=q, m_psi=m, q_psi=q, r_psi=q, square=rho, rho=rho
    )
    stats = {"kind": "sde", "seed": 2**127 - 1, "shared": True}
    return ParticleTrajectory(problem, times, weights, teachers, state, times, state, stats)
