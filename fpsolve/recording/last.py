"""The last weights or densities in a file, from which another run may start."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from fpsolve.errors import StoreError
from fpsolve.recording.attributes import read_values
from fpsolve.recording.ragged import ragged_names, read_ragged_row
from fpsolve.recording.reading import opened

__all__ = ["last_density", "last_line", "last_weights"]

Array = NDArray[np.float64]


@contextlib.contextmanager
def _holding(path: str | Path, wanted: str, what: str, *needed: str) -> Iterator[h5py.File]:
    """Yield the open file of a run that has reached a time; it need not have ended.

    Raises
    ------
    StoreError
        If the file cannot be read, is of another kind, or lacks a variable that is needed.
    """
    with opened(path) as file:
        kind = str(file.attrs["kind"])
        if kind != wanted or "time" not in file or not file["time"].size:
            there = f"a result of kind {kind}" if kind != wanted else "no time at all"
            raise StoreError(f"{path}: holds no {what} to start from, but {there}")
        for name in needed:
            if name not in file:
                raise StoreError(f"{path}: has no variable {name!r}; the file is damaged")
        yield file


def last_weights(path: str | Path) -> tuple[Array, Array, dict[str, Any]]:
    """Return the last weights and the teacher weights, (runs, d) each, and what the run told.

    Parameters
    ----------
    path : str or Path
        What `save` or a run with `store=` has written; the run need not have ended.

    Raises
    ------
    StoreError
        If the file cannot be read, or holds no particles.
    """
    with _holding(path, "particles", "weights", "weights", "teacher_weights") as file:
        weights = np.asarray(file["weights"][:, -1], dtype=np.float64)
        teacher = np.asarray(file["teacher_weights"][...], dtype=np.float64)
        told = read_values(file, "stats") or read_values(file, "options")
    if weights.shape != teacher.shape or not (np.isfinite(weights) & np.isfinite(teacher)).all():
        raise StoreError(f"{path}: weights and teacher weights do not fit; the file is damaged")
    return weights, teacher, told


def last_density(path: str | Path) -> tuple[Array, dict[str, NDArray[Any]]]:
    """Return the teacher values and the arrays of the last frame in a file of densities.

    Parameters
    ----------
    path : str or Path
        What `save` or a run with `store=` has written; the run need not have ended.

    Raises
    ------
    StoreError
        If the file cannot be read, or holds no density.
    """
    with _holding(path, "density", "density", "teacher") as file:
        teacher = np.asarray(file["teacher"][...], dtype=np.float64)
        if "frames" in file:
            return teacher, _last_frame(file)
        edges, averages = file["w_edges"][...], file["density"][-1]
    return teacher, {"kind": np.asarray(1), "cell_edges": edges, "averages": averages}


def last_line(path: str | Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of the last density in a file of any McKean–Vlasov equation.

    Parameters
    ----------
    path : str or Path
        What `save` or a run with `store=` has written; the run need not have ended.

    Raises
    ------
    StoreError
        If the file cannot be read, or holds no such density.
    """
    with _holding(path, "mckean-vlasov", "density on a line", "frames") as file:
        return _last_frame(file)


def _last_frame(file: h5py.File) -> dict[str, NDArray[Any]]:
    last = int(file["time"].size) - 1
    return {name: read_ragged_row(file, name, last) for name in ragged_names(file)}
