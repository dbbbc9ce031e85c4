"""`sink_for`: where a run goes that was given `store=`; the contract of sinks, under one name."""

from __future__ import annotations

from pathlib import Path

from fpsolve.errors import ParameterError
from fpsolve.recording.axes import Block
from fpsolve.recording.protocol import (
    CHECKPOINT_INTERVAL,
    ENDINGS,
    Arrays,
    Ending,
    Sink,
    ending_after,
)

__all__ = [
    "CHECKPOINT_INTERVAL",
    "ENDINGS",
    "Arrays",
    "Block",
    "Ending",
    "Sink",
    "Store",
    "ending_after",
    "run_sink",
    "sink_for",
]

# What `store=` accepts.
Store = str | Path | Sink | None


def run_sink(store: Store, *, overwrite: bool = False) -> Sink | None:
    """Return the sink of a run that was given `store=` and `overwrite=`.

    Without a store it is None: the solver keeps what it needs.

    Raises
    ------
    ParameterError
        If there is no path whose file could be replaced.
    StoreError
        If a file cannot be begun there.
    """
    if overwrite and not isinstance(store, str | Path):
        raise ParameterError("overwrite", overwrite, "is for store=PATH, whose file is replaced")
    return None if store is None else sink_for(store, overwrite=overwrite)


def sink_for(store: Store, *, overwrite: bool = False) -> Sink:
    """Return a sink for the argument `store`: memory for None, an HDF5 file for a path.

    Raises
    ------
    StoreError
        If a file cannot be begun there.
    """
    if store is None:
        from fpsolve.recording.memory import MemorySink

        return MemorySink()
    if isinstance(store, str | Path):
        from fpsolve.recording.hdf5 import Hdf5Sink  # h5py only where a file is wanted

        return Hdf5Sink(store, overwrite=overwrite)
    return store
