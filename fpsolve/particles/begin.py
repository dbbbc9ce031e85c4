"""How a simulation begins: from the initial law, a trajectory, or a state to go on from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fpsolve.errors import ParameterError
from fpsolve.particles.population import Population, class_labels, draw_population
from fpsolve.particles.record import Record
from fpsolve.particles.state import RunState, Snapshot
from fpsolve.particles.streams import RunStreams, run_streams
from fpsolve.particles.timetable import Timetable
from fpsolve.particles.trajectory import ParticleTrajectory
from fpsolve.problem.problem import Problem
from fpsolve.recording.sink import Sink

__all__ = ["Beginning", "Start", "begin"]

# What `start=` accepts: a trajectory or its file, or a state to go on from.
Start = ParticleTrajectory | RunState | str | Path | None


@dataclass(frozen=True)
class Beginning:
    """What a simulation starts from.

    Attributes
    ----------
    timetable : Timetable
        When to record.
    record : Record
        With classes and teacher weights, and what was recorded before.
    streams : list of RunStreams
        Randomness of each run.
    snapshots : list of Snapshot
        Each run as it starts.
    options : dict
        Kind, seed and settings, for `stats` and the sink.
    sink : Sink or None
        Where to hand on what is reached.
    done : int
        Steps, over all runs, that are done already.
    """

    timetable: Timetable
    record: Record
    streams: list[RunStreams]
    snapshots: list[Snapshot]
    options: dict[str, Any]
    sink: Sink | None
    done: int


def begin(
    problem: Problem, timetable: Timetable, options: dict[str, Any], thresholds: int,
    start: Start, sink: Sink | None,
) -> Beginning:  # fmt: skip
    """Return what the simulation described by `options` starts from.

    Raises
    ------
    ParameterError
        If `start` does not fit the problem or the options.
    """
    if isinstance(start, RunState):
        return _go_on(problem, timetable, options, thresholds, start, sink)
    runs, entropy = options["runs"], options["seed"]
    streams = [run_streams(entropy, run) for run in range(runs)]
    if start is None:
        shared = options["shared_initial"]
        origins = [streams[0] if shared else own for own in streams]
        size, assignment = options["dimension"], options["teacher_assignment"]
        populations = [draw_population(problem, size, assignment, own) for own in origins]
    else:
        populations = _last_of(start, problem, options)
    record = Record(problem, timetable, populations, thresholds, sink)
    _open(sink, problem, record, timetable, options)
    snapshots = []
    for run, population in enumerate(populations):
        own = streams[run]
        heavy = population.w.size if options["kind"] == "ste" and problem.momentum > 0 else 0
        snapshots.append(
            Snapshot(
                keys=np.array([own.inputs, own.labels, own.rounding]),
                counters=np.zeros(4, dtype=np.int64),
                labels=record.labels[run],
                weights=population.w,
                teacher_weights=record.teacher_weights[run],
                velocities=np.zeros(heavy),
                flips=np.zeros(thresholds, dtype=np.int64),
                reached=0,
                moments=record.moments[run],
                flip_counts=record.flip_counts[run],
                pending=(),
            )
        )
    return Beginning(timetable, record, streams, snapshots, options, sink, 0)


def _open(
    sink: Sink | None, problem: Problem, record: Record, timetable: Timetable,
    options: dict[str, Any],
) -> None:  # fmt: skip
    if sink is not None:
        constants = {"teacher_weights": record.teacher_weights, "labels": record.labels}
        sink.open("particles", problem, timetable.kept, options, constants=constants)


def _last_of(start: object, problem: Problem, options: dict[str, Any]) -> list[Population]:
    """Return the last weights of a trajectory or a file as initial ones, moved within the walls."""
    if isinstance(start, str | Path):
        from fpsolve.recording.last import last_weights  # h5py only where a file is read

        last, teacher_weights, told = last_weights(start)
    elif isinstance(start, ParticleTrajectory):
        last, teacher_weights, told = start.weights[:, -1], start.teacher_weights, start.stats
    else:
        allowed = "must be a ParticleTrajectory or its file, to start from its end, or a RunState"
        raise ParameterError("start", start, allowed)
    shape = (options["runs"], options["dimension"])
    if teacher_weights.shape != shape:
        allowed = (
            f"must have the {shape[0]} run(s) of {shape[1]} coordinates asked for; pass runs and "
            "dimension (or particles) of the trajectory"
        )
        raise ParameterError("start", teacher_weights.shape, allowed)
    assignment = str(told.get("teacher_assignment", "exact"))
    labels = class_labels(problem, teacher_weights, assignment, told.get("seed"))
    weights = last.copy()
    if problem.weight_clip is not None:
        np.clip(weights, -problem.weight_clip, problem.weight_clip, out=weights)
    rows = zip(labels, teacher_weights, weights, strict=True)
    return [Population(*row) for row in rows]


def _go_on(
    problem: Problem, timetable: Timetable, options: dict[str, Any], thresholds: int,
    state: RunState, sink: Sink | None,
) -> Beginning:  # fmt: skip
    """Return a beginning where `state` stands."""
    runs, size = state.weights.shape
    wanted = (options["kind"], options["runs"], options["dimension"], thresholds)
    found = (state.kind, runs, size, state.flips.shape[1])
    if wanted != found:
        allowed = (
            f"belongs to a run with (kind, runs, coordinates, counted thresholds) = {found}, not "
            f"{wanted}; pass the arguments of that run"
        )
        raise ParameterError("start", "state", allowed)
    heavy = options["kind"] == "ste" and problem.momentum > 0
    if heavy != bool(state.velocities.shape[1]):
        allowed = "must be as in the run that the state belongs to: 0 or not"
        raise ParameterError("momentum", problem.momentum, allowed)
    populations = [
        Population(*parts)
        for parts in zip(state.labels, state.teacher_weights, state.weights, strict=True)
    ]
    record = Record(problem, timetable, populations, thresholds, sink)
    own = {**options, "seed": int(state.seed)}
    _open(sink, problem, record, timetable, own)
    record.restore(state)
    streams, snapshots = [], []
    for run in range(runs):
        seeds = run_streams(int(state.seed), run)
        inputs, labels, rounding = state.keys[run]
        streams.append(RunStreams(seeds.teacher, seeds.initial, inputs, labels, rounding))
        snapshots.append(
            Snapshot(
                keys=state.keys[run],
                counters=state.counters[run],
                labels=record.labels[run],
                weights=state.weights[run],
                teacher_weights=record.teacher_weights[run],
                velocities=state.velocities[run],
                flips=state.flips[run],
                reached=int(record.reached[run]),
                moments=record.moments[run],
                flip_counts=record.flip_counts[run],
                pending=(),
            )
        )
    done = int(state.counters[:, 0].sum())
    return Beginning(timetable, record, streams, snapshots, own, sink, done)
