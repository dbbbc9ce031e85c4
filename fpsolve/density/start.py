"""The Gaussian from which a density starts, and the first instants of a point mass."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from fpsolve.density.frame import Frame
from fpsolve.errors import SolveError
from fpsolve.problem.problem import Problem
from fpsolve.problem.teacher import Teacher

__all__ = [
    "GaussianStart",
    "PointSnapshot",
    "gaussian_masses",
    "gaussian_start",
]

Array = NDArray[np.float64]

# A point mass is followed exactly until it is this many standard deviations from a threshold.
_CLEAR = 9.0


def gaussian_masses(low: Array, high: Array) -> Array:
    """Return Φ(high) − Φ(low) elementwise for low <= high.

    It is the difference of the smaller tail, so that far intervals keep relative accuracy.
    """
    upper = low > 0
    masses = ndtr(np.where(upper, -low, high)) - ndtr(np.where(upper, -high, low))
    return np.asarray(masses)


@dataclass(frozen=True, eq=False)
class PointSnapshot:
    """All weights of a teacher value at one point: the state at τ = 0 if their variance is 0.

    Attributes
    ----------
    point, psi : ndarray, shape (K,)
        Weight and ψ of each teacher value (dimensionless).
    """

    point: Array
    psi: Array

    @classmethod
    def of(cls, problem: Problem) -> PointSnapshot:
        """The initial weights of a problem whose initial variance is 0."""
        point = problem.initial.mean + problem.initial.overlap * problem.teacher.values
        return cls(point, problem.quantize(point))

    def moments(self, teacher: Teacher) -> dict[str, float]:
        """Return m, q, m_psi, q_psi and r_psi."""
        probability, w_star = teacher.probabilities, teacher.values
        return {
            "m": float(probability @ (w_star * self.point)),
            "q": float(probability @ self.point**2),
            "m_psi": float(probability @ (w_star * self.psi)),
            "q_psi": float(probability @ self.psi**2),
            "r_psi": float(probability @ (self.point * self.psi)),
        }

    @property
    def frame(self) -> Frame:
        """The same as point masses."""
        return Frame.of_points(self.point)


@dataclass(frozen=True, eq=False)
class GaussianStart:
    """Conditional densities N(mean_k, deviation²) at time τ (dimensionless).

    Attributes
    ----------
    time : float
        0, or a little later for a point mass.
    mean : ndarray, shape (K,)
        Means.
    deviation : float
        Common standard deviation, > 0.
    """

    time: float
    mean: Array
    deviation: float


def gaussian_start(problem: Problem, rtol: float, latest: float) -> GaussianStart:
    """Return the initial density, a point mass advanced to where it has a width, by `latest`.

    While a point mass sees a constant drift it becomes N(w_0 + aτ, 2Dτ) exactly, and ε_g does not
    change. On a threshold it does so up to a relative error of order |Δa| (τ/2D)^½, where ψ is
    smooth up to one of order τ; the time chosen here keeps them below `rtol`/100.
    """
    initial, w_star = problem.initial, problem.teacher.values
    point = initial.mean + initial.overlap * w_star
    if initial.variance > 0:
        return GaussianStart(0.0, point, math.sqrt(initial.variance))
    psi = problem.quantize(point)
    error = problem.teacher.probabilities @ (
        psi * (problem.sigma2 * psi - 2 * problem.kappa * w_star)
    )
    error += problem.rho + problem.noise_variance
    diffusivity = float(problem.diffusivity(error))
    if not diffusivity > 1e-300:
        raise SolveError(
            "a point mass with generalization error 0 never spreads; "
            "give the initial weights a variance or the labels noise",
            time=0.0,
            step=0.0,
        )
    drift = problem.drift(point, w_star)
    small = 0.01 * rtol
    pull = problem.dynamics.constant_rate * (problem.sigma2 + problem.ridge)
    quantizer = problem.weight_quantizer
    # ψ and with it ε_g may move by `small`: |ψ'| ≤ jump/width of the narrowest feature.
    if quantizer is None:
        time = small / pull
    elif quantizer.temperature > 0:
        # The spread enters ψ at second order, the path and the stretching by ψ' at first.
        time = small * quantizer.temperature**2 / (2 * diffusivity)
        speed = float(np.abs(drift).max()) + pull * float(np.diff(quantizer.levels).max())
        time = min(time, small * quantizer.temperature / speed)
    else:
        gap = np.abs(point[:, None] - quantizer.thresholds).min(axis=1)
        scale = np.maximum(np.abs(point), quantizer.thresholds[-1] - quantizer.thresholds[0])
        clear = gap > 1e-12 * scale
        jump = pull * float(np.diff(quantizer.levels).max()) + float(np.abs(drift).max())
        time = 2 * diffusivity * (small / jump) ** 2
        if clear.all():
            far = float(gap.min())
            speed = float(np.abs(drift).max())
            time = min(
                far**2 / (2 * diffusivity * (2 * _CLEAR) ** 2), 0.5 * far / max(speed, 1e-300)
            )
    time = min(time, latest)
    deviation = math.sqrt(2 * diffusivity * time)
    return GaussianStart(time, point + drift * time, deviation)
