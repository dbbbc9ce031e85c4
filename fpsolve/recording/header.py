"""What every file says about itself."""

from __future__ import annotations

from typing import Any

import h5py

from fpsolve.problem.problem import Problem
from fpsolve.recording.layout import write_attribute
from fpsolve.recording.provenance import problem_hash, provenance
from fpsolve.recording.reading import FORMAT, SCHEMA_VERSION

__all__ = ["write_header"]


def write_header(file: h5py.File, kind: str, problem: Problem | None) -> dict[str, Any]:
    """Write format, kind, origin and problem as root attributes; return what was written."""
    file.attrs["schema_version"] = SCHEMA_VERSION
    texts = {"format": FORMAT, "kind": kind, "Conventions": "CF-1.11", **provenance()}
    if problem is not None:
        texts["problem"] = problem.to_toml()
        texts["problem_hash"] = problem_hash(problem)
    for name, text in texts.items():
        write_attribute(file, name, text)
    return {"schema_version": SCHEMA_VERSION, **texts}
