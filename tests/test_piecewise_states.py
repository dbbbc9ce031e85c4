"""Stationary states under weight decay, clipping, leaky surrogates, dampening and the rest."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import mpmath
import numpy as np
import pytest

from fpsolve import (
    ParameterError,
    Problem,
    Schedule,
    StepQuantizer,
    Surrogate,
    Teacher,
    UniformQuantizer,
    stationary_states,
)
from fpsolve.macro.piecewise_density import PiecewiseDensity
from fpsolve.macro.piecewise_errors import piecewise_error_map, piecewise_errors

STOCHASTIC = UniformQuantizer(2, 1.0, rounding="stochastic")
BASE = Problem(
    weight_quantizer=UniformQuantizer(2, 1.0),
    input_quantizer=None,
    learning_rate=0.05,
    ridge=0.2,
)
CLASSES = Teacher([1.0, 1.0, 0.6], [1 / 3, 1 / 3, 1 / 3], [0.5, 1.0, 1.6])
RULES = {
    "decay": {"weight_decay": 0.7},
    "clip": {"weight_clip": 0.8, "learning_rate": 0.1, "noise_variance": 0.1, "ridge": 0.3},
    "clip inside the steps": {"weight_clip": 0.4, "weight_quantizer": UniformQuantizer(3, 1.0)},
    "leaky": {"surrogate": Surrogate(0.6, 0.25), "learning_rate": 0.4},
    "leaky, decay": {"surrogate": Surrogate(0.6, 0.25), "weight_decay": 0.3, "learning_rate": 0.4},
    "dampened": {"dampening": 0.2, "learning_rate": 0.3},
    "bistable": {"dampening": 0.8, "learning_rate": 0.5, "noise_variance": 0.3},
    "stochastic": {"weight_quantizer": STOCHASTIC},
    "stochastic, decay, clip": {
        "weight_quantizer": STOCHASTIC,
        "weight_decay": 0.2,
        "weight_clip": 0.9,
        "learning_rate": 0.5,
    },
    "classes": {
        "teacher": CLASSES,
        "ridge": 0.5,
        "input_quantizer": UniformQuantizer(2, 2.0),
        "momentum": 0.5,
    },
    "asymmetric": {
        "weight_quantizer": StepQuantizer([-1.0, 0.3, 1.4]),
        "teacher": Teacher([1.0, -0.5], [0.3, 0.7]),
        "weight_decay": 0.1,
    },
    "slow": {"weight_decay": 0.7, "learning_rate": 1e-4},
}


def rule(name: str) -> Problem:
    return replace(BASE, **RULES[name])


# The last times of independent solutions of the PDE, where they have come to rest (tolerance:
# what they still move by between their last two times).
@pytest.mark.parametrize(
    ("change", "expected", "tolerance"),
    [
        ({"weight_decay": 0.7},
         {"m": 0.502902115, "q": 0.2535853033, "m_psi": 0.5399737646, "q_psi": 0.5399737646,
          "r_psi": 0.2807442155, "generalization_error": 0.4600262354}, 1e-8),
        ({"learning_rate": 0.1, "ridge": 0.3, "noise_variance": 0.1, "weight_clip": 0.8},
         {"m": 0.537608964, "q": 0.29201212, "generalization_error": 0.3315504653}, 3e-6),
        ({"weight_quantizer": UniformQuantizer(3, 1.0), "learning_rate": 0.1,
          "surrogate": Surrogate(1.0, 0.25)},
         {"q_psi": 0.7189756719, "generalization_error": 0.0562049032}, 0.04),
        ({"weight_quantizer": STOCHASTIC, "ridge": 0.5},
         {"generalization_error": 0.3329891472}, 5e-4),
    ],
)  # fmt: skip
def test_independent_solutions_end_in_it(change, expected, tolerance) -> None:
    (state,) = stationary_states(replace(BASE, **change))
    for name, value in expected.items():
        assert float(getattr(state.order_parameters, name)) == pytest.approx(value, abs=tolerance)


def by_quadrature(problem: Problem, k: int, error: float, points: list[float]):
    """Averages over exp(∫a/(h²D))/h², from the problem's own drift and nothing else."""
    dynamics = problem.dynamics
    diffusion = float(dynamics.diffusivity(0.0, error)) * problem.sigma2s[k]
    w_star = problem.teacher.values[k]
    nodes, weights = np.polynomial.legendre.leggauss(20)
    edges = np.concatenate([np.linspace(a, b, 400) for a, b in pairwise(points)])
    edges = np.unique(edges)
    half = 0.5 * np.diff(edges)[:, None]
    w = edges[:-1, None] + half * (1 + nodes)
    h = dynamics.shape(w)
    force = dynamics.point_drift(w, dynamics.coordinate(k)) / (h**2 * diffusion)
    # Panel by panel, and inside by the primitive of the interpolating polynomial.
    inner = np.array([np.polynomial.Legendre.fit(nodes, f, 3).integ(lbnd=-1)(nodes) for f in force])
    whole = (half * weights * force).sum(axis=1)
    height = (np.cumsum(whole) - whole)[:, None] + half * inner
    measure = half * weights * np.exp(height - height.max()) / h**2
    measure /= measure.sum()
    psi, quantizer = problem.quantize(w), problem.weight_quantizer
    values = {
        "m": w_star * w, "q": w**2, "m_psi": w_star * psi, "q_psi": quantizer.mean_square(w),
        "r_psi": w * psi,
    }  # fmt: skip
    sums = {name: float((measure * value).sum()) for name, value in values.items()}
    return sums, measure / (half * weights), w


@pytest.mark.parametrize("name", [n for n in RULES if n != "slow"])
def test_moments_are_integrals_of_the_density(name: str) -> None:
    problem = rule(name)
    for state in stationary_states(problem):
        sums = dict.fromkeys(("m", "q", "m_psi", "q_psi", "r_psi"), 0.0)
        for k, p in enumerate(problem.teacher.probabilities):
            # Far enough for the slower of the two tails.
            outer = float(np.abs(problem.dynamics.breaks).max()) + 1e-9
            drift = problem.dynamics.point_drift([-outer, outer], problem.dynamics.coordinate(k))
            diffusion = problem.sigma2s[k] * problem.dynamics.diffusivity(
                0.0, state.generalization_error
            )
            h = problem.dynamics.shape([-outer, outer])
            far = outer + 40 * float((h**2 * diffusion / np.abs(drift)).max())
            walls = problem.dynamics.walls
            low, high = (-far, far) if walls is None else (walls.low, walls.high)
            inner = [x for x in problem.dynamics.breaks if low < x < high]
            found, density, w = by_quadrature(
                problem, k, state.generalization_error, [low, *inner, high]
            )
            for field in sums:
                sums[field] += p * found[field]
            np.testing.assert_allclose(state.class_density(w, k), density, rtol=1e-6, atol=1e-12)
        for field, value in sums.items():
            assert float(getattr(state.order_parameters, field)) == pytest.approx(value, abs=2e-9)


@pytest.mark.parametrize("name", RULES)
def test_densities_have_mass_one_and_no_flux(name: str) -> None:
    problem = rule(name)
    dynamics = problem.dynamics
    (state,) = stationary_states(problem)
    for k in range(problem.teacher.values.size):
        diffusion = float(dynamics.diffusivity(0.0, state.generalization_error))
        diffusion *= problem.sigma2s[k]
        w = np.linspace(-0.79, 0.79, 23) + 0.0017
        if dynamics.walls is not None:
            w = w[np.abs(w) < dynamics.walls.high]
        # Inside a bin log v is a parabola, whose central differences are exact at any step.
        step = 1e-3
        h = dynamics.shape(w)
        v = [h**2 * state.class_density(w + side * step, k) for side in (-1, 0, 1)]
        keep = v[1] > 1e-200
        slope = (np.log(v[2][keep]) - np.log(v[0][keep])) / (2 * step)
        force = dynamics.point_drift(w, dynamics.coordinate(k)) / (h**2 * diffusion)
        np.testing.assert_allclose(slope, force[keep], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", RULES)
def test_the_mean_drift_vanishes_between_no_walls(name: str) -> None:
    # Integrating the flux: E a = 0, whatever D. With h = 1 and b = 0 it says E ψ = c.
    problem = rule(name)
    if problem.weight_clip is not None:
        return
    dynamics = problem.dynamics
    (state,) = stationary_states(problem)
    for k in range(problem.teacher.values.size):
        w, masses, bins = PiecewiseDensity.of(dynamics, k, state.generalization_error)._rule()
        drift = dynamics.fields(w, bins, k).drift[0]
        scale = np.abs(drift).max()
        assert masses @ drift / masses.sum() == pytest.approx(0.0, abs=1e-12 * scale)
        plain = problem.surrogate is None and not problem.weight_decay and not problem.dampening
        if plain:
            psi = float(state.class_functionals(k)[3]) / problem.teacher.values[k]
            assert psi == pytest.approx(dynamics.target[k], abs=1e-11)


@pytest.mark.parametrize("bits", [2, 3, 5])
@pytest.mark.parametrize("rate", [1e-4, 0.04, 1.0, 30.0])
def test_without_rules_it_is_the_paper_s_state(bits: int, rate: float) -> None:
    problem = replace(
        BASE,
        weight_quantizer=UniformQuantizer(bits, 1.0),
        learning_rate=rate,
        teacher=Teacher([-2.0, -0.9, 0.37, 1.0], [0.1, 0.3, 0.3, 0.3]),
    )
    (state,) = stationary_states(problem)
    (error,) = piecewise_errors(problem)
    assert error == pytest.approx(state.generalization_error, rel=1e-12)


def test_decay_of_unquantized_weights_is_a_gaussian() -> None:
    # N(κw*/(S + λ + γ), ηSε/(2(S + λ + γ))), and ε = S q − 2κ m + ρ + σ² closes it.
    problem = replace(BASE, weight_quantizer=None, weight_decay=0.3, noise_variance=0.2)
    (state,) = stationary_states(problem)
    pull, eta = 1.5, 0.05
    error = (1 / pull**2 - 2 / pull + 1.2) / (1 - eta / (2 * pull))
    assert state.generalization_error == pytest.approx(error, rel=1e-12)
    mean, deviation = state.moments(1.0)
    assert mean == pytest.approx(1 / pull, rel=1e-12)
    assert deviation == pytest.approx(math.sqrt(eta * error / (2 * pull)), rel=1e-10)


def test_a_clipped_exponential() -> None:
    # One bin between walls: μ ∝ e^(βw) on [−c, c], whose moments are elementary.
    problem = replace(BASE, weight_clip=0.3, learning_rate=0.7)
    (state,) = stationary_states(problem)
    beta = 0.7 / float(problem.diffusivity(state.generalization_error))
    c = 0.3
    mean = c / mpmath.tanh(beta * c) - 1 / beta
    assert state.moments(1.0)[0] == pytest.approx(float(mean), rel=1e-12)
    assert state.generalization_error == pytest.approx(1.0, rel=1e-14)
    assert (state.density([-0.31, 0.31], 1.0) == 0).all()


def test_a_target_out_of_range_is_held_by_decay_only() -> None:
    far = replace(BASE, teacher=Teacher.constant(3.0))
    assert not stationary_states(far)[0].confined.any()
    (held,) = stationary_states(replace(far, weight_decay=0.1))
    assert held.confined.all()
    assert float(held.order_parameters.q) < 1e3
    (leaky,) = stationary_states(replace(far, surrogate=Surrogate(slope=0.5)))
    assert not leaky.confined.any()
    assert float(leaky.order_parameters.m) == math.inf
    assert leaky.generalization_error == pytest.approx(1 - 6 + 9, rel=1e-12)
    with pytest.raises(ParameterError, match="run away"):
        leaky.density(0.0, 3.0)


@pytest.mark.parametrize("zeta", [0.0, 0.12, 0.3])
def test_dampening_pushes_the_floor_from_dithering_towards_rounding(zeta: float) -> None:
    # Between levels at p, small η: the upper one with probability clip((p − ζ')/(1 − 2ζ'), 0, 1).
    share = zeta / 1.2
    for w_star in (0.15, 0.45, 0.6, 1.0):
        problem = replace(
            BASE, dampening=zeta, learning_rate=1e-5, teacher=Teacher.constant(w_star)
        )
        (state,) = stationary_states(problem)
        p = w_star / 1.2
        upper = min(max((p - share) / (1 - 2 * share), 0.0), 1.0)
        assert float(state.order_parameters.q_psi) == pytest.approx(upper, abs=2e-4)


def test_dampened_weights_freeze_where_the_teacher_is_a_level() -> None:
    (state,) = stationary_states(replace(BASE, dampening=0.8))
    assert state.generalization_error == 0
    assert state.stable
    # a = 0 at w = (1 + (2ζ − 1.2)ψ)/2ζ with ψ = 1, inside that level's bin.
    assert float(state.order_parameters.m) == pytest.approx(0.875, abs=1e-5)
    assert float(state.order_parameters.m_psi) == pytest.approx(1.0, abs=1e-12)
    with pytest.raises(ParameterError, match="frozen"):
        state.density(0.0, 1.0)


def test_momentum_is_a_larger_rate() -> None:
    slow = replace(BASE, weight_decay=0.4, momentum=0.9)
    fast = replace(BASE, weight_decay=0.4, learning_rate=0.5)
    (a,), (b,) = stationary_states(slow), stationary_states(fast)
    assert a.generalization_error == pytest.approx(b.generalization_error, rel=1e-12)


def test_roots_reproduce_themselves_and_say_whether_they_attract() -> None:
    problem = rule("leaky, decay")
    function = piecewise_error_map(problem)
    for state in stationary_states(problem):
        assert function(state.generalization_error) == pytest.approx(
            state.generalization_error, rel=1e-11
        )
        assert state.stable
        with pytest.raises(ParameterError, match="spectrum"):
            _ = state.spectrum


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"learning_rate": Schedule.cosine(0.1, 0.01, duration=9.0)}, "learning_rate"),
        ({"surrogate": Surrogate()}, "surrogate"),
        ({"surrogate": Surrogate.triangular(2.0)}, "surrogate"),
        ({"weight_quantizer": UniformQuantizer(2, 1.0, 0.1), "weight_decay": 0.1},
         "weight_quantizer.temperature"),
    ],
)  # fmt: skip
def test_what_has_no_closed_form_is_refused(change, field: str) -> None:
    with pytest.raises(ParameterError) as caught:
        stationary_states(replace(BASE, **change))
    assert caught.value.field == field
    assert "solve_pde" in str(caught.value) or field == "learning_rate"


def test_classes_with_one_value_are_named_by_number() -> None:
    (state,) = stationary_states(rule("classes"))
    with pytest.raises(ParameterError, match="class_density"):
        state.density(0.0, 1.0)
    np.testing.assert_allclose(state.density([0.1, 0.2], 0.6), state.class_density([0.1, 0.2], 2))
