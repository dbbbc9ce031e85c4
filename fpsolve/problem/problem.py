"""`Problem`: one frozen description of training, which every solver reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.errors import ParameterError
from fpsolve.problem.checks import finite, integer
from fpsolve.problem.initial import GaussianInitial
from fpsolve.problem.inputs import input_distribution
from fpsolve.problem.quantizer import StepQuantizer
from fpsolve.problem.teacher import Teacher

__all__ = ["Problem"]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Training of a quantized linear model with the straight-through estimator.

    Everything is dimensionless; time is τ = steps/dimension.

    Parameters
    ----------
    weight_quantizer : StepQuantizer or None
        ψ; None for full precision.
    input_quantizer : StepQuantizer or None
        ψ_x, odd; None for full precision.
    learning_rate : float
        η > 0.
    ridge : float, default 0
        λ ≥ 0, the coefficient of ½λ|ψ(w)|²/d.
    noise_variance : float, default 0
        σ² ≥ 0, variance of the label noise.
    teacher : Teacher
        p(w*); `Teacher.constant(1.0)` by default.
    initial : GaussianInitial
        Law of w_0 given w*; N(0, 1) by default.
    batch_size : int, default 1
        B ≥ 1, fresh samples averaged in one step.
    input_distribution : str, default "gaussian"
        Law of an input coordinate: "gaussian", "uniform" or "laplace", each with unit variance.

    Raises
    ------
    ParameterError
        Naming the field, its value and what is allowed.

    Notes
    -----
    Source: paper §II (model), Theorem IV.3 (limit); drift and diffusion as in Eq. (5).
    """

    weight_quantizer: StepQuantizer | None
    input_quantizer: StepQuantizer | None
    learning_rate: float
    ridge: float = 0.0
    noise_variance: float = 0.0
    teacher: Teacher = field(default_factory=lambda: Teacher.constant(1.0))
    initial: GaussianInitial = field(default_factory=GaussianInitial)
    batch_size: int = 1
    input_distribution: str = "gaussian"

    def __post_init__(self) -> None:
        for name in ("weight_quantizer", "input_quantizer"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, StepQuantizer):
                allowed = "must be a UniformQuantizer, a StepQuantizer or None (full precision)"
                raise ParameterError(name, value, allowed)
        if self.input_quantizer is not None and not self.input_quantizer.is_odd:
            allowed = (
                "must be odd (levels and thresholds symmetric about 0), so that E psi_x(x) = 0"
            )
            raise ParameterError("input_quantizer", self.input_quantizer, allowed)
        if not isinstance(self.teacher, Teacher):
            raise ParameterError(
                "teacher", self.teacher, "must be a Teacher, e.g. Teacher.constant(1)"
            )
        if not isinstance(self.initial, GaussianInitial):
            raise ParameterError("initial", self.initial, "must be a GaussianInitial")
        set_field = object.__setattr__
        set_field(self, "learning_rate", finite("learning_rate", self.learning_rate, above=0.0))
        set_field(self, "ridge", finite("ridge", self.ridge, least=0.0))
        set_field(self, "noise_variance", finite("noise_variance", self.noise_variance, least=0.0))
        set_field(self, "batch_size", integer("batch_size", self.batch_size, least=1))
        input_distribution(self.input_distribution)

    @cached_property
    def _input_moments(self) -> tuple[float, float]:
        if self.input_quantizer is None:
            return 1.0, 1.0
        return self.input_quantizer.moments(input_distribution(self.input_distribution))

    @property
    def kappa(self) -> float:
        """κ = E[x ψ_x(x)] (dimensionless; paper Prop. II.1)."""
        return self._input_moments[0]

    @property
    def sigma2(self) -> float:
        """S = σ_ψ² = E[ψ_x(x)²] (dimensionless; paper Prop. II.1)."""
        return self._input_moments[1]

    @property
    def rho(self) -> float:
        """ρ = E[w*²] (dimensionless)."""
        return self.teacher.rho

    def quantize(self, w: ArrayLike) -> NDArray[np.float64]:
        """Return ψ(w) elementwise, the identity for full precision."""
        if self.weight_quantizer is None:
            return np.asarray(w, dtype=np.float64)
        return self.weight_quantizer(w)

    def drift(self, w: ArrayLike, w_star: ArrayLike) -> NDArray[np.float64]:
        """Return a(w; w*) = η(κ w* − (S + λ) ψ(w)), broadcast (paper Eq. 5)."""
        pull = (self.sigma2 + self.ridge) * self.quantize(w)
        return self.learning_rate * (self.kappa * np.asarray(w_star, dtype=np.float64) - pull)

    def diffusivity(self, generalization_error: ArrayLike) -> NDArray[np.float64]:
        """Return D = η² S ε_g/(2B), same shape as `generalization_error` (paper Eq. 5, batch B)."""
        factor = self.learning_rate**2 * self.sigma2 / (2 * self.batch_size)
        return factor * np.asarray(generalization_error, dtype=np.float64)

    def to_toml(self) -> str:
        """Return the problem as TOML text that `from_toml` reads back to an equal problem."""
        from fpsolve.problem.toml import problem_to_toml  # toml builds Problems, so it comes later

        return problem_to_toml(self)

    @classmethod
    def from_toml(cls, path: str | Path) -> Problem:
        """Read the `[problem]` table of a TOML file; `ParameterError` names file, table and key."""
        from fpsolve.problem.toml import read_problem_file

        return read_problem_file(path).problem
