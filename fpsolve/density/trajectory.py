"""`DensityTrajectory`: what `solve_pde` returns, and what can be asked of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.density.cell_frame import CellFrame
from fpsolve.density.frame import Frame
from fpsolve.density.view import AnyFrame, shared_edges
from fpsolve.display import Shown, span
from fpsolve.errors import ParameterError
from fpsolve.problem.checks import finite, index_of_time, integer
from fpsolve.problem.problem import Problem
from fpsolve.reduction import OrderParameters, order_parameter_variables

__all__ = ["DensityTrajectory"]

Array = NDArray[np.float64]

# Bisections of a quantile of a mixture, between the quantiles of its parts.
_HALVINGS = 64


@dataclass(frozen=True, eq=False, repr=False)
class DensityTrajectory(Shown):
    """Densities μ_τ(w | w*_k) at the requested times, and their order parameters.

    Attributes
    ----------
    problem : Problem
        What was solved.
    times : ndarray, shape (T,)
        Times τ (dimensionless).
    frames : sequence of Frame, CellFrame or GaussianFrame, length T
        The densities as the solver knows them: `pdf`, `probability`, `quantile` and `sample` ask
        them, `edges` and `density` are a view of them. Of a run with `store=` they stay in its
        file, and are read when they are asked for.
    order_parameters : OrderParameters
        Each of shape (T,).
    dense_times : ndarray, shape (M,)
        τ = 0 and the end of every accepted step; for full precision, times close enough to draw.
    dense_order_parameters : OrderParameters
        Each of shape (M,).
    stats : dict
        How the integration went: scheme, steps, rejections, unknowns, error estimates,
        largest mass defect, smallest density relative to the largest.
    """

    problem: Problem
    times: Array
    frames: Sequence[AnyFrame]
    order_parameters: OrderParameters
    dense_times: Array
    dense_order_parameters: OrderParameters
    stats: dict[str, Any]

    def _shown(self) -> dict[str, object]:
        return {
            "times": span(self.times),
            "generalization_error": span(self.order_parameters.generalization_error),
            "teacher_values": self.problem.teacher.values.size,
            "scheme": self.stats.get("scheme", "unknown"),
            "steps": self.stats.get("steps", "unknown"),
        }

    @classmethod
    def from_cells(
        cls,
        problem: Problem,
        times: Array,
        edges: Array,
        density: Array,
        order_parameters: OrderParameters,
        stats: dict[str, Any],
    ) -> DensityTrajectory:
        """Return the trajectory of which only cell averages (T, K, N) on `edges` are known."""
        frames = tuple(CellFrame(edges, averages) for averages in density)
        return cls(problem, times, frames, order_parameters, times, order_parameters, stats)

    # --- cells: a view ---------------------------------------------------------------------------

    @cached_property
    def edges(self) -> Array:
        """Cell edges in w, (N + 1,), one mesh for all times; thresholds in its range are edges.

        Raises
        ------
        ParameterError
            If the cell averages of all times would not fit in memory.
        """
        quantizer = self.problem.weight_quantizer
        thresholds = np.empty(0) if quantizer is None else quantizer.thresholds
        return shared_edges(self.frames, thresholds)

    @cached_property
    def density(self) -> Array:
        """Cell averages of μ_τ(w | w*_k), (T, K, N), in the order of `problem.teacher.values`.

        An atom counts in the cell that holds it. Computed when first asked for, then kept.
        """
        return np.stack([f.cell_averages(self.edges) for f in self.frames])

    @property
    def smooth_density(self) -> Array:
        """The same without point masses, (T, K, N): what can be drawn beside a histogram."""
        held = [f.atoms.cell_masses(self.edges) if isinstance(f, Frame) else 0 for f in self.frames]
        width = np.diff(self.edges)
        return np.stack([d - h / width for d, h in zip(self.density, held, strict=True)])

    @property
    def centers(self) -> Array:
        """Cell centres in w, shape (N,)."""
        return 0.5 * (self.edges[1:] + self.edges[:-1])

    @property
    def masses(self) -> Array:
        """Cell masses of each conditional density, shape (T, K, N)."""
        return self.density * np.diff(self.edges)

    # --- questions -------------------------------------------------------------------------------

    @property
    def frozen(self) -> Array:
        """Share of weights beyond absorbing walls, which do not move any more, shape (T,).

        They are those whose surrogate is 0: at a triangular one, those that started beyond its
        bound. Without such a surrogate there are none.
        """
        walls, share = self.problem.dynamics.walls, self.problem.teacher.probabilities
        if walls is None or walls.kind != "absorb":
            return np.zeros(self.times.size)
        out = np.empty((self.times.size, share.size))
        for i, frame in enumerate(self.frames):
            for k in range(share.size):
                low = frame.probability(k, -math.inf, walls.low)
                out[i, k] = low + frame.probability(k, walls.high, math.inf)
        return np.asarray(out @ share)

    def pdf(self, w: ArrayLike, time: float, teacher: float | None = None) -> Any:
        """Return the density of the weights at points `w`, as exact as the solve itself.

        Parameters
        ----------
        w : array_like
            Weights (dimensionless).
        time : float
            One of the requested times.
        teacher : float, optional
            Teacher value to condition on; by default the marginal over the teacher's law.

        Returns
        -------
        float or ndarray, shape of `w`
            Density; point masses (see `frozen`) have none and are left out.

        Raises
        ------
        ParameterError
            If `w` is not a list of numbers, or `time` or `teacher` is none of those solved for.
        """
        points, frame = _points("w", w), self._frame(time)
        mixed = self._mixed(teacher, lambda k: frame.pdf(k, points))
        return mixed if points.ndim else float(mixed)

    def probability(
        self, low: float, high: float, time: float, teacher: float | None = None
    ) -> float:
        """Return the probability that a weight lies in [low, high], point masses included.

        Parameters
        ----------
        low, high : float
            Ends of the interval, −inf and inf allowed (dimensionless).
        time, teacher
            As for `pdf`.

        Raises
        ------
        ParameterError
            If `low` > `high`, or `time` or `teacher` is none of those solved for.
        """
        if not low <= high:
            raise ParameterError("low", low, f"must be <= high = {high:g}; swap them")
        frame = self._frame(time)
        begin, end = float(low), float(high)
        return float(self._mixed(teacher, lambda k: np.array(frame.probability(k, begin, end))))

    def quantile(self, p: ArrayLike, time: float, teacher: float | None = None) -> Any:
        """Return the least weight at or below which there is probability `p`.

        Parameters
        ----------
        p : array_like
            Probabilities in (0, 1).
        time, teacher
            As for `pdf`.

        Returns
        -------
        float or ndarray, shape of `p`
            Weights (dimensionless).

        Raises
        ------
        ParameterError
            If `p` leaves (0, 1), or `time` or `teacher` is none of those solved for.
        """
        wanted, frame = _points("p", p), self._frame(time)
        if not ((wanted > 0) & (wanted < 1)).all():
            raise ParameterError("p", p, "must lie strictly between 0 and 1")
        which = self._classes(teacher)[0]
        parts = np.stack([frame.quantile(int(k), wanted) for k in which])
        # The quantile of a mixture lies between those of its parts.
        low, high = parts.min(axis=0), parts.max(axis=0)
        if low.size and (high > low).any():
            for _ in range(_HALVINGS):
                middle = 0.5 * (low + high)
                below = self._mixed(teacher, partial(_cdf, frame, middle)) < wanted
                low, high = np.where(below, middle, low), np.where(below, high, middle)
        return high if wanted.ndim else float(high)

    def sample(
        self,
        n: int,
        time: float,
        seed: int | None = None,
        teacher: float | None = None,
        *,
        labels: bool = False,
    ) -> Any:
        """Draw independent weights from the density, by inverting its distribution function.

        Parameters
        ----------
        n : int
            How many.
        time, teacher
            As for `pdf`.
        seed : int, optional
            Seed of the draw; a fresh one by default.
        labels : bool, default False
            Whether to return the teacher value of every weight too.

        Returns
        -------
        weights : ndarray, shape (n,)
            Weights (dimensionless).
        teacher_values : ndarray, shape (n,)
            With `labels`, what each weight's w* is.

        Raises
        ------
        ParameterError
            If `n` or `seed` is no integer >= 0, or `time` or `teacher` is none of those solved for.
        """
        count, frame = integer("n", n, least=0), self._frame(time)
        entropy = None if seed is None else integer("seed", seed, least=0)
        generator = np.random.default_rng(entropy)
        which, share = self._classes(teacher)
        drawn = generator.choice(which, size=count, p=share)
        # Never 0 or 1: half a unit of the generator's 53 bits away from both.
        p = generator.random(count) * (1 - 2.0**-53) + 2.0**-54
        weights = np.empty(count)
        for k in which:
            mine = drawn == k
            weights[mine] = frame.quantile(int(k), p[mine])
        return (weights, self.problem.teacher.values[drawn]) if labels else weights

    def to_xarray(self) -> Any:
        """Return an `xarray.Dataset` over time, teacher, w and dense_time (needs xarray)."""
        import xarray  # an optional companion, only here

        teacher, state = self.problem.teacher, self.order_parameters
        dense = order_parameter_variables(self.dense_order_parameters, ("dense_time",), "dense_")
        return xarray.Dataset(
            {
                "density": (("time", "teacher", "w"), self.density),
                "frozen": (("time",), self.frozen),
                **order_parameter_variables(state, ("time",)),
                **dense,
            },
            coords={
                "time": self.times,
                "teacher": teacher.values,
                "teacher_probability": ("teacher", teacher.probabilities),
                "w": self.centers,
                "w_edges": self.edges,
                "dense_time": self.dense_times,
            },
            attrs={"problem": self.problem.to_toml()},
        )

    def _frame(self, time: float) -> AnyFrame:
        return self.frames[index_of_time(self.times, time)]

    def _classes(self, teacher: float | None) -> tuple[NDArray[np.int64], Array]:
        """Which densities make up what is asked for, and their shares, which add up to 1."""
        law = self.problem.teacher
        if teacher is None:
            return np.arange(law.values.size), law.probabilities
        wanted = finite("teacher", teacher)
        which = np.flatnonzero(np.abs(law.values - wanted) <= 1e-12 * abs(wanted))
        if not which.size:
            shown = [f"{v:.10g}" for v in law.values[:8]]
            more = f" … ({law.values.size} in all)" if law.values.size > 8 else ""
            allowed = f"must be one of the teacher's values {', '.join(shown)}{more}"
            raise ParameterError("teacher", teacher, f"{allowed}; None gives the marginal")
        total = math.fsum(law.probabilities[which])
        return which, law.probabilities[which] / total

    def _mixed(self, teacher: float | None, part: Callable[[int], Array]) -> Array:
        which, share = self._classes(teacher)
        return np.asarray(sum(s * part(int(k)) for k, s in zip(which, share, strict=True)))


def _cdf(frame: AnyFrame, w: Array, k: int) -> Array:
    return frame.cdf(k, w)


def _points(field: str, values: ArrayLike) -> Array:
    allowed = "must be a finite number or an array of them"
    try:
        points = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ParameterError(field, values, allowed) from None
    if not np.isfinite(points).all():
        raise ParameterError(field, values, allowed)
    return points
