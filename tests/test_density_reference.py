"""The promise of `solve_pde`, against figures computed independently of this package."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from reference_figures import PROBLEMS
from reference_values import COLUMNS, DENSITY
from scipy.interpolate import make_interp_spline

from fpsolve import solve_pde

TOLERANCES = (1e-3, 1e-6, 1e-8)
CASES = sorted(DENSITY)


def exact(name):
    """Figures of a case with the exact second moment of its start, and their own error."""
    error, table = DENSITY[name]
    columns = dict(zip(COLUMNS, table[:, 1:].T.copy(), strict=True))
    # The figures stop where their domain does; the start itself is N(0, 1).
    assert abs(columns["q"][0] - 1) < 1e-7
    columns["q"][0] = 1.0
    return table[:, 0], columns, error


@cache
def solved(name, rtol, scheme="auto"):
    return solve_pde(PROBLEMS[name], exact(name)[0], rtol=rtol, scheme=scheme)


@pytest.mark.parametrize("rtol", TOLERANCES)
@pytest.mark.parametrize("name", CASES)
def test_promise_of_order_parameters(name, rtol):
    _, figures, error = exact(name)
    # What the figures' domain cuts from q(0), it may cut from q later.
    cut = np.abs(DENSITY[name][1][0, 3] - 1.0)
    state = solved(name, rtol).order_parameters
    for field in ("generalization_error", "m", "q"):
        own_error = error + (cut if field == "q" else 0.0)
        allowed = 10 * rtol * np.abs(figures[field]).max() + own_error
        np.testing.assert_allclose(getattr(state, field), figures[field], rtol=0, atol=allowed)


@pytest.mark.parametrize("rtol", TOLERANCES)
@pytest.mark.parametrize("name", CASES)
def test_moments_of_the_quantized_weights(name, rtol):
    """|δE f| ≤ max|f|·‖δμ‖₁ turns the L¹ promise into one on averages of bounded ψ."""
    _, figures, error = exact(name)
    state = solved(name, rtol).order_parameters
    largest = PROBLEMS[name].weight_quantizer.levels[-1]
    for field, power in (("m_psi", 1), ("q_psi", 2)):
        allowed = 100 * rtol * largest**power + 10 * error
        np.testing.assert_allclose(getattr(state, field), figures[field], rtol=0, atol=allowed)


def masses_on(edges, trajectory, k, time):
    """Masses of cells between `edges`: the cumulative mass, interpolated to order 6 in each bin."""
    cumulative = np.concatenate([[0.0], np.cumsum(trajectory.masses[time, k])])
    own = trajectory.edges
    breaks = np.concatenate([[-np.inf], trajectory.problem.weight_quantizer.thresholds, [np.inf]])
    inside = np.clip(edges, own[0], own[-1])
    out = np.empty(edges.size)
    for low, high in pairwise(breaks):
        held = (own >= low) & (own <= high)
        asked = (inside >= low) & (inside <= high)
        if asked.any():
            out[asked] = make_interp_spline(own[held], cumulative[held], k=5)(inside[asked])
    return np.diff(out)


@pytest.mark.parametrize("rtol", TOLERANCES)
@pytest.mark.parametrize("name", CASES)
def test_promise_of_densities(name, rtol):
    coarse, fine = solved(name, rtol), solved(name, 1e-9)
    for time in range(coarse.times.size):
        for k in range(coarse.problem.teacher.values.size):
            there = masses_on(coarse.edges, fine, k, time)
            difference = np.abs(coarse.masses[time, k] - there).sum()
            assert difference + abs(1 - there.sum()) <= 100 * rtol


@pytest.mark.parametrize("rtol", [*TOLERANCES, 1e-9])
@pytest.mark.parametrize("name", CASES)
def test_mass_and_sign(name, rtol):
    density = solved(name, rtol)
    np.testing.assert_allclose(density.masses.sum(axis=2), 1.0, rtol=0, atol=1e-12)
    largest = density.density.max(axis=(1, 2))
    assert (density.density.min(axis=(1, 2)) >= -rtol * largest).all()


@pytest.mark.parametrize("name", CASES)
def test_scharfetter_gummel(name):
    _, figures, _ = exact(name)
    density = solved(name, 1e-6, "scharfetter-gummel")
    state = density.order_parameters
    for field in ("generalization_error", "m", "q"):
        # ε_g absolutely; m and q of weights that run away, relative to how far they got.
        size = 1.0 if field == "generalization_error" else max(1.0, np.abs(figures[field]).max())
        allowed = 2e-3 * size
        np.testing.assert_allclose(getattr(state, field), figures[field], rtol=0, atol=allowed)
    np.testing.assert_allclose(density.masses.sum(axis=2), 1.0, rtol=0, atol=1e-12)
    largest = density.density.max(axis=(1, 2))
    assert (density.density.min(axis=(1, 2)) >= -1e-12 * largest).all()


@pytest.mark.parametrize("name", CASES)
def test_reported_statistics_are_those_of_the_density(name):
    _, figures, error = exact(name)
    density = solved(name, 1e-6)
    # Averages over as many parts of every element as its polynomial has degrees.
    relative = []
    for frame in density.frames:
        shares = np.arange(frame.order) / frame.order
        parts = []
        for k in range(frame.first.size - 1):
            own = slice(frame.first[k], frame.first[k + 1])
            left, width = frame.left[own], frame.width[own]
            edges = np.append((left + width * shares[:, None]).T.ravel(), left[-1] + width[-1])
            parts.append(np.diff(frame.cdf(k, edges)) / np.diff(edges))
        relative.append(np.concatenate(parts).min() / np.concatenate(parts).max())
    assert density.stats["minimum"] == pytest.approx(min(relative), rel=1e-3, abs=1e-14)
    assert density.stats["mass_defect"] <= 1e-12
    assert density.stats["rtol"] == 1e-6
    assert density.stats["steps"] > 0
    # The estimate, relative to the largest ε_g, is worth its name if the true error stays below it.
    true = np.abs(density.order_parameters.generalization_error - figures["generalization_error"])
    assert true.max() <= density.stats["time_error"] * figures["generalization_error"].max() + error
