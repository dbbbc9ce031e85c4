"""`PiecewiseState`: a stationary state under training rules beyond the paper's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.errors import ParameterError
from fpsolve.macro.piecewise_density import PiecewiseDensity, escape_bins
from fpsolve.macro.piecewise_errors import piecewise_error_map
from fpsolve.macro.stability import StationarySpectrum
from fpsolve.macro.stationary_state import StationaryState
from fpsolve.problem.checks import finite
from fpsolve.reduction import OrderParameters

__all__ = ["PiecewiseState"]

Array = NDArray[np.float64]

# The self-consistency map is differentiated over this share of ε_g.
_DIFFERENCE = 1e-5
# ε_g, in units of ρ + σ², whose densities stand for those of ε_g → 0.
_FROZEN = 1e-12


@dataclass(frozen=True, eq=False, repr=False)
class PiecewiseState(StationaryState):
    """A stationary state whose density has a parabola for a logarithm on every bin.

    The same questions as for `StationaryState`; a teacher value stands for the class that has it,
    which `class_density` and `class_functionals` name by number where input scales differ.
    """

    def _shown(self) -> dict[str, object]:
        return {
            "generalization_error": self.generalization_error,
            "confined": f"{int(self.confined.sum())} of {self.confined.size} classes",
        }

    @property
    def confined(self) -> NDArray[np.bool_]:
        """Whether each class holds its weights, shape (K,); others run away to ±∞."""
        return np.asarray(self._runaway < 0)

    def density(self, w: ArrayLike, w_star: float) -> Array:
        """Return μ(w | w*), same shape as `w`, for a teacher value of the problem.

        Raises
        ------
        ParameterError
            If no class or several have this value, or its weights run away.
        """
        return self.class_density(w, self._class_of(w_star))

    def class_density(self, w: ArrayLike, k: int) -> Array:
        """Return μ(w) of class number k, same shape as `w`; exceptions as for `density`."""
        if self.generalization_error == 0:
            allowed = "must be > 0 for a density: frozen weights keep whatever density they have"
            raise ParameterError("generalization_error", 0.0, allowed)
        return np.exp(self._held(k).log_density(np.asarray(w, dtype=np.float64)))

    def class_functionals(self, k: int) -> Array:
        """Return the averages of the loss, w*w, w², w*ψ, ψ² and wψ over class k, shape (6,)."""
        return self._held(k).functionals

    def moments(self, w_star: float) -> tuple[float, float]:
        """Return mean and standard deviation of w given w*; exceptions as for `density`."""
        return self._held(self._class_of(w_star)).mean_and_deviation()

    @cached_property
    def order_parameters(self) -> OrderParameters:
        """Order parameters, each of shape (); infinite m, q, s and r_ψ where weights run away.

        Where training has frozen they are those of the limit D → 0.
        """
        dynamics, p = self.problem.dynamics, self.problem.teacher.probabilities
        pieces = dynamics.pieces
        assert pieces is not None
        rows = np.empty((p.size, 6))
        for k, end in enumerate(self._runaway):
            if end < 0:
                rows[k] = self._held(k).functionals
                continue
            rows[k] = pieces.functionals[:, k, end, 0]
            side = math.inf if end else -math.inf
            rows[k, 2] = math.inf
            # The functionals m and r_ψ grow like w*w and ψw.
            for i in (1, 5):
                growth = pieces.functionals[i, k, end, 1]
                rows[k, i] = growth * side if growth else 0.0
        _, m, q, m_psi, q_psi, r_psi = rows.T
        bounded = bool(self.confined.all())
        overlap = float(p @ m) if bounded else self._runaway_growth()
        square, second = self.problem.teacher.square, float(p @ q)
        aligned = overlap**2 / square if bounded and square > 0 else 0.0
        values = {
            "m": overlap,
            "q": second,
            "s": math.sqrt(max(second - aligned, 0.0)),
            "m_psi": float(p @ m_psi),
            "q_psi": float(p @ q_psi),
            "r_psi": float(p @ r_psi),
            "generalization_error": self.generalization_error,
        }
        return OrderParameters(**{name: np.asarray(value) for name, value in values.items()})

    @property
    def spectrum(self) -> StationarySpectrum | None:
        """Not available.

        Raises
        ------
        ParameterError
            Always: the linearized operator is built in for the paper's rule only.
        """
        allowed = "has no spectrum built in; the late decay of solve_pde is its relaxation rate"
        raise ParameterError("problem", self.problem, allowed)

    @property
    def stable(self) -> bool:
        """Whether a larger error shrinks: the slope of the self-consistency map is below 1.

        It decides about growing modes; oscillating ones would escape it. A state frozen at
        ε_g = 0 is listed only where smaller errors shrink.
        """
        if self.generalization_error == 0:
            return True
        error, function = self.generalization_error, piecewise_error_map(self.problem)
        change = _DIFFERENCE * error
        return function(error + change) - function(error - change) < 2 * change

    @cached_property
    def _runaway(self) -> NDArray[np.int64]:
        return escape_bins(self.problem.dynamics)

    @cached_property
    def _densities(self) -> dict[int, PiecewiseDensity]:
        return {}

    def _held(self, k: int) -> PiecewiseDensity:
        if self._runaway[k] >= 0:
            value = float(self.problem.teacher.values[k])
            raise ParameterError("w_star", value, "has no density at rest: its weights run away")
        if k not in self._densities:
            error = self.generalization_error or _FROZEN * self.problem.dynamics.offset()
            self._densities[k] = PiecewiseDensity.of(self.problem.dynamics, k, error)
        return self._densities[k]

    def _class_of(self, w_star: float) -> int:
        found = np.flatnonzero(self.problem.teacher.values == finite("w_star", w_star))
        if found.size != 1:
            allowed = (
                f"must be a teacher value of one class, not of {found.size}; classes have numbers: "
                "use class_density"
            )
            raise ParameterError("w_star", w_star, allowed)
        return int(found[0])

    def _runaway_growth(self) -> float:
        """Return ±∞ with the sign of dm/dτ at late times, or 0 where runaways cancel."""
        dynamics, p = self.problem.dynamics, self.problem.teacher.probabilities
        side = np.where(self.confined, 0.0, np.where(self._runaway > 0, 1.0, -1.0))
        speed = np.array(
            [float(dynamics.point_drift(1e300 * s, dynamics.coordinate(k))) if s else 0.0
             for k, s in enumerate(side)]
        )  # fmt: skip
        # Without drift beyond the outermost level diffusion alone carries away.
        for rate in (speed, side):
            growth = float((p * dynamics.w_star) @ rate)
            if growth != 0:
                return math.copysign(math.inf, growth)
        return 0.0
