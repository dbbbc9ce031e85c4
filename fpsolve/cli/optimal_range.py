"""`fpsolve optimal-range`: the quantization range that serves best at given bits."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import fpsolve
from fpsolve.cli.options import add_picture, add_problem, check_picture, numbers, write_picture
from fpsolve.errors import ParameterError

NAME = "optimal-range"
SUMMARY = "find the quantization range with the smallest generalization error"
EXAMPLE = "fpsolve optimal-range problem.toml --which weights --layer layer.npy --nodes 64"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fpsolve optimal-range`."""
    add_problem(parser)
    choices = ("weights", "inputs", "both")
    parser.add_argument("--which", choices=choices, default="weights", help="ranges to vary")
    parser.add_argument("--time", type=float, metavar="TAU", help="at tau; default: stationary")
    text = "ranges to search, low,high, for both also those of the inputs; chosen by default"
    parser.add_argument("--bounds", metavar="LOW,HIGH", help=text)
    parser.add_argument("--points", type=int, help="ranges tried at first; chosen by default")
    text = "weights of a layer, whose law replaces the problem's teacher"
    parser.add_argument("--layer", type=Path, metavar="LAYER.npy", help=text)
    text = "teacher values that stand for the layer (default 64)"
    parser.add_argument("--nodes", type=int, default=64, help=text)
    add_picture(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Search, print the best range and, for a layer, the ranges in common use."""
    import numpy as np

    from fpsolve.problem.toml import read_problem_file

    check_picture(arguments)
    problem = read_problem_file(arguments.problem).problem
    unit, layer = 1.0, None
    if arguments.layer is not None:
        layer = _read_layer(arguments.layer)
        unit = float(np.sqrt(np.mean(np.square(layer))))
        if unit == 0:
            raise ParameterError("--layer", str(arguments.layer), "holds only zeros")
        teacher = fpsolve.Teacher.from_samples(layer / unit, arguments.nodes)
        problem = replace(problem, teacher=teacher)
    bounds: Any = None
    if arguments.bounds is not None:
        scale = [unit, unit] if arguments.which == "weights" else [1.0, 1.0]
        scale = [unit, unit, 1.0, 1.0] if arguments.which == "both" else scale
        given = numbers("--bounds", arguments.bounds)
        if len(given) != len(scale):
            raise ParameterError("--bounds", arguments.bounds, f"must be {len(scale)} numbers")
        bounds = (np.array(given) / scale).reshape(-1, 2)
    result = fpsolve.optimal_range(
        problem,
        which=arguments.which,
        time=arguments.time,
        bounds=bounds,
        points=arguments.points,
        progress=not arguments.quiet,
    )
    _print(result, unit, layer)
    if arguments.plot is not None:
        from fpsolve.plots.macro import plot_optimal_range

        write_picture(arguments, plot_optimal_range(result))
    return 0


def _print(result: Any, unit: float, layer: Any) -> None:
    at = "stationary" if result.time is None else f"tau = {result.time:g}"
    print(f"{'range of':>12}{'choice':>14}{'omega':>16}{'eps_g':>16}  ({at})")
    error = f"{result.generalization_error:>16.8g}"
    if result.omega is not None:
        print(f"{'weights':>12}{'optimal':>14}{unit * result.omega:>16.8g}{error}")
    if result.omega_x is not None:
        print(f"{'inputs':>12}{'optimal':>14}{result.omega_x:>16.8g}{error}")
    if layer is None or result.omega is None:
        return
    bits = result.problem.weight_quantizer.bit_width
    usual = fpsolve.usual_ranges(layer / unit, bits)
    errors = fpsolve.range_curve(result.problem, list(usual.values()), time=result.time)
    for (name, omega), value in zip(usual.items(), errors, strict=True):
        print(f"{'weights':>12}{name:>14}{unit * omega:>16.8g}{value:>16.8g}")
    print(f"eps_g in units of the layer's mean square, {unit**2:.6g}")


def _read_layer(path: Path) -> Any:
    import numpy as np

    try:
        layer = np.load(path, allow_pickle=False)
        if np.iscomplexobj(layer):
            raise ParameterError("--layer", str(path), "holds complex numbers; save real weights")
        values = np.asarray(layer, dtype=np.float64).ravel()
    except ParameterError:
        raise
    except (OSError, ValueError, TypeError, EOFError) as error:
        reason = getattr(error, "strerror", None) or "not an array of numbers in .npy format"
        raise ParameterError("--layer", str(path), f"cannot be read: {reason}") from None
    bad = int(values.size - np.isfinite(values).sum())
    if bad or not values.size:
        what = f"{bad} of its {values.size} weights are NaN or infinite; drop them"
        raise ParameterError("--layer", str(path), what if bad else "holds no weights")
    return values
