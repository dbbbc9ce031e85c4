"""`Hdf5Sink`: what a run reaches, in a file that grows with it.

The root holds what readers of any kind look for: `time`, the order parameters over it, weights.
Frame arrays whose shape changes from time to time (adaptive meshes) are in the group `frames`, end
to end: `NAME` holds the values of all times, `NAME_shape` the shape at each. `constants` and
`checkpoint` hold arrays under the names they were handed over with.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time as clock
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.errors import StoreError
from fpsolve.problem.problem import Problem
from fpsolve.recording.attributes import read_values, write_values
from fpsolve.recording.commit import CommittedFile
from fpsolve.recording.groups import read_group, write_group
from fpsolve.recording.inspect import check_digest, write_digest
from fpsolve.recording.layout import ORDER_PARAMETER_LABELS, TIME, Label, create_variable
from fpsolve.recording.protocol import CHECKPOINT_INTERVAL, Arrays, Ending
from fpsolve.recording.provenance import problem_hash, provenance
from fpsolve.recording.ragged import append_ragged
from fpsolve.recording.reading import FORMAT, SCHEMA_VERSION
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

__all__ = ["Hdf5Sink", "write_header"]

# What is reached is on disk within this many seconds, or when it fills this much memory.
_SECONDS = 1.0
_BYTES = 2**24
# Arrays that stand at the root, with their axes: those along `time` get one entry a frame, those
# along `dense_time` as many as the frame brings. All others are in the group `frames`.
_STATE = tuple(ORDER_PARAMETER_LABELS)
_TIMES = {"time": ("time",), "dense_time": ("dense_time",), "dense_end": ("time",)}
_ROOT: dict[str, dict[str, tuple[str, ...]]] = {
    "particles": {
        **_TIMES,
        **dict.fromkeys(_STATE, ("run", "time")),
        **dict.fromkeys((f"dense_{name}" for name in _STATE), ("run", "dense_time")),
        "weights": ("run", "time", "coordinate"),
        "flip_counts": ("run", "dense_time", "threshold"),
        "teacher_weights": ("run", "coordinate"),
    },
    "*": {
        **_TIMES,
        **dict.fromkeys(_STATE, ("time",)),
        **dict.fromkeys((f"dense_{name}" for name in _STATE), ("dense_time",)),
        "teacher": ("teacher",),
        "teacher_probability": ("teacher",),
    },
}
# Of a finished run, what readers would compute from its frames; variables before their dimensions.
_ADDED = (
    "density", "marginal_density", "level_occupancy", "frozen",
    "w_bounds", "w_width", "w_edges", "w", "bound", "level",
)  # fmt: skip
_LABELS = {
    **ORDER_PARAMETER_LABELS,
    **{f"dense_{name}": label for name, label in ORDER_PARAMETER_LABELS.items()},
    "time": TIME,
    "dense_time": Label("finer times, steps/dimension", "tau"),
    "dense_end": Label("number of finer times up to this time"),
    "weights": Label("weight", "w_i"),
    "teacher_weights": Label("teacher weight", "w*_i"),
    "flip_counts": Label("how often weights have passed the threshold"),
    "teacher": Label("teacher value", "w*"),
    "teacher_probability": Label("probability of the teacher value", "p(w*)"),
    "run": Label("independent run"),
    "coordinate": Label("coordinate of the weight vector", "i"),
    "threshold": Label("number of the threshold"),
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
    ) -> None:
        self.path = Path(path)
        self.state: dict[str, Any] | None = None
        self.constants: dict[str, Any] = {}
        self._interval = interval
        self._overwrite = overwrite
        self._resources = contextlib.ExitStack()
        self._waiting: dict[str, list[NDArray[Any]]] = {}
        self._bytes = 0
        self._described: dict[str, list[Any]] = {}
        self.count = self._dense = 0
        self._resumed = resume
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
        if self._resumed:
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
            self._file.attrs["wall_time"] = 0.0
            write_values(self._file, "options", options)
            _write_dimension(self._file, "time", np.empty(0), TIME, growing=True)
            self._requested(requested)
            self._constants(constants or {})
            self._commit()
            put_in_place(new, self._target, overwrite=self._overwrite)

    def frame(self, index: int, time: float, arrays: Arrays) -> None:
        """Keep what the run holds at requested time number `index`."""
        if index < self.count:  # A resumed run comes past times that the file holds.
            return
        assert index == self.count, "frames come in the order of the times"
        with undisturbed():
            self._keep({"time": np.float64(time), **arrays})
        self.tick()

    def _keep(self, row: dict[str, Any]) -> None:
        if "dense_time" in row:
            self._dense += len(row["dense_time"])
            row["dense_end"] = np.int64(self._dense)
        for name, value in row.items():
            array = np.array(value)
            self._waiting.setdefault(name, []).append(array)
            self._bytes += array.nbytes
        self.count += 1

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
            write_group(self._file, "checkpoint", arrays)
        self._flush(durable=True)
        self._checked = clock.monotonic()

    def close(self, ending: Ending) -> None:
        """Write how the run ended, and close the file."""
        with self._failures():
            stopped = stopping_signal() is signal.SIGTERM and ending.reason == "interrupted"
            self._file.attrs["status"] = "terminated" if stopped else ending.reason
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

    def series(self, name: str) -> NDArray[Any]:
        """All that was handed over as `name`, times along the first axis."""
        from fpsolve.recording.reading import opened

        with opened(self.path) as file:
            axes = self._axes_of(str(file.attrs["kind"]), name) or ()
            growing = next(a for a, axis in enumerate(axes) if axis in ("time", "dense_time"))
            return np.moveaxis(file[name][...], growing, 0)

    def stored(self, name: str) -> StoredArray:
        """A view of the array `name` in the file."""
        from fpsolve.recording.array import StoredArray

        return StoredArray(self.path, name)

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
        write_digest(self._file, self._described)
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
            with undisturbed():
                yield
        except StoreError:
            self.abandon()
            raise
        except FileExistsError as error:
            self.abandon()
            raise StoreError(f"{self.path}: {error.strerror}") from None
        except OSError as error:
            self.abandon()
            raise refusal(self.path, error) from None

    def add(self, write: Callable[[h5py.File], None]) -> None:
        """Let `write` add variables to a finished run, all of them or none, and close the file."""
        with self._failures():
            write(self._file)
        self._flush(last=True)
        with self._failures():
            self._file.close()
        self._resources.close()

    def abandon(self) -> None:
        """Let go of the file as the last commit left it."""
        if hasattr(self, "_file"):
            self._file.close()  # It writes to memory alone, so this cannot fail.
        self._resources.close()

    def _axes(self, name: str) -> tuple[str, ...] | None:
        return self._axes_of(str(self._file.attrs["kind"]), name)

    @staticmethod
    def _axes_of(kind: str, name: str) -> tuple[str, ...] | None:
        return _ROOT.get(kind, _ROOT["*"]).get(name)

    def _constants(self, constants: Arrays) -> None:
        """Write arrays that hold for all times: known ones at the root, others in a group."""
        others = dict(constants)
        for name in [name for name in others if self._axes(name) is not None]:
            values = np.asarray(others.pop(name))
            axes = self._axes(name) or ()
            if axes == (name,):
                _write_dimension(self._file, name, values, _LABELS[name], growing=False)
                continue
            self._dimensions(axes, values.shape)
            variable = create_variable(self._file, name, values.dtype, values.shape, _LABELS[name])
            variable[...] = values
            _attach(self._file, variable, axes)
        write_group(self._file, "constants", others)

    def _append(self, name: str, rows: list[NDArray[Any]]) -> None:
        axes = self._axes(name)
        if axes is None:
            append_ragged(self._file, name, rows)
            return
        growing = next(a for a, axis in enumerate(axes) if axis in ("time", "dense_time"))
        join = np.stack if axes[growing] == "time" else np.concatenate
        block = join(rows, axis=growing)
        if name not in self._file:
            self._create(name, axes, growing, block)
        variable = self._file[name]
        known = variable.shape[growing]
        variable.resize(known + block.shape[growing], axis=growing)
        variable[(slice(None),) * growing + (slice(known, None),)] = block

    def _create(self, name: str, axes: tuple[str, ...], growing: int, block: NDArray[Any]) -> None:
        if axes == (name,):
            _write_dimension(self._file, name, np.empty(0), _LABELS[name], growing=True)
            return
        self._dimensions(axes, block.shape)
        shape = (*block.shape[:growing], 0, *block.shape[growing + 1 :])
        label = _LABELS[name]
        variable = create_variable(
            self._file, name, block.dtype, shape, label, growing=growing, noise=name == "weights"
        )
        _attach(self._file, variable, axes)

    def _dimensions(self, axes: tuple[str, ...], shape: tuple[int, ...]) -> None:
        """Write the dimensions that are not there, numbered from 0."""
        for axis, size in zip(axes, shape, strict=True):
            if axis not in self._file:
                growing = axis in ("time", "dense_time")
                values = np.empty(0) if growing else np.arange(size, dtype=np.int32)
                _write_dimension(self._file, axis, values, _LABELS[axis], growing=growing)

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
        if not write_lock(descriptor):
            self._resources.close()
            raise StoreError(f"{self.path}: is being written by another run; wait or stop that run")
        self._descriptor = descriptor
        self._raw = CommittedFile(descriptor)
        self._file = h5py.File(self._raw, "r+", libver=("v110", "v110"))
        self._wall_time = float(self._file.attrs["wall_time"])
        self.options = read_values(self._file, "options")
        self.stats = read_values(self._file, "stats")
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
            for name in _ADDED:  # It was made for the times so far.
                if name in self._file:
                    _remove(self._file, name)
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


def _attach(file: h5py.File, variable: h5py.Dataset, axes: tuple[str, ...]) -> None:
    for position, axis in enumerate(axes):
        variable.dims[position].attach_scale(file[axis])


def _remove(file: h5py.File, name: str) -> None:
    """Delete a variable; no dimension refers to it any more."""
    for axis in file[name].dims:
        for scale in list(axis.values()):
            axis.detach_scale(scale)
    del file[name]
