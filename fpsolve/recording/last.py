"""The last weights or densities in a file, from which another training may start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpsolve.errors import StoreError
from fpsolve.recording.attributes import read_values
from fpsolve.recording.ragged import ragged_names, read_ragged_row
from fpsolve.recording.reading import opened

__all__ = ["last_density", "last_weights"]

Array = NDArray[np.float64]


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
    with opened(path) as file:
        kind = str(file.attrs["kind"])
        if kind != "particles" or "weights" not in file or not file["time"].size:
            raise StoreError(f"{path}: holds no weights to start from, but a result of kind {kind}")
        weights = np.asarray(file["weights"][:, -1], dtype=np.float64)
        where = "teacher_weights" if "teacher_weights" in file else "constants/teacher_weights"
        if where not in file:
            raise StoreError(f"{path}: has no variable 'teacher_weights'; the file is damaged")
        teacher = np.asarray(file[where][...], dtype=np.float64)
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
    with opened(path) as file:
        kind = str(file.attrs["kind"])
        count = int(file["time"].size) if "time" in file else 0
        if kind != "density" or not count or "teacher" not in file:
            raise StoreError(f"{path}: holds no density to start from, but a result of kind {kind}")
        teacher = np.asarray(file["teacher"][...], dtype=np.float64)
        if "frames" in file:
            return teacher, {n: read_ragged_row(file, n, count - 1) for n in ragged_names(file)}
        edges, averages = file["w_edges"][...], file["density"][-1]
    return teacher, {"kind": np.asarray(1), "cell_edges": edges, "averages": averages}
