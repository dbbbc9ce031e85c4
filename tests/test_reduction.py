"""Order parameters from stored cells and weights, against moments known in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import norm

from fpsolve import (
    GaussianInitial,
    ParameterError,
    Problem,
    StepQuantizer,
    Surrogate,
    Teacher,
    UniformQuantizer,
    macroscopic_rates,
    order_parameters,
    simulate_ste,
    solve_pde,
)
from fpsolve.reduction import ORDER_PARAMETER_NAMES

TEACHER = Teacher([-1.0, 0.5], [0.25, 0.75])
PROBLEM = Problem(
    weight_quantizer=StepQuantizer([-1.0, 0.5, 2.0], [-0.25, 1.0]),
    input_quantizer=None,
    learning_rate=0.1,
    noise_variance=0.3,
    teacher=TEACHER,
)


@dataclass
class Cells:
    problem: Problem
    edges: np.ndarray
    density: np.ndarray


@dataclass
class Weights:
    problem: Problem
    weights: np.ndarray
    teacher_weights: np.ndarray


def gaussian_cells(per_bin: int) -> Cells:
    """Cell averages of N(0.2 w*, 1.5²), thresholds among the edges, at two equal times."""
    corners = [-15.0, -0.25, 1.0, 15.0]
    parts = [np.linspace(a, b, per_bin + 1)[:-1] for a, b in pairwise(corners)]
    edges = np.append(np.concatenate(parts), corners[-1])
    masses = np.diff(norm.cdf(edges, 0.2 * TEACHER.values[:, None], 1.5), axis=1)
    return Cells(PROBLEM, edges, np.stack([masses / np.diff(edges)] * 2))


def exact() -> dict[str, float]:
    """Closed forms for that Gaussian, by its bin probabilities and truncated means."""
    levels, theta = PROBLEM.weight_quantizer.levels, np.array([-np.inf, -0.25, 1.0, np.inf])
    m = q = m_psi = q_psi = r_psi = 0.0
    for w_star, p in zip(TEACHER.values, TEACHER.probabilities, strict=True):
        mean, s = 0.2 * w_star, 1.5
        z = (theta - mean) / s
        bins = np.diff(norm.cdf(z))
        first = mean * bins - s * np.diff(norm.pdf(z))
        m += p * w_star * mean
        q += p * (mean**2 + s**2)
        m_psi += p * w_star * (levels @ bins)
        q_psi += p * (levels**2 @ bins)
        r_psi += p * (levels @ first)
    rho = 0.25 + 0.75 * 0.25
    error = q_psi - 2 * m_psi + rho + 0.3
    s = np.sqrt(q - m**2 / rho)
    return dict(zip(ORDER_PARAMETER_NAMES, (m, q, s, m_psi, q_psi, r_psi, error), strict=True))


def test_cells_give_bin_sums_exactly_and_the_rest_to_second_order() -> None:
    truth = exact()
    coarse, fine = (order_parameters(gaussian_cells(n)) for n in (40, 80))
    for name in ("m_psi", "q_psi", "generalization_error"):
        assert_allclose(getattr(fine, name), [truth[name]] * 2, rtol=0, atol=1e-13)
    for name in ("m", "q", "r_psi"):
        errors = [abs(getattr(o, name)[0] - truth[name]) for o in (coarse, fine)]
        assert errors[1] < 0.3 * errors[0] + 1e-13


def test_weights_are_averaged_with_their_own_teacher() -> None:
    rng = np.random.default_rng(5)
    weights, teacher = rng.normal(size=(2, 3, 40)), rng.choice(TEACHER.values, size=(2, 40))
    result = order_parameters(Weights(PROBLEM, weights, teacher))
    assert result.m.shape == (2, 3)
    w, w_star = weights[1, 2], teacher[1]
    psi = np.where(w < -0.25, -1.0, np.where(w < 1.0, 0.5, 2.0))
    # ε_g as the expected squared error of the prediction itself, for unit-variance inputs.
    assert_allclose(result.generalization_error[1, 2], np.mean((psi - w_star) ** 2) + 0.3)
    assert_allclose(result.m[1, 2], np.mean(w * w_star))
    assert_allclose(result.r_psi[1, 2], np.mean(w * psi))
    rho = np.mean(w_star**2)
    assert_allclose(result.s[1, 2] ** 2, np.mean(w**2) - np.mean(w * w_star) ** 2 / rho)


RANDOM = Problem(
    weight_quantizer=UniformQuantizer(3, 1.0, rounding="stochastic"),
    input_quantizer=None,
    learning_rate=0.1,
    ridge=0.25,
)


def test_second_moment_of_random_rounding_is_over_the_rounding() -> None:
    """Against levels drawn by hand, then the density's own and the machine's own q_psi."""
    rng = np.random.default_rng(3)
    w = rng.normal(size=(1, 1, 500))
    levels, step = RANDOM.weight_quantizer.levels, np.diff(RANDOM.weight_quantizer.levels)[0]
    # Up to the next level with the probability of the fractional part, 4000 times a weight.
    place = (np.clip(w, -1, 1) - levels[0]) / step
    drawn = np.floor(place + rng.random((4000, 500))).clip(0, levels.size - 1).astype(int)
    squares = np.square(levels[drawn]).mean(axis=1)
    result = order_parameters(Weights(RANDOM, w, np.ones((1, 500))))
    # Five standard errors: 6e-7 for a right one to fail.
    assert abs(result.q_psi[0, 0] - squares.mean()) < 5 * squares.std() / np.sqrt(4000)
    assert result.q_psi[0, 0] > result.m_psi[0, 0] ** 2

    density = solve_pde(RANDOM, [0.0, 5.0, 20.0])
    assert_allclose(order_parameters(density).q_psi, density.order_parameters.q_psi, atol=2e-4)
    runs = simulate_ste(RANDOM, [0.0, 5.0, 20.0], dimension=600, runs=8, seed=1)
    again = order_parameters(runs)
    assert_allclose(again.q_psi, runs.order_parameters.q_psi, rtol=1e-12)
    spread = again.q_psi.std(axis=0, ddof=1) / np.sqrt(8)
    # Five standard errors of eight runs (t, 7 degrees: 1.6e-3 each) and the shift of the mean, 1/d.
    assert (
        np.abs(again.q_psi.mean(axis=0) - density.order_parameters.q_psi) < 5 * spread + 5e-3
    ).all()


def test_what_is_no_result_is_refused() -> None:
    with pytest.raises(ParameterError, match="source = 3: must be the result of solve_pde"):
        order_parameters(3)


@pytest.mark.parametrize(
    "rule",
    [
        {"weight_decay": 0.3},
        {"weight_decay": 0.2, "momentum": 0.5},
        {"weight_quantizer": UniformQuantizer(3, 1.0, rounding="stochastic")},
    ],
)
def test_rates_of_training_rules_are_those_of_the_density(rule) -> None:
    """Central differences of the density's own m and q, of second order in 0.02."""
    fields = {
        "weight_quantizer": UniformQuantizer(3, 1.0),
        "input_quantizer": None,
        "learning_rate": 0.1,
        "teacher": TEACHER,
        "initial": GaussianInitial(0.2, 0.5),
    }
    problem = Problem(**(fields | rule))
    h = 0.02
    state = solve_pde(problem, [3 - h, 3.0, 3 + h], rtol=1e-9).order_parameters
    dm, dq = macroscopic_rates(problem, state)
    assert (state.m[2] - state.m[0]) / (2 * h) == pytest.approx(dm[1], abs=2e-6)
    assert (state.q[2] - state.q[0]) / (2 * h) == pytest.approx(dq[1], abs=2e-6)


@pytest.mark.parametrize(
    "rule", [{"surrogate": Surrogate(1.0, 0.1)}, {"weight_clip": 1.0}, {"dampening": 0.1}]
)
def test_rates_that_averages_do_not_say_are_refused(rule) -> None:
    fields = {"weight_quantizer": UniformQuantizer(3, 1.0), "input_quantizer": None}
    problem = Problem(learning_rate=0.1, **fields, **rule)
    state = order_parameters(Weights(problem, np.ones((1, 1, 4)), np.ones((1, 4))))
    with pytest.raises(ParameterError, match="do not say its rates") as refused:
        macroscopic_rates(problem, state)
    assert refused.value.field == next(iter(rule))
