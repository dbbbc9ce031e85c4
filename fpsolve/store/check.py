"""What every stored result must satisfy, whoever wrote it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpsolve.errors import StoreError
from fpsolve.reduction import ORDER_PARAMETER_NAMES, OrderParameters

__all__ = ["check_density", "check_finite", "check_shape", "check_state", "check_times"]

Array = NDArray[np.float64]

# A solve keeps the mass to 1e-10; this leaves room for sums over many cells.
_MASS = 1e-8


def check_times(times: Array, name: str = "time") -> None:
    """Refuse times that are not finite, not increasing, or negative."""
    if times.ndim != 1 or times.dtype != np.float64:
        raise StoreError(f"is damaged: {name} is no list of numbers")
    if not np.isfinite(times).all() or (np.diff(times) <= 0).any() or (times < 0).any():
        raise StoreError(f"is damaged: {name} must be finite, >= 0 and increase")


def check_finite(name: str, values: NDArray[Any]) -> None:
    """Refuse NaN and infinity."""
    if not np.isfinite(values).all():
        raise StoreError(f"is damaged: {name} is not finite everywhere")


def check_shape(name: str, values: NDArray[Any], shape: tuple[int, ...]) -> None:
    """Refuse an array of another shape."""
    if values.shape != shape:
        raise StoreError(f"is damaged: {name} has shape {values.shape}, must be {shape}")


def check_state(state: OrderParameters, shape: tuple[int, ...], *, finite: bool = True) -> None:
    """Refuse order parameters of another shape, and those that are not finite."""
    for name in ORDER_PARAMETER_NAMES:
        values = getattr(state, name)
        check_shape(name, values, shape)
        if finite:
            check_finite(name, values)


def check_density(density: Array, edges: Array, shape: tuple[int, ...]) -> None:
    """Refuse conditional densities that are not finite or whose mass is not 1."""
    check_finite("w_edges", edges)
    if edges.ndim != 1 or edges.size < 2 or (np.diff(edges) <= 0).any():
        raise StoreError("is damaged: w_edges must increase")
    check_shape("density", density, (*shape, edges.size - 1))
    check_finite("density", density)
    defect = np.abs(density @ np.diff(edges) - 1.0)
    if defect.size and defect.max() > _MASS:
        raise StoreError(f"is damaged: the mass of a density is off by {defect.max():.2g}")
