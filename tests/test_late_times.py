"""Every start ends in the stationary state once the relaxation rate says that it is late enough.

A run is late by the spectrum, not by the clock: it has first to come near the state, where the
linear theory holds. From there on the operator, symmetric in the norm ∫ g²/μ, contracts every
perturbation g by the rate, and ∫|g| is at most that norm.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logsumexp

from fpsolve import (
    GaussianInitial,
    ParameterError,
    Problem,
    StepQuantizer,
    Surrogate,
    Teacher,
    UniformQuantizer,
    solve_pde,
    stationary_states,
)

RULES = ("decay", "dampening", "surrogate", "clip", "rounding", "momentum", "all")
# Points of a chain, and the share of its rate on which to rely.
POINTS, SHARE = 250, 0.8
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


def chain_rate(problem, state):
    """Slowest rate of the linearized equation, from Markov chains in balance with the state.

    Neighbouring points of a grid exchange mass such that the density is stationary; ε_g couples the
    chains through D. It is right to what the grid resolves.
    """
    dynamics, error, parts = problem.dynamics, state.generalization_error, []
    for k in range(dynamics.w_star.size):
        wide = np.linspace(-60.0, 60.0, 60_001)
        if dynamics.walls is not None:
            wide = np.linspace(dynamics.walls.low, dynamics.walls.high, 60_001)
        log = log_density(state, k, wide)
        held = wide[log > log.max() - 25.0]
        x, gap = np.linspace(held[0], held[-1], POINTS, retstep=True)
        log = log_density(state, k, x)
        heat = float(dynamics.diffusivity(0.0, error)) * dynamics.sigma2[k]
        pace = heat * dynamics.shape(0.5 * (x[1:] + x[:-1])) ** 2 / gap**2
        up, down = (pace * np.exp(s * 0.5 * np.diff(log)) for s in (1.0, -1.0))
        chain = np.diag(up, -1) + np.diag(down, 1)
        chain -= np.diag(chain.sum(axis=0))
        density = np.exp(log - logsumexp(log, b=gap))
        flux = np.diff(heat / error * dynamics.shape(x) ** 2 * density) / gap**2
        spread = np.diff(np.concatenate([[0.0], flux, [0.0]])) * gap
        loss = dynamics.probability[k] * dynamics.fields(x, dynamics.bins(x), k).functionals[0]
        parts.append((chain, spread, loss))
    whole = np.zeros((len(parts) * POINTS,) * 2)
    for i, (chain, _, _) in enumerate(parts):
        own = slice(i * POINTS, (i + 1) * POINTS)
        whole[own, own] = chain
    whole += np.outer(*(np.concatenate([part[i] for part in parts]) for i in (1, 2)))
    found = np.sort(np.linalg.eigvals(whole).real)[::-1]
    return -found[len(parts)]


def log_density(state, k, x):
    value = state.problem.teacher.values[k]
    held = state._held(k) if hasattr(state, "_held") else state._conditional(float(value))
    return held.log_density(x)


def random_rules(rng, rule):
    """A problem with one stationary state under a training rule, or several."""
    every = rule == "all"
    while True:
        omega, change = 10.0 ** rng.uniform(-0.5, 0.7), {}
        if rule == "decay" or every:
            change["weight_decay"] = 10.0 ** rng.uniform(-2, 0)
        if rule == "dampening" or (every and rng.random() < 0.5):
            change["dampening"] = 10.0 ** rng.uniform(-2, -0.7)
        if rule == "surrogate" or every:
            change["surrogate"] = Surrogate(slope=rng.uniform(0.2, 0.9))
        if rule == "clip" or every:
            change["weight_clip"] = omega * rng.uniform(0.8, 3.0)
        if rule == "momentum" or every:
            change["momentum"] = rng.uniform(0.0, 0.9)
        rounding = "stochastic" if rule == "rounding" else "nearest"
        count = int(rng.integers(1, 3))
        problem = Problem(
            weight_quantizer=UniformQuantizer(int(rng.integers(2, 4)), omega, rounding=rounding),
            input_quantizer=None if rng.random() < 0.5 else UniformQuantizer(3, 2.0),
            learning_rate=10.0 ** rng.uniform(-1.5, -0.3),
            ridge=rng.choice([0.0, 0.3, 1.0]),
            noise_variance=10.0 ** rng.uniform(-1, 0.5),
            teacher=Teacher(rng.uniform(-1, 1, size=count), np.full(count, 1 / count)),
            initial=GaussianInitial(rng.uniform(-3, 3), rng.choice([0.01, 1.0, 9.0])),
        )
        try:
            problem = replace(problem, **change)
            states = stationary_states(problem)
        except ParameterError:
            continue
        if len(states) == 1 and states[0].confined.all():
            rate = chain_rate(problem, states[0])
            if rate * problem.learning_rate > 1e-7:
                return problem, states[0], SHARE * rate


def log_norm(frame, state):
    """ln (∫ (μ − μ_stationary)²/μ_stationary)^½, the largest over teacher values, without TAIL."""
    worst = -math.inf
    for k in range(frame.count):
        own = slice(int(frame.first[k]), int(frame.first[k + 1]))
        low, high = frame.quantile(k, np.array([TAIL, 1.0 - TAIL]))
        left, half = frame.left[own], 0.5 * frame.width[own]
        held = (left + 2 * half > low) & (left < high)
        left, half = left[held], half[held]
        x = left + half * (1.0 + _NODES[:, None])
        height = log_density(state, k, x)
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
            return time, log_norm(frame, state)
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


def test_chains_relax_as_the_operator_does():
    for seed in range(4):
        rng = np.random.default_rng([12, RULES.index("momentum"), seed])
        _, state, rate = random_rules(rng, "momentum")
        np.testing.assert_allclose(rate / SHARE, state.relaxation_rate, rtol=0.1)


@pytest.mark.parametrize("rule", RULES)
def test_every_start_ends_in_the_stationary_state_of_its_rules(rule):
    check(*random_rules(np.random.default_rng([12, RULES.index(rule)]), rule))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 30))
@pytest.mark.parametrize("rule", RULES)
def test_every_start_ends_in_the_stationary_state_of_its_rules_at_length(rule, seed):
    check(*random_rules(np.random.default_rng([12, RULES.index(rule), seed]), rule))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 200))
def test_every_start_ends_in_the_stationary_state_at_length(seed):
    check(*random_problem(np.random.default_rng([12, seed])))
