"""Densities that travel far, or start where h jumps, keep mass and sign at every tolerance."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from fpsolve import GaussianInitial, Problem, Surrogate, Teacher, UniformQuantizer, solve_pde

# `docs/accuracy.md`: L¹ errors of densities within this many rtol.
_PROMISED = 100.0


def _l1(one, two, k):
    """∫|μ₁ − μ₂| of class k on a grid far finer than the narrower of the two laws."""
    mean, deviation = two.mean[k], two.deviation[k]
    x = mean + deviation * np.linspace(-9.0, 9.0, 4001)
    return float(np.trapezoid(np.abs(one.pdf(k, x) - two.pdf(k, x)), x))


def test_a_narrow_law_that_travels_far_neither_ripples_nor_spreads():
    """It travels 600 of its widths; its truth is a Gaussian in closed form."""
    rtol = 1e-4
    problem = Problem(
        weight_quantizer=None, input_quantizer=None, learning_rate=0.1, batch_size=100_000,
        teacher=Teacher([-1.0, 1.0], [0.5, 0.5]), initial=GaussianInitial(5.1, 1e-4),
    )  # fmt: skip
    times = [0.0, 10.0, 20.0, 40.0]
    solved = solve_pde(problem, times, rtol=rtol, scheme="spectral-volume")
    exact = solve_pde(problem, times)
    assert solved.stats["minimum"] >= -rtol
    assert solved.stats["lifted"] <= 2.5 * rtol
    for one, two in zip(solved.frames, exact.frames, strict=True):
        assert max(_l1(one, two, k) for k in range(2)) < _PROMISED * rtol


def test_rare_laws_keep_their_mass_where_h_jumps():
    """Their meshes grow across the bound of a leaky surrogate, where mass is not ∫v."""
    problem = Problem(
        weight_quantizer=UniformQuantizer(2, 1.0), input_quantizer=None, learning_rate=0.5,
        surrogate=Surrogate(0.5, 0.3), teacher=Teacher([-4.0, 0.0, 4.0], [1e-5, 1.0 - 2e-5, 1e-5]),
    )  # fmt: skip
    solved = solve_pde(problem, [0.0, 1.0, 10.0, 100.0], rtol=1e-4)
    assert solved.stats["mass_defect"] < 1e-12


def test_a_density_that_hardly_moved_is_nowhere_negative_where_h_jumps():
    """So soon the density is still the Gaussian it was, but for layers thinner than any mesh."""
    rtol = 1e-4
    problem = Problem(
        weight_quantizer=UniformQuantizer(2, 1.0), input_quantizer=None, learning_rate=1e-3,
        noise_variance=3e-5, surrogate=Surrogate(0.7243925787513825, 0.062),
    )  # fmt: skip
    solved = solve_pde(problem, [0.0, 1e-9], rtol=rtol)
    assert solved.stats["minimum"] >= -rtol
    x = np.array([-0.75, -0.73, -0.72, 0.1, 0.5, 0.72, 0.73, 0.75])
    gaussian = np.exp(-0.5 * x**2) / np.sqrt(2.0 * np.pi)
    np.testing.assert_allclose(solved.frames[1].pdf(0, x), gaussian, rtol=10 * rtol)


def test_mass_that_has_just_left_a_wall_is_seen():
    """Decay takes it off the wall faster than it spreads: a pulse between the nodes of any mesh.

    So soon it is nearly where it was, and its mass is that of the Gaussian beyond the wall.
    """
    rtol = 1e-4
    problem = Problem(
        weight_quantizer=UniformQuantizer(2, 1.0), input_quantizer=None, learning_rate=1e-5,
        batch_size=1000, weight_clip=5.0, weight_decay=0.006, initial=GaussianInitial(0.0, 100.0),
    )  # fmt: skip
    frame = solve_pde(problem, [0.0, 2.0], rtol=rtol).frames[1]
    for width in (1e-3, 0.1):
        held = frame.probability(0, -5.0, -5.0 + width)
        np.testing.assert_allclose(held, ndtr((-5.0 + width) / 10.0), atol=10 * rtol)
