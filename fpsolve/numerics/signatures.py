"""Types of compiled kernels, from the annotations they have anyway.

A kernel whose types are known before it is called can be compiled before, and where nobody calls
it. Annotations say all but the number of dimensions of an array, which `Shape` adds.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

import numpy as np
from numba import from_dtype, types

__all__ = ["Shape", "signature_of"]

# Numba is untyped.
_types: Any = types
_SCALARS = {float: _types.float64, int: _types.int64, bool: _types.boolean}
_SCALARS[type(None)] = _types.none


class Shape(NamedTuple):
    """Of an array in C order, as `Annotated[NDArray[np.float64], Shape(2)]`."""

    dimensions: int
    readonly: bool = False


@functools.cache
def signature_of(function: Callable[..., Any]) -> tuple[tuple[Any, ...], Any]:
    """Return Numba's types of the arguments of an annotated function, and of its result.

    Annotations are float, int, bool, arrays with a `Shape`, and (named) tuples of such.

    Raises
    ------
    TypeError
        If there is another.
    """
    hints = get_type_hints(function, include_extras=True)
    result = _type_of(hints.pop("return"))
    return tuple(_type_of(hint) for hint in hints.values()), result


def _type_of(hint: Any) -> Any:
    if hint in _SCALARS:
        return _SCALARS[hint]
    if get_origin(hint) is Annotated:
        array, shape = get_args(hint)
        item = from_dtype(np.dtype(_scalar_of(array)))
        return _types.Array(item, shape.dimensions, "C", readonly=shape.readonly)
    if get_origin(hint) is tuple:
        return _types.BaseTuple.from_types([_type_of(part) for part in get_args(hint)])
    if isinstance(hint, type) and issubclass(hint, tuple):
        fields = get_type_hints(hint, include_extras=True)
        return _types.BaseTuple.from_types([_type_of(part) for part in fields.values()], hint)
    raise TypeError(f"{hint} is no type that a kernel can be compiled for; arrays need a Shape")


def _scalar_of(hint: Any) -> Any:
    """The scalar type of an array: what stands last in it, at a depth that depends on NumPy."""
    while not (isinstance(hint, type) and issubclass(hint, np.generic)):
        hint = get_args(hint)[-1]
    return hint
