"""Options that several commands share, and what their text means."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import fpsolve
from fpsolve.errors import ParameterError, StoreError

__all__ = [
    "add_output",
    "add_picture",
    "add_problem",
    "add_simulation",
    "add_times",
    "blame_file",
    "check_outputs",
    "check_picture",
    "numbers",
    "read_problem",
    "simulation",
    "solver_options",
    "write_outputs",
    "write_picture",
]

_PICTURE_ENDINGS = frozenset(
    (".png", ".pdf", ".svg", ".jpg", ".jpeg", ".gif", ".eps", ".ps", ".tif", ".tiff", ".webp")
)


def add_problem(parser: argparse.ArgumentParser, *, default: str = "") -> None:
    """Add the problem file, optional where there is a default."""
    text = "problem file (TOML)" + (f"; without one {default}" if default else "")
    nargs = "?" if default else None
    parser.add_argument("problem", metavar="PROBLEM.toml", type=Path, nargs=nargs, help=text)


def add_times(parser: argparse.ArgumentParser) -> None:
    """Add --times."""
    text = "times tau, start:stop:count or a comma list; default: those of the problem file"
    parser.add_argument("--times", metavar="TIMES", help=text)


def add_simulation(parser: argparse.ArgumentParser) -> None:
    """Add the options of the simulations."""
    parser.add_argument("--dimension", type=int, metavar="D", help="weights of the model (STE)")
    parser.add_argument("--particles", type=int, metavar="N", help="particles of the limit (SDE)")
    parser.add_argument("--runs", type=int, default=1, help="independent runs (default 1)")
    parser.add_argument("--seed", type=int, help="seed of the random numbers; drawn by default")


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add -o, --plot, --log-time and --overwrite."""
    text = "write the result there"
    parser.add_argument("-o", "--output", metavar="OUT.h5", type=Path, help=text)
    parser.add_argument("--log-time", action="store_true", help="logarithmic time in the picture")
    add_picture(parser)


def add_picture(parser: argparse.ArgumentParser) -> None:
    """Add --plot and --overwrite."""
    parser.add_argument("--plot", metavar="OUT.png", type=Path, help="draw the result there")
    text = "replace files that exist, once the new ones are complete"
    parser.add_argument("--overwrite", action="store_true", help=text)


def numbers(field: str, text: str) -> list[float]:
    """Return the numbers that `start:stop:count` or a comma list stands for."""
    allowed = "must be start:stop:count, e.g. 0:120:61, or a comma list of numbers, e.g. 0,10,25"
    import numpy as np  # here, so that --help does without

    try:
        if ":" not in text:
            return [float(part) for part in text.split(",")]
        start, stop, count = text.split(":")
        if not 1 <= int(count) <= 1_000_000:
            raise ParameterError(field, text, "must count from 1 to 1000000 numbers")
        values: list[float] = np.linspace(float(start), float(stop), int(count)).tolist()
    except ValueError as error:
        if isinstance(error, ParameterError):
            raise
        raise ParameterError(field, text, allowed) from None
    return values


def read_problem(arguments: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """Return the problem of the file and its `[solve]` table, options of the command before it."""
    from fpsolve.problem.toml import read_problem_file

    parsed = read_problem_file(arguments.problem)
    return parsed.problem, solver_options(arguments, parsed.solve, source=str(arguments.problem))


def simulation(arguments: argparse.Namespace) -> tuple[Any, dict[str, int]]:
    """Return `simulate_ste` or `simulate_sde`, and the size it is to have."""
    if (arguments.dimension is None) == (arguments.particles is None):
        allowed = "give one of --dimension (the STE) and --particles (the limiting SDE)"
        raise ParameterError("--dimension", arguments.dimension, allowed)
    if arguments.dimension is not None:
        return fpsolve.simulate_ste, {"dimension": arguments.dimension}
    return fpsolve.simulate_sde, {"particles": arguments.particles}


def solver_options(
    arguments: argparse.Namespace, solve: dict[str, Any], *, source: str
) -> dict[str, Any]:
    """Return the options given on the command line, completed by those of the `[solve]` table."""
    from fpsolve.problem.checks import requested_times

    options = dict(solve)
    for name in ("rtol", "scheme"):
        if getattr(arguments, name, None) is not None:
            options[name] = getattr(arguments, name)
    if getattr(arguments, "patient", False):
        options["patient"] = True
    if arguments.times is not None:
        options["times"] = numbers("--times", arguments.times)
    if "times" not in options:
        allowed = "are missing; pass --times 0:120:61, or set times in the [solve] table"
        raise ParameterError(f"{source} times", None, allowed)
    with blame_file(arguments):
        options["times"] = requested_times(options["times"])
    if getattr(arguments, "log_time", False) and not options["times"][-1] > 0:
        raise ParameterError("--log-time", True, "needs a time > 0 to draw; drop it or add times")
    return options


@contextlib.contextmanager
def blame_file(arguments: argparse.Namespace) -> Iterator[None]:
    """Name file and table in errors about solver options that the command line did not set."""
    try:
        yield
    except ParameterError as error:
        set_here = getattr(arguments, error.field, None) is not None
        if error.field not in ("times", "rtol", "scheme") or set_here or not arguments.problem:
            raise
        field = f"{arguments.problem} [solve] {error.field}"
        raise ParameterError(field, error.value, error.allowed) from None


def check_outputs(arguments: argparse.Namespace) -> None:
    """Raise `StoreError` now if what is to be written at the end cannot be."""
    wanted = [path for path in (arguments.output, arguments.plot) if path is not None]
    _distinct([getattr(arguments, "problem", None), *wanted])
    if arguments.output is not None:
        if arguments.output.suffix.lower() in _PICTURE_ENDINGS:
            allowed = f"has the ending of a picture; draw with --plot {arguments.output}"
            raise ParameterError("-o", str(arguments.output), allowed)
        from fpsolve.recording.target import check_target

        kept = arguments.overwrite or getattr(arguments, "resume", False)
        check_target(arguments.output, overwrite=kept)
    check_picture(arguments)


def check_picture(arguments: argparse.Namespace) -> None:
    """Raise `StoreError` now if the picture cannot be written at the end."""
    if arguments.plot is not None:
        from fpsolve.plots.figures import check_figure_target

        check_figure_target(arguments.plot, overwrite=arguments.overwrite)


def write_outputs(arguments: argparse.Namespace, result: Any, figure: Any = None) -> None:
    """Write the result and its picture where the options say, and say so."""
    if arguments.output is not None:
        fpsolve.save(result, arguments.output, overwrite=arguments.overwrite)
        print(f"wrote {arguments.output}")
    if arguments.plot is not None:
        figure = fpsolve.plot(result, log_time=arguments.log_time) if figure is None else figure
        write_picture(arguments, figure)


def write_picture(arguments: argparse.Namespace, figure: Any) -> None:
    """Write a picture where the options say, and say so."""
    fpsolve.save_figure(figure, arguments.plot, overwrite=arguments.overwrite)
    print(f"wrote {arguments.plot}")


def _distinct(paths: Iterable[Path | None]) -> None:
    seen: set[Path] = set()
    for path in paths:
        if path is None:
            continue
        if path.resolve() in seen:
            raise StoreError(f"{path}: is named twice; give every file its own name")
        seen.add(path.resolve())
