"""`ParticleTrajectory`: what `simulate_ste` and `simulate_sde` return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.display import Shown, span
from fpsolve.errors import ParameterError
from fpsolve.particles.population import class_labels
from fpsolve.particles.reduction import order_parameters_of
from fpsolve.particles.state import RunState
from fpsolve.problem.checks import requested_times
from fpsolve.problem.problem import Problem
from fpsolve.reduction import OrderParameters, order_parameter_variables

__all__ = ["ParticleTrajectory"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class ParticleTrajectory(Shown):
    """Weights of independent runs at the requested times, and their order parameters.

    Attributes
    ----------
    problem : Problem
        What was simulated.
    times : ndarray, shape (T,)
        Times τ = steps/d (dimensionless).
    weights : ndarray, shape (runs, T, d)
        Weights w at those times. Of a long run with `store=` they stay in its file, and are read
        as far as they are asked for.
    teacher_weights : ndarray, shape (runs, d)
        Teacher weights w*.
    order_parameters : OrderParameters
        Each of shape (runs, T), exact for the given weights.
    dense_times : ndarray, shape (M,)
        Finer times at which order parameters were recorded along the way.
    dense_order_parameters : OrderParameters
        Each of shape (runs, M).
    stats : dict
        "kind" ("ste" or "sde"), "seed" (entropy of the random streams), steps and settings.
    flip_counts : ndarray of int64, shape (runs, M, L), or None
        How often weights have passed each threshold until `dense_times`; None if not counted.
    state : RunState or None
        Where the runs ended, to go on from; None for a trajectory that was read or made.
    """

    problem: Problem
    times: Array
    weights: Array
    teacher_weights: Array
    order_parameters: OrderParameters
    dense_times: Array
    dense_order_parameters: OrderParameters
    stats: dict[str, Any]
    flip_counts: NDArray[np.int64] | None = None
    state: RunState | None = None

    @classmethod
    def from_arrays(
        cls,
        problem: Problem,
        times: ArrayLike,
        weights: ArrayLike,
        teacher_weights: ArrayLike,
        *,
        stats: Mapping[str, Any] | None = None,
    ) -> ParticleTrajectory:
        """Make a trajectory of weights from elsewhere; their order parameters are computed.

        Parameters
        ----------
        problem : Problem
            What was trained.
        times : array_like, shape (T,)
            Times τ = steps/d (dimensionless).
        weights : array_like, shape (runs, T, d)
            Weights w; (T, d) for one run.
        teacher_weights : array_like, shape (runs, d)
            Teacher weights w*, all of them values of `problem.teacher`; (d,) for all runs.
        stats : mapping, optional
            What to say of them; `compare` reads "kind" ("ste" where times are those of steps),
            "teacher_assignment" and "shared_initial".

        Raises
        ------
        ParameterError
            If shapes do not fit, a number is not finite, or a teacher weight is not the problem's.
        """
        told = {"kind": "ste", **(stats or {})}
        tau = requested_times(times)
        w = _finite_array("weights", weights)
        w = w[None] if w.ndim == 2 else w
        if w.ndim != 3 or w.shape[1] != tau.size or 0 in w.shape:
            raise ParameterError(
                "weights", w.shape, f"must have shape (runs, {tau.size}, d), one row a time"
            )
        star = _finite_array("teacher_weights", teacher_weights)
        star = np.tile(star, (w.shape[0], 1)) if star.ndim == 1 else star
        if star.shape != (w.shape[0], w.shape[2]):
            allowed = f"must have shape {(w.shape[0], w.shape[2])}, (runs, d)"
            raise ParameterError("teacher_weights", star.shape, allowed)
        assignment = str(told.get("teacher_assignment", "exact"))
        labels = class_labels(problem, star, assignment, told.get("seed"))
        values = order_parameters_of(problem, w, star, labels, tau)
        return cls(problem, tau, w, star, values, np.empty(0), values[:, :0], told)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class of each coordinate, an index into `problem.teacher.values`, shape (runs, d)."""
        assignment = str(self.stats.get("teacher_assignment", "exact"))
        return class_labels(self.problem, self.teacher_weights, assignment, self.stats.get("seed"))

    @property
    def frozen(self) -> Array:
        """Share of the weights that no longer move, shape (runs, T).

        They lie beyond the bound of a surrogate of slope 0; without one there are none.
        """
        walls = self.problem.dynamics.walls
        if walls is None or walls.kind != "absorb":
            return np.zeros(self.weights.shape[:2])
        return np.asarray((np.abs(self.weights) > walls.high).mean(axis=-1))

    @property
    def flip_rate(self) -> Array:
        """How often a weight passes each threshold in a step, shape (runs, M − 1, L).

        Averaged over the steps between two `dense_times`, and over the weights (dimensionless).

        Raises
        ------
        ParameterError
            If flips were not counted.
        """
        if self.flip_counts is None:
            allowed = "were not counted; pass count_flips=True to simulate_ste"
            raise ParameterError("flip_counts", None, allowed)
        dimension = self.weights.shape[-1]
        steps = np.rint(np.diff(self.dense_times) * dimension)
        return np.asarray(np.diff(self.flip_counts, axis=1) / (steps[:, None] * dimension))

    def _shown(self) -> dict[str, object]:
        runs, _, dimension = self.weights.shape
        return {
            "kind": self.stats.get("kind", "unknown"),
            "runs": runs,
            "dimension": dimension,
            "times": span(self.times),
            "generalization_error": span(self.order_parameters.generalization_error.mean(axis=0)),
            "seed": self.stats.get("seed", "unknown"),
        }

    def to_xarray(self) -> Any:
        """Return an `xarray.Dataset` over run, time, coordinate and dense_time (needs xarray)."""
        import xarray  # an optional companion, only here

        dense = order_parameter_variables(
            self.dense_order_parameters, ("run", "dense_time"), "dense_"
        )
        return xarray.Dataset(
            {
                "weights": (("run", "time", "coordinate"), self.weights),
                "teacher_weights": (("run", "coordinate"), self.teacher_weights),
                **order_parameter_variables(self.order_parameters, ("run", "time")),
                **dense,
            },
            coords={
                "run": np.arange(self.weights.shape[0]),
                "time": self.times,
                "dense_time": self.dense_times,
            },
            attrs={"problem": self.problem.to_toml()},
        )


def _finite_array(field: str, values: ArrayLike) -> Array:
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ParameterError(field, values, "must be an array of numbers") from None
    if not np.isfinite(array).all():
        raise ParameterError(field, values, "must be finite")
    return array
