"""`fpsolve stationary`: the exact stationary states."""

from __future__ import annotations

import argparse

import fpsolve
from fpsolve.cli.options import add_picture, add_problem, check_picture, write_picture
from fpsolve.errors import ParameterError

NAME = "stationary"
SUMMARY = "list the exact stationary states of the PDE and the fixed points of the closure"
EXAMPLE = "fpsolve stationary problem.toml --plot stationary.png"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fpsolve stationary`."""
    add_problem(parser)
    add_picture(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Solve for the states, print a line each."""
    from fpsolve.problem.toml import read_problem_file

    check_picture(arguments)
    problem = read_problem_file(arguments.problem).problem
    print(f"{'state':>10}{'eps_g':>16}{'stable':>10}{'rate':>14}")
    states = fpsolve.stationary_states(problem)
    for state in states:
        rate = f"{state.relaxation_rate:>14.6g}"
        print(f"{'density':>10}{state.generalization_error:>16.10g}{state.stable!s:>10}{rate}")
    for point in fpsolve.isotropic_fixed_points(problem):
        rate = f"{-point.eigenvalues.real.max():>14.6g}"
        print(f"{'closure':>10}{point.generalization_error:>16.10g}{point.stable!s:>10}{rate}")
    if arguments.plot is not None:
        from fpsolve.plots.macro import plot_stationary_density

        if not states:
            raise ParameterError("--plot", str(arguments.plot), "needs a stationary state to draw")
        write_picture(arguments, plot_stationary_density(states[-1]))
    return 0
