"""Plain Python values as HDF5 attributes, lossless and legible to readers in any language.

Integers, floats, strings and lists of numbers are attributes of just that kind. A dictionary is one
attribute an entry, `name.key`. What HDF5 has no plain kind for (true, false, null, longer
integers, other lists) is a string that starts with `json:`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np

from fpsolve.errors import StoreError
from fpsolve.recording.layout import write_attribute

__all__ = ["read_values", "write_values"]

_JSON = "json:"
_LARGEST = 2**63


def write_values(
    node: h5py.Group, prefix: str, values: Mapping[str, Any], *, replace: bool = False
) -> dict[str, Any]:
    """Write `values` as attributes `prefix.name` of `node`; those of that prefix may be there.

    Returns
    -------
    dict
        The attributes as they were written.

    Raises
    ------
    StoreError
        If a value is none that can be written.
    """
    flat = _flat(prefix, values)
    if replace:
        old: list[bytes] = []
        h5py.h5a.iterate(node.id, old.append)
        for key in [key for key in old if key.startswith(f"{prefix}.".encode())]:
            h5py.h5a.delete(node.id, key)
    for name, value in flat.items():
        write_attribute(node.id, name, value)
    return flat


def read_values(node: h5py.Group, prefix: str) -> dict[str, Any]:
    """Return what `write_values` wrote; dictionaries come back as such."""
    values: dict[str, Any] = {}
    for name in node.attrs:
        if not name.startswith(prefix + "."):
            continue
        *path, last = name.removeprefix(prefix + ".").split(".")
        at = values
        for part in path:
            at = at.setdefault(part, {})
        at[last] = _decoded(node.attrs[name])
    return values


def _flat(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        plain = isinstance(name, str) and name and "." not in name
        if isinstance(value, Mapping) and value and plain and _keys_are_plain(value):
            flat.update(_flat(f"{prefix}.{name}", value))
        elif plain:
            flat[f"{prefix}.{name}"] = _encoded(prefix, name, value)
        else:
            raise StoreError(f"{prefix}: {name!r} cannot be the name of an attribute")
    return flat


def _keys_are_plain(value: Mapping[Any, Any]) -> bool:
    return all(isinstance(key, str) and key and "." not in key for key in value)


def _encoded(prefix: str, name: str, value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, str):
        return _JSON + json.dumps(value) if value.startswith(_JSON) or "\0" in value else value
    if isinstance(value, float):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and -_LARGEST <= value < _LARGEST:
        return value
    if isinstance(value, list) and value and len({type(v) for v in value}) == 1:
        if isinstance(value[0], float):
            return np.array(value)
        if type(value[0]) is int and all(-_LARGEST <= v < _LARGEST for v in value):
            return np.array(value, dtype=np.int64)
    try:
        return _JSON + json.dumps(value, default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        only = "only numbers, strings, lists and dicts"
        raise StoreError(f"{prefix}: {error} as {name!r}; {only}") from None


def _decoded(value: Any) -> Any:
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, str):
        return json.loads(value.removeprefix(_JSON)) if value.startswith(_JSON) else value
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return value


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    raise TypeError(f"a value of type {type(value).__name__} cannot be stored")
