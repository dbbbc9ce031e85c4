"""Drifts that vary inside bins and lead everything to one place, with what an element missed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from fpsolve import (
    GaussianInitial,
    Problem,
    SolveError,
    Surrogate,
    Teacher,
    UniformQuantizer,
    solve_pde,
)
from validation.robustness.problems import draw


def rounding_variance(mean: np.ndarray, variance: np.ndarray, step: float) -> np.ndarray:
    """E Δ² f(1 − f) of weights N(mean, variance) rounded stochastically to multiples of Δ."""
    n = np.arange(1, 60)[:, None]
    waves = np.cos(2 * np.pi * n * mean / step) / (np.pi * n) ** 2
    damping = np.exp(-2 * (np.pi * n) ** 2 * variance / step**2)
    return step**2 * (1 / 6 - (waves * damping).sum(axis=0))


@pytest.mark.parametrize("rtol", [1e-4, 1e-5, 1e-6])
def test_stochastic_rounding_is_gaussian_far_from_the_outermost_level(rtol):
    # ψ is w on average, so that each law stays Gaussian, and its moments follow
    # ṁ = η(κ w* − S m), v̇ = −2ηS v + η²S ε_g/B.
    rate, batch, omega, bits = 8e-5, 10, 20.4, 6
    problem = Problem(
        weight_quantizer=UniformQuantizer(bits, omega, rounding="stochastic"),
        input_quantizer=UniformQuantizer(2, 1.34),
        learning_rate=rate,
        batch_size=batch,
        teacher=Teacher([-1.0, 1.0], [0.5, 0.5], [0.44, 1.0]),
        surrogate=Surrogate(slope=0.0),
    )
    dynamics = problem.dynamics
    kappa, sigma2, w_star = dynamics.kappa, dynamics.sigma2, dynamics.w_star

    def error(mean, variance):
        square = mean**2 + variance + rounding_variance(mean, variance, 2 * omega / (2**bits - 2))
        return problem.rho + 0.5 * (sigma2 * square - 2 * kappa * w_star * mean).sum()

    def slopes(_, state):
        mean, variance = state[:2], state[2:]
        heat = rate**2 * sigma2 * error(mean, variance) / batch
        pull = rate * (kappa * w_star - sigma2 * mean)
        return np.concatenate([pull, heat - 2 * rate * sigma2 * variance])

    times = [1e4, 1e5, 1.8e5]
    start = [0.0, 0.0, 1.0, 1.0]
    exact = solve_ivp(slopes, (0.0, times[-1]), start, t_eval=times, rtol=1e-10, atol=1e-12).y
    mean, variance = exact[:2], exact[2:]
    state = solve_pde(problem, times, rtol=rtol).order_parameters
    expected = [error(m, v) for m, v in zip(mean.T, variance.T, strict=True)]
    bound = {"rtol": 0, "atol": 10 * rtol}
    np.testing.assert_allclose(state.generalization_error, expected, **bound)
    np.testing.assert_allclose(state.q, 0.5 * (mean**2 + variance).sum(axis=0), **bound)


def test_growth_by_tens_of_decades_is_solved_or_refused_but_never_wrong():
    # Above the stable rate q grows as exp(80 τ): elements of the start are lost in it.
    problem = Problem(
        weight_quantizer=None,
        input_quantizer=None,
        learning_rate=10.0,
        noise_variance=3.5e-4,
        teacher=Teacher.constant(1.0),
        initial=GaussianInitial(-0.56, 8e-5, 0.35),
    )
    for rtol, time in ((1e-4, 0.3), (1e-6, 2.8)):
        exact = solve_pde(problem, [time]).order_parameters.q
        found = solve_pde(problem, [time], rtol=rtol, scheme="spectral-volume")
        np.testing.assert_allclose(found.order_parameters.q, exact, rtol=10 * rtol)
    with pytest.raises(SolveError, match=r"above 2 B \(S \+ ridge\)/S\^2"):
        solve_pde(problem, [2.8], rtol=1e-4, scheme="spectral-volume")


def test_atoms_on_absorbing_walls_hold_no_less_than_nothing():
    # 64 teacher values, the rarest of them 3e-49 probable.
    task = draw(1, 677)
    found = solve_pde(task.problem, task.times, rtol=1e-4)
    for frame in found.frames:
        assert frame.atoms.masses.min() >= 0.0
        assert frame.mass_defect() < 1e-12
