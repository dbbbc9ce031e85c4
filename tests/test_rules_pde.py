"""Densities under each training rule against figures computed independently of this package."""

from __future__ import annotations

import numpy as np
import pytest
from reference_rules import PROBLEMS, reference
from scipy.special import ndtr

from fpsolve import (
    GaussianInitial,
    Problem,
    Schedule,
    SolveError,
    Surrogate,
    Teacher,
    UniformQuantizer,
    simulate_sde,
    solve_pde,
)

# The figures are right to this share; that of q(0) is truncated at 1.3e-6.
FIGURES_ERROR = 1.5e-6


@pytest.mark.parametrize("rtol", [1e-3, 1e-5])
@pytest.mark.parametrize("name", PROBLEMS)
def test_every_rule_keeps_the_promise(name, rtol):
    times, columns = reference(name)
    result = solve_pde(PROBLEMS[name], times, rtol=rtol)
    for column, figures in columns.items():
        found = result.frozen if column == "frozen" else getattr(result.order_parameters, column)
        limit = 10 * rtol * max(np.abs(figures).max(), 1e-300) + FIGURES_ERROR
        assert np.abs(found - figures).max() < limit, column
    assert result.stats["mass_defect"] < 1e-12


def combined(**changes):
    common = {"input_quantizer": None, "learning_rate": 0.1, "ridge": 0.5}
    return Problem(**{"weight_quantizer": UniformQuantizer(2, 1.0), **common, **changes})


COMBINED = {
    "frozen-momentum": combined(surrogate=Surrogate(), momentum=0.5, noise_variance=0.1),
    "clip-dampening": combined(weight_clip=0.8, dampening=0.1),
    "clip-leaky-beyond": combined(
        weight_clip=1.2, surrogate=Surrogate(slope=0.4), noise_variance=0.2
    ),
    "stochastic-leaky-decay": combined(
        weight_quantizer=UniformQuantizer(3, 1.0, rounding="stochastic"),
        weight_decay=0.2,
        surrogate=Surrogate(slope=0.3),
    ),
    "warm-up-from-a-point": combined(
        learning_rate=Schedule.linear(0.0, 0.1, duration=5.0), initial=GaussianInitial(0.1, 0.0)
    ),
    "all-beyond-the-wall": combined(
        weight_clip=0.7, initial=GaussianInitial(4.0, 0.04), noise_variance=0.2
    ),
}


@pytest.mark.parametrize("name", COMBINED)
def test_rules_combine_as_in_the_limiting_particles(name):
    """5000 particles a run, 4 runs: 5 standard errors, and the 1 % that their steps may cost."""
    problem, times = COMBINED[name], [1.0, 6.0, 20.0]
    density = solve_pde(problem, times, rtol=1e-5).order_parameters
    cloud = simulate_sde(problem, times, particles=5_000, runs=4, seed=3).order_parameters
    for field in ("generalization_error", "m", "q"):
        runs = getattr(cloud, field)
        error = runs.std(axis=0, ddof=1) / 2
        size = np.abs(getattr(density, field)).max()
        difference = np.abs(runs.mean(axis=0) - getattr(density, field))
        assert (difference < 5 * error + 0.01 * size).all(), field


@pytest.mark.parametrize("slope", [0.15, 0.5])
def test_no_mass_is_lost_where_the_surrogate_changes(slope):
    """A narrow start, whose mesh grows over the bound and is trimmed again on either side of it."""
    problem = combined(
        learning_rate=Schedule.linear(0.25, 0.03, duration=12.0),
        noise_variance=0.5,
        surrogate=Surrogate(slope=slope),
        initial=GaussianInitial(-0.3, 0.01),
    )
    for rtol in (1e-3, 1e-5, 1e-7):
        assert solve_pde(problem, [0.3, 2.0, 8.0, 25.0], rtol=rtol).stats["mass_defect"] < 1e-12


def test_what_the_density_cannot_follow_is_refused():
    with pytest.raises(SolveError, match="widen weight_clip"):
        solve_pde(combined(weight_clip=0.5, initial=GaussianInitial(4.0, 0.04)), [1.0])


@pytest.mark.parametrize("temperature", [0.0, 0.1])
def test_travel_where_a_leaky_surrogate_slows_training_is_exact_and_cheap(temperature):
    # Beyond the bound of the surrogate and all thresholds ψ = ω, h = slope: constant drift and,
    # as ε_g does not change, constant diffusivity, so that a Gaussian stays one.
    omega, slope, rate, ridge, noise, far = 0.5, 0.3, 0.2, 0.4, 0.7, 1e4
    problem = Problem(
        weight_quantizer=UniformQuantizer(3, omega, temperature),
        input_quantizer=None,
        learning_rate=rate,
        ridge=ridge,
        noise_variance=noise,
        teacher=Teacher.constant(3.0),
        initial=GaussianInitial(40.0, 0.5),
        surrogate=Surrogate(slope=slope),
    )
    speed = rate * slope * (3.0 - (1.0 + ridge) * omega)
    heat = rate**2 * slope**2 * ((3.0 - omega) ** 2 + noise)
    time = far / speed
    found = solve_pde(problem, [time], rtol=1e-8)
    mean, variance = 40.0 + far, 0.5 + heat * time
    np.testing.assert_allclose(found.order_parameters.m, 3.0 * mean, rtol=1e-7)
    np.testing.assert_allclose(found.order_parameters.q, mean**2 + variance, rtol=1e-7)
    x = mean + np.sqrt(variance) * np.linspace(-4, 4, 17)
    density = np.exp(-0.5 * (x - mean) ** 2 / variance) / np.sqrt(2 * np.pi * variance)
    np.testing.assert_allclose(
        found.frames[0].pdf(0, x), density, rtol=0, atol=1e-7 * density.max()
    )
    assert found.stats["steps"] < 300


@pytest.mark.parametrize("rtol", [1e-3, 1e-4, 1e-6])
def test_steps_smoothed_by_little_are_resolved_where_weights_are_clipped(rtol):
    """ε_g at τ = 0 is an integral of the Gaussian, and what lies on the walls."""
    bound, star, variance = 1.5, 0.24, 1.0
    quantizer = UniformQuantizer(3, 0.16, temperature=0.003)
    problem = combined(
        weight_quantizer=quantizer,
        weight_clip=bound,
        teacher=Teacher.constant(star),
        initial=GaussianInitial(0.0, variance),
    )
    edges = np.linspace(-bound, bound, 20_001)
    middle = 0.5 * (edges[1:] + edges[:-1])
    mass = np.diff(ndtr(edges))
    error = float(mass @ np.square(star - quantizer(middle)))
    error += float(ndtr(-bound) * np.square(star - quantizer(np.array([-bound, bound]))).sum())
    found = solve_pde(problem, [0.0, 1.0], rtol=rtol).order_parameters.generalization_error[0]
    assert abs(found - error) < 10 * rtol * error + 1e-7


def test_classes_that_are_stuck_beyond_bounds_keep_their_mass_beside_others():
    """All weights of the outermost teacher values start beyond the bounds of the surrogate."""
    problem = Problem(
        weight_quantizer=UniformQuantizer(8, 5.56, rounding="stochastic"),
        input_quantizer=UniformQuantizer(2, 0.94),
        learning_rate=0.0025,
        noise_variance=0.136,
        teacher=Teacher.gaussian(0.74, 16),
        initial=GaussianInitial(-0.33, 0.0053, 0.88),
        surrogate=Surrogate(bound=0.843, slope=0.0),
    )
    solved = solve_pde(problem, [0.0, 1e6], rtol=1e-4)
    assert solved.stats["mass_defect"] < 1e-12
    # Those that start beyond the bounds never move.
    for frame in solved.frames:
        for k in (0, 15):
            place = problem.initial.mean + problem.initial.overlap * problem.teacher.values[k]
            deviation = problem.initial.variance**0.5
            x = np.linspace(place - 9 * deviation, place + 9 * deviation, 4001)
            assert abs(np.trapezoid(frame.pdf(k, x), x) - 1) < 1e-6


@pytest.mark.parametrize("rtol", [1e-4, 1e-6])
def test_what_starts_on_walls_is_right_whichever_times_are_asked_for(rtol):
    """The rate dies out long before the first of them; what was on the wall has drifted inward."""
    problem = combined(
        weight_quantizer=UniformQuantizer(3, 0.06),
        learning_rate=Schedule.exponential(1.7, rate=770.0),
        noise_variance=0.03,
        teacher=Teacher([-2.8, 0.3, 2.1], [0.1, 0.4, 0.5]),
        initial=GaussianInitial(0.05, 1e-8),
        weight_clip=0.03,
        batch_size=90,
    )
    late = solve_pde(problem, [1e6], rtol=rtol)
    early = solve_pde(problem, [1e-6, 1e-4, 1e-2, 1e6], rtol=rtol)
    assert late.stats["mass_defect"] < 1e-12
    for name in ("generalization_error", "m", "q"):
        one, two = (getattr(solved.order_parameters, name) for solved in (late, early))
        assert abs(one[-1] - two[-1]) < 10 * rtol * np.abs(two).max(), name


@pytest.mark.parametrize("rtol", [1e-4, 1e-5, 1e-7])
def test_weights_of_which_hardly_any_is_within_bounds_cost_nothing(rtol):
    """All but some 1e-25 start beyond the bounds, and stay."""
    star, mean, variance = -1.6357, -1.17313, 0.007589
    problem = combined(
        weight_quantizer=None,
        input_quantizer=UniformQuantizer(4, 0.6133),
        learning_rate=1.097e-4,
        ridge=0.0,
        noise_variance=0.0148,
        teacher=Teacher.constant(star),
        initial=GaussianInitial(mean, variance),
        surrogate=Surrogate(bound=0.27286, slope=0.0),
        momentum=0.8062,
    )
    solved = solve_pde(problem, [0.0, 25.553, 348.2], rtol=rtol)
    np.testing.assert_allclose(solved.order_parameters.m, star * mean, rtol=1e-9)
    np.testing.assert_allclose(solved.order_parameters.q, mean**2 + variance, rtol=1e-9)
    assert solved.stats["steps"] < 50


def test_a_start_beyond_the_range_of_a_leaky_surrogate_costs_no_finer_mesh():
    """Where h jumps the density h²μ is made continuous over elements that hold next to nothing."""
    rtol = 1e-6
    times, columns = reference("leaky-ste")
    problem = PROBLEMS["leaky-ste"]
    result = solve_pde(problem, times, rtol=rtol)
    assert result.frames[0].width.min() > 0.1 * rtol
    start = result.frames[0]
    edges = np.linspace(-1.6, 1.6, 65)
    truth = ndtr((edges - problem.initial.mean) / problem.initial.variance**0.5)
    assert np.abs(start.cdf(0, edges) - truth).max() < 10 * rtol
    assert start.u.min() >= -rtol * start.u.max()
    found = result.order_parameters.generalization_error
    figures = columns["generalization_error"]
    assert np.abs(found - figures).max() < 10 * rtol * figures.max() + FIGURES_ERROR


def test_a_warm_up_from_the_jump_of_a_leaky_surrogate_starts():
    """Of rate 0 at first; the same as from a rate that is next to nothing for as short a time."""
    common = {
        "weight_quantizer": UniformQuantizer(2, 1.0), "input_quantizer": None, "ridge": 0.3,
        "surrogate": Surrogate(bound=0.7, slope=0.4), "noise_variance": 0.1,
    }  # fmt: skip
    rates = [Schedule.linear(first, 0.1, duration=5.0) for first in (0.0, 1e-9)]
    zero, nearly = (
        solve_pde(Problem(learning_rate=rate, **common), [1.0, 5.0, 20.0], rtol=1e-5)
        for rate in rates
    )
    for name in ("generalization_error", "m", "q"):
        ours, theirs = (getattr(d.order_parameters, name) for d in (zero, nearly))
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)


@pytest.mark.parametrize("rtol", [1e-4, 1e-7])
@pytest.mark.parametrize("variance", [0.0, 0.01])
def test_weights_driven_onto_their_bound_settle_there_however_late_one_asks(rtol, variance):
    """Beyond the last threshold drift and ε_g are constant: a layer exp(−a x/D) is all there is."""
    star, level, bound, rate, batch = 1.0, 0.2, 0.45, 1e-3, 10
    problem = combined(
        weight_quantizer=UniformQuantizer(3, level),
        learning_rate=rate,
        ridge=0.0,
        noise_variance=0.1,
        teacher=Teacher.constant(star),
        initial=GaussianInitial(star, variance),
        weight_clip=bound,
        batch_size=batch,
    )
    solved = solve_pde(problem, [3e5], rtol=rtol)
    error = solved.order_parameters.generalization_error[-1]
    assert abs(error / ((star - level) ** 2 + 0.1) - 1) < rtol
    width = rate * error / (2.0 * batch) / (star - level)
    assert abs(solved.order_parameters.m[-1] / (star * (bound - width)) - 1) < rtol
    square = bound**2 - 2 * bound * width + 2 * width**2
    assert abs(solved.order_parameters.q[-1] / square - 1) < rtol
