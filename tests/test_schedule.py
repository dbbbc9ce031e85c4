"""Schedules: their values, derivatives, the points where they are not smooth, their text."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpsolve import ParameterError, Problem, Schedule
from fpsolve.problem.toml import parse_problem

rates = st.floats(1e-6, 10)
durations = st.floats(0.1, 100)
simple = st.one_of(
    st.builds(Schedule.constant, rates),
    st.builds(lambda a, b, d: Schedule.linear(a, b, duration=d), rates, rates, durations),
    st.builds(lambda a, b, d: Schedule.cosine(a, b, duration=d), rates, rates, durations),
    st.builds(lambda a, r: Schedule.exponential(a, rate=r), rates, st.floats(0, 1)),
    st.builds(lambda v, t: Schedule.steps(v, times=[t, t + 1]), st.lists(rates, min_size=3,
              max_size=3), durations),
)  # fmt: skip
schedules = st.one_of(
    simple, st.builds(lambda a, b, t: Schedule.join([a, b], times=[t]), simple, simple, durations)
)


def test_values_where_they_are_known() -> None:
    cosine = Schedule.cosine(0.08, 0.01, duration=60.0)
    assert cosine(0.0) == 0.08
    assert cosine(30.0) == pytest.approx(0.045, rel=1e-15)
    assert cosine(20.0) == pytest.approx(0.01 + 0.07 * 0.75, rel=1e-15)
    assert cosine(60.0) == cosine(1e9) == 0.01
    steps = Schedule.steps([3.0, 2.0, 1.0], times=[5.0, 10.0])
    np.testing.assert_array_equal(steps([0, 4.9, 5, 9.9, 10, 99]), [3, 3, 2, 2, 1, 1])
    np.testing.assert_array_equal(steps([5.0, 10.0], before=True), [3, 2])
    assert Schedule.linear(0.0, 2.0, duration=4.0)(1.0) == 0.5
    assert Schedule.exponential(2.0, rate=0.5)(2.0) == pytest.approx(2 / math.e, rel=1e-15)


def test_joined_schedules_count_time_from_where_they_begin() -> None:
    warm, decay = Schedule.linear(0.0, 0.1, duration=5.0), Schedule.cosine(0.1, 0.0, duration=95.0)
    joined = Schedule.join([warm, decay], times=[5.0])
    assert joined(2.5) == 0.05
    assert joined(5 + 47.5) == pytest.approx(0.05, rel=1e-14)
    assert joined(100.0) == 0.0
    assert joined.jumps == ()
    assert joined.landing_points == (5.0, 100.0) or joined.landing_points == (5.0,)
    assert joined.zero_from == 100.0
    cut = Schedule.join([decay, warm], times=[10.0])
    assert cut.jumps == (10.0,)


@given(schedules, st.floats(0, 200))
@settings(max_examples=200)
def test_derivatives_are_slopes_away_from_landing_points(schedule: Schedule, tau: float) -> None:
    h = 1e-5
    if any(abs(tau - t) < 2 * h for t in (0.0, *schedule.landing_points)):
        return
    slope = (schedule(tau + h) - schedule(tau - h)) / (2 * h)
    assert schedule.derivative(tau) == pytest.approx(slope, abs=1e-9 + 1e-6 * schedule.largest)


@given(schedules, st.floats(0, 300))
@settings(max_examples=200)
def test_nothing_exceeds_the_largest_value(schedule: Schedule, tau: float) -> None:
    assert 0 <= schedule(tau) <= schedule.largest * (1 + 1e-12)


@given(schedules)
@settings(max_examples=100)
def test_between_landing_points_schedules_are_continuous(schedule: Schedule) -> None:
    # Halfway and everywhere: a jump that is not announced would show as left and right values.
    points = np.setdiff1d(np.linspace(0.01, 250, 997), schedule.jumps)
    points = np.concatenate([points, np.setdiff1d(schedule.landing_points, schedule.jumps)])
    np.testing.assert_allclose(schedule(points), schedule(points, before=True), rtol=1e-11)
    for jump in schedule.jumps:
        assert schedule(jump) != schedule(jump, before=True)


@given(schedules)
@settings(max_examples=100)
def test_schedules_survive_a_problem_file(schedule: Schedule) -> None:
    problem = Problem(weight_quantizer=None, input_quantizer=None, learning_rate=schedule)
    again = parse_problem(problem.to_toml()).problem
    assert again.learning_rate == schedule
    assert hash(again.learning_rate) == hash(schedule)
    assert again == problem
    assert len(repr(schedule)) <= 200
    assert "\n" not in repr(schedule)


def test_a_number_stays_a_number() -> None:
    problem = Problem(weight_quantizer=None, input_quantizer=None, learning_rate=1)
    assert problem.learning_rate == 1.0
    assert isinstance(problem.learning_rate, float)
    assert Schedule.constant(0.1) != Schedule.constant(0.2)
    assert Schedule.constant(0.1) != 0.1


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Schedule.constant(-1.0), "schedule.value"),
        (lambda: Schedule.steps([1.0, -1.0], times=[1.0]), "schedule.values"),
        (lambda: Schedule.steps([1.0, 2.0], times=[1.0, 2.0]), "schedule.values"),
        (lambda: Schedule.steps([1.0, 2.0, 3.0], times=[2.0, 1.0]), "schedule.times"),
        (lambda: Schedule.steps([1.0, 2.0], times=[0.0]), "schedule.times"),
        (lambda: Schedule.cosine(1.0, math.nan, duration=1.0), "schedule.final"),
        (lambda: Schedule.linear(1.0, 0.5, duration=0.0), "schedule.duration"),
        (lambda: Schedule.exponential(1.0, rate=-1.0), "schedule.rate"),
        (lambda: Schedule.join([Schedule.constant(1.0)], times=[1.0]), "schedule.schedules"),
        (lambda: Schedule.join([1.0, 2.0], times=[1.0]), "schedule.schedules"),
        (lambda: Schedule.constant(1.0)(-1.0), "tau"),
    ],
)
def test_bad_schedules_are_named(make, field: str) -> None:
    with pytest.raises(ParameterError) as caught:
        make()
    assert caught.value.field == field
    assert "\n" not in str(caught.value)
