"""What a file may be made of: whatever else it holds is refused before any array is read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import h5py

from fpsolve.errors import StoreError

__all__ = ["check_chunks", "check_structure", "objects"]

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
    for name, node in objects(file):
        if isinstance(node, h5py.Dataset):
            _check_dataset(name, node, size)
        elif not isinstance(node, h5py.Group):
            raise StoreError(f"{name}: is neither a variable nor a group")


def check_chunks(file: h5py.File) -> None:
    """Read everything once, so that HDF5 compares every chunk with its checksum.

    Raises
    ------
    StoreError
        If a chunk has changed.
    """
    for name, node in objects(file):
        if isinstance(node, h5py.Dataset) and node.chunks is not None and node.size:
            for part in node.iter_chunks():
                try:
                    node[part]
                except OSError:
                    raise StoreError(f"{name}: is damaged: a chunk has changed") from None


def objects(file: h5py.File) -> Iterator[tuple[str, Any]]:
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
