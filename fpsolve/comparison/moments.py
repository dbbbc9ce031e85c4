"""What a density predicts for order parameters averaged over finitely many coordinates."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fpsolve.density.trajectory import DensityTrajectory
from fpsolve.particles.reduction import coordinate_terms
from fpsolve.particles.trajectory import ParticleTrajectory
from fpsolve.reduction import OrderParameters

__all__ = ["expected_order_parameters"]

Array = NDArray[np.float64]

# Points a cell of the density is represented by.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(2)


def expected_order_parameters(
    density: DensityTrajectory, index: int, particles: ParticleTrajectory
) -> dict[str, tuple[float, float, float]]:
    """Return, for every order parameter, its value, variance and skewness per coordinate.

    The value is the density's own, moved to the teacher weights the particles really have (ρ_d
    for ρ, actual proportions for probabilities). Variance and skewness are those of the term that
    one coordinate adds to the mean, at its teacher value; s, which is no mean, is linearized.

    Parameters
    ----------
    density : DensityTrajectory
        Where the prediction comes from.
    index : int
        Index of the time in `density.times`.
    particles : ParticleTrajectory
        Whose teacher weights are used.
    """
    problem = density.problem
    values, probabilities = problem.teacher.values, problem.teacher.probabilities
    labels = particles.labels
    actual = np.bincount(labels.ravel(), minlength=values.size) / labels.size
    half = 0.5 * np.diff(density.edges)
    w = (density.centers[:, None] + half[:, None] * _NODES).ravel()
    mass = (0.5 * density.masses[index][..., None] * _WEIGHTS).reshape(values.size, -1)
    own, time = density.order_parameters[index], float(density.times[index])
    terms = {
        name: np.broadcast_to(term, mass.shape)
        for name, term in coordinate_terms(
            problem,
            np.broadcast_to(w, mass.shape),
            values[:, None],
            np.arange(values.size)[:, None],
        ).items()
    }
    shift = actual - probabilities
    teacher = problem.teacher
    known = {
        **{name: getattr(own, name) for name in terms},
        "generalization_error": own.generalization_error - problem.dynamics.offset(time),
    }
    moved = {name: np.asarray(known[name] + shift @ _mean(mass, t)) for name, t in terms.items()}
    loss = moved.pop("generalization_error")
    square = float(actual @ np.square(values))
    rho = float(actual @ np.square(teacher.input_scale * values))
    predicted = OrderParameters.from_moments(
        problem, **moved, loss=loss, square=square, rho=rho, tau=time
    )
    spread = float(predicted.s)
    direction = float(predicted.m) / square if square > 0 else 0.0
    scale = 2 * spread if spread > 0 else math.inf
    terms["s"] = (terms["q"] - 2 * direction * terms["m"]) / scale
    result = {}
    for name, term in terms.items():
        variance, third = _central_moments(mass, term, actual)
        skewness = third / variance**1.5 if variance > 0 else 0.0
        result[name] = (float(getattr(predicted, name)), variance, skewness)
    return result


def _mean(mass: Array, term: Array) -> Array:
    """Return the conditional means, shape (K,)."""
    return np.asarray((mass * term).sum(axis=1) / mass.sum(axis=1))


def _central_moments(mass: Array, term: Array, proportions: Array) -> tuple[float, float]:
    """Return second and third central moments at given teacher value, averaged over these."""
    centred = term - _mean(mass, term)[:, None]
    total = mass.sum(axis=1)
    # Undershoots of the density count by their size: where a term hardly varies, they are all.
    second = (np.abs(mass) * centred**2).sum(axis=1) / total
    third = (mass * centred**3).sum(axis=1) / total
    return float(proportions @ second), float(proportions @ third)
