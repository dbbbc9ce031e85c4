"""Ridge and label noise that change with time, in every description of the same training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from fpsolve import (
    GaussianInitial,
    ParameterError,
    Problem,
    Schedule,
    Surrogate,
    Teacher,
    UniformQuantizer,
    compare,
    fluctuations,
    isotropic_fixed_points,
    simulate_sde,
    simulate_ste,
    solve_ode,
    solve_pde,
    stationary_states,
)

STEPS = Schedule.steps([0.1, 1.2], times=[2.0])
FADING = Schedule.linear(0.8, 0.0, duration=5.0)
BASE = Problem(
    weight_quantizer=UniformQuantizer(2, 1.0),
    input_quantizer=None,
    learning_rate=0.2,
    ridge=STEPS,
    noise_variance=FADING,
    batch_size=2,
)


def test_unquantized_moments_follow_their_own_equations():
    """m' = η(ρ − (1 + λ)m), v' = −2η(1 + λ)v + η²ε/B: independent integration, in two stretches."""
    problem = replace(BASE, weight_quantizer=None)
    times = np.array([0.0, 1.0, 2.0, 3.0, 5.0, 8.0])

    def slope(tau, state, ridge):
        m, v = state
        error = v + m * m - 2 * m + 1 + max(0.8 * (1 - tau / 5), 0)
        pull = 0.2 * (1 + ridge)
        return [0.2 - pull * m, -2 * pull * v + 0.04 * error / 2]

    exact, state, begin = {0.0: (0.0, 1.0)}, (0.0, 1.0), 0.0
    for end, ridge in ((2.0, 0.1), (5.0, 1.2), (8.0, 1.2)):
        wanted = times[(times > begin) & (times <= end)]
        found = solve_ivp(
            slope, (begin, end), state, t_eval=wanted, args=(ridge,), rtol=1e-11, atol=1e-13
        )
        exact |= dict(zip(wanted.tolist(), found.y.T.tolist(), strict=True))
        begin, state = end, found.y[:, -1]
    m, v = np.array([exact[t] for t in times.tolist()]).T
    noise = np.maximum(0.8 * (1 - times / 5), 0)
    for solved, limit in ((solve_pde(problem, times), 1e-5), (solve_ode(problem, times), 1e-7)):
        state = solved.order_parameters
        np.testing.assert_allclose(state.m, m, atol=limit)
        np.testing.assert_allclose(state.q, v + m * m, atol=limit)
        np.testing.assert_allclose(state.generalization_error, v + (m - 1) ** 2 + noise, atol=limit)


@pytest.mark.parametrize("temperature", [0.0, 0.15])
def test_moments_of_the_density_obey_their_identities(temperature):
    """dm = ηw*(κw* − (S + λ)m_ψ), dq = 2η(κm − (S + λ)r_ψ) + η²Sε/B, with λ and σ² of the time."""
    quantizer = UniformQuantizer(2, 1.0, temperature)
    rate = Schedule.cosine(0.3, 0.05, duration=6.0)
    problem = replace(BASE, weight_quantizer=quantizer, learning_rate=rate)
    nodes, weights = np.polynomial.legendre.leggauss(24)
    parts = [(a, b) for a, b in ((0.0, 0.25), (0.25, 2.0), (2.0, 5.0), (5.0, 6.0))]
    inner = np.concatenate([0.5 * (a + b) + 0.5 * (b - a) * nodes for a, b in parts])
    share = np.concatenate([0.5 * (b - a) * weights for a, b in parts])
    times = np.unique(np.concatenate([[0.0, 6.0], inner]))
    state = solve_pde(problem, times, rtol=1e-8).order_parameters
    eta, ridge, at = rate(times), STEPS(times), np.isin(times, inner)
    change_m = eta * (1 - (1 + ridge) * state.m_psi)
    change_q = 2 * eta * (state.m - (1 + ridge) * state.r_psi)
    change_q += eta**2 * state.generalization_error / 2
    assert share @ change_m[at] == pytest.approx(state.m[-1] - state.m[0], abs=2e-6)
    assert share @ change_q[at] == pytest.approx(state.q[-1] - state.q[0], abs=2e-6)


def test_constant_schedules_are_the_numbers():
    times = [0.5, 3.0]
    plain = replace(BASE, ridge=0.4, noise_variance=0.3)
    expected = solve_pde(plain, times).order_parameters.generalization_error
    for name in ("ridge", "noise_variance"):
        same = replace(plain, **{name: Schedule.constant(getattr(plain, name))})
        found = solve_pde(same, times).order_parameters.generalization_error
        np.testing.assert_allclose(found, expected, rtol=1e-7)
        one, other = (simulate_ste(p, times, dimension=50, seed=1) for p in (plain, same))
        np.testing.assert_array_equal(one.weights, other.weights)
        one, other = (simulate_sde(p, [0.5], particles=50, seed=1) for p in (plain, same))
        np.testing.assert_allclose(one.weights, other.weights, rtol=1e-12)
        ode = solve_ode(same, times).order_parameters.generalization_error
        np.testing.assert_allclose(
            ode, solve_ode(plain, times).order_parameters.generalization_error, rtol=1e-6
        )


RULED = replace(
    BASE,
    surrogate=Surrogate(slope=0.4),
    weight_clip=1.2,
    teacher=Teacher([1.0, -0.5], [0.5, 0.5], [1.0, 0.7]),
)
POINT = replace(BASE, initial=GaussianInitial(0.2, 0.0), ridge=Schedule.linear(0, 2, duration=3))


@pytest.mark.parametrize("problem", [BASE, RULED, POINT], ids=["plain", "ruled", "from-a-point"])
def test_particles_agree_with_the_density(problem):
    """`compare`, each at a false-alarm rate of 1e-3; without a schedule it is rejected."""
    times = [1.0, 3.0, 6.0]
    density = solve_pde(problem, times, rtol=1e-5)
    ste = simulate_ste(problem, times, dimension=1000, runs=10, seed=2)
    sde = simulate_sde(problem, times, particles=10_000, runs=1, seed=2)
    assert compare(density, ste).agrees
    assert compare(density, sde).agrees
    for name, value in (("ridge", 0.1), ("noise_variance", 0.8)):
        without = solve_pde(replace(problem, **{name: value}), times, rtol=1e-5)
        assert not compare(without, ste).agrees


def test_a_jump_of_the_noise_is_seen_at_its_step():
    problem = replace(BASE, ridge=0.0, noise_variance=Schedule.steps([0.0, 3.0], times=[2.0]))
    ste = simulate_ste(problem, [1.9, 2.0], dimension=100, seed=1, dense_times=[1.99, 2.0])
    pde = solve_pde(problem, [1.99, 2.0])
    for found in (ste.dense_order_parameters[0], pde.order_parameters):
        assert np.diff(found.generalization_error)[0] == pytest.approx(3.0, abs=0.1)


@pytest.mark.parametrize("name", ["ridge", "noise_variance"])
def test_what_needs_one_number_says_so(name):
    problem = replace(BASE, **{"ridge": 0.2, "noise_variance": 0.1, name: STEPS})
    for ask in (stationary_states, isotropic_fixed_points, lambda p: fluctuations(p, [1.0])):
        with pytest.raises(ParameterError, match=name):
            ask(problem)


def test_a_temperature_is_scheduled_in_stretches():
    with pytest.raises(ParameterError, match="start=the stretch before"):
        UniformQuantizer(2, 1.0, temperature=STEPS)
    first = simulate_ste(BASE, [1.0], dimension=60, seed=1)
    warm = replace(BASE, weight_quantizer=UniformQuantizer(2, 1.0, 0.2))
    second = simulate_ste(warm, [0.0, 1.0], dimension=60, seed=1, start=first)
    np.testing.assert_array_equal(second.weights[:, 0], first.weights[:, -1])


@pytest.mark.parametrize("name", ["weight_decay", "dampening", "momentum", "weight_clip"])
def test_other_fields_are_no_schedules(name):
    with pytest.raises(ParameterError, match=name):
        replace(BASE, **{name: STEPS})
