"""`fpsolve ode`: the isotropic closure."""

from __future__ import annotations

import argparse

import fpsolve
from fpsolve.cli.options import (
    add_output,
    add_problem,
    add_times,
    blame_file,
    check_outputs,
    read_problem,
    write_outputs,
)
from fpsolve.cli.tables import order_parameter_table

NAME = "ode"
SUMMARY = "integrate the macroscopic ODE of the isotropic closure"
EXAMPLE = "fpsolve ode problem.toml --times 0:120:61 -o ode.h5 --plot ode.png"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fpsolve ode`."""
    add_problem(parser)
    add_times(parser)
    parser.add_argument("--rtol", type=float, help="relative tolerance (default 1e-8)")
    add_output(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Integrate, print the order parameters, write what was asked for."""
    check_outputs(arguments)
    problem, options = read_problem(arguments)
    options.pop("scheme", None)  # the density's
    if arguments.rtol is None:
        options.pop("rtol", None)
    with blame_file(arguments):
        result = fpsolve.solve_ode(problem, **options)
    print(order_parameter_table(result.times, result.order_parameters))
    write_outputs(arguments, result)
    return 0
