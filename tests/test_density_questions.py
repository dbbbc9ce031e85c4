"""What a density trajectory answers, against closed forms."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from closed_forms import ornstein_uhlenbeck
from scipy.stats import kstest, norm

from fpsolve import (
    GaussianInitial,
    ParameterError,
    Problem,
    Teacher,
    UniformQuantizer,
    simulate_ste,
    solve_ode,
    solve_pde,
    stationary_states,
)
from fpsolve.density.atoms import Atoms
from fpsolve.density.frame import Frame
from fpsolve.reduction import ORDER_PARAMETER_NAMES

TIMES = [0.0, 1.0, 5.0]
SCHEMES = {"auto": 1e-13, "spectral-volume": 1e-7, "scharfetter-gummel": 2e-2}


@pytest.fixture(scope="module", params=SCHEMES)
def solved(request, linear_problem):
    """Trajectory, and how far it may be from the exact density."""
    result = solve_pde(linear_problem, TIMES, rtol=1e-9, scheme=request.param)
    return result, SCHEMES[request.param]


@pytest.fixture(scope="module")
def quantized():
    problem = Problem(
        weight_quantizer=UniformQuantizer(2, 1.0),
        input_quantizer=None,
        learning_rate=0.1,
        ridge=0.5,
        teacher=Teacher([-1.0, 0.5], [0.25, 0.75]),
    )
    return solve_pde(problem, [0.0, 2.0, 400.0], rtol=1e-7)


def test_densities_are_those_of_the_closed_form(solved, linear_problem):
    result, allowed = solved
    means, variances = ornstein_uhlenbeck(linear_problem, TIMES)
    teacher = linear_problem.teacher
    w = np.linspace(-3, 3, 41)
    for i, time in enumerate(TIMES):
        exact = norm.pdf(w[:, None], means[i], np.sqrt(variances[i]))
        low = norm.cdf(-0.2, means[i], np.sqrt(variances[i]))
        high = norm.cdf(1.3, means[i], np.sqrt(variances[i]))
        marginal = exact @ teacher.probabilities
        np.testing.assert_allclose(result.pdf(w, time), marginal, atol=allowed)
        inside = (high - low) @ teacher.probabilities
        assert result.probability(-0.2, 1.3, time) == pytest.approx(inside, abs=allowed)
        assert result.pdf(0.3, time) == pytest.approx(result.pdf([0.3], time)[0])
        for k, value in enumerate(teacher.values):
            np.testing.assert_allclose(result.pdf(w, time, value), exact[:, k], atol=allowed)
            got = result.probability(-0.2, 1.3, time, teacher=value)
            assert got == pytest.approx(high[k] - low[k], abs=allowed)
            p = np.array([0.01, 0.5, 0.9])
            quantiles = norm.ppf(p, means[i, k], np.sqrt(variances[i]))
            np.testing.assert_allclose(
                result.quantile(p, time, value), quantiles, atol=30 * allowed
            )


def test_marginal_quantiles_invert_the_marginal(solved):
    result, allowed = solved
    for p in (1e-6, 0.25, 0.7, 0.999):
        w = result.quantile(p, 1.0)
        assert result.probability(-np.inf, w, 1.0) == pytest.approx(p, abs=max(allowed, 1e-9) / 10)


def test_samples_follow_the_density(quantized):
    weights, teachers = quantized.sample(20_000, 2.0, seed=3, labels=True)
    np.testing.assert_array_equal(weights, quantized.sample(20_000, 2.0, seed=3))
    assert not np.array_equal(weights, quantized.sample(20_000, 2.0, seed=4))
    assert (teachers == 0.5).mean() == pytest.approx(0.75, abs=0.015)

    def below(w, teacher=None):
        return [quantized.probability(-np.inf, x, 2.0, teacher) for x in np.atleast_1d(w)]

    assert kstest(weights, lambda w: np.array(below(w))).pvalue > 1e-3
    own = weights[teachers == -1.0]
    assert kstest(own, lambda w: np.array(below(w, -1.0))).pvalue > 1e-3
    alone = quantized.sample(4000, 2.0, seed=5, teacher=-1.0)
    assert kstest(alone, lambda w: np.array(below(w, -1.0))).pvalue > 1e-3
    assert quantized.sample(0, 2.0).size == 0


def test_a_settled_density_is_the_stationary_one(quantized):
    (state,) = stationary_states(quantized.problem)
    theta = quantized.problem.weight_quantizer.thresholds
    w = np.linspace(-1.2, 1.2, 61)
    for value in (-1.0, 0.5):
        exact = state.density(w, value)
        scale = exact.max()
        np.testing.assert_allclose(quantized.pdf(w, 400.0, value), exact, rtol=0, atol=1e-4 * scale)
    # Occupancy of the levels: exact sums of bin masses.
    ends = np.concatenate([[-np.inf], theta, [np.inf]])
    levels = quantized.problem.weight_quantizer.levels
    masses = [quantized.probability(a, b, 400.0, 0.5) for a, b in pairwise(ends)]
    assert masses @ levels == pytest.approx(0.5 / 1.5, abs=1e-6)


def test_cells_are_a_view_of_the_frames(quantized):
    assert "density" not in vars(quantized)
    for i, time in enumerate(quantized.times):
        for k, value in enumerate(quantized.problem.teacher.values):
            n = quantized.edges.size // 2
            low, high = quantized.edges[n], quantized.edges[n + 3]
            mass = quantized.masses[i, k, n : n + 3].sum()
            assert quantized.probability(low, high, time, value) == pytest.approx(mass, abs=1e-14)
    assert quantized.density is quantized.density


def test_a_point_start_is_an_atom():
    problem = Problem(
        weight_quantizer=UniformQuantizer(2, 1.0),
        input_quantizer=None,
        learning_rate=0.1,
        noise_variance=0.1,
        initial=GaussianInitial(mean=3.0, variance=0.0),
    )
    result = solve_pde(problem, [0.0, 0.5])
    np.testing.assert_array_equal(result.frozen, 0.0)  # it moves on
    assert result.quantile(0.3, 0.0) == 3.0
    assert result.probability(3.0, 3.0, 0.0) == 1.0
    assert result.pdf(3.0, 0.0) == 0.0
    np.testing.assert_array_equal(result.sample(3, 0.0), [3, 3, 3])
    np.testing.assert_allclose(result.masses.sum(axis=2), 1.0, rtol=1e-12)
    assert result.dense_times[0] == 0.0
    assert result.dense_order_parameters.q[0] == 9.0
    assert solve_pde(problem, [0.0]).masses.sum() == pytest.approx(1.0)


def test_populations_that_share_a_teacher_value_are_asked_together(linear_problem):
    teacher = Teacher([0.5, -1.0], [0.75, 0.25])
    problem = dataclasses.replace(linear_problem, teacher=teacher)
    base = solve_pde(problem, [0.0])
    frame = Frame.of_points([1.0, 2.0])
    assert base.problem.teacher.values.size == 2
    result = dataclasses.replace(base, frames=(frame,))
    assert result.probability(0.0, 1.5, 0.0) == 0.75
    assert result.probability(0.0, 1.5, 0.0, teacher=0.5) == 1.0
    mixed = Frame(4, [0, 0, 0], [], [], np.empty((5, 0)), Atoms([[1.0, 3.0]] * 2, [[0.5, 0.5]] * 2))
    half = dataclasses.replace(base, frames=(mixed,))
    np.testing.assert_array_equal(half.quantile([0.49, 0.51], 0.0), [1.0, 3.0])


# --- more output times than a dense array could hold ----------------------------------------------


def test_many_times_need_no_dense_array(quantized):
    frames = quantized.frames[1:2] * 10_000_000
    times = np.linspace(0, 1, len(frames))
    many = dataclasses.replace(quantized, frames=frames, times=times)
    assert many.probability(-10.0, 10.0, 1.0) == pytest.approx(1.0, abs=1e-9)


def test_a_dense_array_beyond_memory_is_refused(quantized, monkeypatch):
    monkeypatch.setattr("fpsolve.density.view._MOST_VALUES", 100.0)
    fresh = dataclasses.replace(quantized)
    with pytest.raises(ParameterError, match="ask `pdf`, `probability` or `frames`"):
        fresh.density  # noqa: B018
    assert fresh.pdf(0.0, 2.0) > 0


# --- the path between requested times -------------------------------------------------------------


def test_every_accepted_step_is_on_the_path(quantized):
    dense = quantized.dense_times
    assert dense[0] == 0.0
    assert (np.diff(dense) > 0).all()
    assert dense.size == quantized.stats["steps"] + 1
    at = np.searchsorted(dense, quantized.times)
    np.testing.assert_array_equal(dense[at], quantized.times)
    for name in ORDER_PARAMETER_NAMES:
        path = getattr(quantized.dense_order_parameters, name)
        assert path.shape == dense.shape
        np.testing.assert_array_equal(path[at], getattr(quantized.order_parameters, name))


def test_the_path_of_the_closure_is_its_steps(quantized):
    result = solve_ode(quantized.problem, [0.5, 3.0])
    dense = result.dense_times
    assert dense[0] == 0.0
    assert dense.size == result.stats["steps"] + 1
    at = np.searchsorted(dense, result.times)
    np.testing.assert_array_equal(dense[at], result.times)
    again = solve_ode(quantized.problem, dense[1:])
    for name in ORDER_PARAMETER_NAMES:
        path = getattr(result.dense_order_parameters, name)
        np.testing.assert_array_equal(path[at], getattr(result.order_parameters, name))
        np.testing.assert_allclose(
            getattr(again.order_parameters, name), path[1:], rtol=1e-6, atol=1e-6
        )


def test_the_path_of_full_precision_is_the_closed_form(linear_problem):
    result = solve_pde(linear_problem, [2.0])
    means, variances = ornstein_uhlenbeck(linear_problem, result.dense_times)
    q = variances + np.square(means) @ linear_problem.teacher.probabilities
    np.testing.assert_allclose(result.dense_order_parameters.q, q, rtol=1e-12)
    assert result.dense_times[0] == 0.0
    assert result.dense_times[-1] == 2.0
    assert np.diff(result.dense_times).max() < 0.02


# --- refusals and labels --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda r: r.pdf(0.0, 3.0), r"time = 3.0: must be one of the requested times 0, 2, 400"),
        (
            lambda r: r.pdf(0.0, 2.0, 0.7),
            r"teacher = 0.7: must be one of the teacher's values -1, 0",
        ),
        (lambda r: r.pdf([0.0, np.nan], 2.0), "w = .*: must be a finite number"),
        (lambda r: r.pdf("x", 2.0), "w = 'x': must be a finite number"),
        (lambda r: r.probability(1.0, 0.0, 2.0), "low = 1.0: must be <= high = 0; swap them"),
        (lambda r: r.probability(np.nan, 0.0, 2.0), "low = nan"),
        (lambda r: r.quantile(1.0, 2.0), "p = 1.0: must lie strictly between 0 and 1"),
        (lambda r: r.sample(-1, 2.0), "n = -1: must be an integer >= 0"),
        (lambda r: r.sample(1, 2.0, seed=0.5), "seed = 0.5: must be an integer"),
    ],
)
def test_questions_that_have_no_answer_are_refused(quantized, ask, message):
    with pytest.raises(ParameterError, match=message) as caught:
        ask(quantized)
    assert "\n" not in str(caught.value)


def test_long_lists_of_times_are_shortened(linear_problem):
    result = solve_pde(linear_problem, np.linspace(0, 1, 1000))
    with pytest.raises(ParameterError, match=r"… 1000 in all …, 1; solve for it too") as caught:
        result.pdf(0.0, 0.12345678)
    assert len(str(caught.value)) < 200


def test_labelled_arrays(quantized):
    data = quantized.to_xarray()
    assert data["density"].dims == ("time", "teacher", "w")
    np.testing.assert_array_equal(
        data["density"].sel(time=2.0, teacher=0.5), quantized.density[1, 1]
    )
    state = quantized.order_parameters
    np.testing.assert_array_equal(data["generalization_error"], state.generalization_error)
    assert data["dense_q_psi"].dims == ("dense_time",)
    macro = solve_ode(quantized.problem, [0.0, 1.0])
    np.testing.assert_array_equal(macro.to_xarray()["m"], macro.order_parameters.m)
    runs = simulate_ste(quantized.problem, [0.0, 1.0], dimension=50, runs=2, seed=1)
    labelled = runs.to_xarray()
    assert labelled["weights"].dims == ("run", "time", "coordinate")
    assert labelled["dense_m"].dims == ("run", "dense_time")
    np.testing.assert_array_equal(labelled["weights"].sel(time=1.0), runs.weights[:, 1])


# --- runaway weights ------------------------------------------------------------------------------


def test_meshes_that_nearly_coincide_leave_no_cell_without_width():
    # Teacher values of which one runs away: ends of elements lay at rounding from a threshold.
    problem = Problem(
        weight_quantizer=UniformQuantizer(3, 2.423414488596322),
        input_quantizer=UniformQuantizer(5, 0.31543223218908806),
        learning_rate=3.4556254709173375,
        ridge=0.016820380975166343,
        noise_variance=0.016549906519507357,
        teacher=Teacher([-0.3682981301180807, -2.6968373389726064], [0.5, 0.5]),
        initial=GaussianInitial(-0.01802701363414834, 7.105955556289873, 0.18870323615634346),
    )
    result = solve_pde(problem, [0, 30, 60, 102.6])
    assert (np.diff(result.edges) > 0).all()
    assert np.isfinite(result.density).all()
    np.testing.assert_allclose(result.masses.sum(axis=2), 1.0, rtol=0, atol=1e-12)
    assert -1e-6 <= result.stats["minimum"] <= 0.0
