"""Labelled arrays in an HDF5 file, as netCDF-4 wants them: dimension scales, units, names."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.errors import StoreError
from fpsolve.reduction import ORDER_PARAMETER_NAMES, ORDER_PARAMETER_TEXTS, OrderParameters

__all__ = [
    "ONE_PIECE",
    "ORDER_PARAMETER_LABELS",
    "TIME",
    "Label",
    "create_array",
    "create_variable",
    "expected_size",
    "fill",
    "fill_part",
    "read_order_parameters",
    "read_variable",
    "write_attribute",
    "write_dimension",
    "write_order_parameters",
    "write_variable",
]

# Bytes in one chunk: a reader that wants one time decompresses little else.
_CHUNK_BYTES = 2**22
# Bytes in one chunk of what grows: few enough that rewriting the last one costs little.
_GROWN_BYTES, _LEAST_BYTES = 2**14, 2**9
# The same of numbers that do not compress: a chunk is written once, or twice.
_NOISE_BYTES = 2**18
# Values in a chunk of what goes on for an unknown time, at least.
_SMALL_CHUNK = 2**9
# A length that nothing reaches.
_LARGE = 2**62
# Fletcher-32 lets every reader notice a damaged chunk.
_FILTERS: dict[str, Any] = {
    "compression": "gzip",
    "compression_opts": 4,
    "shuffle": True,
    "fletcher32": True,
}
_TEXT = h5py.string_dtype()
# How a file holds texts, and how h5py's arrays of Python's strings do.
_STORED_TEXT, _HELD_TEXT = h5py.h5t.py_create(_TEXT, logical=True), h5py.h5t.py_create(_TEXT)
_SCALAR = h5py.h5s.create(h5py.h5s.SCALAR)
# An array no larger than this that never grows is stored as one piece, which costs least.
ONE_PIECE = 2**13


@dataclass(frozen=True)
class Label:
    """What a reader is told about an array: a sentence, and the paper's symbol."""

    long_name: str
    symbol: str = ""

    def attributes(self, *, text: bool = False) -> dict[str, str]:
        """Return what a variable says about itself."""
        told = {"long_name": self.long_name}
        if not text:
            told["units"] = "1"
        if self.symbol:
            told["symbol"] = self.symbol
        return told


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
    group: h5py.h5g.GroupID | h5py.h5f.FileID,
    name: str,
    dtype: Any,
    shape: tuple[int, ...],
    label: Label | None,
    *,
    growing: int | None = None,
    noise: bool = False,
    expected: int = _LARGE,
) -> h5py.h5d.DatasetID:
    """Return a new, empty numeric variable; axis number `growing` may be extended later.

    `noise` says that compression would be in vain: digits of weights and of densities are noise,
    from which gzip takes a few per cent, in more time than many a solve. `expected` is the length
    to which it will grow, if that is known; chunks are no larger than that.

    This and the functions below speak to HDF5 without h5py's comforts, which for what a run writes
    again and again take several times as long as HDF5 itself.
    """
    itemsize = np.dtype(dtype).itemsize
    whole = list(shape)
    if growing is not None:
        row = max(itemsize * math.prod(n for axis, n in enumerate(shape) if axis != growing), 1)
        most = _NOISE_BYTES if noise else _GROWN_BYTES
        whole[growing] = max(1, min(most // row, max(expected, _LEAST_BYTES // row)))
    chunks = _chunks(tuple(whole), itemsize)
    if growing is not None:
        chunks = (*chunks[:growing], whole[growing], *chunks[growing + 1 :])
    limits = tuple(h5py.h5s.UNLIMITED if axis == growing else n for axis, n in enumerate(shape))
    dataset = _created(group, name, dtype, shape, limits, _plan(chunks, packed=not noise))
    if label is not None:
        for key, value in label.attributes().items():
            write_attribute(dataset, key, value)
    return dataset


def create_array(group: h5py.h5g.GroupID, name: str, array: NDArray[Any]) -> h5py.h5d.DatasetID:
    """Write an array that fpsolve alone goes on from: neither described nor compressed."""
    plan = None
    if array.nbytes > ONE_PIECE:
        plan = _plan(_chunks(array.shape, array.itemsize), packed=False)
    dataset = _created(group, name, array.dtype, array.shape, array.shape, plan)
    if array.size:
        fill(dataset, array)
    return dataset


def expected_size(first: int, share: float) -> int:
    """Return what a chunk of a variable should hold of which `first` values come first.

    These are a `share` of all times, about of all values too. The whole is in one chunk; of what
    goes on, the last chunk is to have little room left.
    """
    return first if share >= 1 else max(int(first / max(share, 1e-9)) // 16, _SMALL_CHUNK)


def fill(dataset: h5py.h5d.DatasetID, values: NDArray[Any]) -> None:
    """Write the whole of a variable."""
    data = np.ascontiguousarray(values)
    dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, data, mtype=_type_of(data.dtype))


def fill_part(dataset: h5py.h5d.DatasetID, values: NDArray[Any], axis: int, start: int) -> None:
    """Write the part of a variable that begins at place `start` of one axis."""
    data = np.ascontiguousarray(values)
    there = dataset.get_space()
    begin = tuple(start if at == axis else 0 for at in range(data.ndim))
    there.select_hyperslab(begin, data.shape)
    dataset.write(_space(data.shape), there, data, mtype=_type_of(data.dtype))


def write_attribute(
    node: h5py.h5g.GroupID | h5py.h5f.FileID | h5py.h5d.DatasetID, name: str, value: Any
) -> None:
    """Write a text, a number or a list of numbers as an attribute.

    What is there already must be of the same kind and shape.
    """
    key = name.encode()
    if isinstance(value, str):
        data, stored, held = np.empty((), dtype=_TEXT), _STORED_TEXT, _HELD_TEXT
        data[()] = value
    else:
        data = np.asarray(value)
        stored = held = _type_of(data.dtype)
    if h5py.h5a.exists(node, key):
        attribute = h5py.h5a.open(node, key)
    else:
        space = _SCALAR if data.ndim == 0 else h5py.h5s.create_simple(data.shape)
        attribute = h5py.h5a.create(node, key, stored, space)
    attribute.write(data, mtype=held)


@functools.lru_cache(maxsize=256)
def _space(shape: tuple[int, ...], most: tuple[int, ...] | None = None) -> h5py.h5s.SpaceID:
    """How many values there are, and how many there may be; nobody changes it."""
    return h5py.h5s.create_simple(shape, most) if shape else _SCALAR


@functools.lru_cache(maxsize=64)
def _type_of(dtype: np.dtype[Any]) -> h5py.h5t.TypeID:
    """Return how numbers are stored, and held in memory."""
    return h5py.h5t.py_create(dtype, logical=True)


@functools.lru_cache(maxsize=256)
def _plan(chunks: tuple[int, ...], *, packed: bool) -> h5py.h5p.PropDCID:
    """How a variable is stored; Fletcher-32 lets every reader notice a damaged chunk."""
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_obj_track_times(False)
    plan.set_chunk(chunks)
    if packed:
        plan.set_shuffle()
        plan.set_deflate(_FILTERS["compression_opts"])
    plan.set_fletcher32()
    return plan


def _created(
    group: h5py.h5g.GroupID | h5py.h5f.FileID, name: str, dtype: Any, shape: tuple[int, ...],
    most: tuple[int, ...], plan: h5py.h5p.PropDCID | None,
) -> h5py.h5d.DatasetID:  # fmt: skip
    space = _space(shape, most)
    return h5py.h5d.create(group, name.encode(), _type_of(np.dtype(dtype)), space, plan)


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
    for name, value in label.attributes(text=text).items():
        write_attribute(dataset.id, name, value)


def _chunks(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """One chunk holds as much of the last axes as fits, so that times are apart from each other."""
    room = _CHUNK_BYTES // itemsize
    chunks = [1] * len(shape)
    for axis in reversed(range(max(len(shape) - 2, 0), len(shape))):
        chunks[axis] = max(min(shape[axis], room), 1)
        room = max(room // chunks[axis], 1)
    return tuple(chunks)
