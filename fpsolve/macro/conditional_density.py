"""Stationary density of the weights of one confined teacher value, at a given diffusivity D."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from fpsolve.problem.problem import Problem

__all__ = [
    "ConditionalDensity",
    "NormalDensity",
    "SmoothDensity",
    "StepDensity",
    "conditional_density",
]

Array = NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
# A density e^−50 below its maximum carries nothing in double precision.
_DROP = 50.0
_REACH = 9.0


@dataclass(frozen=True, eq=False)
class StepDensity:
    """exp(∫a dw/D) for a sharp quantizer: exponential on every bin, continuous at thresholds.

    Attributes
    ----------
    levels, thresholds : ndarray, shapes (L + 1,) and (L,)
        Of the quantizer.
    slopes : ndarray, shape (L + 1,)
        d log μ/dw = a/D on each bin, decreasing.
    heights : ndarray, shape (L,)
        log μ at the thresholds, relative to the maximum.
    log_norm : float
        log of ∫ exp(heights …) dw.
    """

    levels: Array
    thresholds: Array
    slopes: Array
    heights: Array
    log_norm: float

    @classmethod
    def of(cls, problem: Problem, w_star: float, diffusivity: float) -> StepDensity:
        """Return the density for |c(w*)| inside the range and D > 0 (dimensionless)."""
        quantizer = problem.weight_quantizer
        assert quantizer is not None
        push, pull = problem.dynamics.push_and_pull(w_star)
        slopes = pull * (push / pull - quantizer.levels) / diffusivity
        # Count from the peak, where the slope changes sign, so that rounding stays small there.
        peak = int(np.argmax(slopes <= 0)) - 1
        rises = slopes[1:-1] * np.diff(quantizer.thresholds)
        heights = np.concatenate(
            [-np.cumsum(rises[:peak][::-1])[::-1], [0.0], np.cumsum(rises[peak:])]
        )
        bare = cls(quantizer.levels, quantizer.thresholds, slopes, heights, 0.0)
        return replace(bare, log_norm=math.log(math.fsum(bare._masses())))

    def log_density(self, w: Array) -> Array:
        """Return log μ(w), same shape as `w`."""
        bins = np.searchsorted(self.thresholds, w, side="right")
        near = np.clip(bins, 0, self.thresholds.size - 1)
        return np.asarray(
            self.heights[near] + self.slopes[bins] * (w - self.thresholds[near]) - self.log_norm
        )

    def moments(self) -> tuple[float, float, float, float, float]:
        """Return E ψ, E ψ², E w, E w² and E wψ."""
        masses = self._masses() / math.exp(self.log_norm)
        mean, second = self._bin_moments()
        psi = self.levels
        return (
            float(masses @ psi),
            float(masses @ np.square(psi)),
            float(masses @ mean),
            float(masses @ second),
            float(masses @ (mean * psi)),
        )

    def _masses(self) -> Array:
        """Return the masses of the bins, shape (L + 1,), not normalized."""
        width = np.diff(self.thresholds)
        fall = np.abs(self.slopes[1:-1]) * width
        tops = np.exp(np.maximum(self.heights[1:], self.heights[:-1]))
        share = np.divide(-np.expm1(-fall), fall, out=np.ones_like(fall), where=fall > 0)
        ends = np.exp(self.heights[[0, -1]]) / np.abs(self.slopes[[0, -1]])
        return np.concatenate([ends[:1], tops * width * share, ends[1:]])

    def _bin_moments(self) -> tuple[Array, Array]:
        """Return E[w | bin] and E[w² | bin], shape (L + 1,)."""
        width = np.diff(self.thresholds)
        rising = self.slopes[1:-1] > 0
        start = np.where(rising, self.thresholds[1:], self.thresholds[:-1])
        # Measured inwards from the bin's higher end, in bins: density ∝ e^(−fall t), 0 ≤ t ≤ 1.
        first, square = _fallen_moments(np.abs(self.slopes[1:-1]) * width)
        step = np.where(rising, -width, width)
        ends = self.thresholds[[0, -1]]
        away = 1 / self.slopes[[0, -1]]
        mean = np.concatenate([ends[:1] - away[:1], start + step * first, ends[1:] - away[1:]])
        inner = start**2 + 2 * start * step * first + step**2 * square
        outer = ends**2 - 2 * ends * away + 2 * away**2
        return mean, np.concatenate([outer[:1], inner, outer[1:]])


def _fallen_moments(fall: Array) -> tuple[Array, Array]:
    """Return E t and E t² for a density ∝ e^(−fall t) on [0, 1], fall ≥ 0."""
    t = 0.5 * (1 + _NODES)
    weight = np.exp(-np.multiply.outer(np.minimum(fall, 4.0), t)) * _WEIGHTS
    weight /= weight.sum(axis=-1, keepdims=True)
    y = np.maximum(fall, 4.0)
    rest = np.exp(-y)
    mean = 1 / y - rest / (1 - rest)
    square = (2 - rest * (y**2 + 2 * y + 2)) / (y**2 * (1 - rest))
    slow = fall <= 4.0
    return np.where(slow, weight @ t, mean), np.where(slow, weight @ t**2, square)


@dataclass(frozen=True, eq=False)
class SmoothDensity:
    """exp(∫a dw/D) for a smoothed quantizer (T > 0), with a quadrature rule adapted to it.

    Attributes
    ----------
    problem : Problem
        Whose drift it is.
    w_star, diffusivity : float
        Teacher value and D (dimensionless).
    peak : float
        w at the maximum, where ψ_T(w) = c(w*).
    nodes, masses : ndarray
        Points w and their probabilities; exponential tails beyond the smoothed steps enter as
        two-point rules that are exact for 1, w and w².
    """

    problem: Problem
    w_star: float
    diffusivity: float
    peak: float
    nodes: Array
    masses: Array
    log_norm: float

    @classmethod
    def of(cls, problem: Problem, w_star: float, diffusivity: float) -> SmoothDensity:
        """Return the density for |c(w*)| inside the range and D > 0 (dimensionless)."""
        quantizer = problem.weight_quantizer
        assert quantizer is not None
        reach = _REACH * quantizer.temperature
        ends = (
            float(quantizer.thresholds[0]) - reach,
            float(quantizer.thresholds[-1]) + reach,
        )

        def drift(w: float) -> float:
            return float(problem.drift(w, w_star))

        # A root at 0 has no relative accuracy; the width of the quantizer sets the scale.
        tiny = 1e-15 * (ends[1] - ends[0])
        peak = float(brentq(drift, *ends, xtol=tiny, rtol=1e-15))
        bare = cls(problem, w_star, diffusivity, peak, np.empty(0), np.empty(0), 0.0)

        def remains(w: float) -> float:
            return float(bare.log_density(np.array(w))) + _DROP

        edges = [
            end if remains(end) > 0 else float(brentq(remains, end, peak, xtol=tiny))
            for end in ends
        ]
        nodes, weights = bare._panels(edges[0], edges[1])
        masses = weights * np.exp(bare.log_density(nodes))
        for edge, end in zip(edges, ends, strict=True):
            if edge == end:
                tail_nodes, tail_masses = bare._tail(end)
                nodes = np.concatenate([nodes, tail_nodes])
                masses = np.concatenate([masses, tail_masses])
        total = math.fsum(masses)
        return cls(problem, w_star, diffusivity, peak, nodes, masses / total, math.log(total))

    def log_density(self, w: Array) -> Array:
        """Return log μ(w), same shape as `w`."""
        problem, quantizer = self.problem, self.problem.weight_quantizer
        assert quantizer is not None
        area = quantizer.primitive(w) - quantizer.primitive(self.peak)
        # The drift is affine in ψ: its primitive is the same combination of primitives.
        push, pull = problem.dynamics.push_and_pull(self.w_star)
        rise = push * (w - self.peak) - pull * area
        return np.asarray(rise / self.diffusivity - self.log_norm)

    def moments(self) -> tuple[float, float, float, float, float]:
        """Return E ψ, E ψ², E w, E w² and E wψ."""
        psi, w, masses = self.problem.quantize(self.nodes), self.nodes, self.masses
        return (
            float(masses @ psi),
            float(masses @ np.square(psi)),
            float(masses @ w),
            float(masses @ np.square(w)),
            float(masses @ (w * psi)),
        )

    def mean_square(self, point: float) -> float:
        """Return E(ψ − point)²."""
        return float(self.masses @ np.square(self.problem.quantize(self.nodes) - point))

    def _panels(self, left: float, right: float) -> tuple[Array, Array]:
        """Return nodes and weights on [left, right]: panels within T, and within 2D/|a|."""
        quantizer = self.problem.weight_quantizer
        assert quantizer is not None
        width = quantizer.temperature
        steps = np.arange(-_REACH, _REACH + 1)
        near = np.unique(np.round(np.add.outer(quantizer.thresholds / width, steps))) * width
        inside = near[(near > left) & (near < right)]
        breaks = np.unique(np.concatenate([[left, self.peak, right], inside]))
        speed = np.abs(self.problem.drift(breaks, self.w_star))
        length = np.diff(breaks)
        fall = np.maximum(speed[1:], speed[:-1]) * length / self.diffusivity
        counts = np.maximum(np.ceil(0.5 * fall), 1).astype(np.int64)
        # Panel i is cut into counts[i] equal pieces.
        piece = np.repeat(length / counts, counts)
        index = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        start = np.repeat(breaks[:-1], counts) + index * piece
        nodes = start[:, None] + 0.5 * piece[:, None] * (1 + _NODES)
        return nodes.ravel(), (0.5 * piece[:, None] * _WEIGHTS).ravel()

    def _tail(self, edge: float) -> tuple[Array, Array]:
        """Return two nodes and masses with the exponential tail's mass, mean and mean square."""
        reach = self.diffusivity / float(self.problem.drift(edge, self.w_star))
        mass = abs(reach) * math.exp(float(self.log_density(np.array(edge))))
        # Gauss–Laguerre of two points for e^(−t): t = 2 ∓ √2.
        t = np.array([2 - math.sqrt(2), 2 + math.sqrt(2)])
        return edge - reach * t, mass * np.array([2 + math.sqrt(2), 2 - math.sqrt(2)]) / 4


@dataclass(frozen=True)
class NormalDensity:
    """N(c, variance), the stationary density of unquantized weights (dimensionless)."""

    center: float
    variance: float

    @classmethod
    def of(cls, problem: Problem, w_star: float, diffusivity: float) -> NormalDensity:
        """Return the density at D ≥ 0: variance D/(η(S + λ)) around c(w*)."""
        push, pull = problem.dynamics.push_and_pull(w_star)
        return cls(float(push) / pull, diffusivity / pull)

    def log_density(self, w: Array) -> Array:
        """Return log μ(w), same shape as `w`, for positive variance."""
        spread = -0.5 * np.square(w - self.center) / self.variance
        return np.asarray(spread - 0.5 * math.log(2 * math.pi * self.variance))

    def moments(self) -> tuple[float, float, float, float, float]:
        """Return E ψ, E ψ², E w, E w² and E wψ, where ψ(w) = w."""
        square = self.center**2 + self.variance
        return self.center, square, self.center, square, square


ConditionalDensity = StepDensity | SmoothDensity | NormalDensity


def conditional_density(problem: Problem, w_star: float, diffusivity: float) -> ConditionalDensity:
    """Return the stationary density given w*, of the form the weight quantizer calls for."""
    quantizer = problem.weight_quantizer
    if quantizer is None:
        return NormalDensity.of(problem, w_star, diffusivity)
    if quantizer.temperature > 0:
        return SmoothDensity.of(problem, w_star, diffusivity)
    return StepDensity.of(problem, w_star, diffusivity)
