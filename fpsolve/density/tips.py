"""Next to the bound of a triangular surrogate: distances are followed by their logarithm.

There h = s/c, with s = c − |w|, and log s is a diffusion whose drift and diffusivity do not depend
on s: weights come nearer without end, or return from however near they are. In

    x = ±(c − δ + δ log(δ/s))  for s < δ,  x = w elsewhere,

which follows w as a C¹ function, h is δ/c all the way from s = δ to 0, and the drift that at s = δ,
with Itô's term ±D δ/c² besides, D being the class's diffusivity: what lies beyond x = ±(c − δ) goes
on for ever, as weights do that run away. Coefficients are those at s = δ from there on. All that is
so near is no further than δ from where it is shown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fpsolve.density.frame import Elements, flanked
from fpsolve.numerics.gaussian import REACH
from fpsolve.numerics.initial import Initial
from fpsolve.problem.problem import Problem
from fpsolve.problem.schedule import largest_of, varies

__all__ = ["Tips", "have_tips", "tips_of", "unrolled"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

# δ is this share of rtol, of the bound and of the temperature, which displacements may be unseen
# and over which coefficients change by as little; and at least that share of the bound, for
# positions are to be told apart there. A threshold before the bound is twice as far.
_UNSEEN = 0.05
_LEAST = 1e-10
# Where a drift that leads away from the bound is less than this multiple of what noise does, so
# much comes nearer to it than positions tell.
_NOISY = 1.7
# Beyond so many δ there is no mass at the start: e^−40 of that within δ of the bound.
_DEPTH = 40.0
# Ends of elements there, in units of δ.
_STEPS = np.array([0.0, 1.0, 2.0, 4.0, 8.0, 16.0, _DEPTH])


class Tips(NamedTuple):
    """The bound c of a triangular surrogate, and the distance δ from it that is unrolled."""

    bound: float
    depth: float

    @property
    def ends(self) -> tuple[float, float]:
        """Where x ceases to be w: ∓(c − δ)."""
        end = self.bound - self.depth
        return -end, end

    @property
    def bend(self) -> float:
        """Itô's term for D = 1: δ/c²."""
        return self.depth / self.bound**2

    @property
    def shape(self) -> float:
        """h beyond the ends: δ/c."""
        return self.depth / self.bound

    def weights(self, x: Array) -> Array:
        """Return w at x."""
        end = self.ends[1]
        beyond = np.maximum(np.abs(x) - end, 0.0) / self.depth
        near = np.sign(x) * (self.bound - self.depth * np.exp(-beyond))
        return np.where(beyond > 0.0, near, x)

    def slope(self, x: Array) -> Array:
        """Return dw/dx."""
        return np.asarray(np.exp(-np.maximum(np.abs(x) - self.ends[1], 0.0) / self.depth))

    def places(self, w: Array) -> Array:
        """Return x at w, no further than mass may be at the start."""
        end = self.ends[1]
        gap = np.maximum(self.bound - np.abs(w), self.depth * math.exp(-_DEPTH))
        near = np.sign(w) * (end + self.depth * np.log(self.depth / np.minimum(gap, self.depth)))
        return np.where(np.abs(w) > end, near, w)

    def held(self, first: Indices, middle: Array, mass: Array) -> tuple[Array, Array]:
        """Return what each class holds beyond either end, (K, 2), and the masses (E,) of the rest.

        Elements of class k are `first[k]` to `first[k + 1]`; they have these middles and masses.
        """
        low, high = self.ends
        beyond = np.stack([middle < low, middle > high], axis=1)
        held = np.add.reduceat(np.where(beyond, mass[:, None], 0.0), first[:-1], axis=0)
        return held, np.where(beyond.any(axis=1), 0.0, mass)

    def rolled(
        self, first: Indices, elements: Elements, held: Array
    ) -> tuple[Indices, Array, Array, Array]:
        """Return where the elements of each class begin, and elements (left, width, u), in w.

        What each class has beyond an end, `held` (K, 2), is even between that and the bound.
        """
        left, width, u = elements
        middle, (low, high) = left + 0.5 * width, self.ends
        inside = (middle > low) & (middle < high)
        first = np.append(0, np.cumsum(inside))[first]

        def even(at: float, masses: Array) -> list[Elements]:
            counts = (masses > 0.0).astype(int).tolist()
            return [
                (np.full(n, at), np.full(n, self.depth), np.full((u.shape[0], n), m / self.depth))
                for n, m in zip(counts, masses.tolist(), strict=True)
            ]

        lower, upper = even(-self.bound, held[:, 0]), even(high, held[:, 1])
        return flanked(first, (left[inside], width[inside], u[:, inside]), lower, upper)


def have_tips(problem: Problem) -> bool:
    """Whether noise may throw weights to where h falls to 0, and the drift leads away from there.

    Otherwise a share of about exp(−(r − 1) y) comes as near as c exp(−y), where r is the drift,
    times the bound, over the diffusivity: next to nothing is nearer than positions tell.
    """
    dynamics, surrogate, walls = problem.dynamics, problem.surrogate, problem.dynamics.walls
    if walls is None or walls.margin == 0 or surrogate is None or not dynamics.is_standard:
        return False
    quantizer, initial, k = (
        problem.weight_quantizer,
        problem.initial,
        np.arange(dynamics.w_star.size),
    )
    reach = max(walls.high, abs(initial.mean) + math.sqrt(initial.variance))
    if quantizer is not None:
        reach = min(reach, float(np.abs(quantizer.levels).max()))
    error = problem.rho + largest_of(problem.noise_variance)
    error += float(dynamics.sigma2.max()) * reach**2
    rate = largest_of(problem.learning_rate) / (1.0 - problem.momentum)
    heat = rate * dynamics.sigma2 * error / (2.0 * problem.batch_size * walls.high)
    ridges = [0.0, largest_of(problem.ridge)] if varies(problem.ridge) else [0.0]
    for end in walls.solved:
        found = dynamics.fields(np.full(k.size, end), dynamics.bins(np.full(k.size, end)), k)
        outward = math.copysign(1.0, end) * found.drift / found.shape
        for ridge in ridges:
            pull = outward[0] + (ridge * outward[1] if ridge > 0.0 else 0.0)
            if ((pull < 0.0) & (-pull < _NOISY * heat)).any():
                return True
    return False


def tips_of(problem: Problem, rtol: float) -> Tips | None:
    """Return where the surrogate of `problem` is unrolled at accuracy `rtol`, None if nowhere."""
    if not have_tips(problem):
        return None
    dynamics, quantizer = problem.dynamics, problem.weight_quantizer
    assert dynamics.walls is not None
    bound = dynamics.walls.high
    smooth = bound
    if quantizer is not None and quantizer.temperature > 0:
        smooth = min(bound, quantizer.temperature)
    inside = np.abs(dynamics.breaks)
    gap = bound - float(inside[inside < bound].max())
    return Tips(bound, max(min(_UNSEEN * rtol * smooth, 0.5 * gap), _LEAST * bound))


@dataclass(frozen=True, eq=False)
class _Unrolled:
    """An initial law as a density of x.

    Attributes
    ----------
    initial : Initial
        The density of w, of which what is within the bound counts.
    tips : Tips
        Where x is.
    """

    initial: Initial
    tips: Tips

    @property
    def gaussian(self) -> tuple[Array, Array]:
        """Means and deviations of the Gaussians among its classes, (K,); deviation 0 if it is none.

        What reaches the ends is no Gaussian.
        """
        mean, deviation = self.initial.gaussian  # type: ignore[attr-defined]
        whole = np.abs(mean) + REACH * deviation < self.tips.ends[1]
        return np.where(whole, mean, 1.0), np.where(whole, deviation, 0.0)

    def support(self, k: int) -> tuple[float, float]:
        """Interval that holds class k; where all of it is beyond the bound, one that is empty."""
        low, high = self.tips.places(np.array(self.initial.support(k))).tolist()
        width = min(self.scale(k), self.tips.ends[1])
        if low == high:
            low, high = (low, low + width) if low < 0.0 else (high - width, high)
        return low, high

    def scale(self, k: int) -> float:
        """A width at which to look first."""
        return self.initial.scale(k)

    def pdf(self, k: int, x: Array) -> Array:
        """Density of class k."""
        return self.initial.pdf(k, self.tips.weights(x)) * self.tips.slope(x)

    def masses(self, k: int, left: Array, right: Array) -> Array:
        """Masses of class k between points."""
        return self.initial.masses(k, self.tips.weights(left), self.tips.weights(right))


@dataclass(frozen=True, eq=False)
class _UnrolledElements(_Unrolled):
    """The same of a law that is smooth on elements only."""

    def elements(self, k: int) -> tuple[Array, Array]:
        """Left ends and widths of the elements on which class k is smooth."""
        given: Any = self.initial
        left, width = given.elements(k)
        ends = self.tips.places(np.append(left, left[-1] + width[-1]))
        low, high = self.tips.ends
        steps = self.tips.depth * _STEPS
        more = np.concatenate([low - steps, high + steps])
        edges = np.union1d(ends, more[(more > ends[0]) & (more < ends[-1])])
        return edges[:-1], np.diff(edges)


def unrolled(initial: Initial, tips: Tips | None) -> Initial:
    """Return an initial law in the coordinate x of `tips`."""
    if tips is None:
        return initial
    if hasattr(initial, "elements"):
        return _UnrolledElements(initial, tips)
    return _Unrolled(initial, tips)
