"""The density under a triangular surrogate, whose h falls to 0 where weights no longer move."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import trapezoid
from scipy.special import log_ndtr, ndtr
from scipy.stats import lognorm, norm

from fpsolve import (
    GaussianInitial,
    ParameterError,
    Problem,
    Surrogate,
    Teacher,
    UniformQuantizer,
    compare,
    simulate_sde,
    simulate_ste,
    solve_pde,
)

TIMES = [0.5, 3.0, 10.0, 40.0]


def problem(**changes):
    common = {"input_quantizer": None, "learning_rate": 0.1, "ridge": 0.3, "noise_variance": 0.1}
    return Problem(**{"weight_quantizer": UniformQuantizer(2, 1.0), **common, **changes})


CASES = {
    "wide": {"surrogate": Surrogate.triangular(1.5)},
    "narrow": {
        "surrogate": Surrogate.triangular(0.8),
        "learning_rate": 0.3,
        "initial": GaussianInitial(variance=0.04),
    },
    "hot": {
        "surrogate": Surrogate.triangular(2.0),
        "learning_rate": 0.5,
        "noise_variance": 0.5,
    },
    "on the kink": {
        "surrogate": Surrogate.triangular(1.2),
        "initial": GaussianInitial(0.0, 0.0),
    },
    "piling up": {"surrogate": Surrogate.triangular(0.6), "ridge": 0.0, "learning_rate": 0.5},
    "clipped": {"surrogate": Surrogate.triangular(1.2), "weight_clip": 1.0},
    "thrown to the bound": {"surrogate": Surrogate.triangular(0.05)},
    "smooth steps": {
        "surrogate": Surrogate.triangular(1.5),
        "weight_quantizer": UniformQuantizer(2, 1.0, temperature=0.2),
    },
}


def test_what_thins_out_next_to_the_bound_has_no_ripples():
    late = problem(
        weight_quantizer=UniformQuantizer(9, 1.6834695070292696),
        surrogate=Surrogate.triangular(2.072772060625199),
        learning_rate=0.01838507932857079,
        ridge=1.9368942378359064,
        noise_variance=3.242356823542676e-4,
        teacher=Teacher.constant(4.944171894766716),
        initial=GaussianInitial(0.0, 444.8854975311637, 0.1064997199473483),
        momentum=0.5995372293150502,
    )
    density = solve_pde(late, [9.828364346498695, 114.55390364392682], rtol=1e-4)
    assert density.stats["minimum"] >= -1e-4


@pytest.mark.parametrize("rtol", [1e-3, 1e-6])
def test_weights_before_the_first_threshold_approach_the_bound_as_geometric_brownian_motion(rtol):
    """There ψ = 0, so the error is constant, and c − w is lognormal while w stays positive.

    With s = c − w: ds = −(s/c) A dτ + (s/c) √(2D) dB, and w < 0 has a probability below 1e-6.
    """
    bound, place, time = 0.5, 0.3, 10.0
    started = problem(
        weight_quantizer=UniformQuantizer(2, 4.0),
        learning_rate=0.05,
        noise_variance=0.5,
        surrogate=Surrogate.triangular(bound),
        initial=GaussianInitial(place, 0.0),
    )
    density = solve_pde(started, [time], rtol=rtol)
    speed, diffusivity = 0.05, 0.05**2 * 1.5 / 2
    spread = np.sqrt(2 * diffusivity * time) / bound
    middle = (bound - place) * np.exp(-(speed / bound + diffusivity / bound**2) * time)
    exact = lognorm(spread, scale=middle)
    s = np.linspace(1e-4, 0.45, 20_001)
    difference = np.abs(density.pdf(bound - s, time, 1.0) - exact.pdf(s))
    assert difference.sum() * (s[1] - s[0]) < 100 * rtol
    state = density.order_parameters[-1]
    assert float(state.m) == pytest.approx(bound - exact.mean(), rel=10 * rtol)
    assert float(state.q) == pytest.approx(exact.var() + float(state.m) ** 2, rel=10 * rtol)
    assert density.frozen[-1] == 0


@pytest.mark.parametrize("case", CASES)
def test_tolerances_agree_and_no_mass_is_lost(case):
    """Each tolerance against one of a hundredth, within the sum of what the two promise."""
    densities = {r: solve_pde(problem(**CASES[case]), TIMES, rtol=r) for r in (1e-3, 1e-5, 1e-7)}
    # Between, not on, the bounds: what is next to one is shown evenly.
    w = np.linspace(-3.0003, 2.9997, 6001)
    for (loose, rough), (_, fine) in zip(
        list(densities.items())[:-1], list(densities.items())[1:], strict=True
    ):
        for field in ("generalization_error", "m", "q"):
            one, two = (getattr(d.order_parameters, field) for d in (rough, fine))
            assert np.abs(one - two).max() < 10.1 * loose * np.abs(two).max(), field
        for time in TIMES[:2]:
            one, two = (d.pdf(w, time, 1.0) for d in (rough, fine))
            assert np.abs(one - two).sum() * (w[1] - w[0]) < 101 * loose
    for rtol, density in densities.items():
        assert density.stats["mass_defect"] < 1e-12
        assert density.stats["minimum"] >= -rtol


def test_only_what_starts_beyond_the_bound_is_frozen():
    density = solve_pde(problem(**CASES["wide"]), TIMES)
    # 2 (1 − Φ(1.5)) from tables.
    assert density.frozen == pytest.approx(np.full(4, 0.1336144025), abs=1e-9)


@pytest.mark.parametrize("case", ["wide", "narrow", "clipped", "smooth steps"])
def test_the_density_is_that_of_the_machine_and_of_its_limiting_particles(case):
    """At `compare`'s own false-alarm rate; the density without a surrogate is told apart."""
    bent, times = problem(**CASES[case]), [1.0, 6.0]
    density = solve_pde(bent, times, rtol=1e-5)
    machine = simulate_ste(bent, times, dimension=500, runs=6, seed=3)
    assert compare(density, machine).agrees
    assert compare(density, simulate_sde(bent, times, particles=2000, seed=4)).agrees
    wrong = solve_pde(problem(**{**CASES[case], "surrogate": None}), times, rtol=1e-5)
    assert not compare(wrong, machine).agrees


def test_a_density_goes_on_from_where_another_run_ended():
    bent = problem(**CASES["on the kink"])
    whole = solve_pde(bent, [2.0, 5.0], rtol=1e-5)
    rest = solve_pde(bent, [3.0], rtol=1e-5, start=solve_pde(bent, [2.0], rtol=1e-5))
    for field in ("generalization_error", "m", "q"):
        one, two = (getattr(d.order_parameters[-1], field) for d in (whole, rest))
        assert float(one) == pytest.approx(float(two), rel=2e-4)
    assert rest.stats["mass_defect"] < 1e-12


@pytest.mark.parametrize("rtol", [1e-4, 1e-6])
def test_weights_return_from_however_near_the_bound(rtol):
    """The drift leads away from −c: the distance is lognormal while w is negative, here surely."""
    bound, time = 0.5, 170.0
    place = -bound * (1.0 - 1e-9)
    started = problem(
        weight_quantizer=UniformQuantizer(2, 4.0), learning_rate=0.05, noise_variance=0.0,
        batch_size=10, teacher=Teacher.constant(1.0), surrogate=Surrogate.triangular(bound),
        initial=GaussianInitial(place, 0.0),
    )  # fmt: skip
    half = solve_pde(started, [0.3 * time], rtol=rtol)
    assert half.quantile(0.5, 0.3 * time) == pytest.approx(-bound, abs=rtol * bound)
    density = solve_pde(started, [time], rtol=rtol)
    speed, diffusivity = 0.05, 0.05**2 / 20
    middle = (bound + place) * np.exp((speed / bound - diffusivity / bound**2) * time)
    exact = lognorm(np.sqrt(2 * diffusivity * time) / bound, scale=middle)
    assert float(density.order_parameters.m[0]) + bound == pytest.approx(exact.mean(), abs=rtol)
    s = np.linspace(2e-4, 0.1, 20_001)
    difference = np.abs(density.pdf(s - bound, time, 1.0) - exact.pdf(s))
    assert difference.sum() * (s[1] - s[0]) < 100 * rtol


@pytest.mark.parametrize("time", [3.0, 1000.0])
@pytest.mark.parametrize("rtol", [1e-4, 1e-6])
def test_noise_alone_throws_weights_to_the_bounds(rtol, time):
    """x = ∓c log(1 − |w|/c) is a Brownian motion with drift ±D/c, away from 0.

    By Girsanov's theorem, with the joint law of a Brownian motion and its local time, see Karatzas
    and Shreve (1984), the density of |x|/√(2D) is twice that below. A drift of either sign, too
    small to be seen, keeps one bound of each class one from which weights return.
    """
    bound, diffusivity, tiny = 0.5, 0.5, 1e-12
    thrown = problem(
        weight_quantizer=UniformQuantizer(2, 4.0), learning_rate=1.0, noise_variance=1.0,
        teacher=Teacher(np.array([-tiny, tiny]), np.array([0.5, 0.5])),
        surrogate=Surrogate.triangular(bound), initial=GaussianInitial(0.0, 0.0),
    )  # fmt: skip
    solved = solve_pde(thrown, [time], rtol=rtol)
    unit, root = np.sqrt(2 * diffusivity), np.sqrt(time)
    push = diffusivity / bound / unit
    x = np.linspace(0.0, push * time + 12.0 * root, 200_001)

    def density(x):
        back = np.exp(2.0 * push * x + log_ndtr(-(x + push * time) / root))
        return norm.pdf(x, push * time, root) - push * back

    f = density(x)
    w = bound * (1.0 - np.exp(-x * unit / bound))
    assert 2.0 * trapezoid(f, x) == pytest.approx(1.0, abs=1e-9)
    exact = 2.0 * trapezoid(f * w**2, x)
    assert float(solved.order_parameters.q[0]) == pytest.approx(exact, rel=rtol)
    x = np.linspace(0.0, -bound / unit * np.log1p(-0.4 / bound), 20_001)
    within = 2.0 * trapezoid(density(x), x)
    assert solved.probability(-0.4, 0.4, time) == pytest.approx(within, abs=rtol)


@pytest.mark.parametrize("surrogate", [Surrogate(1.0), Surrogate.triangular(1.0)])
def test_weights_that_start_at_points_beyond_the_bound_never_move(surrogate):
    """A whole class of them neither spreads nor is it lost to the loss of the other."""
    changes = {"surrogate": surrogate, "teacher": Teacher(np.array([-1.0, 0.4]), np.full(2, 0.5))}
    alone = solve_pde(problem(initial=GaussianInitial(-3.5, 0.0), **changes), TIMES)
    np.testing.assert_allclose(alone.order_parameters.q, 12.25, rtol=1e-14)
    assert (alone.frozen == 1.0).all()
    beside = problem(initial=GaussianInitial(0.0, 0.0, 1.3), **changes)
    density = solve_pde(beside, TIMES, rtol=1e-5)
    np.testing.assert_allclose(density.quantile([0.1, 0.9], 40.0, -1.0), -1.3, rtol=1e-14)
    # ψ = −1 there for ever.
    q_psi, m_psi = density.order_parameters.q_psi, density.order_parameters.m_psi
    other = [density.probability(0.5, np.inf, t, 0.4) for t in TIMES]
    np.testing.assert_allclose(q_psi, 0.5 + 0.5 * np.array(other), rtol=1e-4)
    np.testing.assert_allclose(m_psi, 0.5 + 0.2 * np.array(other), rtol=1e-4)
    assert compare(density, simulate_sde(beside, TIMES, particles=2000, seed=4)).agrees


def test_what_starts_beyond_the_bound_cannot_start_again():
    ended = solve_pde(problem(**CASES["wide"]), [1.0])
    with pytest.raises(ParameterError, match="must lie within"):
        solve_pde(problem(**CASES["wide"]), [1.0], start=ended)


@pytest.mark.parametrize("mean", [-87.0, 40.0])
def test_weights_that_all_start_beyond_the_bound_never_move(mean):
    problem = Problem(
        weight_quantizer=UniformQuantizer(3, 2.0),
        input_quantizer=None,
        learning_rate=0.1,
        noise_variance=0.1,
        initial=GaussianInitial(mean, 0.8),
        surrogate=Surrogate.triangular(5.0),
    )
    found = solve_pde(problem, [0.0, 100.0])
    q = mean**2 + 0.8
    np.testing.assert_allclose(found.order_parameters.q, q, rtol=1e-9)
    np.testing.assert_allclose(found.frames[1].cdf(0, np.array([mean])), 0.5, rtol=1e-9)


@pytest.mark.parametrize("rtol", [1e-4, 1e-6])
def test_weights_at_the_bound_stay_there_whatever_their_layer(rtol):
    """All that starts within the bound ends at it, in a layer thinner than positions tell.

    The drift is positive everywhere: m and q are those of the Gaussian, what was within put on the
    bound.
    """
    bound, deviation = 0.66, 0.7
    problem = Problem(
        weight_quantizer=UniformQuantizer(2, 0.5), input_quantizer=None, learning_rate=5e-5,
        noise_variance=1e-3, surrogate=Surrogate.triangular(bound),
        initial=GaussianInitial(0.0, deviation**2),
    )  # fmt: skip
    solved = solve_pde(problem, [0.0, 1e6], rtol=rtol)
    assert solved.stats["steps"] < 1000
    z = bound / deviation
    within, density = 1.0 - 2.0 * ndtr(-z), np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi)
    beyond = deviation**2 * (1.0 - within + 2.0 * z * density)
    assert abs(solved.order_parameters.m[-1] - bound * within) < 10.0 * rtol
    assert abs(solved.order_parameters.q[-1] - bound**2 * within - beyond) < 10.0 * rtol


@pytest.mark.parametrize("rtol", [1e-5, 1e-6])
def test_rare_values_thrown_far_out_stay_positive_next_to_the_bound(rtol):
    values = np.array([-18.1, -9.8, -6.6, -0.5, 0.5, 6.6, 9.8, 18.1])
    rare = np.array([4e-23, 3e-11, 2e-6])
    probabilities = np.concatenate([rare, [0.5 - rare.sum()] * 2, rare[::-1]])
    thrown = problem(
        weight_quantizer=UniformQuantizer(2, 0.088), input_quantizer=UniformQuantizer(3, 1.607),
        learning_rate=0.0493, ridge=0.0138, noise_variance=0.0, input_distribution="uniform",
        teacher=Teacher(values, probabilities), initial=GaussianInitial(0.0, 1.2, 0.6156),
        surrogate=Surrogate.triangular(1.4873),
    )  # fmt: skip
    density = solve_pde(thrown, [0.0, 1.36, 7.87], rtol=rtol)
    assert density.stats["minimum"] >= -rtol
    assert density.stats["mass_defect"] < 1e-12


@pytest.mark.parametrize("deviation", [2.0, 3.0])
def test_rare_values_that_come_to_rest_at_the_bound_leave_no_ripples(deviation):
    """h² falls by orders of magnitude within the elements there."""
    values = np.linspace(-44.0, 40.0, 15)
    probabilities = np.exp(-0.5 * (values / deviation) ** 2)
    resting = problem(
        weight_quantizer=None, input_quantizer=UniformQuantizer(2, 1.9), learning_rate=1.0,
        ridge=2.3, noise_variance=0.004, surrogate=Surrogate.triangular(4.2),
        teacher=Teacher(values, probabilities / probabilities.sum()),
    )  # fmt: skip
    density = solve_pde(resting, [0.0, 3.4], rtol=1e-7)
    assert density.stats["minimum"] >= -1e-7
    assert density.stats["mass_defect"] < 1e-12
