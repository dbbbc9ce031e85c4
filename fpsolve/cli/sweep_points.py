"""`fpsolve sweep -o`: points on disk as they are solved, beside the file they end in."""

from __future__ import annotations

import argparse
import inspect
import shutil
from pathlib import Path
from typing import Any

import fpsolve
from fpsolve.cli.streaming import check_same_problem
from fpsolve.cli.sweep_question import SweepQuestion
from fpsolve.errors import ParameterError, StoreError
from fpsolve.recording.target import refusal

__all__ = ["Points", "finished", "whole"]


class Points:
    """The folder `OUT.h5.points` of a sweep that names no folder itself.

    It is there while the sweep is: with all points solved, in OUT.h5, nobody needs it.

    Parameters
    ----------
    arguments : Namespace
        Of the command line.

    Raises
    ------
    ParameterError
        If --resume has nothing to go on with.
    StoreError
        If an earlier sweep has left its points and nobody says what is to become of them.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        output = arguments.output
        if output is None:
            raise ParameterError("--resume", True, "needs -o OUT.h5, the sweep to go on with")
        self.folder = folder_of(output)
        if self.folder.exists() and not arguments.resume:
            if not arguments.overwrite:
                raise StoreError(
                    f"{self.folder}: holds points of a sweep that did not end; go on with "
                    "--resume, or begin anew with --overwrite"
                )
            self.drop()

    def options(self, question: SweepQuestion) -> dict[str, Any]:
        """Return the options of the question, with a seed that lasts where one is drawn."""
        options = dict(question.options)
        if "seed" in inspect.signature(question.solve).parameters and options.get("seed") is None:
            options["seed"] = self._seed()
        return options

    def _seed(self) -> int:
        from numpy.random import SeedSequence

        kept = self.folder / "seed"
        try:
            return int(kept.read_text(encoding="ascii"))
        except FileNotFoundError:
            seed = int(SeedSequence().entropy)  # type: ignore[arg-type]
        except (OSError, ValueError):
            raise StoreError(f"{kept}: holds no seed; begin anew with --overwrite") from None
        try:
            self.folder.mkdir(exist_ok=True)
            kept.write_text(str(seed), encoding="ascii")
        except OSError as error:
            raise refusal(kept, error) from None
        return seed

    def drop(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def folder_of(output: Path) -> Path:
    """Return where the points of a sweep to `output` are as long as it goes on."""
    return output.with_name(f"{output.name}.points")


def finished(arguments: argparse.Namespace, question: SweepQuestion) -> Any:
    """Return the sweep in the file of -o if it is this one and whole, else None.

    Raises
    ------
    StoreError
        If the file is about another problem.
    """
    output = arguments.output
    if not arguments.resume or output is None or not output.exists():
        return None
    if folder_of(output).exists() and whole(output):  # It stays until it is replaced.
        return None
    check_same_problem(arguments, question.problem)
    result = fpsolve.load(arguments.output)
    if not isinstance(result, fpsolve.SweepResult):
        raise StoreError(f"{arguments.output}: holds no sweep")
    asked = {name: tuple(values) for name, values in question.axes.items()}
    same = {name: tuple(values) for name, values in result.axes.items()} == asked
    told = {name: value for name, value in question.options.items() if value is not None}
    held = result.stats.get("options", {})
    same = same and all(str(held.get(n)) == str(v) for n, v in told.items() if n in held)
    return result if same and not result.not_reached else None


def whole(path: Path | None) -> bool:
    """Whether there is a file that is no sweep of which points are missing."""
    if path is None or not path.exists():
        return False
    try:
        result = fpsolve.load(path)
    except StoreError:
        return True
    return not (isinstance(result, fpsolve.SweepResult) and result.not_reached)
