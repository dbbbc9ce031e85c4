"""Fixed points of the isotropic closure in a file: one or all of a problem."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

from fpsolve.errors import StoreError
from fpsolve.macro.fixed_points import FixedPoint
from fpsolve.problem.problem import Problem
from fpsolve.recording.layout import (
    Label,
    read_order_parameters,
    read_variable,
    write_dimension,
    write_order_parameters,
    write_variable,
)
from fpsolve.reduction import ORDER_PARAMETER_NAMES, OrderParameters
from fpsolve.store.check import check_finite, check_shape, check_state

__all__ = ["read", "write"]


def write(file: h5py.File, result: FixedPoint | tuple[FixedPoint, ...]) -> None:
    """Write order parameters and eigenvalues over `fixed_point`."""
    points = result if isinstance(result, tuple) else (result,)
    if any(point.problem != points[0].problem for point in points):
        raise StoreError("the fixed points belong to several problems; save them one by one")
    file.attrs["single"] = int(not isinstance(result, tuple))
    number = np.arange(len(points), dtype=np.int32)
    write_dimension(file, "fixed_point", number, Label("number of the fixed point"))
    columns = {
        name: np.array([float(getattr(p.order_parameters, name)) for p in points])
        for name in ORDER_PARAMETER_NAMES
    }
    write_order_parameters(file, OrderParameters(**columns), ("fixed_point",))
    eigenvalues = np.stack([np.asarray(p.eigenvalues) for p in points])
    number = np.arange(eigenvalues.shape[1], dtype=np.int32)
    write_dimension(file, "eigenvalue", number, Label("number of the eigenvalue"))
    file.attrs["complex"] = int(np.iscomplexobj(eigenvalues))
    axes = ("fixed_point", "eigenvalue")
    label = Label("eigenvalue of the Jacobian, real part, per unit tau")
    write_variable(file, "eigenvalues_real", eigenvalues.real, axes, label)
    label = Label("eigenvalue of the Jacobian, imaginary part, per unit tau")
    write_variable(file, "eigenvalues_imag", eigenvalues.imag, axes, label)


def read(
    file: h5py.File, problem: Problem, stats: dict[str, Any]
) -> FixedPoint | tuple[FixedPoint, ...]:
    """Return what `write` wrote."""
    state = read_order_parameters(file)
    real = read_variable(file, "eigenvalues_real")
    imag = read_variable(file, "eigenvalues_imag")
    check_state(state, real.shape[:1])
    check_shape("eigenvalues_imag", imag, real.shape)
    check_finite("eigenvalues_real", real)
    eigenvalues = real + 1j * imag if file.attrs["complex"] == 1 else real
    points = tuple(
        FixedPoint(problem, state[i], eigenvalues[i]) for i in range(eigenvalues.shape[0])
    )
    return points[0] if file.attrs["single"] == 1 else points
