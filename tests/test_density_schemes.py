"""Order and exactness of what the density solver is made of."""

from __future__ import annotations

import math
from dataclasses import replace

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr

from fpsolve import Problem, StepQuantizer, Teacher, UniformQuantizer, solve_pde
from fpsolve.density.equation import equation_of, law_of
from fpsolve.density.frame import Frame
from fpsolve.numerics import kernels
from fpsolve.numerics.kernels import MERGE, SPLIT, Cells, exponential_flux
from fpsolve.numerics.solver import Solver
from fpsolve.numerics.tableau import COUPLING, GAMMA, STAGE_WEIGHTS, STAGES

LOUD = Problem(
    weight_quantizer=UniformQuantizer(2, 1.0),
    input_quantizer=None,
    learning_rate=1.0,
    ridge=0.5,
    noise_variance=0.3,
    teacher=Teacher.constant(0.5),
)


# --- the tableau, as a Rosenbrock method of its own -----------------------------------------------


def rosenbrock(f, jacobian, y, h):
    """One step for a scalar equation; returns the solution and the embedded one."""
    pivot = 1 / (GAMMA * h) - jacobian(y)
    stages = []
    start = y
    for s in range(STAGES):
        start = y + sum(STAGE_WEIGHTS[s, j] * stages[j] for j in range(s))
        slope = f(start) + sum(COUPLING[s, j] / h * stages[j] for j in range(s))
        stages.append(slope / pivot)
    return start + stages[-1], start


def slope_of(steps, errors):
    return np.polyfit(np.log(steps), np.log(errors), 1)[0]


def integrate(f, jacobian, y, end, count, embedded=False):
    h = end / count
    for _ in range(count):
        pair = rosenbrock(f, jacobian, y, h)
        y = pair[1] if embedded else pair[0]
    return y


@pytest.mark.parametrize(("embedded", "order"), [(False, 5), (True, 4)])
def test_tableau_order_on_a_nonlinear_equation(embedded, order):
    """y' = −y², whose solution is rational."""
    counts = np.array([32, 64, 128])
    ends = [integrate(lambda y: -(y**2), lambda y: -2 * y, 1.0, 2.0, n, embedded) for n in counts]
    errors = np.abs(np.array(ends) - 1 / 3)
    assert slope_of(2.0 / counts, errors) == pytest.approx(order, abs=0.2)


def stability(z):
    return rosenbrock(lambda y: z * y, lambda y: z, 1.0, 1.0)


def test_tableau_on_the_linear_equation():
    """R(z) = e^z + O(z⁶), the embedded one + O(z⁵); A-stable, and R(∞) = 0 for both."""
    # Taylor coefficients by Cauchy's integral over a circle inside the pole at 1/γ.
    radius, points = 0.5, 32
    circle = radius * np.exp(2j * np.pi * np.arange(points) / points)
    values = np.array([stability(z) for z in circle])
    taylor = np.fft.fft(values, axis=0).real / points / radius ** np.arange(points)[:, None]
    exponential = np.array([1 / math.factorial(k) for k in range(points)])[:, None]
    defect = np.abs(taylor / exponential - 1)
    assert defect[:6, 0].max() < 1e-11
    assert defect[:5, 1].max() < 1e-11
    assert defect[5, 1] > 1e-3
    for y in np.geomspace(1e-3, 1e6, 200):
        assert abs(stability(1j * y)[0]) <= 1 + 1e-12
    full, embedded = stability(-1e13)
    assert abs(full) < 1e-8
    assert abs(embedded) < 1e-8


# --- the Scharfetter–Gummel flux ------------------------------------------------------------------


def exact_flux(drift, half, diffusivity):
    """Coefficients of D (u_left − u_right e^U)/∫e^U for the piecewise linear potential U."""
    left, right, h_left, h_right, d = map(mpmath.mpf, (*drift, *half, diffusivity))
    face, end = -left * h_left / d, -left * h_left / d - right * h_right / d

    def segment(low, high, h):
        return h if low == high else h * (mpmath.exp(high) - mpmath.exp(low)) / (high - low)

    integral = segment(mpmath.mpf(0), face, h_left) + segment(face, end, h_right)
    return d / integral, d * mpmath.exp(end) / integral


def computed_flux(drift, half, diffusivity):
    column = np.array(drift)[:, None], np.array(half)[:, None]
    return exponential_flux(*column, diffusivity, 0)


DRIFTS = [(1.0, 1.0), (0.7, 0.2), (-0.3, -2.0), (0.5, -1.5), (-0.5, 1.5), (0.0, 0.0), (0.0, 1.0)]


@pytest.mark.parametrize("drift", DRIFTS)
@pytest.mark.parametrize("half", [(0.05, 0.05), (0.01, 0.3)])
def test_flux_against_its_formula(drift, half):
    """Péclet numbers from 1e−13 to 1e12, to twelve digits of whatever does not underflow."""
    with mpmath.workdps(60):
        for diffusivity in np.geomspace(1e-12, 1e12, 49):
            exact = exact_flux(drift, half, diffusivity)
            for found, true in zip(computed_flux(drift, half, diffusivity), exact, strict=True):
                # Exponents as large as 700 lose three of sixteen digits.
                assert abs(found - true) <= 1e-12 * true + mpmath.mpf("1e-290")


@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(1e-3, 1), st.floats(1e-3, 1), st.floats(-8, 8))
def test_flux_vanishes_for_the_stationary_density(left, right, h_left, h_right, exponent):
    """u_right/u_left = exp(∫a/D) carries no flux; both coefficients are ≥ 0 (M-matrix)."""
    diffusivity = 10.0**exponent
    alpha, beta = computed_flux((left, right), (h_left, h_right), diffusivity)
    assert alpha >= 0
    assert beta >= 0
    rise = (left * h_left + right * h_right) / diffusivity
    if abs(rise) < 600:
        assert alpha == pytest.approx(beta * math.exp(rise), rel=1e-11)


@pytest.mark.parametrize(
    ("weights", "cells"),
    [(None, (500, 1000, 2000)), (UniformQuantizer(2, 1.0), (2000, 2800, 4000))],
)
def test_scharfetter_gummel_is_second_order(weights, cells):
    """ε_g and q on cells of one width: so many that none need be narrower at the thresholds."""
    problem = replace(LOUD, weight_quantizer=weights)
    times = [0.5, 2.0, 8.0]
    fine = solve_pde(problem, times, rtol=1e-9).order_parameters
    errors = {"generalization_error": [], "q": []}
    for count in cells:
        result = solve_pde(problem, times, rtol=1e-8, scheme="scharfetter-gummel", cells=count)
        assert np.ptp(np.diff(result.edges)) < 0.1 * np.diff(result.edges).max()
        for name, found in errors.items():
            difference = getattr(result.order_parameters, name) - getattr(fine, name)
            found.append(np.abs(difference).max())
    for found in errors.values():
        assert slope_of(1.0 / np.array(cells), found) == pytest.approx(2.0, abs=0.1)


# --- spectral volumes on a fixed mesh -------------------------------------------------------------

SPEED, DIFFUSIVITY, START = 1.0, 0.5, 0.4
SIGN = Problem(
    weight_quantizer=StepQuantizer([-1.0, 1.0]),
    input_quantizer=None,
    learning_rate=SPEED,
    teacher=Teacher.constant(0.0),
)


def dry_friction_density(x, time):
    """Propagator from START: Touchette, Van der Straeten & Just, J. Phys. A 43, 445002 (2010)."""
    root = math.sqrt(time)
    away = np.abs(x) + abs(START)
    free = np.exp(-0.5 * time - np.abs(x) + abs(START) - (x - START) ** 2 / (2 * time))
    return free / (math.sqrt(2 * math.pi) * root) + np.exp(-2 * np.abs(x)) * ndtr(
        (time - away) / root
    )


class FixedMesh(Solver):
    """Elements that never adapt, stepped one fixed step after another."""

    def __init__(self, problem, order, cells):
        columns = np.ascontiguousarray(np.array(cells, np.int64).T)
        first = np.array([0, len(cells)])
        equation = equation_of(problem, 1e-10)
        law = law_of(problem, 0.0, 0.0, None)
        options = {"order": order, "rtol": 1e-10, "resolution": 1e-3}
        super().__init__(equation, cells=Cells(*columns, first), **options)
        self.law = law

    def advance(self, duration, count):
        space = kernels._workspace.py_func(self.mesh, 1, self.u.shape[1])
        for i in range(count):
            when = (i * duration / count, duration / count)
            grid = (self.equation.bins, self.model, self.law, self.mesh, space, self.u)
            kernels._step(0, self.reference, *grid, when, self.moments)
            self.u = space.new.copy()
        return self


def uniform_mesh(problem, order, level, reach):
    """Elements of width 2^(1 − level) over [−reach, reach] about the one threshold 0."""
    count = round(reach * 2 ** (level - 1))
    cells = [(0, level, i) for i in range(-count, 0)] + [(1, level, i) for i in range(count)]
    return FixedMesh(problem, order, cells)


def spatial_errors(order, level):
    """L¹ error of the polynomials and of their values at the nodes, on elements 2^(1 − level)."""
    points, weights = np.polynomial.legendre.leggauss(order + 3)
    mesh = uniform_mesh(SIGN, order, level, 12.0)
    mesh.u = dry_friction_density(mesh.x, 0.5)
    mesh.advance(0.5, 100)
    x = mesh.mesh.left + 0.5 * mesh.mesh.width * (1 + points[:, None])
    difference = mesh.element.interpolation(points) @ mesh.u - dry_friction_density(x, 1.0)
    whole = (0.5 * mesh.mesh.width * weights[:, None] * np.abs(difference)).sum()
    return whole, (mesh.mesh.mass * np.abs(mesh.u - dry_friction_density(mesh.x, 1.0))).sum()


@pytest.mark.parametrize(
    ("order", "levels"),
    [(4, (2, 3, 4)), (5, (2, 3, 4)), (6, (1, 2, 3)), (7, (1, 2)), (8, (1, 2))],
)
def test_spatial_order_of_spectral_volumes(order, levels):
    """L¹ error ~ h^(p+1), the best that degree p allows; ~ h^(p+2) at the Gauss–Lobatto nodes.

    The density has a kink at the threshold, which is an element edge. The nodes of collocation
    are its points of superconvergence.
    """
    whole, nodal = zip(*(spatial_errors(order, level) for level in levels), strict=True)
    assert min(nodal) > 5e-13
    widths = 2.0 ** -np.array(levels)
    assert slope_of(widths, whole) == pytest.approx(order + 1, abs=0.3)
    assert slope_of(widths, nodal) == pytest.approx(order + 2, abs=0.3)


def test_error_falls_geometrically_with_the_degree():
    """The density is analytic in each bin: on fixed elements every degree gains a factor."""
    errors = [spatial_errors(order, 0)[0] for order in range(4, 15)]
    assert min(errors) > 5e-13
    assert max(np.divide(errors[2:], errors[:-2])) < 0.05


def fixed_steps(problem, cells, before, duration, counts):
    """L¹ and ε_g errors after `duration` in few steps, from a density `before` old."""

    def end(count):
        mesh = FixedMesh(problem, 6, cells)
        mesh.u = np.exp(-0.5 * mesh.x**2) / math.sqrt(2 * math.pi)
        return mesh.advance(before, 200).advance(duration, count)

    fine = end(12 * counts[-1])
    ends = [end(n) for n in counts]
    densities = np.array([(m.mesh.mass * np.abs(m.u - fine.u)).sum() for m in ends])
    errors = np.array([abs(m.moments[0] - fine.moments[0]) for m in ends])
    return densities, errors


def test_time_order_of_smooth_drift():
    """Five, with ε_g coupled into D, where the solution is smooth."""
    cells, counts = [(0, 1, i) for i in range(-24, 24)], np.array([16, 24, 32, 48])
    densities, _ = fixed_steps(replace(LOUD, weight_quantizer=None), cells, 0.2, 1.0, counts)
    assert densities.min() > 1e-12
    assert slope_of(1.0 / counts, densities) == pytest.approx(5, abs=0.3)


def test_time_order_across_thresholds():
    """At least four: the kinks there are to a stiff equation what boundaries are."""
    bins = ((0, range(-24, 0)), (1, range(2)), (2, range(24)))
    cells, counts = [(b, 1, i) for b, some in bins for i in some], np.array([8, 16, 32])
    for errors in fixed_steps(LOUD, cells, 1.0, 2.0, counts):
        assert errors.min() > 1e-12
        assert 4.2 < slope_of(1.0 / counts, errors) < 5.5


# --- transfer between meshes ----------------------------------------------------------------------


def random_mesh(seed, order=6, elements=8):
    """A mesh with a rough positive density, continuous across elements."""
    mesh = uniform_mesh(SIGN, order, 2, elements / 4)
    rng = np.random.default_rng(seed)
    mesh.u = 1.0 + 0.9 * np.sin(rng.uniform(0, 6) * mesh.x + rng.uniform(0, 6))
    mesh.u[1:-1] += rng.uniform(-0.5, 0.5, mesh.u[1:-1].shape)
    return mesh


def moments(mesh):
    return [float((mesh.mesh.mass * mesh.u * mesh.x**power).sum()) for power in range(3)]


def transfer(mesh, action, union=0.0):
    marks = np.ones((2, mesh.u.shape[1]))
    grid = (mesh.cells, mesh.u, marks, mesh.mesh.width, action, union, np.array([-np.inf]))
    mesh.cells, mesh.u = kernels.regrid(mesh.reference, *grid)
    mesh.place()
    return mesh


@given(st.integers(0, 2**32 - 1))
def test_splitting_keeps_the_density_and_merging_undoes_it(seed):
    mesh = random_mesh(seed)
    rng = np.random.default_rng(seed + 1)
    before = (mesh.u.copy(), mesh.mesh.left, mesh.mesh.width, moments(mesh))
    old = Frame(6, mesh.cells.first, mesh.mesh.left, mesh.mesh.width, mesh.u)
    split = rng.random(mesh.cells.bins.size) < 0.5
    split[rng.integers(split.size)] = True
    transfer(mesh, np.where(split, SPLIT, 0))
    assert mesh.cells.bins.size == split.size + split.sum()
    np.testing.assert_allclose(mesh.u[:, 1:-1], old.pdf(0, mesh.x)[:, 1:-1], atol=1e-12)
    np.testing.assert_array_equal(mesh.u[0, 1:], mesh.u[-1, :-1])
    np.testing.assert_allclose(moments(mesh), before[3], rtol=1e-13, atol=1e-13)
    action = np.repeat(np.where(split, MERGE, 0), np.where(split, 2, 1))
    transfer(mesh, action, np.inf)
    for now, then in zip((mesh.u, mesh.mesh.left, mesh.mesh.width), before[:3], strict=True):
        np.testing.assert_allclose(now, then, atol=1e-12)


@given(st.integers(0, 2**32 - 1))
def test_merging_keeps_moments_and_ends_whatever_it_loses(seed):
    mesh = random_mesh(seed)
    held, ends = moments(mesh), (mesh.u[0, ::2].copy(), mesh.u[-1, 1::2].copy())
    count = mesh.cells.bins.size
    transfer(mesh, np.full(count, MERGE), np.inf)
    assert mesh.cells.bins.size == count // 2
    np.testing.assert_allclose(moments(mesh), held, rtol=1e-13, atol=1e-13)
    np.testing.assert_array_equal(mesh.u[0], ends[0])
    np.testing.assert_array_equal(mesh.u[-1], ends[1])
