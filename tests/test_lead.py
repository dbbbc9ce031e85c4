"""Narrow laws under a drift that varies smoothly: steps follow how it varies, not their widths."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp
from scipy.special import ndtr

from fpsolve import (
    GaussianInitial,
    McKeanVlasov,
    Problem,
    StepQuantizer,
    Teacher,
    UniformQuantizer,
    solve_mckean_vlasov,
    solve_pde,
)
from validation.robustness.problems import draw

# `docs/accuracy.md`: L¹ errors of densities within this many rtol.
_PROMISED = 100.0
_A, _D, _WIDTH = 1.5, 1e-12, 1e-6


def _speed(x):
    return -(_A + np.cos(x))


def _place(time: float) -> float:
    """Where dx/dt = −(A + cos x) leads from 0: tan(x/2) = −((A + 1)/(A − 1))^½ tan(ωt)."""
    root = math.sqrt((_A + 1.0) / (_A - 1.0))
    angle = 0.5 * math.sqrt(_A**2 - 1.0) * time
    turns = math.floor(angle / math.pi + 0.5)
    return -2.0 * (math.atan(root * math.tan(angle)) + math.pi * turns)


def _deviation(time: float) -> float:
    """Root of a(X)² (V_0/a(0)² + 2D ∫dt/a²), the law being linearized about its centre."""
    spread, _ = quad(lambda x: -1.0 / _speed(x) ** 3, _place(time), 0.0, epsabs=0.0, limit=200)
    variance = _WIDTH**2 / _speed(0.0) ** 2 + 2.0 * _D * spread
    return abs(_speed(_place(time))) * math.sqrt(variance)


@pytest.mark.parametrize("rtol", [1e-4, 1e-6])
def test_a_narrow_law_is_led_through_a_drift_that_bends(rtol):
    """It travels 10⁷ of its widths, contracts and widens fivefold; linearized, it is a Gaussian.

    What that leaves out is of the order of the width, 1e-6, relative to that of the drift.
    """
    equation = McKeanVlasov(_speed, _D, functionals=[lambda x: x])
    start = GaussianInitial(0.0, _WIDTH**2)
    solved = solve_mckean_vlasov(equation, start, [0.0, 1.0, 4.0, 8.0], rtol=rtol)
    assert solved.stats["steps"] < 2000
    z = np.linspace(-7.0, 7.0, 1001)
    for time in (1.0, 4.0, 8.0):
        deviation = _deviation(time)
        x = _place(time) + deviation * z
        found = solved.pdf(x, time) * deviation
        truth = np.exp(-0.5 * z**2) / math.sqrt(2.0 * math.pi)
        assert np.trapezoid(np.abs(found - truth), z) < _PROMISED * rtol


def test_weights_that_start_alike_follow_the_smoothed_steps():
    """So narrow, the law is a point on dw/dτ = η(w* − ψ_T(w)): what is missing is of order 1e-10.

    It is led through a smoothed threshold and a flat stretch, and comes to rest within another.
    """
    rtol, rate, temperature = 1e-6, 0.3, 0.03
    levels, thresholds = [-1.0, -1.0 / 3.0, 1.0 / 3.0, 1.0], [-2.0 / 3.0, 0.0, 2.0 / 3.0]
    problem = Problem(
        weight_quantizer=StepQuantizer(levels, thresholds, temperature),
        input_quantizer=None, learning_rate=rate,
        batch_size=10**9, noise_variance=0.1, ridge=4.0, initial=GaussianInitial(1.2, 1e-14),
    )  # fmt: skip

    def quantized(w):
        return -1.0 + 2.0 / 3.0 * sum(ndtr((w - at) / temperature) for at in thresholds)

    times = np.array([0.0, 1.0, 3.0, 10.0])
    solved = solve_pde(problem, times, rtol=rtol)
    truth = solve_ivp(
        lambda _, w: rate * (1.0 - 5.0 * quantized(w)), (0.0, 10.0), [1.2], t_eval=times,
        rtol=1e-12, atol=1e-12, method="DOP853",
    )  # fmt: skip
    assert solved.stats["steps"] < 2000
    expected = quantized(truth.y[0])
    np.testing.assert_allclose(solved.order_parameters.m_psi, expected, rtol=0, atol=10 * rtol)
    medians = [solved.quantile(0.5, time) for time in times]
    np.testing.assert_allclose(medians, truth.y[0], rtol=0, atol=10 * rtol)


@pytest.mark.parametrize("rtol", [1e-5, 1e-6, 1e-7])
def test_what_moves_of_its_own_beside_led_meshes_is_where_it_has_come(rtol: float) -> None:
    """Beyond all steps the drift is constant: those teacher values are seen at every time there."""
    task = draw(41, 148)
    problem, quantizer = task.problem, task.problem.weight_quantizer
    assert quantizer is not None
    assert isinstance(problem.ridge, float)
    density = solve_pde(problem, task.times, rtol=rtol)
    start = problem.initial.mean + problem.initial.overlap * problem.teacher.values
    outside = np.abs(start) > quantizer.thresholds[-1] + 40.0 * quantizer.temperature
    assert outside.sum() > 20
    pull = (1.0 + problem.ridge) * np.sign(start) * quantizer.levels[-1]
    speed = problem.learning_rate * (problem.teacher.values - pull)
    for time, frame in zip(task.times, density.frames, strict=True):
        mean = frame.expectation(lambda w: w)
        np.testing.assert_allclose((mean - start - speed * time)[outside], 0.0, atol=10 * rtol)


def test_a_law_as_wide_as_the_steps_it_travels_over_is_left_to_itself():
    """Weights start as points, are led, and spread over several smoothed steps on their way."""
    problem = Problem(
        weight_quantizer=UniformQuantizer(8, 8.348, temperature=0.01277), input_quantizer=None,
        learning_rate=1.24e-3, ridge=0.00438, noise_variance=0.3245,
        teacher=Teacher([-1.5, 1.5], [0.5, 0.5]), initial=GaussianInitial(0.0, 0.0),
    )  # fmt: skip
    times = [0.0, 2e3, 1e4]
    solved = solve_pde(problem, times, rtol=1e-6)
    assert solved.stats["steps"] < 400
    # The other scheme, of second order, on uniform cells.
    peer = solve_pde(problem, times, rtol=1e-7, scheme="scharfetter-gummel", cells=2000)
    for name in ("generalization_error", "m", "q"):
        ours, theirs = (getattr(d.order_parameters, name)[-1] for d in (solved, peer))
        np.testing.assert_allclose(ours, theirs, rtol=5e-5)


def test_a_drift_that_cancels_to_rounding_is_no_rough_one() -> None:
    """ψ has all but reached the teacher's value; what is left of the drift is digits lost."""
    task, rtol = draw(41, 3), 1e-7
    dynamics, start = task.problem.dynamics, 0.3 + task.problem.teacher.values

    def drift(time: float, w):
        return dynamics.point_drift(w, dynamics.coordinate(0), time)

    truth = solve_ivp(drift, (0.0, task.times[-1]), start, t_eval=task.times, rtol=1e-9)
    density = solve_pde(task.problem, task.times, rtol=rtol)
    assert density.stats["steps"] < 300
    m = task.problem.teacher.values[0] * truth.y[0]
    np.testing.assert_allclose(density.order_parameters.m, m, rtol=10 * rtol)


def test_a_led_mesh_that_ends_beyond_a_wall_keeps_its_mass() -> None:
    """Of a rare teacher value, whose law is led from the upper clipping wall to the lower one."""
    task = draw(1, 814)
    solved = solve_pde(task.problem, task.times, rtol=1e-4)
    assert solved.stats["mass_defect"] < 1e-12
