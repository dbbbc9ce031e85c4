"""Arrays by name in a group of a file: states to go on from, and what holds for all times."""

from __future__ import annotations

from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from fpsolve.recording.layout import create_array, write_attribute
from fpsolve.recording.protocol import Arrays

__all__ = ["Written", "read_group", "write_group"]

# A list of numbers of no more bytes is an attribute, which costs a tenth of a variable.
_FEW = 2**10


class Written(NamedTuple):
    """What `write_group` has written: attributes, and variables with what is in them."""

    attributes: dict[str, Any]
    variables: dict[str, tuple[h5py.h5d.DatasetID, NDArray[Any]]]


def write_group(file: h5py.File, name: str, arrays: Arrays) -> Written:
    """Write arrays as variables of the group `name`; numbers, texts, short lists as attributes.

    netCDF knows attributes of one axis at most, and no booleans.
    """
    group = file.create_group(name, track_order=True).id
    written = Written({}, {})
    for key, value in arrays.items():
        array = np.asarray(value)
        few = array.ndim == 1 and 0 < array.nbytes <= _FEW and array.dtype.kind != "b"
        if array.ndim and not few:
            written.variables[key] = create_array(group, key, array), array
        else:
            told = str(array) if array.dtype.kind == "U" else array
            write_attribute(group, key, told)
            written.attributes[key] = told
    return written


def read_group(group: h5py.Group) -> dict[str, Any]:
    arrays: dict[str, Any] = {key: np.asarray(value)[()] for key, value in group.attrs.items()}
    arrays.update({key: variable[...] for key, variable in group.items()})
    return arrays
