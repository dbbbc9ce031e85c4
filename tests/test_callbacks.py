"""`callback=`: told of every time that is reached, and able to stop a run."""

from __future__ import annotations

import dataclasses

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
