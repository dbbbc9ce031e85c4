"""A run of the density: its solver, the law of the moment, and the frames it has reached."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fpsolve.density.atoms import Atoms
from fpsolve.density.equation import equation_of, law_of, narrowest_bin
from fpsolve.density.frame import Frame, flanked
from fpsolve.density.points import Points
from fpsolve.density.restart import FrameStart
from fpsolve.density.scharfetter_gummel import ScharfetterGummel
from fpsolve.density.start import gaussian_start, point_frame, point_moments
from fpsolve.density.tips import Tips, tips_of, unrolled
from fpsolve.density.trajectory import DensityTrajectory
from fpsolve.density.view import AnyFrame
from fpsolve.density.walls import (
    FrozenStart,
    chosen,
    frozen_start,
    initial_frame,
    points_on_walls,
    walled_start,
)
from fpsolve.errors import ParameterError, SolveError
from fpsolve.numerics import kernels
from fpsolve.numerics.equation import Equation
from fpsolve.numerics.foreign import ForeignLaw
from fpsolve.numerics.initial import Initial, start_solver
from fpsolve.numerics.kernels import Law
from fpsolve.numerics.solver import Ending, Landings, Solver
from fpsolve.problem.dynamics import FUNCTIONAL_NAMES
from fpsolve.problem.problem import Problem
from fpsolve.problem.schedule import Schedule, largest_of
from fpsolve.reduction import OrderParameters

__all__ = ["Quality", "Run", "State", "begin", "reduced"]

Array = NDArray[np.float64]

# Mass an element may leave unresolved, in units of rtol; see the promise of `solve_pde`. A drift
# that varies inside bins leads what many elements leave into one place, where it adds up.
_RESOLUTION = 5.0
_RESOLUTION_BENT = 1.0
# Rounding leaves far less; more means that the solve went wrong.
_MOST_DEFECT = 1e-10
# Mass that rounding makes and steps give back, in units of rtol, where ε_g has become huge: after
# growth by tens of decades elements of the start are lost in the width of the law.
_MOST_ROUNDING = 10.0
_HUGE = 1e20
_DIVERGES = (
    "the generalization error grows without bound; the learning rate is above "
    "2 B (S + ridge)/S^2, lower it, enlarge batch_size or shorten the horizon"
)
# Diffusion is held where ε_g is less than this multiple of the tolerance, relative to an untrained
# one; where it is small, ε_g is known to this share of that level.
_LEAST_ERROR = 0.002
_IDLE = 40.0
# What the teacher's distances from levels leave of ε_g counts if it is more than this share of
# that: D is held no lower than at half of it.
_APART = 1e-3
# Mass that atoms may lack, times the relevance of a class, in units of rtol: as lifting may cost.
_MOST_LACKING = 25.0
_LARGEST_RATE = 1e150
# Deviations below this share of the position are lost in rounding.
_NARROWEST = 1e-15
# Layers D/|a| at thresholds thinner than this share of a bin are refused.
_FINEST_LAYER = 1e-16


@dataclass
class State:
    """What a run goes on from.

    Attributes
    ----------
    solver : Solver
        The density on its mesh.
    least : float
        ε_g below which D is held.
    foreign : ForeignLaw or None
        Coefficients of a changed theory.
    frozen : FrozenStart or None
        What started beyond absorbing walls.
    before : tuple of (float, Frame, ndarray)
        Until when, and what, the density was before the solver took over.
    law : tuple of (float, Law)
        The law from the start on, and when that is.
    points : Points or None
        Classes that the solver does not know, for they stay points.
    tips : Tips or None
        Where the solver's places are not weights.
    """

    solver: Solver
    least: float
    foreign: ForeignLaw | None = None
    frozen: FrozenStart | None = None
    before: tuple[float, Frame, Array] | None = None
    law: tuple[float, Law] | None = None
    points: Points | None = None
    tips: Tips | None = None


def begin(
    problem: Problem, times: Array, work: float, order: int, cells: int | None,
    *, given: FrameStart | None, points: Points | None,
) -> State:  # fmt: skip
    """Return the state at the start of a run with tolerance `work`; `cells` ask for SG.

    It starts from the problem's initial law, some classes of which may be `points`, or from the
    densities `given`.
    """
    if given is not None:
        return _begin_from(problem, work, order, given)
    dynamics = problem.dynamics
    _check_size(problem)
    positive = times[times > 0]
    still = np.zeros(dynamics.w_star.size, np.bool_) if points is None else points.which
    first = float(positive[0]) if positive.size else 1.0
    start = gaussian_start(problem, work, first, None if cells is not None else still)
    if not (start.deviation > _NARROWEST * np.abs(start.mean))[~still].all():
        raise SolveError(_why_point(problem), time=0.0, step=0.0)
    errors, foreign = _least_errors(problem, work), _foreign(problem)
    least = errors[0]
    law = law_of(problem, start.time, least, foreign)
    before = None
    if problem.initial.variance == 0:
        before = (start.time, point_frame(problem), point_moments(problem))
    if cells is not None:
        grid = ScharfetterGummel(
            problem, law, rtol=work, cells=cells, start=start, horizon=float(times[-1])
        )
        return State(grid, least, foreign, before=before, law=(start.time, law))
    equation = equation_of(problem, work)
    initial: Initial = start
    frozen, tips, time = None, None, start.time
    walls = dynamics.walls
    if walls is not None and walls.kind == "absorb":
        tips = tips_of(problem, work)
        frozen = frozen_start(problem, start, order, still, unrolled=tips is not None)
        equation.offset[:] += frozen.functionals
    elif walls is not None and before is not None:
        initial = points_on_walls(problem, start)
    elif walls is not None:
        frame, moments = initial_frame(problem, start, order)
        error = float(moments[0] + dynamics.added_noise(start.time))
        walled = walled_start(problem, start, work, error, first)
        if walled.beyond.any() and not error > 0:
            raise SolveError(
                "with all weights beyond the walls the generalization error is 0, and what is put "
                "on a wall never spreads; widen weight_clip or give the labels noise",
                time=0.0,
                step=0.0,
            )
        if walled.beyond.any():
            initial, time = walled, start.time + walled.time
            before = (time, frame, moments)
    if points is not None:
        spreading = np.flatnonzero(~still)
        equation, initial = equation.only(spreading), chosen(initial, spreading)
        fixed = points.frozen.functionals(np.zeros(1))[0]
        equation.offset[:] += fixed
    solver = _solver(equation, law, unrolled(initial, tips), order, work, errors, time)
    if points is not None:
        solver.beside = lambda times: points.functionals(times) - fixed
        solver.begin()
    return State(solver, least, foreign, frozen, before, (start.time, law), points, tips)


def _begin_from(problem: Problem, work: float, order: int, given: FrameStart) -> State:
    """The same from densities that another run has reached, which lie between the walls."""
    _check_size(problem)
    errors, foreign = _least_errors(problem, work), _foreign(problem)
    least = errors[0]
    law, equation = law_of(problem, 0.0, least, foreign), equation_of(problem, work)
    walls = problem.dynamics.walls
    frozen = None
    if walls is not None and walls.kind == "absorb":
        frozen = FrozenStart.none(problem.teacher.values.size, order)
    tips = tips_of(problem, work)
    solver = _solver(equation, law, unrolled(given, tips), order, work, errors)
    return State(solver, least, foreign, frozen, law=(0.0, law), tips=tips)


def _solver(
    equation: Equation, law: Law, initial: Initial, order: int, work: float,
    errors: tuple[float, float], time: float = 0.0,
) -> Solver:  # fmt: skip
    """The initial density on a mesh; `errors` are those of `_least_errors`."""
    resolution = _RESOLUTION_BENT if np.isnan(equation.flat).any() else _RESOLUTION
    solver = start_solver(
        equation,
        law,
        initial,
        order=order,
        rtol=work,
        resolution=resolution * work,
        time=time,
        idle=errors[1],
    )
    solver.rest = errors[0]
    return solver


def _why_point(problem: Problem) -> str:
    """Why a point mass stays one, or narrower than positions can be told apart."""
    dynamics = problem.dynamics
    if not float(point_moments(problem)[0] + dynamics.added_noise(0.0)) > 0:
        return (
            "a point mass with generalization error 0 never spreads; "
            "give the initial weights a variance or the labels noise"
        )
    return (
        "weights that start at a point have spread less than rounding by the first requested "
        "time; ask for later times, or give the initial weights a variance"
    )


def _check_size(problem: Problem) -> None:
    """Refuse coefficients that overflow, and layers finer than positions can be told apart."""
    if largest_of(problem.learning_rate) > _LARGEST_RATE:
        allowed = f"must be at most {_LARGEST_RATE:g}, or its square overflows"
        raise ParameterError("learning_rate", problem.learning_rate, allowed)
    dynamics, quantizer = problem.dynamics, problem.weight_quantizer
    if quantizer is None or quantizer.temperature > 0 or quantizer.rounding != "nearest":
        return
    levels, rate = quantizer.levels, dynamics.rate(0.0)[0]
    pull = dynamics.sigma2 + dynamics.ridge(0.0)
    drift = dynamics.kappa * dynamics.w_star - np.outer(levels, pull)
    speed = rate * float(np.abs(drift).max())
    heat = float((dynamics.diffusivity(0.0, dynamics.offset(0.0)) * dynamics.sigma2).max())
    if 0 < heat < _FINEST_LAYER * narrowest_bin(problem) * speed:
        raise SolveError(
            f"diffusion is so weak that the density is {heat / speed:.1g} wide at thresholds, "
            "finer than can be told apart; lower batch_size, or raise learning_rate "
            "or noise_variance",
            time=0.0,
            step=0.0,
        )


def _foreign(problem: Problem) -> ForeignLaw | None:
    """The law of a subclass that changes scalar coefficients; None for the standard ones."""
    dynamics = problem.dynamics
    if dynamics.is_standard:
        return None

    def coefficients(time: float, moments: Array) -> Array:
        error = float(moments[0] + dynamics.added_noise(time))
        found = dynamics.coefficients(time, error)
        return np.append(found.drift, found.diffusion)

    terms = dynamics.coefficients(0.0, 1.0).drift.size
    return ForeignLaw(coefficients, terms=terms, rank=1)


def _least_errors(problem: Problem, rtol: float) -> tuple[float, float]:
    """ε_g below which D is held, for its layers become thinner than any mesh; and `Limits.idle`.

    Down to there ε_g is followed relative to itself; from then on D is held, but no longer than it
    takes all weights to come to rest, see `numerics.rest`. Where noise or inputs keep ε_g above 0,
    or levels next to the best ψ of all, D is never held, and always known to the tolerance.
    """
    dynamics, quantizer = problem.dynamics, problem.weight_quantizer
    most = problem.rho
    if quantizer is not None:
        most = max(float(np.square(quantizer.levels).max()), most)
    most = max(most, problem.initial.variance + problem.initial.mean**2)
    least = _LEAST_ERROR * rtol * float(dynamics.sigma2.max()) * most
    idle = least / (_IDLE * rtol)
    known = 0.0 if isinstance(problem.noise_variance, Schedule) else dynamics.floor
    apart = _apart(problem)
    known += apart if apart > _APART * least else 0.0
    return (min(least, 0.5 * known), min(idle, known)) if known > 0 else (least, idle)


def _apart(problem: Problem) -> float:
    """Least part of ε_g that is due to ψ, which is a level, next to the best ψ of all; 0 at T > 0.

    S_k ψ² − 2 κ_k w*_k ψ exceeds its least by S_k times the square of the distance between them.
    """
    dynamics, quantizer = problem.dynamics, problem.weight_quantizer
    if quantizer is None or quantizer.temperature > 0:
        return 0.0
    off = np.abs(dynamics.ideal[:, None] - quantizer.levels).min(axis=1)
    return float(dynamics.probability @ (dynamics.sigma2 * np.square(off)))


class Quality(NamedTuple):
    """The worst over the densities of a run so far.

    Attributes
    ----------
    defect : float
        Largest |mass − 1| of a conditional density.
    minimum : float
        Least density relative to the largest.
    unresolved : float
        Largest L¹ norm, over teacher values, of what the highest Legendre modes carry.
    """

    defect: float = 0.0
    minimum: float = math.inf
    unresolved: float = 0.0

    @classmethod
    def of(cls, frames: Sequence[AnyFrame]) -> Quality:
        """The worst of some densities."""
        quality = cls()
        for frame in frames:
            quality = quality.with_frame(frame)
        return quality

    def with_frame(self, frame: AnyFrame) -> Quality:
        """The worst of these and one more; NaN stays."""
        unresolved = frame.unresolved() if isinstance(frame, Frame) else 0.0
        return Quality(
            _larger(self.defect, frame.mass_defect()),
            -_larger(-self.minimum, -frame.lowest()),
            _larger(self.unresolved, unresolved),
        )


@dataclass
class Run:
    """Reaches one requested time after another."""

    problem: Problem
    times: Array
    rtol: float
    state: State
    frames: list[AnyFrame] = field(default_factory=list)
    moments: list[Array] = field(default_factory=list)
    # Of a run that goes on in the middle: when its law was taken, for that enters its last digits.
    law_time: float | None = None
    stop: float = 0.0
    _kept: Law | None = None
    _until: float = math.inf

    def reach(self, times: list[float], tick: Callable[[float], None] | None = None) -> None:
        """Integrate to each of these `times`, ascending, and keep the densities there."""
        before, solver = self.state.before, self.state.solver
        while before is not None and times and times[0] < before[0]:
            self.frames.append(before[1])
            self.moments.append(before[2])
            times = times[1:]
        while times:
            landing = min((t for t in self._landings if t > solver.time), default=math.inf)
            stretch = [t for t in times if t <= landing]
            if not self._is_plain:
                # What else there is to a frame is known as long as the solver stands there.
                stretch = stretch[:1]
            if stretch:
                self._go(stretch, tick)
            else:
                self._go([landing], tick, keeps=False)
            times = times[len(stretch) :]

    def _go(
        self, stops: list[float], tick: Callable[[float], None] | None, *, keeps: bool = True
    ) -> None:
        """Integrate to each of `stops` under one law, and keep the densities there."""
        solver = self.state.solver
        self.law_time = solver.time if self.law_time is None else self.law_time
        self.stop = stops[-1]
        law = self._law(self.law_time)
        ending = solver.advance(law, np.array(stops), tick)
        if keeps:
            for landings in solver.landed:
                self.frames += self._frames(landings)
                self.moments += list(landings.moments)
        if ending is not Ending.REACHED:
            raise self._failed(self._why(ending))
        self.law_time = None

    @property
    def _is_plain(self) -> bool:
        """Whether a frame is the solver's polynomials and nothing else."""
        if self.state.solver.scheme != 0 or self.problem.surrogate is not None:
            return False
        if self.state.points is not None:
            return False
        return self.state.frozen is None

    def _law(self, time: float) -> Law:
        """The law from `time` on, the same until schedules land."""
        if self._kept is None or time >= self._until:
            first = self.state.law
            if first is not None and first[0] == time:
                self._kept = first[1]
            else:
                self._kept = law_of(self.problem, time, self.state.least, self.state.foreign)
            self._until = min((t for t in self._landings if t > time), default=math.inf)
        return self._kept

    @cached_property
    def _landings(self) -> list[float]:
        """Where schedules have steps end."""
        landings: list[float] = self.problem.dynamics.landing_points(math.inf).tolist()
        return landings

    @property
    def last(self) -> OrderParameters:
        """Order parameters at the last time reached, each of shape ()."""
        at = self.times[len(self.moments) - 1 : len(self.moments)]
        return reduced(self.problem, at, self.moments[-1][None])[0]

    @property
    def error(self) -> float:
        """ε_g where the run stands, between requested times too."""
        solver = self.state.solver
        return float(solver.moments[0] + self.problem.dynamics.added_noise(solver.time))

    def _frames(self, landings: Landings) -> Sequence[AnyFrame]:
        """The densities where the solver has landed; where it stands, unless they are plain."""
        solver = self.state.solver
        if isinstance(solver, ScharfetterGummel):
            return [solver.frame()]
        frames = Frame.series(solver.element.order, landings.first, landings.densities)
        if self._is_plain:
            return frames
        first, left, width, u = frames[-1].first, frames[-1].left, frames[-1].width, frames[-1].u
        if self.problem.surrogate is not None:
            u = u / self._shape(solver) ** 2
        points, atoms, held = self.state.points, None, solver.control.atoms.T
        mass, tips = (solver.mesh.mass * solver.u).sum(axis=0), self.state.tips
        if tips is not None:
            held, mass = tips.held(first, left + 0.5 * width, mass)
        if (held < 0).any():
            held, u = self._lifted_atoms(held, u, mass)
        if tips is not None:
            first, left, width, u = tips.rolled(first, (left, width, u), held)
            held = np.zeros_like(held)
        if points is not None:
            first, held = points.beside(first, held)
        if self.state.frozen is not None:
            walls = self.problem.dynamics.walls
            assert walls is not None
            if tips is None and walls.margin == 0:
                atoms = Atoms(np.broadcast_to([walls.low, walls.high], held.shape), held)
            frozen = self.state.frozen
            first, left, width, u = flanked(first, (left, width, u), frozen.lower, frozen.upper)
        if points is not None:
            atoms = points.joined(solver.time, atoms)
        frame = Frame(solver.element.order, first, left, width, u, atoms)
        if tips is None:
            self._check_tips(frame)
        return [frame]

    def _lifted_atoms(self, held: Array, u: Array, mass: Array) -> tuple[Array, Array]:
        """Atoms on walls (K, 2) that are not negative, taken from the rest of their densities `u`.

        That rest has these masses (E,). What is at the bound of a triangular surrogate counts too.
        Ripples of a density of little weight leave an atom below 0 as long as hardly anything is
        in it. Like other lifts this comes no further from any density that is positive than by the
        mass that is moved.
        """
        solver = self.state.solver
        lacking = np.maximum(-held, 0.0).sum(axis=1)
        if (solver.model.relevance * lacking > _MOST_LACKING * self.rtol).any():
            raise self._failed(
                f"an atom on a wall holds {held.min():.2g} of the mass, less than nothing; "
                "tighten rtol"
            )
        first = solver.cells.first
        rest = np.add.reduceat(mass, first[:-1]) + np.maximum(held, 0.0).sum(axis=1)
        # A class all of which is stuck beyond the walls has nothing here.
        factor = 1.0 - np.divide(lacking, rest, out=np.zeros_like(rest), where=lacking > 0.0)
        return np.maximum(held, 0.0) * factor[:, None], u * np.repeat(factor, np.diff(first))

    def _check_tips(self, frame: Frame) -> None:
        """Refuse what has come too near the tips of a triangular surrogate, and would return.

        Where the drift points outwards hardly anything does: −log(c − |w|) has a drift of at least
        its diffusivity.
        """
        dynamics, time = self.problem.dynamics, self.state.solver.time
        walls = dynamics.walls
        if walls is None or walls.margin == 0:
            return
        near = 10.0 * walls.margin
        for k in range(dynamics.w_star.size):
            for tip, inward in ((walls.low, 1.0), (walls.high, -1.0)):
                ends = tip + inward * np.array([walls.margin, near])
                drift = dynamics.point_drift(ends[1:], dynamics.coordinate(k), time)
                if inward * float(drift[0]) <= 0:
                    continue
                held = frame.probability(k, float(ends.min()), float(ends.max()))
                if held > 10.0 * self.rtol:
                    raise self._failed(
                        f"a share {held:.2g} of the weights has come nearer than {near:.1g} to the "
                        "bound of the triangular surrogate, from where they return later than "
                        "positions can tell; widen it, lower learning_rate or loosen rtol"
                    )

    def _shape(self, solver: Solver) -> Array:
        """h at the nodes, from the inside of each element."""
        dynamics, tips = self.problem.dynamics, self.state.tips
        middle, x = solver.mesh.left + 0.5 * solver.mesh.width, solver.x
        if tips is not None:
            middle, x = np.clip(middle, *tips.ends), np.clip(x, *tips.ends)
        bins = dynamics.bins(middle)
        return dynamics.shape(x, np.broadcast_to(bins, x.shape))

    def trajectory(self, *, interrupted: bool = False) -> DensityTrajectory:
        """What has been reached, checked; `interrupted` if it was to end early."""
        quality = Quality.of(self.frames)
        self.judge(quality)
        return self._assemble(quality, interrupted=interrupted)

    def judge(self, quality: Quality) -> None:
        """Raise `SolveError` where the densities reached are not what they have to be."""
        # Written so that NaN fails too.
        if not quality.defect < _MOST_DEFECT:
            raise self._failed(f"the density lost its mass by {quality.defect:.2g}; tighten rtol")
        if not quality.minimum >= -self.rtol:
            raise self._failed(
                f"the density has ripples down to {quality.minimum:.2g} of its maximum; "
                "tighten rtol"
            )
        if self._outgrown:
            raise self._failed(_DIVERGES)

    @property
    def _outgrown(self) -> bool:
        """Whether ε_g has grown so far that the start is lost in rounding."""
        rounding = float(self.state.solver.control.clock[kernels.ROUNDING])
        return self.error > _HUGE and not rounding < _MOST_ROUNDING * self.rtol

    def statistics(self, quality: Quality, *, interrupted: bool = False) -> dict[str, Any]:
        """How the integration went, and whether it was to end early."""
        solver = self.state.solver
        stats: dict[str, Any] = {
            **solver.statistics(),
            "scheme": "scharfetter-gummel" if solver.scheme else "spectral-volume",
            "order": solver.element.order,
            "rtol": self.rtol,
            "least_generalization_error": self.state.least,
            "mass_defect": quality.defect,
            "minimum": quality.minimum,
            "interrupted": interrupted,
        }
        if not solver.scheme:
            stats["space_error"] = quality.unresolved
        return stats

    def _assemble(self, quality: Quality, *, interrupted: bool = False) -> DensityTrajectory:
        log = np.concatenate(self.state.solver.log)
        before = self.state.before
        dense = log if before is None else np.vstack([np.append(0.0, before[2]), log])
        count, dense_times = len(self.frames), dense[:, 0]
        times = self.times[:count]
        rows = np.concatenate([np.reshape(self.moments, (count, dense.shape[1] - 1)), dense[:, 1:]])
        state = reduced(self.problem, np.concatenate([times, dense_times]), rows)
        return DensityTrajectory(
            self.problem, times, tuple(self.frames), state[:count], dense_times, state[count:],
            self.statistics(quality, interrupted=interrupted),
        )  # fmt: skip

    def _why(self, ending: Ending) -> str:
        if not self.state.solver.moments[0] < 1e100 or self._outgrown:
            return _DIVERGES
        return self.state.solver.why_long() if ending is Ending.LONG else ending.value

    def _failed(self, message: str) -> SolveError:
        solver = self.state.solver
        partial = None
        if self.frames:
            partial = self._assemble(Quality.of(self.frames))
        return SolveError(message, time=solver.time, step=solver.step, partial=partial)


def _larger(one: float, other: float) -> float:
    """The larger of two numbers, NaN if one of them is."""
    return one if one >= other or math.isnan(one) else other


def reduced(problem: Problem, times: Array, moments: Array) -> OrderParameters:
    """Order parameters from rows of functionals at times, ε_g whole but for scheduled noise."""
    columns = dict(zip(FUNCTIONAL_NAMES, moments.T, strict=True))
    columns["loss"] = columns["loss"] - problem.dynamics.steady_offset
    return OrderParameters.from_moments(problem, **columns, tau=times)
