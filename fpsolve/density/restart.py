"""A density that a run has reached as the initial one of another run: `start=`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpsolve.density.arrays import frame_arrays, frame_from
from fpsolve.density.cell_frame import CellFrame
from fpsolve.density.frame import Frame
from fpsolve.density.gaussian_frame import GaussianFrame
from fpsolve.density.trajectory import DensityTrajectory
from fpsolve.density.view import AnyFrame
from fpsolve.errors import ParameterError
from fpsolve.numerics import kernels
from fpsolve.numerics.gaussian import REACH
from fpsolve.problem.problem import Problem
from fpsolve.recording.sink import Sink

__all__ = ["FrameStart", "Start", "initial_of"]

Array = NDArray[np.float64]

# Mass in elements that positions do not tell apart which does not matter.
_FEW = 1e-9
# What `start=` of `solve_pde` accepts.
Start = DensityTrajectory | str | Path | None


@dataclass(frozen=True, eq=False)
class FrameStart:
    """Conditional densities of a frame without point masses, at τ = 0.

    Attributes
    ----------
    frame : Frame, CellFrame or GaussianFrame
        The densities.
    """

    frame: AnyFrame

    def support(self, k: int) -> tuple[float, float]:
        """Interval that holds class k."""
        left, width = self.elements(k)
        return float(left[0]), float(left[-1] + width[-1])

    def scale(self, k: int) -> float:
        """A width at which to look first."""
        low, high = self.support(k)
        return (high - low) / 8

    def elements(self, k: int) -> tuple[Array, Array]:
        """Left ends and widths of the elements on which class k is smooth."""
        frame = self.frame
        if isinstance(frame, GaussianFrame):
            mean, deviation = float(frame.mean[k]), float(frame.deviation[k])
            edges = mean + deviation * np.linspace(-REACH, REACH, 9)
            return edges[:-1], np.diff(edges)
        if isinstance(frame, CellFrame):
            held = np.flatnonzero(frame.averages[k] > 0)
            edges = frame.cell_edges[held[0] : held[-1] + 2]
            return edges[:-1], np.diff(edges)
        own = slice(int(frame.first[k]), int(frame.first[k + 1]))
        return frame.left[own], frame.width[own]

    def pdf(self, k: int, x: Array) -> Array:
        """Density of class k."""
        return np.asarray(self.frame.pdf(k, x))

    def masses(self, k: int, left: Array, right: Array) -> Array:
        """Masses of class k between points."""
        return np.asarray(self.frame.cdf(k, right) - self.frame.cdf(k, left))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the densities as a flat dictionary of arrays."""
        return frame_arrays(self.frame)


def initial_of(problem: Problem, start: Start, sink: Sink | None) -> FrameStart | None:
    """Return the initial densities that `start`, or the run in the sink, began with.

    Raises
    ------
    ParameterError
        If `start` does not fit the problem.
    """
    kept = {} if sink is None else sink.constants
    arrays = {n.removeprefix("start_"): v for n, v in kept.items() if n.startswith("start_")}
    if arrays:
        return FrameStart(frame_from(arrays))
    if start is None:
        return None
    if isinstance(start, str | Path):
        from fpsolve.recording.last import last_density  # h5py only where a file is read

        values, found = last_density(start)
        frame = frame_from(found)
    elif isinstance(start, DensityTrajectory):
        values, frame = start.problem.teacher.values, start.frames[-1]
    else:
        allowed = "must be a DensityTrajectory or its file, to start from its end"
        raise ParameterError("start", start, allowed)
    _check(problem, values, frame, start)
    return FrameStart(frame)


def _check(problem: Problem, values: Array, frame: AnyFrame, start: object) -> None:
    if not np.array_equal(values, problem.teacher.values):
        allowed = "must have the teacher values of the problem"
        raise ParameterError("start", values.tolist(), allowed)
    held = frame.atom_masses()
    if (held > 0).any():
        allowed = "must hold no point masses; start from a time at which the density is smooth"
        raise ParameterError("start", float(held.max()), allowed)
    if isinstance(frame, Frame):
        thin = frame.width < kernels.TELLABLE * np.abs(frame.left)
        lost = float(frame.element_masses()[thin].sum())
        if lost > _FEW:
            allowed = (
                f"must hold no layers thinner than positions tell ({lost:.2g} of the mass is in "
                "some); end the learning rate before above 0"
            )
            raise ParameterError("start", start, allowed)
    walls = problem.dynamics.walls
    if walls is None:
        return
    low, high = frame.support()
    if low < walls.low or high > walls.high:
        allowed = (
            f"must lie within [{walls.low:g}, {walls.high:g}], the walls of weight_clip or of the "
            "surrogate; widen them"
        )
        raise ParameterError("start", (low, high), allowed)
