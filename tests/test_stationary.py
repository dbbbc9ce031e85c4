"""Stationary states: reference figures, identities, limits, spectra, coexistence, long runs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from reference_figures import PROBLEMS, STATIONARY

from fpsolve import (
    GaussianInitial,
    ParameterError,
    Problem,
    StepQuantizer,
    Teacher,
    UniformQuantizer,
    isotropic_fixed_points,
    small_rate_limit,
    solve_pde,
    stationary_states,
)
from fpsolve.macro import stability
from fpsolve.macro.conditional_density import conditional_density
from fpsolve.macro.stationary_error import error_bounds, error_map, stationary_errors


def problem(**changes) -> Problem:
    base = {
        "weight_quantizer": UniformQuantizer(3, 1.0),
        "input_quantizer": None,
        "learning_rate": 0.04,
        "ridge": 1.0,
    }
    return Problem(**{**base, **changes})


# A fine step inside a coarse one: large errors keep themselves up, small ones too.
UNEQUAL = problem(
    weight_quantizer=StepQuantizer([-3.0, -0.2, 0.2, 3.0], [-1.0, 0.0, 1.0]),
    teacher=Teacher.constant(0.0),
    learning_rate=1.5,
    ridge=0.0,
)


@pytest.mark.parametrize("name", sorted(PROBLEMS))
def test_errors_agree_with_independent_figures(name):
    (state,) = stationary_states(PROBLEMS[name])
    assert state.generalization_error == pytest.approx(STATIONARY[name], abs=1e-9)


def test_error_at_a_large_rate():
    (state,) = stationary_states(problem(learning_rate=1.0))
    assert state.generalization_error == pytest.approx(0.340869617, abs=1e-9)


@pytest.mark.parametrize("learning_rate", [1e-6, 1e-3, 0.3, 1e3])
@pytest.mark.parametrize(
    ("bits", "temperature"), [(2, 0.0), (3, 0.0), (10, 0.0), (2, 0.3), (3, 0.05), (6, 0.02)]
)
def test_mean_quantized_weight_is_the_target(learning_rate, bits, temperature):
    law = problem(
        weight_quantizer=UniformQuantizer(bits, 1.1, temperature),
        learning_rate=learning_rate,
        teacher=Teacher([-2.0, -0.9, 0.0, 0.37, 1.3, 2.6], [0.1, 0.2, 0.2, 0.2, 0.2, 0.1]),
    )
    states = stationary_states(law)
    assert states
    for state in states:
        # The last value runs away: c = 1.3 > ω. E[ψ | w*] = κw*/(S + λ) exactly for the others.
        assert state.confined.tolist() == [True, True, True, True, True, False]
        for w_star in law.teacher.values[state.confined]:
            density = conditional_density(law, float(w_star), state.diffusivity)
            assert density.moments()[0] == pytest.approx(w_star / 2, abs=1e-12)
        # And so m_ψ, from the macroscopic side, with ψ = ω for the runaway.
        p = law.teacher.probabilities
        expected = p[:-1] @ np.square(law.teacher.values[:-1]) / 2 + p[-1] * 2.6 * 1.1
        assert float(state.order_parameters.m_psi) == pytest.approx(expected, abs=1e-11)


@pytest.mark.parametrize("temperature", [0.0, 0.05, 0.6])
@pytest.mark.parametrize("learning_rate", [0.04, 3.0])
def test_moments_are_integrals_of_the_density(temperature, learning_rate):
    quantizer = StepQuantizer([-1.0, -0.2, 0.3, 1.4], [-0.7, 0.1, 0.6], temperature)
    law = problem(weight_quantizer=quantizer, learning_rate=learning_rate)
    (state,) = stationary_states(law)
    mean, deviation = state.moments(1.0)
    span = mean + deviation * np.linspace(-40, 40, 801)
    near = np.add.outer(quantizer.thresholds, 0.25 * temperature * np.arange(-36, 37)).ravel()
    edges = np.unique(np.concatenate([quantizer.thresholds, span, near]))
    nodes, weights = np.polynomial.legendre.leggauss(12)
    half = 0.5 * np.diff(edges)[:, None]
    w = (edges[:-1, None] + half * (1 + nodes)).ravel()
    measure = (half * weights).ravel() * state.density(w, 1.0)
    psi = quantizer(w)

    got = state.order_parameters
    assert measure.sum() == pytest.approx(1.0, abs=1e-11)
    assert measure @ w == pytest.approx(float(got.m), abs=1e-10)
    assert measure @ w**2 == pytest.approx(float(got.q), abs=1e-10)
    assert measure @ psi == pytest.approx(float(got.m_psi), abs=1e-11)
    assert measure @ psi**2 == pytest.approx(float(got.q_psi), abs=1e-11)
    assert measure @ (w * psi) == pytest.approx(float(got.r_psi), abs=1e-10)
    # The error reproduces itself from these.
    error = float(got.q_psi - 2 * got.m_psi) + 1
    assert error == pytest.approx(state.generalization_error, abs=1e-12)


@pytest.mark.parametrize("temperature", [0.0, 0.1])
def test_the_density_carries_no_flux(temperature):
    law = problem(weight_quantizer=UniformQuantizer(3, 1.0, temperature), learning_rate=0.3)
    (state,) = stationary_states(law)
    w = np.array([-0.3, 0.05, 0.3, 0.49, 0.52, 0.61, 0.9])
    h = 1e-5
    slope = (state.density(w + h, 1.0) - state.density(w - h, 1.0)) / (2 * h)
    flux = law.drift(w, 1.0) * state.density(w, 1.0) - state.diffusivity * slope
    size = np.abs(law.drift(w, 1.0)) * state.density(w, 1.0)
    assert (np.abs(flux) < 1e-6 * size.max()).all()


@pytest.mark.parametrize(
    ("name", "time"),
    [("fig1-lam0", 300.0), ("fig2-b5", 400.0), ("fig4-b3-bx3", 400.0), ("two-teachers", 900.0)],
)
def test_long_runs_of_the_density_end_in_it(name, time):
    (state,) = stationary_states(PROBLEMS[name])
    late = solve_pde(PROBLEMS[name], [time], rtol=1e-8).order_parameters
    for field in ("m", "q", "m_psi", "q_psi", "r_psi", "generalization_error"):
        expected = float(getattr(state.order_parameters, field))
        assert getattr(late, field)[0] == pytest.approx(expected, abs=2e-7)


@pytest.mark.parametrize("name", ["fig2-b5", "fig4-b3-bx3"])
def test_relaxation_rate_is_the_late_decay_of_the_density(name):
    (state,) = stationary_states(PROBLEMS[name])
    times = np.array([150.0, 180.0])
    late = solve_pde(PROBLEMS[name], times, rtol=1e-10).order_parameters
    rest = np.abs(late.m - float(state.order_parameters.m))
    rate = math.log(rest[0] / rest[1]) / 30
    assert state.relaxation_rate == pytest.approx(rate, rel=1e-3)
    assert state.stable


def test_fine_levels_have_the_spectrum_of_unquantized_weights():
    (fine,) = stationary_states(problem(weight_quantizer=UniformQuantizer(9, 1.0)))
    (none,) = stationary_states(problem(weight_quantizer=None))
    # −η(S + λ) for the mean and −2η(S + λ) + η²S² for the variance, coupled by ε_g.
    np.testing.assert_allclose(none.spectrum.eigenvalues.real, [-0.08, -0.1584], rtol=1e-14)
    got = fine.spectrum.eigenvalues.real[:2]
    np.testing.assert_allclose(got, [-0.08, -0.1584], rtol=2e-5)
    np.testing.assert_allclose(fine.generalization_error, none.generalization_error, rtol=1e-5)


def test_between_levels_the_density_tends_to_an_asymmetric_laplace_law():
    rates = np.array([1e-2, 1e-3, 1e-4])
    base = problem(ridge=0.3)  # c = 0.7692 lies at p = 0.3077 between ⅔ and 1.
    limit = small_rate_limit(base)
    p = (1 / 1.3 - 2 / 3) * 3
    assert limit.case == "between levels"
    assert limit.positions[0] == pytest.approx(p, rel=1e-12)
    floor = 1 - 2 / 1.3 + 1 / 1.3**2 + p * (1 - p) / 9
    means, deviations = [], []
    for eta in rates:
        (state,) = stationary_states(replace(base, learning_rate=float(eta)))
        assert state.generalization_error == pytest.approx(floor, abs=1e-6)
        mean, deviation = state.moments(1.0)
        means.append((mean - 5 / 6) / eta)
        deviations.append(deviation / eta)
    # Exponential lengths D/|a| = ηSε/(2(S + λ)·|c − v|) on either side of the threshold 5/6.
    left, right = floor / (2 * 1.3 * p / 3), floor / (2 * 1.3 * (1 - p) / 3)
    np.testing.assert_allclose(means[1:], right - left, rtol=1e-6)
    np.testing.assert_allclose(deviations[1:], math.hypot(left, right), rtol=1e-6)
    assert limit.spread_slopes[0] == pytest.approx(math.hypot(left, right), rel=1e-12)


def test_on_a_level_the_density_is_flat_over_one_bin():
    base = problem(weight_quantizer=UniformQuantizer(3, 1.5))  # c = ½ is a level, Δ = ½.
    rates = np.array([1e-2, 1e-3, 1e-4])
    limit = small_rate_limit(base)
    assert limit.case == "on a level"
    states = [stationary_states(replace(base, learning_rate=float(r)))[0] for r in rates]
    excess = np.array([s.generalization_error - 0.25 for s in states])
    # ε₀(1 + Sχη): slope 1 in a double logarithm, coefficient ε₀ S χ = ⅛.
    assert np.polyfit(np.log(rates), np.log(excess), 1)[0] == pytest.approx(1.0, abs=1e-4)
    assert excess[-1] / rates[-1] == pytest.approx(0.125, rel=1e-4)
    assert limit.error_slope == pytest.approx(0.125, rel=1e-12)
    assert states[-1].moments(1.0)[1] == pytest.approx(0.5 / math.sqrt(12), rel=1e-3)
    assert limit.spread_limits[0] == pytest.approx(0.5 / math.sqrt(12), rel=1e-12)
    # The closure lets the spread go to 0 there instead.
    (point,) = isotropic_fixed_points(replace(base, learning_rate=1e-4))
    assert point.s < 0.5 * states[-1].moments(1.0)[1]


@pytest.mark.parametrize("w_star", [1.0, 1.0000001, 2.5])
def test_clipped_targets_leave_the_outermost_level(w_star):
    law = problem(
        weight_quantizer=UniformQuantizer(3, 0.5), teacher=Teacher.constant(w_star)
    )  # c = w*/2 ≥ ω.
    (state,) = stationary_states(law)
    expected = w_star**2 - w_star + 0.25
    assert state.generalization_error == pytest.approx(expected, rel=1e-14)
    assert small_rate_limit(law).case == "clipped"
    assert float(state.order_parameters.m) == math.inf
    assert float(state.order_parameters.q_psi) == 0.25
    assert not state.confined.any()
    with pytest.raises(ParameterError, match="run away"):
        state.density(0.0, w_star)


def test_runaway_relaxes_at_the_edge_of_its_continuum():
    law = problem(weight_quantizer=UniformQuantizer(3, 0.25))
    (state,) = stationary_states(law)
    # Brownian motion of drift a leaves a half-line at the rate a²/(4D).
    drift, diffusivity = 0.04 * (1 - 0.5), 0.04**2 * 0.75**2 / 2
    assert state.relaxation_rate == pytest.approx(drift**2 / (4 * diffusivity), rel=1e-12)


def test_a_gaussian_teacher_pays_for_dithering_where_the_closure_rounds():
    omega, step = 8.0, 8.0 / 7
    law = problem(
        weight_quantizer=UniformQuantizer(4, omega),
        teacher=Teacher.gaussian(4.0, 64),
        ridge=0.0,
        learning_rate=1e-5,
    )
    (state,) = stationary_states(law)
    (point,) = isotropic_fixed_points(law)
    # E Δ²p(1 − p) = Δ²/6 over a spread of targets, against Δ²/12 of rounding.
    assert state.generalization_error == pytest.approx(step**2 / 6, rel=0.05)
    assert point.generalization_error == pytest.approx(step**2 / 12, rel=0.05)


def test_exact_weights_freeze_until_the_rate_passes_half_the_boundary():
    # w* = 1 is a level of ω = 1.5 and λ = σ² = 0: ε_g = 0 is stationary at every rate, and
    # attracts while the slope S χ η/B of F at 0 is below 1.
    base = problem(weight_quantizer=UniformQuantizer(3, 1.5), ridge=0.0)
    (frozen,) = stationary_states(replace(base, learning_rate=0.9))
    assert frozen.generalization_error == 0
    assert frozen.stable
    assert frozen.relaxation_rate == 0
    unstable, active = stationary_states(replace(base, learning_rate=1.1))
    assert not unstable.stable
    assert active.generalization_error > 0
    assert active.stable
    late = solve_pde(replace(base, learning_rate=1.1), [400.0]).order_parameters
    assert late.generalization_error[0] == pytest.approx(active.generalization_error, rel=1e-4)
    with pytest.raises(ParameterError, match="frozen"):
        frozen.density(0.0, 1.0)


def test_three_states_coexist_and_the_middle_one_is_unstable():
    low, middle, high = stationary_states(UNEQUAL)
    assert [s.stable for s in (low, middle, high)] == [True, False, True]
    assert middle.relaxation_rate < 0
    ends = []
    for variance in (1e-3, 25.0):
        law = replace(UNEQUAL, initial=GaussianInitial(variance=variance))
        ends.append(solve_pde(law, [60.0]).order_parameters.generalization_error[0])
    np.testing.assert_allclose(
        ends, [low.generalization_error, high.generalization_error], rtol=1e-5
    )


def test_all_roots_reproduce_themselves_and_are_bracketed_by_the_bounds():
    function = error_map(UNEQUAL)
    roots = stationary_errors(UNEQUAL)
    assert len(roots) == 3
    low, high = error_bounds(UNEQUAL)
    for root in roots:
        assert function(root) == pytest.approx(root, rel=1e-12)
        assert low <= root <= high
    # Both bounds are approached by F itself.
    assert function(1e-9) == pytest.approx(low, rel=1e-6)
    assert function(1e12) == pytest.approx(high, rel=1e-3)


def test_equal_steps_have_one_state():
    rng = np.random.default_rng(20240501)
    for _ in range(400):
        count = rng.integers(1, 4)
        law = Problem(
            weight_quantizer=UniformQuantizer(int(rng.integers(2, 6)), rng.uniform(0.2, 3.0)),
            input_quantizer=UniformQuantizer(int(rng.integers(2, 5)), rng.uniform(0.3, 3.0)),
            learning_rate=float(10 ** rng.uniform(-4, 1.5)),
            ridge=float(rng.choice([0.0, rng.uniform(0, 2)])),
            noise_variance=float(rng.choice([0.0, rng.uniform(0, 1)])),
            teacher=Teacher(rng.normal(size=count), rng.dirichlet(np.ones(count))),
        )
        assert len(stationary_states(law)) == 1


@pytest.mark.parametrize("batch_size", [1, 7])
def test_unquantized_state_is_the_gaussian_of_the_closure(batch_size):
    law = problem(weight_quantizer=None, noise_variance=0.2, batch_size=batch_size)
    (state,) = stationary_states(law)
    (point,) = isotropic_fixed_points(law)
    for field in ("m", "q", "generalization_error"):
        expected = getattr(point, field)
        assert float(getattr(state.order_parameters, field)) == pytest.approx(expected, rel=1e-13)
    w = np.linspace(-1, 2, 7)
    gaussian = np.exp(-0.5 * (w - 0.5) ** 2 / point.s**2) / (point.s * math.sqrt(2 * math.pi))
    np.testing.assert_allclose(state.density(w, 1.0), gaussian, rtol=1e-10)


def test_smoothed_steps_tend_to_sharp_ones():
    (sharp,) = stationary_states(problem())
    gaps = []
    for temperature in (1e-3, 1e-4):
        smooth = problem(weight_quantizer=UniformQuantizer(3, 1.0, temperature))
        gaps.append(stationary_states(smooth)[0].generalization_error - sharp.generalization_error)
    assert gaps[1] / gaps[0] == pytest.approx(0.1, rel=0.1)


def test_smoothed_steps_agree_with_a_long_run():
    law = problem(weight_quantizer=UniformQuantizer(3, 1.0, 0.1))
    (state,) = stationary_states(law)
    late = solve_pde(law, [400.0], rtol=1e-8).order_parameters
    assert late.generalization_error[0] == pytest.approx(state.generalization_error, abs=1e-8)
    assert late.q[0] == pytest.approx(float(state.order_parameters.q), abs=1e-7)


def test_runaways_on_both_sides_have_an_infinite_overlap_with_a_sign():
    law = problem(
        weight_quantizer=UniformQuantizer(3, 0.3), teacher=Teacher([-2.0, 1.0], [0.5, 0.5])
    )
    (state,) = stationary_states(law)
    assert float(state.order_parameters.m) == math.inf
    assert math.isfinite(float(state.order_parameters.m_psi))
    # Levels 1 and 2 pull w* = −1 and 0.5 both to −∞, at speeds 1.5 and 0.75 against ½·½.
    odd = problem(
        weight_quantizer=StepQuantizer([1.0, 2.0]), teacher=Teacher([-1.0, 0.5], [0.5, 0.5])
    )
    (other,) = stationary_states(odd)
    assert float(other.order_parameters.m) == math.inf


@pytest.mark.parametrize(
    "law",
    [
        PROBLEMS["fig1-lam0"],
        PROBLEMS["two-teachers"],
        problem(learning_rate=3.0, ridge=0.2),
        problem(weight_quantizer=UniformQuantizer(3, 1.0, 0.2), learning_rate=1.0),
        UNEQUAL,
    ],
    ids=["fig1", "two-teachers", "fast", "smooth", "unequal"],
)
def test_slow_modes_are_those_of_the_dense_matrix(law, monkeypatch):
    # A coarse mesh, so that all eigenvalues of the whole matrix are within reach.
    monkeypatch.setattr(stability, "_FALL", 4.0)
    monkeypatch.setattr(stability, "_CELLS", 80)
    for state in stationary_states(law):
        parts = stability._assemble(law, state.diffusivity, 1)
        matrix = np.outer(parts.u, parts.v) - np.diag(parts.diagonal)
        matrix -= np.diag(parts.off, 1) + np.diag(parts.off, -1)
        dense = np.linalg.eigvals(matrix)
        dense = dense[np.argsort(-dense.real, kind="stable")]
        found = stability._slowest(parts)
        assert found[0].real == pytest.approx(dense[0].real, rel=1e-7)


def test_growing_modes_go_with_the_slope_of_the_self_consistency():
    # Crossing F(ε) = ε from below means that a larger error feeds itself.
    function = error_map(UNEQUAL)
    for state in stationary_states(UNEQUAL):
        h = 1e-5 * state.generalization_error
        rise = function(state.generalization_error + h) - function(state.generalization_error - h)
        assert (rise / (2 * h) < 1) == state.stable
