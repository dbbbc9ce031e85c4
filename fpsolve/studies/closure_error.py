"""What the isotropic closure gets wrong: the exact density minus the closure."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.density.solve import solve_pde
from fpsolve.display import Shown, span
from fpsolve.macro.closure import solve_ode
from fpsolve.problem.problem import Problem
from fpsolve.reduction import OrderParameters

__all__ = ["ClosureError", "closure_error"]


@dataclass(frozen=True, eq=False, repr=False)
class ClosureError(Shown):
    """Order parameters of the density minus those of the closure.

    It answers the questions of a trajectory, so that `sweep` maps it over any grid.

    Attributes
    ----------
    problem : Problem
        What was solved twice.
    times : ndarray, shape (T,)
        Times τ (dimensionless).
    order_parameters : OrderParameters
        Differences, exact minus closure, each of shape (T,); `s` too is a difference.
    exact, closure : OrderParameters
        The two minuends, each of shape (T,).
    stats : dict
        "largest": largest |Δε_g|; "interrupted": whether a callback has ended it; and the
        statistics of both solutions.
    """

    problem: Problem
    times: NDArray[np.float64]
    order_parameters: OrderParameters
    exact: OrderParameters
    closure: OrderParameters
    stats: dict[str, Any]

    def _shown(self) -> dict[str, object]:
        difference = self.order_parameters.generalization_error
        return {"times": span(self.times), "generalization_error": span(difference)}


def closure_error(
    problem: Problem, times: ArrayLike, *, rtol: float = 1e-6, **solve_options: Any
) -> ClosureError:
    """Return the exact order parameters minus those of the isotropic closure.

    Parameters
    ----------
    problem : Problem
        What to solve.
    times : array_like, shape (T,)
        Times τ ≥ 0, strictly increasing (dimensionless).
    rtol : float, default 1e-6
        Tolerance of `solve_pde`; the closure is solved a hundred times tighter.
    **solve_options
        Further options of `solve_pde`, `progress` and `callback` too; where a callback stops the
        density the closure stops as well.

    Returns
    -------
    ClosureError
        For unquantized weights the differences are those of the two solvers alone.

    Raises
    ------
    ParameterError
        If the times or the tolerance are out of range, or a training rule leaves no closure
        (see `solve_ode`).
    SolveError
        If either of the two solutions cannot reach the last time.
    TypeError
        If `solve_pde` has no such option.

    Notes
    -----
    Source: paper Assumption V.1 is the only difference between Eqs. (4) and (6)–(7).
    """
    exact = solve_pde(problem, times, rtol=rtol, **solve_options)
    closed = solve_ode(problem, exact.times, rtol=max(1e-2 * rtol, 1e-12))
    difference = OrderParameters(
        **{
            field.name: getattr(exact.order_parameters, field.name)
            - getattr(closed.order_parameters, field.name)
            for field in fields(OrderParameters)
        }
    )
    largest = float(np.abs(difference.generalization_error).max())
    interrupted = exact.stats["interrupted"]
    stats = {"largest": largest, "interrupted": interrupted}
    stats |= {"exact": exact.stats, "closure": closed.stats}
    return ClosureError(
        problem,
        closed.times,
        difference,
        exact.order_parameters,
        closed.order_parameters,
        stats,
    )
