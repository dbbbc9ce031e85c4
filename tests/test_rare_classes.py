"""Teacher values of small probability: positive, conserved, right, and cheap."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.interpolate import PchipInterpolator
from scipy.special import ndtr

from fpsolve import (
    GaussianInitial,
    McKeanVlasov,
    Problem,
    Schedule,
    StepQuantizer,
    Surrogate,
    Teacher,
    UniformQuantizer,
    solve_mckean_vlasov,
    solve_pde,
)
from fpsolve.numerics.attach import _continued
from fpsolve.numerics.element import reference_element
from validation.robustness.problems import draw

_TIMES = [0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]
_QUANTIZER = UniformQuantizer(3, 1.0)


def _problem(nodes):
    return Problem(
        weight_quantizer=_QUANTIZER,
        input_quantizer=None,
        learning_rate=0.04,
        ridge=1.0,
        teacher=Teacher.gaussian(1.0, nodes),
    )


@pytest.fixture(scope="module")
def fine():
    return solve_pde(_problem(32), _TIMES, rtol=1e-8)


@pytest.mark.parametrize("rtol", [1e-4, 1e-6, 1e-7])
@pytest.mark.parametrize("nodes", [32, 64, 128])
def test_mass_and_sign_hold_and_lifting_stays_within_its_share(nodes, rtol):
    density = solve_pde(_problem(nodes), _TIMES, rtol=rtol)
    assert density.stats["mass_defect"] < 1e-12
    assert density.stats["minimum"] >= -rtol
    # A tenth of what is promised of functionals, a quarter of what is promised in L¹.
    assert 0.0 <= density.stats["lifted"] <= 2.5 * rtol


def test_rare_values_are_lifted_and_a_lone_common_one_never():
    assert solve_pde(_problem(32), _TIMES).stats["lifted"] > 0
    alone = Problem(
        weight_quantizer=_QUANTIZER, input_quantizer=None, learning_rate=0.04, ridge=1.0
    )
    assert solve_pde(alone, _TIMES).stats["lifted"] == 0


@pytest.mark.parametrize("rtol", [1e-4, 1e-6])
def test_order_parameters_agree_with_a_much_finer_solve(fine, rtol):
    found = solve_pde(_problem(32), _TIMES, rtol=rtol).order_parameters
    for name in ("generalization_error", "m", "q"):
        exact = getattr(fine.order_parameters, name)
        assert np.abs(getattr(found, name) - exact).max() <= rtol * np.abs(exact).max()


@pytest.mark.parametrize("nodes", [32, 64, 128])
def test_steps_and_unknowns_do_not_grow_with_values_that_weigh_nothing(nodes):
    # Values beyond 5 standard deviations together weigh less than rtol.
    few = solve_pde(_problem(8), _TIMES).stats
    many = solve_pde(_problem(nodes), _TIMES).stats
    tries = [s["steps"] + s["rejected"] + s["refined"] for s in (few, many)]
    assert tries[1] <= 2 * tries[0]
    assert many["most_unknowns"] / nodes <= few["most_unknowns"] / 8


@pytest.mark.parametrize("k", [0, 3, 6])
def test_a_value_alone_under_the_same_error_has_the_same_density(fine, k):
    # Given ε_g(τ) its equation is linear, and `McKeanVlasov` knows neither classes nor rarity.
    problem = _problem(32)
    target = float(problem.teacher.values[k])
    error = PchipInterpolator(fine.dense_times, fine.dense_order_parameters.generalization_error)
    eta, offset = problem.learning_rate, problem.ridge + 1.0
    model = McKeanVlasov(
        lambda w: eta * (target - offset * _QUANTIZER(w)),
        lambda t, _: 0.5 * eta**2 * float(error(min(t, _TIMES[-1]))),
        breaks=_QUANTIZER.thresholds.tolist(),
    )
    alone = solve_mckean_vlasov(model, GaussianInitial(), [10.0, 50.0], rtol=1e-6)
    density = solve_pde(problem, _TIMES)
    for time in (10.0, 50.0):
        low, high = density.quantile([1e-4, 1 - 1e-4], time, teacher=target)
        edges = np.linspace(low, high, 401)
        exact = [alone.probability(a, b, time) for a, b in pairwise(edges)]
        found = [density.probability(a, b, time, teacher=target) for a, b in pairwise(edges)]
        # 5 % is promised of the rarest.
        assert np.abs(np.array(found) - exact).sum() < 0.02
        assert sum(exact) == pytest.approx(1.0, abs=1e-2)


def test_rare_densities_answer_questions():
    density = solve_pde(_problem(32), [0.0, 50.0])
    target = float(density.problem.teacher.values[0])
    levels = np.array([0.01, 0.25, 0.5, 0.75, 0.99])
    points = density.quantile(levels, 50.0, teacher=target)
    below = [density.probability(-np.inf, x, 50.0, teacher=target) for x in points]
    np.testing.assert_allclose(below, levels, atol=1e-9)
    assert (density.pdf(points, 50.0, teacher=target) > 0).all()


def _astray(density, time, target, edges, cdf):
    """Σ|found − exact| over the masses between `edges`, of the class of `target`."""
    found = [density.probability(a, b, time, teacher=target) for a, b in pairwise(edges)]
    return float(np.abs(np.array(found) - np.diff(cdf(edges))).sum())


def test_a_rare_law_that_travels_thousands_of_its_widths_leaves_nothing_on_its_way():
    """Decay draws it out of sight of all thresholds; its mean and variance obey linear equations.

    Given ε_g(τ) these are its truth, for in one bin it stays a Gaussian.
    """
    level, decay = 2.5, 0.003
    problem = Problem(
        weight_quantizer=StepQuantizer([-level, level]), input_quantizer=None, learning_rate=3e-4,
        ridge=1.0, momentum=0.6, weight_decay=decay, initial=GaussianInitial(-1.4, 0.1),
        teacher=Teacher([-1.0, 1.0, -10.3, -8.0], [0.5, 0.5 - 2e-12, 1e-12, 1e-12]),
    )  # fmt: skip
    times = [0.0, 1e5, 1e6]
    density = solve_pde(problem, times)
    error = PchipInterpolator(
        density.dense_times, density.dense_order_parameters.generalization_error
    )
    gain = problem.learning_rate / (1.0 - problem.momentum)
    for value in (-10.3, -8.0):
        push = value + 2.0 * level

        def pace(time, state, push=push):
            heat = float(problem.dynamics.diffusivity(time, float(error(time))))
            return [gain * (push - decay * state[0]), 2.0 * (heat - gain * decay * state[1])]

        truth = solve_ivp(pace, (0.0, times[-1]), [-1.4, 0.1], "LSODA", times[1:], rtol=1e-9)
        for time, mean, variance in zip(times[1:], *truth.y, strict=True):
            grid = mean + np.sqrt(variance) * np.linspace(-6.0, 6.0, 201)
            edges = np.concatenate([[1e3 * value], grid, [0.0]])
            astray = _astray(
                density, time, value, edges,
                lambda x, mean=mean, variance=variance: ndtr((x - mean) / np.sqrt(variance)),
            )  # fmt: skip
            assert astray < 0.1


def test_a_rare_law_that_sees_no_noise_follows_its_drift_into_a_threshold():
    """Both sides push onto 0, where what has come stays; outside, the law is carried along."""
    level, ridge, horizon, deaf = 0.65, 3.0, 17_000.0, 0.5
    problem = Problem(
        weight_quantizer=StepQuantizer([-level, level]), input_quantizer=None,
        learning_rate=Schedule.cosine(1e-4, 0.0, duration=horizon), ridge=ridge, noise_variance=2.7,
        teacher=Teacher([1.0, deaf], [1.0 - 1e-11, 1e-11], [1.0, 3e-4]),
    )  # fmt: skip
    density = solve_pde(problem, [0.0, 0.3 * horizon, horizon])
    assert density.stats["steps"] < 1000
    for time in (0.3 * horizon, horizon):
        share = time / horizon
        way = ridge * level * 1e-4 * 0.5 * horizon * (share + np.sin(np.pi * share) / np.pi)

        def cdf(x, way=way):
            return np.where(x > 0, ndtr(x + way), ndtr(x - way))

        half = np.concatenate([np.geomspace(1e-3, 0.1, 20), np.linspace(0.15, 6.0, 60)])
        assert _astray(density, time, deaf, np.append(-half[::-1], half), cdf) < 0.05


def test_a_rare_law_that_has_crossed_many_thresholds_leaves_no_noise_behind():
    """Where hardly anything diffuses it is carried along characteristics, slower from bin to bin.

    Beyond the last of them it is a smooth law again, for which few elements suffice.
    """
    rate, ridge, target = 2e-5, 0.08, 28.0
    quantizer = UniformQuantizer(7, 7.5)
    problem = Problem(
        weight_quantizer=quantizer, input_quantizer=None, learning_rate=rate, ridge=ridge,
        teacher=Teacher([0.5, target], [1.0 - 1e-30, 1e-30]),
    )  # fmt: skip
    times = [0.0, 1e4, 3e4]
    density = solve_pde(problem, times)
    points = np.linspace(-8.0, 40.0, 400_001)
    # The time it takes to come here; none of the drifts vanishes.
    middle = 0.5 * (points[1:] + points[:-1])
    pace = rate * (target - (1.0 + ridge) * quantizer(middle))
    spent = np.append(0.0, np.cumsum(np.diff(points) / pace))
    for time in times[1:]:
        edges = np.linspace(-4.0, 30.0, 341)

        def cdf(x, time=time):
            return ndtr(np.interp(np.interp(x, points, spent) - time, spent, points))

        assert _astray(density, time, target, edges, cdf) < 0.05
    first = density.frames[-1].first
    assert first[2] - first[1] <= 40


def test_rare_layers_cost_no_steps_once_they_have_settled():
    """Of probability 1e-12 and less, they change nothing: the same as without them, as quickly."""
    common = {
        "weight_quantizer": UniformQuantizer(4, 0.389), "input_quantizer": None,
        "learning_rate": 3.477, "ridge": 0.0708, "batch_size": 21, "noise_variance": 6.0,
        "initial": GaussianInitial(-0.0298, 0.0), "surrogate": Surrogate.triangular(17.81),
    }  # fmt: skip
    values = [-0.5, 0.5, -56.6, -30.0, -15.0, 15.0, 30.0, 56.6]
    rare = [1e-102, 1e-30, 1e-12, 1e-12, 1e-30, 1e-102]
    alone = Teacher(values[:2], [0.5, 0.5])
    among = Teacher(values, [0.5 - 1e-12, 0.5 - 1e-12, *rare])
    times, rtol = [100.0, 1e4, 1e6], 1e-4
    density, two = (
        solve_pde(Problem(teacher=teacher, **common), times, rtol=rtol)
        for teacher in (among, alone)
    )
    assert density.stats["steps"] < 1000
    for name in ("generalization_error", "m", "q"):
        ours, theirs = (getattr(d.order_parameters, name) for d in (density, two))
        np.testing.assert_allclose(ours, theirs, rtol=10 * rtol)


def test_rare_laws_next_to_a_wall_that_absorbs_are_nowhere_negative():
    """Their outermost element is wide, and ends in the wall, where no lift is."""
    problem = Problem(
        weight_quantizer=None,
        input_quantizer=UniformQuantizer(3, 0.5291429249448986),
        learning_rate=0.34799784915172954,
        ridge=6.59669390782423,
        noise_variance=26.12427668378229,
        teacher=Teacher.gaussian(1.3941901105915449, 64),
        surrogate=Surrogate(3.6944067668530676, 0.0),
        batch_size=116,
        momentum=0.27237705531159206,
        initial=GaussianInitial(0.3, 0.0),
    )
    density = solve_pde(problem, [0.09047690161645212], rtol=1e-7)
    assert density.stats["minimum"] > -1e-7
    assert density.stats["mass_defect"] < 1e-12


def test_rare_laws_whose_meshes_end_early_come_back_to_the_lattice_without_ripples():
    """Of classes with probabilities below 1e-18, carried along and put back at the last time."""
    task = draw(1, 2481)
    assert solve_pde(task.problem, task.times, rtol=1e-7).stats["minimum"] >= -1e-7


@pytest.mark.parametrize("upwards", [True, False])
@pytest.mark.parametrize("ratio", [0.25, 0.6, 0.999, 1.0, 1.5])
def test_what_ends_early_goes_on_as_an_exponential_of_the_mass_there(ratio, upwards):
    element = reference_element(8)
    u = _continued(element, 2.0, 2.0 * ratio, upwards=upwards)
    assert u[0 if upwards else -1] == 2.0
    assert u.min() > 0.0
    assert 0.5 * element.weights @ u == pytest.approx(2.0 * ratio, rel=1e-14)
    assert (np.diff(u if upwards else u[::-1]) * (ratio - 1.0) >= -1e-12).all()


def test_values_that_never_occur_are_lifted_at_any_price():
    """One of 10¹⁰² weights, whose law travels hundreds of its widths: others would wait for it."""
    problem = Problem(
        weight_quantizer=UniformQuantizer(9, 0.36, temperature=0.83), input_quantizer=None,
        learning_rate=5e-5, ridge=0.25, noise_variance=5e-4, weight_decay=3.5e-4,
        teacher=Teacher([-13.4, -0.5], [1e-102, 1.0]),
    )  # fmt: skip
    crude, fine = (solve_pde(problem, [1e6], rtol=rtol) for rtol in (1e-4, 1e-8))
    assert crude.stats["rejected"] < 20
    assert crude.stats["minimum"] >= -1e-4
    assert crude.stats["lifted"] > 2.5e-4  # More than others may be.
    # About 630 below 0, and a few wide.
    w = np.linspace(*fine.frames[0].support(), 100_001)
    away = np.abs(crude.frames[0].pdf(0, w) - fine.frames[0].pdf(0, w))
    assert away.sum() * (w[1] - w[0]) < 0.5
