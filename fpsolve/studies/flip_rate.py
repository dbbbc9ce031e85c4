"""How often a weight changes its level in a step, from the density at the thresholds.

A step moves a weight by Δw of order d^−½, much less than the scale of the density, so that a weight
passes a threshold θ_k with probability μ(θ_k) E|Δw|. Given the inputs, the residual of a sample is
Gaussian of variance ε_g, hence Δw = η h(θ)/(B√d) Σ r ψ_x(x) over a batch is, and

    E|Δw| = η h(θ) (2ε_g/(π d))^½ E[Y^½]/B,   Y = Σ ψ_x(x)² over the batch.

With momentum β the sum runs over all earlier batches too, with ψ_x² weighed by β^(2j).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import quad

from fpsolve.density.trajectory import DensityTrajectory
from fpsolve.errors import ParameterError
from fpsolve.problem.checks import integer
from fpsolve.problem.inputs import input_distribution
from fpsolve.problem.problem import Problem

__all__ = ["flip_rate"]

Array = NDArray[np.float64]

# Batches before the last that momentum still feels by less than this are left out.
_FORGOTTEN = 1e-6
_PANELS = 200


def flip_rate(
    trajectory: DensityTrajectory, dimension: int, *, by_threshold: bool = False
) -> Array:
    """Return the level changes of a weight in a step at each time, to leading order in 1/d.

    Parameters
    ----------
    trajectory : DensityTrajectory
        Of a problem whose weights are rounded to the nearest level at temperature 0.
    dimension : int
        Number of weights d ≥ 1 of the machine that is asked about.
    by_threshold : bool, default False
        Whether to tell the thresholds apart.

    Returns
    -------
    ndarray, shape (T,) or (T, L)
        Level changes a weight and step (dimensionless), over all thresholds or at each. At a time
        when all weights are in one point it is 0, and infinite if that is a threshold.

    Raises
    ------
    ParameterError
        If the weights have no sharp thresholds, or `dimension` is no positive integer.

    Notes
    -----
    Source: theory, flip rate; at a stationary state of small η, with Gaussian full-precision inputs
    and λ = σ² = 0, it tends to (4/π) Δ p(1 − p)/(ε_g d)^½, whatever η is.
    """
    dimension = integer("dimension", dimension, least=1)
    problem = trajectory.problem
    thresholds = problem.dynamics.thresholds
    if thresholds.size == 0:
        allowed = "must round to the nearest level at temperature 0: nothing else has thresholds"
        raise ParameterError("weight_quantizer", problem.weight_quantizer, allowed)
    teacher, shape = problem.teacher, problem.dynamics.shape(thresholds)
    gains = {s: _mean_root(problem, float(s)) for s in np.unique(teacher.input_scale)}
    gain = np.array([gains[s] for s in teacher.input_scale]) / problem.batch_size
    rates = np.empty((trajectory.times.size, thresholds.size))
    errors = trajectory.order_parameters.generalization_error
    for i, (frame, tau, error) in enumerate(
        zip(trajectory.frames, trajectory.times, errors, strict=True)
    ):
        # The rate of one step: what momentum adds up is in the sum.
        eta = problem.dynamics.rate(float(tau))[0] * (1 - problem.momentum)
        reach = eta * math.sqrt(2 * max(float(error), 0.0) / (math.pi * dimension))
        density = np.array([frame.pdf(k, thresholds) for k in range(teacher.values.size)])
        rates[i] = reach * shape * ((teacher.probabilities * gain) @ density)
    return rates if by_threshold else rates.sum(axis=1)


def _mean_root(problem: Problem, scale: float) -> float:
    """Return E[Y^½] for the inputs of one scale.

    E Y^½ = (2√π)^−1 ∫_0^∞ (1 − E e^(−tY)) t^(−3/2) dt, with t = u²; E e^(−tY) is a product.
    """
    values, measure = _squares(problem, scale)
    beta, batch = problem.momentum, problem.batch_size
    if batch == 1 and beta == 0:
        return float(measure @ np.sqrt(values))
    count = 1 if beta == 0 else math.ceil(math.log(_FORGOTTEN) / math.log(beta))
    weights = beta ** (2.0 * np.arange(count))
    least = float(values[measure > 0].min())
    size = float(measure @ values) * batch * float(weights.sum())
    if size == 0:
        return 0.0

    def missing(x: float) -> float:
        t = x * x / size
        # Relative to the least value, so that no logarithm is of 0.
        away = np.exp(-t * np.multiply.outer(weights, values - least))
        logs = np.log(away @ measure) - t * weights * least
        return float(-np.expm1(batch * logs.sum()) / (x * x))

    head = quad(missing, 0.0, 3.0, limit=_PANELS, epsabs=1e-10, epsrel=1e-9)[0]
    tail = quad(missing, 3.0, math.inf, limit=_PANELS, epsabs=1e-10, epsrel=1e-9)[0]
    return float(math.sqrt(size / math.pi) * (head + tail))


def _squares(problem: Problem, scale: float) -> tuple[Array, Array]:
    """Return values of ψ_x(x)² and their probabilities, by quadrature where they are no atoms."""
    law, quantizer = input_distribution(problem.input_distribution), problem.input_quantizer
    if quantizer is not None and quantizer.temperature == 0:
        cdf = np.concatenate([[0.0], law.cdf(quantizer.thresholds / scale), [1.0]])
        return np.square(quantizer.levels), np.diff(cdf)
    nodes, weights = np.polynomial.legendre.leggauss(16)
    breaks = np.linspace(-law.extent, law.extent, 201)
    if quantizer is not None:
        breaks = np.unique(np.concatenate([breaks, quantizer.thresholds / scale]))
    breaks = np.unique(np.clip(breaks, -law.extent, law.extent))
    half = 0.5 * np.diff(breaks)[:, None]
    z = (breaks[:-1, None] + half * (1 + nodes)).ravel()
    measure = (half * weights).ravel() * law.pdf(z)
    x = scale * z
    psi = x if quantizer is None else quantizer(x)
    return np.square(psi), measure / measure.sum()
