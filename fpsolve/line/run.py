"""A density of any McKean–Vlasov equation on its way: its solver, and how it begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpsolve.errors import ParameterError, SolveError
from fpsolve.numerics.element import reference_element
from fpsolve.numerics.foreign import ForeignLaw
from fpsolve.numerics.initial import Initial, default_order, start_solver
from fpsolve.numerics.kernels import Cells
from fpsolve.numerics.mckean_vlasov import McKeanVlasov, equation_of
from fpsolve.numerics.polynomials import PiecewisePolynomial
from fpsolve.numerics.solver import Ending, Solver

__all__ = ["LineRun", "Reached"]

Array = NDArray[np.float64]

_LOOSEST_WORK = 3e-4
_RESOLUTION = 5.0


class Reached:
    """A density that another run has reached, as the initial one."""

    def __init__(self, frame: PiecewisePolynomial, model: McKeanVlasov) -> None:
        self._frame = frame
        low, high = self.support(0)
        if model.walls is not None and (low < model.walls[0] or high > model.walls[1]):
            allowed = f"must lie within the walls {list(model.walls)}; widen them"
            raise ParameterError("start", (low, high), allowed)

    def support(self, k: int) -> tuple[float, float]:
        """Interval that holds it."""
        frame = self._frame
        return float(frame.left[0]), float(frame.left[-1] + frame.width[-1])

    def scale(self, k: int) -> float:
        """A width at which to look first."""
        low, high = self.support(k)
        return (high - low) / 8

    def elements(self, k: int) -> tuple[Array, Array]:
        """Left ends and widths of the elements on which it is smooth."""
        return self._frame.left, self._frame.width

    def pdf(self, k: int, x: Array) -> Array:
        """Density."""
        return self._frame.pdf(x)

    def masses(self, k: int, left: Array, right: Array) -> Array:
        """Masses between points."""
        return np.asarray(self._frame.cdf(right) - self._frame.cdf(left))


class LineRun:
    """The density of a model, advanced from time to time.

    Parameters
    ----------
    model : McKeanVlasov
        The equation.
    rtol : float
        As asked for.
    initial : Initial or mapping
        The initial law, or what `to_arrays` returned of a run that goes on.
    """

    def __init__(
        self, model: McKeanVlasov, rtol: float, initial: Initial | Mapping[str, NDArray[Any]]
    ) -> None:
        work = min(rtol, _LOOSEST_WORK)
        self.order, self.rank = default_order(work), len(model.functionals)
        self._foreign = ForeignLaw(model.law, terms=len(model.drifts), rank=self.rank)
        self._law = self._foreign.law(
            terms=len(model.drifts), rank=self.rank, given=model.coefficients is None
        )
        options: dict[str, Any] = {
            "order": self.order, "rtol": work, "resolution": _RESOLUTION * work,
        }  # fmt: skip
        if isinstance(initial, Mapping):
            self._unit = float(initial["unit"])
            cells = (np.array(initial[f"cells_{name}"], np.int64) for name in Cells._fields)
            self.solver = Solver(equation_of(model, self._unit), cells=Cells(*cells), **options)
            self.solver.restore(initial)
        else:
            low, high = initial.support(0)
            self._unit = 0.5 * (high - low)
            equation = equation_of(model, self._unit)
            self.solver = start_solver(equation, self._law, initial, **options)

    def reach(self, time: float, tick: Callable[[float], None] | None = None) -> None:
        """Go to `time`.

        Raises
        ------
        SolveError
            If that is not possible.
        Exception
            What a function of the model has raised.
        """
        try:
            ending = self.solver.advance(self._law, np.array([time]), tick)
        except SolveError:
            if self._foreign.failure is not None:
                raise self._foreign.failure from None
            raise
        if ending is not Ending.REACHED:
            why = self.solver.why_long() if ending is Ending.LONG else ending.value
            raise SolveError(why, time=self.solver.time, step=self.solver.step)

    @property
    def frame(self) -> PiecewisePolynomial:
        """The density where the run stands."""
        mesh = self.solver.mesh
        weights = reference_element(self.order).weights[:, None]
        squared = 0.5 * mesh.width * weights / mesh.mass
        u = self.solver.u / squared
        u.flags.writeable = False  # A sink need not copy what nobody changes.
        return PiecewisePolynomial(self.order, mesh.left, mesh.width, u)

    @property
    def functionals(self) -> Array:
        """M where the run stands, shape (r,)."""
        return self.solver.moments[: self.rank]

    def to_arrays(self) -> dict[str, Any]:
        """Return what the run goes on from, but for the log of its steps."""
        return {**self.solver.to_arrays(), "unit": np.float64(self._unit)}
