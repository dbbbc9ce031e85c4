"""`sink_for`: where a run goes that was given `store=`; the contract of sinks, under one name."""

from __future__ import annotations

from pathlib import Path

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
    "sink_for",
]

# What `store=` accepts.
Store = str | Path | Sink | None


def sink_for(store: Store) -> Sink:
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

        return Hdf5Sink(store)
    return store
