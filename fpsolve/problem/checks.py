"""Checks shared by everything the user chooses: one line, the value, what is allowed."""

from __future__ import annotations

import math
import numbers
import operator
from decimal import Decimal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.errors import ParameterError

__all__ = ["finite", "index_of_time", "integer", "readonly_vector", "requested_times"]

# Requested times a message names before it shows only their ends.
_MOST_SHOWN = 12


def finite(
    field: str,
    value: object,
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    hint: str = "",
) -> float:
    """Return `value` as a finite float that is > `above` and >= `least`, or raise."""
    bound = f" > {above:g}" if above > -math.inf else f" >= {least:g}" if least > -math.inf else ""
    allowed = f"must be a finite number{bound}{'; ' + hint if hint else ''}"
    if isinstance(value, bool | str | bytes):
        raise ParameterError(field, value, allowed)
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ParameterError(field, value, allowed) from None
    if not math.isfinite(number) or number <= above or number < least:
        raise ParameterError(field, value, allowed)
    return number


def integer(field: str, value: object, *, least: int, most: int | None = None) -> int:
    """Return `value` as an int within [least, most], or raise."""
    bound = f">= {least}" if most is None else f"from {least} to {most}"
    allowed = f"must be an integer {bound}"
    if isinstance(value, bool):
        raise ParameterError(field, value, allowed)
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        if not (isinstance(value, float) and value.is_integer()):
            raise ParameterError(field, value, allowed) from None
        number = int(value)
    if number < least or (most is not None and number > most):
        raise ParameterError(field, value, allowed)
    return number


def readonly_vector(field: str, values: ArrayLike, *, least_length: int = 1) -> NDArray[np.float64]:
    """Return a read-only 1-D float copy of `values`, all finite real numbers, or raise.

    Text, booleans, dates, complex numbers and masked entries are no numbers here.
    """
    allowed = f"must be a list of at least {least_length} finite number(s)"
    if not _is_numeric(values):
        raise ParameterError(field, values, allowed)
    try:
        vector = np.array(values, dtype=np.float64, ndmin=1)
    except (TypeError, ValueError, OverflowError):
        raise ParameterError(field, values, allowed) from None
    if vector.ndim != 1 or vector.size < least_length or not np.isfinite(vector).all():
        raise ParameterError(field, values, allowed)
    vector.flags.writeable = False
    return vector


def _is_numeric(values: object) -> bool:
    """Whether `values` holds real numbers only, before NumPy turns anything else into some."""
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        return False
    # NumPy makes numbers of booleans, and of text, among numbers.
    if isinstance(values, list | tuple) and any(
        isinstance(v, bool | np.bool_ | str | bytes) or v is np.ma.masked for v in values
    ):
        return False
    try:
        kind = np.asarray(values).dtype.kind
    except (TypeError, ValueError, OverflowError):
        return False
    # Integers beyond 64 bits, decimals and fractions are objects.
    return kind in "iuf" or (
        kind == "O" and all(_is_real(v) for v in np.asarray(values, dtype=object).ravel())
    )


def _is_real(value: object) -> bool:
    return isinstance(value, numbers.Real | Decimal) and not isinstance(value, bool | np.bool_)


def requested_times(times: ArrayLike, field: str = "times") -> NDArray[np.float64]:
    """Return the requested times τ (dimensionless): finite, >= 0, strictly increasing."""
    vector = readonly_vector(field, times)
    if vector[0] < 0:
        raise ParameterError(field, float(vector[0]), "must be >= 0; training starts at tau = 0")
    if (np.diff(vector) <= 0).any():
        raise ParameterError(field, times, "must increase strictly; sort them, drop duplicates")
    return vector


def index_of_time(times: NDArray[np.float64], time: object) -> int:
    """Return which of the increasing `times` is `time`, up to rounding, or raise naming them."""
    wanted = finite("time", time)
    nearest = int(np.abs(times - wanted).argmin())
    if abs(times[nearest] - wanted) > 1e-12 * abs(wanted):
        shown = [f"{t:.10g}" for t in times]
        if len(shown) > _MOST_SHOWN:
            shown = [*shown[:3], f"… {len(shown)} in all …", shown[-1]]
        raise ParameterError(
            "time", time, f"must be one of the requested times {', '.join(shown)}; solve for it too"
        )
    return nearest
