"""Files of schema 1, written by fpsolve 0.1: read, so that `save` can write them anew."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

import h5py

from fpsolve.errors import StoreError
from fpsolve.problem.problem import Problem

__all__ = ["read_legacy"]

_MODULES = {kind: f"fpsolve.store.{kind}" for kind in ("density", "particles", "macro", "sweep")}


def read_legacy(file: h5py.File, kind: str, problem: Problem | None) -> Any:
    """Return the result in a file of schema 1: statistics are JSON, and there is no digest."""
    if kind not in _MODULES:
        raise StoreError(f"is damaged: schema 1 has no kind {kind!r}")
    if "stats" not in file.attrs:
        raise StoreError("has no attribute 'stats'; the file is damaged")
    stats = json.loads(file.attrs["stats"])
    return import_module(_MODULES[kind]).read(file, problem, stats)
