"""Every start ends in the stationary state once the relaxation rate says that it is late enough.

A run is late by the spectrum, not by the clock: it has first to come near the state, where the
linear theory holds. From there on the operator, symmetric in the norm ∫ g²/μ, contracts every
perturbation g by the rate, and ∫|g| is at most that norm.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import logsumexp

from fpsolve import (
    GaussianInitial,
    Problem,
    StepQuantizer,
    Teacher,
    UniformQuantizer,
    solve_pde,
    stationary_states,
)

RTOL = 1e-6
# A density whose L¹ distance from the state is below this counts as near: corrections to the linear
# theory are quadratic in it.
NEAR = 0.1
# What is left after waiting, in units of rtol: less than is promised, 10 and 100.
LEFT = 1.0
# Mass in the tails that may be anywhere: it moves ε_g and the density by no more than itself.
TAIL = 1e-8
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)


def distance(frame, state, problem):
    """Largest ∫|μ − μ_stationary| over the teacher values."""
    worst = 0.0
    for k, value in enumerate(problem.teacher.values.tolist()):
        own = slice(int(frame.first[k]), int(frame.first[k + 1]))
        left, half = frame.left[own], 0.5 * frame.width[own]
        x = left + half * (1.0 + _NODES[:, None])
        exact = state.density(x, value)
        part = (np.abs(frame.pdf(k, x) - exact) * half * _WEIGHTS[:, None]).sum()
        outside = 1.0 - (exact * half * _WEIGHTS[:, None]).sum()
        worst = max(worst, float(part) + abs(float(outside)))
    return worst


def random_problem(rng):
    """A problem of the paper's training rule with one stationary state that holds its weights."""
    while True:
        omega = 10.0 ** rng.uniform(-0.5, 0.7)
        levels = omega * np.sort(rng.uniform(-1, 1, size=rng.integers(3, 7)))
        quantizer = (
            UniformQuantizer(int(rng.integers(2, 5)), omega, temperature=rng.choice([0.0, 0.1]))
            if rng.random() < 0.7
            else StepQuantizer(levels)
        )
        count = int(rng.integers(1, 4))
        problem = Problem(
            weight_quantizer=quantizer,
            input_quantizer=None if rng.random() < 0.5 else UniformQuantizer(3, 2.0),
            learning_rate=10.0 ** rng.uniform(-2.5, 0),
            ridge=rng.choice([0.0, 0.3, 1.0]),
            noise_variance=10.0 ** rng.uniform(-2, 0.5),
            teacher=Teacher(rng.uniform(-1, 1, size=count), np.full(count, 1 / count)),
            initial=GaussianInitial(rng.uniform(-3, 3), rng.choice([0.0, 0.01, 1.0, 9.0])),
            batch_size=int(rng.choice([1, 4])),
        )
        states = stationary_states(problem)
        if len(states) == 1 and states[0].confined.all() and states[0].generalization_error > 0:
            rate = states[0].relaxation_rate
            # Barriers that take longer than this to cross are no business of a test.
            if rate * problem.learning_rate > 1e-9:
                return problem, states[0], rate


def log_norm(frame, state, problem):
    """ln (∫ (μ − μ_stationary)²/μ_stationary)^½, the largest over teacher values, without TAIL."""
    worst = -math.inf
    for k, value in enumerate(problem.teacher.values.tolist()):
        own = slice(int(frame.first[k]), int(frame.first[k + 1]))
        low, high = frame.quantile(k, np.array([TAIL, 1.0 - TAIL]))
        left, half = frame.left[own], 0.5 * frame.width[own]
        held = (left + 2 * half > low) & (left < high)
        left, half = left[held], half[held]
        x = left + half * (1.0 + _NODES[:, None])
        height = state._conditional(value).log_density(x)
        difference = np.abs(frame.pdf(k, x) - np.exp(height))
        logs = 2 * np.log(np.maximum(difference, 1e-300)) - height
        worst = max(worst, 0.5 * logsumexp(logs, b=half * _WEIGHTS[:, None]))
    return worst


def first_near(problem, state, rate):
    """A time at which the density is near the state, and the logarithm of how near."""
    times = 2.0 ** np.arange(14) / rate
    frames = solve_pde(problem, times, rtol=1e-5).frames
    for time, frame in zip(times, frames, strict=True):
        if distance(frame, state, problem) < NEAR:
            return time, log_norm(frame, state, problem)
    raise AssertionError(f"never near: {distance(frames[-1], state, problem)}")


def check(problem, state, rate):
    begun, near = first_near(problem, state, rate)
    late = begun + (near - math.log(LEFT * RTOL)) / rate
    result = solve_pde(problem, [late, 2.0 * late], rtol=RTOL)
    for i in range(2):
        errors = result.dense_order_parameters.generalization_error
        found = float(result.order_parameters.generalization_error[i])
        assert abs(found - state.generalization_error) <= 10 * RTOL * errors.max()
        assert distance(result.frames[i], state, problem) <= 100 * RTOL


@pytest.mark.parametrize("seed", range(10))
def test_every_start_ends_in_the_stationary_state(seed):
    check(*random_problem(np.random.default_rng([12, seed])))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 200))
def test_every_start_ends_in_the_stationary_state_at_length(seed):
    check(*random_problem(np.random.default_rng([12, seed])))
