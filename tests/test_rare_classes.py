"""Teacher values of small probability: positive, conserved, right, and cheap."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator

from fpsolve import (
    GaussianInitial,
    McKeanVlasov,
    Problem,
    Teacher,
    UniformQuantizer,
    solve_mckean_vlasov,
    solve_pde,
)

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
