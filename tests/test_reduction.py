"""Order parameters from stored cells and weights, against moments known in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.testing import assert_allclose
from scipy.stats import norm

from fpsolve import Problem, StepQuantizer, Teacher, order_parameters
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
