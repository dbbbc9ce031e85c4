"""The best schedule of a shape, against the best of all and the finite machine."""

from __future__ import annotations

import math

import pytest
from scipy.integrate import solve_ivp

from fpsolve import (
    GaussianInitial,
    Problem,
    Schedule,
    UniformQuantizer,
    best_schedule,
    simulate_ste,
    solve_pde,
)

# Unquantized, S = κ = 1, λ = 0, w_0 = 0: ε' = −(2η − η²)(ε − σ²) + η²σ².
LINEAR = Problem(
    weight_quantizer=None,
    input_quantizer=None,
    learning_rate=0.1,
    noise_variance=0.2,
    initial=GaussianInitial(variance=0.0),
)
QUANTIZED = Problem(
    weight_quantizer=UniformQuantizer(2, 1.0), input_quantizer=None, learning_rate=0.1, ridge=0.5
)


def test_no_constant_rate_beats_a_fair_schedule() -> None:
    found = best_schedule(QUANTIZED, "cosine", horizon=30.0, bounds=(1e-3, 1.0), evaluations=30)
    assert found.generalization_error < found.constant.value
    assert found.evaluations <= 31
    again = solve_pde(found.problem, [30.0], rtol=1e-6).order_parameters.generalization_error[0]
    assert again == pytest.approx(found.generalization_error, abs=2e-4)
    # The finite machine says so too.
    errors = {}
    for name, problem in (("best", found.problem), ("constant", found.constant.problem)):
        runs = simulate_ste(problem, [30.0], dimension=1500, runs=8, seed=3, dense_times=[30.0])
        values = runs.order_parameters.generalization_error[:, -1]
        errors[name] = values.mean(), values.std(ddof=1) / math.sqrt(8)
    mean, error = errors["best"]
    assert mean == pytest.approx(found.generalization_error, abs=4 * error + 2e-3)
    mean, error = errors["constant"]
    assert mean == pytest.approx(found.constant.value, abs=4 * error + 2e-3)


@pytest.mark.parametrize("shape", ["linear", "exponential", "steps"])
def test_schedules_of_the_linear_model_approach_the_best_of_all(shape: str) -> None:
    # Greedy rates η = ε₀/(ε₀ + σ²), ε₀ = ε − σ², give ε₀' = −ε₀²/(ε₀ + σ²): no schedule is better.
    found = best_schedule(LINEAR, shape, horizon=20.0, bounds=(1e-3, 1.5), evaluations=80)
    best = solve_ivp(lambda t, e: -(e**2) / (e + 0.2), (0, 20.0), [1.0], rtol=1e-10).y[0, -1] + 0.2
    assert best < found.generalization_error < found.constant.value
    assert isinstance(found.schedule, Schedule)
    assert found.generalization_error < best + 0.6 * (found.constant.value - best)
