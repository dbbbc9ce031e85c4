"""Every training rule in the finite machine: its update, moments of a step, order parameters.

Seeds are fixed; statistical limits are two-sided at 1e-6 a number or wider (|z| < 5). Standard
errors of means over coordinates count the coordinates of a run as dependent: at most twice the
variance of independent ones, as `compare` does.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from plain_ste import plain_ste
from reference_rules import PROBLEMS, reference

from fpsolve import (
    GaussianInitial,
    Problem,
    Schedule,
    Surrogate,
    Teacher,
    UniformQuantizer,
    simulate_ste,
)
from fpsolve.particles.reduction import coordinate_terms
from fpsolve.particles.streams import run_streams

TERNARY = UniformQuantizer(2, 1.0)
PLAIN = Problem(
    weight_quantizer=TERNARY,
    input_quantizer=UniformQuantizer(3, 1.5),
    learning_rate=0.3,
    ridge=0.2,
    noise_variance=0.4,
    teacher=Teacher([-1.0, 0.5], [0.3, 0.7]),
    batch_size=2,
)
RANDOM = UniformQuantizer(3, 1.0, rounding="stochastic")
RULES = {
    "cosine": {"learning_rate": Schedule.cosine(0.5, 0.1, duration=0.7)},
    "steps": {"learning_rate": Schedule.steps([0.5, 0.1], times=[0.4])},
    "clipped": {"surrogate": Surrogate(0.8)},
    "leaky": {"surrogate": Surrogate(slope=0.3)},
    "triangular": {"surrogate": Surrogate.triangular(1.5)},
    "decay": {"weight_decay": 0.7},
    "clip": {"weight_clip": 0.9},
    "dampening": {"dampening": 0.3},
    "momentum": {"momentum": 0.8},
    "stochastic": {"weight_quantizer": RANDOM},
    "scales": {"teacher": Teacher([1.0, 1.0, 0.6], [0.3, 0.3, 0.4], [0.5, 1.0, 1.6])},
    "many": {
        "learning_rate": Schedule.linear(0.5, 0.1, duration=0.7),
        "surrogate": Surrogate(slope=0.4),
        "weight_decay": 0.2,
        "weight_clip": 1.4,
        "dampening": 0.2,
        "momentum": 0.5,
        "teacher": Teacher([1.0, -0.6], [0.5, 0.5], [0.7, 1.2]),
        "input_distribution": "uniform",
    },
    "random and heavy": {
        "weight_quantizer": RANDOM,
        "momentum": 0.6,
        "weight_clip": 1.1,
        "surrogate": Surrogate(slope=0.1),
        "batch_size": 1,
        "teacher": Teacher.constant(1.0),
    },
}


# Rules whose weights may be rounded by a smooth quantizer.
SMOOTH = [rule for rule in RULES if "weight_quantizer" not in RULES[rule]]


@pytest.mark.parametrize(
    ("rule", "dimension", "temperature"),
    [(rule, d, 0.0) for rule in RULES for d in (37, 600)] + [(rule, 37, 0.3) for rule in SMOOTH],
)
def test_the_update_is_the_theorys(rule, dimension, temperature):
    problem = dataclasses.replace(PLAIN, **RULES[rule])
    if temperature > 0:
        smooth = UniformQuantizer(2, 1.0, temperature=temperature)
        problem = dataclasses.replace(problem, weight_quantizer=smooth)
    steps = 30 if dimension == 37 else 5
    result = simulate_ste(problem, [0, steps / dimension], dimension=dimension, runs=2, seed=9)
    for run in range(2):
        start, end = result.weights[run]
        scale = problem.teacher.input_scale[result.labels[run]]
        star = result.teacher_weights[run]
        expected = plain_ste(problem, start, star, scale, steps, run_streams(9, run))
        np.testing.assert_allclose(end, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("rule", ["leaky", "triangular", "dampening", "stochastic", "scales"])
def test_moments_of_one_step_are_drift_and_diffusion(rule):
    """E Δw = a/d exactly; Var Δw = 2h²D/d up to O(d^-2): Lemmas III.2 and III.3 with the rule."""
    problem = dataclasses.replace(PLAIN, **RULES[rule])
    d, runs = 120, 2500
    result = simulate_ste(
        problem, [0, 1 / d], dimension=d, runs=runs, seed=3, shared_initial=True, dense_times=[0]
    )
    w, labels, dynamics = result.weights[0, 0], result.labels[0], problem.dynamics
    step = result.weights[:, 1] - w
    mean = dynamics.point_drift(w, dynamics.coordinate(labels)) / d
    h = dynamics.shape(w)
    assert (step[:, h == 0] == 0).all()
    score = (step.mean(0) - mean)[h > 0] / (step.std(0) / math.sqrt(runs))[h > 0]
    assert np.abs(score).max() < 5
    error = result.order_parameters.generalization_error[0, 0]
    variance = 2 * h**2 * dynamics.sigma2[labels] * float(dynamics.diffusivity(0.0, error)) / d
    # All coordinates share the residual, whose square has a relative variance of 2 a run.
    allowed = 5 * math.sqrt(2 / runs) + 4 / d
    for group in (h == 1, (h < 1) & (h > 0)):
        if group.sum() > 20:
            ratio = step.var(0)[group] / variance[group]
            assert ratio.mean() == pytest.approx(1, abs=allowed)


def scores(problem, name, *, dimension=700, runs=6, seed=1):
    """Differences from the independent density, in standard errors, at τ > 0."""
    times, table = reference(name)
    known = times <= 40
    times = times[known]
    result = simulate_ste(
        problem, times, dimension=dimension, runs=runs, seed=seed, dense_times=[0]
    )
    terms = coordinate_terms(
        problem, result.weights, result.teacher_weights[:, None], result.labels[:, None]
    )
    out = []
    for column in ("m", "q", "m_psi", "q_psi", "r_psi", "generalization_error"):
        found = getattr(result.order_parameters, column).mean(axis=0)
        # Noise within the classes alone: their shares are not left to chance.
        noise = np.mean(
            [
                [terms[column][run, i][result.labels[run] == k].var() for i in range(times.size)]
                for k in range(problem.teacher.values.size)
                for run in range(runs)
            ],
            axis=0,
        )
        error = np.sqrt(2 * noise / (runs * dimension))
        out.append((found - table[column][known])[1:] / error[1:])
    return np.array(out), result


# The cosine against its mean; the others without the rule.
WITHOUT = {
    "cosine": {"learning_rate": 0.045},
    "steps": {"learning_rate": 0.08},
    "weight-decay": {"weight_decay": 0.0},
    "stochastic-rounding": {"weight_quantizer": TERNARY},
    "input-scales": {"teacher": Teacher([1.0, 0.6], [2 / 3, 1 / 3])},
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_order_parameters_are_those_of_the_density(name):
    """About 200 numbers in all: a false alarm in one of 10⁴ choices of seeds."""
    found, _ = scores(PROBLEMS[name], name)
    assert np.abs(found).max() < 5


@pytest.mark.parametrize("name", WITHOUT)
def test_without_its_rule_it_is_another_problem(name):
    """Walls and surrogates of the reference touch too few weights: theirs is another test."""
    other = dataclasses.replace(PROBLEMS[name], **WITHOUT[name])
    found, _ = scores(other, name)
    assert np.abs(found).max() > 8


def test_momentum_is_a_change_of_the_rate():
    """β = .6 at .4 of the rate, against the same density; at the full rate it is another."""
    slow = dataclasses.replace(PROBLEMS["weight-decay"], learning_rate=0.02, momentum=0.6)
    assert np.abs(scores(slow, "weight-decay")[0]).max() < 5
    fast = dataclasses.replace(slow, momentum=0.0)
    assert np.abs(scores(fast, "weight-decay")[0]).max() > 8


def test_frozen_share_is_that_of_the_density():
    """A walk oversteps the wall, so the share approaches the limit's like d^-1/2, from below."""
    problem = PROBLEMS["clipped-ste"]
    times, table = reference("clipped-ste")
    share = {}
    for d, runs in ((400, 60), (1600, 15)):
        result = simulate_ste(problem, times[:4], dimension=d, runs=runs, seed=2, dense_times=[0])
        share[d] = result.frozen[:, -1]
        # A frozen weight stays where it is.
        still = np.abs(result.weights[:, 1]) > 1
        np.testing.assert_array_equal(result.weights[:, 3][still], result.weights[:, 1][still])
    limit = 2 * share[1600].mean() - share[400].mean()
    error = math.sqrt(
        4 * share[1600].var(ddof=1) / share[1600].size + share[400].var(ddof=1) / share[400].size
    )
    assert abs(limit - table["frozen"][3]) < 5 * error
    assert error < 0.2 * table["frozen"][3]


def test_initial_weights_beyond_the_walls_sit_on_them():
    problem = dataclasses.replace(
        PROBLEMS["weight-clip"], initial=GaussianInitial(variance=1.0), weight_clip=0.9
    )
    result = simulate_ste(problem, [0, 1.0], dimension=5000, seed=1)
    start, end = result.weights[0]
    free = simulate_ste(
        dataclasses.replace(problem, weight_clip=None), [0], dimension=5000, seed=1
    ).weights[0, 0]
    np.testing.assert_array_equal(start, np.clip(free, -0.9, 0.9))
    assert np.mean(np.abs(start) == 0.9) > 0.3
    assert np.abs(end).max() <= 0.9
    # They leave at once: what is still on a wall arrived with the last steps.
    assert np.mean(np.abs(end) == 0.9) < 0.02


def test_flips_are_counted_as_they_happen():
    """Twenty steps, each kept: thresholds between the levels before and after it."""
    d, steps = 300, 20
    problem = dataclasses.replace(PLAIN, weight_quantizer=UniformQuantizer(4, 1.0))
    times = np.arange(steps + 1) / d
    result = simulate_ste(
        problem, times, dimension=d, runs=2, seed=4, dense_times=times[::4], count_flips=True
    )
    above = result.weights[..., None] >= problem.weight_quantizer.thresholds
    passed = (above[:, 1:] != above[:, :-1]).sum(axis=2)
    expected = np.concatenate([0 * passed[:, :1], passed.cumsum(axis=1)], axis=1)
    np.testing.assert_array_equal(result.flip_counts, expected[:, ::4])
    assert result.flip_counts[:, -1].sum() > 20
    rate = np.diff(expected[:, ::4], axis=1) / (4 * d)
    np.testing.assert_allclose(result.flip_rate, rate, rtol=1e-12)
    silent = simulate_ste(problem, times, dimension=d, runs=2, seed=4, dense_times=times[::4])
    np.testing.assert_array_equal(silent.weights, result.weights)
