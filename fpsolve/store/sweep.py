"""A `SweepResult` in a file."""

from __future__ import annotations

import json
import operator
from typing import Any

import h5py
import numpy as np

from fpsolve.problem.problem import Problem
from fpsolve.problem.toml import parse_problem
from fpsolve.recording.layout import (
    TIME,
    Label,
    read_variable,
    write_dimension,
    write_variable,
)
from fpsolve.reduction import ORDER_PARAMETER_NAMES, ORDER_PARAMETER_TEXTS
from fpsolve.store.check import check_shape
from fpsolve.sweeps.axes import axis_fields, axis_label
from fpsolve.sweeps.result import SweepResult

__all__ = ["read", "write"]


def write(file: h5py.File, result: SweepResult) -> None:
    """Write one dimension an axis, the inner ones, every array over them, `status` and `cost`."""
    numeric = {}
    for position, (name, values) in enumerate(result.axes.items()):
        labels = [axis_label(value) for value in values]
        numeric[name] = not any(isinstance(label, str) for label in labels)
        shown = labels if numeric[name] else [_short(label) for label in labels]
        write_dimension(file, name, shown, Label(f"problem field {name}"))
        if not numeric[name]:  # text for readers; the values themselves as problems that hold them
            before = (0,) * position
            texts = [result.problem((*before, i)).to_toml() for i in range(len(values))]
            label = Label(f"problems with {name} varied")
            write_variable(file, _problems(name), texts, (name,), label)
    for name, array in result.arrays.items():
        sizes = array.shape[len(result.axes) :]
        for inner, size in zip(result.inner[name], sizes, strict=True):
            if inner not in file:
                along = result.coordinates.get(inner, np.arange(size, dtype=np.int32))
                label = TIME if inner == "time" else Label(f"number of the {inner}")
                write_dimension(file, inner, along, label)
        dimensions = (*result.axes, *result.inner[name])
        text = ORDER_PARAMETER_TEXTS.get(name, f"{name} of {result.stats['solver']}")
        write_variable(file, name, array, dimensions, Label(text, name))
    status = Label("0 solved, 1 failed, 2 not reached")
    write_variable(file, "status", result.status, tuple(result.axes), status)
    write_variable(file, "cost", result.cost, tuple(result.axes), Label("seconds a point took"))
    errors = [{"index": list(index), "error": text} for index, text in result.errors.items()]
    about = {"numeric": numeric, "errors": errors, "inner": result.inner}
    file.attrs["sweep"] = json.dumps({**about, "coordinates": list(result.coordinates)})


def read(file: h5py.File, problem: Problem, stats: dict[str, Any]) -> SweepResult:
    """Return what `write` wrote."""
    about = json.loads(file.attrs["sweep"])
    axes = {
        name: tuple(read_variable(file, name).tolist()) if numeric else _values(file, name)
        for name, numeric in about["numeric"].items()
    }
    if "inner" not in about:  # Schema 1: order parameters over the axes and `time`, no costs.
        runs = file["m"].ndim - len(axes) - 1
        inner = ("run",) * runs + ("time",)
        about = {**about, "inner": dict.fromkeys(ORDER_PARAMETER_NAMES, inner)}
        about["coordinates"] = ["time"]
    arrays = {name: read_variable(file, name) for name in about["inner"]}
    lengths = tuple(len(values) for values in axes.values())
    for name, array in arrays.items():  # NaN where a point failed.
        check_shape(name, array, (*lengths, *array.shape[len(lengths) :]))
    cost = read_variable(file, "cost") if "cost" in file else np.full(lengths, np.nan)
    check_shape("cost", cost, lengths)
    return SweepResult(
        base=problem,
        axes=axes,
        arrays=arrays,
        inner={name: tuple(told) for name, told in about["inner"].items()},
        coordinates={name: read_variable(file, name) for name in about["coordinates"]},
        cost=cost,
        errors={tuple(entry["index"]): entry["error"] for entry in about["errors"]},
        stats=stats,
    )


def _values(file: h5py.File, name: str) -> tuple[Any, ...]:
    texts = [bytes(text).decode() for text in read_variable(file, _problems(name))]
    held = [parse_problem(text, source=name).problem for text in texts]
    fields = axis_fields(name)
    return tuple(operator.attrgetter(*fields)(p) if fields else p for p in held)


def _problems(name: str) -> str:
    return f"{name}.problems"


def _short(label: Any) -> str:
    return str(label)[:200]
