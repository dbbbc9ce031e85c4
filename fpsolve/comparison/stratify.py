"""Means over coordinates, freed from the luck of the initial weights.

What a run's order parameters are at small τ is mostly decided by the initial weights it drew, which
are known. Coordinates are sorted into strata of equal probability by their initial weight, and
the strata are averaged with their probabilities instead of their counts (post-stratification).
The mean keeps its expected value, and the only noise left is what training adds.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from fpsolve.particles.population import draw_population
from fpsolve.particles.reduction import coordinate_terms
from fpsolve.particles.streams import run_streams
from fpsolve.particles.trajectory import ParticleTrajectory
from fpsolve.problem.problem import Problem
from fpsolve.reduction import ORDER_PARAMETER_NAMES, OrderParameters

__all__ = ["initial_weights", "stratified_order_parameters"]

Array = NDArray[np.float64]

_MOST_STRATA = 64
# Coordinates a stratum has on average, at least.
_COORDINATES = 100


def initial_weights(particles: ParticleTrajectory) -> Array | None:
    """Return the initial weights, shape (runs, d), or None where they cannot be had.

    They are the weights kept at τ = 0, or drawn again from the seed; what is drawn again counts
    only if it has the teacher weights and the first order parameters of the trajectory.
    """
    if particles.times[0] == 0:
        return particles.weights[:, 0]
    seed, assignment = particles.stats.get("seed"), particles.stats.get("teacher_assignment")
    along = particles.dense_times
    if seed is None or assignment is None or along.size == 0 or along[0] > 0:
        return None
    runs, _, dimension = particles.weights.shape
    weights = np.empty((runs, dimension))
    for run in range(runs):
        streams = run_streams(int(seed), 0 if particles.stats.get("shared_initial") else run)
        drawn = draw_population(particles.problem, dimension, assignment, streams)
        if not np.array_equal(drawn.w_star, particles.teacher_weights[run]):
            return None
        weights[run] = drawn.w
    q = np.square(weights).mean(axis=1)
    known = particles.dense_order_parameters.q[:, 0]
    return weights if np.allclose(q, known, rtol=1e-9, atol=0) else None


def stratified_order_parameters(
    particles: ParticleTrajectory, index: int, start: Array, direction: float, spread: float
) -> tuple[OrderParameters, dict[str, float]] | None:
    """Return order parameters averaged over strata and runs, and the variances of their terms.

    Parameters
    ----------
    particles : ParticleTrajectory
        The coordinates.
    index : int
        Index of the time in `particles.times`.
    start : ndarray, shape (runs, d)
        Initial weights.
    direction, spread : float
        m/ρ and s, about which s is linearized.

    Returns
    -------
    tuple or None
        Order parameters, each of shape (); for each the variance of what a coordinate adds, given
        its stratum. None if a teacher value has too few coordinates.
    """
    problem, law = particles.problem, particles.problem.initial
    # Weights clipped to a wall have lost their rank among each other.
    if law.variance == 0 or (problem.weight_clip is not None and _clipped(problem, start)):
        return None
    w, star = particles.weights[:, index].ravel(), particles.teacher_weights.ravel()
    labels = particles.labels.ravel()
    rank = ndtr((start.ravel() - law.mean - law.overlap * star) / math.sqrt(law.variance))
    terms = coordinate_terms(problem, w, star, labels)
    terms["s"] = (terms["q"] - 2 * direction * terms["m"]) / (2 * spread) if spread > 0 else 0 * w
    means = dict.fromkeys(ORDER_PARAMETER_NAMES, 0.0)
    variances = dict.fromkeys(ORDER_PARAMETER_NAMES, 0.0)
    for k in np.unique(labels).tolist():
        members = labels == k
        strata = _strata(rank[members])
        if strata is None:
            return None
        share = float(members.mean())
        for name, term in terms.items():
            mean, variance = _stratified(term[members], *strata)
            means[name] += share * mean
            variances[name] += share * variance
    moments = {name: np.asarray(means[name]) for name in ("m", "q", "m_psi", "q_psi", "r_psi")}
    adjusted = OrderParameters.from_moments(
        problem,
        **moments,
        loss=np.asarray(means["generalization_error"]),
        square=float(np.square(star).mean()),
        rho=float(np.square(problem.teacher.input_scale[labels] * star).mean()),
        tau=float(particles.times[index]),
    )
    return adjusted, variances


def _clipped(problem: Problem, start: Array) -> bool:
    return bool((np.abs(start) >= (problem.weight_clip or math.inf)).any())


def _strata(rank: Array) -> tuple[NDArray[np.intp], NDArray[np.intp]] | None:
    """Return the stratum of every coordinate and the sizes of the strata, or None."""
    count = min(_MOST_STRATA, rank.size // _COORDINATES)
    if count < 2:
        return None
    label = np.minimum((rank * count).astype(np.intp), count - 1)
    sizes = np.bincount(label, minlength=count)
    return (label, sizes) if sizes.min() > 1 else None


def _stratified(
    term: Array, label: NDArray[np.intp], sizes: NDArray[np.intp]
) -> tuple[float, float]:
    """Return the mean of the strata's means and the mean of their variances."""
    means = np.bincount(label, term) / sizes
    squares = np.bincount(label, np.square(term - means[label])) / (sizes - 1)
    return float(means.mean()), float(squares.mean())
