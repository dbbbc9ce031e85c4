"""The isotropic closure against reference figures, exact solutions, identities and slopes."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from reference_figures import CLOSURE, PROBLEMS
from scipy.integrate import quad, solve_ivp
from scipy.linalg import expm
from scipy.special import ndtr

from fpsolve import (
    GaussianInitial,
    ParameterError,
    Problem,
    Schedule,
    SolveError,
    StepQuantizer,
    Surrogate,
    Teacher,
    UniformQuantizer,
    closure_error,
    macroscopic_rates,
    solve_ode,
)
from fpsolve.macro.closure import Closure, initial_state
from fpsolve.macro.closure_kernel import AVERAGES


def problem(**changes) -> Problem:
    base = {
        "weight_quantizer": UniformQuantizer(3, 1.0),
        "input_quantizer": None,
        "learning_rate": 0.04,
        "ridge": 1.0,
    }
    return Problem(**{**base, **changes})


PAIR = Teacher([-1.0, 0.5], [0.3, 0.7])


@pytest.mark.parametrize("name", sorted(PROBLEMS))
def test_trajectories_agree_with_independent_figures(name):
    figures = CLOSURE[name]
    state = solve_ode(PROBLEMS[name], figures["times"]).order_parameters
    for field in ("m", "q", "m_psi", "q_psi", "r_psi", "generalization_error"):
        # The figures carry eight digits; q reaches 250 where the weights run away.
        tolerance = 1e-6 * max(1.0, *np.abs(figures[field]))
        np.testing.assert_allclose(getattr(state, field), figures[field], rtol=0, atol=tolerance)


@pytest.mark.parametrize("temperature", [0.0, 0.02, 0.3, 2.0])
@pytest.mark.parametrize("v", [0.0025, 0.4])
def test_averages_are_gaussian_integrals(temperature, v):
    quantizer = StepQuantizer([-1.0, -0.2, 0.3, 1.4], [-0.7, 0.1, 0.6], temperature)
    law = problem(weight_quantizer=quantizer, teacher=PAIR)
    m = 0.35
    got = dict(zip(AVERAGES, Closure.of(law).averages(m, v), strict=True))
    expected = {"m_psi": 0.0, "q_psi": 0.0, "pull": 0.0}
    for value, probability in zip(PAIR.values, PAIR.probabilities, strict=True):
        mean = m * value / PAIR.rho

        def average(f, mean=mean):
            breaks = np.sort(np.append(quantizer.thresholds, mean))
            edges = [mean - 10 * v**0.5, *breaks, mean + 10 * v**0.5]
            edges = np.unique(np.clip(edges, edges[0], edges[-1]))

            def integrand(w):
                weight = np.exp(-0.5 * (w - mean) ** 2 / v) / np.sqrt(2 * np.pi * v)
                return weight * f(w, float(quantizer(w)))

            pieces = pairwise(edges)
            return sum(quad(integrand, a, b, epsabs=1e-13, limit=400)[0] for a, b in pieces)

        expected["m_psi"] += probability * value * average(lambda w, psi: psi)
        expected["q_psi"] += probability * average(lambda w, psi: psi**2)
        expected["pull"] += probability * average(lambda w, psi, mean=mean: (w - mean) * psi)
    for name, value in expected.items():
        assert got[name] == pytest.approx(value, abs=2e-11), name


@pytest.mark.parametrize("temperature", [0.0, 0.01, 0.2, 3.0])
@pytest.mark.parametrize("v", [1e-4, 0.3])
def test_jacobian_is_the_derivative_of_the_rates(temperature, v):
    quantizer = UniformQuantizer(3, 1.0, temperature)
    closure = Closure.of(problem(weight_quantizer=quantizer, teacher=PAIR, noise_variance=0.1))
    m = 0.165  # Near a threshold, so that no entry is negligible at the smaller spread.
    jacobian = closure.rates(m, v)[1]
    for column, step in ((0, 1e-5 * v**0.5), (1, 1e-5 * v)):
        shift = np.array([step, 0.0]) if column == 0 else np.array([0.0, step])
        up = closure.rates(m + shift[0], v + shift[1])[0]
        down = closure.rates(m - shift[0], v - shift[1])[0]
        scale = np.abs(jacobian[:, column]).max()
        error = (up - down) / (2 * step) - jacobian[:, column]
        assert np.abs(error).max() <= 1e-6 * scale


@pytest.mark.parametrize("batch_size", [1, 4])
def test_unquantized_weights_follow_the_matrix_exponential(batch_size):
    law = Problem(
        weight_quantizer=None,
        input_quantizer=UniformQuantizer(3, 1.0),
        learning_rate=0.3,
        ridge=0.2,
        noise_variance=0.05,
        teacher=PAIR,
        initial=GaussianInitial(mean=0.4, variance=0.5, overlap=-0.2),
        batch_size=batch_size,
    )
    times = np.array([0.0, 1.0, 10.0, 100.0])
    state = solve_ode(law, times, rtol=1e-11).order_parameters
    eta, kappa, sigma2, rho = law.learning_rate, law.kappa, law.sigma2, law.rho
    pull, kick = sigma2 + law.ridge, eta**2 * law.sigma2 / batch_size
    # Linear in (m, q, 1): paper Eqs. (6)–(7) with m_ψ = m, q_ψ = r_ψ = q.
    matrix = np.array(
        [
            [-eta * pull, 0.0, eta * kappa * rho],
            [
                2 * eta * kappa - 2 * kappa * kick,
                -2 * eta * pull + kick * sigma2,
                kick * (rho + law.noise_variance),
            ],
            [0.0, 0.0, 0.0],
        ]
    )
    mean = PAIR.probabilities @ PAIR.values
    start = [0.4 * mean - 0.2 * rho, 0.5 + 0.16 + 0.04 * rho - 2 * 0.4 * 0.2 * mean, 1.0]
    for index, time in enumerate(times):
        m, q, _ = expm(matrix * time) @ start
        assert state.m[index] == pytest.approx(m, abs=1e-9)
        assert state.q[index] == pytest.approx(q, abs=1e-9)


def test_closure_is_exact_for_unquantized_weights_and_not_for_ternary_ones():
    times = [0.0, 5.0, 20.0]
    exact = closure_error(problem(weight_quantizer=None), times)
    assert exact.stats["largest"] < 1e-6
    ternary = closure_error(problem(weight_quantizer=UniformQuantizer(2, 1.0)), times)
    # At τ = 5: density 1.108, closure 1.217.
    assert ternary.order_parameters.generalization_error[1] == pytest.approx(
        1.108 - 1.217, abs=2e-3
    )
    assert ternary.order_parameters.generalization_error[0] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("temperature", [0.0, 0.1])
def test_order_parameters_obey_the_exact_identities(temperature):
    law = problem(
        weight_quantizer=UniformQuantizer(3, 1.0, temperature), teacher=PAIR, batch_size=3
    )
    h = 0.02
    times = np.array([4 - h, 4.0, 4 + h])
    state = solve_ode(law, times, rtol=1e-12).order_parameters
    dm, dq = macroscopic_rates(law, state)
    assert (state.m[2] - state.m[0]) / (2 * h) == pytest.approx(dm[1], abs=1e-7)
    assert (state.q[2] - state.q[0]) / (2 * h) == pytest.approx(dq[1], abs=1e-7)


def test_error_falls_with_the_tolerance():
    law = problem()
    times = [10.0, 30.0]
    truth = solve_ode(law, times, rtol=1e-13).order_parameters.generalization_error
    tolerances = np.array([1e-4, 1e-6, 1e-8, 1e-10])
    errors = [
        np.abs(solve_ode(law, times, rtol=r).order_parameters.generalization_error - truth).max()
        for r in tolerances
    ]
    # The estimate is of order 3, the method of order 4: error ∝ rtol to 1 for a controller that
    # keeps the error per step, between 3/4 and 4/3 with the step's own length.
    slope = np.polyfit(np.log(tolerances), np.log(errors), 1)[0]
    assert 0.7 < slope < 1.35
    assert errors[2] < 1e-7


def test_small_temperatures_tend_to_sharp_steps():
    times = [0.0, 5.0, 20.0, 60.0]
    sharp = solve_ode(problem(), times).order_parameters.generalization_error
    gaps = []
    for temperature in (1e-2, 1e-3, 1e-4):
        smooth = problem(weight_quantizer=UniformQuantizer(3, 1.0, temperature))
        error = solve_ode(smooth, times).order_parameters.generalization_error
        gaps.append(np.abs(error - sharp).max())
    # ψ_T² differs from ψ² on a width T around each threshold.
    assert gaps[1] / gaps[0] == pytest.approx(0.1, rel=0.2)
    assert gaps[2] / gaps[1] == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("start", [0.0, 1 / 6, 0.3])
def test_zero_initial_variance_grows_as_a_ballistic_kick(start):
    law = problem(initial=GaussianInitial(mean=start, variance=0.0), noise_variance=0.2)
    early = np.array([0.0, 1e-6, 2e-6])
    state = solve_ode(law, early).order_parameters
    level = float(law.weight_quantizer(start))
    error = level**2 - 2 * level + 1.2
    assert state.s[0] == 0
    assert state.generalization_error[0] == pytest.approx(error, abs=1e-14)
    if start != 1 / 6:  # Not on a threshold: v = η² S ε τ, nothing pulls yet.
        np.testing.assert_allclose(state.s[1:] ** 2, 0.04**2 * error * early[1:], rtol=1e-5)
    late = solve_ode(law, [300.0]).order_parameters
    reference = solve_ode(problem(noise_variance=0.2), [300.0]).order_parameters
    assert late.s[0] == pytest.approx(reference.s[0], rel=1e-6)


def test_spread_follows_the_learning_rate_down_to_rounding():
    for eta in (1e-3, 1e-5, 1e-7):
        state = solve_ode(problem(learning_rate=eta), [200 / eta]).order_parameters
        # ds/dη = χ ε*/(2BΔφ(0)) with χ = ½, ε* = 5/18, Δ = ⅓ (p = ½).
        assert state.s[0] / eta == pytest.approx(
            0.5 * (5 / 18) * np.sqrt(2 * np.pi) * 1.5, rel=1e-6
        )


def test_weights_without_teacher_stay_centred():
    law = problem(teacher=Teacher.constant(0.0), noise_variance=0.3)
    state = solve_ode(law, [0.0, 10.0, 100.0]).order_parameters
    assert (state.m == 0).all()
    np.testing.assert_allclose(state.q, state.s**2, rtol=1e-14)
    assert (np.diff(state.generalization_error) < 0).all()
    frozen = replace(law, noise_variance=0.0, initial=GaussianInitial(0.0, 0.0))
    assert (solve_ode(frozen, [0.0, 50.0]).order_parameters.q == 0).all()


def test_runaway_is_ballistic_and_its_error_converges():
    law = problem(weight_quantizer=UniformQuantizer(3, 0.25))
    times = np.array([1e4, 2e4, 1e6])
    state = solve_ode(law, times).order_parameters
    speed = 0.04 * (1 - 2 * 0.25)
    np.testing.assert_allclose(np.diff(state.m) / np.diff(times), speed, rtol=1e-9)
    # No pull is left on the spread: ds²/dτ = η² S ε with ε = (1 − ω)².
    np.testing.assert_allclose(np.diff(state.s**2) / np.diff(times), 0.04**2 * 0.75**2, rtol=1e-6)
    np.testing.assert_allclose(state.generalization_error, 0.75**2, rtol=1e-12)


def test_initial_state_splits_mean_and_spread():
    law = problem(teacher=PAIR, initial=GaussianInitial(mean=0.7, variance=0.2, overlap=0.1))
    m, v = initial_state(law)
    mean = PAIR.probabilities @ PAIR.values
    q = 0.2 + 0.49 + 2 * 0.7 * 0.1 * mean + 0.01 * PAIR.rho
    assert m == pytest.approx(0.7 * mean + 0.1 * PAIR.rho, abs=1e-15)
    assert v == pytest.approx(q - m**2 / PAIR.rho, abs=1e-15)


def test_thousand_levels_behave_as_none():
    times = [0.0, 10.0, 60.0]
    fine = problem(weight_quantizer=UniformQuantizer(10, 8.0))
    got = solve_ode(fine, times).order_parameters.generalization_error
    none = solve_ode(problem(weight_quantizer=None), times).order_parameters.generalization_error
    # Rounding to step Δ adds Δ²/12 to q_ψ, and that to the noise.
    np.testing.assert_allclose(got, none, rtol=0, atol=(8 / 511) ** 2 / 12 * 1.5)


def test_smooth_quantizer_alone_is_a_probit_line():
    # One smoothed sign step has m_ψ = w*(2Φ(m w*/√(ρ² (s² + T²))) − 1) in closed form.
    sign = StepQuantizer([-1.0, 1.0], temperature=0.5)
    averages = Closure.of(problem(weight_quantizer=sign)).averages(0.3, 0.2)
    assert averages[0] == pytest.approx(2 * ndtr(0.3 / np.sqrt(0.2 + 0.25)) - 1, abs=1e-15)


def test_divergence_names_the_boundary():
    law = problem(weight_quantizer=None, learning_rate=5.0)
    with pytest.raises(SolveError, match="learning_rate > 4") as caught:
        solve_ode(law, [1e4])
    assert 0 < caught.value.time < 1e4


@pytest.mark.parametrize("rtol", [0.0, 1e-15, 0.5, "tight"])
def test_tolerance_is_checked(rtol):
    with pytest.raises(ParameterError, match="rtol"):
        solve_ode(problem(), [1.0], rtol=rtol)


# --- scheduled rates, decay, momentum -----------------------------------------------------------


def test_unquantized_weights_under_a_schedule_and_decay_are_solved_in_closed_form():
    # m' = η(κρ − (S + λ + γ) m): an exponential in ∫η; the density is Gaussian, so this is exact.
    rate = Schedule.join(
        [Schedule.linear(0.0, 0.2, duration=3.0), Schedule.steps([0.1, 0.05], times=[4.0])],
        times=[3.0],
    )
    law = Problem(
        weight_quantizer=None,
        input_quantizer=UniformQuantizer(2, 2.0),
        learning_rate=rate,
        ridge=0.3,
        weight_decay=0.4,
        initial=GaussianInitial(variance=0.5, overlap=0.2),
    )
    times = np.array([0.0, 1.0, 3.0, 5.0, 7.0, 12.0])
    area = np.array([0.0, 0.2 / 6, 0.3, 0.5, 0.7, 0.7 + 5 * 0.05])
    found = solve_ode(law, times, rtol=1e-10).order_parameters
    pull = law.sigma2 + 0.3 + 0.4
    goal = law.kappa / pull
    np.testing.assert_allclose(found.m, goal + (0.2 - goal) * np.exp(-pull * area), rtol=1e-7)
    # v' = −2η(S + λ + γ)v + η² S ε, ε = S(v + m²) − 2κm + 1, stretch by stretch.
    v = np.array([0.5])
    for low, high in pairwise([0.0, 3.0, 7.0, 12.0]):

        def slope(t, v, end=high):
            eta = rate(t, before=t >= end)
            m = goal + (0.2 - goal) * np.exp(-pull * exact_area(t))
            error = law.sigma2 * (v + m * m) - 2 * law.kappa * m + 1
            return -2 * eta * pull * v + eta**2 * law.sigma2 * error

        v = solve_ivp(slope, (low, high), v, method="DOP853", rtol=1e-12, atol=1e-14).y[:, -1]
        if high in times:
            assert found.s[times == high] ** 2 == pytest.approx(v, rel=1e-7)


def exact_area(t: float) -> float:
    """∫η of the schedule above."""
    if t <= 3:
        return 0.2 * t**2 / 6
    return 0.3 + 0.1 * min(t - 3, 4) + 0.05 * max(t - 7, 0)


def test_a_schedule_that_does_not_change_is_a_number():
    law = problem()
    times = [0.0, 5.0, 40.0]
    plain = solve_ode(law, times).order_parameters
    scheduled = solve_ode(
        replace(law, learning_rate=Schedule.constant(law.learning_rate)), times
    ).order_parameters
    for name in ("m", "q", "generalization_error"):
        np.testing.assert_allclose(getattr(scheduled, name), getattr(plain, name), rtol=2e-7)


def test_momentum_is_a_larger_rate():
    law = problem()
    fast = replace(law, learning_rate=law.learning_rate / (1 - 0.75), momentum=0.0)
    a = solve_ode(replace(law, momentum=0.75), [30.0]).order_parameters.generalization_error
    b = solve_ode(fast, [30.0]).order_parameters.generalization_error
    np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"surrogate": Surrogate()}, "surrogate"),
        ({"weight_clip": 1.0}, "weight_clip"),
        ({"dampening": 0.1}, "dampening"),
        ({"teacher": Teacher([1.0, 2.0], [0.5, 0.5], [1.0, 2.0])}, "teacher.input_scale"),
        ({"weight_quantizer": UniformQuantizer(2, 1.0, rounding="stochastic")},
         "weight_quantizer.rounding"),
        ({"learning_rate": Schedule.linear(0.1, 0.0, duration=5.0)}, "learning_rate"),
    ],
)  # fmt: skip
def test_rules_without_a_gaussian_closure_are_refused(change, field):
    with pytest.raises(ParameterError) as caught:
        solve_ode(replace(problem(), **change), [0.0, 10.0])
    assert caught.value.field == field
