"""Particles that stop and go on: states, sinks, starts, and what is refused at the door.

Identity is to the last bit throughout.
"""

from __future__ import annotations

import dataclasses
import datetime
import threading

import numpy as np
import pytest

from fpsolve import (
    GaussianInitial,
    OrderParameters,
    ParameterError,
    ParticleTrajectory,
    Problem,
    Schedule,
    StoreError,
    Surrogate,
    Teacher,
    UniformQuantizer,
    save,
    simulate_sde,
    simulate_ste,
    solve_ode,
)
from fpsolve.particles import drive, sde, ste
from fpsolve.particles.frames import trajectory_from_frames
from fpsolve.particles.state import RunState
from fpsolve.recording.memory import MemorySink

HEAVY = Problem(
    weight_quantizer=UniformQuantizer(3, 1.0, rounding="stochastic"),
    input_quantizer=UniformQuantizer(3, 1.5),
    learning_rate=Schedule.cosine(0.3, 0.1, duration=2.0),
    noise_variance=0.2,
    teacher=Teacher([1.0, 1.0], [0.4, 0.6], [0.5, 1.5]),
    batch_size=2,
    surrogate=Surrogate(slope=0.5),
    momentum=0.7,
    weight_clip=1.5,
)
PLAIN = Problem(
    weight_quantizer=UniformQuantizer(2, 1.0), input_quantizer=None, learning_rate=0.2, ridge=0.3
)
FREEZING = dataclasses.replace(PLAIN, surrogate=Surrogate(), initial=GaussianInitial(variance=0.5))
TIMES = [0.0, 0.4, 1.0, 2.0]
CASES = {
    "STE plain": (simulate_ste, PLAIN, {"dimension": 60, "count_flips": True}),
    "STE by all rules": (simulate_ste, HEAVY, {"dimension": 60}),
    "SDE plain": (simulate_sde, PLAIN, {"particles": 700, "max_step": 0.003}),
    "SDE by all rules": (simulate_sde, HEAVY, {"particles": 700, "max_step": 0.003}),
    "SDE absorbed": (simulate_sde, FREEZING, {"particles": 700}),
}


def same(one: ParticleTrajectory, other: ParticleTrajectory) -> None:
    np.testing.assert_array_equal(one.times, other.times)
    np.testing.assert_array_equal(one.weights, other.weights)
    np.testing.assert_array_equal(one.teacher_weights, other.teacher_weights)
    np.testing.assert_array_equal(one.dense_times, other.dense_times)
    for mine, theirs in (
        (one.order_parameters, other.order_parameters),
        (one.dense_order_parameters, other.dense_order_parameters),
    ):
        for field in dataclasses.fields(OrderParameters):
            np.testing.assert_array_equal(getattr(mine, field.name), getattr(theirs, field.name))
    assert (one.flip_counts is None) == (other.flip_counts is None)
    if one.flip_counts is not None:
        np.testing.assert_array_equal(one.flip_counts, other.flip_counts)


def stopping(rng: np.random.Generator, most: int):
    """Advance runs in random order by up to `most` chunks in all, then say it was interrupted."""

    def advance(runs, threads, progress, *, attend, done=0.0, full=None) -> bool:
        left = list(runs)
        for _ in range(int(rng.integers(most))):
            if not left:
                return False
            chosen = left[rng.integers(len(left))]
            if next(chosen, None) is None:
                left.remove(chosen)
            attend()
        return bool(left)

    return advance


@pytest.mark.parametrize("case", CASES)
def test_an_interrupted_run_goes_on_as_if_it_never_was(case, monkeypatch):
    simulate, problem, options = CASES[case]
    options = {**options, "runs": 3, "seed": 11}
    whole = simulate(problem, TIMES, **options)
    monkeypatch.setattr(ste, "_CHUNK", 400)
    monkeypatch.setattr(sde, "_WORK", 5000)
    monkeypatch.setattr(drive, "round_robin", stopping(np.random.default_rng(1), 30))
    start, result, sink, count = None, None, MemorySink(interval=0.0), 0
    while result is None or result.stats["interrupted"]:
        try:
            result = simulate(problem, TIMES, **options, store=sink, start=start)
        except KeyboardInterrupt:
            result = None  # before every run had begun
        frames, count = sink.frames, count + 1
        # As from a file: the last state and the frames, of which later ones may be lost.
        start = RunState.from_arrays({name: np.array(v) for name, v in sink.state.items()})
        constants, sink = sink.constants, MemorySink(interval=0.0)
        sink.frames, sink.constants = frames, constants
    assert count > 3
    same(result, whole)
    same(trajectory_from_frames(problem, sink.constants, sink.frames, {}), whole)


def test_checkpoints_are_written_while_threads_run():
    states = []

    class Keeping(MemorySink):
        def checkpoint(self, arrays) -> None:
            super().checkpoint(arrays)
            states.append(self.state)

    sink = Keeping(interval=0.0)
    options = {"dimension": 400, "runs": 3, "seed": 5, "threads": 2, "dense_times": [0.0]}
    whole = simulate_ste(PLAIN, [0.0, 600.0], store=sink, **options)
    under_way = [state for state in states if state["counters"][:, 0].max() < 240_000]
    assert under_way
    for state in under_way[:3]:
        more = simulate_ste(PLAIN, [600.0], start=RunState.from_arrays(state), **options)
        np.testing.assert_array_equal(more.weights[:, -1], whole.weights[:, -1])


@pytest.mark.parametrize("case", CASES)
def test_a_finished_run_goes_beyond_its_end(case):
    simulate, problem, options = CASES[case]
    dense = [0.0, 0.2, 0.9, 1.5]
    options = {**options, "runs": 2, "seed": 3}
    whole = simulate(problem, [1.0, 2.0], dense_times=dense, **options)
    first = simulate(problem, [1.0], dense_times=dense, **options)
    stored = RunState.from_arrays(first.state.to_arrays())
    more = simulate(problem, [2.0], dense_times=dense, **{**options, "seed": 4}, start=stored)
    np.testing.assert_array_equal(more.weights[:, -1], whole.weights[:, -1])
    np.testing.assert_array_equal(more.dense_order_parameters.q, whole.dense_order_parameters.q)
    assert more.stats["seed"] == 3
    with pytest.raises(ParameterError, match=r"times = 0\.5: must be beyond tau = 1"):
        simulate(problem, [0.5, 2.0], dense_times=dense, **options, start=stored)


@pytest.mark.parametrize("case", CASES)
def test_what_was_recorded_stays_where_times_change(case):
    """By default order parameters are asked for at other times than before: none is made up."""
    simulate, problem, options = CASES[case]
    options = {**options, "runs": 2, "seed": 3}
    first = simulate(problem, [1.0], **options)
    more = simulate(problem, [2.0], start=first.state, **options)
    known = more.dense_times <= 1
    np.testing.assert_array_equal(more.dense_times[known], first.dense_times)
    same_q = more.dense_order_parameters.q[:, known]
    np.testing.assert_array_equal(same_q, first.dense_order_parameters.q)
    assert known.sum() < known.size
    assert (more.dense_order_parameters.generalization_error > 0).all()


def test_a_state_of_another_run_is_refused():
    state = simulate_ste(PLAIN, [1.0], dimension=40, seed=1).state
    for options in ({"dimension": 41}, {"dimension": 40, "runs": 2}):
        with pytest.raises(ParameterError, match="pass the arguments of that run"):
            simulate_ste(PLAIN, [2.0], start=state, **options)
    heavy = dataclasses.replace(PLAIN, momentum=0.5)
    with pytest.raises(ParameterError, match="momentum"):
        simulate_ste(heavy, [2.0], dimension=40, start=state)
    with pytest.raises(ParameterError, match="no state of particles"):
        RunState.from_arrays({"weights": state.weights})


@pytest.mark.parametrize("simulate", [simulate_ste, simulate_sde])
def test_training_starts_where_another_ended(simulate):
    """Quantize after full-precision training: the weights are those, the rest is new."""
    free = dataclasses.replace(PLAIN, weight_quantizer=None)
    size = {"dimension" if simulate is simulate_ste else "particles": 80}
    first = simulate(free, [3.0], runs=2, seed=1, **size)
    second = simulate(PLAIN, [0.0, 1.0], runs=2, seed=2, start=first, **size)
    np.testing.assert_array_equal(second.weights[:, 0], first.weights[:, -1])
    np.testing.assert_array_equal(second.teacher_weights, first.teacher_weights)
    assert not np.array_equal(second.weights[:, 1], first.weights[:, -1])
    tight = dataclasses.replace(PLAIN, weight_clip=0.6)
    clipped = simulate(tight, [0.0], runs=2, seed=2, start=first, **size)
    np.testing.assert_array_equal(clipped.weights[:, 0], np.clip(first.weights[:, -1], -0.6, 0.6))
    with pytest.raises(ParameterError, match="1 run"):
        simulate(PLAIN, [1.0], runs=1, seed=2, start=first, **size)
    other = dataclasses.replace(PLAIN, teacher=Teacher.constant(2.0))
    with pytest.raises(ParameterError, match=r"values of problem\.teacher"):
        simulate(other, [1.0], runs=2, seed=2, start=first, **size)


@pytest.mark.parametrize("streamed", [False, True])
def test_training_starts_where_a_file_ends(tmp_path, streamed):
    path = tmp_path / "first.h5"
    options = {"dimension": 80, "runs": 2}
    first = simulate_ste(PLAIN, [0.0, 2.0], seed=1, store=path if streamed else None, **options)
    if not streamed:
        save(first, path)
    slow = dataclasses.replace(PLAIN, learning_rate=0.01)
    expected = simulate_ste(slow, [1.0], seed=2, start=first, **options)
    found = simulate_ste(slow, [1.0], seed=2, start=str(path), **options)
    np.testing.assert_array_equal(found.weights, expected.weights)
    other = tmp_path / "macro.h5"
    save(solve_ode(PLAIN, [0.0, 1.0]), other)
    with pytest.raises(StoreError, match="no weights to start from"):
        simulate_ste(slow, [1.0], start=other, **options)
    with pytest.raises(ParameterError, match="RunState"):
        simulate_ste(slow, [1.0], start=3, **options)


def test_trajectories_of_weights_from_elsewhere():
    result = simulate_ste(HEAVY, [0, 0.5], dimension=50, runs=2, seed=6)
    made = ParticleTrajectory.from_arrays(
        HEAVY, result.times, result.weights, result.teacher_weights
    )
    np.testing.assert_array_equal(made.labels, result.labels)
    for field in dataclasses.fields(OrderParameters):
        mine, theirs = (getattr(t.order_parameters, field.name) for t in (made, result))
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-12)
    one = ParticleTrajectory.from_arrays(PLAIN, [0, 1], np.zeros((2, 7)), np.ones(7))
    assert one.weights.shape == (1, 2, 7)
    for weights, star, field in (
        (np.zeros((3, 7)), np.ones(7), "weights"),
        (np.full((2, 7), np.nan), np.ones(7), "weights"),
        (np.zeros((2, 7)), np.ones(8), "teacher_weights"),
        (np.zeros((2, 7)), np.full(7, 0.5), "teacher_weights"),
    ):
        with pytest.raises(ParameterError) as caught:
            ParticleTrajectory.from_arrays(PLAIN, [0, 1], weights, star)
        assert caught.value.field == field
    with pytest.raises(ParameterError, match="count_flips=True"):
        one.flip_rate  # noqa: B018


def test_error_of_classes_with_their_own_inputs_is_that_of_a_test_set():
    problem = dataclasses.replace(HEAVY, weight_quantizer=UniformQuantizer(3, 1.0))
    result = simulate_ste(problem, [1.0], dimension=30, seed=8)
    w, w_star = result.weights[0, 0], result.teacher_weights[0]
    scale = problem.teacher.input_scale[result.labels[0]]
    rng = np.random.default_rng(1)
    x = scale * rng.normal(size=(200_000, 30))
    label = x @ w_star / np.sqrt(30) + np.sqrt(problem.noise_variance) * rng.normal(size=200_000)
    loss = (label - problem.input_quantizer(x) @ problem.quantize(w) / np.sqrt(30)) ** 2
    error = result.order_parameters.generalization_error[0, 0]
    assert abs(loss.mean() - error) < 5 * loss.std() / np.sqrt(loss.size)


@pytest.mark.parametrize(
    "times",
    [
        b"12",
        "0:1:3",
        ["0", "1"],
        [b"0", b"1"],
        [False, True],
        [0.0, True],
        True,
        np.array([False, True]),
        np.array(["2001-01-01", "2002-01-01"], dtype="datetime64[D]"),
        np.array([1, 2], dtype="timedelta64[s]"),
        [datetime.date(2001, 1, 1)],
        [0.0, 1.0 + 1.0j],
        np.array([0.0, 1.0 + 0.0j]),
        np.ma.array([0.0, 1.0], mask=[False, True]),
        [0.0, np.ma.masked],
        [0.0, 10**400],
        [0.0, None],
        {"0": 1},
    ],
)
@pytest.mark.parametrize("simulate", [simulate_ste, simulate_sde])
def test_what_is_no_time_is_refused(simulate, times):
    size = {"dimension" if simulate is simulate_ste else "particles": 10}
    with pytest.raises(ParameterError) as caught:
        simulate(PLAIN, times, **size)
    assert caught.value.field == "times"
    assert "\n" not in str(caught.value)


def test_more_steps_or_samples_than_there_are_numbers_are_refused():
    with pytest.raises(ParameterError, match=r"times = 1e\+18: is 1e\+20 steps away"):
        simulate_ste(PLAIN, [0, 1e18], dimension=100)
    with pytest.raises(ParameterError, match="more than one stream"):
        simulate_ste(PLAIN, [0, 1e9], dimension=1_000_000, dense_times=[0])
    with pytest.raises(ParameterError, match="times = 1e"):
        simulate_sde(PLAIN, [1e18], particles=10, dense_times=[0])
    large = dataclasses.replace(PLAIN, batch_size=10**20)
    with pytest.raises(ParameterError, match=r"batch_size = 1000.*solve_pde"):
        simulate_ste(large, [1.0], dimension=100)


def test_a_rate_that_ends_before_the_horizon_is_refused():
    ending = dataclasses.replace(PLAIN, learning_rate=Schedule.linear(0.1, 0.0, duration=2.0))
    for simulate, size in ((simulate_ste, "dimension"), (simulate_sde, "particles")):
        with pytest.raises(ParameterError, match="learning_rate"):
            simulate(ending, [3.0], **{size: 10})
        assert simulate(ending, [2.0], **{size: 10}, seed=1).times[-1] == 2.0


@pytest.mark.parametrize(
    "quantizer",
    [None, UniformQuantizer(2, 1.0, temperature=0.1), HEAVY.weight_quantizer],
    ids=["none", "T>0", "random"],
)
def test_flips_without_thresholds_are_refused(quantizer):
    with pytest.raises(ParameterError, match="count_flips"):
        simulate_ste(
            dataclasses.replace(PLAIN, weight_quantizer=quantizer),
            [1.0],
            dimension=10,
            count_flips=True,
        )


def test_a_sink_is_told_of_a_failure():
    problem = Problem(weight_quantizer=None, input_quantizer=None, learning_rate=80.0)
    sink = MemorySink()
    with pytest.raises(RuntimeError, match="diverge"):
        simulate_ste(problem, [100], dimension=200, seed=0, store=sink)
    assert sink.ending is not None
    assert sink.ending.reason == "failed"
    assert "diverge" in sink.ending.message
    assert threading.active_count() < 10
