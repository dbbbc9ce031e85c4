"""Stationary states in a file: one or all of a problem."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

from fpsolve.errors import StoreError
from fpsolve.macro.stationary import StationaryState
from fpsolve.problem.problem import Problem
from fpsolve.recording.layout import (
    ORDER_PARAMETER_LABELS,
    Label,
    read_variable,
    write_dimension,
    write_variable,
)

__all__ = ["read", "write"]

_ERROR = "generalization_error"


def write(file: h5py.File, result: StationaryState | tuple[StationaryState, ...]) -> None:
    """Write ε_g of every state, which defines it, and what readers would compute from it."""
    states = result if isinstance(result, tuple) else (result,)
    if any(state.problem != states[0].problem for state in states):
        raise StoreError("the states belong to several problems; save them one by one")
    file.attrs["single"] = int(not isinstance(result, tuple))
    number = np.arange(len(states), dtype=np.int32)
    write_dimension(file, "state", number, Label("number of the state"))
    for name, label in ORDER_PARAMETER_LABELS.items():
        values = [float(getattr(state.order_parameters, name)) for state in states]
        write_variable(file, name, values, ("state",), label)
    label = Label("decay rate of a small perturbation at late times, per unit tau")
    rates = [state.relaxation_rate for state in states]
    write_variable(file, "relaxation_rate", rates, ("state",), label)
    stable = np.array([state.stable for state in states], dtype=np.int8)
    write_variable(file, "stable", stable, ("state",), Label("1 where no perturbation grows"))


def read(
    file: h5py.File, problem: Problem, stats: dict[str, Any]
) -> StationaryState | tuple[StationaryState, ...]:
    """Return what `write` wrote; all but ε_g is computed anew from the problem."""
    errors = read_variable(file, _ERROR)
    if errors.ndim != 1 or not (np.isfinite(errors) & (errors >= 0)).all():
        raise StoreError(f"is damaged: {_ERROR} must be finite and >= 0")
    states = tuple(StationaryState(problem, float(error)) for error in errors)
    return states[0] if file.attrs["single"] == 1 else states
