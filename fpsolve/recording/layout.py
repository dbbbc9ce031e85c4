"""Labelled arrays in an HDF5 file, as netCDF-4 wants them: dimension scales, units, names."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.errors import StoreError
from fpsolve.reduction import ORDER_PARAMETER_NAMES, ORDER_PARAMETER_TEXTS, OrderParameters

__all__ = [
    "ORDER_PARAMETER_LABELS",
    "TIME",
    "Label",
    "create_variable",
    "read_order_parameters",
    "read_variable",
    "write_dimension",
    "write_order_parameters",
    "write_variable",
]

# Bytes in one chunk: a reader that wants one time decompresses little else.
_CHUNK_BYTES = 2**22
# Bytes in one chunk of what grows: few enough that rewriting the last one costs little.
_GROWN_BYTES = 2**14
# The same of numbers that do not compress: a chunk is written once, or twice.
_NOISE_BYTES = 2**18
# Fletcher-32 lets every reader notice a damaged chunk.
_FILTERS: dict[str, Any] = {
    "compression": "gzip",
    "compression_opts": 4,
    "shuffle": True,
    "fletcher32": True,
}
# Digits of weights are noise: gzip would take 6 % off the file and more time than the simulation.
_NOISE_FILTERS: dict[str, Any] = {"fletcher32": True}


@dataclass(frozen=True)
class Label:
    """What a reader is told about an array: a sentence, and the paper's symbol."""

    long_name: str
    symbol: str = ""


TIME = Label("time, steps/dimension", "tau")
_SYMBOLS = {"generalization_error": "epsilon_g"}
ORDER_PARAMETER_LABELS = {
    name: Label(text, _SYMBOLS.get(name, name)) for name, text in ORDER_PARAMETER_TEXTS.items()
}


def write_dimension(file: h5py.File, name: str, values: ArrayLike, label: Label) -> None:
    """Write 1-D `values` as the dimension `name` and as its coordinate."""
    array = np.asarray(values)
    if array.ndim != 1 or array.size == 0:
        raise StoreError(f"{name}: must be a non-empty list of numbers, not shape {array.shape}")
    dataset = _dataset(file, name, array, label)
    dataset.make_scale(name)


def write_variable(
    file: h5py.File, name: str, values: ArrayLike, dimensions: tuple[str, ...], label: Label
) -> None:
    """Write `values` over dimensions written before; `StoreError` if shapes do not match."""
    array = np.asarray(values)
    expected = tuple(file[dimension].size for dimension in dimensions)
    if array.shape != expected:
        over = ", ".join(dimensions)
        raise StoreError(f"{name}: has shape {array.shape}, but ({over}) has shape {expected}")
    dataset = _dataset(file, name, array, label)
    for axis, dimension in enumerate(dimensions):
        dataset.dims[axis].attach_scale(file[dimension])


def read_variable(file: h5py.File, name: str) -> NDArray[Any]:
    """Return the whole array `name`; `StoreError` if the file has none."""
    if name not in file:
        raise StoreError(f"has no variable {name!r}; the file is damaged")
    return np.asarray(file[name][...])


def write_order_parameters(
    file: h5py.File, state: OrderParameters, dimensions: tuple[str, ...], prefix: str = ""
) -> None:
    """Write the seven order parameters under their Python names."""
    for name, label in ORDER_PARAMETER_LABELS.items():
        write_variable(file, prefix + name, getattr(state, name), dimensions, label)


def read_order_parameters(file: h5py.File, prefix: str = "") -> OrderParameters:
    """Return what `write_order_parameters` wrote."""
    return OrderParameters(
        **{name: read_variable(file, prefix + name) for name in ORDER_PARAMETER_NAMES}
    )


def create_variable(
    file: h5py.Group,
    name: str,
    dtype: Any,
    shape: tuple[int, ...],
    label: Label,
    *,
    growing: int | None = None,
    noise: bool = False,
) -> h5py.Dataset:
    """Return a new, empty numeric variable; axis number `growing` may be extended later.

    `noise` says that compression would be in vain.
    """
    whole = list(shape)
    grown = _NOISE_BYTES if noise else _GROWN_BYTES
    if growing is not None:
        itemsize = np.dtype(dtype).itemsize
        row = itemsize * math.prod(n for axis, n in enumerate(shape) if axis != growing)
        whole[growing] = max(1, grown // max(row, 1))
    chunks = _chunks(tuple(whole), np.dtype(dtype).itemsize)
    if growing is not None:
        chunks = (*chunks[:growing], whole[growing], *chunks[growing + 1 :])
    most = tuple(None if axis == growing else n for axis, n in enumerate(shape))
    dataset = file.create_dataset(
        name,
        shape=shape,
        dtype=dtype,
        chunks=chunks,
        maxshape=most,
        **(_NOISE_FILTERS if noise else _FILTERS),
    )
    _describe(dataset, label, text=False)
    return dataset


def _dataset(file: h5py.File, name: str, array: NDArray[Any], label: Label) -> h5py.Dataset:
    text = array.dtype.kind in "OUS"
    options: dict[str, Any] = {}
    if not text and array.ndim > 0 and array.size > 0:
        options = {"chunks": _chunks(array.shape, array.itemsize), **_FILTERS}
    data = array.astype(object) if text else array
    dtype = h5py.string_dtype() if text else array.dtype
    dataset = file.create_dataset(name, data=data, dtype=dtype, **options)
    _describe(dataset, label, text=text)
    return dataset


def _describe(dataset: h5py.Dataset, label: Label, *, text: bool) -> None:
    dataset.attrs["long_name"] = label.long_name
    if not text:
        dataset.attrs["units"] = "1"
    if label.symbol:
        dataset.attrs["symbol"] = label.symbol


def _chunks(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """One chunk holds as much of the last axes as fits, so that times are apart from each other."""
    room = _CHUNK_BYTES // itemsize
    chunks = [1] * len(shape)
    for axis in reversed(range(max(len(shape) - 2, 0), len(shape))):
        chunks[axis] = max(min(shape[axis], room), 1)
        room = max(room // chunks[axis], 1)
    return tuple(chunks)
