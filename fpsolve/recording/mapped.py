"""Frames of a sink as what they stand for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, overload

from numpy.typing import NDArray

__all__ = ["Mapped"]

T = TypeVar("T")


class Mapped(Sequence[T]):
    """The frames of a sink, each read, and made into an object, when it is asked for.

    Parameters
    ----------
    frames : sequence of mapping
        Arrays by name, one mapping a time.
    make : callable
        Makes an object of such a mapping.
    """

    def __init__(
        self,
        frames: Sequence[Mapping[str, NDArray[Any]]],
        make: Callable[[Mapping[str, NDArray[Any]]], T],
    ) -> None:
        self._frames, self._make = frames, make

    def __len__(self) -> int:
        return len(self._frames)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return tuple(self._make(arrays) for arrays in self._frames[index])
        return self._make(self._frames[index])

    def __iter__(self) -> Iterator[T]:
        return map(self._make, self._frames)
