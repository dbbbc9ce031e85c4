"""`plot`: the picture that fits a result; `save_figure`: a picture into a file."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fpsolve.density.trajectory import DensityTrajectory
from fpsolve.errors import ParameterError, StoreError
from fpsolve.macro.stationary import StationaryState
from fpsolve.macro.trajectory import MacroTrajectory
from fpsolve.particles.trajectory import ParticleTrajectory
from fpsolve.plots.macro import plot_optimal_range, plot_stationary_density
from fpsolve.plots.order_parameters import plot_order_parameters
from fpsolve.plots.overview import plot_overview
from fpsolve.plots.sweep import plot_sweep
from fpsolve.recording.target import check_target, new_file, put_in_place, refusal
from fpsolve.store.files import Result
from fpsolve.studies.optimal_range import OptimalRange
from fpsolve.sweeps.result import SweepResult

__all__ = ["check_figure_target", "plot", "save_figure"]


def plot(result: Result, *, log_time: bool = False) -> Figure:
    """Draw a result: densities with ε_g below, order parameters, a sweep, a range or a state.

    Parameters
    ----------
    result : trajectory, SweepResult, OptimalRange or StationaryState
        What to draw; trajectories are those of a density, of particles or of the closure.
    log_time : bool, default False
        Whether τ is on a logarithmic axis; sweeps, ranges and states have none.

    Returns
    -------
    matplotlib.figure.Figure
        Not known to pyplot; write it with `save_figure`, or show it in a notebook.

    Raises
    ------
    ParameterError
        If `result` is of no kind that can be drawn.
    """
    if isinstance(result, DensityTrajectory):
        return plot_overview(result, log_time=log_time)
    if isinstance(result, ParticleTrajectory):
        if result.dense_times.size > result.times.size:
            along = result.dense_order_parameters
            result = replace(result, times=result.dense_times, order_parameters=along)
        return plot_order_parameters(result, log_time=log_time)
    if isinstance(result, MacroTrajectory):
        return plot_order_parameters(result, log_time=log_time)
    if isinstance(result, SweepResult):
        return plot_sweep(result)
    if isinstance(result, OptimalRange):
        return plot_optimal_range(result)
    if isinstance(result, StationaryState):
        return plot_stationary_density(result)
    allowed = "must be a density, particles, macroscopic or sweep result, a range or a state"
    raise ParameterError("result", result, allowed)


def check_figure_target(path: str | Path, *, overwrite: bool = False) -> Path:
    """Return `path` if a picture can be written there, or raise `StoreError`."""
    path = Path(path)
    formats = FigureCanvasAgg(Figure()).get_supported_filetypes()
    if path.suffix[1:].lower() not in formats:
        allowed = ", ".join(f".{ending}" for ending in sorted(formats))
        raise StoreError(f"{path}: the ending must be one of {allowed}")
    return check_target(path, overwrite=overwrite)


def save_figure(figure: Figure, path: str | Path, *, overwrite: bool = False) -> None:
    """Write a figure to `path`; the ending chooses the format (png, pdf, svg …).

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        What a plotting function returned.
    path : str or Path
        File to be written.
    overwrite : bool, default False
        Whether a file that exists may be replaced.

    Raises
    ------
    StoreError
        If the file exists or cannot be written, or its ending names no format.
    """
    path = check_figure_target(path, overwrite=overwrite)
    try:
        drawn = io.BytesIO()
        figure.savefig(drawn, format=path.suffix[1:].lower(), dpi=160)
        with new_file(path) as new:
            with open(new.descriptor, "wb", closefd=False) as file:
                file.write(drawn.getbuffer())
            put_in_place(new, path, overwrite=overwrite)
    except OSError as error:
        raise refusal(path, error) from None
