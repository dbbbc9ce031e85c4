"""A `Comparison` in a file: its rows as columns."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

from fpsolve.comparison.distances import Distance
from fpsolve.comparison.verdict import Comparison, DensityComparison, OrderParameterComparison
from fpsolve.problem.problem import Problem
from fpsolve.recording.layout import Label, read_variable, write_dimension, write_variable
from fpsolve.store.check import check_shape

__all__ = ["read", "write"]

_DISTANCES = ("wasserstein", "kolmogorov_smirnov", "binned_l1")
_PARTS = {"value": "as measured", "expected": "from sampling alone", "limit": "still explained"}
_DENSITY = ("time", "teacher_value", "count", "inflation")
_STATE = ("time", "particles", "density", "standard_errors", "limit")


def write(file: h5py.File, result: Comparison) -> None:
    """Write one variable a column; `agrees` and the false-alarm rate are attributes."""
    file.attrs["false_alarm_rate"] = result.false_alarm_rate
    file.attrs["agrees"] = int(result.agrees)
    rows = result.densities
    if rows:
        number = np.arange(len(rows), dtype=np.int32)
        write_dimension(file, "density_row", number, Label("comparison of a density"))
    for name in _DENSITY if rows else ():
        _column(file, f"density_{name}", [getattr(r, name) for r in rows], "density_row", name)
    for distance in _DISTANCES if rows else ():
        for part, text in _PARTS.items():
            values = [getattr(getattr(r, distance), part) for r in rows]
            _column(file, f"{distance}_{part}", values, "density_row", f"{distance}, {text}")
    if result.order_parameters:
        number = np.arange(len(result.order_parameters), dtype=np.int32)
        write_dimension(file, "row", number, Label("comparison of an order parameter"))
        names = [r.name for r in result.order_parameters]
        write_variable(file, "name", names, ("row",), Label("order parameter"))
        for name in _STATE:
            values = [getattr(r, name) for r in result.order_parameters]
            _column(file, name, values, "row", name.replace("_", " "))


def read(file: h5py.File, problem: Problem | None, stats: dict[str, Any]) -> Comparison:
    """Return what `write` wrote."""
    densities = []
    if "density_row" in file:
        plain = _columns(file, [f"density_{name}" for name in _DENSITY], "density_row")
        names = [f"{d}_{part}" for d in _DISTANCES for part in _PARTS]
        measured = _columns(file, names, "density_row")
        for row, values in zip(plain, measured, strict=True):
            triples = [Distance(*values[i : i + 3]) for i in (0, 3, 6)]
            densities.append(DensityComparison(*row, *triples))
    states = []
    if "row" in file:
        names = [bytes(text).decode() for text in read_variable(file, "name")]
        rows = _columns(file, list(_STATE), "row")
        states = [
            OrderParameterComparison(row[0], name, *row[1:])
            for name, row in zip(names, rows, strict=True)
        ]
    return Comparison(tuple(densities), tuple(states), float(file.attrs["false_alarm_rate"]))


def _column(file: h5py.File, name: str, values: list[Any], dimension: str, text: str) -> None:
    write_variable(file, name, values, (dimension,), Label(text))


def _columns(file: h5py.File, names: list[str], dimension: str) -> list[tuple[Any, ...]]:
    columns = [read_variable(file, name) for name in names]
    for name, column in zip(names, columns, strict=True):
        check_shape(name, column, (file[dimension].size,))
    return list(zip(*(column.tolist() for column in columns), strict=True))
