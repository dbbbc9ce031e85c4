"""A `SweepResult` in a file."""

from __future__ import annotations

import operator
from typing import Any

import h5py
import numpy as np

from fpsolve.problem.problem import Problem
from fpsolve.problem.toml import parse_problem
from fpsolve.store.layout import (
    Label,
    read_json,
    read_order_parameters,
    read_variable,
    write_dimension,
    write_json,
    write_order_parameters,
    write_variable,
)
from fpsolve.sweeps import SweepResult, axis_label

__all__ = ["read_sweep", "write_sweep"]


def write_sweep(file: h5py.File, result: SweepResult) -> None:
    """Write one dimension an axis, `time`, the order parameters over them, and `failed`."""
    numeric = {}
    for position, (name, values) in enumerate(result.axes.items()):
        labels = [axis_label(value) for value in values]
        numeric[name] = not any(isinstance(label, str) for label in labels)
        shown = labels if numeric[name] else [str(label) for label in labels]
        write_dimension(file, name, shown, Label(f"problem field {name}"))
        if not numeric[name]:  # text for readers; the values themselves as problems that hold them
            before = (0,) * position
            texts = [result.problem((*before, i)).to_toml() for i in range(len(values))]
            label = Label(f"problems with {name} varied")
            write_variable(file, _problems(name), texts, (name,), label)
    if "run" in result.dimensions:
        runs = np.arange(result.order_parameters.m.shape[-2], dtype=np.int32)
        write_dimension(file, "run", runs, Label("independent run"))
    write_dimension(file, "time", result.times, Label("time, steps/dimension", "tau"))
    write_order_parameters(file, result.order_parameters, result.dimensions)
    failed = np.zeros(result.shape, dtype=np.int8)
    for index in result.errors:
        failed[index] = 1
    write_variable(file, "failed", failed, tuple(result.axes), Label("1 where the solve failed"))
    errors = [{"index": list(index), "error": text} for index, text in result.errors.items()]
    write_json(file, "sweep", {"numeric": numeric, "errors": errors})
    write_json(file, "stats", result.stats)


def read_sweep(file: h5py.File, problem: Problem) -> SweepResult:
    """Return what `write_sweep` wrote."""
    about = read_json(file, "sweep")
    axes = {
        name: tuple(read_variable(file, name).tolist()) if numeric else _values(file, name)
        for name, numeric in about["numeric"].items()
    }
    return SweepResult(
        base=problem,
        axes=axes,
        times=read_variable(file, "time"),
        order_parameters=read_order_parameters(file),
        errors={tuple(entry["index"]): entry["error"] for entry in about["errors"]},
        stats=read_json(file, "stats"),
    )


def _values(file: h5py.File, name: str) -> tuple[Any, ...]:
    texts = [bytes(text).decode() for text in read_variable(file, _problems(name))]
    field = operator.attrgetter(name)
    return tuple(field(parse_problem(text, source=file.filename).problem) for text in texts)


def _problems(name: str) -> str:
    return f"{name}.problems"
