"""Fixed points of the closure: closed forms, late dynamics, eigenvalues, coexistence."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from reference_figures import PROBLEMS
from scipy.special import ndtri

from fpsolve import (
    GaussianInitial,
    ParameterError,
    Problem,
    StepQuantizer,
    Surrogate,
    Teacher,
    UniformQuantizer,
    isotropic_fixed_points,
    macroscopic_rates,
    small_rate_limit,
    solve_ode,
    solve_pde,
    stability_boundary,
    stationary_states,
)
from fpsolve.macro.closure import closure_order_parameters


def problem(**changes) -> Problem:
    base = {
        "weight_quantizer": UniformQuantizer(3, 1.0),
        "input_quantizer": None,
        "learning_rate": 0.04,
        "ridge": 1.0,
    }
    return Problem(**{**base, **changes})


# Three fixed points: a fine step near 0 inside a coarse one.
UNEQUAL = problem(
    weight_quantizer=StepQuantizer([-3.0, -0.2, 0.2, 3.0], [-1.0, 0.0, 1.0]),
    teacher=Teacher.constant(0.0),
    learning_rate=1.5,
    ridge=0.0,
)


@pytest.mark.parametrize("name", sorted(set(PROBLEMS) - {"fig3-w0.25"}))
def test_fixed_point_is_where_the_dynamics_end(name):
    (point,) = isotropic_fixed_points(PROBLEMS[name])
    state = solve_ode(PROBLEMS[name], [5e3], rtol=1e-10).order_parameters
    assert point.m == pytest.approx(state.m[0], abs=1e-9)
    assert point.s == pytest.approx(state.s[0], abs=1e-9)
    assert point.generalization_error == pytest.approx(state.generalization_error[0], abs=1e-9)
    assert point.stable


@pytest.mark.parametrize("name", ["fig1-lam0", "fig3-w1.5", "two-teachers"])
@pytest.mark.parametrize("temperature", [0.0, 0.1])
def test_rates_vanish_and_eigenvalues_are_those_of_finite_differences(name, temperature):
    base = PROBLEMS[name]
    quantizer = base.weight_quantizer
    smooth = UniformQuantizer(quantizer.bit_width, quantizer.omega, temperature)
    law = Problem(
        weight_quantizer=smooth,
        input_quantizer=base.input_quantizer,
        learning_rate=base.learning_rate,
        ridge=base.ridge,
        teacher=base.teacher,
        noise_variance=base.noise_variance,
    )
    (point,) = isotropic_fixed_points(law)

    def rates(m: float, q: float) -> np.ndarray:
        v = np.array([q - m**2 / law.rho])
        return np.concatenate(
            macroscopic_rates(law, closure_order_parameters(law, np.array([m]), v))
        )

    assert np.abs(rates(point.m, point.q)).max() < 1e-13
    h = 1e-4 * point.s**2
    columns = [
        (rates(point.m + dm, point.q + dq) - rates(point.m - dm, point.q - dq)) / (2 * h)
        for dm, dq in ((h, 0.0), (0.0, h))
    ]
    expected = np.linalg.eigvals(np.column_stack(columns))
    expected = expected[np.argsort(-expected.real, kind="stable")]
    np.testing.assert_allclose(
        np.sort_complex(point.eigenvalues), np.sort_complex(expected), rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("teacher", [Teacher.constant(2.0), Teacher([-1.0, 0.5], [0.5, 0.5])])
def test_input_only_closed_form_has_rho(teacher):
    law = problem(
        weight_quantizer=None,
        input_quantizer=UniformQuantizer(2, 1.0),
        teacher=teacher,
        noise_variance=0.1,
        learning_rate=0.4,
        ridge=0.3,
    )
    (point,) = isotropic_fixed_points(law)
    kappa, sigma2, eta, rho = 0.704131, 0.617075, 0.4, teacher.rho
    pull = sigma2 + 0.3
    numerator = 2 * rho * kappa**2 + eta * sigma2 * ((rho + 0.1) * pull - 2 * rho * kappa**2)
    expected = numerator / (pull * (2 * pull - eta * sigma2**2))
    # κ and S are known to six digits here.
    assert point.q == pytest.approx(expected, rel=5e-6)
    assert point.m == pytest.approx(rho * kappa / pull, rel=5e-6)
    late = solve_ode(law, [400.0]).order_parameters
    assert point.q == pytest.approx(late.q[0], rel=1e-8)
    eigenvalues = [-eta * pull, -2 * eta * pull + eta**2 * sigma2**2]
    np.testing.assert_allclose(point.eigenvalues.real, eigenvalues, rtol=5e-6)
    # With κ² in place of ρκ², as printed in Proposition VI.1, it is off by far more.
    printed = 2 * kappa**2 + eta * sigma2 * ((rho + 0.1) * pull - 2 * kappa**2)
    assert abs(printed / (pull * (2 * pull - eta * sigma2**2)) - late.q[0]) > 0.1


def test_noiseless_input_only_error_and_its_divergence():
    inputs = UniformQuantizer(3, 1.0)
    law = problem(weight_quantizer=None, input_quantizer=inputs, ridge=0.0, learning_rate=0.5)
    (point,) = isotropic_fixed_points(law)
    kappa, sigma2 = 0.684945, 0.526905
    expected = (1 - kappa**2 / sigma2) / (1 - 0.5 * sigma2 / 2)
    assert point.generalization_error == pytest.approx(expected, rel=1e-5)
    beyond = problem(
        weight_quantizer=None, input_quantizer=inputs, ridge=0.0, learning_rate=2.01 / sigma2
    )
    assert isotropic_fixed_points(beyond) == ()
    assert stationary_states(beyond) == ()


@pytest.mark.parametrize(("bits", "expected"), [(2, 2.747), (3, 1.742), (4, 1.947), (10, 2.000)])
def test_stability_boundary_is_not_monotone_in_bits(bits, expected):
    law = problem(input_quantizer=UniformQuantizer(bits, 4.0), ridge=0.0)
    assert stability_boundary(law) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize("decay", [0.0, 0.2])
def test_stability_boundary_of_several_input_scales(decay):
    """Where the variances of three classes, written down from the equation, stop decaying."""
    scales, shares = np.array([0.5, 1.0, 2.0]), np.array([0.5, 0.3, 0.2])
    law = problem(
        weight_quantizer=None,
        input_quantizer=None,
        ridge=0.1,
        batch_size=2,
        weight_decay=decay,
        teacher=Teacher([1.0, 1.0, -1.0], shares, input_scale=scales),
    )
    square = scales**2  # S_k of full-precision inputs

    def growth(rate):
        matrix = rate**2 / 2 * np.outer(square, shares * square)
        matrix -= np.diag(2 * rate * (square + 0.1 + decay))
        return np.linalg.eigvals(matrix).real.max()

    edge = stability_boundary(law)
    assert growth(0.999 * edge) < 0 < growth(1.001 * edge)
    # The densities themselves: noise keeps ε_g above 0, and it settles or does not.
    late = [
        solve_pde(replace(law, learning_rate=share * edge), [10.0, 20.0]).order_parameters
        for share in (0.7, 1.3)
    ]
    settled, grown = (o.generalization_error[1] / o.generalization_error[0] for o in late)
    assert settled < 1.05
    assert grown > 2


@pytest.mark.parametrize(
    "rule", [{"weight_clip": 2.0}, {"surrogate": Surrogate(1.0, 0.5)}, {"dampening": 0.1}]
)
def test_stability_boundary_refuses_rules_that_hold_weights(rule):
    with pytest.raises(ParameterError, match="nothing stability_boundary can take"):
        stability_boundary(problem(**rule))


@pytest.mark.parametrize("batch_size", [1, 5])
def test_boundary_is_where_the_unquantized_fixed_point_turns_unstable(batch_size):
    law = problem(weight_quantizer=None, ridge=0.3, batch_size=batch_size)
    edge = stability_boundary(law)
    assert edge == pytest.approx(2 * batch_size * 1.3, rel=1e-14)
    lossless = {"weight_quantizer": None, "ridge": 0.0, "batch_size": batch_size}
    verdicts = [
        isotropic_fixed_points(problem(learning_rate=2 * batch_size * share, **lossless))[0]
        for share in (0.999, 1.0, 1.001)
    ]
    assert [v.classification for v in verdicts] == ["stable", "marginal", "unstable"]


def test_runaway_has_no_fixed_point():
    assert isotropic_fixed_points(problem(weight_quantizer=UniformQuantizer(3, 0.25))) == ()


@pytest.mark.parametrize(
    ("omega", "bits", "ridge"), [(1.0, 3, 1.0), (1.0, 2, 0.5), (0.8, 3, 0.3), (1.0, 4, 1.0)]
)
def test_spread_is_proportional_to_the_rate_between_levels(omega, bits, ridge):
    rates = np.array([1e-3, 1e-4, 1e-5])
    spreads = []
    for eta in rates:
        law = problem(
            weight_quantizer=UniformQuantizer(bits, omega), ridge=ridge, learning_rate=eta
        )
        (point,) = isotropic_fixed_points(law)
        spreads.append(point.s)
    assert np.polyfit(np.log(rates), np.log(spreads), 1)[0] == pytest.approx(1.0, abs=1e-6)
    # Proposition V.7 with the factor ε_g^(0) it lacks in print, written out afresh.
    c, step = 1 / (1 + ridge), omega / (2 ** (bits - 1) - 1)
    p = (c + omega) / step % 1
    error = 1 - 2 * c + c**2 + step**2 * p * (1 - p)
    slope = c * error / (2 * step * math.exp(-0.5 * ndtri(p) ** 2) / math.sqrt(2 * math.pi))
    np.testing.assert_allclose(np.array(spreads) / rates, slope, rtol=1e-6)
    limit = small_rate_limit(law)
    assert limit.case == "between levels"
    assert limit.closure_spread_slopes[0] == pytest.approx(slope, rel=1e-12)
    assert limit.generalization_error == pytest.approx(error, rel=1e-12)


def test_spread_shrinks_only_logarithmically_on_a_level():
    # c = ½ is a level of ω = 1.5: s → Δ/(2√(2 log 1/η)), slowly.
    ratios = []
    for eta in (1e-3, 1e-6, 1e-12):
        law = problem(weight_quantizer=UniformQuantizer(3, 1.5), learning_rate=eta)
        (point,) = isotropic_fixed_points(law)
        ratios.append(point.s * 2 * math.sqrt(2 * math.log(1 / eta)) / 0.5)
    assert abs(ratios[2] - 1) < abs(ratios[1] - 1) < abs(ratios[0] - 1) < 0.3


def test_three_fixed_points_of_an_unequal_quantizer():
    low, middle, high = isotropic_fixed_points(UNEQUAL)
    assert [p.classification for p in (low, middle, high)] == ["stable", "unstable", "stable"]
    # Either side of the middle one the dynamics end in another.
    for share, end in ((0.9, low), (1.1, high)):
        start = GaussianInitial(variance=(share * middle.s) ** 2)
        law = problem(
            weight_quantizer=UNEQUAL.weight_quantizer,
            teacher=UNEQUAL.teacher,
            learning_rate=1.5,
            ridge=0.0,
            initial=start,
        )
        late = solve_ode(law, [400.0]).order_parameters
        assert late.s[0] == pytest.approx(end.s, rel=1e-7)


def test_frozen_weights_are_a_marginal_fixed_point():
    # ψ(w) = w* = ⅔ is a level of ω = 1 and nothing is lost: ε_g = 0.
    law = problem(teacher=Teacher.constant(2 / 3), ridge=0.0)
    points = isotropic_fixed_points(law)
    assert points[0].classification == "marginal"
    assert points[0].generalization_error == pytest.approx(0.0, abs=1e-15)
    assert points[0].s == 0


def test_weights_without_teacher_have_one_eigenvalue():
    law = problem(teacher=Teacher.constant(0.0), noise_variance=0.2)
    (point,) = isotropic_fixed_points(law)
    assert point.m == 0
    assert point.eigenvalues.shape == (1,)
    assert point.stable


@pytest.mark.parametrize("quantizer", [None, UniformQuantizer(3, 1.0, 0.1)])
def test_small_rate_limit_is_about_sharp_steps(quantizer):
    with pytest.raises(ParameterError, match="weight_quantizer"):
        small_rate_limit(problem(weight_quantizer=quantizer))
