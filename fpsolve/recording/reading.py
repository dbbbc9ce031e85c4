"""Opening files that may be growing, damaged, or made by others.

A file with its trailer is compared page by page with the digests there, before HDF5 sees it: what
passes is, byte for byte, what fpsolve wrote. A file without one (cut, copied by `h5repack`, edited,
or killed in the middle of a commit) might lead HDF5 into endless loops or a crash, so a child
process with bounded time and memory reads it first, to the end; what it survives, this process
survives too.
"""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from fpsolve.errors import StoreError
from fpsolve.recording.commit import CommittedFile
from fpsolve.recording.inspect import check_chunks, check_structure
from fpsolve.recording.signals import undisturbed
from fpsolve.recording.target import hold_still

__all__ = ["FORMAT", "SCHEMA_VERSION", "Stamp", "check_file", "opened", "stamp_of"]

FORMAT = "fpsolve"
SCHEMA_VERSION = 2
_KNOWN_SCHEMAS = (1, 2)
# Bounds of the child: seconds, seconds a byte of file, and bytes of memory.
_SECONDS, _SECONDS_PER_BYTE, _MEMORY = 20.0, 1e-7, 1 << 32
_ATTEMPTS = 5


# Size and time of the last change: what tells one state of a file from another.
Stamp = tuple[int, int]


@contextlib.contextmanager
def opened(path: str | Path, *, seen: Stamp | None = None) -> Iterator[h5py.File]:
    """Yield the checked HDF5 file, open for reading; unchanged since `seen` it needs no check.

    Raises
    ------
    StoreError
        If it cannot be read, is damaged, or is not one of fpsolve's.
    """
    with _descriptor(Path(path)) as descriptor:
        hold_still(descriptor, exclusive=False)  # A run that writes it waits that long.
        if seen is not None and _stamp(descriptor) == seen:
            stored = CommittedFile(descriptor)
        else:
            stored = _verified(Path(path), descriptor)
        with undisturbed():  # HDF5 calls back, and what is raised in there may get lost.
            try:
                file = h5py.File(stored, "r")
            except (OSError, ValueError, RuntimeError) as error:
                raise StoreError(f"{path}: {_reason(error)}") from None
            with file:
                _check_format(path, file)
                yield file


def stamp_of(path: str | Path) -> Stamp | None:
    """Return the state a file is in, None if it cannot be told."""
    try:
        return _stamp(path)
    except OSError:
        return None


def check_file(path: str) -> str:
    """Read the file at `path` to its end; return what is wrong with it, or nothing.

    It is what the child process does; damage may make it crash or never return. All that others
    read is read here: values, attributes, texts, and which dimensions variables stand over.
    """
    from fpsolve.recording.digest import read_everything

    size = os.stat(path).st_size
    with open(path, "rb") as raw:
        try:
            with h5py.File(CommittedFile(raw.fileno()), "r") as file:
                _check_format("", file)
                check_structure(file, size)
                check_chunks(file)
                read_everything(file)
        except StoreError as error:
            return str(error).removeprefix(": ")
        except MemoryError:
            raise
        except Exception as error:  # Whatever damage leads to.
            return _reason(error)
    return ""


def _verified(path: Path, descriptor: int) -> CommittedFile:
    """Return the file with its damage ruled out, as it is between two commits of a run."""
    for _ in range(_ATTEMPTS):
        before = _stamp(descriptor)
        stored = CommittedFile(descriptor)
        if not stored.sealed:
            _probe(path)
            return stored
        try:
            stored.verify()
        except StoreError as error:
            if _stamp(descriptor) == before:
                raise StoreError(f"{path}: {error}") from None
        else:
            if _stamp(descriptor) == before:
                return stored
    raise StoreError(f"{path}: changes while it is read; try again")


def _stamp(at: int | str | Path) -> Stamp:
    """The same of a descriptor or a path; `OSError` if it cannot be told."""
    status = os.stat(at)
    return status.st_size, status.st_mtime_ns


def _probe(path: Path) -> None:
    """Have a child process read the file to its end.

    Raises
    ------
    StoreError
        If it finds damage, crashes, or takes longer than the file's size allows.
    """
    limit = _SECONDS + _SECONDS_PER_BYTE * path.stat().st_size
    command = [sys.executable, "-m", "fpsolve.recording.probe", str(path), str(_MEMORY)]
    # The child finds the package where this process did.
    search = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, search))}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=limit, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        raise StoreError(f"{path}: is damaged: reading it did not end in {limit:.0f} s") from None
    if done.returncode == 1:
        raise StoreError(f"{path}: {done.stdout.strip()}")
    if done.returncode != 0:
        raise StoreError(f"{path}: is damaged: reading it crashes (code {done.returncode})")


def _check_format(path: str | Path, file: h5py.File) -> None:
    if _attribute(file, "format") != FORMAT:
        raise StoreError(f"{path}: is not a file written by fpsolve")
    version = _schema(file)
    if version not in _KNOWN_SCHEMAS:
        known = " and ".join(map(str, _KNOWN_SCHEMAS))
        raise StoreError(f"{path}: has schema version {version}, this version reads {known}")


def _schema(file: h5py.File) -> int:
    try:
        return int(_attribute(file, "schema_version"))
    except (TypeError, ValueError):
        return 0


def _attribute(file: h5py.File, name: str) -> Any:
    try:
        return file.attrs.get(name, 0)
    except (OSError, ValueError, TypeError, RuntimeError, KeyError):
        return 0


@contextlib.contextmanager
def _descriptor(path: Path) -> Iterator[int]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise StoreError(f"{path}: does not exist") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise StoreError(f"{path}: cannot be read: {reason}") from None
    try:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise StoreError(f"{path}: is a directory; name a result file in it")
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise StoreError(f"{path}: cannot be read: it is not a regular file")
        yield descriptor
    finally:
        os.close(descriptor)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    if "file signature not found" in text:
        return "cannot be read: not an HDF5 file"
    if "truncated file" in text:
        return "cannot be read: cut short"
    return f"is damaged: {text}"
