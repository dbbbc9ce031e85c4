"""The two problems of the work-precision benchmark, with independent reference figures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from fpsolve import Problem, UniformQuantizer

__all__ = ["CASES", "Case", "cell_masses", "commensurate", "uniform_edges"]

Array = NDArray[np.float64]

# Half-width of the meshes of the peers: 2e−9 of the N(0, 1) of the start lies beyond.
REACH = 6.0


@dataclass(frozen=True, eq=False)
class Case:
    """One problem with w* = 1, w_0 ~ N(0, 1), and its generalization error at given times.

    Attributes
    ----------
    title : str
        What it is called in tables.
    problem : Problem
        What is solved.
    times : ndarray, shape (T,)
        Times τ (dimensionless).
    reference : ndarray, shape (T,)
        ε_g at these times, right to the printed digits (dimensionless).
    """

    title: str
    problem: Problem
    times: Array
    reference: Array

    def error(self, generalization_error: Array) -> float:
        """Return max_τ |ε_g − reference|/max ε_g, the error of the benchmark (dimensionless)."""
        distance = np.abs(np.asarray(generalization_error) - self.reference).max()
        return float(distance / self.reference.max())

    def error_weights(self, psi: Array) -> Array:
        """Return g with ε_g = ρ + σ² + Σ g(ψ)·mass, same shape as `psi`."""
        return psi * (self.problem.sigma2 * psi - 2 * self.problem.kappa)

    @property
    def floor(self) -> float:
        """ρ + σ² (dimensionless)."""
        return self.problem.rho + self.problem.noise_variance

    @property
    def thresholds(self) -> Array:
        """Thresholds of the weight quantizer, shape (L,)."""
        assert self.problem.weight_quantizer is not None
        return self.problem.weight_quantizer.thresholds


def commensurate(case: Case, cells: int) -> float:
    """Return the number nearest to `cells` that puts whole cells between thresholds.

    Twice the number does so too, with cells of half the width: extrapolation needs just that.
    """
    gaps = 2 * REACH / float(case.thresholds[1] - case.thresholds[0])
    return gaps * round(cells / gaps)


def uniform_edges(case: Case, cells: float) -> Array:
    """Return edges of about `cells` equal cells over [−6, 6] with every threshold among them."""
    theta = case.thresholds
    width = 2 * REACH / commensurate(case, cells)
    beyond = int(np.ceil((REACH - theta[-1]) / width))
    inner = round((theta[-1] - theta[0]) / width)
    return theta[0] + width * np.arange(-beyond, inner + beyond + 1)


def cell_masses(edges: Array) -> Array:
    """Return the masses of N(0, 1) in the cells, shape (N,)."""
    return np.diff(ndtr(edges))


def _figures(*digits: float) -> Array:
    return np.array(digits)


CASES = {
    "fig1": Case(
        "Fig. 1 (b = 2, ω = 2, λ = 0, η = 0.04)",
        Problem(
            weight_quantizer=UniformQuantizer(2, 2.0),
            input_quantizer=UniformQuantizer(2, 2.0),
            learning_rate=0.04,
        ),
        _figures(0, 1, 2, 5, 10, 25, 50, 100, 200),
        _figures(
            2.610975334,
            2.375839647,
            2.144378149,
            1.623174862,
            1.262385195,
            1.237155961,
            1.39312161,
            1.459594977,
            1.459613445,
        ),
    ),
    "b3": Case(
        "b = 3, ω = 1, λ = 1, η = 0.04",
        Problem(
            weight_quantizer=UniformQuantizer(3, 1.0),
            input_quantizer=None,
            learning_rate=0.04,
            ridge=1.0,
        ),
        _figures(0, 1, 2, 5, 10, 20, 50, 100, 200),
        _figures(
            1.526904595,
            1.434266016,
            1.343745465,
            1.094253573,
            0.7613902508,
            0.4226684194,
            0.2837702066,
            0.2777491807,
            0.2777777794,
        ),
    ),
}
