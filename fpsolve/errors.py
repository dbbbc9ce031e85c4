"""The exceptions fpsolve raises on purpose."""

from __future__ import annotations

__all__ = ["FpsolveError", "ParameterError", "SolveError", "StoreError"]


class FpsolveError(Exception):
    """Base of every exception raised on purpose by fpsolve."""


class ParameterError(FpsolveError, ValueError):
    """A value the user chose is outside what the theory or the numerics allow.

    Parameters
    ----------
    field : str
        Name of the offending argument, as the user spells it.
    value : object
        What was given.
    allowed : str
        What is allowed, and how to get there.
    """

    def __init__(self, field: str, value: object, allowed: str) -> None:
        # What was left out has no value to show: "omega is missing; …", not "omega = None: …".
        absent = value is None and allowed.startswith(("is missing", "are missing"))
        given = field if absent else f"{field} = {_short(value)}:"
        super().__init__(f"{given} {allowed}")
        self.field = field
        self.value = value
        self.allowed = allowed


class SolveError(FpsolveError, RuntimeError):
    """An integration ended before its last requested time.

    Parameters
    ----------
    message : str
        Why it ended and what to change.
    time : float
        Last time τ that was reached (dimensionless).
    step : float
        Step size in τ that was tried last (dimensionless).
    partial : optional
        The trajectory up to the last requested time that was reached; None if there is none.
    """

    def __init__(self, message: str, *, time: float, step: float, partial: object = None) -> None:
        super().__init__(f"stopped at tau = {time:.6g} (step {step:.3g}): {message}")
        self.time = time
        self.step = step
        self.partial = partial


class StoreError(FpsolveError, OSError):
    """A result file cannot be written, read, or is not one of fpsolve's."""


def _short(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 200 else text[:197] + "..."
