"""`ParticleTrajectory`: what `simulate_ste` and `simulate_sde` return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpsolve.display import Shown, span
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
        Weights w at those times.
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
    """

    problem: Problem
    times: Array
    weights: Array
    teacher_weights: Array
    order_parameters: OrderParameters
    dense_times: Array
    dense_order_parameters: OrderParameters
    stats: dict[str, Any]

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
