"""Coordinates whose quantized inputs vanish: weights that see no noise contract to points."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from fpsolve import Problem, Teacher, UniformQuantizer, solve_pde

# Inputs of scale 0.2, of which 3-bit steps as wide as 0.9 leave nothing: S of the first is 0.
PROBLEM = Problem(
    weight_quantizer=None,
    input_quantizer=UniformQuantizer(3, 3.2),
    learning_rate=1.2e-3,
    ridge=0.27,
    noise_variance=95.0,
    teacher=Teacher([1.6, 1.5], [0.3, 0.7], [0.2, 0.77]),
    input_distribution="uniform",
)


def linear_moments(problem, times):
    """Order parameters of full precision: means and variances of linear equations."""
    d, teacher, eta = problem.dynamics, problem.teacher, problem.learning_rate
    pull = d.sigma2 + problem.ridge
    share = teacher.probabilities

    def error(mean, variance):
        loss = d.sigma2 * (variance + mean**2) - 2 * d.kappa * teacher.values * mean
        return problem.rho + problem.noise_variance + share @ loss

    def rates(time, state):
        mean, variance = np.split(state, 2)
        heat = eta**2 * d.sigma2 * error(mean, variance) / problem.batch_size
        return np.append(
            eta * (d.kappa * teacher.values - pull * mean), heat - 2 * eta * pull * variance
        )

    begin = np.append(np.zeros(2), np.ones(2))
    path = solve_ivp(rates, (0, times[-1]), begin, "Radau", t_eval=times, rtol=1e-11, atol=1e-14).y
    mean, variance = path[:2], path[2:]
    return {
        "generalization_error": np.array(
            [error(*pair) for pair in zip(mean.T, variance.T, strict=True)]
        ),
        "m": (share * teacher.values) @ mean,
        "q": share @ (variance + mean**2),
    }


@pytest.mark.parametrize("rtol", [1e-4, 1e-6])
def test_laws_that_contract_to_points_are_those_of_linear_equations(rtol):
    assert PROBLEM.dynamics.sigma2[0] < 1e-15 < 0.1 < PROBLEM.dynamics.sigma2[1]
    times = [10.0, 1e4, 1e6]
    found = solve_pde(PROBLEM, times, rtol=rtol, scheme="spectral-volume")
    exact = linear_moments(PROBLEM, times)
    for name, values in exact.items():
        error = np.abs(getattr(found.order_parameters, name) - values).max()
        assert error < 10.0 * rtol * np.abs(values).max()
    spread = found.frames[-1].quantile(0, np.array([0.01, 0.99]))
    assert np.abs(spread).max() < 1e-4
    assert found.stats["most_unknowns"] < 2000


@pytest.mark.parametrize("ridge", [0.0, 0.5])
def test_nothing_but_decay_moves_weights_whose_inputs_all_vanish(ridge):
    """κ = S = 0: a Gaussian start shrinks by exp(−ηλτ), and ε_g is ρ and the noise."""
    problem = Problem(
        weight_quantizer=None, input_quantizer=UniformQuantizer(3, 3.2), learning_rate=0.75,
        ridge=ridge, noise_variance=0.1, teacher=Teacher([-1.7], [1.0], [0.2]),
        input_distribution="uniform",
    )  # fmt: skip
    assert problem.sigma2 == 0.0
    assert abs(problem.kappa) < 1e-15
    times = np.array([0.0, 0.5, 3.0])
    solved = solve_pde(problem, times)
    shrunk = np.exp(-0.75 * ridge * times)
    np.testing.assert_allclose(solved.order_parameters.q, shrunk**2, rtol=1e-13)
    np.testing.assert_allclose(
        solved.order_parameters.generalization_error, problem.rho + 0.1, rtol=1e-13
    )
    x = np.linspace(-3.0, 3.0, 7)
    exact = np.exp(-0.5 * (x / shrunk[-1]) ** 2) / (shrunk[-1] * np.sqrt(2.0 * np.pi))
    np.testing.assert_allclose(solved.frames[-1].pdf(0, x), exact, rtol=1e-12)
