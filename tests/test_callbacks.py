"""`callback=`: told of every time or point that is reached, and able to stop what reaches them."""

from __future__ import annotations

import dataclasses
import inspect

import h5py
import numpy as np
import pytest

import fpsolve

TIMES = np.arange(0.0, 41.0)
SIMULATE = {
    "ste": lambda problem, **more: fpsolve.simulate_ste(
        problem, TIMES, dimension=500, runs=2, seed=1, **more
    ),
    "sde": lambda problem, **more: fpsolve.simulate_sde(
        problem, TIMES, particles=2000, runs=2, seed=1, **more
    ),
}


@pytest.fixture
def problem():
    return fpsolve.Problem(
        weight_quantizer=fpsolve.UniformQuantizer(2, 1.0), input_quantizer=None, learning_rate=0.2
    )


@pytest.mark.parametrize("kind", SIMULATE)
def test_a_callback_is_told_what_the_trajectory_says(kind, problem) -> None:
    told = []
    result = SIMULATE[kind](problem, callback=lambda tau, state: told.append((tau, state)))
    assert [tau for tau, _ in told] == result.times.tolist()
    for field in dataclasses.fields(fpsolve.OrderParameters):
        heard = np.stack([getattr(state, field.name) for _, state in told], axis=1)
        np.testing.assert_array_equal(heard, getattr(result.order_parameters, field.name))
    assert result.stats["interrupted"] is False
    plain = SIMULATE[kind](problem)
    np.testing.assert_array_equal(plain.weights, result.weights)


@pytest.mark.parametrize("kind", SIMULATE)
def test_a_callback_stops_a_simulation(kind, problem) -> None:
    heard = []

    def enough(tau, state):
        heard.append(tau)
        return tau >= 3

    times = np.arange(0.0, 4001.0)
    size = {"dimension": 500} if kind == "ste" else {"particles": 2000}
    simulate = fpsolve.simulate_ste if kind == "ste" else fpsolve.simulate_sde
    result = simulate(problem, times, seed=1, callback=enough, **size)
    assert heard == [0.0, 1.0, 2.0, 3.0]
    assert 3 <= result.times[-1] < 4000
    assert result.stats["interrupted"] is True


@pytest.mark.parametrize("kind", SIMULATE)
def test_what_a_callback_raises_comes_through(kind, problem) -> None:
    with pytest.raises(ZeroDivisionError):
        SIMULATE[kind](problem, callback=lambda tau, state: 1 / 0)


# Verbs that go through times one after the other, and what they solve here.
SOLVE = {
    "pde": (fpsolve.solve_pde, {}),
    "gaussian": (fpsolve.solve_pde, {"weight_quantizer": None}),
    "ode": (fpsolve.solve_ode, {}),
    "scheduled ode": (
        fpsolve.solve_ode,
        {"learning_rate": fpsolve.Schedule.steps([0.2, 0.1], times=[7.5])},
    ),
    "closure error": (fpsolve.closure_error, {}),
}


@pytest.mark.parametrize("kind", SOLVE)
def test_a_solver_tells_what_its_trajectory_says(kind, problem) -> None:
    solve, changes = SOLVE[kind]
    problem, told = dataclasses.replace(problem, **changes), []
    result = solve(problem, TIMES, callback=lambda tau, state: told.append((tau, state)))
    assert [tau for tau, _ in told] == TIMES.tolist()
    expected = result.exact if kind == "closure error" else result.order_parameters
    for field in dataclasses.fields(fpsolve.OrderParameters):
        heard = np.stack([getattr(state, field.name) for _, state in told])
        np.testing.assert_array_equal(heard, getattr(expected, field.name))
    assert result.stats["interrupted"] is False
    plain = solve(problem, TIMES)
    np.testing.assert_array_equal(plain.order_parameters.q, result.order_parameters.q)


@pytest.mark.parametrize("kind", SOLVE)
def test_a_solver_stops_where_it_is_told(kind, problem) -> None:
    solve, changes = SOLVE[kind]
    problem, heard = dataclasses.replace(problem, **changes), []
    whole = solve(problem, TIMES)

    def low(tau, state):
        heard.append(tau)
        return state.m > 0.5  # NumPy's truth, not Python's

    short = solve(problem, TIMES, callback=low)
    overlap = (whole.exact if kind == "closure error" else whole.order_parameters).m
    first = int(np.argmax(overlap > 0.5))
    assert 0 < first < TIMES.size - 1
    assert heard == short.times.tolist() == TIMES[: first + 1].tolist()
    assert short.stats["interrupted"] is True
    for field in dataclasses.fields(fpsolve.OrderParameters):
        expected = getattr(whole.order_parameters, field.name)[: first + 1]
        np.testing.assert_array_equal(getattr(short.order_parameters, field.name), expected)


@pytest.mark.parametrize("kind", ["pde", "gaussian", "ste"])
@pytest.mark.parametrize("ends", ["true", "raises"])
def test_what_a_callback_ends_is_stored_and_goes_on(kind, ends, problem, tmp_path) -> None:
    # So long between the times that a simulation cannot be at its end when it is told of two.
    times, path = np.arange(0.0, 4000.0, 50.0), tmp_path / "run.h5"
    changes = {"weight_quantizer": None} if kind == "gaussian" else {}
    problem = dataclasses.replace(problem, **changes)
    options = {"dimension": 200, "seed": 1} if kind == "ste" else {}
    solve = fpsolve.simulate_ste if kind == "ste" else fpsolve.solve_pde

    def end(tau, state):
        if tau < 100:
            return False
        return ends == "true" or 1 / 0

    if ends == "true":
        solve(problem, times, store=path, callback=end, **options)
    else:
        with pytest.raises(ZeroDivisionError):
            solve(problem, times, store=path, callback=end, **options)
    kept = fpsolve.load(path)
    assert 100 <= kept.times[-1] < times[-1]
    assert kept.stats["interrupted"]
    with h5py.File(path) as file:
        assert file.attrs["status"] == ("interrupted" if ends == "true" else "failed")
        message = file.attrs.get("message", "")
    assert message == (
        "" if ends == "true" else "the callback raised ZeroDivisionError: division by zero"
    )
    told = []
    whole = fpsolve.resume(path, callback=lambda tau, state: told.append(tau))
    assert told == times[kept.times.size :].tolist()
    expected = solve(problem, times, **options)
    np.testing.assert_array_equal(whole.times, expected.times)
    np.testing.assert_array_equal(whole.order_parameters.q, expected.order_parameters.q)
    assert whole.stats["interrupted"] is False


@pytest.mark.parametrize("workers", [1, 2])
def test_a_sweep_tells_of_every_point(workers, problem) -> None:
    axes = {"learning_rate": [0.1, 0.2], "ridge": [0.0, 0.5, 1.0]}
    told = {}
    result = fpsolve.sweep(
        problem,
        axes,
        fpsolve.solve_ode,
        times=[0.0, 5.0],
        workers=workers,
        callback=told.__setitem__,
    )
    assert set(told) == set(np.ndindex(2, 3))
    for index, state in told.items():
        np.testing.assert_array_equal(state.q, result.order_parameters.q[index])


def test_a_sweep_stops_and_keeps_what_it_has(problem, tmp_path) -> None:
    heard = []
    axes = {"learning_rate": np.linspace(0.01, 0.5, 400).tolist()}
    ask = {"times": [0.0, 50.0], "rtol": 1e-9, "store": tmp_path / "answers"}

    def third(index, state):
        heard.append(index)
        return len(heard) == 3

    result = fpsolve.sweep(problem, axes, fpsolve.solve_pde, workers=1, callback=third, **ask)
    assert len(heard) == 3
    assert result.stats["interrupted"] is True
    solved = np.flatnonzero(result.status == 0)
    assert {index for (index,) in heard} <= set(solved.tolist())
    assert solved.size < 400
    again = fpsolve.collect_sweep(problem, axes, fpsolve.solve_pde, **ask)
    np.testing.assert_array_equal(again.status == 0, result.status == 0)


def test_a_sweep_tells_of_failures_and_of_numbers(problem) -> None:
    def inverse(problem):
        return {"inverse": 1 / problem.ridge}

    told = {}
    axes = {"ridge": [0.0, 0.5]}
    fpsolve.sweep(problem, axes, inverse, workers=1, callback=told.__setitem__)
    assert told[0,] is None
    assert told[1,] == {"inverse": 2.0}


def test_a_search_for_a_range_tells_and_stops(problem) -> None:
    told = []
    best = fpsolve.optimal_range(
        problem, points=16, callback=lambda omega, state: told.append((omega, state))
    )
    assert [omega for omega, _ in told[:16]] == pytest.approx(best.scanned[0].tolist(), rel=1e-14)
    errors = [float(state.generalization_error) for _, state in told]
    assert errors[:16] == best.scanned_error.tolist()
    assert min(errors) == best.generalization_error
    assert best.stats == {"evaluations": len(told), "interrupted": False}
    short = fpsolve.optimal_range(problem, points=16, callback=lambda omega, _: omega > 1.0)
    assert short.stats["interrupted"] is True
    np.testing.assert_array_equal(short.scanned_error, errors[: short.scanned[0].size])
    assert short.scanned[0][-1] > 1.0 > short.scanned[0][-2]
    assert short.generalization_error == short.scanned_error.min()


@pytest.mark.parametrize(("after", "shape"), [(3, (1, 3)), (5, (1, 4)), (9, (2, 4))])
def test_of_a_grid_of_ranges_whole_rows_are_kept(problem, after, shape) -> None:
    both = dataclasses.replace(problem, input_quantizer=fpsolve.UniformQuantizer(2, 1.0))
    told = []

    def enough(ranges, state):
        told.append((ranges, float(state.generalization_error)))
        return len(told) == after

    best = fpsolve.optimal_range(both, which="both", points=4, callback=enough)
    assert best.scanned_error.shape == shape
    assert (best.omega, best.omega_x) == min(told, key=lambda pair: pair[1])[0]


def test_a_stopped_search_can_be_stored(problem, tmp_path) -> None:
    best = fpsolve.optimal_range(problem, points=16, callback=lambda omega, _: omega > 1.0)
    fpsolve.save(best, tmp_path / "range.h5")
    loaded = fpsolve.load(tmp_path / "range.h5")
    assert loaded.stats == best.stats
    np.testing.assert_array_equal(loaded.scanned_error, best.scanned_error)


def test_a_curve_of_ranges_ends_where_it_is_told(problem) -> None:
    ranges = [0.5, 1.0, 1.5]
    whole = fpsolve.range_curve(problem, ranges)
    short = fpsolve.range_curve(problem, ranges, callback=lambda omega, _: omega == 1.0)
    np.testing.assert_array_equal(short, whole[:2])


def test_searches_for_rates_tell_and_stop(problem) -> None:
    told = []
    ask = {"horizon": 10.0, "bounds": (0.02, 0.5)}
    whole = fpsolve.best_rate(problem, **ask, callback=lambda *one: told.append(one))
    errors = [float(state.generalization_error) for _, state in told]
    assert min(errors) == whole.value
    assert told[errors.index(min(errors))][0] == whole.learning_rate
    count = whole.scanned.size
    assert [rate for rate, _ in told[:count]] == whole.scanned.tolist()
    short = fpsolve.best_rate(problem, **ask, callback=lambda rate, _: rate > 0.1)
    assert short.scanned[-1] > 0.1 > short.scanned[-2]
    assert short.stats["interrupted"] is True
    rates, schedules = [], []

    def second_schedule(tried, state):
        (schedules if isinstance(tried, fpsolve.Schedule) else rates).append(tried)
        return len(schedules) == 2

    best = fpsolve.best_schedule(problem, "linear", **ask, callback=second_schedule)
    assert rates == [rate for rate, _ in told]
    assert best.evaluations == len(schedules) == 2
    assert best.schedule in schedules
    assert best.stats == {"evaluations": len(rates) + 2, "interrupted": True}
    none = fpsolve.best_schedule(problem, "linear", **ask, callback=lambda rate, _: rate > 0.1)
    assert (none.evaluations, none.generalization_error) == (0, short.value)


def test_an_answer_for_every_run_is_no_answer(problem) -> None:
    with pytest.raises(fpsolve.ParameterError, match=r"one truth value.*\.all\(\)"):
        SIMULATE["ste"](problem, callback=lambda tau, state: state.m > 0.5)


# Verbs that take long, each of which can be watched.
LONG = (
    "solve_pde", "solve_ode", "simulate_ste", "simulate_sde", "sweep", "optimal_range",
    "range_curve", "best_rate", "best_schedule", "solve_mckean_vlasov",
)  # fmt: skip


@pytest.mark.parametrize("name", LONG)
def test_every_long_verb_can_be_watched(name: str) -> None:
    verb = getattr(fpsolve, name)
    assert {"progress", "callback"} <= inspect.signature(verb).parameters.keys()


def test_progress_shows_the_error(problem, capsys, monkeypatch) -> None:
    monkeypatch.setattr("fpsolve.progress._LINE_INTERVAL", 0.0)
    watched = {
        "solve_pde": lambda: fpsolve.solve_pde(problem, TIMES, progress=True),
        "solve_ode": lambda: fpsolve.solve_ode(problem, TIMES, progress=True),
        "simulate_ste": lambda: SIMULATE["ste"](problem, progress=True),
        "simulate_sde": lambda: SIMULATE["sde"](problem, progress=True),
        "optimal_range": lambda: fpsolve.optimal_range(problem, points=8, progress=True),
    }
    for name, run in watched.items():
        run()
        lines = capsys.readouterr().err.splitlines()
        assert lines == [line for line in lines if line.startswith(f"{name}: ")]
        assert "eps_g = " in lines[-1], name
