"""`fpsolve run`: the density and its order parameters."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import fpsolve
from fpsolve.cli.options import (
    add_output,
    add_problem,
    add_times,
    blame_file,
    check_outputs,
    read_problem,
    solver_options,
)
from fpsolve.cli.streaming import (
    add_resume,
    go_on,
    place,
    reached,
    stopped,
    store_of,
    told_where,
    write_plot,
)
from fpsolve.cli.tables import order_parameter_table
from fpsolve.errors import StoreError

NAME = "run"
SUMMARY = "solve the PDE of the weight density"
EXAMPLE = "fpsolve run problem.toml --times 0:120:61 -o out.h5 --plot out.png"

_FIGURE_1_TIMES = [0.0, 10.0, 25.0, 50.0, 100.0]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fpsolve run`."""
    add_problem(parser, default="the paper's Fig. 1, written to fig1.h5 and fig1.png")
    add_times(parser)
    parser.add_argument("--rtol", type=float, help="relative tolerance (default 1e-6)")
    schemes = ("auto", "spectral-volume", "scharfetter-gummel")
    parser.add_argument("--scheme", choices=schemes, help="discretization (default auto)")
    text = "go on however long it takes, far beyond half a minute too"
    parser.add_argument("--patient", action="store_true", help=text)
    add_output(parser)
    add_resume(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Solve, writing as it goes on if -o says where; print the order parameters."""
    if arguments.problem is None:
        _name_outputs(arguments)
    check_outputs(arguments)
    if arguments.problem is None:
        problem = figure_1()
        options = solver_options(arguments, {"times": _FIGURE_1_TIMES}, source="Fig. 1")
    else:
        problem, options = read_problem(arguments)
    there = arguments.output is not None and arguments.output.exists()
    try:
        with told_where(arguments):
            result = _solved(arguments, problem, options)
    except KeyboardInterrupt:
        if arguments.output is None or not arguments.output.exists():
            raise
        if there and not arguments.resume and place(arguments.output) == arguments.output:
            raise  # The file is the old one.
        return stopped(arguments, reached(arguments.output))
    print(order_parameter_table(result.times, result.order_parameters))
    if arguments.output is not None:
        print(f"wrote {arguments.output}")
    write_plot(arguments, result)
    return 0


def _solved(arguments: argparse.Namespace, problem: Any, options: dict[str, Any]) -> Any:
    """Return the densities, which are in the file of -o too, cells included."""
    finish: Any = None
    if arguments.output is not None:
        from fpsolve.store.finish import add_cells

        finish = add_cells
    if arguments.resume:
        patient = bool(options.get("patient", False))
        return go_on(arguments, problem, options["times"], finish=finish, patient=patient)
    with blame_file(arguments):
        return fpsolve.solve_pde(
            problem, progress=not arguments.quiet, store=store_of(arguments, finish), **options
        )


def _name_outputs(arguments: argparse.Namespace) -> None:
    """Name the files of Fig. 1 that the command line did not, the picture after the result."""
    chosen = arguments.output is not None
    arguments.output = arguments.output or Path("fig1.h5")
    arguments.plot = arguments.plot or arguments.output.with_suffix(".png")
    taken = [str(path) for path in (arguments.output, arguments.plot) if path.exists()]
    if taken and not chosen and not arguments.overwrite:
        raise StoreError(
            f"{' and '.join(taken)}: exists; `fpsolve run --overwrite` replaces "
            "what is there, `fpsolve run -o OTHER.h5` keeps it and draws OTHER.png"
        )


def figure_1() -> Any:
    """Return the problem of the paper's Fig. 1: b = b_x = 2, ω = ω_x = 2, η = 0.04, w* = 1."""
    return fpsolve.Problem(
        weight_quantizer=fpsolve.UniformQuantizer(bit_width=2, omega=2.0),
        input_quantizer=fpsolve.UniformQuantizer(bit_width=2, omega=2.0),
        learning_rate=0.04,
    )
