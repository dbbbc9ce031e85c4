"""Early stopping and plateaus, on curves whose events are known and on trajectories."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fpsolve import (
    GaussianInitial,
    ParameterError,
    Problem,
    UniformQuantizer,
    find_minimum,
    find_plateau,
    solve_ode,
    solve_pde,
)


def problem(**changes) -> Problem:
    base = {
        "weight_quantizer": UniformQuantizer(3, 1.0),
        "input_quantizer": None,
        "learning_rate": 0.04,
        "ridge": 1.0,
    }
    return Problem(**{**base, **changes})


def test_minimum_of_a_parabola_is_exact_on_any_spacing():
    times = np.array([0.0, 0.7, 1.1, 2.9, 4.0])
    found = find_minimum(times, 0.3 + 2 * (times - 1.4) ** 2)
    assert found.time == pytest.approx(1.4, abs=1e-14)
    assert found.value == pytest.approx(0.3, abs=1e-14)
    assert found.interior
    assert found.gain == pytest.approx(2 * 2.6**2, rel=1e-13)


def test_minimum_converges_at_its_stated_orders():
    # f = e^−τ + τ²/10 has its minimum where e^−τ = τ/5.
    truth = 1.3267246652422
    assert math.exp(-truth) == pytest.approx(truth / 5, abs=1e-12)
    value = math.exp(-truth) + truth**2 / 10
    steps = np.array([0.4, 0.2, 0.1, 0.05])
    errors = []
    for h in steps:
        times = truth + 0.37 * h + h * np.arange(-3, 8)
        found = find_minimum(times, np.exp(-times) + times**2 / 10)
        errors.append((abs(found.time - truth), abs(found.value - value)))
    slopes = np.polyfit(np.log(steps), np.log(np.array(errors)), 1)[0]
    # The third derivative moves the vertex by O(h²) and changes its height by O(h³).
    assert slopes[0] > 1.9
    assert slopes[1] > 2.9


def test_minimum_at_the_ends_is_the_sample():
    times = np.arange(5.0)
    last = find_minimum(times, 1 / (1 + times))
    assert (last.time, last.value, last.interior, last.gain) == (4.0, 0.2, False, 0.0)
    first = find_minimum(times, times)
    assert (first.time, first.value, first.interior) == (0.0, 0.0, True)
    flat = find_minimum(times, np.ones(5))
    assert flat.gain == 0


def test_early_stopping_at_strong_ridge_is_exaggerated_by_the_closure():
    law = problem(weight_quantizer=UniformQuantizer(3, 1.5), ridge=1.5)
    times = np.linspace(0, 600, 601)
    exact = find_minimum(times, solve_pde(law, times).order_parameters.generalization_error)
    closed = find_minimum(times, solve_ode(law, times).order_parameters.generalization_error)
    assert exact.interior
    assert exact.value == pytest.approx(0.365, abs=3e-3)
    assert closed.value == pytest.approx(0.327, abs=3e-3)
    assert exact.final == pytest.approx(0.400, abs=1e-3)


def test_plateau_of_two_logistic_falls():
    times = np.linspace(0, 100, 2001)

    def fall(center):
        return 1 / (1 + np.exp((times - center) / 2.0))

    curve = fall(10) + 2 * fall(70)
    found = find_plateau(times, curve, flatness=0.1)
    # Slopes of the falls are 1/8 and 1/4; below 1/40 where sech²(x/4)/8 = 1/40, sech²/4 = 1/40.
    start = 10 + 4 * math.acosh(math.sqrt(5))
    end = 70 - 4 * math.acosh(math.sqrt(10))
    assert found.start == pytest.approx(start, abs=0.05)
    assert found.end == pytest.approx(end, abs=0.05)
    assert found.value == pytest.approx(2.0, abs=1e-3)


def test_a_curve_that_only_levels_off_has_no_plateau():
    times = np.linspace(0, 20, 201)
    assert find_plateau(times, np.exp(-times)) is None


@pytest.mark.parametrize("omega", [0.5, 1.0])
def test_small_weights_wait_until_they_reach_the_first_threshold(omega):
    # All weights start in the bin of level 0 and drift at ηκ|w*| to Δ/2, spreading as they go:
    # they cross at times of variance τ, so the fall has 0.3 of its steepest slope √(2 ln(1/0.3))
    # deviations before.
    law = problem(
        weight_quantizer=UniformQuantizer(2, omega),
        ridge=0.0,
        learning_rate=0.004,
        initial=GaussianInitial(variance=1e-6),
    )
    crossing = omega / (2 * 0.004)
    expected = crossing - math.sqrt(2 * math.log(1 / 0.3) * crossing)
    times = np.linspace(0, 2 * crossing, 401)
    for solve in (solve_ode, solve_pde):
        error = solve(law, times).order_parameters.generalization_error
        found = find_plateau(times, error)
        assert found.start == 0
        assert found.value == pytest.approx(1.0, abs=1e-6)
        # ε_g falls on the way, and the spreading with it.
        assert found.length == pytest.approx(expected, rel=0.08)


@pytest.mark.parametrize(
    ("times", "error", "field"),
    [
        ([0.0, 1.0], [1.0], "generalization_error"),
        ([0.0, 1.0, 1.0], [1.0, 2.0, 3.0], "times"),
        ([0.0, 1.0], [1.0, math.nan], "generalization_error"),
    ],
)
def test_curves_are_checked(times, error, field):
    with pytest.raises(ParameterError, match=field):
        find_minimum(times, error)
    with pytest.raises(ParameterError, match=field):
        find_plateau(times, error)


def test_plateau_options_are_checked():
    with pytest.raises(ParameterError, match="flatness"):
        find_plateau(np.arange(5.0), np.arange(5.0), flatness=1.0)
    with pytest.raises(ParameterError, match="at least 4"):
        find_plateau([0.0, 1.0, 2.0], [1.0, 1.0, 0.0])
