"""Runs of the command line that are written as they go on, stop in order, and are resumed."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import fpsolve
from fpsolve.cli.options import write_picture
from fpsolve.errors import ParameterError, StoreError
from fpsolve.recording.signals import stopping_code

__all__ = [
    "add_resume",
    "check_same_problem",
    "go_on",
    "reached",
    "stopped",
    "store_of",
    "write_plot",
]


def add_resume(parser: argparse.ArgumentParser) -> None:
    """Add --resume."""
    text = "go on with the run in OUT.h5, up to the times asked for; its own options count"
    parser.add_argument("--resume", action="store_true", help=text)


def store_of(arguments: argparse.Namespace) -> Any:
    """Return where a run goes while it runs: the file of -o, or nowhere."""
    if arguments.output is None:
        return None
    from fpsolve.recording.hdf5 import Hdf5Sink

    return Hdf5Sink(arguments.output, overwrite=arguments.overwrite)


def go_on(arguments: argparse.Namespace, problem: Any, times: Any, **options: Any) -> Any:
    """Return the whole run of which the file of -o holds the first part.

    Raises
    ------
    ParameterError
        If no file is named, or it is about another problem.
    """
    if arguments.output is None:
        raise ParameterError("--resume", True, "needs -o OUT.h5, the run to go on with")
    check_same_problem(arguments, problem)
    progress = not arguments.quiet
    return fpsolve.resume(arguments.output, times=times, progress=progress, **options)


def check_same_problem(arguments: argparse.Namespace, problem: Any) -> None:
    """Refuse to go on with a file of -o that is about another problem.

    Raises
    ------
    StoreError
        If it is, or cannot be read.
    """
    from fpsolve.recording.provenance import problem_hash
    from fpsolve.recording.reading import opened

    with opened(arguments.output) as file:
        stored = file.attrs.get("problem_hash", "")
    if stored != problem_hash(problem):
        raise StoreError(f"{arguments.output}: holds another problem than {arguments.problem}")


def stopped(
    arguments: argparse.Namespace, time: float, what: str = "a checkpoint",
    then: str = "goes on from it",
) -> int:  # fmt: skip
    """Say in one line how far a run has come and how it goes on; return the exit code."""
    code = stopping_code()
    how = "terminated" if code == 143 else "interrupted"
    kept = "so far is what was kept"
    if arguments.output is not None:
        kept = f"{arguments.output} holds {what}; --resume {then}"
    print(f"{how} at tau = {time:g}; {kept}", file=sys.stderr)
    return code


def reached(path: Path) -> float:
    """Return the last time that the file of a stopped run holds, 0 if it holds none."""
    from fpsolve.recording.reading import opened

    with opened(path) as file:
        times = file["time"][...]
    return float(times[-1]) if times.size else 0.0


def write_plot(arguments: argparse.Namespace, result: Any) -> None:
    """Draw the result where --plot says, and say so."""
    if arguments.plot is not None:
        write_picture(arguments, fpsolve.plot(result, log_time=arguments.log_time))
