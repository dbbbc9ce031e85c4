"""`Hdf5Sink`: what a run reaches, in a file that grows with it.

The root holds what readers of any kind look for: `time`, the order parameters over it, weights.
Frame arrays whose shape changes from time to time (adaptive meshes) are in the group `frames`, end
to end: `NAME` holds the values of all times, `NAME_shape` the shape at each. `constants` and
`checkpoint` hold arrays under the names they were handed over with.
"""

from __future__ import annotations

import contextlib
import os
import time as clock
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.errors import StoreError
from fpsolve.problem.problem import Problem
from fpsolve.recording.attributes import read_values, write_values
from fpsolve.recording.commit import CommittedFile
from fpsolve.recording.inspect import check_digest, write_digest
from fpsolve.recording.layout import ORDER_PARAMETER_LABELS, TIME, Label, create_variable
from fpsolve.recording.provenance import problem_hash, provenance
from fpsolve.recording.ragged import append_ragged
from fpsolve.recording.reading import FORMAT, SCHEMA_VERSION
from fpsolve.recording.sink import CHECKPOINT_INTERVAL, Arrays, Ending
from fpsolve.recording.target import (
    check_target,
    hold_still,
    let_go,
    new_file,
    put_in_place,
    refusal,
    write_lock,
)

__all__ = ["Hdf5Sink", "write_header"]

# What is reached is on disk within this many seconds, or when it fills this much memory.
_SECONDS = 1.0
_BYTES = 2**24
# Arrays that stand at the root: their axes but for `time`, and where `time` stands among them.
_PARTICLES = dict.fromkeys(ORDER_PARAMETER_LABELS, ("run", "time"))
_ROOT: dict[str, dict[str, tuple[str, ...]]] = {
    "particles": {**_PARTICLES, "weights": ("run", "time", "coordinate")},
    "*": dict.fromkeys(ORDER_PARAMETER_LABELS, ("time",)),
}
_LABELS = {**ORDER_PARAMETER_LABELS, "weights": Label("weight", "w_i")}
_INDEX_LABELS = {
    "run": Label("independent run"),
    "coordinate": Label("coordinate of the weight vector", "i"),
}


def write_header(file: h5py.File, kind: str, problem: Problem | None) -> None:
    """Write what every file says about itself as root attributes."""
    file.attrs["format"] = FORMAT
    file.attrs["schema_version"] = SCHEMA_VERSION
    file.attrs["kind"] = kind
    file.attrs["Conventions"] = "CF-1.11"
    for name, value in provenance().items():
        file.attrs[name] = value
    if problem is not None:
        file.attrs["problem"] = problem.to_toml()
        file.attrs["problem_hash"] = problem_hash(problem)


class Hdf5Sink:
    """Frames, the last checkpoint and all else about a run, in a file; see `Sink` for the methods.

    Parameters
    ----------
    path : str or Path
        File to be written.
    overwrite : bool, default False
        Whether a file that exists may be replaced.
    interval : float, default 60 s
        Seconds between checkpoints.
    resume : bool, default False
        Go on with a file that a run has left: `state` is then its last checkpoint, and frames it
        holds already are not written again.

    Attributes
    ----------
    state : dict or None
        Where a resumed run goes on.

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
    ) -> None:
        self.path = Path(path)
        self.state: dict[str, Any] | None = None
        self._interval = interval
        self._overwrite = overwrite
        self._resources = contextlib.ExitStack()
        self._waiting: dict[str, list[NDArray[Any]]] = {}
        self._bytes = 0
        self._count = 0
        self._wall_time = 0.0
        self._began = self._flushed = self._checked = clock.monotonic()
        if resume:
            self._reopen()
        else:
            self._target = check_target(path, overwrite=overwrite)

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
        requested = np.asarray(times, dtype=np.float64)
        if self.state is not None or self._count:
            self._widen(kind, requested)
            return
        with self._failures():
            new = self._resources.enter_context(new_file(self._target))
            self._descriptor = new.descriptor
            write_lock(self._descriptor)
            self._raw = CommittedFile(self._descriptor)
            self._file = h5py.File(self._raw, "w", libver=("v110", "v110"), track_order=True)
            write_header(self._file, kind, problem)
            self._file.attrs["status"] = "running"
            write_values(self._file, "options", options)
            _write_dimension(self._file, "time", np.empty(0), TIME, growing=True)
            self._requested(requested)
            _write_group(self._file, "constants", constants or {})
            self._commit()
            put_in_place(new, self._target, overwrite=self._overwrite)

    def frame(self, index: int, time: float, arrays: Arrays) -> None:
        """Keep what the run holds at requested time number `index`."""
        if index < self._count:  # A resumed run comes past times that the file holds.
            return
        assert index == self._count, "frames come in the order of the times"
        row = {"time": np.float64(time), **arrays}
        for name, value in row.items():
            array = np.array(value)
            self._waiting.setdefault(name, []).append(array)
            self._bytes += array.nbytes
        self._count += 1
        self.tick()

    def tick(self) -> None:
        """Write what has waited for long."""
        if self._bytes >= _BYTES or clock.monotonic() - self._flushed >= _SECONDS:
            self._flush()

    def checkpoint_due(self) -> bool:
        """Whether the interval has passed."""
        self.tick()
        return clock.monotonic() - self._checked >= self._interval

    def checkpoint(self, arrays: Arrays) -> None:
        """Replace the last checkpoint, together with the frames before it."""
        with self._failures():
            if "checkpoint" in self._file:
                del self._file["checkpoint"]
            _write_group(self._file, "checkpoint", arrays)
        self._flush(durable=True)
        self._checked = clock.monotonic()

    def close(self, ending: Ending) -> None:
        """Write how the run ended, and close the file."""
        with self._failures():
            self._file.attrs["status"] = ending.reason
            if ending.message:
                self._file.attrs["message"] = ending.message
            write_values(self._file, "stats", ending.stats)
        self._flush(last=True)
        with self._failures():
            self._file.close()
        self._resources.close()

    @property
    def frames(self) -> Sequence[Mapping[str, NDArray[Any]]]:
        """The frames so far, read from the file one at a time."""
        from fpsolve.recording.frames import StoredFrames

        return StoredFrames(self.path)

    # --- the file --------------------------------------------------------------------------------

    def _flush(self, *, durable: bool = False, last: bool = False) -> None:
        with self._failures():
            for name, rows in self._waiting.items():
                self._append(name, rows)
            self._waiting.clear()
            self._bytes = 0
            elapsed = clock.monotonic() - self._began
            self._file.attrs["wall_time"] = self._wall_time + elapsed
            self._commit(durable=durable, last=last)
        self._flushed = clock.monotonic()

    def _commit(self, *, durable: bool = False, last: bool = False) -> None:
        write_digest(self._file)
        self._file.flush()
        hold_still(self._descriptor, exclusive=True)
        try:
            if last:
                self._raw.finish()
            else:
                self._raw.commit(durable=durable)
        finally:
            let_go(self._descriptor)

    @contextlib.contextmanager
    def _failures(self) -> Any:
        """Turn a failed write into `StoreError`, and let go of the file, which stays as it was."""
        try:
            yield
        except StoreError:
            self._abandon()
            raise
        except FileExistsError as error:
            self._abandon()
            raise StoreError(f"{self.path}: {error.strerror}") from None
        except OSError as error:
            self._abandon()
            raise refusal(self.path, error) from None

    def _abandon(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()  # It writes to memory alone, so this cannot fail.
        self._resources.close()

    def _append(self, name: str, rows: list[NDArray[Any]]) -> None:
        kind = str(self._file.attrs["kind"])
        axes = {"time": ("time",), **_ROOT.get(kind, _ROOT["*"])}.get(name)
        if axes is None:
            append_ragged(self._file, name, rows)
            return
        axis = axes.index("time")
        block = np.stack(rows, axis=axis)
        if name not in self._file:
            self._create(name, axes, block)
        variable = self._file[name]
        known = variable.shape[axis]
        variable.resize(known + len(rows), axis=axis)
        variable[(slice(None),) * axis + (slice(known, None),)] = block

    def _create(self, name: str, axes: tuple[str, ...], block: NDArray[Any]) -> None:
        axis = axes.index("time")
        for dimension, size in zip(axes, block.shape, strict=True):
            if dimension not in self._file:
                values = np.arange(size, dtype=np.int32)
                label = _INDEX_LABELS[dimension]
                _write_dimension(self._file, dimension, values, label, growing=False)
        shape = (*block.shape[:axis], 0, *block.shape[axis + 1 :])
        variable = create_variable(
            self._file, name, block.dtype, shape, _LABELS[name], growing=axis
        )
        for position, dimension in enumerate(axes):
            variable.dims[position].attach_scale(self._file[dimension])

    def _requested(self, times: NDArray[np.float64]) -> None:
        if "requested_time" in self._file:
            self._file["requested_time"].resize(times.size, axis=0)
        else:
            label = Label("requested time, steps/dimension", "tau")
            _write_dimension(self._file, "requested_time", times, label, growing=True)
        self._file["requested_time"][...] = times

    # --- going on --------------------------------------------------------------------------------

    def _reopen(self) -> None:
        from fpsolve.recording.reading import opened

        with opened(self.path) as file:  # Damage is found here, before anything is written.
            check_digest(file)
            self._count = int(file["time"].size)
            if "checkpoint" not in file:
                raise StoreError(f"{self.path}: holds no checkpoint to go on from")
            self.state = _read_group(file["checkpoint"])
        descriptor = os.open(self.path, os.O_RDWR)
        self._resources.callback(os.close, descriptor)
        if not write_lock(descriptor):
            self._resources.close()
            raise StoreError(f"{self.path}: is being written by another run; wait or stop that run")
        self._descriptor = descriptor
        self._raw = CommittedFile(descriptor)
        self._file = h5py.File(self._raw, "r+", libver=("v110", "v110"))
        self._wall_time = float(self._file.attrs["wall_time"])
        self.options = read_values(self._file, "options")
        self.times = self._file["requested_time"][...]

    def _widen(self, kind: str, requested: NDArray[np.float64]) -> None:
        """Take on the times of a resumed run, which begin with those the file holds."""
        with self._failures():
            if kind != self._file.attrs["kind"]:
                raise StoreError(f"{self.path}: holds another kind of run")
            kept = self._file["time"][...]
            if requested.size < kept.size or not np.allclose(
                requested[: kept.size], self._file["requested_time"][: kept.size], rtol=0, atol=0
            ):
                raise StoreError(f"{self.path}: its {kept.size} times must come first in `times`")
            self._file.attrs["status"] = "running"
            self._requested(requested)
            self._commit()


def _write_dimension(
    file: h5py.File, name: str, values: NDArray[Any], label: Label, *, growing: bool
) -> None:
    axis = 0 if growing else None
    variable = create_variable(file, name, values.dtype, values.shape, label, growing=axis)
    variable[...] = values
    variable.make_scale(name)


def _write_group(file: h5py.File, name: str, arrays: Arrays) -> None:
    """Write arrays as variables of the group `name`, scalars and texts as its attributes."""
    group = file.create_group(name, track_order=True)
    for key, value in arrays.items():
        array = np.asarray(value)
        if array.ndim == 0:
            group.attrs[key] = array[()] if array.dtype.kind != "U" else str(array)
        elif array.size == 0:
            group.create_dataset(key, data=array)
        else:
            variable = create_variable(group, key, array.dtype, array.shape, Label(key))
            variable[...] = array


def _read_group(group: h5py.Group) -> dict[str, Any]:
    arrays: dict[str, Any] = {key: np.asarray(value)[()] for key, value in group.attrs.items()}
    arrays.update({key: variable[...] for key, variable in group.items()})
    return arrays
