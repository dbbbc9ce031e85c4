"""Solves that would take far too long end at once, and only those."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fpsolve import (
    GaussianInitial,
    McKeanVlasov,
    Problem,
    SolveError,
    Teacher,
    UniformQuantizer,
    resume,
    solve_mckean_vlasov,
    solve_pde,
)
from fpsolve.numerics import effort, kernels, solver

# Layers of 1e-9 at 510 thresholds for each of 128 teacher values, none of which is rare: almost a
# million unknowns.
STIFF = Problem(
    weight_quantizer=UniformQuantizer(9, 1.1),
    input_quantizer=None,
    learning_rate=3.4e-6,
    ridge=2.7,
    teacher=Teacher(np.linspace(-7.0, 7.0, 128), np.full(128, 1.0 / 128)),
    initial=GaussianInitial(0.0, 344.0),
    batch_size=571,
)
PLAIN = Problem(weight_quantizer=UniformQuantizer(2, 1.0), input_quantizer=None, learning_rate=0.05)


@pytest.fixture
def impatient(monkeypatch):
    """Looks from the first steps on, and a limit that is next to nothing."""
    monkeypatch.setattr(solver, "_CHUNK_WORK", 1)
    monkeypatch.setattr(effort, "_FIRST", 1e3)
    monkeypatch.setattr(effort, "LIMIT", 1e3)


def test_what_is_far_too_stiff_is_refused_with_its_reason():
    with pytest.raises(SolveError, match=r"it would take .* patient=True") as caught:
        solve_pde(STIFF, [0.0, 1.7e6])
    assert caught.value.partial.times.tolist() == [0.0]
    assert caught.value.time < 0.01 * 1.7e6


def test_a_patient_run_goes_on_to_the_same_end(impatient):
    times = [0.0, 5.0, 200.0]
    with pytest.raises(SolveError, match="would take"):
        solve_pde(PLAIN, times)
    patient = solve_pde(PLAIN, times, patient=True)
    effort.LIMIT = 1e12
    for one, two in zip(solve_pde(PLAIN, times).frames, patient.frames, strict=True):
        assert np.array_equal(one.u, two.u)


def test_a_refused_run_is_resumed_with_patience(impatient, tmp_path):
    path, times = tmp_path / "run.h5", [0.0, 0.5, 200.0]
    with pytest.raises(SolveError, match="would take"):
        solve_pde(PLAIN, times, store=path)
    resumed = resume(path, patient=True)
    whole = solve_pde(PLAIN, times, patient=True)
    assert np.array_equal(resumed.frames[-1].u, whole.frames[-1].u)


def test_line_equations_are_refused_too(impatient):
    model = McKeanVlasov(lambda x: -x, 1.0, functionals=[np.square])
    start, times = GaussianInitial(0.0, 0.25), [0.0, 20.0]
    with pytest.raises(SolveError, match="would take"):
        solve_mckean_vlasov(model, start, times)
    found = solve_mckean_vlasov(model, start, times, patient=True)
    assert found.functionals[-1, 0] == pytest.approx(1.0, rel=1e-5)


def asked(path, horizon, until, steps=400):
    """What the looks say along a path τ(work) up to some work, done in so many steps."""
    clock = np.zeros(kernels.CLOCK_SIZE)
    said = []
    for work in np.geomspace(1e5, until, steps):
        clock[kernels.WORK], clock[kernels.TIME] = work, path(work)
        said.append(effort.effort_ahead(clock, horizon, 1e-6))
    return max(said)


@pytest.mark.parametrize(
    ("path", "whole"),
    [
        # At a steady pace; by a factor a second; at a pace that grows; after a slow beginning.
        (lambda work: work, 0.99 * effort.LIMIT),
        (lambda work: 1e-3 * math.exp(work / 1e7), 0.99 * effort.LIMIT),
        (lambda work: work**3, 0.99 * effort.LIMIT),
        (lambda work: 1.0 + 1e-4 * work + math.expm1(max(work - 3e7, 0.0) / 5e6), 1e8),
    ],
)
def test_what_takes_less_than_the_limit_is_never_refused(path, whole):
    # Steps end differently, so that looks are taken at any time, also just before all is done.
    assert not any(asked(path, path(whole), whole, steps) for steps in range(60, 400, 7))


def test_after_an_event_the_next_step_counts():
    """A front that took half a second to form may be followed in far longer steps."""
    clock = np.zeros(kernels.CLOCK_SIZE)

    def look(pace):
        clock[:] = 0.0
        found = 0.0
        for work in np.geomspace(1e5, 2e7, 400):
            clock[kernels.WORK], clock[kernels.TIME] = work, 1.0 + 1e-9 * work
            found = max(found, effort.effort_ahead(clock, 1e6, 1e-6, pace))
        return found

    assert look(0.0) > effort.LIMIT
    assert look(1e-1) == 0.0


def test_estimates_are_exact_where_time_grows_by_a_factor_a_second():
    found = asked(lambda work: math.exp(work / 1e7), math.exp(700.0), 1.5 * effort.WORK_A_SECOND)
    assert found == pytest.approx(7e9, rel=0.01)
    assert effort.how_long(found) == "12 minutes"


def test_the_first_steps_of_a_large_mesh_refuse_nothing():
    """Six tries refine it, then each step is six times as long as the one before."""
    unknowns, horizon = 6e5, 0.6
    clock = np.zeros(kernels.CLOCK_SIZE)
    clock[kernels.MOST_UNKNOWNS] = unknowns
    time = 0.0
    for tried in range(1, 20):
        clock[kernels.WORK] += kernels.work_of(unknowns)
        time = min(1e-10 * 6.0 ** (tried - 6), horizon) if tried > 6 else 1e-12
        clock[kernels.TIME] = time
        assert effort.effort_ahead(clock, horizon, 1e-6) == 0.0
    assert time == horizon


def test_steps_that_are_lost_in_the_time_refuse_nothing():
    """Each is twice as long as the one before, from 1e-21 on, at a time that has 1e-15 for digits.

    What never gets longer is refused once all work is done.
    """
    clock = np.zeros(kernels.CLOCK_SIZE)
    clock[kernels.MOST_UNKNOWNS] = 1e5
    for step in 1e-21 * 2.0 ** np.arange(100.0):
        clock[kernels.WORK] += kernels.work_of(1e5)
        clock[kernels.TIME] = 11.25 + step
        assert effort.effort_ahead(clock, 1e6, 1e-6, step / kernels.work_of(1e5)) == 0.0
    clock[kernels.WORK], clock[kernels.TIME] = 0.0, 11.25
    found = 0.0
    while found == 0.0:
        clock[kernels.WORK] += kernels.work_of(1e5)
        found = effort.effort_ahead(clock, 1e6, 1e-6, 1e-21 / kernels.work_of(1e5))
    assert clock[kernels.WORK] < 2.0 * effort.LIMIT
