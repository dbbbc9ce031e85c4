"""Coordinates whose quantized inputs vanish: weights that see no noise contract to points."""

from __future__ import annotations

import numpy as np
import pytest

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


@pytest.mark.parametrize("rtol", [1e-4, 1e-6])
def test_laws_that_contract_to_points_are_those_of_the_closed_form(rtol):
    assert PROBLEM.dynamics.sigma2[0] < 1e-15 < 0.1 < PROBLEM.dynamics.sigma2[1]
    times = [10.0, 1e4, 1e6]
    found = solve_pde(PROBLEM, times, rtol=rtol, scheme="spectral-volume")
    exact = solve_pde(PROBLEM, times)
    assert exact.frames[-1].deviation[0] < 1e-100
    for name in ("generalization_error", "m", "q"):
        one, two = (getattr(t.order_parameters, name) for t in (found, exact))
        assert np.abs(one - two).max() < 10.0 * rtol * np.abs(two).max()
    spread = found.frames[-1].quantile(0, np.array([0.01, 0.99]))
    assert np.abs(spread).max() < 1e-4
    assert found.stats["most_unknowns"] < 2000
