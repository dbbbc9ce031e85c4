"""Threads change who computes a density, never the density."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from fpsolve import Problem, Teacher, UniformQuantizer, solve_pde
from fpsolve.density import integrate, threaded_step


@pytest.fixture
def problem() -> Problem:
    return Problem(
        weight_quantizer=UniformQuantizer(2, 1.0),
        input_quantizer=UniformQuantizer(3, 1.5),
        learning_rate=0.1,
        ridge=0.2,
        teacher=Teacher.gaussian(1.0, 9),
    )


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small problems count as large."""
    monkeypatch.setattr(integrate, "_MANY_VALUES", 2)
    monkeypatch.setattr(integrate, "_MANY_NODES", 1)


def crew(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threaded_step, "_processors", lambda: threads)
    threaded_step._crew.cache_clear()


@pytest.fixture(autouse=True)
def own_crew() -> Iterator[None]:
    yield
    threaded_step._crew.cache_clear()


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_any_number_of_threads_gives_the_same_bits(
    problem: Problem, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = [0.5, 3.0]
    monkeypatch.setattr(integrate, "_MANY_VALUES", 10**9)
    alone = solve_pde(problem, times, rtol=1e-5)
    monkeypatch.setattr(integrate, "_MANY_VALUES", 2)
    monkeypatch.setattr(integrate, "_MANY_NODES", 1)
    crew(threads, monkeypatch)
    together = solve_pde(problem, times, rtol=1e-5)
    np.testing.assert_array_equal(together.density, alone.density)
    np.testing.assert_array_equal(together.edges, alone.edges)


@pytest.mark.parametrize("threads", [1, 2, 3, 50])
def test_every_teacher_value_is_given_to_one_thread(threads: int) -> None:
    first = np.cumsum([0, 3, 100, 1, 1, 1, 40, 2])
    ranges = threaded_step._ranges(first, threads)
    assert [k for begin, end in ranges for k in range(begin, end)] == list(range(7))
    assert len(ranges) <= min(threads, 7)


def test_callers_at_once_do_not_share_a_crew(
    problem: Problem, many: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    crew(2, monkeypatch)
    alone = solve_pde(problem, [1.0], rtol=1e-4).density
    found: list[np.ndarray] = []

    def solve() -> None:
        found.append(solve_pde(problem, [1.0], rtol=1e-4).density)

    callers = [threading.Thread(target=solve) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(found) == 4
    for density in found:
        np.testing.assert_array_equal(density, alone)


def _mass(problem: Problem) -> float:
    return float(solve_pde(problem, [1.0], rtol=1e-4).masses.sum())


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this system"
)
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_hires_its_own_crew(
    problem: Problem, many: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    crew(2, monkeypatch)
    expected = _mass(problem)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply_async(_mass, (problem,)).get(timeout=60) == expected


def test_an_interrupted_crew_is_replaced(
    problem: Problem, many: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    crew(2, monkeypatch)
    alone = solve_pde(problem, [1.0], rtol=1e-4).density
    hired = threaded_step._crew()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threaded_step, "take_stage", interrupted)
        with pytest.raises(KeyboardInterrupt):
            solve_pde(problem, [1.0], rtol=1e-4)
    assert threaded_step._crew() is not hired
    np.testing.assert_array_equal(solve_pde(problem, [1.0], rtol=1e-4).density, alone)
