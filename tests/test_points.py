"""Weights that start at a point: carried by their drift, or spread by noise however weak."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import ndtr

from fpsolve import (
    GaussianInitial,
    Problem,
    Schedule,
    StepQuantizer,
    Surrogate,
    Teacher,
    UniformQuantizer,
    load,
    solve_pde,
    stationary_states,
)

# A scale at which inputs are quantized to 0: S = κ = 0.
UNSEEN = 1e-3
RATE = 0.1


def problem(**change) -> Problem:
    kept = {
        "weight_quantizer": UniformQuantizer(3, 1.0),
        "input_quantizer": UniformQuantizer(2, 2.0),
        "learning_rate": RATE,
        "ridge": 0.5,
        "teacher": Teacher([1.0], [1.0], [UNSEEN]),
        "initial": GaussianInitial(0.95, 0.0),
    }
    return Problem(**{**kept, **change})


def places(trajectory, k=0, first=0) -> np.ndarray:
    held = [frame.atoms.of(k) for frame in trajectory.frames[first:]]
    assert all(mass.tolist() == [1.0] for _, mass in held)
    return np.array([at[0] for at, _ in held])


def test_ridge_takes_unseen_weights_down_at_the_speed_of_their_level():
    # Levels 1, 2/3, 1/3, 0 above thresholds 5/6, 1/2, 1/6: below the last there is no drift.
    times = np.linspace(0.0, 40.0, 81)
    found = solve_pde(problem(), times, rtol=1e-9)
    edges, level = [0.95, 5 / 6, 0.5, 1 / 6], [1.0, 2 / 3, 1 / 3]
    left, at = times.copy(), np.full(times.size, 0.95)
    for high, low, psi in zip(edges[:-1], edges[1:], level, strict=True):
        spent = np.minimum(left, (high - low) / (RATE * 0.5 * psi))
        at, left = at - RATE * 0.5 * psi * spent, left - spent
    np.testing.assert_allclose(places(found), at, rtol=0, atol=1e-11)
    np.testing.assert_allclose(found.order_parameters.q, at**2, rtol=0, atol=1e-11)
    # Nothing is learned: ε_g stays ρ.
    np.testing.assert_allclose(found.order_parameters.generalization_error, found.problem.rho)


def test_decay_and_a_wall_carry_unseen_weights():
    times = [0.0, 1.0, 30.0, 1e5]
    decaying = problem(ridge=0.0, weight_decay=0.2, weight_clip=0.9)
    at = 0.9 * np.exp(-RATE * 0.2 * np.array(times))
    np.testing.assert_allclose(places(solve_pde(decaying, times)), at, rtol=0, atol=1e-11)


def test_unseen_weights_that_all_start_beyond_a_wall_leave_it_together():
    # Nothing but rounding of N(14, 0.2) is inside of the wall, from where decay takes them.
    times = [0.0, 3.0, 300.0]
    wide = problem(
        ridge=0.0,
        weight_decay=0.2,
        weight_clip=0.8,
        teacher=Teacher([1.0, 1.0], [0.5, 0.5], [1.0, UNSEEN]),
        initial=GaussianInitial(14.0, 0.2),
        noise_variance=0.1,
    )
    found = solve_pde(wide, times)
    at = 0.8 * np.exp(-RATE * 0.2 * np.array(times))
    np.testing.assert_allclose(places(found, 1, first=1), at[1:], rtol=0, atol=1e-11)
    assert found.stats["steps"] < 1000


def test_a_smoothed_step_takes_unseen_weights_the_time_of_its_integral():
    temperature, end = 0.2, 0.3
    quantizer = StepQuantizer([-1.0, 1.0], temperature=temperature)
    smooth = problem(weight_quantizer=quantizer, surrogate=Surrogate(2.0, 0.5))
    needed = quad(lambda w: 1.0 / (2.0 * ndtr(w / temperature) - 1.0), end, 0.95, epsabs=1e-13)[0]
    found = solve_pde(smooth, [needed / (RATE * 0.5)])
    np.testing.assert_allclose(places(found), end, rtol=0, atol=1e-10)


def test_a_point_that_both_sides_push_onto_a_threshold_stays_and_counts_on_either():
    quantizer = StepQuantizer([-1.0, 2.0], [0.0])
    found = solve_pde(problem(weight_quantizer=quantizer), [1.0, 100.0])
    np.testing.assert_allclose(places(found), [0.95 - RATE * 0.5 * 2.0, 0.0], rtol=0, atol=1e-12)
    # The mean of ψ has to hold it there, a third of the time above: E ψ = 0, E ψ² = 2/3 + 4/3.
    state = found.order_parameters
    np.testing.assert_allclose(state.m_psi[-1], 0.0, atol=1e-12)
    np.testing.assert_allclose(state.q_psi[-1], 2.0, rtol=1e-12)


@pytest.mark.parametrize("clip", [None, 1.2])
def test_weights_that_see_noise_do_not_care_about_unseen_ones(clip):
    # Half of the coordinates alone, with twice the noise and twice the batch, have twice ε_g and
    # the same diffusivity.
    times = [0.0, 1.0, 20.0, 300.0]
    start = {"noise_variance": 0.3, "batch_size": 3, "weight_clip": clip}
    both = problem(teacher=Teacher([1.0, 1.0], [0.5, 0.5], [1.0, UNSEEN]), **start)
    alone = problem(
        teacher=Teacher.constant(1.0),
        **{**start, "noise_variance": 0.6},
    )
    alone = replace(alone, batch_size=6)
    one, two = (solve_pde(p, times, rtol=1e-8) for p in (both, alone))
    unseen = 0.5 * UNSEEN**2
    error = 2.0 * (one.order_parameters.generalization_error - unseen)
    # Each is promised to ten rtol of its largest value.
    np.testing.assert_allclose(error, two.order_parameters.generalization_error, rtol=2e-7)
    q = 2.0 * one.order_parameters.q - places(one, 1) ** 2
    np.testing.assert_allclose(q, two.order_parameters.q, rtol=0, atol=2e-7 * q.max())
    dense = one.dense_order_parameters.q
    assert np.abs(np.interp(times, one.dense_times, dense) - one.order_parameters.q).max() < 1e-12


def test_a_point_with_generalization_error_0_stays():
    still = Problem(
        weight_quantizer=UniformQuantizer(2, 1.0),
        input_quantizer=None,
        learning_rate=0.3,
        teacher=Teacher.constant(1.0),
        initial=GaussianInitial(0.9, 0.0),
    )
    found = solve_pde(still, [0.0, 1e6])
    np.testing.assert_array_equal(places(found), 0.9)
    assert (found.order_parameters.generalization_error == 0).all()


def test_unseen_weights_are_stored_and_told_to_callbacks(tmp_path):
    times, heard = [0.0, 1.0, 30.0], []

    def hear(time, state):
        heard.append(time)
        return len(heard) == 2

    path = tmp_path / "run.h5"
    whole = solve_pde(problem(), times)
    kept = solve_pde(problem(), times, store=path)
    np.testing.assert_array_equal(places(kept), places(whole))
    np.testing.assert_array_equal(places(load(path)), places(whole))
    stopped = solve_pde(problem(), times, callback=hear)
    assert heard == times[:2] == stopped.times.tolist()
    assert stopped.stats["interrupted"]


@pytest.mark.parametrize(
    ("rate", "start", "times"),
    [
        # Asked for long before it has spread by more than rounding.
        (RATE, 0.3, [1e-300, 1.0]),
        # On a threshold, under a rate that rises from 0.
        (Schedule.linear(0.0, RATE, duration=3.0), 0.5, [1.0, 3.0]),
        # Under one that has died out long before the first time asked for.
        (Schedule.exponential(RATE, rate=2.0), 0.3, [1e6]),
        # On a threshold, where the layer is thinner than positions resolve for long.
        (1e-5, 0.5, [1e4, 1e5]),
    ],
)
def test_a_point_spreads_as_a_narrow_law_does(rate, start, times):
    point = Problem(
        weight_quantizer=UniformQuantizer(2, 1.0),
        input_quantizer=UniformQuantizer(2, 2.0),
        learning_rate=rate,
        noise_variance=0.3,
        teacher=Teacher.constant(0.4),
        initial=GaussianInitial(start, 0.0),
    )
    narrow = replace(point, initial=GaussianInitial(start, 1e-14))
    one, two = (solve_pde(p, times, rtol=1e-7).order_parameters for p in (point, narrow))
    for name in ("generalization_error", "m", "q"):
        a, b = getattr(one, name), getattr(two, name)
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6 * np.abs(b).max())


@pytest.mark.parametrize("rtol", [1e-6, 1e-8])
def test_a_point_that_comes_late_to_a_threshold_bursts_there_in_no_time(rtol):
    """ψ is that of the teacher up to the threshold, to which the ridge takes it without noise.

    There the density grows within some 1e-10, and times near 500 are 1e-13 apart. The last state is
    the stationary one in closed form.
    """
    width, rate, ridge = 0.64, 2.2, 1e-3
    late = problem(
        weight_quantizer=UniformQuantizer(2, width),
        input_quantizer=None,
        learning_rate=rate,
        ridge=ridge,
        teacher=Teacher.constant(width),
        initial=GaussianInitial(1.0, 0.0),
    )
    arrived = (1.0 - 0.5 * width) / (rate * ridge * width)
    found = solve_pde(late, arrived * np.array([0.9, 1.1, 100.0]), rtol=rtol)
    place = 1.0 - 0.9 * (1.0 - 0.5 * width)
    assert abs(found.order_parameters.m[0] - place * width) < 10.0 * rtol * width
    (state,) = stationary_states(late)
    error = found.order_parameters.generalization_error
    assert abs(error[-1] - state.generalization_error) < 10.0 * rtol * error.max()
    assert (np.diff(found.dense_times) > 0).all()
