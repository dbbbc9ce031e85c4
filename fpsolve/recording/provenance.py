"""Where a result comes from: versions, machine, command line; and by what a problem is known."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import shlex
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

import h5py

from fpsolve._version import __version__
from fpsolve.problem.problem import Problem

__all__ = ["problem_hash", "provenance", "text_hash"]


def problem_hash(problem: Problem) -> str:
    """Return the SHA-256 of the problem's TOML text, which is the same for equal problems."""
    return text_hash(problem.to_toml())


def text_hash(text: str) -> str:
    """Return the SHA-256 of a problem's TOML text."""
    return hashlib.sha256(text.encode()).hexdigest()


def provenance() -> dict[str, str]:
    """Return what a file says about its origin, as root attributes.

    Versions of fpsolve, Python, NumPy, SciPy, Numba, h5py and HDF5, the platform, the command line
    and the time.
    """
    libraries = {f"{name}_version": _version(name) for name in ("numpy", "scipy", "numba", "h5py")}
    return {
        "fpsolve_version": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "python_version": platform.python_version(),
        **libraries,
        "hdf5_version": h5py.version.hdf5_version,
        "platform": _platform(),
        "processors": str(os.cpu_count()),
        "command": shlex.join([*_program(sys.argv[0]), *sys.argv[1:]]),
    }


def _program(path: str) -> list[str]:
    """No more than the program's name of its path, which says nothing to others."""
    folder, name = os.path.split(path)
    if name == "__main__.py":
        return ["python", "-m", os.path.basename(folder)]
    return [name or "python"]


@functools.cache
def _platform() -> str:
    return platform.platform()


@functools.cache
def _version(name: str) -> str:
    # Whoever is loaded knows; searching for what is installed takes milliseconds.
    told = getattr(sys.modules.get(name), "__version__", None)
    try:
        return str(told or version(name))
    except PackageNotFoundError:
        return "unknown"
