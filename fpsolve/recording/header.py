"""What every file says about itself."""

from __future__ import annotations

from typing import Any

import h5py

from fpsolve.problem.problem import Problem
from fpsolve.recording.layout import write_attribute
from fpsolve.recording.provenance import provenance, text_hash
from fpsolve.recording.reading import FORMAT, SCHEMA_VERSION

__all__ = ["write_header"]


def write_header(file: h5py.File, kind: str, problem: Problem | None) -> dict[str, Any]:
    """Write format, kind, origin and problem as root attributes; return what was written."""
    texts = {"format": FORMAT, "kind": kind, "Conventions": "CF-1.11", **provenance()}
    if problem is not None:
        texts["problem"] = problem.to_toml()
        texts["problem_hash"] = text_hash(texts["problem"])
    told = {"schema_version": SCHEMA_VERSION, **texts}
    for name, value in told.items():
        write_attribute(file.id, name, value)
    return told
