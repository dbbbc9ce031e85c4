"""The explorer without a browser: settings, links, workers and exports."""

from __future__ import annotations

import dataclasses
import os
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

import fpsolve
from fpsolve import (
    GaussianInitial,
    ParameterError,
    Problem,
    Schedule,
    StepQuantizer,
    Surrogate,
    Teacher,
)
from fpsolve.explorer.occupancy import level_probabilities, level_shares
from fpsolve.explorer.presets import PRESETS, preset
from fpsolve.explorer.results import COARSE, FLIPS_OF, FULL, TASKS, TIMES, python_text, requested
from fpsolve.explorer.settings import (
    CONTROLS,
    hidden,
    problem_of,
    query_of,
    settings_of,
    settings_of_query,
)
from fpsolve.explorer.workers import Task, Workers
from fpsolve.plots.together import side_by_side

PROBLEMS = {
    "rules": Problem(
        weight_quantizer=fpsolve.UniformQuantizer(3, 1.5, temperature=0.1),
        input_quantizer=None,
        learning_rate=0.123456,
        surrogate=Surrogate(bound=1.2, slope=0.3),
        weight_decay=0.1,
        dampening=0.2,
        momentum=0.5,
        weight_clip=2.0,
        batch_size=7,
    ),
    "stochastic": Problem(
        weight_quantizer=fpsolve.UniformQuantizer(3, 1.5, rounding="stochastic"),
        input_quantizer=None,
        learning_rate=0.1,
    ),
    "thresholds": Problem(
        weight_quantizer=StepQuantizer([-1.0, 1.0], thresholds=[0.3]),
        input_quantizer=None,
        learning_rate=0.1,
        surrogate=Surrogate.triangular(1.5),
    ),
    "schedules": Problem(
        weight_quantizer=None,
        input_quantizer=None,
        learning_rate=Schedule.join(
            [Schedule.linear(0.0, 0.1, duration=5.0), Schedule.cosine(0.1, 0.01, duration=50.0)],
            times=[5.0],
        ),
        ridge=Schedule.steps([0.5, 0.0], times=[20.0]),
        noise_variance=Schedule.exponential(0.3, rate=0.1),
    ),
    "ramp": Problem(
        weight_quantizer=None,
        input_quantizer=None,
        learning_rate=Schedule.cosine(0.1, 0.01, duration=50.0),
    ),
    "levels": Problem(
        weight_quantizer=StepQuantizer([-1.0, -0.1, 2.0]),
        input_quantizer=StepQuantizer([-1.0, 1.0]),
        learning_rate=0.1,
        input_distribution="laplace",
        teacher=Teacher([0.3, -0.2], [0.25, 0.75], input_scale=[1.0, 0.5]),
        initial=GaussianInitial(0.1, 0.0, -0.7),
    ),
}


@pytest.fixture(scope="module")
def workers():
    crew = Workers(2)
    yield crew
    crew.close()


def carry_out(workers, name, *arguments, budget=120.0):
    """What a task yields, and how it was refused."""
    parts, ended, reasons = [], threading.Event(), []
    task = Task(
        name,
        arguments,
        budget=budget,
        part=parts.append,
        done=lambda reason: (reasons.append(reason), ended.set()),
    )
    workers.start(task)
    assert ended.wait(180)
    return parts, reasons[0]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_problems_and_links(name):
    settings = preset(name)
    assert set(settings) == set(CONTROLS)
    assert settings_of_query(query_of(settings)) == settings
    problem = problem_of(settings)
    assert problem_of(settings_of(problem, settings["horizon"])) == problem


@pytest.mark.parametrize("name", PROBLEMS)
def test_controls_say_what_a_problem_says(name):
    problem = PROBLEMS[name]
    assert problem_of(settings_of(problem)) == problem
    assert problem_of(settings_of_query(query_of(settings_of(problem)))) == problem


@given(st.data())
def test_links_keep_every_setting_that_means_something(data):
    settings = preset(data.draw(st.sampled_from(sorted(PRESETS))))
    for name, control in CONTROLS.items():
        if control.choices:
            settings[name] = data.draw(st.sampled_from(control.choices))
        elif not isinstance(control.default, str):
            kind = st.integers if isinstance(control.default, int) else st.floats
            low, high = control.low, control.high
            if kind is st.integers:
                low, high = int(low), int(high)
            settings[name] = data.draw(kind(low, high))
    again = settings_of_query(query_of(settings))
    shown = set(CONTROLS) - hidden(settings)
    assert {n: again[n] for n in shown} == {n: settings[n] for n in shown}


def test_a_link_cannot_ask_for_what_is_none():
    for query in ("eta=fast", "bits=nan", "weights=binary"):
        with pytest.raises(ParameterError, match="must be"):
            settings_of_query(query)
    assert settings_of_query("?unknown=1") == preset(next(iter(PRESETS)))


def test_a_schedule_that_cannot_be_read_is_refused_by_its_field():
    settings = preset(next(iter(PRESETS)))
    for text in ("linear", "kind = 3", "[1, 2]"):
        with pytest.raises(ParameterError, match="must be") as refused:
            problem_of(settings | {"ridge_table": text})
        assert refused.value.field == "ridge"


def test_every_field_of_a_problem_has_a_control():
    """Settings made from a problem differ from the usual ones wherever the problem does."""
    usual = settings_of(problem_of(preset(next(iter(PRESETS)))))
    told = {field for p in PROBLEMS.values() for field in vars(p)}
    assert told == {field.name for field in dataclasses.fields(Problem)}
    varied = {
        "input_distribution": "uniform", "ridge": 0.3, "noise_variance": 0.3, "batch_size": 3,
        "learning_rate": 0.3, "weight_decay": 0.3, "weight_clip": 3.0, "dampening": 0.3,
        "momentum": 0.3, "surrogate": Surrogate(1.0), "initial": GaussianInitial(0.3),
        "teacher": Teacher.rademacher(), "weight_quantizer": None, "input_quantizer": None,
    }  # fmt: skip
    assert set(varied) == told
    base = problem_of(usual)
    for field, value in varied.items():
        other = dataclasses.replace(base, **{field: value})
        assert problem_of(settings_of(other)) == other, field


def test_controls_hide_what_means_nothing():
    settings = preset("Fig. 5: inputs alone")
    assert {"bits", "omega", "temperature", "rounding", "dampening", "levels"} <= hidden(settings)
    assert "omega_x" not in hidden(settings)


def test_a_worker_gives_what_the_library_gives(workers):
    settings = preset("Fig. 8: the closure fails")
    (found, flips), refused = carry_out(workers, "density", settings, FULL)
    assert refused is None
    np.testing.assert_array_equal(flips, fpsolve.flip_rate(found, FLIPS_OF))
    own = fpsolve.solve_pde(problem_of(settings), requested(settings["horizon"]))
    assert found.times.size == TIMES
    np.testing.assert_array_equal(
        found.order_parameters.generalization_error, own.order_parameters.generalization_error
    )
    np.testing.assert_array_equal(found.pdf(np.linspace(-1, 1, 9), 120.0), own.pdf(
        np.linspace(-1, 1, 9), 120.0))  # fmt: skip
    (references,), _ = carry_out(workers, "references", settings)
    (state,) = fpsolve.stationary_states(problem_of(settings))
    assert references["stationary"] == [state.generalization_error]


def test_runs_come_one_after_another(workers):
    parts, refused = carry_out(workers, "particles", preset(next(iter(PRESETS))))
    assert refused is None
    assert len(parts) == 4
    assert not np.array_equal(parts[0]["error"], parts[1]["error"])
    nothing, refused = carry_out(workers, "particles", preset("Fig. 6: small rate, long times"))
    assert (nothing, refused) == ([], None)


def test_refusals_keep_the_field_and_the_message(workers):
    settings = preset(next(iter(PRESETS))) | {"ridge": -1.0}
    parts, refused = carry_out(workers, "density", settings, COARSE)
    assert parts == []
    assert refused[0] == "ridge"
    assert refused[1].startswith("ridge = -1.0: must be")


def test_a_task_over_its_budget_ends_and_says_so(workers):
    settings = preset("Gaussian teacher") | {"nodes": 64}
    parts, refused = carry_out(workers, "density", settings, FULL, budget=0.05)
    assert parts == []
    assert "takes more than 0.05 s" in refused[1]
    # The crew goes on with another process.
    assert carry_out(workers, "references", preset(next(iter(PRESETS))))[1] is None


def test_a_stopped_task_says_nothing(workers):
    told = []
    task = Task("particles", [preset(next(iter(PRESETS)))], budget=60, part=told.append,
                done=told.append)  # fmt: skip
    task.stop()
    workers.start(task)
    assert carry_out(workers, "references", preset(next(iter(PRESETS))))[1] is None
    assert told == []


def test_a_task_that_is_stopped_leaves_its_process_to_the_next(workers):
    """A process takes seconds to start, so that a move must not cost one."""
    began, ended = threading.Event(), threading.Event()
    settings = preset(next(iter(PRESETS)))
    long = Task("particles", [settings], budget=60, part=lambda _: began.set(),
                done=lambda _: ended.set(), patient=True)  # fmt: skip
    workers.start(long)
    assert began.wait(60)
    with workers._lock:
        (process,) = workers._busy.values()
    long.stop()
    deadline = time.monotonic() + 10
    while process not in workers._idle[True]:
        assert time.monotonic() < deadline, "it was killed"
        time.sleep(0.01)
    assert not ended.is_set()
    assert process.poll() is None
    if hasattr(os, "getpriority"):
        assert os.getpriority(os.PRIO_PROCESS, process.pid) > os.getpriority(os.PRIO_PROCESS, 0)


def test_exports_are_the_librarys_own(tmp_path):
    settings = preset("two signs")
    (tmp_path / "problem.toml").write_text(problem_of(settings).to_toml(), encoding="utf-8")
    (content,) = TASKS["hdf5"](settings)
    (tmp_path / "result.h5").write_bytes(content)
    stored = fpsolve.load(tmp_path / "result.h5")
    scope = {}
    script = python_text(str(tmp_path / "problem.toml"), settings["horizon"])
    assert len(script.splitlines()) == 3
    exec(script, scope)
    for name in ("generalization_error", "m", "q"):
        np.testing.assert_array_equal(
            getattr(scope["result"].order_parameters, name), getattr(stored.order_parameters, name)
        )
    for kind, start in (("png", b"\x89PNG"), ("svg", b"<?xml")):
        (picture,) = TASKS["picture"](settings, kind)
        assert picture.startswith(start)


def test_python_of_two_settings_gives_both(tmp_path, monkeypatch):
    shown, kept = preset("two signs"), preset("Fig. 8: the closure fails")
    monkeypatch.chdir(tmp_path)
    for name, settings in (("problem.toml", shown), ("kept.toml", kept)):
        (tmp_path / name).write_text(problem_of(settings).to_toml(), encoding="utf-8")
    scope = {}
    exec(python_text(horizon=shown["horizon"], kept=kept["horizon"]), scope)
    for name, settings in (("result", shown), ("kept", kept)):
        assert scope[name].problem == problem_of(settings)
        assert scope[name].times[-1] == settings["horizon"]
        own = fpsolve.solve_pde(problem_of(settings), requested(settings["horizon"]))
        np.testing.assert_array_equal(scope[name].order_parameters.q, own.order_parameters.q)


def test_the_picture_of_two_settings_holds_both_curves():
    """Both errors and both densities, at the time shown of each."""
    runs = [fpsolve.solve_pde(problem_of(preset(name)), requested(120.0))
            for name in ("Fig. 2: 4 bits", "Fig. 8: the closure fails")]  # fmt: skip
    left, right = side_by_side(*runs, 9).axes
    curves = {line.get_label(): line for line in right.get_lines()}
    for name, run in zip(("shown", "kept"), runs, strict=True):
        error = run.dense_order_parameters.generalization_error
        np.testing.assert_array_equal(curves[name].get_ydata(), error)
        (density,) = (c for c in left.get_lines() if str(c.get_label()).startswith(name))
        area = np.trapezoid(density.get_ydata(), density.get_xdata())
        assert area == pytest.approx(1.0, abs=4e-3)


def test_shares_of_levels_add_up_to_what_rounding_means():
    """Of random rounding: closed form at τ = 0; Σ p_k v_k = E ψ and Σ p_k v_k² = E ψ² later."""
    settings = preset("rule: stochastic rounding")
    result = fpsolve.solve_pde(problem_of(settings), requested(settings["horizon"]))
    levels = result.problem.weight_quantizer.levels
    step = levels[1] - levels[0]
    # E (v − w)₊ of w ~ N(0, 1), whose second differences are the expectations of hat functions.
    below = levels * norm.cdf(levels) + norm.pdf(levels)
    first, last = (below[1] - below[0]) / step, 1 - (below[-1] - below[-2]) / step
    exact = [first, *(np.diff(below, 2) / step), last]
    np.testing.assert_allclose(level_shares(result, 0), exact, atol=2e-6)
    for index in (0, 10, 40):
        shares, state = level_shares(result, index), result.order_parameters[index]
        assert shares.sum() == pytest.approx(1.0, abs=1e-6)
        assert shares @ levels == pytest.approx(float(state.m_psi), abs=1e-6)
        assert shares @ levels**2 == pytest.approx(float(state.q_psi), abs=1e-6)


def test_shares_of_levels_are_those_of_thresholds():
    result = fpsolve.solve_pde(problem_of(preset("two signs")), [0.0])
    quantizer = result.problem.weight_quantizer
    exact = np.diff([0.0, *norm.cdf(quantizer.thresholds), 1.0])
    np.testing.assert_allclose(level_shares(result, 0), exact, atol=1e-7)
    w = np.random.default_rng(0).normal(size=2000)
    shares = [level_probabilities(quantizer, w, k).mean() for k in range(quantizer.levels.size)]
    counted = [(quantizer(w) == v).mean() for v in quantizer.levels]
    np.testing.assert_array_equal(shares, counted)


def test_curves_whose_flip_rates_did_not_come_are_shown_and_the_reason_told():
    """A worker that ends between its two answers has given the first alone."""
    from types import SimpleNamespace

    from fpsolve.explorer.page import FULL, Page

    task = SimpleNamespace(call=("density", [{}, FULL]))
    told, shown = [], []
    page = SimpleNamespace(
        _solving=task,
        _waiting=None,
        _trouble="",
        views=SimpleNamespace(show_paths=shown.append),
        _show_time=lambda: None,
        _show_below_soon=lambda: None,
        _ask_others=lambda: None,
        _tell=lambda field, message: told.append(message),
    )
    Page._solved(page, task, ["curves"], ("", "the worker process ended; try again"))
    assert shown == ["curves"]
    assert told[-1] == "the worker process ended; try again"
