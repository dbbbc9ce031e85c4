"""Laws whose error, and with it whose diffusion, dies out; and what comes into narrow bins."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import solve_banded
from scipy.stats import norm

from fpsolve import (
    GaussianInitial,
    Problem,
    StepQuantizer,
    Teacher,
    UniformQuantizer,
    macroscopic_rates,
    solve_pde,
    stationary_states,
)
from fpsolve.density.frame import Frame
from fpsolve.density.view import AnyFrame
from validation.robustness.problems import draw


def _displaced(frame: AnyFrame, mean: float, deviation: float) -> float:
    """∫|F₁ − F₂| between class 0 and a normal law."""
    assert isinstance(frame, Frame)
    w = mean + deviation * np.linspace(-9.0, 9.0, 4001)
    w = np.unique(np.concatenate([w, frame.left, [frame.left[-1] + frame.width[-1]]]))
    middle = 0.5 * (w[1:] + w[:-1])
    change = np.abs(frame.cdf(0, middle) - norm.cdf(middle, mean, deviation))
    return float(change @ np.diff(w))


@pytest.mark.parametrize("rtol", [1e-4, 1e-6, 1e-8, 1e-9])
def test_a_law_that_contracts_without_error_shrinks_to_a_point(rtol: float) -> None:
    """ψ is 0 all around, as the teacher is: nothing diffuses, and decay is all there is."""
    start = GaussianInitial(mean=0.5, variance=4e-6)
    problem = Problem(
        weight_quantizer=UniformQuantizer(3, 24.0),
        input_quantizer=None,
        learning_rate=9.0,
        teacher=Teacher.constant(0.0),
        weight_decay=0.5,
        initial=start,
    )
    rate = 9.0 * 0.5
    times = [1.0 / rate, 4.0 / rate, 1e6]
    density = solve_pde(problem, times, rtol=rtol)
    for time, frame in zip(times, density.frames, strict=True):
        left = np.exp(-min(rate * time, 500.0))
        assert _displaced(frame, 0.5 * left, 2e-3 * left) < 10.0 * rtol * 0.5
    assert density.stats["at_rest_from"] < 30.0 / rate
    assert density.stats["steps"] < 2000


@pytest.mark.parametrize("rtol", [1e-6, 1e-8])
def test_layers_thinner_than_positions_leave_no_ripples(rtol: float) -> None:
    """The last threshold is crossed by diffusion alone; beyond it nothing pulls or diffuses."""
    problem = Problem(
        weight_quantizer=UniformQuantizer(4, 27.667760293185292),
        input_quantizer=UniformQuantizer(4, 1.9835984760222396),
        learning_rate=2e-5,
        ridge=0.37,
        teacher=Teacher.constant(0.0),
        batch_size=578,
        initial=GaussianInitial(mean=-9.88, variance=0.0),
        input_distribution="laplace",
    )
    density = solve_pde(problem, [1.0, 5e5], rtol=rtol)
    begun, final = density.order_parameters[0], density.order_parameters[1]
    assert problem.weight_quantizer is not None
    threshold = problem.weight_quantizer.thresholds[6]
    assert 0.0 <= final.generalization_error < 10.0 * rtol * begun.generalization_error
    assert density.stats["minimum"] > -rtol
    # As wide as it has become while there was an error, a few √(D t) of the last crossing.
    assert abs(np.sqrt(final.q) + threshold) < 1e-5


@pytest.mark.parametrize("rtol", [1e-4, 1e-6])
def test_tails_go_on_through_bins_however_narrow(rtol: float) -> None:
    """Noise of the labels outweighs the drift by 10^5: the law is the Gaussian of constant D."""
    problem = Problem(
        weight_quantizer=UniformQuantizer(7, 0.136),
        input_quantizer=None,
        learning_rate=4.2e-5,
        noise_variance=1e8,
        teacher=Teacher.constant(0.0),
        initial=GaussianInitial(mean=0.7, variance=1e-4),
    )
    times = [0.1, 0.3, 1.0]
    density = solve_pde(problem, times, rtol=rtol)
    heat = 4.2e-5**2 * 1e8  # 2 D, D = η² ε_g/2
    for time, frame in zip(times, density.frames, strict=True):
        assert _displaced(frame, 0.7, np.sqrt(1e-4 + heat * time)) < 10.0 * rtol * 0.7


def test_a_point_without_noise_meets_it_at_a_threshold_only() -> None:
    """The level is the teacher's until the ridge, all that acts, has drawn weights off it."""
    rate, ridge, level = 2.0, 0.01, 0.64
    problem = Problem(
        weight_quantizer=UniformQuantizer(2, level),
        input_quantizer=None,
        learning_rate=rate,
        ridge=ridge,
        teacher=Teacher.constant(level),
        initial=GaussianInitial(mean=1.6, variance=0.0),
    )
    (state,) = stationary_states(problem)
    arrival = (1.6 - 0.5 * level) / (rate * ridge * level)
    density = solve_pde(problem, [0.5 * arrival, 0.99 * arrival, 5e3], rtol=1e-5)
    m, error = density.order_parameters.m, density.order_parameters.generalization_error
    w = 1.6 - rate * ridge * level * density.times[:2]
    np.testing.assert_allclose(m[:2], level * w, rtol=1e-4)
    assert (np.abs(error[:2]) < 1e-12).all()
    np.testing.assert_allclose(error[2], state.generalization_error, rtol=1e-4)


def test_wide_laws_do_not_diffuse_once_their_error_has_died_out() -> None:
    """All weights are on their way to the teacher's level, where nothing moves them any more."""
    problem = Problem(
        weight_quantizer=StepQuantizer([-3.7, -1.6, 0.8, 3.7], [-2.7, -0.4, 2.3], temperature=0.04),
        input_quantizer=None,
        learning_rate=1.6,
        teacher=Teacher.constant(3.7),
        initial=GaussianInitial(mean=3.5, variance=550.0),
    )
    rtol, times = 1e-4, np.geomspace(400.0, 1e6, 30)
    state = solve_pde(problem, times, rtol=rtol).order_parameters
    for rates, value in zip(macroscopic_rates(problem, state), (state.m, state.q), strict=True):
        change = np.trapezoid(rates * times, np.log(times))
        assert abs(value[-1] - value[0] - change) < 10.0 * rtol * value[0]


def test_tails_of_many_laws_keep_what_comes_into_narrow_bins() -> None:
    """All weights leave a wall; finite volumes in implicit steps say what has come so far."""
    task, k = draw(11, 4), 104
    problem, dynamics, wall = task.problem, task.problem.dynamics, task.problem.weight_clip
    assert wall is not None
    end = task.times[-1]
    density = solve_pde(problem, [0.0, end], rtol=1e-4)
    edges = np.linspace(-wall, wall, 2001)
    w, width = 0.5 * (edges[1:] + edges[:-1]), edges[1] - edges[0]
    mass = np.zeros(w.size)
    mass[-1] = 1.0
    times = end * np.linspace(0.0, 1.0, 301) ** 3
    dense = density.dense_order_parameters.generalization_error
    errors = np.interp(times[1:], density.dense_times, dense)
    for dt, time, error in zip(np.diff(times), times[1:], errors, strict=True):
        heat = float(dynamics.diffusivity(time, error)) * float(dynamics.sigma2[k])
        drift = dynamics.point_drift(edges[1:-1], dynamics.coordinate(k), time)
        z = drift * width / heat
        right = heat / width**2 * z / -np.expm1(-z)
        left = right * np.exp(-z)
        bands = np.zeros((3, w.size))
        bands[1] = 1.0 + dt * (np.append(right, 0.0) + np.append(0.0, left))
        bands[0, 1:], bands[2, :-1] = -dt * left, -dt * right
        mass = solve_banded((1, 1), bands, mass)
    # Some 0.0076, of which the volumes are right to a few per cent.
    inside = float(density.frames[1].cdf(k, np.array([0.14]))[0])
    np.testing.assert_allclose(inside, mass[w < 0.14].sum(), rtol=0.1)


@pytest.mark.parametrize("rtol", [1e-4, 1e-6])
def test_weights_spread_until_their_density_at_the_threshold_is_critical(rtol: float) -> None:
    """A density u at the threshold leaks u D/|a| below it, whose error is D again: 1 = η u.

    Below, ψ is 2 from the teacher and a = 2 η, thus ε_g = 4 u D/(2 η), and D = η² ε_g/2. A denser
    law spreads, a less dense one has no error left: D dies out with the former's last excess.
    """
    rate = 3.0
    problem = Problem(
        weight_quantizer=StepQuantizer([-1.0, 1.0], [0.0]),
        input_quantizer=None,
        learning_rate=rate,
        teacher=Teacher.constant(1.0),
        initial=GaussianInitial(mean=0.3, variance=1.0),
    )
    density = solve_pde(problem, [10.0, 1e3, 1e6], rtol=rtol)
    frame = density.frames[-1]
    assert isinstance(frame, Frame)
    # Above its layer.
    assert abs(rate * frame.pdf(0, np.array([1e-6]))[0] - 1.0) < 10.0 * rtol
    assert density.stats["at_rest_from"] < 20.0
    assert density.order_parameters.q[-1] == density.order_parameters.q[-2]


@pytest.mark.parametrize("rtol", [1e-4, 1e-5])
def test_an_error_that_was_never_large_is_followed_while_it_dies_out(rtol: float) -> None:
    """ψ is that of the teacher but in the tails, which go in at constant speed; D is next to 0."""
    quantizer, rate = UniformQuantizer(3, 29.7), 1e-8
    problem = Problem(
        weight_quantizer=quantizer,
        input_quantizer=None,
        learning_rate=rate,
        teacher=Teacher.constant(0.0),
        initial=GaussianInitial(mean=0.0, variance=1.0),
    )
    step = float(np.diff(quantizer.levels)[0])
    times = np.array([0.0, 0.008, 0.032, 0.24]) / rate
    exact = 2.0 * step**2 * norm.sf(0.5 * step + rate * step * times)
    found = solve_pde(problem, times, rtol=rtol).order_parameters.generalization_error
    assert np.abs(found - exact).max() < 10.0 * rtol * exact[0]
    assert exact[-1] < 1e-4 * exact[0]


@pytest.mark.parametrize("rtol", [1e-4, 1e-6])
def test_layers_of_the_least_error_that_fine_levels_leave_are_as_wide_as_it_makes_them(
    rtol: float,
) -> None:
    """w* is next to a level of 10 bits: ε_g is far less than what is small against large weights.

    The stationary density falls as exp(−|a| x/D) on either side of the threshold, with a = η times
    the distance of w* from the level there, and ε_g is the product of these distances.
    """
    quantizer, rate, batch = UniformQuantizer(10, 3.27), 1.0, 20
    step = float(np.diff(quantizer.levels)[0])
    near, far = 0.01 * step, 0.99 * step
    level = 250.0 * step
    problem = Problem(
        weight_quantizer=quantizer,
        input_quantizer=None,
        learning_rate=rate,
        batch_size=batch,
        teacher=Teacher.constant(level + near),
        initial=GaussianInitial(mean=level, variance=1e-5),
    )
    heat = rate**2 * near * far / (2.0 * batch)
    below, above = heat / (rate * near), heat / (rate * far)
    mean = level + 0.5 * step + (above**2 - below**2) / (above + below)
    final = solve_pde(problem, [1e5], rtol=rtol).order_parameters[-1]
    assert abs(final.generalization_error - near * far) < 10.0 * rtol * near * far
    assert abs(final.m / (level + near) - mean) < rtol * mean


@pytest.mark.parametrize("rtol", [1e-6, 1e-7])
def test_ripples_are_gone_before_all_is_at_rest(rtol: float) -> None:
    """The layer at the threshold thins out as the error dies; what it leaves would stay."""
    problem = Problem(
        weight_quantizer=StepQuantizer([-10.047870979726111, 10.047870979726111], [0.0]),
        input_quantizer=None,
        learning_rate=0.001955415194596606,
        teacher=Teacher.constant(-10.047870979726111),
    )
    density = solve_pde(problem, [41.43704701364833, 320.8210404180302], rtol=rtol)
    assert density.stats["minimum"] >= -rtol
    assert density.stats["at_rest_from"] < 320.0
