"""Files without the gaps that replaced variables leave.

HDF5 forgets, when a file is closed, where in it is room. A run that is resumed replaces its
checkpoint, and drops what was made for the times so far; so its file is written anew where gaps
have become a considerable part of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from fpsolve.errors import StoreError
from fpsolve.recording.commit import CommittedFile
from fpsolve.recording.digest import REFERENCES, check_digest
from fpsolve.recording.layout import write_attribute
from fpsolve.recording.reading import opened, stamp_of
from fpsolve.recording.signals import undisturbed
from fpsolve.recording.target import new_file, put_in_place

__all__ = ["compact"]

# Gaps, and what HDF5 adds, may be this share of what is there; so much is to be gained.
_MOST, _GAIN = 0.2, 0.05
# What HDF5 writes itself where a variable becomes a dimension.
_SCALE = {"CLASS", "NAME"}


def compact(path: Path) -> None:
    """Write the file at `path` anew if that makes it considerably smaller; nobody may write to it.

    If the disk has no room for that, the file stays as it is.
    """
    target = Path(os.path.realpath(path))
    with undisturbed(), opened(path, seen=stamp_of(path)) as old:
        size = target.stat().st_size
        if size <= (1 + _MOST) * _held(old):
            return
        try:
            with new_file(target) as new:
                raw = CommittedFile(new.descriptor)
                with h5py.File(raw, "w", libver=("v110", "v110"), track_order=True) as file:
                    _copy(old, file)
                    check_digest(file)
                raw.finish()
                if os.fstat(new.descriptor).st_size * (1 + _GAIN) < size:
                    put_in_place(new, target, overwrite=True)
        except (OSError, StoreError):
            return


def _held(file: h5py.File) -> int:
    """Bytes of all values and of what describes them."""
    return sum(
        _described(node) + (node.id.get_storage_size() if isinstance(node, h5py.Dataset) else 0)
        for node in _objects(file)
    )


def _described(node: Any) -> int:
    about = h5py.h5o.get_info(node.id)
    parts = about.hdr.space.total, about.meta_size.obj.index_size, about.meta_size.obj.heap_size
    attributes = about.meta_size.attr
    return int(sum(parts) + attributes.index_size + attributes.heap_size)


def _objects(group: h5py.Group) -> Iterator[Any]:
    yield group
    for node in group.values():
        if isinstance(node, h5py.Group):
            yield from _objects(node)
        else:
            yield node


def _copy(old: h5py.File, new: h5py.File) -> None:
    """Copy everything; references to dimensions, which are addresses, are made anew."""
    bare = h5py.h5p.create(h5py.h5p.OBJECT_COPY)
    bare.set_copy_object(h5py.h5o.COPY_WITHOUT_ATTR_FLAG)
    variables = {n: node for n, node in old.items() if isinstance(node, h5py.Dataset)}
    for name in old:
        key = name.encode()
        h5py.h5o.copy(old.id, key, new.id, key, bare if name in variables else None)
    _copy_attributes(old, new)
    for name, variable in variables.items():
        if variable.is_scale:
            h5py.h5ds.set_scale(new[name].id, name.encode())
        _copy_attributes(variable, new[name])
    for name, variable in variables.items():
        for axis, scales in enumerate(variable.dims):
            for scale in scales.values():
                h5py.h5ds.attach_scale(new[name].id, new[scale.name].id, axis)


def _copy_attributes(old: Any, new: Any) -> None:
    for name in old.attrs:
        if name not in REFERENCES | _SCALE:
            value = old.attrs[name]
            write_attribute(new.id, name, value if isinstance(value, str) else np.asarray(value))
