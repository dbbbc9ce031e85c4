"""Sweeps of every solver and study, over every design: each point is what its solver says."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from fpsolve import (
    ParameterError,
    Problem,
    Schedule,
    StepQuantizer,
    UniformQuantizer,
    closure_error,
    flip_rate,
    isotropic_fixed_points,
    load,
    optimal_range,
    sample_axes,
    save,
    solve_pde,
    stationary_states,
    sweep,
)

RIDGES = [0.5, 1.0, 3.0]


@pytest.fixture(scope="module")
def quantized() -> Problem:
    return Problem(
        weight_quantizer=UniformQuantizer(2, 1.0),
        input_quantizer=UniformQuantizer(3, 1.0),
        learning_rate=0.3,
    )


def swept(problem, solve, tmp_path, axes=None, **options):
    """The result as a file gives it back."""
    result = sweep(problem, axes or {"ridge": RIDGES}, solve, workers=1, **options)
    save(result, tmp_path / "s.h5")
    again = load(tmp_path / "s.h5")
    for name, array in result.arrays.items():
        np.testing.assert_array_equal(again[name], array, strict=True)
    assert again.inner == result.inner
    np.testing.assert_array_equal(again.cost, result.cost)
    return again


def test_stationary_states_along_roots(quantized, tmp_path) -> None:
    result = swept(quantized, stationary_states, tmp_path)
    assert result.dimensions == ("ridge", "root")
    for i, ridge in enumerate(RIDGES):
        states = stationary_states(replace(quantized, ridge=ridge))
        expected = [s.generalization_error for s in states]
        np.testing.assert_array_equal(result["generalization_error"][i, : len(states)], expected)


def test_points_with_fewer_roots_are_filled_with_nan(tmp_path) -> None:
    # Unquantized weights diverge beyond 2(S + λ)/S² = 2 at S = 1 and λ = 0: no state is left.
    problem = Problem(
        weight_quantizer=None, input_quantizer=None, learning_rate=1.0, noise_variance=0.5
    )
    result = swept(problem, stationary_states, tmp_path, {"learning_rate": [1.0, 3.0]})
    assert result.errors == {}
    np.testing.assert_allclose(result["generalization_error"], [[0.5 / (1 - 0.5)], [np.nan]])


def test_fixed_points_tell_whether_they_are_stable(quantized, tmp_path) -> None:
    result = swept(quantized, isotropic_fixed_points, tmp_path)
    for i, ridge in enumerate(RIDGES):
        points = isotropic_fixed_points(replace(quantized, ridge=ridge))
        np.testing.assert_array_equal(result["m"][i, : len(points)], [p.m for p in points])
        np.testing.assert_array_equal(
            result["stable"][i, : len(points)], [p.stable for p in points]
        )


def test_optimal_range_by_its_numbers(quantized, tmp_path) -> None:
    result = swept(quantized, optimal_range, tmp_path, points=12)
    best = optimal_range(replace(quantized, ridge=RIDGES[1]), points=12)
    assert result["omega"][1] == best.omega
    assert result["generalization_error"][1] == best.generalization_error
    assert "omega_x" not in result.arrays


def test_studies_of_trajectories(quantized, tmp_path) -> None:
    options = {"times": [0.0, 1.0, 4.0], "rtol": 1e-4}
    problem = replace(quantized, ridge=RIDGES[2])
    error = swept(quantized, closure_error, tmp_path, **options)
    assert error.dimensions == ("ridge", "time")
    expected = closure_error(problem, **options).order_parameters.generalization_error
    np.testing.assert_array_equal(error["generalization_error"][2], expected)
    (tmp_path / "s.h5").unlink()
    rates = swept(quantized, flip_rate, tmp_path, dimension=100, **options)
    expected = flip_rate(solve_pde(problem, **options), 100)
    np.testing.assert_array_equal(rates["value"][2], expected)


def several(problem, size: int):
    return {"number": 2 * problem.ridge, "vector": np.full(size, problem.ridge), "flag": True}


def test_functions_of_the_user(quantized, tmp_path) -> None:
    result = swept(quantized, several, tmp_path, size=4)
    np.testing.assert_array_equal(result["number"], [1.0, 2.0, 6.0])
    np.testing.assert_array_equal(result["vector"], np.outer(RIDGES, np.ones(4)))
    data = result.to_xarray()
    assert data["vector"].dims == ("ridge", "vector_0")
    assert set(data) == {"number", "vector", "flag", "status", "cost"}
    with pytest.raises(ParameterError, match="times"):
        _ = result.times
    with pytest.raises(ParameterError, match="must be one of number"):
        _ = result["m"]


def uneven(problem):
    return "text" if problem.ridge == 0.5 else np.zeros(int(problem.ridge))


def test_answers_that_do_not_fit_are_failures_of_their_points(quantized) -> None:
    result = sweep(quantized, {"ridge": RIDGES}, uneven, workers=1)
    assert "must return numbers" in result.errors[0,]
    assert "another shape" in result.errors[2,]
    np.testing.assert_array_equal(result["value"], [[np.nan], [0.0], [np.nan]])


def test_a_list_of_problems_and_fields_that_change_together(quantized, tmp_path) -> None:
    problems = [quantized, replace(quantized, weight_quantizer=StepQuantizer([-1.0, 1.0]))]
    axes = {"ridge+weight_quantizer.temperature": [(0.5, 0.1), (1.0, 0.2), (1.5, 0.3)]}
    result = swept(problems, several, tmp_path, axes, size=1)
    assert result.shape == (2, 3)
    found = result.problem((1, 2))
    assert found.ridge == 1.5
    assert found.weight_quantizer == StepQuantizer([-1.0, 1.0], temperature=0.3)
    np.testing.assert_array_equal(result["number"], [[1.0, 2.0, 3.0]] * 2)
    data = result.to_xarray()
    np.testing.assert_array_equal(data["weight_quantizer.temperature"], [0.1, 0.2, 0.3])
    for wrong in ({"ridge": [1.0], "ridge+batch_size": [(1.0, 2)]}, {"ridge+batch_size": [1.0]}):
        with pytest.raises(ParameterError, match=r"twice|must hold 2"):
            sweep(quantized, wrong, several, size=1)


def test_schedules_and_what_does_not_go_together(quantized, tmp_path) -> None:
    axes = {
        "learning_rate": [0.1, Schedule.linear(0.1, 0.01, duration=5.0)],
        "weight_quantizer": [UniformQuantizer(2, 1.0), None],
        "weight_quantizer.omega": [0.5, 1.0],
    }
    result = swept(quantized, several, tmp_path, axes, size=1)
    assert result.problem((1, 0, 0)).learning_rate == axes["learning_rate"][1]
    # A range of no quantizer: a failure of these points, not of the sweep.
    assert set(result.errors) == {(i, 1, k) for i in range(2) for k in range(2)}


@pytest.mark.parametrize("method", ["sobol", "halton", "latin-hypercube"])
def test_random_designs_fill_their_box_evenly(quantized, method) -> None:
    ranges = {"learning_rate": (0.01, 1.0, "log"), "ridge": (0.0, 2.0)}
    axes = sample_axes(ranges, 64, method=method, seed=1)
    assert axes == sample_axes(ranges, 64, method=method, seed=1)
    rate, ridge = np.array(axes["learning_rate+ridge"]).T
    # 64 points of a well-spread design: eighths of a side hold 8 each, up to the sequence's slack.
    for unit in (np.log(rate / 0.01) / np.log(100), ridge / 2):
        counts = np.histogram(unit, bins=8, range=(0, 1))[0]
        assert counts.sum() == 64
        assert np.abs(counts - 8).max() <= (0 if method != "halton" else 2)
    result = sweep(quantized, axes, several, workers=1, size=1)
    np.testing.assert_array_equal(result["number"], 2 * ridge)


@pytest.mark.parametrize(
    ("ranges", "options", "words"),
    [
        ({}, {}, "ranges"),
        ({"ridge": (1.0, 0.0)}, {}, "low < high"),
        ({"ridge": (0.0, 1.0, "log")}, {}, "logarithmic"),
        ({"ridge": (0.0, 1.0)}, {"method": "grid"}, "sobol"),
        ({"ridge": (0.0, 1.0)}, {"points": 0}, "points"),
    ],
)
def test_bad_designs_are_refused(ranges, options, words) -> None:
    with pytest.raises(ParameterError, match=words):
        sample_axes(ranges, **{"points": 4, **options})


COMPILE = """
import sys, time, pathlib
from fpsolve.sweeps.warm import one_compiles
log = pathlib.Path("log")
with one_compiles("solver"):
    with log.open("a") as file: file.write("in ")
    time.sleep(0.5)
    with log.open("a") as file: file.write("out ")
"""


def test_one_process_compiles_while_the_others_wait(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    command = [sys.executable, "-c", COMPILE]
    first, second = (subprocess.Popen(command, cwd=tmp_path) for _ in range(2))
    assert first.wait(60) == second.wait(60) == 0
    assert (tmp_path / "log").read_text() == "in out in out "
