"""Every training rule in the limiting particles, against independent figures of the density.

Seeds are fixed; statistical limits are two-sided at 1e-6 a number or wider (|z| < 5). The noise of
coordinates counts as at most twice that of independent ones, as in `compare`.
"""

from __future__ import annotations

import dataclasses
import math
from functools import cached_property

import numpy as np
import pytest
from reference_rules import PROBLEMS, reference

from fpsolve import (
    GaussianInitial,
    ParameterError,
    Problem,
    Schedule,
    Surrogate,
    Teacher,
    UniformQuantizer,
    simulate_sde,
)
from fpsolve.particles.reduction import coordinate_terms
from fpsolve.particles.sde import default_step
from fpsolve.problem.dynamics import Dynamics

TERNARY = UniformQuantizer(2, 1.0)
COLUMNS = ("m", "q", "m_psi", "q_psi", "r_psi", "generalization_error")


def scores(problem, name, *, particles=6_000, seed=1, **options):
    """Differences from the independent density, in standard errors, at 0 < τ ≤ 20."""
    times, table = reference(name)
    known = (times > 0) & (times <= 20)
    result = simulate_sde(
        problem, times[known], particles=particles, seed=seed, dense_times=[0], **options
    )
    w, star = result.weights[0], result.teacher_weights[0]
    labels = result.labels[0]
    terms = coordinate_terms(problem, w, star[None], labels[None])
    out = []
    for column in COLUMNS:
        # Noise within the classes alone: their shares are not left to chance.
        classes = range(problem.teacher.values.size)
        noise = np.mean([terms[column][:, labels == k].var(axis=1) for k in classes], axis=0)
        found = getattr(result.order_parameters, column)[0]
        out.append((found - table[column][known]) / np.sqrt(2 * noise / particles))
    frozen = table["frozen"][known]
    error = np.sqrt(np.maximum(frozen * (1 - frozen), 1e-12) * 2 / particles)
    out.append((result.frozen[0] - frozen) / error)
    return np.array(out)


@pytest.mark.parametrize("name", PROBLEMS)
def test_order_parameters_and_frozen_share_are_those_of_the_density(name):
    assert np.abs(scores(PROBLEMS[name], name)).max() < 5


def test_momentum_is_a_change_of_the_rate():
    slow = dataclasses.replace(PROBLEMS["weight-decay"], learning_rate=0.02, momentum=0.6)
    assert np.abs(scores(slow, "weight-decay")).max() < 5
    fast = dataclasses.replace(slow, momentum=0.0)
    assert np.abs(scores(fast, "weight-decay")).max() > 8


def test_steps_end_on_the_jumps_of_the_rate():
    """A rate that is 1e-9 but for a short while: only there do particles move."""
    problem = dataclasses.replace(
        PROBLEMS["steps"], learning_rate=Schedule.steps([1e-9, 0.5, 1e-9], times=[0.3, 0.31])
    )
    result = simulate_sde(problem, [0.3, 0.31, 5.0], particles=500, seed=1, dense_times=[0])
    before, after, late = result.weights[0]
    assert np.abs(late - after).max() < 1e-6
    assert np.abs(after - before).mean() > 1e-3
    step = 0.5 * (problem.kappa - (problem.sigma2 + problem.ridge) * problem.quantize(before))
    noise = 0.5 * math.sqrt(0.01 * result.order_parameters.generalization_error[0, 0])
    score = (after - before - 0.01 * step) / noise
    assert abs(score.mean()) < 5 / math.sqrt(500)
    assert score.std() == pytest.approx(1, abs=5 / math.sqrt(1000))


def driftless(**rules) -> Problem:
    """w* = κw* = 0 at no ridge, full-precision inputs … the weights hardly move: pure noise."""
    return Problem(
        weight_quantizer=UniformQuantizer(2, 1e-6),
        input_quantizer=None,
        learning_rate=0.5,
        noise_variance=1.0,
        teacher=PROBLEMS["cosine"].teacher.constant(1e-9),
        initial=GaussianInitial(mean=0.2, variance=0.0),
        **rules,
    )


def test_absorbing_walls_catch_what_a_brownian_motion_meets():
    """P(frozen by τ) of Brownian motion from .2 between ±1, by its eigenfunction series."""
    problem = driftless(surrogate=Surrogate(bound=1.0))
    n, times = 20_000, [1.0, 4.0, 10.0]
    result = simulate_sde(problem, times, particles=n, seed=3, dense_times=[0], max_step=0.25)
    k = np.arange(1, 60)
    waves = 2 * np.sin(k * math.pi * 0.6) * (1 - np.cos(k * math.pi)) / (k * math.pi)
    variance = 0.5**2 * 1.0
    for i, tau in enumerate(times):
        decay = np.exp(-0.5 * (k * math.pi / 2) ** 2 * variance * tau)
        frozen = 1 - float(waves @ decay)
        error = math.sqrt(frozen * (1 - frozen) / n)
        assert abs(result.frozen[0, i] - frozen) < 5 * error
    stopped = np.abs(result.weights[0, 0]) > 1
    np.testing.assert_array_equal(np.abs(result.weights[0, 0][stopped]), np.nextafter(1.0, 2.0))
    np.testing.assert_array_equal(result.weights[0, 0][stopped], result.weights[0, 2][stopped])


def test_reflecting_walls_keep_a_brownian_motion_uniform():
    problem = driftless(weight_clip=1.0)
    n = 20_000
    result = simulate_sde(problem, [2.0, 40.0], particles=n, seed=3, dense_times=[0], max_step=0.1)
    early, late = result.weights[0]
    # cos(π(w + 1)/2) is an eigenfunction: it decays as exp(−(π/2)² D τ).
    mean = math.cos(0.6 * math.pi) * math.exp(-((math.pi / 2) ** 2) * 0.125 * 2.0)
    wave = np.cos(0.5 * math.pi * (early + 1))
    assert abs(wave.mean() - mean) < 5 * wave.std() / math.sqrt(n)
    counts = np.histogram(late, bins=20, range=(-1, 1))[0]
    assert counts.sum() == n
    assert ((counts - n / 20) ** 2 / (n / 20)).sum() < 60  # chi-square, 19 degrees: 4e-6


def test_step_shortens_for_walls_and_follows_the_rate():
    plain = PROBLEMS["weight-decay"]
    wall = dataclasses.replace(driftless(), weight_quantizer=None, weight_clip=1e-3)
    spread = math.sqrt(2 * float(wall.diffusivity(1.0)) * default_step(wall, 1.0))
    assert spread == pytest.approx(0.05 * 1e-3, rel=1e-9)
    rate = Schedule.linear(0.05, 0.1, duration=1.0)
    rising = dataclasses.replace(plain, learning_rate=rate)
    assert default_step(rising, 0.0, 0.0) == pytest.approx(2 * default_step(rising, 0.0, 1.0))
    assert default_step(rising, 0.5, 0.0) == pytest.approx(default_step(plain, 0.5))


@pytest.mark.parametrize(
    "rules",
    [
        {"surrogate": Surrogate(slope=0.3), "weight_decay": 0.2, "dampening": 0.2},
        {"surrogate": Surrogate(0.8)},
        {"weight_clip": 0.9, "momentum": 0.5},
        {"learning_rate": Schedule.linear(0.5, 0.1, duration=0.7)},
        {"teacher": Teacher([1.0, 0.6], [0.4, 0.6], [0.5, 1.6])},
    ],
    ids=["leaky", "clipped", "walls", "schedule", "scales"],
)
@pytest.mark.parametrize("temperature", [0.0, 0.3])
def test_one_step_is_drift_and_noise_of_the_right_size(rules, temperature):
    quantizer = UniformQuantizer(2, 1.0, temperature=temperature)
    base = Problem(
        weight_quantizer=quantizer,
        input_quantizer=UniformQuantizer(3, 1.5),
        learning_rate=0.3,
        ridge=0.2,
        noise_variance=0.1,
        teacher=Teacher([-1.0, 0.5], [0.4, 0.6]),
    )
    problem = dataclasses.replace(base, **rules)
    h = 1e-4
    result = simulate_sde(problem, [0, h], particles=50_000, seed=2, max_step=1.0)
    start, end = result.weights[0]
    labels, dynamics = result.labels[0], problem.dynamics
    error = float(result.order_parameters.generalization_error[0, 0])
    drift = dynamics.point_drift(start, dynamics.coordinate(labels), h / 2)
    noise = dynamics.shape(start) * np.sqrt(
        2 * h * dynamics.sigma2[labels] * float(dynamics.diffusivity(h / 2, error))
    )
    still = noise == 0
    np.testing.assert_array_equal(start[still], end[still])
    # Far from walls, where no step meets one.
    reach = 8 * noise.max()
    wall = math.inf if dynamics.walls is None else dynamics.walls.high
    free = ~still & (np.abs(start) < wall - reach)
    z = (end - start - h * drift)[free] / noise[free]
    n = z.size
    assert n > 20_000
    assert abs(z.mean()) * math.sqrt(n) < 5
    assert abs(np.mean(z**2) - 1) * math.sqrt(n / 2) < 5
    assert abs(np.mean(z * start[free])) * math.sqrt(n) < 5


def test_coefficients_of_ones_own_are_refused():
    class Own(Dynamics):
        def offset(self, tau: float = 0.0) -> float:
            return 2 * super().offset(tau)

    class Mine(Problem):
        @cached_property
        def dynamics(self) -> Dynamics:
            return Own(self)

    problem = Mine(weight_quantizer=TERNARY, input_quantizer=None, learning_rate=0.1)
    with pytest.raises(ParameterError, match=r"dynamics = 'Own'.*solve_pde"):
        simulate_sde(problem, [1.0], particles=10)
