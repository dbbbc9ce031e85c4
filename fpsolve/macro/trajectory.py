"""`MacroTrajectory`: what `solve_ode` returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpsolve.problem.problem import Problem
from fpsolve.reduction import OrderParameters

__all__ = ["MacroTrajectory"]


@dataclass(frozen=True, eq=False)
class MacroTrajectory:
    """Order parameters of the isotropic closure at the requested times.

    Attributes
    ----------
    problem : Problem
        What was solved.
    times : ndarray, shape (T,)
        Times τ (dimensionless).
    order_parameters : OrderParameters
        Each of shape (T,).
    stats : dict
        How the integration went (steps, evaluations).
    """

    problem: Problem
    times: NDArray[np.float64]
    order_parameters: OrderParameters
    stats: dict[str, Any]
