"""A variable in a file that is read when, and as far as, it is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpsolve.recording.reading import opened, stamp_of

__all__ = ["StoredArray"]


class StoredArray:
    """What of an array NumPy's functions and indices need; `np.asarray` reads the whole.

    Parameters
    ----------
    path : str or Path
        File.
    name : str
        Variable in it.
    """

    def __init__(self, path: str | Path, name: str) -> None:
        self._path, self._name = path, name
        with opened(path) as file:
            variable = file[name]
            self.shape: tuple[int, ...] = variable.shape
            self.dtype: np.dtype[Any] = variable.dtype
        # The file is the one that was checked as long as it does not change.
        self._seen = stamp_of(path)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Any:
        with opened(self._path, seen=self._seen) as file:
            return file[self._name][index]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[...], dtype=dtype)

    def __repr__(self) -> str:
        return f"StoredArray({str(self._path)!r}, {self._name!r}, shape {self.shape})"
