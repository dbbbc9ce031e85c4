"""Sweeps: every point solved where it belongs, failures kept, any executor."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context

import numpy as np
import pytest
from closed_forms import exact_macro, exact_order_parameters, sampled_particles

from fpsolve import (
    ParameterError,
    Problem,
    SolveError,
    StepQuantizer,
    Teacher,
    UniformQuantizer,
    load,
    save,
    sweep,
)
from fpsolve.reduction import ORDER_PARAMETER_NAMES
from fpsolve.sweeps.axes import problem_with

TIMES = [0.0, 2.0, 7.0]
AXES = {
    "learning_rate": [0.1, 0.4],
    "initial.variance": np.array([0.0, 0.5, 2.0]),
    "input_quantizer.bit_width": [2, 4],
}


def failing(problem: Problem, times):
    """The exact solution, except where the learning rate is large."""
    if problem.learning_rate > 0.3:
        raise SolveError("the step became too small", time=1.0, step=1e-9)
    return exact_macro(problem, times)


def assert_same_state(a, b) -> None:
    for name in ORDER_PARAMETER_NAMES:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_every_point_holds_the_solution_of_its_problem(linear_problem) -> None:
    result = sweep(linear_problem, AXES, exact_macro, times=TIMES)
    assert result.shape == (2, 3, 2)
    assert result.dimensions == (*AXES, "time")
    assert result.errors == {}
    for i, eta in enumerate([0.1, 0.4]):
        for j, variance in enumerate([0.0, 0.5, 2.0]):
            for k, bits in enumerate([2, 4]):
                problem = replace(
                    linear_problem,
                    learning_rate=eta,
                    initial=replace(linear_problem.initial, variance=variance),
                    input_quantizer=UniformQuantizer(bits, linear_problem.input_quantizer.omega),
                )
                assert result.problem((i, j, k)) == problem
                expected = exact_order_parameters(problem, TIMES)
                assert_same_state(result.order_parameters[i, j, k], expected)


@pytest.mark.parametrize(
    "pool",
    [ThreadPoolExecutor, partial(ProcessPoolExecutor, mp_context=get_context("spawn"))],
    ids=["threads", "processes"],
)
def test_any_executor_gives_the_same(linear_problem, pool) -> None:
    alone = sweep(linear_problem, AXES, failing, times=TIMES)
    with pool(2) as executor:
        shared = sweep(linear_problem, AXES, failing, executor=executor, times=TIMES)
    assert_same_state(alone.order_parameters, shared.order_parameters)
    assert alone.errors == shared.errors
    assert (
        alone.stats
        == shared.stats
        == {
            "solver": "failing",
            "options": {},
            "interrupted": False,
        }
    )


def test_failures_are_recorded_and_the_rest_is_kept(linear_problem, tmp_path) -> None:
    result = sweep(linear_problem, AXES, failing, times=TIMES)
    assert set(result.errors) == {(1, j, k) for j in range(3) for k in range(2)}
    for text in result.errors.values():
        assert "tau = 1" in text
        assert "the step became too small" in text
    assert np.isnan(result.order_parameters.m[1]).all()
    assert np.isfinite(result.order_parameters.m[0]).all()
    save(result, tmp_path / "s.h5")
    assert load(tmp_path / "s.h5").errors == result.errors


def interrupted_at(problem: Problem, times):
    """The exact solution, until Ctrl-C at the second learning rate."""
    if problem.learning_rate == 0.2:
        raise KeyboardInterrupt
    return exact_macro(problem, times)


def cut_short(problem: Problem, times):
    """A simulation that Ctrl-C ended early at the second learning rate."""
    found = exact_macro(problem, times if problem.learning_rate != 0.2 else times[:1])
    found.stats["interrupted"] = problem.learning_rate == 0.2
    return found


@pytest.mark.parametrize("solve", [interrupted_at, cut_short])
def test_an_interrupt_keeps_the_points_that_are_solved(linear_problem, solve, tmp_path) -> None:
    axes = {"learning_rate": [0.1, 0.2, 0.3]}
    result = sweep(linear_problem, axes, solve, times=TIMES)
    assert result.stats["interrupted"]
    assert set(result.errors) == result.not_reached == {(1,), (2,)}
    assert "interrupted" in result.errors[1,]
    expected = exact_order_parameters(replace(linear_problem, learning_rate=0.1), TIMES)
    assert_same_state(result.order_parameters[0], expected)
    assert np.isnan(result.order_parameters.m[1:]).all()
    save(result, tmp_path / "s.h5")
    assert load(tmp_path / "s.h5").stats["interrupted"]


def test_when_everything_fails_the_shape_is_still_right(linear_problem) -> None:
    result = sweep(linear_problem, {"learning_rate": [0.4, 0.5]}, failing, times=TIMES)
    assert result.order_parameters.m.shape == (2, 3)
    np.testing.assert_array_equal(result.times, TIMES)
    assert len(result.errors) == 2


def test_other_exceptions_are_not_swallowed(linear_problem) -> None:
    with pytest.raises(TypeError):
        sweep(linear_problem, {"ridge": [0.0]}, exact_macro, times=TIMES, nonsense=1)


def test_particles_keep_their_runs(linear_problem, tmp_path) -> None:
    result = sweep(linear_problem, {"ridge": [0.0, 1.0]}, sampled_particles, times=TIMES, runs=4)
    assert result.order_parameters.m.shape == (2, 4, 3)
    assert result.dimensions == ("ridge", "run", "time")
    save(result, tmp_path / "s.h5")
    assert_same_state(load(tmp_path / "s.h5").order_parameters, result.order_parameters)


def test_axes_of_any_kind_survive_a_file(linear_problem, tmp_path) -> None:
    axes = {
        "input_quantizer": [None, StepQuantizer([-1.0, 1.0]), UniformQuantizer(3, 1.0, 0.2)],
        "teacher": [Teacher.rademacher(), Teacher.gaussian(1.0, 3)],
        "input_distribution": ["gaussian", "uniform"],
        "batch_size": [1, 8],
    }
    result = sweep(linear_problem, axes, exact_macro, times=TIMES)
    save(result, tmp_path / "s.h5")
    again = load(tmp_path / "s.h5")
    assert again.axes == {name: tuple(values) for name, values in axes.items()}
    assert again.base == linear_problem
    assert again.problem((2, 1, 0, 1)) == result.problem((2, 1, 0, 1))


def test_to_xarray_is_labelled(linear_problem) -> None:
    data = sweep(linear_problem, AXES, exact_macro, times=TIMES).to_xarray()
    point = data["generalization_error"].sel(
        {"learning_rate": 0.4, "initial.variance": 0.5, "input_quantizer.bit_width": 4}
    )
    problem = linear_problem
    for name, value in [("learning_rate", 0.4), ("initial.variance", 0.5)]:
        problem = problem_with(problem, name, value)
    problem = problem_with(problem, "input_quantizer.bit_width", 4)
    expected = exact_order_parameters(problem, TIMES).generalization_error
    np.testing.assert_array_equal(point, expected)
    np.testing.assert_array_equal(point["time"], TIMES)


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ({}, ["axes", "must name a field"]),
        ({"lr": [0.1]}, ["axes", "'lr'", "learning_rate"]),
        ({"input_quantizer.range": [1.0]}, ["input_quantizer.range", "input_quantizer.omega"]),
        ({"weight_quantizer.omega": [1.0]}, ["weight_quantizer = None", "no fields"]),
        ({"learning_rate.x": [1.0]}, ["learning_rate.x", "is not a field"]),
        ({"learning_rate": []}, ["learning_rate", "at least one"]),
        ({"learning_rate": 0.1}, ["learning_rate", "list"]),
        ({"learning_rate": "0.1"}, ["learning_rate", "list"]),
        ({"learning_rate": [0.1, -0.1]}, ["axes['learning_rate'] = -0.1", "> 0"]),
        ({"input_quantizer.bit_width": [2, 1]}, ["bit_width", "= 1", "one bit"]),
    ],
)
def test_bad_axes_are_refused_before_anything_is_solved(linear_problem, axes, words) -> None:
    def unreachable(problem, times):
        raise AssertionError("solved a point of a bad grid")

    with pytest.raises(ParameterError) as caught:
        sweep(linear_problem, axes, unreachable, times=TIMES)
    for word in words:
        assert word in str(caught.value)
