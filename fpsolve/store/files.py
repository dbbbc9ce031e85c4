"""`save` and `load`: one result, one file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import h5py

from fpsolve.errors import ParameterError, StoreError
from fpsolve.problem.problem import Problem
from fpsolve.problem.toml import parse_problem
from fpsolve.recording.attributes import read_values, write_values
from fpsolve.recording.commit import CommittedFile
from fpsolve.recording.digest import check_digest, write_digest
from fpsolve.recording.header import write_header
from fpsolve.recording.inspect import check_structure
from fpsolve.recording.reading import opened
from fpsolve.recording.target import check_target, new_file, put_in_place, refusal
from fpsolve.store.legacy import read_legacy

__all__ = ["KINDS", "Result", "kind_of", "load", "problem_of", "save", "write_result"]

Result = Any  # An instance of one of the classes below, or a tuple of states.

# Kind in the file -> class of the result, and the module that writes and reads it. Modules are
# loaded when they are needed: a reader of densities has no use for the studies.
KINDS = {
    "density": ("DensityTrajectory", "fpsolve.store.density"),
    "particles": ("ParticleTrajectory", "fpsolve.store.particles"),
    "macro": ("MacroTrajectory", "fpsolve.store.macro"),
    "mckean-vlasov": ("LineTrajectory", "fpsolve.store.line"),
    "sweep": ("SweepResult", "fpsolve.store.sweep"),
    "stationary-states": ("StationaryState", "fpsolve.store.stationary"),
    "fixed-points": ("FixedPoint", "fpsolve.store.fixed_points"),
    "optimal-range": ("OptimalRange", "fpsolve.store.optimal_range"),
    "closure-error": ("ClosureError", "fpsolve.store.closure_error"),
    "comparison": ("Comparison", "fpsolve.store.comparison"),
}

_WITHOUT_PROBLEM = ("comparison", "mckean-vlasov")


def save(result: Any, path: str | Path, *, overwrite: bool = False) -> None:
    """Write `result` to the HDF5 file `path`, whole or not at all.

    Parameters
    ----------
    result : any result
        A trajectory, a sweep, what `stationary_states` or `isotropic_fixed_points` returned (one
        state or all), an `OptimalRange`, a `ClosureError` or a `Comparison`.
    path : str or Path
        File to be written; netCDF-4 readers such as `xarray.open_dataset` open it too. A symbolic
        link is followed; a file that is replaced keeps its mode.
    overwrite : bool, default False
        Whether a file that exists may be replaced.

    Raises
    ------
    StoreError
        If the file exists, is being written by a run or cannot be written (its `errno` is that of
        a full disk), or if shapes in `result` do not fit together. The old file is then intact.
    """
    if isinstance(result, tuple) and len(result) == 0:
        raise StoreError(f"{path}: there is no state to be saved")
    kind = kind_of(result)
    if kind is None:
        raise StoreError(f"{path}: a {type(result).__name__} is not a result that can be saved")
    target = check_target(path, overwrite=overwrite)
    try:
        with new_file(target) as new:
            raw = CommittedFile(new.descriptor)
            with h5py.File(raw, "w", libver=("v110", "v110"), track_order=True) as file:
                write_result(file, kind, result)
            raw.finish()
            put_in_place(new, target, overwrite=overwrite)
    except StoreError as error:
        raise StoreError(f"{path}: {error}") from None
    except FileExistsError as error:
        raise StoreError(f"{path}: {error.strerror}") from None
    except OSError as error:
        raise refusal(path, error) from None


def load(path: str | Path) -> Any:
    """Return the result that `save` or a run wrote to `path`.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    trajectory, state, tuple of states or another result
        As it was saved: of the kind that `fpsolve info` names, equal in every array.

    Raises
    ------
    StoreError
        If the file cannot be read, is damaged, or is not one of fpsolve's.
    """
    with opened(path) as file, _blamed(path):
        kind = _kind(path, file)
        problem = problem_of(path, file)
        if file.attrs["schema_version"] == 1:
            return read_legacy(file, kind, problem)
        check_structure(file, Path(path).stat().st_size)
        if "requested_time" in file and not file["time"].size:
            raise StoreError("has no result yet: the run has reached none of its times")
        stats = read_values(file, "stats")
        result = import_module(KINDS[kind][1]).read(file, problem, stats)
        check_digest(file)
        return result


def kind_of(result: Any) -> str | None:
    """Return the kind under which `result` is stored, or None if it is no result."""
    one = result[0] if isinstance(result, tuple) and result else result
    names = {cls.__name__ for cls in type(one).__mro__}
    return next((kind for kind, (name, _) in KINDS.items() if name in names), None)


def write_result(file: h5py.File, kind: str, result: Any) -> None:
    """Write everything about `result` into an empty file."""
    one = result[0] if isinstance(result, tuple) else result
    write_header(file, kind, getattr(one, "base", getattr(one, "problem", None)))
    file.attrs["status"] = "completed"
    import_module(KINDS[kind][1]).write(file, result)
    stats: Mapping[str, Any] = getattr(one, "stats", {})
    write_values(file, "stats", stats)
    write_digest(file)


def problem_of(path: str | Path, file: h5py.File) -> Problem | None:
    """Return the problem in a file, None for a result that has none."""
    if "problem" not in file.attrs:
        if _kind(path, file) in _WITHOUT_PROBLEM:
            return None
        raise StoreError(f"{path}: is damaged: it has no problem")
    return parse_problem(_text(file.attrs["problem"]), source=f"{path}:problem").problem


def _kind(path: str | Path, file: h5py.File) -> str:
    kind = _text(file.attrs.get("kind", ""))
    if kind not in KINDS:
        raise StoreError(f"{path}: holds kind {kind!r}; this version knows {', '.join(KINDS)}")
    return kind


@contextlib.contextmanager
def _blamed(path: str | Path) -> Iterator[None]:
    """Turn whatever a damaged file leads to into one `StoreError` that names it."""
    try:
        yield
    except ParameterError as error:
        raise StoreError(f"{path}: {error}") from None
    except StoreError as error:
        named = str(error).startswith(str(path))
        raise StoreError(str(error) if named else f"{path}: {error}") from None
    except (
        ArithmeticError, AttributeError, LookupError, OSError, RecursionError, RuntimeError,
        TypeError, ValueError,
    ) as error:  # fmt: skip
        raise StoreError(f"{path}: is damaged: {' '.join(str(error).split())}") from None


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
