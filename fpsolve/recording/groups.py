"""Arrays by name in a group of a file: states to go on from, and what holds for all times."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

from fpsolve.recording.layout import create_array, write_attribute
from fpsolve.recording.protocol import Arrays

__all__ = ["read_group", "write_group"]


def write_group(file: h5py.File, name: str, arrays: Arrays) -> h5py.h5g.GroupID:
    """Write arrays as variables of the group `name`, scalars and texts as its attributes."""
    group = file.create_group(name, track_order=True).id
    for key, value in arrays.items():
        array = np.asarray(value)
        if array.ndim:
            create_array(group, key, array)
        else:
            write_attribute(group, key, str(array) if array.dtype.kind == "U" else array)
    return group


def read_group(group: h5py.Group) -> dict[str, Any]:
    arrays: dict[str, Any] = {key: np.asarray(value)[()] for key, value in group.attrs.items()}
    arrays.update({key: variable[...] for key, variable in group.items()})
    return arrays
