"""What the page asks of the library; each runs in a worker process."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpsolve.density.solve import solve_pde
from fpsolve.errors import FpsolveError
from fpsolve.explorer.settings import problem_of
from fpsolve.macro.closure import solve_ode
from fpsolve.macro.stationary import stationary_states
from fpsolve.particles.ste import simulate_ste
from fpsolve.plots.figures import save_figure
from fpsolve.plots.overview import plot_overview
from fpsolve.plots.together import side_by_side
from fpsolve.problem.problem import Problem
from fpsolve.problem.quantizer import UniformQuantizer
from fpsolve.store.files import save
from fpsolve.studies.flip_rate import flip_rate

__all__ = ["AT", "COARSE", "FLIPS_OF", "FULL", "TASKS", "TIMES", "python_text", "requested"]

Array = NDArray[np.float64]

# Tolerance while a control moves, and at rest: that of the library.
COARSE, FULL = 1e-3, 1e-6
# Times of the slider, and the one shown first.
TIMES, AT = 41, 24
# A small run: this many coordinate updates take a few seconds.
_WORK = 4e8
_LARGEST, _SMALLEST = 900, 100
_RUNS = 4
# Dimension of the machine whose flip rate is shown.
FLIPS_OF = 900
# What loads the compiled solver.
_WARM = Problem(weight_quantizer=UniformQuantizer(2, 1.0), input_quantizer=None, learning_rate=0.1)


def requested(horizon: float) -> Array:
    """Return the times of the slider: 0 to the horizon, closer together at first."""
    return np.asarray(horizon * np.linspace(0.0, 1.0, TIMES) ** 2)


def density(settings: Mapping[str, Any], rtol: float) -> Iterator[Any]:
    """The density at the slider's times; at full accuracy its flip rate, or None, as well."""
    result = solve_pde(problem_of(settings), requested(settings["horizon"]), rtol=rtol)
    yield result
    if rtol == FULL:
        yield _attempt(lambda: flip_rate(result, FLIPS_OF))


def references(settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The closure's path and the stationary errors, each None where the library refuses it."""
    problem = problem_of(settings)
    yield {
        "closure": _attempt(lambda: solve_ode(problem, [settings["horizon"]], rtol=1e-6)),
        "stationary": _attempt(
            lambda: [s.generalization_error for s in stationary_states(problem)]
        ),
    }


def _attempt(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except FpsolveError:
        return None


def particles(settings: Mapping[str, Any]) -> Iterator[dict[str, Array]]:
    """Runs of the finite machine, one after another, as small as the horizon demands."""
    horizon = settings["horizon"]
    dimension = int(min(_LARGEST, np.sqrt(_WORK / (_RUNS * max(horizon, 1.0)))))
    if dimension < _SMALLEST:
        return
    problem, times = problem_of(settings), requested(horizon)[::4]
    for run in range(_RUNS):
        result = simulate_ste(problem, times, dimension=dimension, seed=run)
        yield {
            "tau": result.times,
            "error": result.order_parameters.generalization_error[0],
            "weights": result.weights[0],
        }


def hdf5(settings: Mapping[str, Any]) -> Iterator[bytes]:
    """The result at full accuracy as an HDF5 file."""
    result = next(density(settings, FULL))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.h5"
        save(result, path)
        yield path.read_bytes()


def picture(
    settings: Mapping[str, Any], kind: str, kept: Mapping[str, Any] | None = None, index: int = AT
) -> Iterator[bytes]:
    """The library's own figure of a few times, as PNG or SVG; with what is kept, both at one."""
    if kept is None:
        times = settings["horizon"] * np.array([0.0, 0.04, 0.15, 0.4, 1.0])
        figure = plot_overview(solve_pde(problem_of(settings), times, rtol=FULL))
    else:
        shown, beside = (next(density(each, FULL)) for each in (settings, kept))
        figure = side_by_side(shown, beside, index)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"figure.{kind}"
        save_figure(figure, path)
        yield path.read_bytes()


def python_text(
    name: str = "problem.toml", horizon: float = 100.0, kept: float | None = None
) -> str:
    """Return the three lines of Python that give the page's result.

    Two more give what is kept, whose horizon is `kept`, from `kept.toml`.
    """
    text = f"import fpsolve, numpy as np\n{_solve_text('problem', 'result', name, horizon)}"
    return text if kept is None else text + _solve_text("other", "kept", "kept.toml", kept)


def _solve_text(problem: str, result: str, name: str, horizon: float) -> str:
    times = f"{horizon:.12g} * np.linspace(0, 1, {TIMES})**2"
    return (
        f'{problem} = fpsolve.Problem.from_toml("{name}")\n'
        f"{result} = fpsolve.solve_pde({problem}, {times})\n"
    )


TASKS: dict[str, Callable[..., Iterator[Any]]] = {
    "nothing": lambda: iter(()),
    "warm": lambda: iter([solve_pde(_WARM, [1.0], rtol=COARSE)]),
    "density": density,
    "references": references,
    "particles": particles,
    "hdf5": hdf5,
    "picture": picture,
}
