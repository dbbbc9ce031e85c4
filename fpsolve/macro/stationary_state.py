"""`StationaryState`: what the limiting density says at rest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.display import Shown
from fpsolve.errors import ParameterError
from fpsolve.macro.conditional_density import ConditionalDensity, conditional_density
from fpsolve.macro.confinement import Confinement
from fpsolve.macro.fixed_points import input_only_moments, stability_boundary
from fpsolve.macro.stability import StationarySpectrum, stationary_spectrum
from fpsolve.macro.stationary_error import error_bounds, error_map
from fpsolve.problem.checks import finite
from fpsolve.problem.problem import Problem
from fpsolve.reduction import OrderParameters

__all__ = ["StationaryState"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class StationaryState(Shown):
    """A stationary state of the limiting density (dimensionless).

    Attributes
    ----------
    problem : Problem
        Whose state it is.
    generalization_error : float
        ε_g, one of the roots of the self-consistency; 0 where training has frozen.
    """

    problem: Problem
    generalization_error: float

    def _shown(self) -> dict[str, object]:
        return {
            "generalization_error": self.generalization_error,
            "diffusivity": self.diffusivity,
            "confined": f"{int(self.confined.sum())} of {self.confined.size} teacher values",
        }

    @property
    def diffusivity(self) -> float:
        """D = η² S ε_g/(2B)."""
        return float(self.problem.diffusivity(self.generalization_error))

    @property
    def confined(self) -> NDArray[np.bool_]:
        """Whether each teacher value holds its weights, shape (K,); others run away to ±∞."""
        return Confinement.of(self.problem).confined

    def density(self, w: ArrayLike, w_star: float) -> Array:
        """Return μ(w | w*), same shape as `w`.

        Parameters
        ----------
        w : array_like
            Weights (dimensionless).
        w_star : float
            A teacher value; it need not be one of the problem's.

        Raises
        ------
        ParameterError
            If weights of this teacher value run away, or training has frozen at ε_g = 0: there
            is no (unique) stationary density then.
        """
        points = np.asarray(w, dtype=np.float64)
        return np.exp(self._conditional(w_star).log_density(points))

    def moments(self, w_star: float) -> tuple[float, float]:
        """Return mean and standard deviation of w given w*; exceptions as for `density`."""
        _, _, mean, square, _ = self._conditional(w_star).moments()
        return mean, math.sqrt(max(square - mean**2, 0.0))

    def _conditional(self, w_star: float) -> ConditionalDensity:
        if self.diffusivity == 0:
            allowed = "must be > 0 for a density: frozen weights keep whatever density they have"
            raise ParameterError("generalization_error", self.generalization_error, allowed)
        w_star = finite("w_star", w_star)
        quantizer = self.problem.weight_quantizer
        if quantizer is not None:
            unit, pull = self.problem.dynamics.push_and_pull(1.0)
            ends = quantizer.levels[[0, -1]] * pull / float(unit)
            if not ends[0] < w_star < ends[1]:
                span = f"{ends[0]:.6g} and {ends[1]:.6g}"
                allowed = f"must lie between {span}; beyond, its weights run away"
                raise ParameterError("w_star", w_star, allowed)
        return conditional_density(self.problem, w_star, self.diffusivity)

    @cached_property
    def order_parameters(self) -> OrderParameters:
        """Order parameters, each of shape ().

        Where a teacher value runs away, m, q, s and r_ψ are infinite, with the sign of their late
        growth. Where training has frozen they are those of the limit D → 0.
        """
        problem = self.problem
        state = Confinement.of(problem)
        moments = np.empty((problem.teacher.values.size, 5))
        for k, w_star in enumerate(problem.teacher.values):
            if state.confined[k]:
                moments[k] = conditional_density(problem, float(w_star), self._width()).moments()
            else:
                moments[k] = self._escaped(float(w_star), int(state.escapes[k]))
        p, values = problem.teacher.probabilities, problem.teacher.values
        psi, psi2, w, w2, w_psi = moments.T
        bounded = bool(state.confined.all())
        m = float(p @ (values * w)) if bounded else self._runaway_overlap(state)
        q = float(p @ w2)
        aligned = m * m / problem.rho if bounded and problem.rho > 0 else 0.0
        fields = {
            "m": m,
            "q": q,
            "s": math.sqrt(max(q - aligned, 0.0)),
            "m_psi": float(p @ (values * psi)),
            "q_psi": float(p @ psi2),
            "r_psi": float(p @ w_psi),
            "generalization_error": self.generalization_error,
        }
        return OrderParameters(**{name: np.asarray(value) for name, value in fields.items()})

    @cached_property
    def spectrum(self) -> StationarySpectrum | None:
        """Slow spectrum of the dynamics linearized here; None where training has frozen."""
        if self.diffusivity == 0:
            return None
        return stationary_spectrum(self.problem, self.generalization_error)

    @property
    def relaxation_rate(self) -> float:
        """Decay rate of a small perturbation at late times (per unit τ); 0 where frozen."""
        return 0.0 if self.spectrum is None else self.spectrum.relaxation_rate

    @property
    def stable(self) -> bool:
        """Whether no small perturbation grows; where frozen, whether ε_g returns to 0."""
        if self.spectrum is not None:
            return not bool((self.spectrum.eigenvalues.real > 0).any())
        problem = self.problem
        if problem.weight_quantizer is None:
            return input_only_moments(problem) is not None and _unquantized_decays(problem)
        scale = error_bounds(problem)[1]
        return scale == 0 or error_map(problem)(1e-10 * scale) < 1e-10 * scale

    def _width(self) -> float:
        """Return D, or where it is 0 one so small that the density is that of D → 0."""
        if self.diffusivity > 0 or self.problem.weight_quantizer is None:
            return self.diffusivity
        return 1e-10 * float(self.problem.diffusivity(1.0)) / self.problem.dynamics.constant_rate

    def _escaped(self, w_star: float, index: int) -> tuple[float, ...]:
        quantizer = self.problem.weight_quantizer
        assert quantizer is not None
        level = float(quantizer.levels[index])
        along = math.copysign(math.inf, 1.0 if index > 0 else -1.0)
        return level, level**2, along, math.inf, along * level if level != 0 else 0.0

    def _runaway_overlap(self, state: Confinement) -> float:
        """Return ±∞ with the sign of dm/dτ at late times, or 0 where runaways cancel."""
        quantizer = self.problem.weight_quantizer
        assert quantizer is not None
        teacher = self.problem.teacher
        side = np.where(state.confined, 0.0, np.where(state.escapes > 0, 1.0, -1.0))
        speed = np.where(side != 0, state.targets - quantizer.levels[state.escapes], 0.0)
        # Where c equals the outermost level there is no drift, and diffusion alone carries away.
        for rate in (speed, side):
            growth = float((teacher.probabilities * teacher.values) @ rate)
            if growth != 0:
                return math.copysign(math.inf, growth)
        return 0.0


def _unquantized_decays(problem: Problem) -> bool:
    rate = problem.dynamics.constant_rate
    return (1 - problem.momentum) * rate < stability_boundary(problem)
