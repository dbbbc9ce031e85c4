"""`fpsolve simulate`: the STE itself, or its limiting particles."""

from __future__ import annotations

import argparse
from typing import Any

from fpsolve.cli.options import (
    add_output,
    add_problem,
    add_simulation,
    add_times,
    check_outputs,
    read_problem,
    simulation,
)
from fpsolve.cli.streaming import (
    add_resume,
    go_on,
    place,
    stopped,
    store_of,
    told_where,
    write_plot,
)
from fpsolve.cli.tables import order_parameter_table

NAME = "simulate"
SUMMARY = "run the STE at finite dimension, or the limiting particle system"
EXAMPLE = (
    "fpsolve simulate problem.toml --dimension 900 --runs 5 --seed 1 --times 0:120:61 -o ste.h5"
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fpsolve simulate`."""
    add_problem(parser)
    add_times(parser)
    add_simulation(parser)
    parser.add_argument("--threads", type=int, help="threads (default: all cores)")
    add_output(parser)
    add_resume(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Simulate, writing as it goes on if -o says where; print the order parameters."""
    check_outputs(arguments)
    problem, options = read_problem(arguments)
    with told_where(arguments):
        result = _simulated(arguments, problem, options)
    if result.times.size == 0:
        raise KeyboardInterrupt
    print(order_parameter_table(result.times, result.order_parameters))
    print(f"seed {result.stats['seed']}")
    if arguments.output is not None:
        print(f"wrote {place(arguments.output)}")
    write_plot(arguments, result)
    if result.stats["interrupted"]:
        return stopped(arguments, float(result.times[-1]))
    return 0


def _simulated(arguments: argparse.Namespace, problem: Any, options: dict[str, Any]) -> Any:
    if arguments.resume:
        return go_on(arguments, problem, options["times"], threads=arguments.threads)
    simulate, size = simulation(arguments)
    return simulate(
        problem,
        options["times"],
        **size,
        runs=arguments.runs,
        seed=arguments.seed,
        threads=arguments.threads,
        progress=not arguments.quiet,
        store=store_of(arguments),
    )
