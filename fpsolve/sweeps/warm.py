"""One compilation a host: the first process compiles, the others wait and load."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fpsolve._version as version

__all__ = ["one_compiles"]

_seen: set[str] = set()


@contextmanager
def one_compiles(solver: str) -> Iterator[None]:
    """Hold back every other process of this host while the first one solves its first point.

    Compiled code is kept on disk by Numba. Without this, every worker of a host that has none yet
    would compile it for itself. Once a marker says that it is there, nobody waits.

    Parameters
    ----------
    solver : str
        Whose compiled code is meant.
    """
    if solver in _seen:
        yield
        return
    # The place of the sources tells installations apart.
    place = f"{Path(version.__file__).parent}\n{version.__version__}\n{solver}"
    digest = hashlib.blake2b(place.encode(), digest_size=8).hexdigest()
    user = os.getuid() if hasattr(os, "getuid") else 0
    marker = Path(tempfile.gettempdir()) / f"fpsolve-{user}-{digest}.compiled"
    if marker.exists():
        yield
    else:
        with _locked(marker.with_suffix(".lock")):
            yield
            marker.touch()
    _seen.add(solver)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock, which the system lets go if its holder dies."""
    try:
        import fcntl
    except ImportError:  # Windows: everyone compiles
        yield
        return
    with open(path, "w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
