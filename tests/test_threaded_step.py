"""Threads change who computes a density, never the density."""

from __future__ import annotations

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


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_any_number_of_threads_gives_the_same_bits(
    problem: Problem, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = [0.5, 3.0]
    monkeypatch.setattr(integrate, "_MANY_VALUES", 10**9)
    alone = solve_pde(problem, times, rtol=1e-5)
    monkeypatch.setattr(integrate, "_MANY_VALUES", 2)
    monkeypatch.setattr(integrate, "_MANY_NODES", 1)
    monkeypatch.setattr(threaded_step, "_threads", lambda: threads)
    together = solve_pde(problem, times, rtol=1e-5)
    np.testing.assert_array_equal(together.density, alone.density)
    np.testing.assert_array_equal(together.edges, alone.edges)


@pytest.mark.parametrize("threads", [1, 2, 3, 50])
def test_every_teacher_value_is_given_to_one_thread(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threaded_step, "_threads", lambda: threads)
    first = np.cumsum([0, 3, 100, 1, 1, 1, 40, 2])
    ranges = threaded_step._ranges(first)
    assert [k for begin, end in ranges for k in range(begin, end)] == list(range(7))
    assert len(ranges) <= min(threads, 7)
