"""The peers of the work-precision benchmark solve the same equation, each at its order."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from validation.performance import monte_carlo, scipy_methods
from validation.performance.cases import CASES, cell_masses, uniform_edges


@pytest.fixture(params=sorted(CASES))
def case(request):
    return CASES[request.param]


def observed_order(errors):
    """Slope of the errors over halvings of the cell width."""
    return -np.polyfit(np.arange(len(errors)), np.log2(errors), 1)[0]


def test_meshes_have_thresholds_among_their_edges_and_hold_the_start(case):
    edges = uniform_edges(case, 500)
    distance = np.abs(edges[:, None] - case.thresholds).min(axis=0)
    assert distance.max() < 1e-12
    assert cell_masses(edges).sum() == pytest.approx(1.0, abs=3e-9)


def test_scharfetter_gummel_with_lsoda_is_second_order(case):
    errors = [case.error(scipy_methods.lsoda(case, n, rtol=1e-6)) for n in (500, 1000, 2000)]
    assert observed_order(errors) == pytest.approx(2.0, abs=0.15)


def test_extrapolated_central_flux_is_fourth_order(case):
    errors = [case.error(scipy_methods.richardson(case, n, rtol=1e-8)) for n in (360, 720)]
    assert observed_order(errors) > 3.5
    assert errors[1] < 1e-6


@pytest.mark.parametrize("method", ["BDF", "Radau"])
@pytest.mark.parametrize("scheme", [scipy_methods.SCHARFETTER_GUMMEL, scipy_methods.CENTRAL])
def test_implicit_methods_find_what_lsoda_finds(case, method, scheme):
    arrow = scipy_methods.with_exact_jacobian(case, 288, rtol=1e-6, method=method, scheme=scheme)
    banded = scipy_methods.lsoda(case, 288, rtol=1e-8, scheme=scheme)
    assert arrow == pytest.approx(banded, abs=1e-5)


def test_fluxes_in_plain_numpy_are_the_compiled_ones(case):
    plain = scipy_methods.as_written(case, 288, rtol=1e-8)
    assert plain == pytest.approx(scipy_methods.lsoda(case, 288, rtol=1e-8), abs=1e-6)


@pytest.mark.parametrize("scheme", [scipy_methods.SCHARFETTER_GUMMEL, scipy_methods.CENTRAL])
def test_jacobian_of_the_peers_is_the_derivative(case, scheme):
    system = scipy_methods.Cells.of(case, 60, scheme)
    generator = np.random.default_rng(0)
    density = system.density + generator.uniform(0.1, 0.2, system.density.size)
    state = np.append(density, float(system.generalization_error(density)))

    def rate(state):
        change = system.rate(state[:-1], state[-1]).copy()
        return np.append(change, system.functional @ change)

    exact = scipy_methods.arrow_jacobian(system)(state).toarray()
    step = 1e-6
    for column, unit in enumerate(np.eye(state.size)):
        central = (rate(state + step * unit) - rate(state - step * unit)) / (2 * step)
        assert exact[:, column] == pytest.approx(central, abs=1e-6 * np.abs(exact).max())


def test_particles_scatter_about_the_reference(case):
    # ε_g of one particle is bounded by (2ω)² S; 5 standard errors of a bounded mean and the bias of
    # steps of 0.25, which displace weights by at most |a|/8 < 0.02, stay below 3 %.
    error = monte_carlo.particles(case, 50_000, step=0.25, seed=3)
    assert case.error(error) < 0.03
    assert case.error(error) > 1e-6


@pytest.mark.slow  # py-pde compiles for half a minute
def test_py_pde_is_the_central_flux(case):
    pytest.importorskip("pde", reason="needs the bench extra: py-pde")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from validation.performance.py_pde_peer import equation

        law, start = equation(case, 360)
        change = law.evolution_rate(start).data
    system = scipy_methods.Cells.of(case, 360, scipy_methods.CENTRAL)
    error = float(system.generalization_error(system.density))
    expected = system.rate(system.density, error)
    # The two treat the far ends differently, where there is nothing.
    assert change[1:-1] == pytest.approx(expected[1:-1], abs=1e-12)


def test_fipy_solves_the_same_equation(case):
    pytest.importorskip("fipy", reason="needs the bench extra: FiPy")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from validation.performance import fipy_peer

        early = replace(case, times=case.times[:3], reference=case.reference[:3])
        answer = fipy_peer.solve(early, 768, 4)
    # ε_g has fallen by a tenth and more; the error of the flux at 768 cells is below 1e-3 of it.
    assert early.error(answer) < 0.0015
