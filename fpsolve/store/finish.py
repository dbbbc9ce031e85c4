"""Files of finished runs, completed by what other programs would have to compute."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from fpsolve.density.trajectory import DensityTrajectory
from fpsolve.recording.hdf5 import Hdf5Sink
from fpsolve.store.density import write_cells

__all__ = ["add_cells"]


def add_cells(path: str | Path, result: DensityTrajectory) -> None:
    """Add cell averages, level occupancies and `frozen` to the file of a finished run.

    A run writes the polynomials alone, since cells shared by all times are known at its end only.
    With these the file holds what `save` writes; `resume` drops them if the run goes further.

    Parameters
    ----------
    path : str or Path
        What a run with `store=` has written.
    result : DensityTrajectory
        The same run.

    Raises
    ------
    StoreError
        If the file cannot be written, or is being written by a run.
    """
    sink = Hdf5Sink(path, resume=True)
    sink.add(partial(write_cells, result=result))
