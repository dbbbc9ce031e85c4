"""What a file may be made of, and the digest over all of it that no checksum of HDF5 covers."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from fpsolve.errors import StoreError

__all__ = ["check_chunks", "check_digest", "check_structure", "content_digest", "write_digest"]

_DIGEST = "digest"
# References between variables and their dimensions: addresses, which a copy of the file changes.
_REFERENCES = {"DIMENSION_LIST", "REFERENCE_LIST", "_Netcdf4Coordinates", "_Netcdf4Dimid"}
_DEPTH = 3
_OBJECTS = 10_000
_ATTRIBUTES = 100_000
# Deflate makes at most 1032 bytes of one; the rest is for small files.
_INFLATION, _SLACK = 1032, 1 << 20
_LARGEST_CHUNK = 1 << 28


def check_structure(file: h5py.File, size: int) -> None:
    """Refuse what no file of fpsolve holds, before any array is read.

    Raises
    ------
    StoreError
        At links out of the file, virtual or external storage, arrays that are larger than `size`
        bytes of file can hold, arrays with missing chunks, other types than numbers and text, or
        groups nested without end.
    """
    for name, node in _objects(file):
        if isinstance(node, h5py.Dataset):
            _check_dataset(name, node, size)
        elif not isinstance(node, h5py.Group):
            raise StoreError(f"{name}: is neither a variable nor a group")


def content_digest(file: h5py.File, known: dict[str, list[Any]] | None = None) -> str:
    """Return a digest of names, types, shapes, dimensions, all attributes and all texts.

    The numbers themselves are covered by the Fletcher-32 checksum of their chunks, or, where a
    variable has no chunks, by this digest too. A copy made by `h5repack` has the same digest.
    `known` keeps, for one writer, what never changes about variables once they are there.
    """
    total = hashlib.blake2b(digest_size=32)
    for name, node in sorted(_objects(file), key=lambda item: item[0]):
        about: list[Any] = [name]
        if isinstance(node, h5py.Dataset):
            attributes, kind, scales = _fixed(name, node, {} if known is None else known)
            about += [attributes, kind, list(node.shape), scales]
            if node.chunks is None or node.dtype.kind == "O":
                about.append(_plain(node[()]))
        else:
            about.append(_attributes(node))
        total.update(json.dumps(about, ensure_ascii=True).encode())
    return total.hexdigest()


def write_digest(file: h5py.File, known: dict[str, list[Any]] | None = None) -> None:
    """Write the digest of all that has been written as the root attribute `digest`.

    A run that does so again and again passes the same `known`, empty at first.
    """
    file.attrs[_DIGEST] = content_digest(file, known)


def _fixed(name: str, node: h5py.Dataset, known: dict[str, list[Any]]) -> list[Any]:
    """Return attributes, type and dimensions of a variable; those of a checkpoint come and go."""
    if name not in known:
        scales = [[scale.name for scale in axis.values()] for axis in node.dims]
        found = [_attributes(node), _type(node.dtype), scales]
        if name.startswith("/checkpoint/"):
            return found
        known[name] = found
    return known[name]


def check_chunks(file: h5py.File) -> None:
    """Read everything once, so that HDF5 compares every chunk with its checksum.

    Raises
    ------
    StoreError
        If a chunk has changed.
    """
    for name, node in _objects(file):
        if isinstance(node, h5py.Dataset) and node.chunks is not None and node.size:
            for part in node.iter_chunks():
                try:
                    node[part]
                except OSError:
                    raise StoreError(f"{name}: is damaged: a chunk has changed") from None


def check_digest(file: h5py.File) -> None:
    """Compare the digest over attributes and texts with the stored one.

    Raises
    ------
    StoreError
        If they differ.
    """
    if content_digest(file) != _text(file.attrs.get(_DIGEST, "")):
        raise StoreError("is damaged or was edited: attributes or texts do not fit their digest")


def _objects(file: h5py.File) -> Iterator[tuple[str, Any]]:
    """Yield path and object of everything in the file, the root first."""
    waiting: list[tuple[str, Any, int]] = [("/", file, 0)]
    count = 0
    while waiting:
        path, node, depth = waiting.pop()
        yield path, node
        count += 1 + len(node.attrs) // 100
        if count > _OBJECTS or depth > _DEPTH or len(node.attrs) > _ATTRIBUTES:
            raise StoreError("holds more, or deeper nested, than any result does")
        if not isinstance(node, h5py.Group):
            continue
        for name in node:
            link = node.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise StoreError(f"{name}: is a link elsewhere, which is not followed")
            waiting.append((f"{path.rstrip('/')}/{name}", node[name], depth + 1))


def _check_dataset(name: str, node: h5py.Dataset, size: int) -> None:
    if node.shape is None:
        raise StoreError(f"{name}: is empty")
    if node.is_virtual or node.external:
        raise StoreError(f"{name}: is stored in another file, which is not opened")
    if node.dtype.kind not in "fiubO" or (
        node.dtype.kind == "O" and h5py.check_string_dtype(node.dtype) is None
    ):
        raise StoreError(f"{name}: holds {node.dtype}, neither numbers nor text")
    needed = node.size * node.dtype.itemsize
    if needed > _INFLATION * size + _SLACK or node.id.get_storage_size() > size:
        raise StoreError(f"{name}: claims {needed} bytes, more than the file can hold")
    if node.chunks is None:
        if needed > size:
            raise StoreError(f"{name}: claims {needed} bytes, more than the file can hold")
        return
    if math.prod(node.chunks) * node.dtype.itemsize > _LARGEST_CHUNK:
        raise StoreError(f"{name}: has chunks of more than {_LARGEST_CHUNK} bytes")
    whole = math.prod(-(-n // c) for n, c in zip(node.shape, node.chunks, strict=True))
    if node.id.get_num_chunks() < whole:
        raise StoreError(f"{name}: lacks some of its {whole} chunks")


def _attributes(node: Any) -> list[Any]:
    names = sorted(
        name
        for name in node.attrs
        if name not in _REFERENCES and not (name == _DIGEST and node.name == "/")
    )
    return [[name, _plain(node.attrs[name])] for name in names]


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
