"""Optimal ranges: against closed forms, brute force, the usual choices; teachers from samples."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from fpsolve import (
    ParameterError,
    Problem,
    StepQuantizer,
    Teacher,
    UniformQuantizer,
    optimal_range,
    range_curve,
    solve_pde,
    stationary_states,
    usual_ranges,
)
from fpsolve.plots.macro import (
    plot_optimal_range,
    plot_range_curves,
    plot_stability_boundary,
    plot_stationary_density,
)


def problem(**changes) -> Problem:
    base = {
        "weight_quantizer": UniformQuantizer(3, 1.0),
        "input_quantizer": None,
        "learning_rate": 0.04,
        "ridge": 1.0,
    }
    return Problem(**{**base, **changes})


def heavy_layer() -> np.ndarray:
    """Weights like those of a trained layer: bell-shaped, with a few large ones."""
    rng = np.random.default_rng(11)
    return rng.standard_t(5, size=4000) * 0.02


def test_curve_of_the_paper_has_its_minima_where_a_level_meets_the_target():
    # c = 1 at λ = 0: levels ω and ω/3 of b = 3 (and, clipped, nothing better below ω = 1).
    law = problem(ridge=0.0, learning_rate=1e-4)
    omegas = np.array([0.9, 1.0, 1.2, 1.5, 2.0, 3.0])
    step = omegas / 3
    p = (1 / step) % 1
    expected = np.where(omegas < 1, (1 - omegas) ** 2, step**2 * p * (1 - p))
    got = range_curve(law, omegas)
    np.testing.assert_allclose(got, expected, atol=2e-4)
    # At η → 0: 0.25 at ω = 0.5 and 1.5, 0.2778 at 1, and not "ω ≈ 1–1.25 best" at λ = 1.
    curve = range_curve(problem(learning_rate=1e-4), [0.5, 1.0, 1.25, 1.5])
    np.testing.assert_allclose(curve, [0.25, 0.27778, 0.27778, 0.25], atol=1e-4)


def test_optimum_beats_brute_force():
    law = problem(
        weight_quantizer=UniformQuantizer(3, 1.0),
        teacher=Teacher.gaussian(1.0, 24),
        ridge=0.0,
        noise_variance=0.05,
    )
    best = optimal_range(law, points=64)
    brute = range_curve(law, np.linspace(0.3, 5.0, 1500)).min()
    assert best.generalization_error <= brute + 1e-12
    assert best.generalization_error == pytest.approx(brute, rel=1e-3)
    (state,) = stationary_states(best.problem)
    assert state.generalization_error == pytest.approx(best.generalization_error, rel=1e-13)
    assert best.problem.weight_quantizer.omega == best.omega
    assert best.omega_x is None


def test_optimal_input_range_for_full_precision_weights_minimizes_the_closed_form():
    law = problem(
        weight_quantizer=None,
        input_quantizer=UniformQuantizer(3, 1.0),
        ridge=0.0,
        learning_rate=0.1,
    )
    best = optimal_range(law, which="inputs")

    def closed(omega):
        kappa, sigma2 = UniformQuantizer(3, omega).gaussian_moments()
        return (1 - kappa**2 / sigma2) / (1 - 0.05 * sigma2)

    brute = min(closed(omega) for omega in np.linspace(0.5, 4, 3001))
    assert best.generalization_error == pytest.approx(brute, abs=5e-8)
    assert closed(best.omega_x) == pytest.approx(best.generalization_error, rel=1e-12)


def test_diverging_ranges_are_infinite_not_best():
    law = problem(
        weight_quantizer=None,
        input_quantizer=UniformQuantizer(2, 1.0),
        ridge=0.0,
        learning_rate=2.0,
    )
    best = optimal_range(law, which="inputs", bounds=[0.2, 4.0], points=40)
    sigma2 = [UniformQuantizer(2, w).gaussian_moments()[1] for w in best.scanned[0]]
    # Unstable exactly where η > 2/S.
    assert (np.isinf(best.scanned_error) == (np.array(sigma2) > 1.0)).all()
    assert np.isinf(best.scanned_error).any()
    assert math.isfinite(best.generalization_error)


def test_both_ranges_together_are_no_worse_than_one_after_the_other():
    law = problem(
        weight_quantizer=UniformQuantizer(3, 1.0),
        input_quantizer=UniformQuantizer(3, 1.5),
        teacher=Teacher.gaussian(1.0, 12),
        ridge=0.0,
    )
    joint = optimal_range(law, which="both", points=24)
    assert joint.scanned_error.shape == (24, 24)
    alone = law
    for which in ("weights", "inputs", "weights", "inputs"):
        found = optimal_range(alone, which=which, points=48)
        alone = found.problem
    assert joint.generalization_error <= found.generalization_error * (1 + 1e-3)


def test_optimum_at_a_time_is_that_of_the_density_there():
    law = problem(weight_quantizer=UniformQuantizer(3, 1.0))
    best = optimal_range(law, time=15.0, bounds=[0.8, 2.5], points=12)
    (at,) = solve_pde(best.problem, [15.0]).order_parameters.generalization_error
    assert best.generalization_error == pytest.approx(at, rel=1e-4)
    for omega in (0.9 * best.omega, 1.1 * best.omega):
        other = replace(law, weight_quantizer=UniformQuantizer(3, omega))
        error = solve_pde(other, [15.0]).order_parameters.generalization_error[0]
        assert error > at
    # Far from the stationary optimum: nothing has settled at τ = 15.
    assert abs(optimal_range(law).omega - best.omega) > 0.3


def test_usual_ranges_are_what_they_are_called():
    weights = heavy_layer()
    ranges = usual_ranges(weights, 4)
    assert ranges["max_abs"] == np.abs(weights).max()
    assert ranges["three_sigma"] == pytest.approx(3 * np.sqrt(np.mean(weights**2)), rel=1e-14)

    def loss(omega):
        step = omega / 7
        rounded = np.clip(np.floor(weights / step + 0.5), -7, 7) * step
        return np.mean((weights - rounded) ** 2)

    brute = min(loss(omega) for omega in np.linspace(0.02, 0.5, 2000))
    assert loss(ranges["mse"]) <= brute * (1 + 1e-3)
    assert loss(ranges["mse"]) < min(loss(ranges["max_abs"]), loss(ranges["three_sigma"]))


@pytest.mark.parametrize("bits", [3, 4])
def test_optimum_for_a_layer_beats_the_usual_ranges_in_the_exact_dynamics(bits):
    weights = heavy_layer()
    scaled = weights / weights.std()
    law = problem(
        weight_quantizer=UniformQuantizer(bits, 1.0),
        teacher=Teacher.from_samples(scaled, 64),
        ridge=0.0,
    )
    best = optimal_range(law)
    usual = usual_ranges(scaled, bits)
    errors = dict(zip(usual, range_curve(law, list(usual.values())), strict=True))
    assert best.generalization_error < min(errors.values())
    # Dithering doubles the price of coarse steps, so that the best range is narrower than that of
    # rounding, by more than its resolution.
    assert best.omega < usual["mse"] * 0.99


def test_ranges_scale_with_the_layer():
    weights = heavy_layer()
    unit = weights / weights.std()
    found = []
    for sample in (weights, unit):
        law = problem(teacher=Teacher.from_samples(sample, 24), ridge=0.0)
        found.append(optimal_range(law, points=96))
    assert found[0].omega * 1 / weights.std() == pytest.approx(found[1].omega, rel=1e-3)
    share = found[0].generalization_error / found[1].generalization_error
    assert share == pytest.approx(weights.var(), rel=1e-6)


def test_teacher_from_samples_keeps_what_enters_the_error():
    weights = heavy_layer()
    for nodes in (2, 8, 64):
        teacher = Teacher.from_samples(weights.reshape(40, 100), nodes)
        assert teacher.values.size <= nodes
        assert teacher.rho == pytest.approx(np.mean(weights**2), rel=1e-13)
        assert teacher.probabilities.sum() == pytest.approx(1.0, abs=1e-13)
    fine = Teacher.from_samples(weights, 256)
    # Fourth moments and tails come along.
    fourth = fine.probabilities @ fine.values**4
    assert fourth == pytest.approx(np.mean(weights**4), rel=5e-3)
    assert fine.values.max() == pytest.approx(weights.max(), rel=0.05)


def test_teacher_from_few_distinct_samples_is_their_law():
    teacher = Teacher.from_samples([1, -2, 1, 1, 0], 8)
    assert teacher.values.tolist() == [-2.0, 0.0, 1.0]
    np.testing.assert_allclose(teacher.probabilities, [0.2, 0.2, 0.6], rtol=1e-15)


@pytest.mark.parametrize(
    ("samples", "nodes", "field"),
    [([0.0, 0.0], 4, "weights"), ([1.0, math.nan], 4, "weights"), ([1.0, 2.0], 1, "nodes")],
)
def test_samples_are_checked(samples, nodes, field):
    with pytest.raises(ParameterError, match=field):
        Teacher.from_samples(samples, nodes)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"which": "biases"}, "which"),
        ({"which": "inputs"}, "input_quantizer"),
        ({"bounds": [2.0, 1.0]}, "bounds"),
        ({"bounds": [[0.1, 1.0], [0.1, 1.0]]}, "bounds"),
        ({"points": 2}, "points"),
        ({"time": 0.0}, "time"),
    ],
)
def test_options_are_checked(options, field):
    with pytest.raises(ParameterError, match=field):
        optimal_range(problem(), **options)


def test_only_ranges_of_uniform_quantizers_are_varied():
    law = problem(weight_quantizer=StepQuantizer([-1.0, 1.0]))
    with pytest.raises(ParameterError, match="UniformQuantizer"):
        optimal_range(law)


def test_pictures_show_the_numbers():
    law = problem(input_quantizer=UniformQuantizer(3, 1.0), learning_rate=1e-3)
    omegas = np.linspace(0.2, 3.0, 30)
    curves = plot_range_curves(law, omegas, (2, None)).axes[0].lines
    np.testing.assert_array_equal(
        curves[1].get_ydata(), range_curve(replace(law, input_quantizer=None), omegas)
    )
    boundary = plot_stability_boundary([1.0, 4.0], (2, 10)).axes[0].lines[0].get_ydata()
    # 2/S with S = 0.617075 at (2, 1); 2.747 at (2, 4).
    np.testing.assert_allclose(boundary, [2 / 0.617075, 2.747], rtol=2e-4)
    best = optimal_range(law, points=12)
    marked = plot_optimal_range(best).axes[0].lines[1]
    assert marked.get_xdata()[0] == best.omega
    both = optimal_range(law, which="both", points=4)
    star = plot_optimal_range(both).axes[0].lines[0]
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (both.omega, both.omega_x)
    (state,) = stationary_states(law)
    drawn = plot_stationary_density(state).axes[0].lines[0]
    width = np.diff(drawn.get_xdata())[0]
    # Five standard deviations hold all but e^(−5√2) of an exponential law.
    assert drawn.get_ydata().sum() * width == pytest.approx(1.0, abs=5e-3)
