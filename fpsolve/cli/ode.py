"""`fpsolve ode`: the isotropic closure."""

from __future__ import annotations

import argparse
from typing import Any

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
from fpsolve.cli.streaming import check_same_problem, stopped, write_plot
from fpsolve.cli.tables import order_parameter_table
from fpsolve.errors import ParameterError, SolveError
from fpsolve.recording.signals import noticed

NAME = "ode"
SUMMARY = "integrate the macroscopic ODE of the isotropic closure"
EXAMPLE = "fpsolve ode problem.toml --times 0:120:61 -o ode.h5 --plot ode.png"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fpsolve ode`."""
    add_problem(parser)
    add_times(parser)
    parser.add_argument("--rtol", type=float, help="relative tolerance (default 1e-8)")
    add_output(parser)
    text = "solve anew, in milliseconds, and replace OUT.h5, which holds the same problem"
    parser.add_argument("--resume", action="store_true", help=text)


def execute(arguments: argparse.Namespace) -> int:
    """Integrate, print the order parameters, write what was reached, whatever ends it.

    An integration takes milliseconds, and is written whole when it ends: by itself, at a signal, or
    where it fails. So it is begun anew by --resume, too. A file that is there is replaced by one
    that has ended by itself alone.
    """
    check_outputs(arguments)
    problem, options = read_problem(arguments)
    options.pop("scheme", None)  # the density's
    if arguments.rtol is None:
        options.pop("rtol", None)
    if arguments.resume:
        if arguments.output is None:
            raise ParameterError("--resume", True, "needs -o OUT.h5, the solve to go on with")
        check_same_problem(arguments, problem)
        arguments.overwrite = True
    with blame_file(arguments), noticed() as came:
        try:
            result = fpsolve.solve_ode(problem, callback=lambda *_: bool(came), **options)
        except SolveError as error:
            if arguments.output is not None and error.partial is not None:
                error.args = (f"{error}; {_kept(arguments, error.partial)}",)
            raise
        print(order_parameter_table(result.times, result.order_parameters))
        if came:
            return _stopped(arguments, result)
        write_outputs(arguments, result)
    return 0


def _stopped(arguments: argparse.Namespace, result: Any) -> int:
    """Keep what was reached when a signal came, and say so in one line."""
    told = None
    if arguments.output is not None:
        told = f"{_kept(arguments, result)}; --resume solves all of it anew"
    write_plot(arguments, result)
    return stopped(arguments, float(result.times[-1]), told)


def _kept(arguments: argparse.Namespace, partial: Any) -> str:
    """Write what was reached, unless a file is there; say what is in it now."""
    if arguments.output.exists():  # Rather the whole old solve than a part of the new one.
        return f"{arguments.output} is as it was"
    fpsolve.save(partial, arguments.output)
    return f"{arguments.output} holds what was reached"
