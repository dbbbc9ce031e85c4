"""Results show themselves on one line, and as a small table in a notebook."""

from __future__ import annotations

import dataclasses
from html.parser import HTMLParser

import numpy as np
import pytest

import fpsolve
from fpsolve import GaussianInitial, Problem, Schedule, Surrogate, Teacher, UniformQuantizer
from fpsolve.display import span

LAW = np.linspace(-2.0, 2.0, 400)


@pytest.fixture(scope="module")
def problem():
    """A problem with a long teacher's law."""
    return Problem(
        weight_quantizer=UniformQuantizer(3, 1.0),
        input_quantizer=UniformQuantizer(3, 1.0),
        learning_rate=0.1,
        teacher=Teacher(LAW, np.full(LAW.size, 1 / LAW.size)),
    )


def small(problem):
    return dataclasses.replace(problem, teacher=Teacher.constant(0.5))


MAKERS = {
    "DensityTrajectory": lambda p: fpsolve.solve_pde(small(p), np.linspace(0, 1, 300), rtol=1e-3),
    "MacroTrajectory": lambda p: fpsolve.solve_ode(small(p), np.linspace(0, 1, 300)),
    "ParticleTrajectory": lambda p: fpsolve.simulate_ste(
        small(p), [0.0, 1.0], dimension=50, runs=2, seed=1
    ),
    "OrderParameters": lambda p: fpsolve.solve_ode(small(p), [0.0, 1.0]).order_parameters,
    "StationaryState": lambda p: fpsolve.stationary_states(p)[0],
    "FixedPoint": lambda p: fpsolve.isotropic_fixed_points(small(p))[0],
    "SmallRateLimit": fpsolve.small_rate_limit,
    "ClosureError": lambda p: fpsolve.closure_error(small(p), [0.0, 1.0], rtol=1e-3),
    "OptimalRange": lambda p: fpsolve.optimal_range(small(p), points=8),
    "SweepResult": lambda p: fpsolve.sweep(
        small(p), {"learning_rate": [0.1, 0.2]}, fpsolve.solve_ode, times=[0.0, 1.0]
    ),
    "Comparison": lambda p: fpsolve.compare(
        fpsolve.solve_pde(small(p), [1.0]),
        fpsolve.simulate_ste(small(p), [1.0], dimension=200, runs=4, seed=1),
    ),
}
OTHERS = {
    "Problem": lambda p: p,
    "Teacher": lambda p: p.teacher,
    "GaussianInitial": lambda p: GaussianInitial(),
    "UniformQuantizer": lambda p: UniformQuantizer(8, 1.0),
    "StepQuantizer": lambda p: fpsolve.StepQuantizer(np.arange(200.0)),
    "Schedule": lambda p: Schedule.steps(np.arange(1.0, 100.0), times=np.arange(1.0, 99.0)),
    "Surrogate": lambda p: Surrogate(),
}


class Cells(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.cells = [], []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.cells.append(data)


@pytest.mark.parametrize("name", [*MAKERS, *OTHERS])
def test_every_result_is_one_line(name, problem):
    shown = {**MAKERS, **OTHERS}[name](problem)
    text = repr(shown)
    assert type(shown).__name__ == name
    assert text.startswith(name)
    assert "\n" not in text
    assert len(text) <= 200


@pytest.mark.parametrize("name", MAKERS)
def test_notebooks_get_a_table(name, problem):
    shown = MAKERS[name](problem)
    parser = Cells()
    parser.feed(shown._repr_html_())
    assert parser.open == []
    assert parser.cells[0] == name
    assert 4 <= len(parser.cells) <= 20


def test_the_numbers_shown_are_those_held(problem):
    result = fpsolve.solve_ode(small(problem), [0.0, 1.0])
    error = result.order_parameters.generalization_error
    assert f"generalization_error={error[0]:.6g} … {error[1]:.6g} (2)" in repr(result)
    assert span([]) == "none"
    assert span([2.5]) == "2.5"
