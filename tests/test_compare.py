"""`compare`: exact distances, honest limits, power.

Seeds are fixed. Where a comparison must agree it is made at a false-alarm rate of 1e-5.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from closed_forms import exact_density
from scipy import stats

from fpsolve import (
    DensityTrajectory,
    GaussianInitial,
    OrderParameters,
    ParameterError,
    Problem,
    Teacher,
    UniformQuantizer,
    compare,
    simulate_sde,
    simulate_ste,
    solve_pde,
)
from fpsolve.comparison.compare import _known, _points
from fpsolve.comparison.dependence import LEVELS, Dependence
from fpsolve.comparison.distances import Law, binned_l1, kolmogorov_smirnov, wasserstein
from fpsolve.comparison.stratify import initial_weights
from fpsolve.density.gaussian_frame import GaussianFrame
from fpsolve.plots.particles import plot_comparison, plot_histograms, plot_symbols
from fpsolve.reduction import ORDER_PARAMETER_NAMES

TERNARY = UniformQuantizer(bit_width=2, omega=2.0)
FIG_1 = Problem(weight_quantizer=TERNARY, input_quantizer=TERNARY, learning_rate=0.04)
# E[w], w ~ μ_τ, for Fig. 1 at λ = 0: independent reference figures.
FIG_1_M = {5.0: 0.1666219777, 10.0: 0.3006463585, 25.0: 0.6333094975}

ALONE = Dependence(1.0)
UNIT = Law(np.linspace(0, 1, 11), np.full(10, 0.1))


def test_distances_of_evenly_spread_points_have_closed_forms():
    n = 640
    points = (np.arange(n) + 0.5) / n
    assert wasserstein(UNIT, points, ALONE, 0.01).value == pytest.approx(1 / (4 * n), rel=1e-12)
    assert kolmogorov_smirnov(UNIT, points, ALONE, 0.01).value == pytest.approx(0.5 / n, rel=1e-9)
    assert binned_l1(UNIT, points, ALONE, 0.01).value == pytest.approx(0, abs=1e-12)


def test_distances_of_shifted_and_concentrated_points():
    n = 3200
    points = (np.arange(n) + 0.5) / n
    assert wasserstein(UNIT, points + 0.25, ALONE, 0.01).value == pytest.approx(0.25, rel=1e-9)
    assert kolmogorov_smirnov(UNIT, points + 0.25, ALONE, 0.01).value == pytest.approx(
        0.25 + 0.5 / n, rel=1e-9
    )
    # A quarter of the mass has moved to where there was none.
    assert binned_l1(UNIT, points + 0.25, ALONE, 0.01).value == pytest.approx(0.5, rel=1e-9)
    middle = np.full(n, 0.5)
    assert wasserstein(UNIT, middle, ALONE, 0.01).value == pytest.approx(0.25, rel=1e-9)
    assert kolmogorov_smirnov(UNIT, middle, ALONE, 0.01).value == pytest.approx(0.5, rel=1e-9)


@pytest.mark.parametrize("distance", [wasserstein, kolmogorov_smirnov, binned_l1])
def test_limits_are_honest_and_expectations_right(distance):
    """Independent draws exceed the limit with probability α at most; the mean is as expected."""
    rng, n, trials, alpha = np.random.default_rng(7), 500, 600, 0.05
    edges = np.linspace(-8, 8, 201)
    law = Law(edges, np.diff(stats.norm.cdf(edges)))
    found = [distance(law, np.sort(rng.normal(size=n)), ALONE, alpha) for _ in range(trials)]
    alarms = sum(not d.within for d in found)
    assert stats.binom.sf(alarms - 1, trials, alpha) > 1e-6
    values = np.array([d.value for d in found])
    # The asymptotic mean of the Kolmogorov statistic is approached like n^-1/2 from below.
    assert values.mean() == pytest.approx(found[0].expected, rel=0.06)


def test_law_follows_the_curvature_inside_cells():
    edges = np.linspace(-6, 6, 61)
    law = Law(edges, np.diff(stats.norm.cdf(edges)))
    x = np.linspace(-3, 3, 1001)
    assert np.abs(law(x) - stats.norm.cdf(x)).max() < 2e-4
    assert np.abs(np.interp(x, edges, stats.norm.cdf(edges)) - stats.norm.cdf(x)).max() > 1e-3
    assert law.variance == pytest.approx(1, rel=1e-3)


def test_full_precision_weights_agree_with_the_closed_form(linear_problem):
    times = [0.0, 0.5, 2.0, 10.0]
    result = simulate_ste(linear_problem, times, dimension=1000, runs=8, seed=5)
    verdict = compare(exact_density(linear_problem, times), result, false_alarm_rate=1e-5)
    assert verdict.agrees, verdict.table()
    assert len(verdict.densities) == 4 * 2
    assert len(verdict.order_parameters) == 4 * len(ORDER_PARAMETER_NAMES)


def test_batches_and_uniform_inputs_agree_with_the_density():
    problem = Problem(
        weight_quantizer=UniformQuantizer(3, 1.0),
        input_quantizer=TERNARY,
        learning_rate=0.4,
        ridge=0.3,
        noise_variance=0.2,
        teacher=Teacher([-1.0, 0.5], [0.3, 0.7]),
        batch_size=4,
        input_distribution="uniform",
    )
    times = [0.0, 0.5, 2.0, 6.0]
    result = simulate_ste(problem, times, dimension=1000, runs=6, seed=5)
    verdict = compare(solve_pde(problem, times), result, false_alarm_rate=1e-5)
    assert verdict.agrees, verdict.table()
    for change in ({"batch_size": 1}, {"input_distribution": "laplace"}):
        other = solve_pde(dataclasses.replace(problem, **change), times)
        assert not compare(dataclasses.replace(other, problem=problem), result).agrees


def stronger(factor: float, times) -> DensityTrajectory:
    """The density of Fig. 1 if the drift's constant ηκ were `factor` times what it is."""
    wrong = solve_pde(dataclasses.replace(FIG_1, teacher=Teacher.constant(factor)), times)
    known = wrong.order_parameters
    read = OrderParameters.from_moments(
        FIG_1,
        m=known.m / factor,
        q=known.q,
        m_psi=known.m_psi / factor,
        q_psi=known.q_psi,
        r_psi=known.r_psi,
    )
    return dataclasses.replace(wrong, problem=FIG_1, order_parameters=read)


@pytest.fixture(scope="module")
def fig_1():
    times = [0.0, 5.0, 10.0, 25.0]
    return times, simulate_ste(FIG_1, times, dimension=1500, runs=24, seed=17)


def test_fig_1_agrees(fig_1):
    times, result = fig_1
    density = solve_pde(FIG_1, times)
    verdict = compare(density, result, false_alarm_rate=1e-5)
    assert verdict.agrees, verdict.table()
    assert verdict.table().endswith("* marks a failure)")
    assert "agree (false-alarm rate at most 1e-05" in str(verdict)
    for row in verdict.order_parameters:
        if row.name == "m" and row.time in FIG_1_M:
            assert row.density == pytest.approx(FIG_1_M[row.time], abs=1e-4)


@pytest.mark.parametrize("factor", [0.98, 1.02])
def test_drift_off_by_two_percent_is_rejected(fig_1, factor):
    times, result = fig_1
    verdict = compare(stronger(factor, times), result)
    assert not verdict.agrees
    assert "DISAGREE (false-alarm rate" in verdict.table()
    # At the start nothing is wrong yet, and nothing is said to be.
    assert all(
        row.agrees for row in (*verdict.densities, *verdict.order_parameters) if not row.time
    )


@pytest.mark.slow
def test_fig_1_at_the_papers_size():
    """d = 3000, τ to 100, ten runs: agreement, and rejection of a drift 2 % off either way."""
    times = [0.0, 1.0, 5.0, 10.0, 25.0, 50.0, 100.0]
    result = simulate_ste(FIG_1, times, dimension=3000, runs=10, seed=3)
    verdict = compare(solve_pde(FIG_1, times), result, false_alarm_rate=1e-5)
    assert verdict.agrees, verdict.table()
    for factor in (0.98, 1.02):
        assert not compare(stronger(factor, times), result).agrees


# A strong learning rate, where coordinates depend on each other most.
STRONG = Problem(
    weight_quantizer=UniformQuantizer(3, 1.0),
    input_quantizer=None,
    learning_rate=1.0,
    ridge=1.0,
)


def test_false_alarms_are_no_more_frequent_than_stated():
    """Twenty-five true comparisons at a rate of 10 %; more than 10 alarms would be one in 10^5."""
    times = [0.0, 1.0, 4.0]
    density, alarms = solve_pde(STRONG, times), 0
    for seed in range(25):
        result = simulate_ste(STRONG, times, dimension=200, runs=4, seed=seed)
        alarms += not compare(density, result, false_alarm_rate=0.1).agrees
    assert stats.binom.sf(alarms - 1, 25, 0.1) > 1e-4


@pytest.fixture(scope="module")
def strong():
    times = [0.0, 1.0, 8.0]
    result = simulate_ste(STRONG, times, dimension=300, runs=400, seed=8, dense_times=[0])
    return times, result, solve_pde(STRONG, times)


def test_shares_of_coordinates_vary_over_runs_as_promised(strong):
    """The covariance of F_n at 17 points over 400 runs, against the adjoint equation's.

    Wishart: an entry has the variance (C_ii C_jj + C_ij²)/399; 6 standard errors over 459
    entries are passed by chance once in 10^6.
    """
    times, result, density = strong
    excess = _known(density, result, [0, 1, 2])[1]
    points = _points(density, result, np.arange(3))
    independent = np.minimum.outer(LEVELS, LEVELS) - np.outer(LEVELS, LEVELS)
    for i in range(len(times)):
        share = (result.weights[:, i, :, None] <= points[i, 0]).mean(axis=1)
        found = np.cov(share.T) * result.weights.shape[2]
        promised = independent + excess[i, 0]
        variance = (np.outer(np.diag(promised), np.diag(promised)) + promised**2) / 399
        assert np.abs((found - promised) / np.sqrt(variance)).max() < 6
        # Independent draws would not do, after long training.
        off = np.abs((found - independent) / np.sqrt(variance)).max()
        assert (off > 6) == (times[i] == 8.0)


def test_runs_pass_each_limit_no_more_often_than_stated(strong):
    """Each of 400 runs alone, at 1 % a test: 20 alarms or more of a kind are one in 10^6.

    The distances of the mean are those promised: to 8 % of 400 runs, of which either mean has a
    standard error of 2 %, and the statistic of Kolmogorov a bias of n^-½.
    """
    _, result, density = strong
    excess = _known(density, result, [0, 1, 2])[1]
    for i in (1, 2):
        law = Law.of_frame(density.frames[i], 0)
        dependence = Dependence.of_excess(excess[i, 0], 0.0)
        for distance in (wasserstein, kolmogorov_smirnov, binned_l1):
            found = [distance(law, np.sort(w[i]), dependence, 0.01) for w in result.weights]
            assert sum(not d.within for d in found) < 20
            mean = float(np.mean([d.value for d in found]))
            if distance is not kolmogorov_smirnov:
                assert mean == pytest.approx(found[0].expected, rel=0.08)


def test_densities_alone_reject_a_drift_seven_percent_off(strong):
    """The power of the distances: at 1e-4 all together they see 7 % in 9 of 10 sets of 40 runs."""
    times, result, _ = strong
    other = dataclasses.replace(STRONG, ridge=STRONG.ridge + 0.07 * (1 + STRONG.ridge))
    wrong = dataclasses.replace(solve_pde(other, times), problem=STRONG)
    seen = 0
    for first in range(0, 400, 40):
        some = result.weights[first : first + 40]
        law = Law.of_frame(wrong.frames[2], 0)
        excess = _known(wrong, result, [0, 1, 2])[1]
        dependence = Dependence.of_excess(excess[2, 0], 0.05)
        samples = np.sort(some[:, 2].ravel())
        seen += any(
            not d(law, samples, dependence, 1e-4 / 9).within
            for d in (wasserstein, kolmogorov_smirnov, binned_l1)
        )
    assert seen >= 9


def test_particles_of_the_limit_vary_as_promised():
    """Their shares of weights over 300 runs, as above: 5.5 errors over 153 entries, 10^-5."""
    times = [8.0]
    density = solve_pde(STRONG, times)
    result = simulate_sde(STRONG, times, particles=300, runs=300, seed=9, max_step=0.02)
    known, excess = _known(density, result, [0])
    points = _points(density, result, np.arange(1))
    share = (result.weights[:, 0, :, None] <= points[0, 0]).mean(axis=1)
    found = np.cov(share.T) * 300
    promised = np.minimum.outer(LEVELS, LEVELS) - np.outer(LEVELS, LEVELS) + excess[0, 0]
    variance = (np.outer(np.diag(promised), np.diag(promised)) + promised**2) / 299
    assert np.abs((found - promised) / np.sqrt(variance)).max() < 5.5
    # Variances of 299 degrees of freedom, to 5 standard errors.
    simulated = 300 * result.order_parameters.generalization_error[:, 0].var(ddof=1)
    own = known["generalization_error"][0] / 1.05
    assert simulated == pytest.approx(own, rel=5 * np.sqrt(2 / 299))


def test_the_bound_stands_in_for_what_is_not_known():
    """Of runs that share their initial weights no adjoint is solved; φ is 2 at most of theirs."""
    dependence = Dependence(2.0)
    values = np.linspace(0, 1, 33)
    np.testing.assert_allclose(dependence.variance(values), 2 * values * (1 - values))
    np.testing.assert_allclose(dependence.cell_variance(values), 2 / 32 * 31 / 32)
    assert dependence.area_variance(UNIT) == pytest.approx(2 / 12, rel=1e-3)
    # And an excess of as much again is that bound.
    independent = np.minimum.outer(LEVELS, LEVELS) - np.outer(LEVELS, LEVELS)
    known = Dependence.of_excess(independent, 0.0)
    assert known.inflation == pytest.approx(2.0)
    np.testing.assert_allclose(known.variance(LEVELS), 2 * LEVELS * (1 - LEVELS))
    assert known.area_variance(UNIT) == pytest.approx(2 / 12, rel=1e-2)


def test_initial_weights_are_found_again_from_the_seed():
    options = {"dimension": 300, "runs": 3, "seed": 2, "teacher_assignment": "random"}
    kept = simulate_ste(FIG_1, [0, 1], **options)
    lost = simulate_ste(FIG_1, [1], **options)
    np.testing.assert_array_equal(initial_weights(lost), kept.weights[:, 0])
    forged = dataclasses.replace(lost, stats={**lost.stats, "seed": 3})
    assert initial_weights(forged) is None


def test_shared_initial_weights_count_once():
    options = {"dimension": 500, "runs": 4, "seed": 2}
    density = solve_pde(FIG_1, [1.0])
    own = compare(density, simulate_ste(FIG_1, [1.0], **options)).densities[0]
    shared = compare(density, simulate_ste(FIG_1, [1.0], shared_initial=True, **options))
    row = shared.densities[0]
    assert row.kolmogorov_smirnov.limit == pytest.approx(
        2 * own.kolmogorov_smirnov.limit * math.sqrt(row.inflation / own.inflation), rel=1e-9
    )


def test_initial_point_mass_is_not_compared():
    problem = dataclasses.replace(FIG_1, initial=GaussianInitial(mean=0.3, variance=0.0))
    result = simulate_ste(problem, [0, 3.0], dimension=400, runs=4, seed=2)
    verdict = compare(solve_pde(problem, [0, 3.0]), result, false_alarm_rate=1e-5)
    assert {row.time for row in verdict.densities} == {3.0}
    assert verdict.agrees, verdict.table()


@pytest.mark.parametrize(("shift", "agrees"), [(5e-6, True), (-5e-6, True), (1e-4, False)])
def test_without_noise_the_solver_may_be_off_by_what_it_promises(shift, agrees):
    # No error, no noise: the weights stay where they start, on the teacher.
    frozen = Problem(
        weight_quantizer=None,
        input_quantizer=None,
        learning_rate=0.1,
        initial=GaussianInitial(variance=0.0, overlap=1.0),
    )
    result = simulate_ste(frozen, [1.0], dimension=50, runs=2, seed=1)
    density = solve_pde(frozen, [1.0], rtol=1e-6)
    own = density.order_parameters
    moved = dataclasses.replace(density, order_parameters=dataclasses.replace(own, m=own.m + shift))
    rows = {row.name: row for row in compare(moved, result).order_parameters}
    assert rows["m"].agrees == agrees
    # s² = q − m²/ρ is off by 2·shift, which is within the promise for q and m as well.
    assert rows["q"].agrees
    assert rows["generalization_error"].agrees


def test_undershoots_make_no_negative_variance():
    # A narrow layer, and ripples of 1e-9 far from it.
    edges = np.array([0.0, 0.5, 1.0, 1.00001, 1.5])
    law = Law(edges, np.array([-1e-9, -1e-9, 1.0 + 3e-9, -1e-9]))
    assert 0 < law.variance < 1e-8
    assert wasserstein(law, np.full(10, 1.000005), ALONE, 0.01).limit > 0


def test_what_cannot_be_compared_is_refused(density, linear_problem):
    with pytest.raises(ParameterError, match="share at least one time"):
        compare(density, simulate_ste(linear_problem, [3.0], dimension=50, seed=1))
    with pytest.raises(ParameterError, match="teacher value"):
        compare(density, simulate_ste(FIG_1, [1.0], dimension=50, seed=1))
    result = simulate_ste(linear_problem, [1.0], dimension=50, seed=1)
    for rate in (0.0, 0.5, "high"):
        with pytest.raises(ParameterError, match="false_alarm_rate"):
            compare(density, result, false_alarm_rate=rate)


def test_histograms_have_unit_area_and_symbols_sit_at_the_means(density, linear_problem, macro):
    result = simulate_ste(linear_problem, density.times, dimension=400, runs=3, seed=1)
    figure = plot_histograms(density, result)
    bars = [patch.get_data() for axes in figure.axes for patch in axes.patches]
    assert len(bars) == density.times.size * 2
    for bar in bars:
        assert bar.values @ np.diff(bar.edges) == pytest.approx(1, abs=0.02)
    symbols = plot_symbols(result, [density, macro], names=["q"]).axes[0]
    line = symbols.containers[0].lines[0]
    at = np.searchsorted(result.dense_times, line.get_xdata())
    means = result.dense_order_parameters.q.mean(axis=0)
    np.testing.assert_allclose(line.get_ydata(), means[at], rtol=1e-12)
    assert len(plot_comparison(density, result, times=[1.0, 5.0]).axes) == 2 + 3
    with pytest.raises(ParameterError, match="names"):
        plot_symbols(result, [density], names=["loss"])


def test_a_law_with_atoms_jumps_where_they_are():
    """Half of a uniform density on (−1, 1), and atoms of a quarter at both ends."""
    law = Law(np.array([-1.0, 1.0]), np.array([0.5]))
    law.cdf, law.before = law.cdf + 0.25, law.before + 0.25
    law.cdf[-1], law.before[0] = 1.0, 0.0
    points = np.array([-1.5, -1.0, 0.0, 1.0, 1.5])
    np.testing.assert_allclose(law(points), [0.0, 0.25, 0.5, 1.0, 1.0])
    np.testing.assert_allclose(law.left(points), [0.0, 0.0, 0.5, 0.75, 1.0])
    np.testing.assert_allclose(law.quantiles(np.array([0.1, 0.5, 0.9])), [-1.0, 0.0, 1.0])
    assert law.variance == pytest.approx(0.5 + 0.5 / 3, rel=1e-2)
    n = 4000
    inner = -1 + 2 * (np.arange(n // 2) + 0.5) / (n // 2)
    samples = np.concatenate([np.full(n // 4, -1.0), inner, np.full(n // 4, 1.0)])
    assert kolmogorov_smirnov(law, samples, ALONE, 0.01).value <= 0.5 / n + 1e-12
    assert wasserstein(law, samples, ALONE, 0.01).value == pytest.approx(1 / (2 * n), rel=0.01)
    assert binned_l1(law, samples, ALONE, 0.01).value < 64 / n
    # A tenth more at an end is seen by all three.
    samples[n // 4 : n // 4 + n // 10] = -1.0
    assert kolmogorov_smirnov(law, samples, ALONE, 0.01).value == pytest.approx(0.1, abs=1 / n)
    assert wasserstein(law, samples, ALONE, 0.01).value == pytest.approx(0.1 * 0.2, rel=0.05)
    assert binned_l1(law, samples, ALONE, 0.01).value == pytest.approx(0.2, abs=0.02)


def test_initial_weights_on_the_walls_agree_with_atoms_there():
    """Clipped normal weights against a frame with exactly those atoms, and with others."""
    problem = dataclasses.replace(FIG_1, weight_clip=0.9)
    result = simulate_ste(problem, [0.0], dimension=2000, runs=2, seed=1)
    normal = GaussianFrame([0.0], [1.0])
    law = Law.of_frame(normal, 0, 0.9)
    assert law(np.array([-0.9]))[0] == pytest.approx(stats.norm.cdf(-0.9), rel=1e-9)
    samples = np.sort(result.weights[:, 0].ravel())
    for distance in (wasserstein, kolmogorov_smirnov, binned_l1):
        assert distance(law, samples, ALONE, 1e-5).within
        assert not distance(Law.of_frame(normal, 0, 0.6), samples, ALONE, 1e-5).within
        assert not distance(Law.of_frame(normal, 0), samples, ALONE, 1e-5).within
