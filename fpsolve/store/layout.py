"""Labelled arrays in an HDF5 file, as netCDF-4 wants them: dimension scales, units, names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.errors import StoreError
from fpsolve.reduction import ORDER_PARAMETER_NAMES, ORDER_PARAMETER_TEXTS, OrderParameters

__all__ = [
    "Label",
    "read_json",
    "read_order_parameters",
    "read_variable",
    "write_dimension",
    "write_json",
    "write_order_parameters",
    "write_variable",
]

# Bytes in one chunk: a reader that wants one time decompresses little else.
_CHUNK_BYTES = 2**22
_COMPRESSION = {"compression": "gzip", "compression_opts": 4, "shuffle": True}


@dataclass(frozen=True)
class Label:
    """What a reader is told about an array: a sentence, and the paper's symbol."""

    long_name: str
    symbol: str = ""


_SYMBOLS = {"generalization_error": "epsilon_g"}
_ORDER_PARAMETER_LABELS = {
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
        raise StoreError(f"{file.filename}: has no variable {name!r}; the file is damaged")
    return np.asarray(file[name][...])


def write_order_parameters(
    file: h5py.File, state: OrderParameters, dimensions: tuple[str, ...], prefix: str = ""
) -> None:
    """Write the seven order parameters under their Python names."""
    for name, label in _ORDER_PARAMETER_LABELS.items():
        write_variable(file, prefix + name, getattr(state, name), dimensions, label)


def read_order_parameters(file: h5py.File, prefix: str = "") -> OrderParameters:
    """Return what `write_order_parameters` wrote."""
    return OrderParameters(
        **{name: read_variable(file, prefix + name) for name in ORDER_PARAMETER_NAMES}
    )


def write_json(file: h5py.File, name: str, content: Mapping[str, Any]) -> None:
    """Write a dictionary of plain values as a root attribute in JSON."""
    try:
        file.attrs[name] = json.dumps(content, default=_plain)
    except TypeError as error:
        raise StoreError(f"{name}: {error}; only numbers, strings, lists and dicts") from None


def read_json(file: h5py.File, name: str) -> dict[str, Any]:
    """Return what `write_json` wrote."""
    if name not in file.attrs:
        raise StoreError(f"{file.filename}: has no attribute {name!r}; the file is damaged")
    return dict(json.loads(file.attrs[name]))


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"a value of type {type(value).__name__} cannot be stored")


def _dataset(file: h5py.File, name: str, array: NDArray[Any], label: Label) -> h5py.Dataset:
    text = array.dtype.kind in "OUS"
    options: dict[str, Any] = {}
    if not text and array.ndim > 0:
        options = {"chunks": _chunks(array), **_COMPRESSION}
    data = array.astype(object) if text else array
    dtype = h5py.string_dtype() if text else array.dtype
    dataset = file.create_dataset(name, data=data, dtype=dtype, **options)
    dataset.attrs["long_name"] = label.long_name
    if not text:
        dataset.attrs["units"] = "1"
    if label.symbol:
        dataset.attrs["symbol"] = label.symbol
    return dataset


def _chunks(array: NDArray[Any]) -> tuple[int, ...]:
    """One chunk holds as much of the last axes as fits, so that times are apart from each other."""
    room = _CHUNK_BYTES // array.itemsize
    chunks = [1] * array.ndim
    for axis in reversed(range(max(array.ndim - 2, 0), array.ndim)):
        chunks[axis] = min(array.shape[axis], room)
        room = max(room // chunks[axis], 1)
    return tuple(chunks)
