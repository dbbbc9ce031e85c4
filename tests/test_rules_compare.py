"""`compare` takes STE for the density with its rule, and sees a rule that is left out.

Seeds are fixed. The false-alarm rate of a comparison is at most 1e-4.
"""

from __future__ import annotations

import dataclasses

import pytest

from fpsolve import (
    GaussianInitial,
    Problem,
    Schedule,
    Surrogate,
    Teacher,
    UniformQuantizer,
    compare,
    simulate_ste,
    solve_pde,
)

BASE = Problem(
    weight_quantizer=UniformQuantizer(2, 1.0),
    input_quantizer=None,
    learning_rate=0.2,
    ridge=0.4,
    noise_variance=0.1,
    teacher=Teacher([1.0, -0.4], [0.5, 0.5]),
)
TIMES = [0.0, 1.0, 4.0, 12.0]
RULES = {
    "schedule": {"learning_rate": Schedule.cosine(0.2, 0.02, duration=10.0)},
    "jump": {"learning_rate": Schedule.steps([0.2, 0.05], times=[2.0])},
    "clipped": {"surrogate": Surrogate()},
    "leaky": {"surrogate": Surrogate(slope=0.2)},
    "decay": {"weight_decay": 0.3},
    "clip": {"weight_clip": 1.2},
    "dampening": {"dampening": 0.3},
    "momentum": {"momentum": 0.5},
    "stochastic": {"weight_quantizer": UniformQuantizer(2, 1.0, rounding="stochastic")},
    "scales": {"teacher": Teacher([1.0, -0.4], [0.5, 0.5], [0.7, 1.2])},
}


# Noise carries weights over the bound; none starts beyond it.
BASES = {
    "leaky": dataclasses.replace(
        BASE, noise_variance=0.6, initial=GaussianInitial(variance=0.05), ridge=0.1
    )
}


@pytest.fixture(scope="module", params=RULES)
def trained(request):
    base = BASES.get(request.param, BASE)
    problem = dataclasses.replace(base, **RULES[request.param])
    return base, problem, simulate_ste(problem, TIMES, dimension=900, runs=8, seed=7)


def test_the_density_with_the_rule_agrees(trained):
    _, problem, result = trained
    verdict = compare(solve_pde(problem, TIMES), result, false_alarm_rate=1e-5)
    assert verdict.agrees, verdict.table()


def test_the_density_without_the_rule_is_rejected(trained):
    base, _, result = trained
    assert not compare(solve_pde(base, TIMES), result).agrees


def test_the_plain_problem_agrees_with_itself():
    result = simulate_ste(BASE, TIMES, dimension=900, runs=8, seed=7)
    assert compare(solve_pde(BASE, TIMES), result, false_alarm_rate=1e-5).agrees
