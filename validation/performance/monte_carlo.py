"""Peer by simulation: particles of the limiting equation, coupled through their own ε_g."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fpsolve import simulate_sde
from validation.performance.cases import Case

__all__ = ["particles"]

Array = NDArray[np.float64]


def particles(case: Case, count: int, *, step: float, seed: int) -> Array:
    """Return ε_g at the times of the case from `count` Euler–Maruyama particles on one thread."""
    cloud = simulate_sde(
        case.problem,
        case.times,
        particles=count,
        seed=seed,
        max_step=step,
        dense_times=case.times,
        threads=1,
    )
    return cloud.order_parameters.generalization_error[0]
