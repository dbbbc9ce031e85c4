"""`fpsolve info`: what a stored result is about."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import fpsolve
from fpsolve.cli.tables import order_parameter_table

NAME = "info"
SUMMARY = "show what a stored result holds"
EXAMPLE = "fpsolve info out.h5"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fpsolve info`."""
    parser.add_argument("result", metavar="RESULT.h5", type=Path, help="what `-o` wrote")
    text = "the problem and the order parameters, too"
    parser.add_argument("--all", action="store_true", help=text)


def execute(arguments: argparse.Namespace) -> int:
    """Print ten lines about the file; with --all, problem and order parameters."""
    from fpsolve.store.describe import describe

    for name, value in describe(arguments.result).items():
        print(f"{name}: {' '.join(value.split())}")
    if arguments.all:
        _print_content(fpsolve.load(arguments.result))
    return 0


def _print_content(result: Any) -> None:
    one = result[0] if isinstance(result, tuple) else result
    problem = getattr(one, "base", getattr(one, "problem", None))
    if problem is not None:
        print(f"\n{problem.to_toml().rstrip()}\n")
    if isinstance(one, fpsolve.SweepResult):
        for name, values in one.axes.items():
            print(f"{name}: {', '.join(str(value) for value in values)}")
        for index, error in one.errors.items():
            print(f"failed at {index}: {error}")
    elif hasattr(one, "times"):
        print(order_parameter_table(one.times, one.order_parameters))
