"""Runs of the command line that are written as they go on, stop in order, and are resumed."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fpsolve
from fpsolve.cli.options import write_picture
from fpsolve.errors import ParameterError, SolveError, StoreError
from fpsolve.recording.signals import stopping_code, undisturbed

__all__ = [
    "add_resume",
    "check_same_problem",
    "go_on",
    "place",
    "reached",
    "stopped",
    "store_of",
    "told_where",
    "write_plot",
]


def add_resume(parser: argparse.ArgumentParser) -> None:
    """Add --resume."""
    text = "go on with the run in OUT.h5, up to the times asked for; its own options count"
    parser.add_argument("--resume", action="store_true", help=text)


def store_of(arguments: argparse.Namespace, finish: Any = None) -> Any:
    """Return where a run goes while it runs: the file of -o, completed by `finish`, or nowhere."""
    if arguments.output is None:
        return None
    from fpsolve.recording.hdf5 import Hdf5Sink

    return Hdf5Sink(arguments.output, overwrite=arguments.overwrite, finish=finish)


def go_on(
    arguments: argparse.Namespace, problem: Any, times: Any, *, finish: Any = None, **options: Any
) -> Any:
    """Return the whole run of which the file of -o holds the first part, completed by `finish`.

    Raises
    ------
    ParameterError
        If no file is named, or it is about another problem.
    """
    if arguments.output is None:
        raise ParameterError("--resume", True, "needs -o OUT.h5, the run to go on with")
    from fpsolve.recording.hdf5 import Hdf5Sink
    from fpsolve.store.resume import resumed

    check_same_problem(arguments, problem, place(arguments.output))
    with undisturbed():
        sink = Hdf5Sink(arguments.output, resume=True, finish=finish)
    return resumed(sink, times, progress=not arguments.quiet, **options)


def check_same_problem(
    arguments: argparse.Namespace, problem: Any, path: Path | None = None
) -> None:
    """Refuse to go on with a file, that of -o by default, that is about another problem.

    Raises
    ------
    StoreError
        If it is, or cannot be read.
    """
    from fpsolve.recording.provenance import problem_hash
    from fpsolve.recording.reading import opened

    path = arguments.output if path is None else path
    with opened(path) as file:
        stored = file.attrs.get("problem_hash", "")
    if stored != problem_hash(problem):
        raise StoreError(f"{path}: holds another problem than {arguments.problem}")


def place(output: Path) -> Path:
    """Return where the run to the file of -o is: beside the one that it is to replace, or there."""
    from fpsolve.recording.replacement import growing

    replacement = growing(output)
    return output if replacement is None else replacement.path


@contextlib.contextmanager
def told_where(arguments: argparse.Namespace) -> Iterator[None]:
    """Say of a run that fails where what it has reached is, if -o keeps it."""
    try:
        yield
    except SolveError as error:
        output = arguments.output
        kept = error.partial is not None
        if output is not None and (kept or place(output) != output):
            error.args = (f"{error}; {_whereabouts(output, 'what was reached')}",)
        raise


def stopped(arguments: argparse.Namespace, time: float, told: str | None = None) -> int:
    """Say in one line how far a run has come and how it goes on; return the exit code.

    By default -o holds a checkpoint.
    """
    code = stopping_code()
    how = "terminated" if code == 143 else "interrupted"
    kept = "so far is what was kept"
    if arguments.output is not None:
        where = _whereabouts(arguments.output, "a checkpoint")
        kept = told or f"{where}; --resume goes on from it"
    print(f"{how} at tau = {time:g}; {kept}", file=sys.stderr)
    return code


def _whereabouts(output: Path, what: str) -> str:
    where = place(output)
    return f"{where} holds {what}" + ("" if where == output else f", {output} is as it was")


def reached(output: Path) -> float:
    """Return the last time that the file of a stopped run holds, 0 if it holds none."""
    from fpsolve.recording.reading import opened

    with opened(place(output)) as file:
        times = file["time"][...]
    return float(times[-1]) if times.size else 0.0


def write_plot(arguments: argparse.Namespace, result: Any) -> None:
    """Draw the result where --plot says, and say so."""
    if arguments.plot is not None:
        write_picture(arguments, fpsolve.plot(result, log_time=arguments.log_time))
