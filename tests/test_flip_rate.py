"""How often weights change their level: closed forms, identities, and counting."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from fpsolve import (
    GaussianInitial,
    ParameterError,
    Problem,
    StepQuantizer,
    Teacher,
    UniformQuantizer,
    flip_rate,
    simulate_ste,
    solve_pde,
    stationary_states,
)
from fpsolve.studies.flip_rate import _mean_root

BASE = Problem(
    weight_quantizer=UniformQuantizer(2, 1.0),
    input_quantizer=None,
    learning_rate=0.04,
    teacher=Teacher.constant(0.3),
)


def test_at_the_start_it_is_the_gaussian_density_times_the_mean_step() -> None:
    found = flip_rate(solve_pde(BASE, [0.0]), 900, by_threshold=True)
    # N(0, 1) at ±½; ε_g = E ψ² + .09 with Φ(−½) = 0.30853753872598690 on either side.
    error = 2 * 0.3085375387259869 + 0.09
    density = math.exp(-0.125) / math.sqrt(2 * math.pi)
    step = 0.04 * (2 / math.pi) * math.sqrt(error / 900)
    np.testing.assert_allclose(found, [[density * step] * 2], rtol=1e-7)
    np.testing.assert_allclose(flip_rate(solve_pde(BASE, [0.0]), 900), [2 * density * step])


@pytest.mark.parametrize("rate", [0.01, 0.0025])
def test_small_rates_leave_oscillation_as_it_is(rate: float) -> None:
    # (4/π)Δp(1 − p)/(ε d)^½ with Δ = 1, c = w* = .3 between the levels 0 and 1, ε = p(1 − p).
    problem = replace(BASE, learning_rate=rate, initial=GaussianInitial(mean=0.5, variance=1e-3))
    late = solve_pde(problem, [4 / rate], rtol=1e-6)
    (state,) = stationary_states(problem)
    expected = 4 / math.pi * 0.21 / math.sqrt(0.21 * 900)
    assert flip_rate(late, 900)[0] == pytest.approx(expected, rel=0.5 * rate)
    # And at any rate from the stationary density itself.
    step = rate * (2 / math.pi) * math.sqrt(state.generalization_error / 900)
    exact = step * float(state.density(np.array([-0.5, 0.5]), 0.3).sum())
    assert flip_rate(late, 900)[0] == pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_gaussian_batches_have_the_mean_of_a_chi_variable(batch: int) -> None:
    expected = math.sqrt(2) * math.gamma((batch + 1) / 2) / math.gamma(batch / 2)
    assert _mean_root(replace(BASE, batch_size=batch), 1.0) == pytest.approx(expected, rel=1e-7)
    assert _mean_root(replace(BASE, batch_size=batch), 0.5) == pytest.approx(expected / 2, rel=1e-7)


def test_momentum_weighs_earlier_inputs() -> None:
    # Sign inputs: Y is no longer random, Σβ^(2j) = 1/(1 − β²).
    problem = replace(BASE, input_quantizer=StepQuantizer([-1.0, 1.0]), momentum=0.6)
    assert _mean_root(problem, 1.0) == pytest.approx((1 - 0.36) ** -0.5, rel=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"input_quantizer": UniformQuantizer(2, 2.0), "batch_size": 3, "ridge": 0.3},
        {"momentum": 0.5},
    ],
    ids=["plain", "batches", "momentum"],
)
def test_it_is_what_the_machine_does(change) -> None:
    problem = replace(BASE, learning_rate=0.2, **change)
    # Momentum is an exact change of rate in the limit.
    limit = replace(problem, momentum=0.0, learning_rate=0.2 / (1 - problem.momentum))
    times = np.linspace(2.0, 6.0, 17)
    solved = solve_pde(limit, times, rtol=1e-5)
    solved = replace(solved, problem=problem)
    expected = np.trapezoid(flip_rate(solved, 1500, by_threshold=True), times, axis=0) / 4
    ste = simulate_ste(
        problem,
        [2.0, 6.0],
        dimension=1500,
        runs=6,
        seed=5,
        count_flips=True,
        dense_times=[2.0, 6.0],
    )
    counted = ste.flip_rate[:, -1]
    error = counted.std(axis=0, ddof=1) / math.sqrt(6)
    assert (np.abs(counted.mean(axis=0) - expected) < 4 * error + 0.02 * expected).all()


def test_each_threshold_is_passed_as_often_as_the_density_says() -> None:
    """Counted at d = 225 and 900 and extrapolated in d^-1/2, against the exact stationary state.

    Twenty times as many weights stand at one threshold as at the other. Weights come to the rare
    one in long excursions: from run to run its count varies by 4 %, two hundred times more than
    independent passages would, so that a single short run is easily off by a quarter. The limit is
    5 standard errors over the runs; a formula or a count that is off by 25 % at the rare threshold,
    or by 5 % at the other, would be seen with a probability above 95 %.
    """
    rate = 0.5
    problem = replace(
        BASE, learning_rate=rate, ridge=0.5, noise_variance=1.0, teacher=Teacher.constant(1.0)
    )
    (state,) = stationary_states(problem)
    density = state.density(problem.weight_quantizer.thresholds, 1.0)
    expected = density * rate * 2 / math.pi * math.sqrt(state.generalization_error)
    assert expected[1] > 15 * expected[0]
    mean, error = {}, {}
    for d, runs in ((225, 24), (900, 10)):
        ste = simulate_ste(
            problem, [30, 80], dimension=d, runs=runs, seed=7, count_flips=True,
            dense_times=[30, 80],
        )  # fmt: skip
        counted = ste.flip_rate[:, 0] * math.sqrt(d) / expected
        mean[d] = counted.mean(axis=0)
        error[d] = counted.std(axis=0, ddof=1) / math.sqrt(runs)
    limit = 2 * mean[900] - mean[225]
    noise = np.sqrt(4 * error[900] ** 2 + error[225] ** 2)
    assert (np.abs(limit - 1) < 5 * noise).all()
    assert ((5 + 1.65) * noise < [0.25, 0.05]).all()


def test_what_has_no_thresholds_is_refused() -> None:
    smooth = replace(BASE, weight_quantizer=UniformQuantizer(2, 1.0, 0.2))
    with pytest.raises(ParameterError, match="thresholds"):
        flip_rate(solve_pde(smooth, [0.0]), 100)
    with pytest.raises(ParameterError, match="dimension"):
        flip_rate(solve_pde(BASE, [0.0]), 0)
