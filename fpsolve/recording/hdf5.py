"""`Hdf5Sink`: what a run reaches, in a file that grows with it.

Where its variables stand is told in `growth`; the groups `constants` and `checkpoint` hold arrays
under the names they were handed over with.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time as clock
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.errors import StoreError
from fpsolve.problem.problem import Problem
from fpsolve.recording.attributes import read_values, write_values
from fpsolve.recording.axes import (
    Block,
    axes_of,
    block_bytes,
    block_size,
    growing_axis,
    owned,
    part_of,
)
from fpsolve.recording.behind import Behind
from fpsolve.recording.commit import CommittedFile
from fpsolve.recording.compact import compact
from fpsolve.recording.digest import Ledger, check_digest
from fpsolve.recording.groups import read_group, write_group
from fpsolve.recording.growth import Growth, remove
from fpsolve.recording.header import write_header
from fpsolve.recording.layout import write_attribute
from fpsolve.recording.protocol import CHECKPOINT_INTERVAL, Arrays, Ending, copied
from fpsolve.recording.reading import Stamp, opened, stamp_of
from fpsolve.recording.replacement import Replacement, growing
from fpsolve.recording.signals import stopping_signal, undisturbed
from fpsolve.recording.target import (
    check_target,
    hold_still,
    let_go,
    new_file,
    put_in_place,
    refusal,
    write_lock,
)

if TYPE_CHECKING:
    from fpsolve.recording.array import StoredArray

__all__ = ["Hdf5Sink"]

# What is reached is on disk within this many seconds, or when it fills this much memory. A commit
# costs milliseconds, as each changes tables and half-filled chunks of all variables.
_SECONDS, _BYTES = 2.0, 2**24
# HDF5 keeps chunks of so many bytes a variable, by default of 8 MB, all of which a run would wait
# for at its end.
_ACCESS: dict[str, Any] = {"libver": ("v110", "v110"), "rdcc_nbytes": 2**19}
# Of a finished run, what readers would compute from its frames; variables before their dimensions.
_ADDED = (
    "density", "marginal_density", "level_occupancy", "frozen",
    "w_bounds", "w_width", "w_edges", "w", "bound", "level",
)  # fmt: skip


class Hdf5Sink:
    """Frames, the last checkpoint and all else about a run, in a file; see `Sink` for the methods.

    Blocks are written by a thread of their own while the run goes on; what fails there is raised by
    the method that is called next. Everything else waits for them, so that a checkpoint follows
    what it promises.

    Parameters
    ----------
    path : str or Path
        File to be written.
    overwrite : bool, default False
        Whether a file that exists may be replaced, which it is once the run is complete; until
        then the run grows in `NAME.partial` beside it.
    interval : float, default 60 s
        Seconds between checkpoints.
    resume : bool, default False
        Go on with a file that a run has left, or with the one that was to replace it: `state` is
        then its last checkpoint, and frames it holds already are not written again.
    finish : callable, optional
        Adds variables to a run that is complete: it is handed the open file and this sink, from
        which it may read the run.

    Attributes
    ----------
    path : Path
        Where the run is: `NAME.partial` until it is complete, if it is to replace a file.
    state : dict or None
        Where a resumed run goes on; None if it has to begin anew.
    count : int
        Number of frames so far.
    kind, status, times, options, constants, stats
        Of a resumed run: what it was opened with, and how it ended.

    Raises
    ------
    StoreError
        If the file cannot be written, or is being written by another run.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        overwrite: bool = False,
        interval: float = CHECKPOINT_INTERVAL,
        resume: bool = False,
        finish: Callable[[h5py.File, Hdf5Sink], None] | None = None,
    ) -> None:
        self.path = self._asked = Path(path)
        self._finish = finish
        self.state: dict[str, Any] | None = None
        self.constants: dict[str, Any] = {}
        self._interval = interval
        # What is to be replaced; whether the file has its name; whether anything in it, written or
        # committed, is worth to be kept.
        self._replacement: Replacement | None = None
        self._placed = self._written = self._worth = resume
        # The state in which the file was left: what has not changed since is not damaged.
        self._left: Stamp | None = None
        self._resources = contextlib.ExitStack()
        self._behind = Behind()
        # Bytes that came since the last commit.
        self._uncommitted = 0
        self._dense = 0
        self.count = 0
        self._resumed = resume
        self._wall_time = 0.0
        self._began = self._flushed = self._checked = clock.monotonic()
        if resume:
            self._replace(growing(path))
            self._reopen()
        else:
            self._target = check_target(path, overwrite=overwrite)
            if self._target.exists():
                replacement = Replacement(self._target)
                replacement.check()
                self._replace(replacement)

    def _replace(self, replacement: Replacement | None) -> None:
        if replacement is not None:
            self._replacement, self.path = replacement, replacement.path

    # --- what a run calls ------------------------------------------------------------------------

    def open(
        self,
        kind: str,
        problem: Problem | None,
        times: ArrayLike,
        options: Mapping[str, Any],
        *,
        constants: Arrays | None = None,
    ) -> None:
        """Bring the file into being, with everything known before the run."""
        requested = np.array(times, dtype=np.float64)
        if self._resumed:
            self._widen(kind, requested)
            return
        self.kind = kind
        self._behind.do(self._begin, problem, requested, dict(options), copied(constants or {}))

    def _begin(
        self, problem: Problem | None, requested: NDArray[np.float64], options: dict[str, Any],
        constants: Arrays,
    ) -> None:  # fmt: skip
        with self._failures():
            new = self._resources.enter_context(new_file(self._target))
            self._descriptor = new.descriptor
            write_lock(self._descriptor)
            self._raw = CommittedFile(self._descriptor)
            self._file = h5py.File(self._raw, "w", track_order=True, **_ACCESS)
            self._grow()
            self._ledger.begin()
            self._ledger.attributes(write_header(self._file, self.kind, problem))
            self._tell(status="running", wall_time=0.0)
            if self._replacement is not None:
                self._tell(**self._replacement.attributes())
            self._ledger.attributes(write_values(self._file, "options", options))
            self._growth.requested(requested)
            self._growth.constants(constants)
            self._commit()
            if self._replacement is None:
                put_in_place(new, self._target, overwrite=False)
            else:
                self._replacement.clear()
                put_in_place(new, self.path, overwrite=False, like=self._target)
            self._placed = True

    def extend(self, first: int, block: Block) -> None:
        """Keep what the run holds at requested time number `first` and those that follow."""
        size, known = block_size(block), self.count - first
        assert known >= 0, "blocks come in the order of the times"
        if known >= size:  # A resumed run comes past times that the file holds.
            return
        new = part_of(self.kind, block, known, size) if known else block
        self._behind.do(self._take, owned(new))
        self.count += size - known

    def _take(self, block: dict[str, Any]) -> None:
        """Write a block."""
        if "dense_end" in block:
            block["dense_end"] = block["dense_end"] + self._dense
            self._dense = int(block["dense_end"][-1])
        self._written = True
        self._uncommitted += block_bytes(block)
        with self._failures():
            self._growth.append(block)
            if not self._worth:
                with self._alone():
                    self._raw.write_ahead()
        self._tick()

    def _tick(self) -> None:
        """Commit what has waited for long."""
        if self._uncommitted >= _BYTES or clock.monotonic() - self._flushed >= _SECONDS:
            self._flush()

    def checkpoint_due(self) -> bool:
        """Whether the interval has passed."""
        now = clock.monotonic()
        if self._behind.idle() and now - self._flushed >= _SECONDS:
            self._behind.do(self._tick)
        return now - self._checked >= self._interval

    def checkpoint(self, arrays: Arrays) -> None:
        """Replace the last checkpoint, together with the frames before it."""
        self._behind.wait()
        with self._failures():
            self._keep_state(arrays)
        self._flush(durable=True)
        self._checked = clock.monotonic()

    def _keep_state(self, arrays: Arrays) -> None:
        if "checkpoint" in self._file:
            del self._file["checkpoint"]
        self._ledger.group("/checkpoint", write_group(self._file, "checkpoint", arrays))
        self._written = True

    def close(self, ending: Ending, state: Arrays | None = None) -> None:
        """Write how the run ended and its last state, and close the file.

        Complete, it takes the place of the file that it is to replace.
        """
        self._behind.wait()
        with self._failures():
            if state is not None:
                self._keep_state(state)
            stopped = stopping_signal() is signal.SIGTERM and ending.reason == "interrupted"
            self._tell(status="terminated" if stopped else ending.reason)
            if "message" in self._file.attrs:  # Why it failed at an earlier attempt.
                del self._file.attrs["message"]
                self._ledger.attributes({}, instead_of="message")
            if ending.message:
                self._tell(message=ending.message)
            stats = write_values(self._file, "stats", ending.stats, replace=self._resumed)
            self._ledger.attributes(stats, "stats.")
        complete = ending.reason == "completed"
        if complete and self._finish is not None:
            self._add_last(self._finish)
        replaces = complete and self._replacement is not None
        self._flush(last=True, durable=replaces)
        # While the lock is held.
        if self._resumed:
            compact(self.path)
        if replaces:
            self._take_place()
        elif self._replacement is not None:
            self._leave_nothing()
        self.abandon()
        self._left = stamp_of(self.path)

    def _add_last(self, finish: Callable[[h5py.File, Hdf5Sink], None]) -> None:
        self._flush()  # It is read back.
        self._left = stamp_of(self.path)
        with self._failures():
            finish(self._file, self)
            self._ledger.changed()

    def _take_place(self) -> None:
        assert self._replacement is not None
        with self._failures():
            self._replacement.take_place()
        self._replacement, self.path = None, self._asked

    @property
    def frames(self) -> Sequence[Mapping[str, NDArray[Any]]]:
        """The frames so far, read from the file one at a time."""
        from fpsolve.recording.frames import StoredFrames

        self._behind.wait()
        return StoredFrames(self.path, self._left)

    def series(self, name: str) -> NDArray[Any]:
        """All that was handed over as `name`, times along the first axis."""
        self._behind.wait()
        with opened(self.path, seen=self._left) as file:
            axes = axes_of(self.kind, name)
            if axes is None:
                raise StoreError(f"{self.path}: {name} has no one shape; ask for the frames")
            return np.moveaxis(file[name][...], growing_axis(axes), 0)

    def stored(self, name: str) -> StoredArray:
        """A view of the array `name` in the file."""
        from fpsolve.recording.array import StoredArray

        self._behind.wait()
        return StoredArray(self.path, name)

    # --- the file --------------------------------------------------------------------------------

    def _flush(self, *, durable: bool = False, last: bool = False) -> None:
        with self._failures():
            elapsed = clock.monotonic() - self._began
            self._tell(wall_time=self._wall_time + elapsed)
            # A run of less is done again sooner than a disk is waited for.
            self._commit(durable=durable or elapsed >= _SECONDS, last=last)
        self._flushed, self._uncommitted = clock.monotonic(), 0

    def _commit(self, *, durable: bool = False, last: bool = False) -> None:
        self._growth.write()
        self._ledger.write()
        if last:
            self._file.close()  # To memory, as a flush.
        else:
            h5py.h5f.flush(self._file.id)
        with self._alone():
            if last:
                self._raw.finish(durable=durable)
            else:
                self._raw.commit(durable=durable)
        self._worth = self._written

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep readers off."""
        hold_still(self._descriptor, exclusive=True)
        try:
            yield
        finally:
            let_go(self._descriptor)

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        """Turn a failed write into `StoreError`, and let go of the file, which stays as it was.

        A new one in which nothing was reached goes.
        """
        try:
            with undisturbed():
                yield
        except StoreError:
            self._let_go()
            raise
        except FileExistsError as error:
            self._let_go()
            raise StoreError(f"{self.path}: {error.strerror}") from None
        except OSError as error:
            self._leave_nothing()
            self._let_go()
            raise refusal(self._asked, error, self._left_behind()) from None

    def _leave_nothing(self) -> None:
        """Delete a new file in which nothing was reached."""
        if self._placed and not self._worth:
            self.path.unlink(missing_ok=True)

    def _left_behind(self) -> str:
        """Say what a failed write has left."""
        held = "holds what was reached before" if self._worth else ""
        if self._replacement is None:
            return f"; it {held}" if held else ""
        told = f"; {self._asked} is as it was"
        return f"{told}, {self.path} {held}" if held else told

    def abandon(self) -> None:
        """Let go of the file as the last commit left it."""
        self._behind.stop()
        self._let_go()

    def _let_go(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()  # What `CommittedFile` meets there, it does not tell HDF5.
            self._raw.let_go()
        self._resources.close()

    def _tell(self, **attributes: str | float) -> None:
        for name, value in attributes.items():
            write_attribute(self._file.id, name, value)
        self._ledger.attributes(attributes)

    def _grow(self) -> None:
        self._ledger = Ledger(self._file)
        self._growth = Growth(self._file, self.kind, self._ledger)

    # --- going on --------------------------------------------------------------------------------

    def _reopen(self) -> None:
        with opened(self.path) as file:  # Damage is found here, before anything is written.
            check_digest(file)
            if "requested_time" not in file:
                raise StoreError(f"{self.path}: is no run that could go on, but a finished result")
            self.count = int(file["time"].size)
            self._dense = int(file["dense_time"].size) if "dense_time" in file else 0
            # Killed before the first checkpoint, a run begins anew and comes past what is there.
            self.state = read_group(file["checkpoint"]) if "checkpoint" in file else None
            self.constants = read_group(file["constants"])
            self.status, self.kind = str(file.attrs["status"]), str(file.attrs["kind"])
        descriptor = os.open(self.path, os.O_RDWR)
        self._resources.callback(os.close, descriptor)
        # The file may have been replaced between the two.
        if not write_lock(descriptor) or not os.path.samestat(
            os.fstat(descriptor), os.stat(self.path)
        ):
            self._resources.close()
            raise StoreError(f"{self.path}: is being written by another run; wait or stop that run")
        self._descriptor = descriptor
        self._raw = CommittedFile(descriptor)
        self._file = h5py.File(self._raw, "r+", **_ACCESS)
        self._grow()
        self._wall_time = float(self._file.attrs["wall_time"])
        self.options = read_values(self._file, "options")
        self.stats = read_values(self._file, "stats")
        self.times = self._file["requested_time"][...]

    def _widen(self, kind: str, requested: NDArray[np.float64]) -> None:
        """Take on the times of a resumed run, which begin with those the file holds."""
        with self._failures():
            if kind != self.kind:
                raise StoreError(f"{self.path}: holds another kind of run")
            kept = self._file["time"][...]
            if requested.size < kept.size or not np.allclose(
                requested[: kept.size], self._file["requested_time"][: kept.size], rtol=0, atol=0
            ):
                raise StoreError(f"{self.path}: its {kept.size} times must come first in `times`")
            for name in _ADDED:  # It was made for the times so far.
                if name in self._file:
                    remove(self._file, name)
            self._ledger.changed()
            self._tell(status="running")
            self._growth.requested(requested)
            self._commit()
