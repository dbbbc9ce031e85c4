"""`GrowingVariable`: a variable of a file to which a run appends, and what waits to be written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from fpsolve.recording.layout import fill, fill_part

__all__ = ["GrowingVariable"]

# Bytes that are worth telling HDF5 of: every call costs as much as writing some of these, and holds
# up the run. It is the chunk of numbers that do not compress.
_LOT = 2**18


class GrowingVariable:
    """A variable that grows along one axis.

    Parameters
    ----------
    dataset : h5py.h5d.DatasetID
        The variable.
    axis : int
        Number of the axis.
    """

    def __init__(self, dataset: h5py.h5d.DatasetID, axis: int) -> None:
        self.dataset, self._axis = dataset, axis
        self._shape: tuple[int, ...] = dataset.shape
        self._waiting: list[NDArray[Any]] = []
        self._bytes = 0

    def append(self, rows: Sequence[NDArray[Any]]) -> None:
        """Take arrays that follow each other along the axis, to be written once they are many."""
        self._waiting += rows
        self._bytes += sum(array.nbytes for array in rows)
        if self._bytes >= _LOT:
            self.write()

    def write(self) -> None:
        """Write what waits."""
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        if not waiting:
            return
        data = waiting[0] if len(waiting) == 1 else np.concatenate(waiting, axis=self._axis)
        added = data.shape[self._axis]
        if not added:
            return
        known, shape = self._shape[self._axis], list(self._shape)
        shape[self._axis] += added
        self.dataset.set_extent(tuple(shape))
        self._shape = tuple(shape)
        if known:
            fill_part(self.dataset, data, self._axis, known)
        else:
            fill(self.dataset, data)
