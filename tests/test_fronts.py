"""Sharp edges of densities, and what is left of them when nearly all mass lies on walls."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from fpsolve import (
    GaussianInitial,
    Problem,
    Schedule,
    StepQuantizer,
    Surrogate,
    Teacher,
    UniformQuantizer,
    solve_pde,
)

# `docs/accuracy.md`: errors of m and q relative to their largest value, in rtol.
_PROMISED = 10.0


@pytest.mark.parametrize("rtol", [1e-4, 1e-5])
def test_an_edge_that_leaves_a_wall_costs_steps_of_its_way_not_of_its_width(rtol: float) -> None:
    """Weights beyond the bounds are stuck, those between drift, to where they are at rest.

    Stochastic rounding makes the drift linear, −s(w − w_0). Diffusion makes the edge that leaves
    the lower bound some 1e-6 wide; but for it, w(τ) − w_0 falls by e^(−sτ).
    """
    omega, star = 0.08, 0.08
    problem = Problem(
        weight_quantizer=UniformQuantizer(6, omega, rounding="stochastic"),
        input_quantizer=UniformQuantizer(2, 1.5),
        learning_rate=2e-5,
        ridge=0.02,
        batch_size=700,
        surrogate=Surrogate(slope=0.0),
        teacher=Teacher.constant(star),
        initial=GaussianInitial(0.0, 1.0),
    )
    times = np.array([0.0, 700.0, 7000.0])
    density = solve_pde(problem, times, rtol=rtol)
    dynamics = problem.dynamics
    ends = dynamics.point_drift(np.array([-1.0, 1.0]) * omega * (1 - 1e-9), dynamics.coordinate(0))
    slope = (ends[0] - ends[1]) / (2 * omega)
    rest = ends.sum() / (2 * slope)
    left = np.exp(-slope * times)
    inside = 2 * ndtr(omega) - 1
    second = inside - 2 * omega * math.exp(-(omega**2) / 2) / math.sqrt(2 * math.pi)
    m = star * inside * rest * (1 - left)
    q = 1 - second + inside * (rest * (1 - left)) ** 2 + second * left**2
    heat = problem.diffusivity(float(density.order_parameters.generalization_error.max()))
    spread = float(np.max(heat)) * times[-1]
    assert spread < 0.1 * rtol * q.max()
    assert np.abs(density.order_parameters.m - m).max() < _PROMISED * rtol * m.max()
    assert np.abs(density.order_parameters.q - q).max() < _PROMISED * rtol * q.max()
    assert density.stats["minimum"] >= -rtol
    assert density.stats["steps"] < 600


def test_what_is_left_beside_walls_that_hold_nearly_all_needs_no_mesh_of_its_own() -> None:
    """Weights between the bounds end on them, those beyond stay where they are."""
    bound, variance = 0.325, 0.07
    problem = Problem(
        weight_quantizer=UniformQuantizer(6, bound),
        input_quantizer=UniformQuantizer(4, 1.43),
        learning_rate=0.09,
        batch_size=32,
        surrogate=Surrogate(slope=0.0),
        teacher=Teacher([-1.0, 1.0], [0.5, 0.5]),
        initial=GaussianInitial(0.0, variance),
    )
    density = solve_pde(problem, [0.0, 1e3, 1e6], rtol=1e-7)
    cut = bound / math.sqrt(variance)
    inside = 2 * ndtr(cut) - 1
    second = inside - 2 * cut * math.exp(-(cut**2) / 2) / math.sqrt(2 * math.pi)
    q = variance * (1 - second) + bound**2 * inside
    np.testing.assert_allclose(density.order_parameters.q[-1], q, rtol=1e-6)
    start = solve_pde(problem, [0.0, 1e-6], rtol=1e-7)
    assert density.stats["most_unknowns"] < 3 * start.stats["most_unknowns"]


def test_layers_that_a_dying_rate_leaves_are_at_rest_when_no_flux_passes_them() -> None:
    """Drift and diffusion balance in a layer: it is at rest long before each of them is small."""
    rate = 0.0145
    problem = Problem(
        weight_quantizer=StepQuantizer([-0.1, 0.1], [0.0]),
        input_quantizer=None,
        learning_rate=Schedule.exponential(1.75e-4, rate=rate),
        ridge=0.65,
        momentum=0.92,
        surrogate=Surrogate(bound=0.2, slope=0.94),
        teacher=Teacher.constant(0.16),
        initial=GaussianInitial(0.0, 2.77, -0.72),
    )
    rtol = 1e-7
    density = solve_pde(problem, [0.0, 1e4, 1e6], rtol=rtol)
    # |a| < 20/(1 − β) for |w| < 20: from then on no weight drifts by more than 0.1 rtol. It is seen
    # at the next step but one; steps are no longer than some times in which the rate falls by e.
    alone = math.log(20.0 / (1 - problem.momentum) / rate / (0.1 * rtol)) / rate
    assert density.stats["at_rest_from"] < alone + 5.0 / rate
    later = density.order_parameters.q[1:]
    assert later[0] == later[1]


def _drifted(problem: Problem, k: int, time: float, count: int) -> np.ndarray:
    """Quantiles of class k after `time` if weights drift alone, from N(0, 1); bin by bin."""
    dynamics, thresholds = problem.dynamics, problem.weight_quantizer.thresholds
    upper, lower = np.append(thresholds, np.inf), np.insert(thresholds, 0, -np.inf)
    inside = 0.5 * (np.append(thresholds, thresholds[-1] + 1) + np.insert(thresholds, 0, -99.0))
    drifts = dynamics.point_drift(inside, dynamics.coordinate(k))
    w, left = ndtri((np.arange(count) + 0.5) / count), np.full(count, time)
    at = np.searchsorted(thresholds, w)
    while (left > 0).any():
        drift = drifts[at]
        way = np.where(drift > 0, upper[at] - w, lower[at] - w)
        needed = np.divide(way, drift, out=np.full(count, np.inf), where=drift != 0)
        w = np.where(needed < left, np.where(drift > 0, upper[at], lower[at]), w + left * drift)
        left = np.maximum(left - needed, 0.0)
        after = np.clip(at + np.where(drift > 0, 1, -1), 0, thresholds.size)
        # Where both sides push onto a threshold it stays.
        left[drifts[after] * drift <= 0] = 0.0
        at = np.where(left > 0, after, at)
    return w


@pytest.mark.parametrize("time", [1e6, 3e6])
def test_what_fronts_leave_behind_is_damped(time: float) -> None:
    """Many thresholds and hardly any diffusion: m and q are those of weights that drift alone.

    Elements that drift rules keep no noise, or the mesh would stay as fine everywhere as it was at
    the fronts: with 171 000 unknowns.
    """
    values, rtol = np.linspace(-4.0, 4.0, 8), 1e-4
    problem = Problem(
        weight_quantizer=UniformQuantizer(7, 2.0),
        input_quantizer=None,
        learning_rate=1e-7,
        ridge=2.6,
        teacher=Teacher(values, np.full(8, 0.125)),
    )
    density = solve_pde(problem, [0.0, time], rtol=rtol)
    order = density.order_parameters
    laws = [_drifted(problem, k, time, 20_000) for k in range(8)]
    m = sum(value * w.mean() for value, w in zip(values, laws, strict=True)) / 8
    q = sum(np.square(w).mean() for w in laws) / 8
    heat = float(np.max(problem.diffusivity(float(order.generalization_error.max()))))
    # It moves weights by the root of 2 D t either way, by D/|a| at thresholds, and q by 2 D t.
    assert heat * time < 0.01 * rtol
    assert abs(order.m[-1] - m) < _PROMISED * rtol * max(abs(m), *np.abs(order.m))
    assert abs(order.q[-1] - q) < _PROMISED * rtol * max(q, *order.q)
    assert density.stats["most_unknowns"] < 70_000
