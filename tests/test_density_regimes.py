"""Random problems of every regime: what must hold for each, whatever its parameters."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
    macroscopic_rates,
    solve_pde,
    stationary_states,
)

# --- problems -------------------------------------------------------------------------------------


def decimals(low, high, digits=3):
    """Numbers with few digits: no subnormal teachers or ridges."""
    scale = 10**digits
    return st.integers(round(low * scale), round(high * scale)).map(lambda i: i / scale)


def powers(low, high):
    return decimals(low, high).map(lambda exponent: 10.0**exponent)


@st.composite
def quantizers(draw, most):
    kind = draw(st.sampled_from(["uniform"] * 6 + ["steps", "sign", "none"]))
    if kind == "none":
        return None
    temperature = draw(st.just(0.0) | st.just(0.0) | powers(-3, 0))
    omega = draw(powers(math.log10(0.05), math.log10(50)))
    if kind == "sign":
        return StepQuantizer([-omega, omega], temperature=temperature)
    if kind == "steps":
        gaps = draw(st.lists(decimals(0.2, 1), min_size=2, max_size=6))
        levels = np.concatenate([[0.0], np.cumsum(gaps)])
        return StepQuantizer(omega * (2 * levels / levels[-1] - 1), temperature=temperature)
    bits = draw(st.sampled_from([b for b in (2, 2, 3, 3, 4, 5, 6, 8, 10) if 4 * 2**b <= most]))
    return UniformQuantizer(bits, omega, temperature=temperature)


@st.composite
def teachers(draw, quantizer, target, most):
    """Laws of w*; `target` is the teacher value whose c is 1, so that c can sit on a level.

    `most` bounds values times levels: what a solve costs.
    """
    kinds = ["one", "constant", "rademacher", "gaussian", "few", "level", "range"]
    kind = draw(st.sampled_from(kinds))
    if kind == "one" or (quantizer is None and kind in ("level", "range")):
        return Teacher.constant(1.0)
    if kind == "constant":
        return Teacher.constant(draw(decimals(-3, 3)))
    if kind == "rademacher":
        return Teacher.rademacher()
    if kind == "gaussian":
        levels = 1 if quantizer is None else quantizer.levels.size
        nodes = [n for n in (4, 8, 16, 32, 128) if n == 4 or n * levels <= most]
        return Teacher.gaussian(draw(powers(-1, 1)), draw(st.sampled_from(nodes)))
    if kind == "few":
        values = draw(st.lists(decimals(-3, 3), min_size=2, max_size=5, unique=True))
        return Teacher(sorted(values), np.full(len(values), 1 / len(values)))
    top = quantizer.levels.size - 1
    level = top if kind == "range" else draw(st.integers(0, top))
    return Teacher.constant(float(quantizer.levels[level] * target))


@st.composite
def starts(draw):
    kind = draw(st.sampled_from(["unit", "unit", "point", "wide", "narrow", "far"]))
    if kind == "unit":
        return GaussianInitial()
    if kind == "point":
        mean, overlap = draw(st.sampled_from([(0.0, 0.0), (0.3, 0.0), (0.0, 1.0), (1.0, 1.0)]))
        return GaussianInitial(mean, 0.0, overlap)
    if kind == "wide":
        return GaussianInitial(0.0, draw(powers(0, 3)))
    if kind == "narrow":
        return GaussianInitial(draw(decimals(-1, 1)), draw(powers(-6, -1)), draw(decimals(-1, 1)))
    return GaussianInitial(draw(st.sampled_from([-1, 1])) * draw(powers(0, 2)), draw(powers(-2, 0)))


@st.composite
def problems(draw, least_rate=1e-5, most=500):
    weights = draw(quantizers(most))
    inputs = draw(st.sampled_from([None, (2, 2.0), (3, 1.0), (4, 3.0)]))
    inputs = None if inputs is None else UniformQuantizer(*inputs)
    kappa, sigma2 = (1.0, 1.0) if inputs is None else inputs.gaussian_moments()
    ridge = draw(st.sampled_from([0.0, 0.0, 1.0]) | decimals(0, 10))
    return Problem(
        weight_quantizer=weights,
        input_quantizer=inputs,
        learning_rate=draw(powers(math.log10(least_rate), 1)),
        ridge=ridge,
        noise_variance=draw(st.sampled_from([0.0, 0.0, 1.0]) | powers(-6, 2)),
        teacher=draw(teachers(weights, (sigma2 + ridge) / kappa, most)),
        initial=draw(starts()),
        batch_size=draw(st.sampled_from([1, 1, 1, 8])),
    )


@st.composite
def tasks(draw, most=500):
    """A problem, a horizon in fast or slow time, and a tolerance."""
    problem = draw(problems(most=most))
    scaled = powers(-2, 2.5).map(lambda slow: min(1e6, slow / problem.learning_rate))
    horizon = draw(scaled | scaled | scaled | st.just(1e6))
    return problem, horizon, draw(st.sampled_from([1e-3, 1e-4, 1e-6]))


# --- what must hold -------------------------------------------------------------------------------

# Nodes of Clenshaw–Curtis quadrature on [0, 1]; every second one makes the coarser rule.
_NODES = 0.5 - 0.5 * np.cos(np.pi * np.arange(9) / 8)
_EARLY = np.array([0.0, 1e-3, 0.03])


def _weights(count):
    """Weights on [0, 1] that integrate Chebyshev polynomials exactly."""
    k = np.arange(count + 1)
    integrals = [0.0 if j % 2 else 1.0 / (1 - j * j) for j in k]
    return np.linalg.solve(np.cos(np.outer(k, np.pi * k / count)), integrals)


def may_fail(problem):
    """Whether the density may blow up, contract to a point, or freeze with vanishing layers."""
    silent = problem.noise_variance == 0
    if problem.weight_quantizer is None:
        gain = problem.learning_rate * problem.sigma2**2 / problem.batch_size
        return silent or gain > 1.999 * (problem.sigma2 + problem.ridge)
    quantizer, teacher = problem.weight_quantizer, problem.teacher
    error = quantizer.levels * (
        problem.sigma2 * quantizer.levels - 2 * problem.kappa * teacher.values[:, None]
    )
    least = problem.rho + problem.noise_variance + teacher.probabilities @ error.min(axis=1)
    # Silent labels that some weights reproduce exactly: diffusion switches off, layers vanish.
    return silent and (problem.initial.variance == 0 or least < 1e-6 * max(1.0, problem.rho))


def check_density(result, rtol):
    assert np.isfinite(result.density).all()
    for field in vars(result.order_parameters).values():
        assert np.isfinite(field).all()
    np.testing.assert_allclose(result.masses.sum(axis=2), 1.0, rtol=0, atol=1e-12)
    assert result.stats["mass_defect"] <= 1e-12
    lowest, largest = result.density.min(axis=(1, 2)), result.density.max(axis=(1, 2))
    assert (lowest >= -rtol * largest).all()


def check_identities(problem, state, duration, rtol):
    """∫ of the exact rates of m and q over the second half of the run is their change.

    Beyond the quadrature's own error, which two rules show, ψ averages enter through the L¹ promise
    100·rtol, and m, q and ε_g through 10·rtol of their scales.
    """
    fine, coarse = _weights(8), _weights(4)
    late = slice(_EARLY.size, None)
    eta, pull = problem.learning_rate, problem.sigma2 + problem.ridge
    size, psi = math.sqrt(state.q.max()), math.sqrt(state.q_psi.max())
    most = float(np.abs(problem.teacher.values).max())
    noise = eta**2 * problem.sigma2 / problem.batch_size * state.generalization_error.max()
    scale_m = most * (size + eta * pull * duration * psi)
    drift_q = eta * size * (problem.kappa * most + pull * psi)
    scale_q = size**2 + duration * (2 * drift_q + noise)
    scales = (scale_m, scale_q)
    moments = (state.m, state.q)
    for moment, rate, scale in zip(moments, macroscopic_rates(problem, state), scales, strict=True):
        integral = duration * fine @ rate[late]
        unresolved = abs(integral - duration * coarse @ rate[late][::2])
        change = moment[-1] - moment[_EARLY.size]
        assert abs(change - integral) <= 100 * rtol * scale + unresolved


def settling_time(problem, state):
    """Time to cross all bins from the far ends of the start, by drift or by diffusion."""
    theta = problem.weight_quantizer.thresholds
    longest = 0.0
    for w_star in problem.teacher.values:
        mean = problem.initial.mean + problem.initial.overlap * w_star
        reach = 8.3 * math.sqrt(problem.initial.variance)
        low, high = min(mean - reach, theta[0]) - 1e-9, max(mean + reach, theta[-1]) + 1e-9
        points = np.unique(np.concatenate([np.linspace(low, high, 4001), theta]))
        size = np.diff(points)
        speed = np.abs(problem.drift(points[:-1] + 0.5 * size, w_star))
        drifting = size / np.maximum(speed, 1e-300)
        diffusing = size * (high - low) / state.diffusivity
        longest = max(longest, float(np.minimum(drifting, diffusing).sum()))
    return longest


def check_late(problem, state, horizon, rtol):
    """Once it had time to settle, ε_g is that of the one exact stationary state."""
    quantizer = problem.weight_quantizer
    if quantizer is None or quantizer.temperature > 0:
        return
    states = stationary_states(problem)
    if len(states) != 1 or not states[0].confined.all() or states[0].generalization_error == 0:
        return
    left = 0.5 * horizon - settling_time(problem, states[0])
    if left > 0 and left * states[0].relaxation_rate > math.log(1e3 / rtol):
        found = float(state.generalization_error[-1])
        allowed = 10 * rtol * float(state.generalization_error.max())
        assert abs(found - states[0].generalization_error) <= allowed


def check(problem, horizon, rtol):
    times = horizon * np.concatenate([_EARLY, 0.5 + 0.5 * _NODES])
    try:
        result = solve_pde(problem, times, rtol=rtol)
    except SolveError:
        if not may_fail(problem):
            raise
        return
    check_density(result, rtol)
    check_identities(problem, result.order_parameters, 0.5 * horizon, rtol)
    check_late(problem, result.order_parameters, horizon, rtol)


COMMON = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=50, **COMMON)
@given(tasks())
def test_any_regime(task):
    check(*task)


@pytest.mark.slow
@settings(max_examples=500, **COMMON)
@given(tasks(most=100_000))
def test_any_regime_at_length(task):
    check(*task)


# --- the two schemes ------------------------------------------------------------------------------


def check_schemes(problem, horizon):
    """Scharfetter–Gummel on two meshes says how good it is; the default is within that.

    Halving the cells takes away half of a first-order error, which it has where layers are
    narrower than cells, and three quarters of a second-order one.
    """
    times = horizon * np.array([0.1, 0.3, 1.0])
    try:
        high = solve_pde(problem, times, rtol=1e-5).order_parameters
    except SolveError:
        if not may_fail(problem):
            raise
        return
    cells, coarse, fine = [], None, None
    for cells in (600, 1200):
        coarse = fine
        result = solve_pde(problem, times, rtol=1e-5, scheme="scharfetter-gummel", cells=cells)
        np.testing.assert_allclose(result.masses.sum(axis=2), 1.0, rtol=0, atol=1e-12)
        lowest, largest = result.density.min(axis=(1, 2)), result.density.max(axis=(1, 2))
        assert (lowest >= -1e-12 * largest).all()
        fine = result.order_parameters
    for field in ("generalization_error", "q"):
        one, two, exact = (getattr(state, field) for state in (coarse, fine, high))
        own = np.abs(one - two).max()
        assert np.abs(two - exact).max() <= 1.5 * own + 1e-3 * np.abs(exact).max()


@st.composite
def loud_tasks(draw):
    """Rates at which layers are not much narrower than a thousandth of the domain."""
    problem = draw(problems(least_rate=0.03))
    return problem, draw(powers(-1.5, 1.5)) / problem.learning_rate


@settings(max_examples=15, **COMMON)
@given(loud_tasks())
def test_schemes_agree(task):
    check_schemes(*task)


@pytest.mark.slow
@settings(max_examples=150, **COMMON)
@given(loud_tasks())
def test_schemes_agree_at_length(task):
    check_schemes(*task)


@pytest.mark.parametrize(
    ("change", "error", "cure"),
    [
        ({"learning_rate": 1e300}, ParameterError, "at most 1e\\+150"),
        ({"batch_size": 10**20}, SolveError, "lower batch_size"),
    ],
)
def test_what_cannot_be_solved_is_refused_at_once(change, error, cure):
    problem = Problem(
        **{
            "weight_quantizer": UniformQuantizer(2, 1.0),
            "input_quantizer": None,
            "learning_rate": 0.1,
            **change,
        }
    )
    with pytest.raises(error, match=cure):
        solve_pde(problem, [0.0, 10.0])


def test_the_smallest_times_and_the_largest_ridge():
    problem = Problem(
        weight_quantizer=UniformQuantizer(2, 1.0), input_quantizer=None, learning_rate=0.1
    )
    early = solve_pde(problem, [0.0, 5e-324]).order_parameters.generalization_error
    assert early[1] == pytest.approx(early[0], rel=1e-12)
    # The bin of level 0 confines all: w ends at a threshold, and is 0 when quantized.
    held = solve_pde(replace(problem, ridge=1e12), [1.0]).order_parameters
    assert held.generalization_error[0] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("variance", [0.0, 1e-6, 1e-2])
def test_weights_that_never_meet_an_absorbing_wall_do_not_know_of_it(variance):
    problem = Problem(
        weight_quantizer=UniformQuantizer(2, 1.0),
        input_quantizer=None,
        learning_rate=0.2,
        initial=GaussianInitial(0.5, variance),
        noise_variance=0.1,
        batch_size=100,
    )
    times = [1e-6, 1e-4, 0.01, 0.1]
    free = solve_pde(problem, times, rtol=1e-7)
    walled = solve_pde(replace(problem, surrogate=Surrogate(30.0)), times, rtol=1e-7)
    for name in ("generalization_error", "m", "q"):
        one, two = (getattr(r.order_parameters, name) for r in (free, walled))
        np.testing.assert_allclose(two, one, rtol=0, atol=1e-6 * np.abs(one).max())
    assert np.abs(walled.frozen).max() < 1e-7


def test_a_point_beyond_the_bound_of_a_leaky_surrogate_spreads_by_its_slope():
    slope, rate = 0.25, 0.1
    problem = Problem(
        weight_quantizer=UniformQuantizer(2, 1.0),
        input_quantizer=None,
        learning_rate=rate,
        noise_variance=0.5,
        teacher=Teacher.constant(0.5),
        initial=GaussianInitial(5.0, 0.0),
        surrogate=Surrogate(1.0, slope),
    )
    # ψ = 1 throughout: ε_g = (1 − ½)² + σ², the drift is constant, the density Gaussian.
    time, error = 2.0, 0.75
    mean = 5.0 - rate * slope * 0.5 * time
    deviation = rate * slope * math.sqrt(error * time)
    result = solve_pde(problem, [time], rtol=1e-7)
    w = mean + deviation * np.linspace(-3, 3, 13)
    exact = np.exp(-0.5 * ((w - mean) / deviation) ** 2) / (deviation * math.sqrt(2 * math.pi))
    np.testing.assert_allclose(result.pdf(w, time), exact, rtol=0, atol=1e-6 * exact.max())


@pytest.mark.parametrize("temperature", [0.0, 0.01])
def test_points_put_on_a_wall_are_the_limit_of_narrow_starts_there(temperature):
    problem = Problem(
        weight_quantizer=UniformQuantizer(3, 1.0, temperature=temperature),
        input_quantizer=None,
        learning_rate=0.05,
        noise_variance=0.2,
        teacher=Teacher([-0.4, 0.7], [0.5, 0.5]),
        initial=GaussianInitial(2.5, 0.0, 1.0),
        weight_clip=1.5,
    )
    times = [0.5, 5.0, 60.0]
    point = solve_pde(problem, times, rtol=1e-6)
    narrow = replace(problem, initial=GaussianInitial(2.5, 1e-6, 1.0))
    other = solve_pde(narrow, times, rtol=1e-6).order_parameters
    for name in ("generalization_error", "m", "q"):
        one, two = (getattr(state, name) for state in (point.order_parameters, other))
        np.testing.assert_allclose(one, two, rtol=0, atol=1e-5 * np.abs(two).max())


def test_a_wide_start_on_walls_keeps_its_mass_where_layers_are_thin():
    problem = Problem(
        weight_quantizer=UniformQuantizer(4, 0.648335667346238),
        input_quantizer=None,
        learning_rate=7e-5,
        noise_variance=6e-4,
        teacher=Teacher.constant(0.65),
        batch_size=45,
        weight_clip=0.2263314856560776,
    )
    assert solve_pde(problem, [10.0], rtol=1e-6).stats["mass_defect"] < 1e-13


def test_weights_whose_inputs_vanish_stay_on_their_walls():
    values, scales, clip = np.array([0.4, -0.9]), [1.0, 1e-60], 0.115
    problem = Problem(
        weight_quantizer=UniformQuantizer(2, 0.1),
        input_quantizer=None,
        learning_rate=0.1,
        teacher=Teacher(values, [0.5, 0.5], scales),
        weight_clip=clip,
    )
    frame = solve_pde(problem, [0.5, 3.0], rtol=1e-6).frames[-1]
    normal = NormalDist()
    for side in (-1.0, 1.0):
        ends = sorted([side * clip, side * (clip - 1e-9)])
        assert frame.probability(1, *ends) == pytest.approx(normal.cdf(-clip), rel=1e-6)
    assert frame.probability(1, -0.05, 0.05) == pytest.approx(2 * normal.cdf(0.05) - 1, rel=1e-6)


def test_a_point_that_leaves_its_wall_by_drift_keeps_its_mass():
    rate, batch, time, noise = 0.05, 10**6, 2.0, 0.1
    problem = Problem(
        weight_quantizer=UniformQuantizer(2, 1.0),
        input_quantizer=None,
        learning_rate=rate,
        noise_variance=noise,
        teacher=Teacher.constant(0.5),
        initial=GaussianInitial(2.0, 0.0),
        weight_clip=2.0,
        batch_size=batch,
    )
    # Péclet number 10⁵: the wall is felt for an instant, which moves the mean by D/|a| at most.
    result = solve_pde(problem, [time], rtol=1e-6)
    diffusivity = 0.5 * rate**2 * (0.25 + noise) / batch
    mean = float(result.order_parameters.m[0]) / 0.5
    assert mean == pytest.approx(2.0 - 0.5 * rate * time, abs=4 * diffusivity / (0.5 * rate))
    assert result.stats["mass_defect"] < 1e-13


def test_weights_between_walls_without_drift_spread_evenly():
    rate, noise = 0.1, 0.5
    problem = Problem(
        weight_quantizer=UniformQuantizer(2, 3.0),
        input_quantizer=None,
        learning_rate=rate,
        noise_variance=noise,
        teacher=Teacher.constant(0.0),
        weight_clip=1.0,
    )
    # ψ = 0 = w*: no drift, ε_g = σ². The slowest mode falls by exp(−D π²/4 τ).
    time = 40.0 / (0.5 * rate**2 * noise)
    result = solve_pde(problem, [time], rtol=1e-6)
    w = np.linspace(-0.99, 0.99, 7)
    np.testing.assert_allclose(result.pdf(w, time), 0.5, rtol=0, atol=5e-5)
    np.testing.assert_allclose(result.order_parameters.q, 1.0 / 3.0, rtol=1e-5)


# A teacher on a level, no noise: ε_g → 0, and what is at rest then has to stay so for long.
FADING = Problem(
    weight_quantizer=UniformQuantizer(4, 2.1886994859237006),
    input_quantizer=None,
    learning_rate=1.8261341906075523,
    teacher=Teacher.constant(1.2506854205278288),
    batch_size=75,
)
# Two states, ε* = 0 and 0.278, and a start near the separatrix on the side of the first.
TWO_STATES = Problem(
    weight_quantizer=UniformQuantizer(3, 1.4171408778717818),
    input_quantizer=None,
    learning_rate=2.8594918107653093,
    teacher=Teacher.constant(0.9447605852478544),
    initial=GaussianInitial(1.2820405047327335, 7.892402729735725e-05, -0.5700939772087898),
)


def test_what_has_come_to_rest_stays_where_it_is() -> None:
    """Held for 745 units of time, even the least diffusion would move q by 90 rtol."""
    sharp = solve_pde(FADING, [0, 3, 748], rtol=1e-8)
    for rtol in (1e-4, 1e-6):
        density = solve_pde(FADING, [0, 1, 3, 10, 30, 100, 300, 748], rtol=rtol)
        found, truth = density.order_parameters[-1], sharp.order_parameters[-1]
        assert density.stats["at_rest_from"] < 20
        np.testing.assert_allclose(found.q, truth.q, rtol=5 * rtol)
        np.testing.assert_allclose(found.m, truth.m, rtol=5 * rtol)
        assert 0 <= found.generalization_error < 10 * rtol
        # Nothing moves any more: from then on all times have one and the same density.
        assert density.order_parameters.q[-2] == found.q


@pytest.mark.parametrize("rtol", [1e-4, 1e-5, 1e-7])
def test_output_times_do_not_choose_between_two_states(rtol: float) -> None:
    for times in ([19.605], np.linspace(0, 19.605, 13)):
        final = solve_pde(TWO_STATES, times, rtol=rtol).order_parameters[-1]
        assert 0 <= final.generalization_error < rtol


def test_a_rate_that_dies_out_leaves_the_density_where_it_is() -> None:
    """∫η is 0.5 from here on, all but 1e-17 of it before τ = 200; the rest of 10^6 is idle."""
    schedule = Schedule.exponential(0.1, rate=0.2)
    quantizer = UniformQuantizer(2, 1.0)
    problem = Problem(weight_quantizer=quantizer, input_quantizer=quantizer, learning_rate=schedule)
    density = solve_pde(problem, [200, 1e6])
    assert density.stats["at_rest_from"] < 200
    np.testing.assert_allclose(*density.order_parameters.generalization_error, rtol=1e-6)


def wide_start_at_thin_layers() -> Problem:
    """N(0, 433), of which thresholds make layers narrower than the positions there tell."""
    return Problem(
        weight_quantizer=UniformQuantizer(5, 0.8485291736993673),
        input_quantizer=UniformQuantizer(2, 1.76850265762693),
        learning_rate=1.1393240020744822e-05,
        ridge=0.008585703864432944,
        noise_variance=8.355455751618288e-05,
        teacher=Teacher([-1.6804137000629802], [1.0], [0.4305533434407173]),
        initial=GaussianInitial(0.0, 432.84158846917086, -0.9029805381827007),
        input_distribution="uniform",
        surrogate=Surrogate(slope=0.0),
    )


@pytest.mark.parametrize("rtol", [1e-4, 1e-6])
def test_layers_at_the_start_hold_what_the_law_does(rtol: float) -> None:
    """A Gaussian is positive, also in cells between whose ends its CDF is rounding."""
    frame = solve_pde(wide_start_at_thin_layers(), [0.0, 15.0], rtol=rtol).frames[0]
    assert frame.lowest() >= 0.0
    assert frame.mass_defect() < 1e-12


def test_layers_narrower_than_positions_tell_show_no_ripples() -> None:
    times = [0.0, 15.038664626213844, 95395.32359847955]
    loose, fine = (solve_pde(wide_start_at_thin_layers(), times, rtol=r) for r in (1e-4, 1e-6))
    assert loose.stats["minimum"] >= -1e-4
    for name in ("m", "q"):
        one, two = (getattr(found.order_parameters, name) for found in (loose, fine))
        np.testing.assert_allclose(one, two, rtol=1e-4)
