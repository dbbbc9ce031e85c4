"""The digest over all of a file that no checksum of HDF5 covers.

It is a BLAKE2b of names, types, shapes, dimensions, all attributes and all texts. The numbers
themselves are covered by the Fletcher-32 checksum of their chunks, or, where a variable has no
chunks, by this digest too. A copy made by `h5repack` has the same digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import h5py
import numpy as np

from fpsolve.errors import StoreError
from fpsolve.recording.groups import Written
from fpsolve.recording.inspect import objects
from fpsolve.recording.layout import ONE_PIECE, write_attribute

__all__ = ["REFERENCES", "Ledger", "check_digest", "read_everything", "write_digest"]

_DIGEST = "digest"
# References between variables and their dimensions: addresses, which a copy of the file changes.
REFERENCES = {"DIMENSION_LIST", "REFERENCE_LIST", "_Netcdf4Coordinates", "_Netcdf4Dimid"}


class _Known(NamedTuple):
    """An object as JSON: all of it, or what is before and after the shape of one that grows."""

    dataset: h5py.h5d.DatasetID | None
    before: str
    after: str = ""


def check_digest(file: h5py.File) -> None:
    """Compare the digest over attributes and texts with the stored one.

    Raises
    ------
    StoreError
        If they differ.
    """
    if _total(read_everything(file)) != _text(file.attrs.get(_DIGEST, "")):
        raise StoreError("is damaged or was edited: attributes or texts do not fit their digest")


def read_everything(file: h5py.File) -> dict[str, _Known]:
    """Return all objects by path, with what no checksum covers."""
    return {path: _read(path, node) for path, node in objects(file)}


def write_digest(file: h5py.File) -> None:
    """Write the digest of all that has been written as the root attribute `digest`."""
    Ledger(file).write()


class Ledger:
    """What the writer of a file knows of it, so that a digest need not read everything again.

    Reading takes longer than writing. What a writer does not tell is read when it is needed.

    Parameters
    ----------
    file : h5py.File
        Open for writing.
    """

    def __init__(self, file: h5py.File) -> None:
        self._file = file
        self._known: dict[str, _Known] = {}
        self._root: dict[str, Any] | None = None
        self._complete = False

    def begin(self) -> None:
        """Say that the file is empty, and that all that comes will be told."""
        self._root, self._complete = {}, True

    def changed(self) -> None:
        """Say that what is in the file is to be read anew."""
        self._known.clear()
        self._root, self._complete = None, False

    def attributes(self, values: Mapping[str, Any], instead_of: str | None = None) -> None:
        """Tell attributes of the root, which replace those whose names begin so."""
        if self._root is not None:
            if instead_of is not None:
                for name in [name for name in self._root if name.startswith(instead_of)]:
                    del self._root[name]
            self._root.update({name: _plain(value) for name, value in values.items()})

    def variable(
        self, path: str, dataset: h5py.h5d.DatasetID, dtype: np.dtype[Any],
        texts: Mapping[str, str], axes: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """Tell of a variable in chunks: its attributes, and the dimensions it stands over."""
        scales: list[list[str]] = [[f"/{axis}"] for axis in axes] or [[]] * len(dataset.shape)
        attributes = sorted(map(list, texts.items()))
        self._known[path] = _variable(path, dataset, attributes, dtype, [scales])

    def group(self, path: str, written: Written | None = None) -> None:
        """Tell of a group, and of what `write_group` has written there."""
        for known in [k for k in self._known if k == path or k.startswith(f"{path}/")]:
            del self._known[known]
        attributes, variables = written or ({}, {})
        numbers = [[name, _plain(value)] for name, value in sorted(attributes.items())]
        self._known[path] = _group(path, numbers)
        for name, (node, array) in variables.items():
            about: list[Any] = [[[]] * array.ndim]
            about += [_plain(array)] if array.nbytes <= ONE_PIECE else []
            key = f"{path}/{name}"
            self._known[key] = _variable(key, node, [], array.dtype, about)

    def write(self) -> None:
        """Write the digest of the file as it is."""
        if not self._complete:
            self._known = read_everything(self._file)
            self._complete = True
        if self._root is None:
            self._root = dict(_attributes("/", self._file))
        self._known["/"] = _group("/", sorted(map(list, self._root.items())))
        write_attribute(self._file.id, _DIGEST, _total(self._known))


def _total(found: Mapping[str, _Known]) -> str:
    """Return the digest of objects by path."""
    parts = []
    for path in sorted(found):
        dataset, before, after = found[path]
        parts += [before] if dataset is None else [before, str(list(dataset.shape)), after]
    return hashlib.blake2b("".join(parts).encode(), digest_size=32).hexdigest()


def _group(path: str, attributes: list[Any]) -> _Known:
    return _Known(None, json.dumps([path, attributes]))


def _variable(
    path: str, dataset: h5py.h5d.DatasetID, attributes: list[Any], dtype: np.dtype[Any],
    after: list[Any],
) -> _Known:  # fmt: skip
    space = dataset.get_space()
    shape = space.get_simple_extent_dims()
    if h5py.h5s.UNLIMITED not in space.get_simple_extent_dims(maxdims=True):
        return _Known(None, json.dumps([path, attributes, _type(dtype), shape, *after]))
    before = json.dumps([path, attributes, _type(dtype)])
    return _Known(dataset, before[:-1] + ", ", ", " + json.dumps(after)[1:])


def _read(path: str, node: Any) -> _Known:
    """Return attributes, and of a variable type, dimensions and what no checksum covers."""
    if not isinstance(node, h5py.Dataset):
        return _group(path, _attributes(path, node))
    after: list[Any] = [_scales(node)]
    if node.chunks is None or node.dtype.kind == "O":
        after.append(_plain(node[()]))
    return _variable(path, node.id, _attributes(path, node), node.dtype, after)


def _attributes(path: str, node: Any) -> list[Any]:
    names = sorted(
        name
        for name in node.attrs
        if name not in REFERENCES and not (name == _DIGEST and path == "/")
    )
    return [[name, _attribute(node, name)] for name in names]


def _attribute(node: Any, name: str) -> Any:
    """Return an attribute as JSON can tell it; texts, which most are, without h5py's detours."""
    held = h5py.h5a.open(node.id, name.encode())
    if held.dtype.kind == "O" and held.shape == ():
        value = np.empty((), dtype=held.dtype)
        held.read(value)
        return _plain(value[()])
    return _plain(node.attrs[name])


def _scales(node: h5py.Dataset) -> list[list[str]]:
    """Return the names of the dimensions of each axis."""
    found: list[list[str]] = []
    for axis in range(len(node.id.shape)):
        scales: list[Any] = []
        if h5py.h5ds.get_num_scales(node.id, axis):
            h5py.h5ds.iterate(node.id, axis, scales.append, 0)
        found.append([h5py.h5i.get_name(scale).decode() for scale in scales])
    return found


def _type(dtype: np.dtype[Any]) -> str:
    return "text" if dtype.kind == "O" else dtype.str


def _plain(value: Any) -> Any:
    """Return text and numbers as JSON can tell them apart, to the last bit."""
    if isinstance(value, bytes | str):
        return _text(value)
    array = np.asarray(value)
    if array.dtype.kind == "O":
        return [_text(v) for v in array.ravel().tolist()]
    return [array.dtype.str, list(array.shape), array.tobytes().hex()]


def _text(value: Any) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
