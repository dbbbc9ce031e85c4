"""Parts of long items, kept one by one: an interrupted item goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["keeping", "part", "plain"]

_FOLDER: ContextVar[Path | None] = ContextVar("folder", default=None)


def plain(value: Any) -> Any:
    """Return `value` with arrays as lists and NumPy scalars as Python's, so that JSON holds it."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return value.item()
    return value


@contextmanager
def keeping(folder: Path | None, key: str) -> Iterator[None]:
    """Keep the parts of an item in `folder` while it is worked out; drop them when it is done.

    Parameters
    ----------
    folder : Path or None
        Where to; None keeps nothing.
    key : str
        Hash of all that the item depends on: parts of another key are not read.
    """
    if folder is None:
        yield
        return
    here = folder / key[:16]
    for stale in folder.glob("*"):
        if stale != here:
            shutil.rmtree(stale)
    token = _FOLDER.set(here)
    try:
        yield
    finally:
        _FOLDER.reset(token)
    shutil.rmtree(folder, ignore_errors=True)


def part(name: str, compute: Callable[[], Any]) -> Any:
    """Return `compute()` as plain data, or what an interrupted run kept of it under this name.

    Names are those of the parts of one item; a part is written whole or not at all.
    """
    folder = _FOLDER.get()
    if folder is None:
        return plain(compute())
    file = folder / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.json"
    if file.exists():
        return json.loads(file.read_text(encoding="utf-8"))
    value = plain(compute())
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(f".{os.getpid()}")
    unfinished.write_text(json.dumps(value), encoding="utf-8")
    os.replace(unfinished, file)
    return value
