"""The density as a moving picture."""

from __future__ import annotations

from pathlib import Path

from matplotlib.animation import AbstractMovieWriter, FFMpegWriter, PillowWriter

from fpsolve.density.trajectory import DensityTrajectory
from fpsolve.errors import ParameterError, StoreError
from fpsolve.plots.density import draw_density, weight_range
from fpsolve.plots.order_parameters import draw_order_parameter
from fpsolve.plots.style import COLORS, SYMBOLS, new_figure, tidy
from fpsolve.problem.checks import integer
from fpsolve.recording.target import check_target

__all__ = ["save_animation"]

_DPI = 100


def save_animation(
    trajectory: DensityTrajectory,
    path: str | Path,
    *,
    frames_per_second: int = 12,
    log_time: bool = False,
    overwrite: bool = False,
) -> None:
    """Write the density as an animation, a frame a time, beside ε_g with the time marked on it.

    Parameters
    ----------
    trajectory : DensityTrajectory
        What to draw, at all its times τ (everything is dimensionless).
    path : str or Path
        File to be written: `.gif`, or `.mp4` where the program ffmpeg is installed.
    frames_per_second : int, default 12
        How many times τ go by in a second, from 1 to 60.
    log_time : bool, default False
        Whether ε_g is drawn against logarithmic τ.
    overwrite : bool, default False
        Whether a file that exists may be replaced.

    Raises
    ------
    StoreError
        If the file exists or cannot be written, its ending is neither `.gif` nor `.mp4`, or an
        `.mp4` is wanted where there is no ffmpeg.
    ParameterError
        If the trajectory holds fewer than two times.

    Examples
    --------
    >>> import fpsolve, pathlib, tempfile
    >>> problem = fpsolve.Problem(
    ...     weight_quantizer=fpsolve.UniformQuantizer(2, 1.0), input_quantizer=None,
    ...     learning_rate=0.1)
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "density.gif"
    >>> fpsolve.save_animation(fpsolve.solve_pde(problem, [0, 2, 5]), path)
    >>> path.read_bytes()[:4]
    b'GIF8'
    """
    path = check_target(path, overwrite=overwrite)
    rate = integer("frames_per_second", frames_per_second, least=1, most=60)
    if trajectory.times.size < 2:
        raise ParameterError("trajectory", trajectory.times.tolist(), "must hold two times or more")
    writer = _writer(path, rate)
    figure = new_figure(8.6, 3.6)
    left, right = figure.subplots(1, 2)
    name = "generalization_error"
    draw_order_parameter(right, trajectory, name, color=COLORS[0], marked=False, log_time=log_time)
    right.set_ylabel(SYMBOLS[name])
    tidy(right)
    (mark,) = right.plot([], [], "o", color=COLORS[1], clip_on=False)
    limits = weight_range(trajectory, list(range(trajectory.times.size)))
    with writer.saving(figure, str(path), _DPI):
        for index, time in enumerate(trajectory.times):
            left.clear()
            draw_density(left, trajectory, index)
            left.set(xlim=limits, xlabel="$w$", ylabel=r"$\mu_\tau(w\,|\,w^*)$")
            error = trajectory.order_parameters.generalization_error[index]
            seen = not log_time or time > 0  # τ = 0 has no place on a logarithmic axis
            mark.set_data([time] if seen else [], [error] if seen else [])
            writer.grab_frame()


def _writer(path: Path, rate: int) -> AbstractMovieWriter:
    ending = path.suffix.lower()
    if ending == ".gif":
        return PillowWriter(fps=rate)
    if ending != ".mp4":
        raise StoreError(f"{path}: the ending must be .gif or .mp4")
    if not FFMpegWriter.isAvailable():
        raise StoreError(f"{path}: .mp4 needs the program ffmpeg; install it, or write a .gif")
    return FFMpegWriter(fps=rate)
