"""Separable McKean–Vlasov equations on a line against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import ndtr

from fpsolve import GaussianInitial, McKeanVlasov, ParameterError, solve_mckean_vlasov


@pytest.mark.parametrize("rtol", [1e-4, 1e-6, 1e-8])
def test_ornstein_uhlenbeck(rtol):
    """Mean and variance relax as exp(−t) and exp(−2t); the density stays Gaussian."""
    model = McKeanVlasov(lambda x: -x, 0.7, functionals=[lambda x: x, np.square])
    times = np.array([0.0, 0.3, 1.0, 4.0])
    result = solve_mckean_vlasov(model, GaussianInitial(1.5, 0.2), times, rtol=rtol)
    mean, variance = 1.5 * np.exp(-times), 0.7 + (0.2 - 0.7) * np.exp(-2 * times)
    np.testing.assert_allclose(result.functionals[:, 0], mean, atol=10 * rtol * 1.5)
    np.testing.assert_allclose(result.functionals[:, 1], variance + mean**2, rtol=0, atol=25 * rtol)
    x = np.linspace(-4, 6, 4001)
    for time, m, v in zip(times, mean, variance, strict=True):
        exact = np.exp(-0.5 * (x - m) ** 2 / v) / math.sqrt(2 * math.pi * v)
        assert np.abs(result.pdf(x, time) - exact).sum() * (x[1] - x[0]) < 100 * rtol
    assert result.stats["mass_defect"] < 1e-12


def dry_friction(x, start, time):
    """Propagator for drift −sign(x), D = ½: Touchette et al., J. Phys. A 43, 445002 (2010)."""
    away = np.abs(x) + abs(start)
    free = np.exp(-0.5 * time - np.abs(x) + abs(start) - (x - start) ** 2 / (2 * time))
    near = free / math.sqrt(2 * math.pi * time)
    return near + np.exp(-2 * np.abs(x)) * ndtr((time - away) / math.sqrt(time))


@pytest.mark.parametrize("rtol", [1e-5, 1e-7])
def test_dry_friction(rtol):
    model = McKeanVlasov(lambda x: -np.sign(x), 0.5, breaks=[0.0])
    start = (lambda x: dry_friction(x, 0.4, 0.5), -12.0, 12.0)
    result = solve_mckean_vlasov(model, start, [0.5, 2.0, 100.0], rtol=rtol)
    x = np.linspace(-8, 8, 6001)
    for time in (0.5, 2.0):
        # The run starts from the propagator at age ½.
        exact = dry_friction(x, 0.4, time + 0.5)
        assert np.abs(result.pdf(x, time) - exact).sum() * (x[1] - x[0]) < 100 * rtol
    np.testing.assert_allclose(result.pdf(x, 100.0), np.exp(-2 * np.abs(x)), atol=100 * rtol)


def desai_zwanzig(coupling, diffusion):
    return McKeanVlasov(
        [lambda x: x - x**3, lambda x: -x, lambda x: 0 * x + 1],
        diffusion,
        coefficients=lambda t, M: [1.0, coupling, coupling * M[0]],
        functionals=[lambda x: x],
    )


def self_consistent(coupling, diffusion):
    """Excess of the mean of the stationary density with mean field m over m (Dawson 1983)."""

    def excess(m):
        def weight(x):
            return math.exp(-(x**4 / 4 - x**2 / 2 + coupling * (x - m) ** 2 / 2) / diffusion)

        return quad(lambda x: x * weight(x), -5, 5)[0] / quad(weight, -5, 5)[0] - m

    return excess


@pytest.mark.parametrize("sign", [-1, 1])
def test_desai_zwanzig_below_the_transition(sign):
    """Both branches of the magnetized state."""
    exact = brentq(self_consistent(1.0, 0.3), 0.1, 1.5, xtol=1e-13)
    start = GaussianInitial(0.2 * sign, 0.3)
    result = solve_mckean_vlasov(desai_zwanzig(1.0, 0.3), start, [200.0], rtol=1e-7)
    assert result.functionals[0, 0] == pytest.approx(sign * exact, abs=1e-6)


def test_desai_zwanzig_above_the_transition():
    excess = self_consistent(1.0, 0.8)
    assert excess(1e-3) < 0 > excess(0.5)  # no magnetized state
    result = solve_mckean_vlasov(desai_zwanzig(1.0, 0.8), GaussianInitial(1.0, 0.3), [60.0])
    assert abs(result.functionals[0, 0]) < 1e-5


def test_transition_of_desai_zwanzig():
    """The linear growth rate of the mean changes sign where self-consistency bifurcates."""
    critical = brentq(lambda d: self_consistent(1.0, d)(1e-4) / 1e-4, 0.3, 0.8, xtol=1e-10)
    for share, grows in ((0.97, True), (1.03, False)):
        model = desai_zwanzig(1.0, share * critical)
        result = solve_mckean_vlasov(model, GaussianInitial(1e-3, 0.4), [30.0, 60.0], rtol=1e-7)
        assert (result.functionals[1, 0] > result.functionals[0, 0]) == grows


def test_walls_and_time():
    """A cosine between walls decays by ∫D(t) dt."""
    model = McKeanVlasov(lambda x: 0 * x, lambda t, M: 0.5 * (1 + math.sin(t)), walls=(-1.0, 1.0))
    start = (lambda x: 0.5 * (1 + np.cos(math.pi * (x + 1) / 2)), -1.0, 1.0)
    result = solve_mckean_vlasov(model, start, [0.5, 2.0], rtol=1e-7)
    x = np.linspace(-1, 1, 201)
    for time in (0.5, 2.0):
        fade = math.exp(-((math.pi / 2) ** 2) * 0.5 * (time + 1 - math.cos(time)))
        exact = 0.5 * (1 + np.cos(math.pi * (x + 1) / 2) * fade)
        np.testing.assert_allclose(result.pdf(x, time), exact, atol=1e-6)
    assert result.probability(-1.0, 1.0, 2.0) == pytest.approx(1.0, abs=1e-12)


def test_multiplicative_noise():
    """h = (1 + x²)^½, a = −2x, D = ½: stationary density ∝ (1 + x²)^(−3)."""
    model = McKeanVlasov(lambda x: -2 * x, 0.5, shape=lambda x: np.sqrt(1 + x**2))
    result = solve_mckean_vlasov(model, GaussianInitial(0.0, 0.3), [25.0], rtol=1e-6)
    x = np.linspace(-4, 4, 401)
    exact = 8 / (3 * math.pi) / (1 + x**2) ** 3
    np.testing.assert_allclose(result.pdf(x, 25.0), exact, atol=1e-4)


def test_what_the_user_raises_comes_through():
    model = McKeanVlasov(lambda x: -x, lambda t, M: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        solve_mckean_vlasov(model, GaussianInitial(), [1.0])


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"drift": 3.0, "diffusion": 1.0}, "drift"),
        ({"drift": np.sin, "diffusion": 0.0}, "diffusion"),
        ({"drift": np.sin, "diffusion": 1.0, "breaks": [1.0, 0.0]}, "breaks"),
        ({"drift": np.sin, "diffusion": 1.0, "walls": (1.0, 1.0)}, "walls"),
    ],
)
def test_bad_models_are_refused(arguments, field):
    with pytest.raises(ParameterError, match=f"^{field} = "):
        McKeanVlasov(**arguments)


def test_bad_starts_are_refused():
    model = McKeanVlasov(lambda x: -x, 1.0, walls=(-1.0, 1.0))
    with pytest.raises(ParameterError, match="walls"):
        solve_mckean_vlasov(model, GaussianInitial(), [1.0])
    with pytest.raises(ParameterError, match="integrate to 1"):
        solve_mckean_vlasov(model, (lambda x: 0 * x + 1, -1.0, 1.0), [1.0])
    result = solve_mckean_vlasov(model, (lambda x: 0 * x + 0.5, -1.0, 1.0), [1.0])
    with pytest.raises(ParameterError, match="one of the times"):
        result.pdf(0.0, 2.0)
