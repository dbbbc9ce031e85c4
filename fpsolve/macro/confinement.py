"""Which teacher values hold their weights, and what is left as D → 0 or D → ∞."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fpsolve.problem.problem import Problem

__all__ = ["Confinement", "error_floor"]

Array = NDArray[np.float64]

# |c| is equal to an outermost level within this relative distance: rounding of κw*/(S + λ).
_EQUAL = 4 * np.finfo(np.float64).eps


@dataclass(frozen=True, eq=False)
class Confinement:
    """How every teacher value stands to the quantizer's range.

    Attributes
    ----------
    targets : ndarray, shape (K,)
        c(w*) = κ w*/(S + λ), where the drift vanishes (dimensionless).
    escapes : ndarray of int, shape (K,)
        −1 where v_0 < c < v_L confines the weights; else the index of the outermost level they
        run away to. At c equal to an outermost level the drift beyond it vanishes: the weights
        diffuse away without bound, so such a value counts as running away too.
    """

    targets: Array
    escapes: NDArray[np.int64]

    @classmethod
    def of(cls, problem: Problem) -> Confinement:
        """Return the confinement of `problem`; unquantized weights are always confined."""
        targets = problem.dynamics.target
        escapes = np.full(targets.size, -1, dtype=np.int64)
        if problem.weight_quantizer is not None:
            levels = problem.weight_quantizer.levels
            slack = _EQUAL * np.maximum(np.abs(targets), np.abs(levels[[0, -1], None]))
            escapes[targets <= levels[0] + slack[0]] = 0
            escapes[targets >= levels[-1] - slack[1]] = levels.size - 1
        return cls(targets, escapes)

    @property
    def confined(self) -> NDArray[np.bool_]:
        """Whether each teacher value holds its weights, shape (K,)."""
        return self.escapes < 0


def error_floor(problem: Problem) -> float:
    """Return ρ(1 − κ²/S) + σ², the ε_g that the best weights of all leave (paper Eq. 3)."""
    return problem.dynamics.floor
