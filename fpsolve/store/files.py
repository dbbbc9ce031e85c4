"""`save` and `load`: one result, one file."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import h5py

from fpsolve._version import __version__
from fpsolve.density.trajectory import DensityTrajectory
from fpsolve.errors import ParameterError, StoreError
from fpsolve.macro.trajectory import MacroTrajectory
from fpsolve.particles.trajectory import ParticleTrajectory
from fpsolve.problem.problem import Problem
from fpsolve.problem.toml import parse_problem
from fpsolve.store.density import read_density, write_density
from fpsolve.store.macro import read_macro, write_macro
from fpsolve.store.particles import read_particles, write_particles
from fpsolve.store.sweep import read_sweep, write_sweep
from fpsolve.store.target import check_target
from fpsolve.sweeps.result import SweepResult

__all__ = ["Result", "describe", "load", "save"]

FORMAT = "fpsolve"
SCHEMA_VERSION = 1

Result = DensityTrajectory | ParticleTrajectory | MacroTrajectory | SweepResult


class _Kind(NamedTuple):
    type: type
    write: Callable[[h5py.File, Any], None]
    read: Callable[[h5py.File, Problem], Result]


_KINDS = {
    "density": _Kind(DensityTrajectory, write_density, read_density),
    "particles": _Kind(ParticleTrajectory, write_particles, read_particles),
    "macro": _Kind(MacroTrajectory, write_macro, read_macro),
    "sweep": _Kind(SweepResult, write_sweep, read_sweep),
}


def save(result: Result, path: str | Path, *, overwrite: bool = False) -> None:
    """Write `result` to the HDF5 file `path`, whole or not at all.

    Parameters
    ----------
    result : DensityTrajectory, ParticleTrajectory, MacroTrajectory or SweepResult
        What a solver, a simulation or a sweep returned.
    path : str or Path
        File to be written; netCDF-4 readers such as `xarray.open_dataset` open it too.
    overwrite : bool, default False
        Whether a file that exists may be replaced.

    Raises
    ------
    StoreError
        If the file exists or cannot be written, or if shapes in `result` do not fit together.
    """
    kind = next((name for name, k in _KINDS.items() if isinstance(result, k.type)), None)
    if kind is None:
        raise StoreError(f"{path}: a {type(result).__name__} is not a result that can be saved")
    path = check_target(path, overwrite=overwrite)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        _write(part, kind, result)
        _move(part, path, overwrite=overwrite)
    except OSError as error:
        if isinstance(error, StoreError):
            raise StoreError(f"{path}: {error}") from None
        raise StoreError(f"{path}: cannot be written: {error}") from None
    finally:
        part.unlink(missing_ok=True)


def load(path: str | Path) -> Result:
    """Return the result that `save` wrote to `path`.

    Raises
    ------
    StoreError
        If the file cannot be read, is damaged, or is not one of fpsolve's.
    """
    with _opened(Path(path)) as file:
        kind = file.attrs.get("kind")
        if kind not in _KINDS:
            known = ", ".join(_KINDS)
            raise StoreError(f"{path}: holds kind {kind!r}; this version knows {known}")
        try:
            problem = parse_problem(file.attrs["problem"], source=f"{path}:problem").problem
            return _KINDS[kind].read(file, problem)
        except ParameterError as error:
            raise StoreError(f"{path}: {error}") from None
        except StoreError:
            raise
        except (OSError, KeyError, ValueError) as error:
            raise StoreError(f"{path}: is damaged: {error}") from None


def describe(path: str | Path) -> dict[str, str]:
    """Return kind, versions, date and array shapes of a stored result, as text.

    Raises
    ------
    StoreError
        If the file cannot be read or is not one of fpsolve's.
    """
    with _opened(Path(path)) as file:
        names = ("kind", "schema_version", "fpsolve_version", "created")
        about = {name: str(file.attrs.get(name, "unknown")) for name in names}
        sizes = [f"{n} {v.size}" for n, v in file.items() if v.is_scale]
        return {**about, "dimensions": ", ".join(sizes)}


def _write(part: Path, kind: str, result: Result) -> None:
    problem = result.base if isinstance(result, SweepResult) else result.problem
    with h5py.File(part, "x") as file:
        file.attrs["format"] = FORMAT
        file.attrs["schema_version"] = SCHEMA_VERSION
        file.attrs["kind"] = kind
        file.attrs["fpsolve_version"] = __version__
        file.attrs["created"] = datetime.now(UTC).isoformat(timespec="seconds")
        file.attrs["problem"] = problem.to_toml()
        _KINDS[kind].write(file, result)


@contextlib.contextmanager
def _opened(path: Path) -> Any:
    if path.is_dir():
        raise StoreError(f"{path}: is a directory; name a result file in it")
    try:
        file = h5py.File(path, "r")
    except FileNotFoundError:
        raise StoreError(f"{path}: does not exist") from None
    except OSError as error:
        reason = error.strerror or "not an HDF5 file, or cut short"
        raise StoreError(f"{path}: cannot be read: {reason}") from None
    with file:
        if file.attrs.get("format") != FORMAT:
            raise StoreError(f"{path}: is not a file written by fpsolve")
        version = int(file.attrs.get("schema_version", 0))
        if version != SCHEMA_VERSION:
            raise StoreError(
                f"{path}: has schema version {version}, this version reads {SCHEMA_VERSION}"
            )
        yield file


def _move(part: Path, path: Path, *, overwrite: bool) -> None:
    """Put the finished file in place; without `overwrite` a file made meanwhile is kept."""
    if overwrite:
        part.replace(path)
        return
    try:
        os.link(part, path)
    except FileExistsError:
        raise StoreError(
            "exists; choose another name, or pass overwrite (--overwrite in the shell)"
        ) from None
    except OSError:  # file systems without hard links
        part.replace(path)
