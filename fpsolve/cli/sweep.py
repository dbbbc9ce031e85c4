"""`fpsolve sweep`: one question to many problems, here or on a cluster."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import fpsolve
from fpsolve.cli.options import add_output, check_outputs, write_outputs
from fpsolve.cli.streaming import write_plot
from fpsolve.cli.sweep_points import Points, finished, whole
from fpsolve.cli.sweep_question import SweepQuestion, add_question, read_question
from fpsolve.cli.sweep_table import sweep_table
from fpsolve.errors import ParameterError
from fpsolve.recording.signals import stopping_code, undisturbed

NAME = "sweep"
SUMMARY = "solve a grid of problems; exit code 1 when some of them failed"
EXAMPLE = (
    "fpsolve sweep problem.toml --axis weight_quantizer.omega=0.5:2:4 "
    "--axis learning_rate=0.01,0.04 --solver pde --times 0,60,120 --workers 2 -o sweep.h5"
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fpsolve sweep`."""
    add_question(parser)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--workers", type=int, metavar="N", help="local workers (default all cores)")
    where.add_argument("--dask", metavar="ADDRESS", help="scheduler, e.g. tcp://127.0.0.1:8786")
    text = "workers of `mpiexec -n N python -m mpi4py.futures -m fpsolve sweep …`"
    where.add_argument("--mpi", action="store_true", help=text)
    text = "only the I-th of N parts, as in a job array; `fpsolve merge` puts them together"
    parser.add_argument("--part", metavar="I/N", help=text)
    add_output(parser)
    text = "solve only what OUT.h5.points, or the folder of --store, does not hold yet"
    parser.add_argument("--resume", action="store_true", help=text)


def execute(arguments: argparse.Namespace) -> int:
    """Solve the grid, print the last ε_g of every point, write what was asked for."""
    check_outputs(arguments)
    question = read_question(arguments)
    if arguments.workers is not None and arguments.workers < 1:
        raise ParameterError("--workers", arguments.workers, "must be >= 1")
    part = _part(arguments.part)
    store = question.store if question.named or part is not None else None
    points = None
    if store is None and (arguments.output is not None or arguments.resume):
        points = Points(arguments)
        store = points.folder
    result = finished(arguments, question)
    if result is None:
        options = question.options if points is None else points.options(question)
        result = _solved(arguments, question, store, part, options)
    print(sweep_table(result))
    with undisturbed():
        arguments.overwrite = arguments.overwrite or arguments.resume
        missing = len(result.not_reached)
        kept = "the others are kept"
        if points is not None:
            kept = f"{store} holds the others; --resume goes on from there"
        if (
            missing and result.stats["interrupted"] and whole(arguments.output)
        ):  # Rather than a part of the new one.
            kept += f"; {arguments.output} is as it was"
            write_plot(arguments, result)
        else:
            write_outputs(arguments, result)
        if points is not None and not missing:
            points.drop()
    if result.stats["interrupted"] and missing:
        print(f"interrupted; {missing} points were not reached, {kept}")
        return stopping_code()
    if part is not None:
        print(f"part {arguments.part} is in {store}; fpsolve merge puts all parts together")
    return 1 if len(result.errors) > missing else 0


def _solved(
    arguments: argparse.Namespace, question: SweepQuestion, store: Any, part: Any,
    options: dict[str, Any],
) -> Any:  # fmt: skip
    with _executor(arguments) as executor:
        return fpsolve.sweep(
            question.problem,
            question.axes,
            question.solve,
            executor=executor,
            workers=arguments.workers,
            store=store,
            part=part,
            progress=True,
            **options,
        )


def _part(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    first, slash, last = text.partition("/")
    allowed = "must be I/N with 1 <= I <= N, e.g. 3/8"
    try:
        part = int(first), int(last)
    except ValueError:
        raise ParameterError("--part", text, allowed) from None
    if not slash or not 1 <= part[0] <= part[1]:
        raise ParameterError("--part", text, allowed)
    return part


@contextmanager
def _executor(arguments: argparse.Namespace) -> Iterator[Any]:
    """Yield the executor the options name, or None for this machine."""
    if arguments.dask is not None:
        with _extra("dask", "--dask"):
            distributed = import_module("distributed")
        try:
            client = distributed.Client(arguments.dask, timeout=10)
        except (OSError, ValueError) as error:
            allowed = f"is no scheduler that answers: {error}"
            raise ParameterError("--dask", arguments.dask, allowed) from None
        with client:
            yield client
    elif arguments.mpi:
        with _extra("mpi", "--mpi"):
            futures = import_module("mpi4py.futures")
        with futures.MPIPoolExecutor() as pool:
            yield pool
    else:
        yield None


@contextmanager
def _extra(extra: str, option: str) -> Iterator[None]:
    try:
        yield
    except ImportError:
        allowed = f"needs an extra; pip install 'fpsolve[{extra}]'"
        raise ParameterError(option, True, allowed) from None
