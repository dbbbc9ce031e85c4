"""Where a file may be written, and how it comes into being: whole, exclusive, without litter."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fpsolve.errors import StoreError

__all__ = [
    "NewFile",
    "check_target",
    "hold_still",
    "let_go",
    "locked",
    "new_file",
    "partial_of",
    "put_in_place",
    "refusal",
    "write_lock",
]

_EXISTS = "exists; choose another name, or pass overwrite (--overwrite in the shell)"
# Errors of the disk rather than of the name: trying again elsewhere or later may help.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)
# `struct flock` of Linux: type, whence, start, length, process. The lock lies far beyond any data.
_FLOCK = struct.Struct("hhqqi4x")
_WRITER, _READERS = 1 << 62, (1 << 62) + 1


def check_target(path: str | Path, *, overwrite: bool = False) -> Path:
    """Return `path` if a file can be written there, or raise `StoreError`.

    Parameters
    ----------
    path : str or Path
        File to be written; a symbolic link stands for what it points to.
    overwrite : bool, default False
        Whether a file that exists may be replaced.

    Returns
    -------
    Path
        The file itself, links followed.

    Raises
    ------
    StoreError
        If `path` is no regular file, exists without `overwrite`, is being written by a run, or its
        folder is missing or refuses new files.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise StoreError(f"{path}: is a directory; give a file name")
    if not target.parent.is_dir():
        raise StoreError(f"{path}: {target.parent} is not a directory; create it first")
    if target.exists():
        if not stat.S_ISREG(target.stat().st_mode):
            raise StoreError(f"{path}: is a device, a pipe or a socket; give the name of a file")
        if not overwrite:
            raise StoreError(f"{path}: {_EXISTS}")
        if locked(target) or locked(partial_of(target)):
            raise StoreError(f"{path}: is being written by another run; wait or stop that run")
    with contextlib.ExitStack() as stack:  # Permissions alone do not tell.
        try:
            stack.enter_context(new_file(target))
        except OSError as error:
            raise refusal(path, error) from None
    return target


def partial_of(target: Path) -> Path:
    """Return the name under which a run grows that is to replace `target`."""
    return target.with_name(f"{target.name}.partial")


def refusal(path: str | Path, error: OSError, then: str = "") -> StoreError:
    """Return the `StoreError` for a failed write, with its errno if the disk is full or fails.

    `then` says what is left.
    """
    told = StoreError(f"{path}: cannot be written: {error.strerror or error}{then}")
    if error.errno in _DISK:
        told.errno = error.errno
    return told


class NewFile(NamedTuple):
    """An open file that `put_in_place` will give its name; `part` is its hidden one, if any."""

    descriptor: int
    part: Path | None


@contextlib.contextmanager
def new_file(target: Path) -> Iterator[NewFile]:
    """Yield a new, empty file in the folder of `target`, closed on leaving.

    It has no name until `put_in_place` gives it one, so that a killed process leaves nothing,
    where the file system knows files without names; elsewhere it has a hidden one.
    """
    new = _nameless(target)
    try:
        yield new
    finally:
        os.close(new.descriptor)
        if new.part is not None:
            new.part.unlink(missing_ok=True)


def put_in_place(new: NewFile, target: Path, *, overwrite: bool, like: Path | None = None) -> None:
    """Give a new file its name; with `overwrite` it takes the old one's place and mode.

    `like` is a file whose mode it has in place of that.

    Raises
    ------
    FileExistsError
        If a file of that name has come into being meanwhile, without `overwrite`.
    OSError
        If the file system fails.
    """
    os.fchmod(new.descriptor, _mode(like or target))
    if overwrite and target.exists():
        part = new.part or _hidden(target)
        try:
            if new.part is None:
                _link(new, part)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        return
    try:
        _link(new, target)
    except FileExistsError:
        raise FileExistsError(errno.EEXIST, _EXISTS) from None
    except OSError:  # A file system without hard links: the hidden name is the only one.
        if new.part is None:
            raise
        new.part.replace(target)


def _link(new: NewFile, name: Path) -> None:
    if new.part is not None:
        os.link(new.part, name)
        return
    # With a folder, which an absolute path leaves unused, Python follows the link in /proc.
    source = f"/proc/self/fd/{new.descriptor}"
    os.link(source, name, src_dir_fd=new.descriptor, follow_symlinks=True)


def write_lock(descriptor: int) -> bool:
    """Mark an open file as being written until it is closed; False if another run does so.

    The lock belongs to the open file, not to the process, and is not the kind that HDF5 takes, so
    readers are not disturbed. Where the system has no such locks, nothing is marked.
    """
    return _set_lock(descriptor, _WRITER, exclusive=True)


def locked(path: Path) -> bool:
    """Whether a run is writing the file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return not _set_lock(descriptor, _WRITER, exclusive=False)
    finally:
        os.close(descriptor)


def hold_still(descriptor: int, *, exclusive: bool, patience: float = 10.0) -> bool:
    """Keep a file as it is while it is read, or, exclusive, keep readers off while it changes.

    Both wait for each other for `patience` seconds; False says that it was in vain.
    """
    end = time.monotonic() + patience
    while not _set_lock(descriptor, _READERS, exclusive=exclusive):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def let_go(descriptor: int) -> None:
    """End what `hold_still` began."""
    _set_lock(descriptor, _READERS, exclusive=None)


def _set_lock(descriptor: int, byte: int, *, exclusive: bool | None) -> bool:
    try:
        import fcntl

        command = fcntl.F_OFD_SETLK
        kinds = {True: fcntl.F_WRLCK, False: fcntl.F_RDLCK, None: fcntl.F_UNLCK}
    except (ImportError, AttributeError):
        return True
    try:
        fcntl.fcntl(descriptor, command, _FLOCK.pack(kinds[exclusive], os.SEEK_SET, byte, 1, 0))
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
    return True


def _nameless(target: Path) -> NewFile:
    if hasattr(os, "O_TMPFILE") and Path("/proc/self/fd").exists():
        try:
            return NewFile(os.open(target.parent, os.O_TMPFILE | os.O_RDWR, 0o600), None)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL):
                raise
    part = _hidden(target)
    return NewFile(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600), part)


def _hidden(target: Path) -> Path:
    return target.with_name(f".{target.name[:200]}.{secrets.token_hex(4)}.part")


def _mode(target: Path) -> int:
    """Return the mode of the file that is there, or what the umask leaves a new one."""
    if target.exists():
        return stat.S_IMODE(target.stat().st_mode)
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
