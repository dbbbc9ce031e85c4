"""`fpsolve sweep`: one solver over a grid of problems."""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from typing import Any

import numpy as np

import fpsolve
from fpsolve.cli.options import (
    add_output,
    add_problem,
    add_simulation,
    add_times,
    check_outputs,
    numbers,
    read_problem,
    simulation,
    write_outputs,
)
from fpsolve.errors import ParameterError

NAME = "sweep"
SUMMARY = "solve a grid of problems; exit code 1 when some of them failed"
EXAMPLE = (
    "fpsolve sweep problem.toml --axis weight_quantizer.omega=0.5:2:4 "
    "--axis learning_rate=0.01,0.04 --solver pde --times 0,60,120 --workers 2 -o sweep.h5"
)

_SOLVERS = ("pde", "ode", "ste", "sde")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fpsolve sweep`."""
    add_problem(parser)
    parser.add_argument(
        "--axis",
        metavar="FIELD=VALUES",
        action="append",
        required=True,
        help="field of the problem and its values, start:stop:count or a comma list; repeatable",
    )
    parser.add_argument("--solver", choices=_SOLVERS, default="pde", help="default pde")
    add_times(parser)
    parser.add_argument("--rtol", type=float, help="relative tolerance (pde, ode)")
    parser.add_argument("--workers", type=int, default=1, help="processes (default 1)")
    add_simulation(parser)
    add_output(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Solve the grid, print the last ε_g of every point, write what was asked for."""
    check_outputs(arguments)
    problem, options = read_problem(arguments)
    axes = dict(_axis(text) for text in arguments.axis)
    solve = _solver(arguments, options)
    if arguments.workers < 1:
        raise ParameterError("--workers", arguments.workers, "must be >= 1")
    with _pool(arguments.workers) as pool:
        result = fpsolve.sweep(problem, axes, solve, executor=pool, progress=True, **options)
    _print(result)
    write_outputs(arguments, result)
    if result.stats["interrupted"]:
        print(
            f"interrupted; {len(result.not_reached)} points were not reached, the others are kept"
        )
        return 130
    return 1 if result.errors else 0


def _axis(text: str) -> tuple[str, list[Any]]:
    name, equals, values = text.partition("=")
    if not equals:
        raise ParameterError("--axis", text, "must be FIELD=VALUES, e.g. learning_rate=0.01,0.04")
    listed = numbers(f"--axis {name}", values)
    whole = "." not in values and "e" not in values.lower()
    integral = whole and all(value.is_integer() for value in listed)
    return name, [int(value) for value in listed] if integral else listed


def _solver(arguments: argparse.Namespace, options: dict[str, Any]) -> Any:
    """Return the solver, with its options put among `options`."""
    if arguments.solver == "pde":
        return fpsolve.solve_pde
    options.pop("scheme", None)
    if arguments.solver == "ode":
        return fpsolve.solve_ode
    options.pop("rtol", None)
    wanted = "dimension" if arguments.solver == "ste" else "particles"
    if getattr(arguments, wanted) is None:
        raise ParameterError(
            f"--{wanted}", None, f"is missing; --solver {arguments.solver} needs it"
        )
    simulate, size = simulation(arguments)
    options.update(size, runs=arguments.runs, seed=arguments.seed)
    return simulate


def _pool(workers: int) -> Any:
    if workers == 1:
        return nullcontext()
    import multiprocessing

    # Fresh processes: a fork would copy the threads of compiled code in an unknown state.
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


def _print(result: Any) -> None:
    """Print ε_g at the last time, a line a point (the mean over runs)."""
    widths = [max(len(name), 12) + 2 for name in result.axes]
    names = "".join(f"{name:>{w}}" for name, w in zip(result.axes, widths, strict=True))
    print(f"{names}{'eps_g':>16}")
    not_reached = result.not_reached
    for index in np.ndindex(*result.shape):
        if index in not_reached:
            continue
        point = zip(result.axes.values(), index, widths, strict=True)
        values = "".join(f"{values[i]!s:>{w}}" for values, i, w in point)
        last = result.order_parameters.generalization_error[index][..., -1].mean()
        shown = "failed" if index in result.errors else f"{last:.8g}"
        print(f"{values}{shown:>16}")
    for index, error in result.errors.items():
        if index not in not_reached:
            print(f"failed at {index}: {error}")
