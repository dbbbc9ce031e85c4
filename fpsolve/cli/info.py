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


def execute(arguments: argparse.Namespace) -> int:
    """Print attributes, problem, statistics and order parameters."""
    from fpsolve.store.files import describe

    result = fpsolve.load(arguments.result)
    for name, value in describe(arguments.result).items():
        print(f"{name}: {value}")
    for name, value in result.stats.items():
        print(f"{name}: {_number(value)}")
    problem = result.base if isinstance(result, fpsolve.SweepResult) else result.problem
    print(f"\n{problem.to_toml().rstrip()}\n")
    if isinstance(result, fpsolve.SweepResult):
        for name, values in result.axes.items():
            print(f"{name}: {', '.join(str(value) for value in values)}")
        for index, error in result.errors.items():
            print(f"failed at {index}: {error}")
    else:
        print(order_parameter_table(result.times, result.order_parameters))
    return 0


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
