"""Densities against closed forms."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad_vec
from scipy.linalg import expm
from scipy.optimize import brentq
from scipy.special import ndtr

from fpsolve import (
    GaussianInitial,
    Problem,
    StepQuantizer,
    Teacher,
    UniformQuantizer,
    solve_pde,
)

SCHEMES = ("spectral-volume", "scharfetter-gummel")
# Accuracy asked of the spectral volumes, and what 2000 Scharfetter–Gummel cells reach.
RTOL = 1e-8
SECOND_ORDER = 2e-3


def tolerance(scheme, scale=1.0):
    return (10 * RTOL if scheme == "spectral-volume" else SECOND_ORDER) * scale


def assert_masses(result, time, k, cumulative, scheme):
    """The L¹ distance of cell masses is within the promise; `cumulative` is exact, at the edges."""
    exact = np.diff(cumulative)
    missing = 1.0 - exact.sum()
    allowed = 100 * RTOL if scheme == "spectral-volume" else 5 * SECOND_ORDER
    assert np.abs(result.masses[time, k] - exact).sum() + abs(missing) <= allowed


# --- full precision: Ornstein–Uhlenbeck -----------------------------------------------------------


def linear_evolution(problem, time):
    """Mean of w given each w*, and its common variance: a linear system, by its exponential.

    State (means, second moments of w given w*, 1): d⟨w⟩ = η(κw* − P⟨w⟩),
    d⟨w²⟩ = 2η(κw*⟨w⟩ − P⟨w²⟩) + 2D, D ∝ ε_g = S q − 2κ m + ρ + σ² (paper Eq. 5, ψ(w) = w).
    """
    w_star, p = problem.teacher.values, problem.teacher.probabilities
    n, eta = w_star.size, problem.learning_rate
    pull = eta * (problem.sigma2 + problem.ridge)
    noise = eta**2 * problem.sigma2 / problem.batch_size
    push = eta * problem.kappa * w_star
    generator = np.zeros((2 * n + 1, 2 * n + 1))
    generator[:n, :n] = -pull * np.eye(n)
    generator[:n, -1] = push
    generator[n:-1, :n] = np.diag(2 * push) - 2 * problem.kappa * noise * (p * w_star)
    generator[n:-1, n:-1] = -2 * pull * np.eye(n) + noise * problem.sigma2 * p
    generator[n:-1, -1] = noise * (problem.rho + problem.noise_variance)
    mean = problem.initial.mean + problem.initial.overlap * w_star
    start = np.concatenate([mean, problem.initial.variance + mean**2, [1.0]])
    end = expm(generator * time) @ start
    return end[:n], end[n:-1] - end[:n] ** 2


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("eta", [0.04, 1.0])
def test_ornstein_uhlenbeck(scheme, eta):
    teacher = Teacher([-1.0, 0.5, 2.0], [0.3, 0.5, 0.2])
    problem = Problem(
        weight_quantizer=None,
        input_quantizer=UniformQuantizer(3, 1.0),
        learning_rate=eta,
        ridge=0.3,
        noise_variance=0.2,
        teacher=teacher,
        initial=GaussianInitial(mean=0.4, variance=0.6, overlap=-0.5),
        batch_size=2,
    )
    times = np.array([0.0, 0.7, 5.0, 40.0])
    result = solve_pde(problem, times, rtol=RTOL, scheme=scheme)
    for i, time in enumerate(times):
        mean, variance = linear_evolution(problem, time)
        q = teacher.probabilities @ (mean**2 + variance)
        m = teacher.probabilities @ (teacher.values * mean)
        error = problem.sigma2 * q - 2 * problem.kappa * m + problem.rho + problem.noise_variance
        state = result.order_parameters[i]
        assert state.m == pytest.approx(m, abs=tolerance(scheme))
        assert state.q == pytest.approx(q, abs=tolerance(scheme))
        assert state.generalization_error == pytest.approx(error, abs=tolerance(scheme, 3.0))
        for k in range(3):
            z = (result.edges - mean[k]) / math.sqrt(variance[k])
            assert_masses(result, i, k, ndtr(z), scheme)


# --- mass beyond the last threshold: a constant drift ---------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("variance", [0.04, 0.0])
def test_runaway_gaussian(scheme, variance):
    """Beyond the last threshold ψ = ω, ε_g is constant, and the Gaussian only moves and spreads."""
    omega, start = 0.25, 3.0
    problem = Problem(
        weight_quantizer=UniformQuantizer(3, omega),
        input_quantizer=None,
        learning_rate=0.1,
        ridge=0.5,
        noise_variance=0.3,
        teacher=Teacher.constant(1.0),
        initial=GaussianInitial(mean=start, variance=variance),
    )
    times = np.array([1.0, 10.0, 300.0])
    result = solve_pde(problem, times, rtol=RTOL, scheme=scheme)
    error = omega**2 - 2 * omega + 1.0 + 0.3
    np.testing.assert_allclose(
        result.order_parameters.generalization_error, error, rtol=0, atol=tolerance(scheme)
    )
    mean = start + 0.1 * (1.0 - 1.5 * omega) * times
    deviation = np.sqrt(variance + 0.1**2 * error * times)
    for i in range(times.size):
        z = (result.edges - mean[i]) / deviation[i]
        if scheme == "spectral-volume":
            assert_masses(result, i, 0, ndtr(z), scheme)
    np.testing.assert_allclose(result.order_parameters.m, mean, rtol=tolerance(scheme), atol=0)
    np.testing.assert_allclose(
        result.order_parameters.q, mean**2 + deviation**2, rtol=tolerance(scheme), atol=0
    )


# --- sign quantizer, w* = 0: Brownian motion with dry friction ------------------------------------


def dry_friction_cumulative(x, start, time, speed, diffusivity):
    """P(w(τ) < x | w(0) = start) for dw = −speed·sign(w) dτ + (2D)^½ dW.

    Source: Touchette, Van der Straeten & Just, J. Phys. A 43, 445002 (2010), in units where
    speed = 1 and D = 1/2 their propagator is
        p = exp(−t/2 − |x| + |x₀|)(2πt)^−½ exp(−(x − x₀)²/2t) + e^{−2|x|} Φ((t − |x| − |x₀|)/t^½).
    Here it is integrated over x.
    """
    unit = 2 * diffusivity / speed
    x, start = np.asarray(x) / unit, np.asarray(start) / unit
    t = time * speed / unit
    # By symmetry take x ≤ 0 and reflect: P(X < x | x₀) = 1 − P(X < −x | −x₀).
    flip = x > 0
    y, x0 = np.where(flip, -x, x), np.where(flip, -start, start)
    root = math.sqrt(t)
    # ∫_{−∞}^y of the first term, y ≤ 0: complete the square in exp(−t/2 + x + |x₀| − (x − x₀)²/2t).
    first = np.exp(x0 + np.abs(x0)) * ndtr((y - x0 - t) / root)
    # ∫_{−∞}^y of e^{2x} Φ((t + x − |x₀|)/√t), by parts.
    a = np.abs(x0)
    second = 0.5 * (
        np.exp(2 * y) * ndtr((t + y - a) / root) - np.exp(2 * a) * ndtr((y - a - t) / root)
    )
    below = first + second
    return np.where(flip, 1 - below, below)


def test_dry_friction_formula_solves_its_equation():
    """Forward equation on either side, unit mass, start and late limit of the formula itself."""
    speed, diffusivity, start, h = 0.7, 0.3, 0.4, 1e-3
    for time in (0.3, 1.0, 4.0):

        def p(x, t, step=h):
            cumulative = dry_friction_cumulative(
                np.array([x + step, x - step]), start, t, speed, diffusivity
            )
            return (cumulative[0] - cumulative[1]) / (2 * step)

        for x in (-0.8, -0.1, 0.2, 1.1):
            rate = (p(x, time + h) - p(x, time - h)) / (2 * h)
            slope = (p(x + h, time) - p(x - h, time)) / (2 * h)
            bend = (p(x + h, time) - 2 * p(x, time) + p(x - h, time)) / h**2
            residual = rate - speed * math.copysign(1.0, x) * slope - diffusivity * bend
            assert abs(residual) < 2e-4
        # Continuous density and flux at the threshold, masses of both sides complementary.
        jump = dry_friction_cumulative(np.array([-1e-9, 1e-9]), start, time, speed, diffusivity)
        assert abs(jump[1] - jump[0]) < 1e-8
    edges = np.array([-50.0, 50.0])
    ends = dry_friction_cumulative(edges, start, 2.0, speed, diffusivity)
    np.testing.assert_allclose(ends, [0.0, 1.0], atol=1e-15)
    x = np.array([-1.0, 0.5])
    late = dry_friction_cumulative(x, start, 1e3, speed, diffusivity)
    laplace = np.where(
        x < 0,
        0.5 * np.exp(-speed * np.abs(x) / diffusivity),
        1 - 0.5 * np.exp(-speed * x / diffusivity),
    )
    np.testing.assert_allclose(late, laplace, atol=1e-12)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("eta", [0.05, 1.0])
def test_dry_friction(scheme, eta):
    """ψ = ±1 and w* = 0: ε_g = S + σ² is constant; each weight is such a Brownian motion."""
    mean, variance = 0.3, 0.25
    problem = Problem(
        weight_quantizer=StepQuantizer([-1.0, 1.0]),
        input_quantizer=None,
        learning_rate=eta,
        ridge=0.2,
        noise_variance=0.5,
        teacher=Teacher.constant(0.0),
        initial=GaussianInitial(mean=mean, variance=variance),
    )
    times = np.array([0.2, 1.0, 5.0]) / eta
    result = solve_pde(problem, times, rtol=RTOL, scheme=scheme)
    np.testing.assert_allclose(
        result.order_parameters.generalization_error, 1.5, rtol=0, atol=tolerance(scheme)
    )
    speed, diffusivity = eta * 1.2, eta**2 * 1.5 / 2
    deviation = math.sqrt(variance)
    for i, time in enumerate(times):

        def weighted(z, at=time):
            start = mean + deviation * z
            path = dry_friction_cumulative(result.edges, start, at, speed, diffusivity)
            return path * math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)

        kink = -mean / deviation
        cumulative, _ = quad_vec(weighted, -9.0, 9.0, epsabs=1e-11, points=[kink], norm="max")
        assert_masses(result, i, 0, cumulative, scheme)


# --- late times: the exact stationary density -----------------------------------------------------


def stationary_masses(problem, diffusivity, w_star, edges):
    """Stationary cumulative mass at `edges`: exponentials on the bins, continuous (T = 0)."""
    quantizer = problem.weight_quantizer
    theta = quantizer.thresholds
    rate = problem.drift(quantizer.levels, w_star) / diffusivity
    # Logarithm of the density at each threshold, from the first.
    height = np.concatenate([[0.0], np.cumsum(rate[1:-1] * np.diff(theta))])
    height -= height.max()

    def mass(low, high, k):
        """∫ of exp(h + r(w − anchor)) over [low, high] in bin k."""
        anchor = max(k - 1, 0)
        r, at = rate[k], theta[anchor]
        top = np.exp(height[anchor] + r * ((high if r > 0 else low) - at))
        y = np.abs(r) * (high - low)
        return top * (high - low) * (-np.expm1(-y) / np.where(y == 0, 1.0, y) if r != 0 else 1.0)

    reach = 60.0 / np.abs(rate[[0, -1]])
    corners = np.concatenate([[theta[0] - reach[0]], theta, [theta[-1] + reach[1]]])
    bins = np.array([mass(a, b, k) for k, (a, b) in enumerate(pairwise(corners))])
    before = np.concatenate([[0.0], np.cumsum(bins)])
    inside = np.clip(edges, corners[0], corners[-1])
    own = np.clip(np.searchsorted(theta, inside, side="right"), 0, theta.size)
    part = np.array([mass(corners[k], w, k) for k, w in zip(own, inside, strict=True)])
    return (before[own] + part) / before[-1], bins / before[-1]


def stationary_error(problem):
    """Root of ε_g = floor + Σ p (S⟨ψ²⟩ − 2κ w*⟨ψ⟩) at D ∝ ε_g."""
    levels = problem.weight_quantizer.levels

    def excess(error):
        total = problem.rho + problem.noise_variance - error
        for w_star, p in zip(problem.teacher.values, problem.teacher.probabilities, strict=True):
            diffusivity = float(problem.diffusivity(error))
            _, bins = stationary_masses(problem, diffusivity, w_star, np.zeros(1))
            total += p * bins @ (problem.sigma2 * levels**2 - 2 * problem.kappa * w_star * levels)
        return total

    return brentq(excess, 0.02, 20.0, xtol=1e-14, rtol=1e-14)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("eta", [0.04, 1.0])
def test_late_density_is_stationary(scheme, eta):
    problem = Problem(
        weight_quantizer=UniformQuantizer(3, 1.0),
        input_quantizer=UniformQuantizer(4, 2.0),
        learning_rate=eta,
        ridge=0.2,
        noise_variance=0.1,
        teacher=Teacher([-0.8, 0.3], [0.4, 0.6]),
    )
    result = solve_pde(problem, [0.0, 1000.0 / eta], rtol=RTOL, scheme=scheme)
    error = stationary_error(problem)
    found = float(result.order_parameters.generalization_error[-1])
    assert found == pytest.approx(error, abs=tolerance(scheme))
    for k, w_star in enumerate(problem.teacher.values):
        diffusivity = float(problem.diffusivity(error))
        cumulative, _ = stationary_masses(problem, diffusivity, w_star, result.edges)
        assert_masses(result, -1, k, cumulative, scheme)


def test_figure_1_settles_at_its_known_error():
    """Stationary ε_g of the paper's Fig. 1 problem, from an independent computation."""
    problem = Problem(
        weight_quantizer=UniformQuantizer(2, 2.0),
        input_quantizer=UniformQuantizer(2, 2.0),
        learning_rate=0.04,
    )
    result = solve_pde(problem, [1e5], rtol=RTOL)
    assert result.order_parameters.generalization_error[-1] == pytest.approx(
        1.4596134451036404, abs=10 * RTOL * 2.61
    )
