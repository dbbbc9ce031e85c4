"""Densities at one time: polynomials, cells, Gaussians and atoms answer the same questions."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from fpsolve.density.atoms import Atoms
from fpsolve.density.cell_frame import CellFrame
from fpsolve.density.frame import Frame
from fpsolve.density.gaussian_frame import GaussianFrame
from fpsolve.density.view import shared_edges, thin_edges
from fpsolve.numerics.element import reference_element

# Two densities that are polynomials: 6 w (1 − w) on [0, 1], and 3 w²/9 on [0, 3] in two pieces.
ORDER = 5


def parabolas(atoms=None, share=(1.0, 1.0)):
    nodes = reference_element(ORDER).nodes[:, None]
    left, width = np.array([0.0, 0.0, 1.25]), np.array([1.0, 1.25, 1.75])
    x = left + 0.5 * width * (1 + nodes)
    u = np.column_stack([6 * x[:, 0] * (1 - x[:, 0]) * share[0], x[:, 1:] ** 2 / 9 * share[1]])
    return Frame(ORDER, [0, 1, 3], left, width, u, atoms)


def test_polynomials_are_evaluated_exactly():
    frame = parabolas()
    w = np.linspace(-0.5, 3.5, 301)
    inside = (w >= 0) & (w <= 1)
    clipped = np.clip(w, 0, 1)
    np.testing.assert_allclose(frame.pdf(0, w), 6 * w * (1 - w) * inside, atol=1e-13)
    np.testing.assert_allclose(frame.cdf(0, w), clipped**2 * (3 - 2 * clipped), atol=1e-14)
    np.testing.assert_allclose(frame.cdf(1, w), np.clip(w, 0, 3) ** 3 / 27, atol=1e-14)
    assert frame.probability(1, 1.0, 2.0) == pytest.approx(7 / 27, rel=1e-13)
    assert frame.probability(1, -np.inf, np.inf) == pytest.approx(1, rel=1e-14)
    assert frame.probability(1, 4.0, 5.0) == 0.0
    # A tail keeps its relative accuracy: no difference of numbers close to 1.
    assert frame.probability(0, 1 - 1e-6, 2.0) == pytest.approx(3e-12 - 2e-18, rel=1e-9)
    p = np.array([1e-3, 0.1, 1.25**3 / 27, 0.5, 1 - 1e-9])
    np.testing.assert_allclose(frame.quantile(1, p), 3 * np.cbrt(p), rtol=1e-12)
    assert frame.support() == (0.0, 3.0)
    assert frame.mass_defect() < 1e-14
    np.testing.assert_allclose(frame.expectation(lambda w: w**2), [0.3, 27 / 5], rtol=1e-12)
    np.testing.assert_allclose(
        frame.cell_averages(np.array([0.5, 1.0, 2.5])), [[1, 0], [7 / 108, 2.5**3 / 40.5 - 2 / 81]]
    )


def test_functions_may_jump_between_elements():
    step = parabolas().expectation(lambda w: np.where(w >= 1.25, 1.0, 0.0))
    np.testing.assert_allclose(step, [0, 1 - 1.25**3 / 27], rtol=1e-13)


def test_atoms_count_beside_the_polynomials():
    # Inside an element, on the edge of two, and beyond the last; an unused place holds no mass.
    atoms = Atoms([[0.5, 7.0], [1.25, 4.0]], [[0.4, 0.0], [0.2, 0.3]])
    frame = parabolas(atoms, share=(0.6, 0.5))
    np.testing.assert_array_equal(frame.atom_masses(), [0.4, 0.5])
    assert frame.mass_defect() < 1e-14
    assert frame.support() == (0.0, 4.0)
    below = np.nextafter(0.5, 0)
    np.testing.assert_allclose(frame.cdf(0, np.array([below, 0.5])), [0.3, 0.7], atol=1e-14)
    assert frame.probability(0, 0.5, 0.5) == pytest.approx(0.4)
    assert frame.probability(1, 3.5, 4.0) == pytest.approx(0.3)
    assert frame.probability(1, 3.5, 3.9) == 0.0
    np.testing.assert_array_equal(frame.quantile(0, np.array([0.31, 0.5, 0.69])), [0.5] * 3)
    before = 0.5 * 1.25**3 / 27
    p = np.array([before / 2, before + 0.1, 0.6, 0.71, 0.99])
    exact = [3 * np.cbrt(before), 1.25, 3 * np.cbrt(0.8), 4.0, 4.0]
    np.testing.assert_allclose(frame.quantile(1, p), exact, rtol=1e-12)
    np.testing.assert_allclose(frame.expectation(lambda w: w), [0.5, 0.5 * 9 / 4 + 0.25 + 1.2])
    masses = frame.cell_masses(np.array([0.0, 0.5, 1.25, 4.0]))
    rest = 0.5 * np.diff(np.array([0.0, 0.5, 1.25, 3.0]) ** 3 / 27)
    np.testing.assert_allclose(masses, [[0.3, 0.7, 0], rest + np.array([0, 0, 0.5])], atol=1e-14)


def test_a_frame_may_be_atoms_alone():
    frame = Frame.of_points([-1.0, 2.0])
    assert frame.lowest() == 0.0
    assert frame.mass_defect() == 0.0
    assert frame.support() == (-1.0, 2.0)
    np.testing.assert_array_equal(frame.pdf(0, np.array([-1.0, 0.0])), [0, 0])
    np.testing.assert_array_equal(frame.cdf(0, np.array([-1.1, -1.0])), [0, 1])
    np.testing.assert_array_equal(frame.quantile(1, np.array([1e-9, 1 - 1e-16])), [2, 2])
    np.testing.assert_array_equal(frame.expectation(np.square), [1, 4])


FRAMES = {
    "polynomial": parabolas(Atoms([[0.5], [1.25]], [[0.4], [0.2]]), share=(0.6, 0.8)),
    "cells": CellFrame(np.array([0.0, 1.0, 1.5, 4.0]), np.array([[0.5, 0, 0.2], [0.2, 1.2, 0.08]])),
    "gaussian": GaussianFrame([-1.0, 2.0], [0.5, 0.0]),
}


@pytest.mark.parametrize("kind", FRAMES)
@given(p=st.floats(1e-12, 1 - 1e-12))
def test_quantiles_invert_the_distribution_function(kind, p):
    frame = FRAMES[kind]
    assert frame.kind == kind
    for k in range(frame.count):
        w = frame.quantile(k, np.array([p]))
        assert frame.cdf(k, w)[0] >= p - 1e-13
        before = frame.cdf(k, np.nextafter(w, -np.inf))[0]
        assert before <= p + 1e-13


@pytest.mark.parametrize("kind", FRAMES)
def test_frames_survive_being_taken_apart(kind):
    frame = FRAMES[kind]
    arrays = frame.to_arrays()
    assert all(isinstance(a, np.ndarray) for a in arrays.values())
    again = type(frame).from_arrays(arrays)
    w = np.linspace(-3, 5, 50)
    for k in range(frame.count):
        np.testing.assert_array_equal(again.pdf(k, w), frame.pdf(k, w))
        np.testing.assert_array_equal(again.cdf(k, w), frame.cdf(k, w))
    assert repr(again) == repr(frame)
    assert len(repr(frame)) <= 200


@pytest.mark.parametrize("kind", FRAMES)
def test_probabilities_are_differences_of_the_distribution_function(kind):
    frame = FRAMES[kind]
    edges = np.array([-2.0, 0.3, 1.1, 3.7, 5.0])
    for k in range(frame.count):
        parts = [frame.probability(k, a, b) for a, b in pairwise(edges)]
        np.testing.assert_allclose(parts, np.diff(frame.cdf(k, edges)), atol=1e-14)
        np.testing.assert_allclose(frame.cell_masses(edges)[k], parts, atol=1e-14)
        assert frame.probability(k, -np.inf, np.inf) == pytest.approx(1, abs=1e-14)


def test_frames_cannot_be_changed():
    frame = parabolas()
    with pytest.raises(ValueError, match="read-only"):
        frame.u[0, 0] = 1.0
    with pytest.raises(AttributeError):
        frame.order = 6


def test_gaussians_are_those_of_the_textbook():
    frame = GaussianFrame([0.3, -1.0], 0.7)
    w = np.linspace(-3, 3, 13)
    np.testing.assert_allclose(frame.pdf(0, w), norm.pdf(w, 0.3, 0.7), rtol=1e-14)
    np.testing.assert_allclose(frame.cdf(1, w), norm.cdf(w, -1, 0.7), rtol=1e-14)
    assert frame.probability(0, 7.3, np.inf) == pytest.approx(norm.sf(10), rel=1e-12)
    np.testing.assert_allclose(frame.expectation(np.square), [0.58, 1.49], rtol=1e-13)


# --- the shared cells -----------------------------------------------------------------------------


def test_cells_shared_by_frames_are_kept():
    frame = FRAMES["cells"]
    assert shared_edges([frame, frame], np.array([0.7])) is frame.cell_edges


@given(st.integers(0, 2**32 - 1))
def test_a_threshold_close_to_another_edge_leaves_no_cell_without_width(seed):
    rng = np.random.default_rng(seed)
    left = np.sort(rng.uniform(-300, 20, 40))
    # Elements whose ends nearly coincide with thresholds or with each other.
    theta = rng.choice(left[1:-1], 5, replace=False) + rng.choice([1e-15, 1e-12, 1e-7], 5)
    u = np.ones((ORDER + 1, left.size - 1))
    frames = [
        Frame(ORDER, [0, left.size - 1], left[:-1] + shift, np.diff(left), u)
        for shift in (0.0, 1e-14, 1e-13, 1e-10, 3e-6)
    ]
    edges = shared_edges(frames, np.unique(theta))
    assert (np.diff(edges) > 1e-14 * np.abs(edges[1:])).all()
    assert np.isfinite(frames[1].cell_averages(edges)).all()
    for threshold in theta:
        assert np.abs(edges - threshold).min() <= 1e-14 * max(1, abs(threshold))
    total = frames[0].cell_masses(edges).sum()
    assert total == pytest.approx(left[-1] - left[0], rel=1e-12)


def test_points_beyond_every_element_get_a_cell():
    frames = [Frame.of_points([-4.0, 9.0]), parabolas()]
    edges = shared_edges(frames, np.array([0.5]))
    assert 0.5 in edges
    for frame in frames:
        np.testing.assert_allclose(frame.cell_masses(edges).sum(axis=1), 1, rtol=1e-13)
    assert edges[0] <= -4.0
    assert edges[-1] >= 9.0


def test_thinning_keeps_what_must_be_kept():
    edge = np.array([0.0, 0.5, 1.0, 1.0 + 1e-6, 2.0, 2.0 + 1e-3, 3.0])
    size = np.array([0.0, 0.5, 1.0, 0.0, 0.0, 1.0, 0.0])
    np.testing.assert_array_equal(thin_edges(edge, size), [0.0, 0.5, 1.0 + 1e-6, 2.0, 3.0])
