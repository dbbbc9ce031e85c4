"""Runs that are to replace a file grow beside it, and take its place once they are complete.

So the old file is whole, under its own name, whatever becomes of the run: a full disk, a kill, an
error of the solve. What a run to NAME has reached until then is in `NAME.partial`, and says which
file it is to replace; `resume(NAME)` goes on with it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import h5py

from fpsolve.errors import StoreError
from fpsolve.recording.reading import Stamp, opened, stamp_of
from fpsolve.recording.target import partial_of, refusal, write_lock

__all__ = ["Replacement", "growing"]

_NAME, _BYTES, _MODIFIED = "replaces", "replaces_bytes", "replaces_modified"


class Replacement:
    """A run that is to replace a file, and where it grows.

    Parameters
    ----------
    target : Path
        The file that is there, links followed.
    stamp : Stamp, optional
        The state in which it was when the run began; that of now by default.

    Attributes
    ----------
    target, path : Path
        The file, and where the run grows.
    """

    def __init__(self, target: Path, stamp: Stamp | None = None) -> None:
        self.target, self.path = target, partial_of(target)
        self._stamp = stamp_of(target) if stamp is None else stamp

    def attributes(self) -> dict[str, str | int]:
        """What the run's file says about the one it is to replace."""
        size, modified = self._stamp or (0, 0)
        return {_NAME: self.target.name, _BYTES: size, _MODIFIED: modified}

    def check(self) -> None:
        """Raise `StoreError` if anything but an earlier run to the same file is in the way."""
        try:
            status = os.lstat(self.path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise refusal(self.path, error) from None
        if not stat.S_ISREG(status.st_mode) or _told(self.path, self.target) is None:
            raise StoreError(
                f"{self.path}: exists, where a run that replaces {self.target.name} would grow; "
                "move it away"
            )

    def clear(self) -> None:
        """Delete what an earlier run to the same file has left.

        Raises
        ------
        StoreError
            If that is no such run, or is being written.
        """
        self.check()
        try:
            descriptor = os.open(self.path, os.O_RDWR)
        except FileNotFoundError:
            return
        try:
            if not write_lock(descriptor):
                raise StoreError(f"{self.path}: is being written by another run; wait or stop that")
            self.path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)

    def take_place(self) -> None:
        """Let the run, complete, take the place and the mode of the old file.

        Raises
        ------
        StoreError
            If the old file is no longer what it was when the run began.
        OSError
            If the file system fails.
        """
        now = stamp_of(self.target)
        if now is not None:
            if now != self._stamp:
                raise StoreError(
                    f"{self.target}: has changed since the run began, and stays; the run is "
                    f"complete in {self.path}"
                )
            self.path.chmod(stat.S_IMODE(self.target.stat().st_mode))
        self.path.replace(self.target)


def growing(path: str | Path) -> Replacement | None:
    """Return the run that is to replace the file at `path`, None if there is none.

    Raises
    ------
    StoreError
        If what might be one cannot be read.
    """
    target = Path(os.path.realpath(path))
    partial = partial_of(target)
    if not partial.is_file():
        return None
    stamp = _told(partial, target)
    # A file that came there later is not what the run is to replace.
    return Replacement(target, stamp) if stamp_of(target) in (None, stamp) and stamp else None


def _told(partial: Path, target: Path) -> Stamp | None:
    """Return the state of `target` that a run is to replace, None if that is another file."""
    try:
        is_hdf5 = h5py.is_hdf5(partial)
    except OSError:
        is_hdf5 = False
    if not is_hdf5:
        return None
    with opened(partial) as file:
        if file.attrs.get(_NAME) != target.name:
            return None
        return int(file.attrs[_BYTES]), int(file.attrs[_MODIFIED])
