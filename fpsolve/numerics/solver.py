"""`Solver`: a density on its mesh, advanced from one time to the next by the compiled loop."""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fpsolve.compilation import announce_compilation
from fpsolve.errors import SolveError
from fpsolve.numerics import kernels
from fpsolve.numerics.ahead import address, make_ready
from fpsolve.numerics.attach import attach
from fpsolve.numerics.carry import Placed
from fpsolve.numerics.effort import REFRESH_WORK, effort_ahead, how_long
from fpsolve.numerics.element import Element, reference_element
from fpsolve.numerics.equation import Equation
from fpsolve.numerics.kernels import (
    Cells,
    Control,
    Law,
    Limits,
    Mesh,
    Method,
    Motion,
    Record,
    Reference,
)
from fpsolve.numerics.lead import choose, lead
from fpsolve.numerics.rest import (
    at_rest,
    beyond_cells,
    dies_out,
    narrowest_cells,
    settles,
    unheld,
)

__all__ = ["Ending", "Landings", "Solver", "kernel_reference"]

announce_compilation()

Array = NDArray[np.float64]

# Work, counted as in `effort`, after which the compiled loop comes back for signals and progress:
# about 20 ms. So many tries at most, for each has a row in the log.
_CHUNK_WORK, _TRY_WORK, _MOST_CHUNK = 200_000, 200, 1000
# Work between looks at whether meshes are to be led, at least, and relative to all before.
_LEAD_WORK, _LEAD_SHARE = 400_000.0, 0.02
# Numbers that densities landed on may fill before they are handed over, if one is not larger.
_ROOM = 2**17
_MOST_UNKNOWNS = 3_000_000
# Far more than the estimate of work lets pass; who is patient is to have an end, too.
_MOST_TRIES = 1_000_000
# Accepted steps between questions whether all is at rest, or that share of all so far.
_STEPS_PER_QUESTION, _QUESTION = 2.0, 0.02
# Ripples that a solve may go on with, relative to its peak, where the mesh cannot resolve more.
_DEEP = 0.01


class Ending(enum.Enum):
    """How a stretch of integration ended; the text names the cure."""

    REACHED = ""
    STUCK = "the step size fell below rounding; loosen rtol"
    TRIES = f"{_MOST_TRIES} steps were not enough; loosen rtol or ask for times in between"
    LONG = "too much work"
    THIN = (
        "the learning rate falls to 0, and with it the width of layers at thresholds: they have "
        "become thinner than positions can be told apart; ask for earlier times, or end the "
        "schedule above 0"
    )
    CROWDED = f"the density needs more than {_MOST_UNKNOWNS} unknowns; loosen rtol"


class Landings(NamedTuple):
    """Densities at some of the times that were asked for; read-only.

    Attributes
    ----------
    moments : ndarray, shape (T, F)
        Functionals, offsets and what is on no mesh included.
    first : ndarray, shape (T, K + 1)
        First element of each class.
    densities : ndarray
        Left ends (E,), widths (E,) and values at the nodes (p + 1, E) of v = h² μ, one time after
        the other; E is the last of `first`.
    """

    moments: Array
    first: NDArray[np.int64]
    densities: Array


@functools.lru_cache(maxsize=32)
def kernel_reference(element: Element) -> Reference:
    """The reference element as kernels take it."""
    return Reference(
        element.nodes,
        element.weights,
        element.derivative,
        element.weak,
        np.stack([-element.weak, element.stiffness], axis=-1),
        np.ascontiguousarray(element.legendre[-2:]),
        _damping(element),
        element.halves,
        element.merge,
        element.restore,
        element.parts,
    )


def _damping(element: Element) -> Array:
    """∫ κφ_i' κφ_j', where κ leaves the two highest modes: local projection stabilization.

    P_k' = (2k − 1) P_{k−1} + …, so that they are those of φ, and constants are not damped.
    """
    modes, degrees = element.legendre[-2:], np.arange(element.order - 1, element.order + 1)
    return np.ascontiguousarray(modes.T * (2.0 * (2 * degrees - 1)) @ modes)


@functools.cache
def _method(scheme: int) -> Method:
    return Method(scheme, address(kernels.adapt), address(kernels.place))


class Solver:
    """Densities of all classes, changed in place.

    Parameters
    ----------
    equation : Equation
        What is solved.
    order : int
        Polynomial degree.
    rtol : float
        Tolerance; functionals get errors of some rtol, densities of some 10 rtol in L¹.
    resolution : float
        Mass that the highest modes of an element may carry.
    cells : Cells
        Where the density starts.
    time : float
        Where it starts.

    Attributes
    ----------
    log : list of ndarray
        Rows (time, functionals) of the accepted steps, in pieces.
    landed : list of Landings
        What the last call of `advance` has reached.
    fallen : ndarray, shape (2, 1 + F)
        How often the rate had fallen by e, and the functionals then; see `rest`.
    horizon : float
        Where the solve is to end, if it is to be refused when that is far too much work.
    beside : callable or None
        Functionals (T, F) at times (T,) of what is on no mesh and drives nothing.
    """

    scheme = 0

    def __init__(
        self,
        equation: Equation,
        *,
        order: int,
        rtol: float,
        resolution: float,
        cells: Cells,
        time: float = 0.0,
    ) -> None:
        make_ready()
        self.equation = equation
        self.method = _method(self.scheme)
        self.element = reference_element(order)
        self.reference = kernel_reference(self.element)
        self.rtol, self.resolution = rtol, resolution
        self.negative = 0.5 * rtol
        self.idle, self.rest = np.inf, -np.inf
        self.horizon, self._whole_work = np.inf, 0.0
        self.model = equation.model()
        classes, terms = equation.probability.size, equation.terms
        self.motion = Motion(
            np.zeros(classes),
            np.zeros((terms, classes)),
            np.zeros(classes, np.bool_),
            np.full(classes, np.nan),
        )
        self.control = Control(
            np.zeros(kernels.CLOCK_SIZE),
            np.zeros(equation.offset.size),
            np.zeros((2, classes)),
            np.zeros((5, classes + 1)),
        )
        self.fallen = np.zeros((2, 1 + equation.offset.size))
        self.fallen[:, 0] = -np.inf
        self.control.clock[kernels.TIME] = time
        self.control.clock[kernels.NEXT_LEAD] = _LEAD_WORK
        self.control.clock[kernels.CARE] = 1.0
        self.log: list[Array] = []
        self.landed: list[Landings] = []
        self.beside: Callable[[Array], Array] | None = None
        # Where a step leads the mesh, see `lead`.
        self.arrival: tuple[Cells, Mesh] | None = None
        self.cells = cells
        self.u = np.zeros((order + 1, cells.bins.size))
        self.mesh: Mesh
        # The mesh that was made last, if coefficients are evaluated outside of compiled code.
        self._placed: Placed | None = None
        self.place()

    def place(self) -> None:
        """Make the mesh anew after the cells have changed."""
        self._take_mesh(self.mesh_at(self.motion))

    def mesh_at(self, motion: Motion) -> Mesh:
        """Return the mesh that follows from the cells and a motion."""
        return self.equation.place(self.reference, self.model, self.cells, motion, self._placed)

    def _take_mesh(self, mesh: Mesh) -> None:
        """Go on with a mesh of `mesh_at` for the present motion."""
        self.mesh = mesh
        if self.equation.fields is not None:
            self._placed = Placed(mesh, self.motion.speed.copy())

    @property
    def time(self) -> float:
        """Present time (dimensionless)."""
        return float(self.control.clock[kernels.TIME])

    @property
    def step(self) -> float:
        """Step to try next (dimensionless)."""
        return float(self.control.clock[kernels.STEP])

    @property
    def moments(self) -> Array:
        """Functionals of the density on the mesh, offsets included, shape (F,)."""
        moments = np.empty(self.model.offset.size)
        kernels.measure(self.model.offset, self.mesh.functionals, self.u, moments)
        return moments

    def _row(self) -> Array:
        """What is logged at the present time, (1, 1 + F)."""
        return self._whole(np.append(self.time, self.moments)[None])

    def _whole(self, rows: Array) -> Array:
        """Add to rows (time, functionals) what is on no mesh, in place."""
        if self.beside is not None and rows.size:
            rows[:, 1:] += self.beside(rows[:, 0])
        return rows

    @property
    def x(self) -> Array:
        """Positions of the nodes, shape (p + 1, E)."""
        return self.mesh.left + 0.5 * self.mesh.width * (1.0 + self.element.nodes[:, None])

    @property
    def classes(self) -> NDArray[np.int64]:
        """Class of each element, shape (E,)."""
        return np.repeat(np.arange(self.cells.first.size - 1), np.diff(self.cells.first))

    def begin(self) -> None:
        """Log the start, anew if it was; the first step is chosen when it is taken."""
        self.log[:] = [self._row()]

    def advance(
        self, law: Law, stops: Array, tick: Callable[[float], None] | None = None
    ) -> Ending:
        """Integrate to the last of `stops`, increasing, landing on each of them, under one law."""
        clock, self.landed = self.control.clock, []
        while stops.size:
            chunk = self._chunk
            record, begun = self._record(min(chunk, stops.size)), self.time
            clock[kernels.LOGGED] = clock[kernels.LANDED] = clock[kernels.FILLED] = 0.0
            why, grid = kernels.march(
                self.method,
                self.reference,
                self.equation.bins,
                self.model,
                unheld(self, law) if self.scheme == 0 else law,
                (self.cells, self.motion, self.mesh, self.u),
                self.control,
                self._limits(law),
                stops[:chunk],
                record,
            )
            self.cells, self.motion, self.mesh, self.u = grid
            self._take(record, stops, begun)
            stops = stops[int(clock[kernels.LANDED]) :]
            ending = self._attend(why, law, stops)
            late = clock[kernels.WORK] >= clock[kernels.NEXT_LEAD]
            if self.scheme == 0 and late and clock[kernels.LED] <= 0.0:
                work = float(clock[kernels.WORK])
                clock[kernels.NEXT_LEAD] = work + max(_LEAD_WORK, _LEAD_SHARE * work)
                choose(self, law)
            if ending is Ending.REACHED and self.horizon < np.inf and stops.size:
                pace = self.step / kernels.work_of(float(self.u.size))
                self._whole_work = effort_ahead(clock, self.horizon, self.rtol, pace)
                if self._whole_work > 0.0:
                    ending = Ending.LONG
            if ending is not Ending.REACHED:
                return ending
            if tick is not None and clock[kernels.LED] <= 0.0:
                # Where the mesh is that of the density, and all can be kept.
                tick(self.time)
        return Ending.REACHED

    def _limits(self, law: Law) -> Limits:
        return Limits(
            self.rtol,
            self.resolution,
            self.negative,
            self.idle,
            self.rest if settles(law) else np.inf if dies_out(law) else -np.inf,
            self._chunk,
            float(_MOST_TRIES),
            _MOST_UNKNOWNS,
        )

    @property
    def _chunk(self) -> int:
        return max(1, min(_MOST_CHUNK, _CHUNK_WORK // (self.u.size + _TRY_WORK)))

    def _record(self, count: int) -> Record:
        """Room for what `count` times and the steps to them leave."""
        functionals, one = self.model.offset.size, self.u.size + 2 * self.u.shape[1]
        return Record(
            np.empty((self._chunk, 1 + functionals)),
            np.empty((count, functionals)),
            np.empty((count, self.cells.first.size), np.int64),
            np.empty(min(2 * count * one, max(_ROOM, 2 * one))),
        )

    def _take(self, record: Record, stops: Array, begun: float) -> None:
        """Keep what was recorded from `begun` on, on the way to `stops`, and none of its room."""
        clock = self.control.clock
        rows, count = int(clock[kernels.LOGGED]), int(clock[kernels.LANDED])
        moments, filled = record.moments[:count].copy(), int(clock[kernels.FILLED])
        if count and self.beside is not None:
            moments += self.beside(stops[:count])
        if count and self.log and self.log[-1][-1, 0] == stops[0]:
            # Coefficients were evaluated between the last step and the landing, see `_land`.
            self.log[-1][-1, 1:] = moments[0]
        # Steps too short for the time to tell may have been taken on either side.
        begin = int(rows > 0 and record.log[0, 0] == begun)
        if rows > begin:
            logged = record.log[begin:rows].copy()
            # The last row of a step whose meshes were led is replaced, see `_arrive`.
            self._whole(logged[: -1 if clock[kernels.LED] > 0.0 else None])
            self.log.append(logged)
        if not count:
            return
        landings = Landings(moments, record.first[:count].copy(), record.densities[:filled].copy())
        for array in landings:
            array.flags.writeable = False
        self.landed.append(landings)

    def _attend(self, why: int, law: Law, stops: Array) -> Ending:
        """Do what the compiled loop came back for; `stops` are those ahead."""
        clock = self.control.clock
        if clock[kernels.LED] > 0.0:
            # Meshes were made for the way of a step; now they are to be where it has ended.
            self._arrive()
        elif why == kernels.REFRESH:
            self._refresh()
        if why == kernels.ATTACH:
            attach(self, law)
        elif why == kernels.LEAD:
            lead(self, law)
        elif why == kernels.REST:
            taken = clock[kernels.STEPS]
            if np.isfinite(self.motion.path).any():
                taken -= clock[kernels.LED_FROM]  # Steps are few from there on.
            if narrowest_cells(self).any():
                taken = 0.0  # What comes next they may not resolve.
            clock[kernels.ASK] = clock[kernels.STEPS] + max(_STEPS_PER_QUESTION, _QUESTION * taken)
            # Ripples that were let pass are to be gone first: they would stay.
            if clock[kernels.TOLERATED] == 0.0 and at_rest(self, law):
                clock[kernels.ASK] = clock[kernels.STEPS]
                clock[kernels.RESTED] = clock[kernels.RESTED] or self.time
                clock[kernels.TIME] = stops[0]
                self.log.append(self._row())
            elif (self._beyond_positions and dies_out(law)) or beyond_cells(self, law):
                return Ending.THIN
        elif why == kernels.STUCK:
            return Ending.TRIES if clock[kernels.TRIES] > _MOST_TRIES else Ending.STUCK
        elif why == kernels.CROWDED:
            self.place()
            return Ending.CROWDED
        elif why == kernels.FOREIGN:
            raise SolveError(
                "the coefficients could not be evaluated", time=self.time, step=self.step
            )
        return Ending.REACHED

    def _refresh(self) -> None:
        """Make the mesh anew, which takes work where the coefficients are evaluated outside."""
        self.control.clock[kernels.WORK] += REFRESH_WORK[0] + REFRESH_WORK[1] * self.u.size
        self.place()

    def _arrive(self) -> None:
        """Make the mesh that was meant for the way of a step that of where the step has ended."""
        clock, arrival = self.control.clock, self.arrival
        clock[kernels.LED], self.arrival = 0.0, None
        if not clock[kernels.LOGGED] > 0.0:
            # The step was not taken.
            self._refresh()
            return
        # That knows nothing of the way of meshes that have moved of their own.
        others = self.motion.detached & ~np.isfinite(self.motion.path)
        same = arrival is not None and all(map(np.array_equal, self.cells, arrival[0]))
        if arrival is not None and same and not others.any():
            self._take_mesh(arrival[1])
        else:
            self._refresh()
        self.log[-1][-1:] = self._row()

    @property
    def _beyond_positions(self) -> bool:
        """Whether ripples are let pass, and of the highest care, and so deep that none resolves."""
        clock, peak = self.control.clock, float((self.u * self.mesh.inverse).max())
        careful = clock[kernels.CARE] >= kernels.MOST_CARE
        return bool(careful and clock[kernels.TOLERATED] < -_DEEP * peak)

    @property
    def lifted(self) -> float:
        """What lifting ripples may have added to errors, dimensionless.

        Of functionals, relative to their size; or a tenth of what it may have added to the L¹ error
        of a density, times its relevance, if that is more.
        """
        costs = self.control.lifted[kernels.SPENT]
        return float(max(costs[-1], 0.1 * costs[:-1].max()))

    def why_long(self) -> str:
        """What a solve that ended with `Ending.LONG` would take, why, and what to do."""
        return (
            f"it would take {how_long(self._whole_work)} or more: layers, fronts and laws that "
            f"weak diffusion leaves thin need {self.u.size} unknowns and steps of {self.step:.1g} "
            f"up to {self.horizon:.6g}; shorten the horizon, loosen rtol, or wait with patient=True"
        )

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return copies of all that `restore` needs to go on bit for bit, but for the log."""
        groups: dict[str, Any] = {
            "cells": self.cells,
            "motion": self.motion,
            "control": self.control,
        }
        arrays = {
            f"{group}_{name}": np.array(getattr(values, name))
            for group, values in groups.items()
            for name in values._fields
        }
        own = {"u": self.u, "fallen": self.fallen, "offset": self.model.offset}
        return {**arrays, **{name: values.copy() for name, values in own.items()}}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `to_arrays` returned for the same equation; the mesh follows from it."""

        def group(name: str, like: Any) -> Any:
            # Kernels are compiled for writable arrays in C order of these very types.
            # Runs of before meshes were led have none that is.
            kept = (
                np.array(
                    arrays.get(f"{name}_{key}", getattr(like, key)),
                    dtype=getattr(like, key).dtype,
                    order="C",
                )
                for key in like._fields
            )
            return type(like)(*kept)

        self.cells = group("cells", self.cells)
        self.motion = group("motion", self.motion)
        self.control = group("control", self.control)
        clock = np.zeros(kernels.CLOCK_SIZE)
        clock[: self.control.clock.size] = self.control.clock
        lifted = np.zeros((5, self.model.probability.size + 1))
        # Runs of before it was kept how much was changed have one row, where the cost was that;
        # later ones lack the last row, of how far rare classes have travelled.
        rows = np.atleast_2d(self.control.lifted)
        lifted[:2] = rows[:2]
        lifted[kernels.TRAVELLED :] = rows[kernels.TRAVELLED :]
        self.control = self.control._replace(clock=clock, lifted=lifted)
        self.u = np.array(arrays["u"], dtype=np.float64, order="C")
        self.fallen = np.array(arrays.get("fallen", self.fallen))
        self.model.offset[:] = arrays["offset"]
        self.log.clear()
        self.place()

    def statistics(self) -> dict[str, Any]:
        """Counters and estimates of the loop."""
        clock = self.control.clock
        return {
            "steps": int(clock[kernels.STEPS]),
            "rejected": int(clock[kernels.REJECTED]),
            "refined": int(clock[kernels.REFINED]),
            "most_unknowns": int(clock[kernels.MOST_UNKNOWNS]),
            "time_error": float(clock[kernels.TIME_ERROR]),
            "rounding": float(clock[kernels.ROUNDING]),
            "regrids": int(clock[kernels.REGRIDS]),
            "lifted": self.lifted,
            "at_rest_from": float(clock[kernels.RESTED] or np.inf),
        }
