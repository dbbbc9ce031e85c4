"""Full-precision weights: the drift is linear, and a Gaussian stays one. Exact in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import exprel, ndtr

from fpsolve.density.snapshot import thin_edges
from fpsolve.density.start import gaussian_masses, point_averages
from fpsolve.errors import SolveError
from fpsolve.problem.problem import Problem
from fpsolve.problem.teacher import Teacher

__all__ = ["GaussianSnapshot", "gaussian_density", "gaussian_edges"]

Array = NDArray[np.float64]

# Half-width of the drawn interval in standard deviations, and cells across it.
_REACH = 8.3
_CELLS = 128
# exp of more than this is not far from overflow.
_LARGEST = 600.0


@dataclass(frozen=True, eq=False)
class GaussianSnapshot:
    """Conditional densities N(mean_k, deviation²) at one time.

    Attributes
    ----------
    mean : ndarray, shape (K,)
        Means (dimensionless).
    deviation : float
        Common standard deviation; 0 is a point mass (dimensionless).
    """

    mean: Array
    deviation: float

    def moments(self, teacher: Teacher) -> dict[str, float]:
        """Return m, q, m_psi, q_psi and r_psi; ψ is the identity."""
        m = float(teacher.probabilities @ (teacher.values * self.mean))
        q = float(teacher.probabilities @ self.mean**2) + self.deviation**2
        return {"m": m, "q": q, "m_psi": m, "q_psi": q, "r_psi": q}

    def mass_defect(self) -> float:
        """Mass beyond the drawn interval."""
        return float(2 * ndtr(-_REACH)) if self.deviation else 0.0

    def cell_averages(self, edges: Array) -> Array:
        """Return the cell averages (K, N)."""
        if self.deviation == 0:
            return point_averages(self.mean, edges)
        z = (edges - self.mean[:, None]) / self.deviation
        return gaussian_masses(z[:, :-1], z[:, 1:]) / np.diff(edges)


def gaussian_density(problem: Problem, time: float) -> GaussianSnapshot:
    """Return the density of full-precision weights at τ = `time`, exact up to rounding.

    Means relax at the rate η(S + λ) towards κw*/(S + λ); the variance obeys a linear equation
    whose source is quadratic in exp(−η(S + λ)τ).

    Raises
    ------
    SolveError
        If the variance overflows: the learning rate is above the stability boundary.

    Notes
    -----
    Source: paper Eqs. (6)–(7) with ψ the identity, where the closure is exact.
    """
    teacher, initial = problem.teacher, problem.initial
    pull = problem.sigma2 + problem.ridge
    rate = problem.dynamics.constant_rate * pull
    noise = problem.dynamics.constant_rate**2 * problem.sigma2 / problem.batch_size
    goal = problem.kappa * teacher.values / pull
    away = initial.mean + initial.overlap * teacher.values - goal
    probability = teacher.probabilities
    # ε_g without the variance's share, as coefficients of exp(−j·rate·τ).
    source = [
        problem.sigma2 * (probability @ goal**2)
        - 2 * problem.kappa * (probability @ (teacher.values * goal))
        + problem.rho
        + problem.noise_variance,
        2 * (problem.sigma2 * goal - problem.kappa * teacher.values) @ (probability * away),
        problem.sigma2 * (probability @ away**2),
    ]
    decay = 2 * rate - noise * problem.sigma2
    if -decay * time > _LARGEST:
        raise SolveError(
            "the variance grows without bound; the learning rate is above "
            "2(S + ridge)/S^2, lower it or shorten the horizon",
            time=time,
            step=time,
        )
    variance = initial.variance * math.exp(-decay * time)
    for j, strength in enumerate(source):
        variance += noise * float(strength) * _response(decay, j * rate, time)
    mean = goal + away * math.exp(-rate * time)
    # Without noise and with w* within reach the variance decays to 0; rounding may cross it.
    return GaussianSnapshot(mean, math.sqrt(variance) if variance > 0 else 0.0)


def _response(decay: float, rate: float, time: float) -> float:
    """∫_0^τ exp(−decay (τ − t)) exp(−rate t) dt, stable where both rates agree."""
    gap = decay - rate
    slower = rate if gap >= 0 else decay
    return float(np.exp(-slower * time) * time * exprel(-abs(gap) * time))


def gaussian_edges(snapshots: list[GaussianSnapshot], most: int) -> Array:
    """Return edges across all snapshots, at most `most` of them, finer where one is narrow."""
    spans = [(m, s.deviation or 1e-9 * max(1.0, abs(m))) for s in snapshots for m in s.mean]
    cells = max(8, min(_CELLS, most // len(spans)))
    grid = np.linspace(-_REACH, _REACH, cells + 1)
    edge = np.concatenate([m + d * grid for m, d in spans])
    size = np.repeat([2 * _REACH * d / cells for _, d in spans], cells + 1)
    order = np.argsort(edge, kind="stable")
    size[order[[0, -1]]] = 0.0
    # Wide cells that overlap narrow ones add nothing.
    return thin_edges(edge[order], size[order])
