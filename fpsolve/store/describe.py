"""What a file is about, in a few lines, without reading its arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py

from fpsolve.recording.attributes import read_values
from fpsolve.recording.digest import check_digest
from fpsolve.recording.reading import opened
from fpsolve.recording.replacement import growing
from fpsolve.recording.target import locked

__all__ = ["describe"]

_LIBRARIES = ("fpsolve", "python", "numpy", "scipy", "numba", "h5py", "hdf5")


def describe(path: str | Path) -> dict[str, str]:
    """Return ten facts about a stored result, as text.

    Raises
    ------
    StoreError
        If the file cannot be read or is not one of fpsolve's.
    """
    with opened(path) as file:
        if int(file.attrs["schema_version"]) > 1:
            check_digest(file)
        about = {name: str(value) for name, value in file.attrs.items()}
        stats = _line(read_values(file, "stats"))
        versions = [f"{n} {about[f'{n}_version']}" for n in _LIBRARIES if f"{n}_version" in about]
        return {
            "kind": f"{about['kind']}, {_status(path, about)}",
            "file": _size(Path(path), about["schema_version"]),
            "created": f"{about['created']} on {about.get('platform', 'an unknown machine')}",
            "versions": ", ".join(versions),
            "command": about.get("command", "unknown"),
            "problem": about.get("problem_hash", "no problem, or no hash of it"),
            "dimensions": ", ".join(f"{n} {v.size}" for n, v in _variables(file) if v.is_scale),
            "variables": ", ".join(n for n, v in _variables(file) if not v.is_scale),
            "at the end": _last(file),
            "statistics": stats or "none",
        }


def _status(path: str | Path, about: dict[str, str]) -> str:
    """How the run ended; a killed one could not say so."""
    status = about.get("status", "completed")
    return "killed" if status == "running" and not locked(Path(path)) else status


def _size(path: Path, schema: str) -> str:
    """How large the file is, and what is to replace it."""
    told = f"{path.stat().st_size:,} bytes, schema {schema}"
    replacement = growing(path)
    if replacement is not None:
        told += f"; {replacement.path.name}, a run that is to replace it, is beside it"
    return told


def _variables(file: h5py.File) -> list[tuple[str, h5py.Dataset]]:
    return [(name, node) for name, node in file.items() if isinstance(node, h5py.Dataset)]


def _line(values: dict[str, Any]) -> str:
    return ", ".join(
        f"{name}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}"
        for name, value in values.items()
    )


def _last(file: h5py.File) -> str:
    name = next((n for n in ("generalization_error", "functionals") if n in file), None)
    if "time" not in file or not file["time"].size:
        return "no time"
    at = f"at time {file['time'][-1]:g}"
    if name is None:
        return at
    last = file[name][-1] if name == "functionals" else file[name][..., -1]
    values = last.ravel()
    shown = ", ".join(f"{value:.6g}" for value in values[:5])
    more = f" … ({values.size} values)" if values.size > 5 else ""
    return f"{name} {shown}{more} {at}"
