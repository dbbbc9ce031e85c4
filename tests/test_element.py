"""The reference element against the definition of each of its matrices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.polynomial import Polynomial

from fpsolve.numerics.element import reference_element

ORDERS = range(4, 17)
# Conditioning of monomials on 17 nodes, in units of rounding.
EXACT = 2e-12


def monomial(degree):
    return Polynomial([0.0] * degree + [1.0])


def moment(degree):
    """∫ ξ^degree over [−1, 1]."""
    return 2.0 / (degree + 1) if degree % 2 == 0 else 0.0


@pytest.mark.parametrize("order", ORDERS)
def test_quadrature_is_exact_up_to_degree_2p_minus_1(order):
    element = reference_element(order)
    for degree in range(2 * order):
        assert element.weights @ element.nodes**degree == pytest.approx(moment(degree), abs=1e-14)
    beyond = element.weights @ element.nodes ** (2 * order)
    assert abs(beyond - moment(2 * order)) > 1e-12
    assert (element.weights > 0).all()


@pytest.mark.parametrize("order", ORDERS)
def test_nodes_are_symmetric_and_hold_the_ends(order):
    nodes = reference_element(order).nodes
    assert nodes[0] == -1.0
    assert nodes[-1] == 1.0
    np.testing.assert_array_equal(nodes, -nodes[::-1])
    assert (np.diff(nodes) > 0).all()


@pytest.mark.parametrize("order", ORDERS)
def test_derivative(order):
    element = reference_element(order)
    for degree in range(order + 1):
        slope = monomial(degree).deriv()(element.nodes)
        np.testing.assert_allclose(element.derivative @ element.nodes**degree, slope, atol=1e-11)


@pytest.mark.parametrize("order", ORDERS)
def test_legendre_coefficients_and_interpolation(order):
    element = reference_element(order)
    points = np.linspace(-1, 1, 23)
    for degree in range(order + 1):
        values = np.polynomial.legendre.Legendre.basis(degree)(element.nodes)
        unit = np.eye(order + 1)[degree]
        np.testing.assert_allclose(element.legendre @ values, unit, atol=EXACT)
        there = element.interpolation(points) @ element.nodes**degree
        np.testing.assert_allclose(there, points**degree, atol=EXACT)


@pytest.mark.parametrize("order", ORDERS)
def test_halves_and_merge(order):
    element = reference_element(order)
    left, right = 0.5 * (element.nodes - 1), 0.5 * (element.nodes + 1)
    for degree in range(order + 1):
        values = element.nodes**degree
        np.testing.assert_allclose(element.halves[0] @ values, left**degree, atol=EXACT)
        np.testing.assert_allclose(element.halves[1] @ values, right**degree, atol=EXACT)
        parts = np.concatenate([left**degree, right**degree])
        np.testing.assert_allclose(element.merge @ parts, values, atol=EXACT)


@pytest.mark.parametrize("order", ORDERS)
def test_restore_sets_one_moment_each_and_no_end(order):
    element = reference_element(order)
    np.testing.assert_allclose(element.restore[[0, -1]], 0.0, atol=1e-15)
    moments = (element.weights * element.nodes ** np.arange(3)[:, None]) @ element.restore
    np.testing.assert_allclose(moments, np.eye(3), atol=1e-13)


@pytest.mark.parametrize("order", ORDERS)
def test_weak_derivative_and_stiffness(order):
    element = reference_element(order)
    rule, weights = np.polynomial.legendre.leggauss(order + 1)
    basis = element.interpolation(rule)
    slopes = basis @ element.derivative
    np.testing.assert_allclose(element.weak, slopes.T @ (weights[:, None] * basis), atol=1e-11)
    exact = slopes.T @ (weights[:, None] * slopes)
    np.testing.assert_allclose(element.stiffness, exact, atol=1e-12 * np.abs(exact).max())
    # Summation by parts: what leaves one volume enters the next, and only the ends remain.
    boundary = np.zeros((order + 1, order + 1))
    boundary[0, 0], boundary[-1, -1] = -1.0, 1.0
    np.testing.assert_allclose(element.weak + element.weak.T, boundary, atol=1e-12)
    np.testing.assert_allclose(element.weak.sum(axis=0), 0.0, atol=1e-12)


@given(
    st.sampled_from(list(ORDERS)),
    st.integers(0, 2**32 - 1),
)
def test_union_of_halves_is_the_whole(order, seed):
    element = reference_element(order)
    values = np.random.default_rng(seed).standard_normal(order + 1)
    parts = element.halves.reshape(2 * order + 2, order + 1) @ values
    np.testing.assert_allclose(element.merge @ parts, values, atol=EXACT)
