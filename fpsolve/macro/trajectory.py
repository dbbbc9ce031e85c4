"""`MacroTrajectory`: what `solve_ode` returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpsolve.display import Shown, span
from fpsolve.problem.problem import Problem
from fpsolve.reduction import OrderParameters, order_parameter_variables

__all__ = ["MacroTrajectory"]


@dataclass(frozen=True, eq=False, repr=False)
class MacroTrajectory(Shown):
    """Order parameters of the isotropic closure at the requested times.

    Attributes
    ----------
    problem : Problem
        What was solved.
    times : ndarray, shape (T,)
        Times τ (dimensionless).
    order_parameters : OrderParameters
        Each of shape (T,).
    dense_times : ndarray, shape (M,)
        τ = 0 and the end of every accepted step.
    dense_order_parameters : OrderParameters
        Each of shape (M,).
    stats : dict
        How the integration went (steps, evaluations).
    """

    problem: Problem
    times: NDArray[np.float64]
    order_parameters: OrderParameters
    dense_times: NDArray[np.float64]
    dense_order_parameters: OrderParameters
    stats: dict[str, Any]

    def _shown(self) -> dict[str, object]:
        return {
            "times": span(self.times),
            "generalization_error": span(self.order_parameters.generalization_error),
            "steps": self.stats.get("steps", "unknown"),
        }

    def to_xarray(self) -> Any:
        """Return an `xarray.Dataset` over time and dense_time (needs xarray)."""
        import xarray  # an optional companion, only here

        dense = order_parameter_variables(self.dense_order_parameters, ("dense_time",), "dense_")
        return xarray.Dataset(
            {**order_parameter_variables(self.order_parameters, ("time",)), **dense},
            coords={"time": self.times, "dense_time": self.dense_times},
            attrs={"problem": self.problem.to_toml()},
        )
