"""The common course of a simulation: advance all runs, hand on what is reached, end in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from fpsolve.errors import SolveError
from fpsolve.particles.begin import Beginning
from fpsolve.particles.record import Record
from fpsolve.particles.state import RunState, Snapshot
from fpsolve.particles.trajectory import ParticleTrajectory
from fpsolve.particles.workers import round_robin
from fpsolve.progress import Callback, Progress, progress_to, stopped_by
from fpsolve.recording.signals import undisturbed
from fpsolve.recording.sink import Ending, ending_after

__all__ = ["Walker", "drive"]


class Walker(Protocol):
    """One run on its way."""

    def advance(self) -> Iterator[int]:
        """Go to the end, yielding the work done after each chunk."""

    def snapshot(self) -> Snapshot:
        """Return copies of all that is needed to go on, between two chunks."""


class _Board:
    """Where runs leave snapshots of themselves when asked to, each between two chunks of its own.

    A run is on one thread at a time and leaves its snapshot itself; nothing has to stop for it.
    """

    def __init__(self, walkers: Sequence[Walker]) -> None:
        self._walkers = walkers
        self._asked = 0
        self._given = [0] * len(walkers)
        self._last: list[Snapshot | None] = [None] * len(walkers)

    def watched(self, run: int) -> Iterator[int]:
        """Advance a run, leaving a snapshot where one was asked for, and at the end."""
        walker = self._walkers[run]
        for work in walker.advance():
            if self._given[run] < self._asked:
                self._leave(run, self._asked)
            yield work
        self._leave(run, 2**62)

    def _leave(self, run: int, number: int) -> None:
        self._last[run] = self._walkers[run].snapshot()
        self._given[run] = number

    def ask(self) -> None:
        """Ask every run for a snapshot."""
        self._asked += 1

    def collect(self) -> list[Snapshot] | None:
        """Return the snapshots asked for, or None while one is missing or none was asked for."""
        if self._asked == 0 or min(self._given) < self._asked:
            return None
        return [snapshot for snapshot in self._last if snapshot is not None]


class _WithError:
    """Progress that tells the mean ε_g at the last time that all runs have reached, too."""

    def __init__(self, progress: Progress, record: Record) -> None:
        self._progress, self._record = progress, record

    def reach(
        self, position: float, generalization_error: float | None = None, *, failed: int = 0
    ) -> None:
        if self._record.complete:
            _, state = self._record.state_at(self._record.complete - 1)
            generalization_error = float(state.generalization_error.mean())
        self._progress.reach(position, generalization_error, failed=failed)


class _Listener:
    """A callback, called once for every requested time that all runs have reached.

    Attributes
    ----------
    raised : list of exceptions
        What it has raised.
    """

    def __init__(self, callback: Callback, record: Record) -> None:
        self._callback, self._record, self._told = callback, record, record.complete
        self.raised: list[BaseException] = []

    def stops(self) -> bool:
        """Tell it what is new; whether it wants the simulation to end."""
        while self._callback is not None and self._told < self._record.complete:
            self._told += 1
            if stopped_by(self._callback, *self._record.state_at(self._told - 1), self.raised):
                self._callback = None  # It is not told of what was on its way.
                return True
        return False


def drive(
    walkers: Sequence[Walker], beginning: Beginning, threads: int, *, total: float, label: str,
    unit: str, progress: bool, stats: Callable[[], dict[str, Any]], done: float = 0.0,
    callback: Callback = None, came: Sequence[BaseException] = (),
) -> ParticleTrajectory:  # fmt: skip
    """Advance all runs to their ends and return the trajectory they make.

    Parameters
    ----------
    walkers : sequence of Walker
        The runs.
    beginning : Beginning
        Where they record, and the sink, which is called from this thread alone.
    threads : int
        Number of threads.
    total, label, unit, progress
        As for `progress_to`.
    stats : callable
        Returns what is to be told of the finished simulation besides its options.
    done : float, default 0
        Work that was done before.
    callback : callable, optional
        Called from this thread once for every requested time that all runs have reached; what it
        raises is raised once the sink is closed in order.
    came : sequence of exceptions
        What `noticed` has noticed, which ends the simulation in order.

    Raises
    ------
    SolveError
        If the weights diverge; the sink is told.
    KeyboardInterrupt
        If interrupted before every run had begun.
    """
    record, sink, options = beginning.record, beginning.sink, beginning.options
    board = _Board(walkers)
    timetable = beginning.timetable
    waiting = False
    listener = _Listener(callback, record)

    def watch() -> None:
        attend()
        if came or listener.stops():
            raise KeyboardInterrupt  # ends a simulation in order, with what it has reached

    def state(snapshots: list[Snapshot]) -> RunState:
        kind, seed = options["kind"], options["seed"]
        return RunState.of(kind, seed, timetable.marks, timetable.dense, snapshots)

    def attend() -> None:
        nonlocal waiting
        record.hand_on()
        if sink is None:
            return
        if not waiting and sink.checkpoint_due():
            board.ask()
            waiting = True
        snapshots = board.collect() if waiting else None
        if snapshots is not None:
            record.hand_on(all_of_it=True)
            with undisturbed():
                sink.checkpoint(state(snapshots).to_arrays())
                waiting = False

    try:
        with progress_to(total, label, shown=progress, unit=unit) as reporter:
            interrupted = round_robin(
                [board.watched(run) for run in range(len(walkers))],
                threads,
                _WithError(reporter, record) if progress else reporter,
                attend=watch,
                done=done,
                full=record.full,
            )
    except SolveError as error:
        record.hand_on(all_of_it=True)
        if sink is not None:
            sink.close(Ending("failed", options, str(error)))
        raise
    record.hand_on(all_of_it=True)
    listener.stops()
    last = state([walker.snapshot() for walker in walkers])
    told = {**options, **stats(), "interrupted": interrupted}
    if sink is not None:
        with undisturbed():
            sink.close(ending_after(listener.raised, told), last.to_arrays())
    if listener.raised and not isinstance(listener.raised[0], KeyboardInterrupt):
        raise listener.raised[0]
    if came and not interrupted:  # It came when all was done.
        raise came[0]
    return record.trajectory(told, last, interrupted=interrupted)
