"""Densities that travel far, or start where h jumps, keep mass and sign at every tolerance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from fpsolve import (
    GaussianInitial,
    Problem,
    Schedule,
    StepQuantizer,
    Surrogate,
    Teacher,
    UniformQuantizer,
    solve_pde,
)

# `docs/accuracy.md`: L¹ errors of densities within this many rtol.
_PROMISED = 100.0


def _l1(one, two, k):
    """∫|μ₁ − μ₂| of class k on a grid far finer than the narrower of the two laws."""
    mean, deviation = two.mean[k], two.deviation[k]
    x = mean + deviation * np.linspace(-9.0, 9.0, 4001)
    return float(np.trapezoid(np.abs(one.pdf(k, x) - two.pdf(k, x)), x))


def test_a_narrow_law_that_travels_far_neither_ripples_nor_spreads():
    """It travels 600 of its widths; its truth is a Gaussian in closed form."""
    rtol = 1e-4
    problem = Problem(
        weight_quantizer=None, input_quantizer=None, learning_rate=0.1, batch_size=100_000,
        teacher=Teacher([-1.0, 1.0], [0.5, 0.5]), initial=GaussianInitial(5.1, 1e-4),
    )  # fmt: skip
    times = [0.0, 10.0, 20.0, 40.0]
    solved = solve_pde(problem, times, rtol=rtol, scheme="spectral-volume")
    exact = solve_pde(problem, times)
    assert solved.stats["minimum"] >= -rtol
    assert solved.stats["lifted"] <= 2.5 * rtol
    for one, two in zip(solved.frames, exact.frames, strict=True):
        assert max(_l1(one, two, k) for k in range(2)) < _PROMISED * rtol


def test_rare_laws_keep_their_mass_where_h_jumps():
    """Their meshes grow across the bound of a leaky surrogate, where mass is not ∫v."""
    problem = Problem(
        weight_quantizer=UniformQuantizer(2, 1.0), input_quantizer=None, learning_rate=0.5,
        surrogate=Surrogate(0.5, 0.3), teacher=Teacher([-4.0, 0.0, 4.0], [1e-5, 1.0 - 2e-5, 1e-5]),
    )  # fmt: skip
    solved = solve_pde(problem, [0.0, 1.0, 10.0, 100.0], rtol=1e-4)
    assert solved.stats["mass_defect"] < 1e-12


def test_a_density_that_hardly_moved_is_nowhere_negative_where_h_jumps():
    """So soon the density is still the Gaussian it was, but for layers thinner than any mesh."""
    rtol = 1e-4
    problem = Problem(
        weight_quantizer=UniformQuantizer(2, 1.0), input_quantizer=None, learning_rate=1e-3,
        noise_variance=3e-5, surrogate=Surrogate(0.7243925787513825, 0.062),
    )  # fmt: skip
    solved = solve_pde(problem, [0.0, 1e-9], rtol=rtol)
    assert solved.stats["minimum"] >= -rtol
    x = np.array([-0.75, -0.73, -0.72, 0.1, 0.5, 0.72, 0.73, 0.75])
    gaussian = np.exp(-0.5 * x**2) / np.sqrt(2.0 * np.pi)
    np.testing.assert_allclose(solved.frames[1].pdf(0, x), gaussian, rtol=10 * rtol)


def test_mass_that_has_just_left_a_wall_is_seen():
    """Decay takes it off the wall faster than it spreads: a pulse between the nodes of any mesh.

    So soon it is nearly where it was, and its mass is that of the Gaussian beyond the wall.
    """
    rtol = 1e-4
    problem = Problem(
        weight_quantizer=UniformQuantizer(2, 1.0), input_quantizer=None, learning_rate=1e-5,
        batch_size=1000, weight_clip=5.0, weight_decay=0.006, initial=GaussianInitial(0.0, 100.0),
    )  # fmt: skip
    frame = solve_pde(problem, [0.0, 2.0], rtol=rtol).frames[1]
    for width in (1e-3, 0.1):
        held = frame.probability(0, -5.0, -5.0 + width)
        np.testing.assert_allclose(held, ndtr((-5.0 + width) / 10.0), atol=10 * rtol)


@pytest.mark.parametrize("rtol", [1e-4, 1e-6])
def test_a_law_that_leaves_a_wall_takes_its_mesh_along(rtol):
    """It starts on the wall as a point and travels 50 000 of its widths through one bin.

    Its truth is N(2 − |a| τ, 2Dτ), but for the instant D/a² in which it leaves the wall, 1e-5 of
    its width; a mesh at rest would take a step for about every width.
    """
    rate, w_star = 1e-3, 0.5
    problem = Problem(
        weight_quantizer=StepQuantizer([-1.0, 1.0]), input_quantizer=None, learning_rate=rate,
        batch_size=1_000_000, noise_variance=1e-3, teacher=Teacher.constant(w_star),
        initial=GaussianInitial(5.0, 0.0), weight_clip=2.0,
    )  # fmt: skip
    times = [1000.0, 2500.0]
    solved = solve_pde(problem, times, rtol=rtol)
    assert solved.stats["steps"] < 50
    drift = rate * (w_star - 1.0)
    error = w_star**2 + 1e-3 - 2.0 * w_star + 1.0
    diffusivity = float(problem.dynamics.diffusivity(0.0, error))
    for frame, time in zip(solved.frames, times, strict=True):
        mean, deviation = 2.0 + drift * time, np.sqrt(2.0 * diffusivity * time)
        x = mean + deviation * np.linspace(-9.0, 9.0, 4001)
        exact = np.exp(-0.5 * ((x - mean) / deviation) ** 2) / (deviation * np.sqrt(2.0 * np.pi))
        assert np.trapezoid(np.abs(frame.pdf(0, x) - exact), x) < _PROMISED * rtol


@pytest.mark.parametrize("rtol", [1e-4, 1e-6])
def test_a_law_that_leaves_a_wall_under_weight_decay_takes_its_mesh_along(rtol):
    """The same where the drift varies with the weight: an Ornstein-Uhlenbeck process from a point.

    A mesh that stays at the wall takes a step for about every width, 150 000.
    """
    rate, w_star, decay = 1e-3, 0.5, 0.5
    problem = Problem(
        weight_quantizer=StepQuantizer([-1.0, 1.0]), input_quantizer=None, learning_rate=rate,
        batch_size=1_000_000, noise_variance=1e-3, teacher=Teacher.constant(w_star),
        initial=GaussianInitial(5.0, 0.0), weight_clip=2.0, weight_decay=decay,
    )  # fmt: skip
    times = [200.0, 800.0]
    solved = solve_pde(problem, times, rtol=rtol)
    assert solved.stats["steps"] < 10_000
    pull, rest = rate * decay, (w_star - 1.0) / decay
    error = w_star**2 + 1e-3 - 2.0 * w_star + 1.0
    diffusivity = float(problem.dynamics.diffusivity(0.0, error))
    for frame, time in zip(solved.frames, times, strict=True):
        mean = rest + (2.0 - rest) * np.exp(-pull * time)
        deviation = np.sqrt(diffusivity / pull * -np.expm1(-2.0 * pull * time))
        x = mean + deviation * np.linspace(-9.0, 9.0, 4001)
        exact = np.exp(-0.5 * ((x - mean) / deviation) ** 2) / (deviation * np.sqrt(2.0 * np.pi))
        assert np.trapezoid(np.abs(frame.pdf(0, x) - exact), x) < _PROMISED * rtol


def test_noise_that_fronts_leave_behind_holds_no_mesh_back():
    """Weak noise, four classes that run away through seven bins, three that come to rest.

    From when all have come through, m grows by Σ p w* η (w* − ω) a unit of time, exactly.
    """
    rtol, rate, omega = 1e-6, 8.098614946813008e-05, 0.890037942108956
    values = np.array([-0.733, -0.18, 0.714, 1.677, 2.106, 2.233, 2.741])
    weights = np.array([0.103, 0.015, 0.07, 0.177, 0.486, 0.063, 0.086])
    problem = Problem(
        weight_quantizer=UniformQuantizer(3, omega), input_quantizer=None, learning_rate=rate,
        batch_size=19, noise_variance=0.001837584733894058, dampening=0.06655933572501474,
        teacher=Teacher(values.tolist(), weights.tolist()),
    )  # fmt: skip
    times = np.array([5e5, 1e6])
    solved = solve_pde(problem, times, rtol=rtol)
    assert solved.stats["steps"] < 2500
    away = values > omega
    pace = (weights * values * rate * (values - omega))[away].sum()
    m = solved.order_parameters.m
    np.testing.assert_allclose(np.diff(m), pace * np.diff(times), atol=10.0 * rtol * m.max())


@pytest.mark.parametrize("rtol", [1e-4, 1e-6, 1e-8])
@pytest.mark.parametrize("kind", ["exponential", "cosine", "linear"])
def test_laws_follow_schedules_however_long_steps_are(kind, rtol):
    """All weights have level 0, so that each class drifts by κ w* ∫η dτ; a step may take it all."""
    rate, time = 2e-5, 400.0
    mean_rate, schedule, end = {
        "exponential": (1.0, Schedule.exponential(rate, rate=1.0 / time), 1e5),
        "cosine": (0.5, Schedule.cosine(rate, 0.0, duration=time), time),
        "linear": (0.5, Schedule.linear(rate, 0.0, duration=time), time),
    }[kind]
    problem = Problem(
        weight_quantizer=UniformQuantizer(2, 100.0),
        input_quantizer=None,
        learning_rate=schedule,
        teacher=Teacher([-1.0, 2.0], [0.6, 0.4]),
        initial=GaussianInitial(0.0, 1e-6),
    )
    found = solve_pde(problem, [0.0, end], rtol=rtol).order_parameters.m[-1]
    whole = problem.rho * mean_rate * rate * time
    assert abs(found - whole) < 10 * rtol * whole


def test_a_point_on_a_threshold_takes_its_mesh_along_once_it_has_left():
    """It leaves for the side to which both drifts lead, and drifts evenly there."""
    rtol, time = 1e-5, 1800.0
    quantizer = UniformQuantizer(4, 27.7)
    threshold = quantizer.thresholds[4]
    problem = Problem(
        weight_quantizer=quantizer, input_quantizer=None, learning_rate=2e-5, ridge=0.4,
        batch_size=600, teacher=Teacher.constant(0.0), initial=GaussianInitial(threshold, 0.0),
    )  # fmt: skip
    solved = solve_pde(problem, [0.0, time], rtol=rtol)
    place = threshold - 2e-5 * 1.4 * quantizer.levels[5] * time
    assert quantizer.thresholds[4] < place < quantizer.thresholds[5]
    q = solved.order_parameters.q[-1]
    # Until it has left the threshold it is there for as long as noise keeps it there, D/a² in all.
    assert abs(q - place**2) < 10 * rtol * q
    assert solved.stats["steps"] < 400


@pytest.mark.parametrize("rtol", [1e-3, 1e-4, 1e-6])
def test_rates_that_rise_from_0_are_followed_from_the_start(rtol):
    """Hardly any noise: weights decay towards a threshold to which both sides lead, and stay."""
    rise, ridge, decay, level = 455.0, 5.6, 0.032, 10.7
    problem = Problem(
        weight_quantizer=StepQuantizer([-level, level], [0.0]), input_quantizer=None,
        learning_rate=Schedule.linear(0.0, 1.6e-5, duration=rise), ridge=ridge,
        weight_decay=decay, batch_size=100_000, teacher=Teacher([-1.0, 1.0], [0.5, 0.5]),
        initial=GaussianInitial(0.0, 360.0),
    )  # fmt: skip
    whole = 0.5 * 1.6e-5 * rise  # ∫η dτ
    w = np.sqrt(360.0) * ndtri((np.arange(40_000) + 0.5) / 40_000)
    q = 0.0
    for star in (-1.0, 1.0):
        push = star - (1.0 + ridge) * level * np.sign(w)
        later = (w - push / decay) * np.exp(-decay * whole) + push / decay
        q += 0.5 * np.square(np.where(later * w > 0.0, later, 0.0)).mean()
    found = solve_pde(problem, [0.0, rise], rtol=rtol).order_parameters.q
    start = np.square(w).mean()
    assert abs((found[0] - found[1]) - (start - q)) < 10 * rtol * found[0]


@pytest.mark.parametrize("rtol", [1e-2, 1e-3, 1e-4, 1e-5])
def test_laws_that_move_across_a_jump_of_h_keep_their_mass(rtol):
    """Their meshes reach beyond the bin they move in, where a density is another multiple of v."""
    rate, classes = 4.3542016945171156e-4, 8
    values = 5.147592511079434 * np.linspace(-1, 1, classes)
    problem = Problem(
        weight_quantizer=StepQuantizer([-1.0, 1.0], [0.0]), input_quantizer=None,
        learning_rate=rate, noise_variance=0.9232973644578722,
        teacher=Teacher(values, np.full(classes, 1 / classes)),
        surrogate=Surrogate(1.3931007926301673, 0.18476524383106147),
        initial=GaussianInitial(0.1064513974531981, 0.0),
    )  # fmt: skip
    solved = solve_pde(problem, np.array([1.0, 3.0, 20.0]) / rate, rtol=rtol)
    assert solved.stats["mass_defect"] < 1e-12
