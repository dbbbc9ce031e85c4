"""Files of any known schema to files of the present one."""

from __future__ import annotations

from pathlib import Path

from fpsolve.store.files import load, save

__all__ = ["upgrade"]


def upgrade(path: str | Path, target: str | Path | None = None) -> None:
    """Write the result in `path` as a file of the present schema.

    Parameters
    ----------
    path : str or Path
        A file of any known schema.
    target : str or Path, optional
        Where to write; by default the file itself is replaced.
    """
    save(load(path), path if target is None else target, overwrite=target is None)
