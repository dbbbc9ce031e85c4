"""How long a target takes, the best rate and the best schedule, against closed forms."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq, minimize_scalar

from fpsolve import (
    GaussianInitial,
    ParameterError,
    Problem,
    UniformQuantizer,
    best_rate,
    best_schedule,
    solve_pde,
    time_to_error,
)

# Unquantized, S = κ = 1, λ = 0, w_0 = 0: ε' = −(2η − η²)(ε − σ²) + η²σ², so that
# ε(τ) = ε* + (1 + σ² − ε*) e^(−(2η − η²)τ), ε* = σ²/(1 − η/2).
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


def linear_error(rate: float, tau: float) -> float:
    rest = 0.2 / (1 - rate / 2)
    return rest + (1.2 - rest) * math.exp(-(2 * rate - rate**2) * tau)


def test_time_to_an_error_of_the_linear_model() -> None:
    expected = brentq(lambda tau: linear_error(0.1, tau) - 0.3, 0.0, 100.0)
    assert time_to_error(LINEAR, 0.3, horizon=40.0) == pytest.approx(expected, rel=1e-6)
    assert time_to_error(LINEAR, 0.2, horizon=100.0) == math.inf
    assert time_to_error(LINEAR, 2.0, horizon=1.0) == 0.0


def test_time_to_an_error_is_when_the_curve_is_there() -> None:
    tau = time_to_error(QUANTIZED, 0.5, horizon=60.0, rtol=1e-6)
    error = solve_pde(QUANTIZED, [tau], rtol=1e-6).order_parameters.generalization_error[0]
    assert error == pytest.approx(0.5, abs=2e-5)


@pytest.mark.parametrize("horizon", [5.0, 30.0])
def test_the_best_constant_rate_of_the_linear_model(horizon: float) -> None:
    found = best_rate(LINEAR, horizon=horizon, bounds=(0.01, 1.5))
    truth = minimize_scalar(
        lambda eta: linear_error(eta, horizon), bounds=(0.01, 1.5), method="bounded",
        options={"xatol": 1e-8},
    )  # fmt: skip
    assert found.value == pytest.approx(truth.fun, rel=1e-5)
    assert found.learning_rate == pytest.approx(truth.x, rel=0.02)


def test_the_rate_that_reaches_a_target_first() -> None:
    found = best_rate(LINEAR, horizon=60.0, bounds=(0.02, 1.5), target=0.3)
    rates = np.linspace(0.02, 0.66, 400)
    rest = 0.2 / (1 - rates / 2)
    times = np.where(
        rest < 0.3,
        np.log((1.2 - rest) / np.maximum(0.3 - rest, 1e-12)) / (2 * rates - rates**2),
        np.inf,
    )
    assert found.value == pytest.approx(times.min(), rel=1e-3)
    with pytest.raises(ParameterError, match="target"):
        best_rate(LINEAR, horizon=1.0, bounds=(0.02, 0.1), target=0.21)


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: time_to_error(LINEAR, 0.0, horizon=1.0), "target"),
        (lambda: time_to_error(LINEAR, 1.0, horizon=0.0), "horizon"),
        (lambda: best_rate(LINEAR, horizon=1.0, bounds=(1.0, 0.5)), "bounds"),
        (lambda: best_rate(LINEAR, horizon=1.0, bounds=(-1.0, 0.5)), "bounds"),
        (lambda: best_rate(LINEAR, horizon=1.0, bounds=0.5), "bounds"),
        (lambda: best_schedule(LINEAR, "sine", horizon=1.0, bounds=(0.1, 0.5)), "shape"),
        (lambda: best_schedule(LINEAR, "cosine", horizon=1.0, bounds=(0.1, 0.5), evaluations=2),
         "evaluations"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_named(call, field: str) -> None:
    with pytest.raises(ParameterError) as caught:
        call()
    assert caught.value.field == field


def test_results_show_themselves_on_one_line() -> None:
    found = best_rate(replace(LINEAR, learning_rate=0.3), horizon=3.0, bounds=(0.1, 0.5))
    assert repr(found).startswith("BestRate(learning_rate=")
    assert "\n" not in repr(found)


@pytest.mark.parametrize(
    ("search", "shape"), [(best_rate, ()), (best_schedule, ("linear",))], ids=["rate", "schedule"]
)
def test_rates_that_all_diverge_are_refused_with_the_boundary(search, shape):
    """2(S + λ)/S² = 2 for full precision (paper Proposition VI.1)."""
    law = Problem(
        weight_quantizer=None, input_quantizer=None, learning_rate=0.1, noise_variance=0.1
    )
    with pytest.raises(ParameterError, match=r"they diverge beyond 2 \(stability_boundary\)"):
        search(law, *shape, horizon=400.0, bounds=(20.0, 40.0))
    assert best_rate(law, horizon=5.0, bounds=(0.2, 1.9)).learning_rate < 2
