"""What a sweep asks: its file, its axes and its solver, as text and as options."""

from __future__ import annotations

import argparse
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fpsolve
from fpsolve.cli.options import add_simulation, add_times, numbers, solver_options
from fpsolve.errors import ParameterError

__all__ = ["SweepQuestion", "add_question", "read_question"]

# Name of a solver on the command line -> in the package.
_SOLVERS = {
    "pde": "solve_pde",
    "ode": "solve_ode",
    "ste": "simulate_ste",
    "sde": "simulate_sde",
    "stationary": "stationary_states",
    "fixed-points": "isotropic_fixed_points",
    "optimal-range": "optimal_range",
    "closure-error": "closure_error",
    "flip-rate": "flip_rate",
}
# What the command line can set of a simulation.
_SIMULATION = ("dimension", "particles", "runs", "seed")
# Those that go on from the trajectory of `solve_pde`, and take its options.
_OF_DENSITY = ("closure-error", "flip-rate")
_AXIS = "must be FIELD=VALUES, e.g. learning_rate=0.01,0.04"


@dataclass(frozen=True)
class SweepQuestion:
    """The arguments of `fpsolve.sweep`.

    Attributes
    ----------
    problem : Problem
        The base.
    axes : dict
        Field name -> values.
    solve : callable
        The solver.
    options : dict
        Its options.
    store : Path
        Folder of answers, where the file or the command names one; beside the file by default.
    named : bool
        Whether one of them names it.
    """

    problem: Any
    axes: dict[str, list[Any]]
    solve: Any
    options: dict[str, Any]
    store: Path
    named: bool


def add_question(parser: argparse.ArgumentParser) -> None:
    """Add the file and the options that say what is asked."""
    text = "problem file, whose [sweep] table may hold axes, solver, options and store"
    parser.add_argument("problem", metavar="SWEEP.toml", type=Path, help=text)
    text = "field of the problem and its values, start:stop:count, start:stop:count:log or a list"
    parser.add_argument(
        "--axis",
        metavar="FIELD=VALUES",
        action="append",
        default=[],
        help=f"{text}; repeatable",
    )
    parser.add_argument("--solver", choices=tuple(_SOLVERS), help="default pde")
    add_times(parser)
    parser.add_argument("--rtol", type=float, help="relative tolerance (pde, ode)")
    add_simulation(parser)
    parser.set_defaults(runs=None)  # what the file says counts where the command says nothing
    text = "folder where answers are kept, so that the same line goes on after any end"
    parser.add_argument("--store", metavar="FOLDER", type=Path, help=text)


def read_question(arguments: argparse.Namespace) -> SweepQuestion:
    """Return what the file and the options ask."""
    problem, solve_table, table = _read(arguments.problem)
    source = str(arguments.problem)
    _known(f"{source} [sweep]", table, ("solver", "axes", "options", "store"))
    axes = _axes(arguments, table, source)
    name = arguments.solver or table.get("solver", "pde")
    if name not in _SOLVERS:
        allowed = f"must be one of {', '.join(_SOLVERS)}"
        raise ParameterError(f"{source} [sweep] solver", name, allowed)
    solve = getattr(fpsolve, _SOLVERS[name])
    options = _options(arguments, name, solve, solve_table, table.get("options", {}))
    store = arguments.store or table.get("store")
    default = arguments.problem.with_suffix(".answers")
    return SweepQuestion(problem, axes, solve, options, Path(store or default), store is not None)


def _read(path: Path) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Return the problem, the `[solve]` and the `[sweep]` table."""
    import tomllib

    import tomli_w

    from fpsolve.problem.toml import parse_problem, read_problem_file

    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        document = {}
    table = document.pop("sweep", None)
    if table is None:  # a plain problem file, or none at all: its reader says what is wrong
        parsed = read_problem_file(path)
        return parsed.problem, dict(parsed.solve), {}
    if not isinstance(table, dict):
        raise ParameterError(f"{path} sweep", table, "must be a table; write [sweep]")
    parsed = parse_problem(tomli_w.dumps(document), source=str(path))
    return parsed.problem, dict(parsed.solve), table


def _axes(arguments: argparse.Namespace, table: dict[str, Any], source: str) -> dict[str, Any]:
    axes: dict[str, list[Any]] = {}
    told = table.get("axes", {})
    if not isinstance(told, dict):
        raise ParameterError(f"{source} [sweep] axes", told, "must be a table; write [sweep.axes]")
    for name, values in told.items():
        field = f"{source} [sweep.axes] {name}"
        axes[name] = _range(field, values) if isinstance(values, str) else values
        if not isinstance(axes[name], list):
            raise ParameterError(field, values, 'must be a list, or text like "0.5:2:4"')
    for text in arguments.axis:
        name, equals, values = text.partition("=")
        if not equals:
            raise ParameterError("--axis", text, _AXIS)
        if name in axes:
            raise ParameterError("--axis", text, f"gives {name} twice; join its values in one axis")
        axes[name] = _range(f"--axis {name}", values)
    if not axes:
        allowed = f"is missing, and {source} has no [sweep.axes]; it {_AXIS}"
        raise ParameterError("--axis", None, allowed)
    return axes


def _range(field: str, text: str) -> list[Any]:
    """Return the values that text stands for; whole numbers stay whole."""
    if text.endswith(":log"):
        import numpy as np

        ends = numbers(field, text.removesuffix(":log"))
        if ends[0] <= 0 or ends[-1] <= 0:
            raise ParameterError(field, text, "must be > 0 on a logarithmic scale")
        spaced: list[Any] = np.geomspace(ends[0], ends[-1], len(ends)).tolist()
        return spaced
    listed = numbers(field, text)
    whole = "." not in text and "e" not in text.lower()
    integral = whole and all(value.is_integer() for value in listed)
    return [int(value) for value in listed] if integral else list(listed)


def _options(
    arguments: argparse.Namespace,
    name: str,
    solve: Any,
    solve_table: dict[str, Any],
    told: dict[str, Any],
) -> dict[str, Any]:
    """Return the options of the solver: those of the file, those of the command before them."""
    takes = set(inspect.signature(solve).parameters)
    if name in _OF_DENSITY:
        takes |= {"times", "rtol", "scheme"}
    options: dict[str, Any] = {}
    if "times" in takes:
        every = solver_options(arguments, solve_table, source=str(arguments.problem))
        options = {key: value for key, value in every.items() if key in takes}
    options.update(told)
    given = {key: getattr(arguments, key) for key in _SIMULATION}
    options.update({k: v for k, v in given.items() if v is not None and k in takes})
    for key in ("dimension", "particles"):
        if key in takes and options.get(key) is None:
            allowed = f"is missing; --solver {name} needs it"
            raise ParameterError(f"--{key}", None, allowed)
    return options


def _known(where: str, table: dict[str, Any], allowed: tuple[str, ...]) -> None:
    for key in table:
        if key not in allowed:
            text = f"is not a key here; allowed: {', '.join(allowed)}"
            raise ParameterError(f"{where} {key}", table[key], text)
