"""The limiting particles: reproducibility, exact Euler chains, closed forms, the density.

Seeds are fixed; statistical limits are two-sided at 1e-6 per number (|z| < 5) or those of
`compare` (false-alarm rate 1e-4 a comparison, taken at 1e-5 here).
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from closed_forms import exact_density

from fpsolve import (
    GaussianInitial,
    ParameterError,
    Problem,
    StepQuantizer,
    Teacher,
    UniformQuantizer,
    compare,
    simulate_sde,
    solve_pde,
)
from fpsolve.particles import sde
from fpsolve.particles.kernels import SDE_CHUNK
from fpsolve.particles.sde import default_step

TERNARY = UniformQuantizer(bit_width=2, omega=1.0)
QUANTIZED = Problem(
    weight_quantizer=TERNARY,
    input_quantizer=UniformQuantizer(3, 1.5),
    learning_rate=0.3,
    ridge=0.2,
    noise_variance=0.1,
    teacher=Teacher([-1.0, 0.5], [0.4, 0.6]),
)


def test_same_bits_for_any_threads_and_chunks(monkeypatch):
    size = 2 * SDE_CHUNK + 1234  # three chunks, the last one short
    options = {"particles": size, "seed": 4, "max_step": 0.02, "dense_times": [0.1]}
    one = simulate_sde(QUANTIZED, [0.1, 0.2], threads=1, **options)
    two = simulate_sde(QUANTIZED, [0.1, 0.2], threads=2, **options)
    np.testing.assert_array_equal(one.weights, two.weights)
    monkeypatch.setattr(sde, "_WORK", 1)
    three = simulate_sde(QUANTIZED, [0.1, 0.2], runs=2, threads=3, **options)
    np.testing.assert_array_equal(one.weights, three.weights[:1])


def test_one_step_is_drift_and_noise_of_the_right_size():
    h = 0.01  # shorter than max_step: a step never passes a recorded time
    result = simulate_sde(QUANTIZED, [0, h], particles=200_000, seed=2, max_step=1.0)
    start, end = result.weights[0]
    w_star = result.teacher_weights[0]
    error = result.order_parameters.generalization_error[0, 0]
    noise = end - start - h * QUANTIZED.drift(start, w_star)
    variance = 2 * QUANTIZED.diffusivity(error) * h
    z = noise / math.sqrt(variance)
    n = z.size
    assert abs(z.mean()) * math.sqrt(n) < 5
    assert abs(np.mean(z**2) - 1) * math.sqrt(n / 2) < 5
    assert abs(np.mean(z * QUANTIZED.quantize(start))) * math.sqrt(n) < 5
    assert abs(np.mean(z[1:] * z[:-1])) * math.sqrt(n) < 5


@pytest.mark.parametrize("step", [0.05, 0.8])
def test_width_at_a_threshold_is_that_of_the_euler_chain(step):
    """w → w − a h sign(w) + (2 D h)^½ z has E|w| = D/a + a h/2 exactly, with E w² stationary.

    With w* = 0 and levels ±1 the error is ε_g = S + σ² whatever the weights, so D is constant.
    """
    problem = Problem(
        weight_quantizer=StepQuantizer([-1.0, 1.0], [0.0]),
        input_quantizer=None,
        learning_rate=0.5,
        noise_variance=0.6,
        teacher=Teacher.constant(0.0),
        initial=GaussianInitial(variance=0.3),
    )
    a, d = 0.5, 0.5**2 * 1.6 / 2
    result = simulate_sde(
        problem, [40.0], particles=300_000, seed=1, max_step=step, dense_times=[0]
    )
    assert result.order_parameters.generalization_error[0, 0] == pytest.approx(1.6, rel=1e-12)
    size = np.abs(result.weights[0, 0])
    score = (size.mean() - (d / a + a * step / 2)) / (size.std() / math.sqrt(size.size))
    assert abs(score) < 5


def test_default_step_keeps_the_stated_share_of_the_layer():
    coarse = default_step(QUANTIZED, 1.0)
    eta, pull = 0.3, QUANTIZED.sigma2 + 0.2
    fastest = eta * (pull + min(QUANTIZED.kappa, pull))
    share = coarse * fastest**2 / (2 * QUANTIZED.diffusivity(1.0))
    assert share == pytest.approx(0.01, rel=1e-12)
    # Where the noise has gone the bin decides: a displacement of 1e-4 of its width.
    assert default_step(QUANTIZED, 0.0) * fastest / 2 == pytest.approx(1e-4, rel=1e-12)


def test_full_precision_weights_follow_the_closed_form(linear_problem):
    times = [0.0, 1.0, 5.0]
    result = simulate_sde(linear_problem, times, particles=60_000, runs=2, seed=6)
    verdict = compare(exact_density(linear_problem, times), result, false_alarm_rate=1e-5)
    assert verdict.agrees, verdict.table()


def test_particles_follow_the_density():
    times = [0.0, 0.5, 2.0, 10.0]
    result = simulate_sde(QUANTIZED, times, particles=40_000, runs=2, seed=3)
    verdict = compare(solve_pde(QUANTIZED, times), result, false_alarm_rate=1e-5)
    assert verdict.agrees, verdict.table()
    assert result.stats["kind"] == "sde"


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"particles": 0}, "particles"),
        ({"particles": 10, "runs": -1}, "runs"),
        ({"particles": 10, "max_step": 0.0}, "max_step"),
        ({"particles": 10, "seed": 0.5}, "seed"),
        ({"particles": 10, "teacher_assignment": None}, "teacher_assignment"),
    ],
)
def test_bad_arguments_are_named(options, field):
    with pytest.raises(ParameterError) as caught:
        simulate_sde(QUANTIZED, [0, 1], **options)
    assert caught.value.field == field
