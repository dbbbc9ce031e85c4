"""Where a result may be written: asked before a long computation starts, and again at its end."""

from __future__ import annotations

import tempfile
from pathlib import Path

from fpsolve.errors import StoreError

__all__ = ["check_target"]


def check_target(path: str | Path, *, overwrite: bool = False) -> Path:
    """Return `path` if a file can be written there, or raise `StoreError`.

    Parameters
    ----------
    path : str or Path
        File to be written.
    overwrite : bool, default False
        Whether a file that exists may be replaced.

    Raises
    ------
    StoreError
        If `path` is a directory, exists without `overwrite`, or its folder is missing or
        refuses new files.
    """
    path = Path(path)
    if path.is_dir():
        raise StoreError(f"{path}: is a directory; give a file name")
    if not path.parent.is_dir():
        raise StoreError(f"{path}: {path.parent} is not a directory; create it first")
    if path.exists() and not overwrite:
        raise StoreError(
            f"{path}: exists; choose another name, or pass overwrite (--overwrite in the shell)"
        )
    try:  # permissions alone do not tell: the file system may be read-only or full
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}") from None
    return path
