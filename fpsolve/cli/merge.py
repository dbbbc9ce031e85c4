"""`fpsolve merge`: the parts of a sweep as one result."""

from __future__ import annotations

import argparse

import fpsolve
from fpsolve.cli.options import add_output, check_outputs, write_outputs
from fpsolve.cli.sweep_question import add_question, read_question
from fpsolve.cli.sweep_table import sweep_table

NAME = "merge"
SUMMARY = "put together what the parts of a sweep have solved; exit code 1 when some is missing"
EXAMPLE = "fpsolve merge sweep.toml -o sweep.h5"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fpsolve merge`: those that said what is asked, and the outputs."""
    add_question(parser)
    add_output(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Collect the answers, print them, write what was asked for."""
    check_outputs(arguments)
    question = read_question(arguments)
    result = fpsolve.collect_sweep(
        question.problem,
        question.axes,
        question.solve,
        store=question.store,
        **question.options,
    )
    print(sweep_table(result))
    write_outputs(arguments, result)
    if result.not_reached:
        missing = len(result.not_reached)
        print(f"{missing} points are not in {question.store}; run their parts again")
    return 1 if result.errors else 0
