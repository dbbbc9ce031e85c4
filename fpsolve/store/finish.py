"""Files of finished runs, completed by what other programs would have to compute."""

from __future__ import annotations

import h5py

from fpsolve.density.stream import stored_trajectory
from fpsolve.recording.attributes import read_values
from fpsolve.recording.hdf5 import Hdf5Sink
from fpsolve.store.density import write_cells
from fpsolve.store.files import problem_of

__all__ = ["add_cells"]


def add_cells(file: h5py.File, sink: Hdf5Sink) -> None:
    """Add cell averages, level occupancies and `frozen` to a run of a density; `finish` of a sink.

    A run writes the polynomials alone, since cells shared by all times are known at its end only.
    With these the file holds what `save` writes; `resume` drops them if the run goes further.

    Parameters
    ----------
    file : h5py.File
        Open for writing.
    sink : Hdf5Sink
        From which the run is read.
    """
    problem = problem_of(sink.path, file)
    if "frozen" in file or problem is None:
        return
    write_cells(file, stored_trajectory(problem, sink, read_values(file, "stats")))
