"""Stationary density of one class under any training rule whose drift is linear on every bin.

Without flux, v = h²μ obeys D ∂_w v = (a/h²) v: its logarithm is a parabola on every bin, continuous
from bin to bin, and μ = v/h². It is cut at the parabolas' vertices into monotone stretches, each
of which is integrated from its upper end downwards, in panels over which v falls by e² at most.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fpsolve.errors import ParameterError
from fpsolve.problem.dynamics import Dynamics

__all__ = ["PiecewiseDensity", "escape_bins"]

Array = NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)
# A drift beyond the outermost break is 0 within the rounding of its two parts.
_EQUAL = 4 * np.finfo(np.float64).eps
# Falls of log v, from a stretch's upper end, at which panels begin: e^−60 carries nothing.
_FALLS = np.arange(0.0, 61.0, 2.0)


@dataclass(frozen=True, eq=False)
class PiecewiseDensity:
    """exp(∫a/(h²D) dw)/h², normalized, between walls or on the line.

    Attributes
    ----------
    knots : ndarray, shape (n,)
        Ends of monotone stretches: breaks, vertices, walls (dimensionless).
    heights : ndarray, shape (n,)
        log v there, relative to its maximum.
    bins : ndarray of int, shape (n + 1,)
        The bin of each stretch, the half-lines beyond the outermost knots included.
    slopes : ndarray, shape (B, 2)
        d log v/dw on each bin, as [constant, linear].
    shape : ndarray, shape (B,)
        h on each bin.
    ends : tuple of float
        Where the density ends.
    log_norm : float
        log of ∫ v/h² dw.
    functionals : ndarray, shape (6,)
        Averages of the functionals of `Dynamics`, in its order.
    """

    knots: Array
    heights: Array
    bins: NDArray[np.int64]
    slopes: Array
    shape: Array
    ends: tuple[float, float]
    log_norm: float
    functionals: Array

    @classmethod
    def of(cls, dynamics: Dynamics, k: int, generalization_error: float) -> PiecewiseDensity:
        """Return the density of class k where ε_g > 0 sets D; `escape_bins` says if it exists."""
        pieces = dynamics.pieces
        assert pieces is not None
        slopes = _slopes(dynamics, k, generalization_error)
        shape = pieces.shape[:, 0]
        walls = dynamics.walls
        ends = (-math.inf, math.inf) if walls is None else (walls.low, walls.high)
        knots = _knots(dynamics.breaks, slopes, ends)
        middles = 0.5 * (knots[1:] + knots[:-1])
        before = np.searchsorted(dynamics.breaks, knots[:1], side="left")
        bins = np.concatenate([before, dynamics.bins(middles), dynamics.bins(knots[-1:])])
        within = slopes[bins[1:-1]]
        rises = np.diff(knots) * (within[:, 0] + within[:, 1] * middles)
        # Counted from the peak, so that rounding is small where the density is not.
        peak = int(np.argmax(np.concatenate([[0.0], np.cumsum(rises)])))
        heights = np.concatenate(
            [-np.cumsum(rises[:peak][::-1])[::-1], [0.0], np.cumsum(rises[peak:])]
        )
        bare = cls(knots, heights, bins, slopes, shape, ends, 0.0, np.empty(0))
        w, masses, which = bare._rule()
        total = math.fsum(masses)
        chosen = pieces.functionals[:, k][:, which]
        values = chosen[..., 0] + w * (chosen[..., 1] + w * chosen[..., 2])
        return cls(
            knots, heights, bins, slopes, shape, ends, math.log(total), values @ masses / total
        )

    def log_density(self, w: Array) -> Array:
        """Return log μ(w), same shape as `w`; −∞ beyond walls."""
        stretch = np.searchsorted(self.knots, w, side="right")
        bins = self.bins[stretch]
        near = np.clip(stretch - 1, 0, self.knots.size - 1)
        far = np.clip(stretch, 0, self.knots.size - 1)
        # From the higher end of the stretch, where digits matter.
        start = np.where(self.heights[far] > self.heights[near], far, near)
        away = w - self.knots[start]
        rise = away * (self.slopes[bins, 0] + self.slopes[bins, 1] * 0.5 * (w + self.knots[start]))
        inside = (w >= self.ends[0]) & (w <= self.ends[1])
        height = self.heights[start] + rise - 2 * np.log(self.shape[bins]) - self.log_norm
        return np.where(inside, height, -math.inf)

    def mean_and_deviation(self) -> tuple[float, float]:
        """Return E w and the standard deviation of w."""
        w, masses, _ = self._rule()
        share = masses / math.fsum(masses)
        mean = float(share @ w)
        return mean, math.sqrt(float(share @ np.square(w - mean)))

    def _rule(self) -> tuple[Array, Array, NDArray[np.int64]]:
        """Return points, their masses (not normalized) and their bins."""
        top, away, length, height, bins = self._stretches()
        slope = self.slopes[bins]
        steep = np.abs(slope[:, 0] + slope[:, 1] * top)
        bend = -slope[:, 1]
        # fall(x) = steep x + ½ bend x², solved for x without cancellation.
        square = steep[:, None] ** 2 + 2 * bend[:, None] * _FALLS
        reached = square >= 0
        below = steep[:, None] + np.sqrt(np.where(reached, square, 0.0))
        x = np.full(below.shape, math.inf)
        np.divide(2 * _FALLS, below, out=x, where=reached & (below > 0))
        x[:, 0] = 0.0
        x = np.minimum(x, length[:, None])
        half = 0.5 * np.diff(x, axis=1)
        stretch, panel = np.nonzero((half > 0) & (height[:, None] - _FALLS[:-1] > -_FALLS[-1]))
        half = half[stretch, panel][:, None]
        points = x[stretch, panel][:, None] + half * (1 + _NODES)
        fall = points * (steep[stretch, None] + 0.5 * bend[stretch, None] * points)
        masses = half * _WEIGHTS * np.exp(height[stretch, None] - fall)
        masses /= np.square(self.shape[bins[stretch]])[:, None]
        w = top[stretch, None] + away[stretch, None] * points
        which = np.broadcast_to(bins[stretch, None], w.shape)
        return w.ravel(), masses.ravel(), which.ravel()

    def _stretches(self) -> tuple[Array, Array, Array, Array, NDArray[np.int64]]:
        """Upper end, direction of fall, length, height and bin of each stretch."""
        rising = self.heights[1:] > self.heights[:-1]
        top = np.where(rising, self.knots[1:], self.knots[:-1])
        height = np.maximum(self.heights[1:], self.heights[:-1])
        away = np.where(rising, -1.0, 1.0)
        parts = [top, away, np.diff(self.knots), height, self.bins[1:-1]]
        for side, knot in ((-1.0, 0), (1.0, -1)):
            if self.knots[knot] != self.ends[knot]:
                more = (self.knots[knot], side, math.inf, self.heights[knot], self.bins[knot])
                parts = [np.append(part, one) for part, one in zip(parts, more, strict=True)]
        return parts[0], parts[1], parts[2], parts[3], parts[4].astype(np.int64)


def escape_bins(dynamics: Dynamics) -> NDArray[np.int64]:
    """Return for each class −1 if its weights are held, else the end bin they run away to, (K,)."""
    pieces, held = dynamics.pieces, np.full(dynamics.w_star.size, -1, dtype=np.int64)
    assert pieces is not None
    if dynamics.walls is not None:
        return held
    factors = dynamics.coefficients(0.0, 1.0).drift
    drift = np.einsum("j,jkbn->kbn", factors, pieces.drift)
    last = drift.shape[1] - 1
    for side, end in ((-1.0, 0), (1.0, last)):
        # Outwards a linear part that pulls back always wins; else the constant decides.
        pulled = drift[:, end, 1] < 0
        outward = side * drift[:, end, 0]
        runs = ~pulled & (outward >= -_EQUAL * np.abs(drift[..., 0]).max(axis=1))
        held[runs] = end
    return held


def _slopes(dynamics: Dynamics, k: int, generalization_error: float) -> Array:
    pieces = dynamics.pieces
    assert pieces is not None
    drift = np.einsum("j,jbn->bn", dynamics.coefficients(0.0, generalization_error).drift,
                      pieces.drift[:, k])  # fmt: skip
    if pieces.shape[:, 1].any() or drift[:, 2].any():
        allowed = "has a slope of its own, for which no closed form is built in; use solve_pde"
        raise ParameterError("surrogate", dynamics.problem.surrogate, allowed)
    diffusion = dynamics.coefficients(0.0, generalization_error).diffusion * dynamics.sigma2[k]
    return np.asarray(drift[:, :2] / (diffusion * np.square(pieces.shape[:, :1])))


def _knots(breaks: Array, slopes: Array, ends: tuple[float, float]) -> Array:
    """Breaks between the ends, vertices of the parabolas, finite ends; at least one point."""
    inner = breaks[(breaks > ends[0]) & (breaks < ends[1])]
    edges = np.concatenate([[-math.inf], breaks, [math.inf]])
    bent = slopes[:, 1] != 0
    vertex = np.full(slopes.shape[0], math.nan)
    vertex[bent] = -slopes[bent, 0] / slopes[bent, 1]
    inside = (vertex > np.maximum(edges[:-1], ends[0])) & (vertex < np.minimum(edges[1:], ends[1]))
    knots = np.unique(
        np.concatenate([inner, vertex[inside], [e for e in ends if math.isfinite(e)]])
    )
    return knots if knots.size else np.zeros(1)
