"""Error-controlled integration in time of a discretized density."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fpsolve.density.element import Element
from fpsolve.density.step import BROKEN, rosenbrock_step
from fpsolve.density.tableau import COUPLING, GAMMA, ORDER, STAGE_WEIGHTS, STAGES
from fpsolve.density.threaded_step import hired_crew, threaded_step
from fpsolve.density.view import AnyFrame
from fpsolve.errors import SolveError
from fpsolve.problem.problem import Problem
from fpsolve.problem.teacher import Teacher

__all__ = ["Discretization", "Integrator"]

Array = NDArray[np.float64]

# Errors of one step, as estimated, in units of rtol. The estimate is that of the embedded fourth
# order; what really adds up stays some ten times below the promise (10 rtol, and 100 rtol in L¹).
_STEP_FUNCTIONAL = 4.0
_STEP_L1 = 20.0
# Diffusion is held at these multiples of the tolerance: of D for an untrained ε_g, and of the
# diffusivity that crosses the narrowest bin within the horizon; see `_least_diffusivity`.
_LEAST_DIFFUSION = 0.2
_LEAST_SPREAD = 10.0
_LEAST_RTOL = 1e-6
# Accepted steps between attempts to merge elements.
_STEPS_PER_MERGE = 4
# After so many refinements in a row the step is at fault, not the mesh.
_MOST_REFINEMENTS = 12
_MOST_UNKNOWNS = 3_000_000
_MOST_TRIES = 30_000
# From so many teacher values and nodes on, threads pay for their synchronization.
_MANY_VALUES = 8
_MANY_NODES = 30_000
_NOTHING = np.empty(0)


class State(Protocol):
    """A density at one time; see `Snapshot`."""

    @property
    def frame(self) -> AnyFrame: ...
    def moments(self, teacher: Teacher) -> dict[str, float]: ...


class Discretization(Protocol):
    """What the integrator needs of a discretization; see `step` for the layout of the arrays."""

    scheme: int
    element: Element
    first: NDArray[np.int64]
    u: Array
    mass: Array
    drift: Array
    width: Array
    half: Array
    functionals: Array
    regrids: int
    floor: float

    @property
    def unknowns(self) -> int: ...
    @property
    def generalization_error(self) -> float: ...
    def prepare(self, step: float) -> float: ...
    def lowest(self, rtol: float) -> float: ...
    def adapt(self, new: Array, *, step: float, merge: bool) -> bool: ...
    def snapshot(self) -> State: ...


class Integrator:
    """Advances a discretization to one time after another.

    Parameters
    ----------
    problem : Problem
        What is solved.
    grid : Discretization
        The density, changed in place.
    rtol : float
        Promised relative accuracy.
    horizon : float
        Last requested τ (dimensionless).
    time : float, default 0
        τ of the density in `grid` (dimensionless).

    Attributes
    ----------
    time : float
        Present τ (dimensionless).
    stats : dict
        Counters and estimates, see `DensityTrajectory.stats`.
    path : list of (float, dict)
        τ and moments at the start and after every accepted step.
    """

    def __init__(
        self,
        problem: Problem,
        grid: Discretization,
        rtol: float,
        horizon: float,
        time: float = 0.0,
    ) -> None:
        self.problem = problem
        self.grid = grid
        self.rtol = rtol
        self.horizon = horizon
        self.time = time
        self.stats: dict[str, Any] = {"steps": 0, "rejected": 0, "refined": 0, "most_unknowns": 0}
        self.stats.update(time_error=0.0, rounding=0.0)
        self._dfactor = float(problem.diffusivity(1.0))
        error, _, q = (float((w * grid.u).sum()) for w in grid.functionals)
        # ε_g is a difference of terms of this size; below its rounding no accuracy can be asked.
        narrow, most = _scales(problem)
        natural = max(grid.floor + problem.sigma2 * max(most, q), 1e-300)
        self._scale = np.array([max(grid.floor + error, 1e-13 * natural / rtol), 0.0, q])
        # |m| ≤ (ρ q)^½; floored, for an error bound relative to nothing rejects every step.
        self._teacher_size = max(math.sqrt(problem.rho), 1e-100)
        self.path = [(time, grid.snapshot().moments(problem.teacher))]
        self._least = self._least_diffusivity(natural, narrow)
        self.stats["least_diffusivity"] = self._least
        self._tolerated = self._last_minimum = 0.0
        self._refined = 0
        self._report = np.zeros(9)
        self._pool: dict[str, Array] = {}
        self._shape: tuple[int, ...] = ()
        speed, finest = np.abs(grid.drift).max(), grid.width.min()
        stir = self._dfactor * max(self._scale[0], 1e-300)
        self.step = float(0.05 / (speed / finest + stir / finest**2))

    def _least_diffusivity(self, natural: float, narrow: float) -> float:
        """Level at which D is held where ε_g → 0, for its layers become thinner than any mesh.

        It moves ε_g, and the density over the whole horizon, by less than the tolerance.
        """
        return min(
            _LEAST_DIFFUSION * min(self.rtol, _LEAST_RTOL) * self._dfactor * natural,
            _LEAST_SPREAD * self.rtol * narrow**2 / max(self.horizon, 1e-300),
        )

    def advance(self, until: float, tick: Callable[[float], None] | None = None) -> None:
        """Integrate to τ = `until`, landing on it."""
        while self.time < until:
            left = until - self.time
            if left < 1e-15 * until:
                # Two requested times that differ by rounding are one.
                self.time = until
                return
            step = left if left <= 1.01 * self.step else min(self.step, 0.5 * left)
            step = self.grid.prepare(step)
            tried = self.stats["steps"] + self.stats["rejected"] + self.stats["refined"]
            if step < 4e-16 * max(self.time, 1e-290) or tried > _MOST_TRIES:
                raise SolveError(self._why(), time=self.time, step=step)
            ratio = self._try(step)
            if ratio <= 1.0:
                self.time = until if step == left else self.time + step
                self.path.append((self.time, self.grid.snapshot().moments(self.problem.teacher)))
                if tick is not None:
                    tick(self.time)
            if math.isfinite(ratio):
                factor = min(6.0, max(0.2, 0.85 * max(ratio, 1e-12) ** (-1.0 / ORDER)))
                if ratio > 1.0 or step >= self.step or factor < 1.0:
                    self.step = step * factor

    def _try(self, step: float) -> float:
        """Try one step; return its error relative to the tolerance, ≤ 1 if it was accepted."""
        grid = self.grid
        new = self._compute(step)
        report = self._report
        if new is None:
            self.stats["rejected"] += 1
            self.step = 0.1 * step
            return math.inf
        scale = np.maximum(self._scale, [abs(report[4]), 0.0, report[6]])
        scale[1] = self._teacher_size * math.sqrt(max(scale[2], 0.0))
        relative = report[1:4] / np.maximum(scale, 1e-300)
        functional = float(relative.max()) / (_STEP_FUNCTIONAL * self.rtol)
        ratio = max(functional, report[0] / (_STEP_L1 * self.rtol))
        if ratio > 1.0:
            self.stats["rejected"] += 1
            return float(ratio)
        if self._ripples(report[7]):
            self.stats["rejected"] += 1
            return 32.0
        merge = self.stats["steps"] % _STEPS_PER_MERGE == 0
        if not grid.adapt(new, step=step, merge=merge):
            self.stats["refined"] += 1
            self._refined += 1
            if grid.unknowns > _MOST_UNKNOWNS:
                raise SolveError(
                    f"the density needs more than {_MOST_UNKNOWNS} unknowns; loosen rtol",
                    time=self.time,
                    step=step,
                )
            # A mesh that is never fine enough chases ripples of a step that is too long.
            return math.nan if self._refined % _MOST_REFINEMENTS else 32.0
        self._refined = 0
        self._scale = scale
        self.stats["steps"] += 1
        self.stats["time_error"] += float(relative[0])
        self.stats["rounding"] += float(report[8])
        self.stats["most_unknowns"] = max(self.stats["most_unknowns"], grid.unknowns)
        return float(ratio)

    def _ripples(self, minimum: float) -> bool:
        """Whether a step is to be rejected for negative density.

        A shorter step cures ripples of time stepping. Those that it does not lessen come from the
        mesh; they are let pass, at their size, until they are gone.
        """
        if minimum >= min(self.grid.lowest(self.rtol), 1.2 * self._tolerated):
            if minimum > 0.5 * self._tolerated:
                self._tolerated = 0.0
            self._last_minimum = 0.0
            return False
        if minimum < 0.5 * self._last_minimum < 0.0:
            self._tolerated = minimum
            self._last_minimum = 0.0
            return False
        self._last_minimum = minimum
        return True

    def _compute(self, step: float) -> Array | None:
        grid, element = self.grid, self.grid.element
        values = grid.first.size - 1
        if self._shape != grid.u.shape:
            self._shape = grid.u.shape
            nodes, elements = grid.u.shape
            self._space = (
                self._reserve("work", (STAGES + 3, nodes, elements)),
                self._reserve("matrix", (nodes, nodes, elements)),
                self._reserve("lower", (elements,)),
                self._reserve("pivot", (elements + values,)),
                self._reserve("parts", (values, 9)),
            )
        work, matrix, lower, pivot, parts = self._space
        new = np.empty_like(grid.u)
        arguments = (
            grid.scheme,
            grid.u,
            step,
            grid.generalization_error,
            grid.floor,
            self._dfactor,
            self._least,
            grid.mass,
            grid.functionals,
            grid.drift,
            2.0 / grid.width,
            grid.half,
            grid.first,
            element.derivative,
            element.weights,
            element.weak,
            element.stiffness,
            GAMMA,
            STAGE_WEIGHTS,
            COUPLING,
            work,
            matrix,
            lower,
            pivot,
            parts,
            new,
            self._report,
        )
        crowd = values >= _MANY_VALUES and grid.u.size >= _MANY_NODES
        with hired_crew() if crowd else nullcontext() as crew:
            status = threaded_step(crew, *arguments) if crew else rosenbrock_step(*arguments)
        return None if status == BROKEN else new

    def _reserve(self, name: str, shape: tuple[int, ...]) -> Array:
        """Scratch space of a shape, from memory that is kept: meshes change at every few steps."""
        size = math.prod(shape)
        if self._pool.get(name, _NOTHING).size < size:
            self._pool[name] = np.empty(size + size // 2)
        return self._pool[name][:size].reshape(shape)

    def _why(self) -> str:
        error = self._scale[0]
        if not error < 1e100:
            return (
                "the generalization error grows without bound; the learning rate is above "
                "2(S + ridge)/S^2, lower it or shorten the horizon"
            )
        if self.step > 1e-9 * self.horizon:
            return f"{_MOST_TRIES} steps were not enough; loosen rtol or shorten the horizon"
        return "the step size fell below rounding; loosen rtol or raise noise_variance"


def _scales(problem: Problem) -> tuple[float, float]:
    """Narrowest bin (1 for full precision), and a size of ψ² (dimensionless)."""
    quantizer = problem.weight_quantizer
    if quantizer is None:
        return 1.0, problem.rho
    gaps = np.diff(quantizer.thresholds if quantizer.thresholds.size > 1 else quantizer.levels)
    return float(gaps.min()), max(float(np.square(quantizer.levels).max()), problem.rho)
