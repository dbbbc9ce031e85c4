"""`compare`: do particles and a density agree, given sampling noise?

The coordinates of one run are not independent: they share every sample's error, and through it ε_g.
`fluctuations` knows what that does to leading order in 1/d, by the adjoint of the linearized
equation: the variance over runs of every order parameter, and the covariance of the shares of
weights below given points. The first is the standard error of order parameters, the second
(`Dependence`) makes the limits of the distances between densities, both taken as a twentieth
larger, which is how well they are known.

Particles of the limiting equation share ε_g alone, no residual, and their adjoint has so much less.
Where there is none, in `_known`, a bound stands in for it: for runs that share their initial
weights, whose means vary about another density than that of the law; for a surrogate that is 0
somewhere, and freezes weights there; for a scheduled ridge or noise variance; for coefficients of a
subclass's own; for more than 32 teacher values; at ε_g = 0; and where layers are too thin for 1500
cells. A step adds to a mean (1/d)Σ f(w_i) the increment −η (ŷ − y)·U/d^½ with
U = (1/d^½)Σ f'(w_i) ψ_x(x_i), whose variance is E[(ŷ − y)² U²] = ε_g E[U²] + E[(ŷ − y) U]² for the
jointly Gaussian local fields (paper Prop. II.2). Independent coordinates would have the first term
alone, and by Cauchy–Schwarz the second is at most as large. So the noise that training adds is at
most doubled, that of the initial weights not at all, and the covariance of the coordinates is at
most φ = 1 + min(1, 2∫D dτ / Var w) times the independent one: the drift does not increase with w,
so trajectories contract, and the noise contributes 2∫D dτ at most to Var w. What this leaves out
(fluctuations of D itself) is looked for between the runs: where their distribution functions
differ by more than φ allows, the larger factor is used. Twice is also what training may do to order
parameters where they are compared given the initial weights, if that is sharper than the adjoint's
noise with these drawn anew.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from fpsolve.comparison.dependence import LEVELS, Dependence
from fpsolve.comparison.distances import binned_l1, kolmogorov_smirnov, wasserstein
from fpsolve.comparison.fluctuations import Fluctuations, Shares, Solved, fluctuations_about
from fpsolve.comparison.law import Law
from fpsolve.comparison.moments import expected_order_parameters
from fpsolve.comparison.pair import check_pair
from fpsolve.comparison.stratify import initial_weights, stratified_order_parameters
from fpsolve.comparison.verdict import (
    Comparison,
    DensityComparison,
    OrderParameterComparison,
)
from fpsolve.density.trajectory import DensityTrajectory
from fpsolve.errors import ParameterError, SolveError
from fpsolve.particles.trajectory import ParticleTrajectory
from fpsolve.problem.checks import finite
from fpsolve.reduction import ORDER_PARAMETER_NAMES

__all__ = ["compare"]

Array = NDArray[np.float64]

# Points at which distribution functions of single runs are compared with each other.
_QUANTILES = np.arange(1, 32) / 32
# Bound on the inflation of noise that comes from training alone.
_TRAINING = 2.0
# Teacher values and cells up to which variances over runs are computed, and their accuracy.
_MOST_CLASSES, _MOST_CELLS, _RTOL = 32, 1500, 0.05
# Functionals of all times together up to which that is done for shares of weights, too.
_MOST_FUNCTIONALS = 800


def compare(
    density: DensityTrajectory,
    particles: ParticleTrajectory,
    *,
    false_alarm_rate: float = 1e-4,
) -> Comparison:
    """Compare particles with a density at their common times.

    Parameters
    ----------
    density : DensityTrajectory
        From `solve_pde`.
    particles : ParticleTrajectory
        From `simulate_ste` or `simulate_sde`. Runs that share their initial weights count as one
        in the size of the sampling noise.
    false_alarm_rate : float, default 1e-4
        Of the overall verdict, in (0, 0.1] (dimensionless); divided evenly among all tests
        (Bonferroni).

    Returns
    -------
    Comparison

    Raises
    ------
    ParameterError
        If there is no common time, the numbers of teacher values differ, or the arguments are
        swapped.

    Notes
    -----
    The limits hold for many coordinates (a hundred or more a teacher value). The density is the
    limit d → ∞: means over runs differ from it by O(1/d), which sampling noise O((runs·d)^−½)
    hides while runs ≪ d; with more runs, or with more particles than the Euler step of
    `simulate_sde` deserves, the comparison will see that difference. Times within half a step of
    each other are the same. What `solve_pde` promises for its own error, 10·rtol, is no difference.
    Noise is that of `fluctuations` for up to 32 teacher values (densities: while times ×
    (7 + 17 × teacher values) ≤ 800), where the adjoint equation exists and runs have initial
    weights of their own; else the bound φ. Sources: `distances`, and the head of this module.
    """
    check_pair(density, particles)
    rate = finite("false_alarm_rate", false_alarm_rate, above=0.0)
    if rate > 0.1:
        raise ParameterError("false_alarm_rate", rate, "must be at most 0.1")
    values = density.problem.teacher.values
    if particles.problem.teacher.values.size != values.size:
        allowed = f"must have the {values.size} teacher value(s) of the density; it is of another"
        raise ParameterError("particles", particles.problem.teacher, f"{allowed} problem")
    pairs = _common_times(density, particles)
    labels = particles.labels
    classes = [labels == k for k in range(values.size)]
    present = [k for k, members in enumerate(classes) if members.any()]
    alpha = rate / (len(pairs) * (3 * len(present) + len(ORDER_PARAMETER_NAMES)))
    start = initial_weights(particles)
    known, shares = _known(density, particles, [i for i, _ in pairs])
    densities: list[DensityComparison] = []
    order_parameters: list[OrderParameterComparison] = []
    for n, (i, j) in enumerate(pairs):
        rows = [
            _compare_class(
                *(density, particles, i, j, k, classes[k], alpha),
                excess=None if shares is None else shares[n, k],
            )
            for k in present
        ]
        densities += rows
        inflation = max(row.inflation for row in rows)
        order_parameters += _compare_order_parameters(
            density, particles, i, j, inflation, start, alpha, {k: v[n] for k, v in known.items()}
        )
    return Comparison(tuple(densities), tuple(order_parameters), rate)


def _common_times(
    density: DensityTrajectory, particles: ParticleTrajectory
) -> list[tuple[int, int]]:
    """Return the pairs of indices of common times."""
    ste = particles.stats.get("kind") == "ste"
    step = 0.5 / particles.weights.shape[2] if ste else 0.0
    pairs = []
    for j, time in enumerate(particles.times.tolist()):
        i = int(np.abs(density.times - time).argmin())
        if abs(density.times[i] - time) <= step * (1 + 1e-9) + 1e-9 * time:
            # Weights that all start at one point have no density there.
            if time == 0 and particles.problem.initial.variance == 0:
                continue
            pairs.append((i, j))
    if not pairs:
        allowed = "must share at least one time > 0 with the density; solve both at the same times"
        raise ParameterError("particles", particles.times.tolist(), allowed)
    return pairs


def _known(
    density: DensityTrajectory, particles: ParticleTrajectory, indices: list[int]
) -> tuple[dict[str, Array], Array | None]:
    """Return what the adjoint equation says of the noise, at the given times of the density.

    First d·Var of the order parameters over runs, by name, a twentieth larger than it is known to
    be; empty where it is not, as the head of this module lists. Then the excess covariance of
    shares of weights, shape (T, K, J, J), or None.
    """
    problem = particles.problem
    shared = particles.stats.get("shared_initial")
    if shared or problem.teacher.values.size > _MOST_CLASSES:
        return {}, None
    residual = particles.stats.get("kind") == "ste"
    chosen, where = np.unique(indices, return_inverse=True)
    solved = Solved(density.times[chosen], density.order_parameters[chosen], density.edges[[0, -1]])
    per_time = len(Fluctuations.names) + LEVELS.size * problem.teacher.values.size
    if chosen.size * per_time <= _MOST_FUNCTIONALS and density.times[chosen[-1]] > 0:
        solved = solved._replace(points=_points(density, particles, chosen))
    try:
        found, shares = fluctuations_about(problem, solved, _RTOL, _MOST_CELLS, residual=residual)
    except (ParameterError, SolveError):
        return {}, None
    names = [n for n in found.names if n != "s" or found.stats["error_of_s"] <= _RTOL]
    # What is small beside its largest value is known to a share of a hundredth of that.
    known = {name: np.maximum(found.variance(name), 0.0) for name in names}
    told = {name: (v + _RTOL * np.maximum(v, 0.01 * v.max()))[where] for name, v in known.items()}
    return told, _excess_of(shares, where)


def _points(
    density: DensityTrajectory, particles: ParticleTrajectory, chosen: NDArray[np.intp]
) -> Array:
    """Return the quantiles of `LEVELS` of every class at the chosen times, shape (T, K, J)."""
    classes = range(particles.problem.teacher.values.size)
    laws = [[Law.of_frame(density.frames[i], k) for k in classes] for i in chosen.tolist()]
    return np.array([[law.quantiles(LEVELS * law.cdf[-1]) for law in row] for row in laws])


def _excess_of(shares: Shares | None, where: NDArray[np.intp]) -> Array | None:
    if shares is None or shares.error > _RTOL:
        return None
    return shares.excess[where]


def _independent_runs(particles: ParticleTrajectory) -> int:
    return 1 if particles.stats.get("shared_initial") else particles.weights.shape[0]


def _absorbing_wall(particles: ParticleTrajectory) -> float:
    """Return the bound beyond which weights are frozen, where the limit has an atom.

    How far the last step of a weight went beyond it is left out of the comparison.
    """
    walls = particles.problem.dynamics.walls
    return walls.high if walls is not None and walls.kind == "absorb" else math.inf


def _compare_class(
    density: DensityTrajectory, particles: ParticleTrajectory, i: int, j: int, k: int,
    members: NDArray[np.bool_], alpha: float, *, excess: Array | None,
) -> DensityComparison:  # fmt: skip
    wall = _absorbing_wall(particles)
    law = Law.of_frame(density.frames[i], k, wall)
    weights = np.clip(particles.weights[:, j], -wall, wall)
    runs = [w[inside] for w, inside in zip(weights, members, strict=True)]
    samples = np.concatenate(runs)
    samples.sort()
    if excess is None:
        inflation = _inflation(law, runs, particles, float(particles.times[j]), k)
        # Noise counts as that of the independent coordinates, however many runs share them.
        dependence = Dependence(inflation * len(runs) / _independent_runs(particles))
    else:
        dependence = Dependence.of_excess(excess, _RTOL)
        inflation = dependence.inflation
    return DensityComparison(
        time=float(density.times[i]),
        teacher_value=float(density.problem.teacher.values[k]),
        count=samples.size,
        inflation=inflation,
        wasserstein=wasserstein(law, samples, dependence, alpha),
        kolmogorov_smirnov=kolmogorov_smirnov(law, samples, dependence, alpha),
        binned_l1=binned_l1(law, samples, dependence, alpha),
    )


def _inflation(
    law: Law, runs: list[Array], particles: ParticleTrajectory, time: float, k: int
) -> float:
    """Return φ of class k: the bound of the module's head, or what the runs show if more."""
    along = particles.dense_times
    if along.size > 1:
        errors = particles.dense_order_parameters.generalization_error.mean(axis=0)
    else:
        along = particles.times
        errors = particles.order_parameters.generalization_error.mean(axis=0)
    before = along <= time
    dynamics = particles.problem.dynamics
    noise = np.array(
        [
            dynamics.sigma2[k] * float(dynamics.diffusivity(tau, error))
            for tau, error in zip(along[before].tolist(), errors[before].tolist(), strict=True)
        ]
    )
    added = 2 * float(np.trapezoid(noise, along[before])) if before.sum() > 1 else math.inf
    spread = law.variance
    share = 0.0 if time == 0 else 1.0 if spread <= added else added / spread
    return max(1.0 + share, _between_runs(law, runs))


def _between_runs(law: Law, runs: list[Array]) -> float:
    """Return the variance of F_n between runs over that of independent draws, 0 if unknown."""
    filled = [w for w in runs if w.size]
    if len(filled) < 2:
        return 0.0
    points = law.quantiles(_QUANTILES * law.cdf[-1])
    each = np.array([np.searchsorted(np.sort(w), points, side="right") / w.size for w in filled])
    size = len(filled) / sum(1 / w.size for w in filled)
    f = law(points)
    if not (f * (1 - f)).sum() > 0:  # All in atoms, between which no quantile lies.
        return 0.0
    return float(each.var(axis=0, ddof=1).sum() * size / (f * (1 - f)).sum())


def _compare_order_parameters(
    density: DensityTrajectory, particles: ParticleTrajectory, i: int, j: int, inflation: float,
    start: Array | None, alpha: float, known: dict[str, float],
) -> list[OrderParameterComparison]:  # fmt: skip
    """Compare means over runs, in the way that has the smaller standard error.

    `known` holds d·Var over runs; where it does not, the bound φ stands for it.
    """
    quantile = -float(ndtri(0.5 * alpha))
    coordinates = _independent_runs(particles) * particles.weights.shape[2]
    expected = expected_order_parameters(density, i, particles)
    square = float(np.square(particles.teacher_weights).mean())
    direction = expected["m"][0] / square if square > 0 else 0.0
    strata = None
    if start is not None and particles.times[j] > 0:
        strata = stratified_order_parameters(particles, j, start, direction, expected["s"][0])
    rows = []
    for name in ORDER_PARAMETER_NAMES:
        mean = float(getattr(particles.order_parameters, name)[:, j].mean())
        value, variance, skewness = expected[name]
        difference, noise = mean - value, known.get(name, inflation * variance)
        if strata is not None and max(inflation, _TRAINING) * strata[1][name] < noise:
            # All of this noise comes from training, so all of it may be doubled.
            noise = max(inflation, _TRAINING) * strata[1][name]
            difference = float(getattr(strata[0], name)) - value
        # Cornish–Fisher: the tail of a mean of skewed terms reaches further.
        skew = abs(skewness) / math.sqrt(coordinates)
        rows.append(
            OrderParameterComparison(
                time=float(density.times[i]),
                name=name,
                particles=mean,
                density=value,
                standard_errors=_score(
                    difference, math.sqrt(noise / coordinates), _promised(density, name, value)
                ),
                limit=quantile + skew * (quantile**2 - 1) / 6,
            )
        )
    return rows


def _promised(density: DensityTrajectory, name: str, value: float) -> float:
    """Return the error that `solve_pde` allows itself: 10·rtol of the largest value."""
    own, problem = density.order_parameters, density.problem
    share = 10 * float(density.stats.get("rtol", 0.0))
    size = np.abs(getattr(own, name))
    if name == "generalization_error":  # A difference of terms, of which it may be a small part.
        sigma2, kappa = problem.sigma2s.max(), problem.kappas.max()
        size = size + sigma2 * own.q_psi + 2 * kappa * np.abs(own.m_psi)
    if name == "s":  # The root of q − m²/ρ, of which either is known to that share.
        return math.sqrt(value**2 + 2 * share * float(own.q.max())) - value
    return share * float(size.max())


def _score(difference: float, error: float, promised: float) -> float:
    """Return difference/error, of what the solver's own error leaves of the difference."""
    left = math.copysign(max(abs(difference) - promised, 0.0), difference)
    if error > 0:
        return left / error
    return math.copysign(math.inf, left) if left else 0.0
