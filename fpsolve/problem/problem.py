"""`Problem`: one frozen description of training, which every solver reads."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.errors import ParameterError
from fpsolve.problem.checks import finite, integer
from fpsolve.problem.dynamics import Coordinate, Dynamics
from fpsolve.problem.initial import GaussianInitial
from fpsolve.problem.inputs import input_distribution
from fpsolve.problem.quantizer import StepQuantizer
from fpsolve.problem.rules import check_rules
from fpsolve.problem.schedule import Schedule
from fpsolve.problem.surrogate import Surrogate
from fpsolve.problem.tables import document_text, read_document
from fpsolve.problem.teacher import Teacher

__all__ = ["Problem"]

# Coefficients of the equation, which `Dynamics` owns: here they can only be read.
_COEFFICIENTS = ("kappa", "sigma2", "rho", "kappas", "sigma2s", "drift", "diffusivity", "quantize")
# Fields that a problem always shows, and characters it shows at most.
_SHOWN = ("weight_quantizer", "input_quantizer", "learning_rate")
_LONGEST = 200
# Fields that may be schedules, besides the learning rate.
_SCHEDULED = ("ridge", "noise_variance")


@dataclass(frozen=True, kw_only=True, repr=False)
class Problem:
    """Training of a quantized linear model with the straight-through estimator.

    Everything is dimensionless; time is τ = steps/dimension.

    Parameters
    ----------
    weight_quantizer : StepQuantizer or None
        ψ; None for full precision.
    input_quantizer : StepQuantizer or None
        ψ_x, odd; None for full precision.
    learning_rate : float or Schedule
        η > 0, or a schedule of it.
    ridge : float or Schedule, default 0
        λ ≥ 0, the coefficient of ½λ|ψ(w)|²/d, or a schedule of it.
    noise_variance : float or Schedule, default 0
        σ² ≥ 0, variance of the label noise, or a schedule of it.
    teacher : Teacher
        p(w*); `Teacher.constant(1.0)` by default.
    initial : GaussianInitial
        Law of w_0 given w*; N(0, 1) by default.
    batch_size : int, default 1
        B ≥ 1, fresh samples averaged in one step.
    input_distribution : str, default "gaussian"
        Law of an input coordinate: "gaussian", "uniform" or "laplace", each with unit variance
        before the teacher's input scale multiplies it.
    surrogate : Surrogate or None, default None
        h(w), the factor of a weight's gradient; None for the identity straight-through estimator.
    weight_decay : float, default 0
        γ ≥ 0 of decoupled decay: w ← w − (η/d) γ w.
    weight_clip : float or None, default None
        c > 0: weights are clipped to [−c, c] after every step; None leaves them free.
    dampening : float, default 0
        ζ ≥ 0 of oscillation damping: w ← w − (η/d) 2ζ (clip(w, ±ω) − ψ(w)).
    momentum : float, default 0
        β in [0, 1); in the limit exactly a rate of η/(1 − β).

    Raises
    ------
    ParameterError
        Naming the field, its value and what is allowed.

    Notes
    -----
    Source: paper §II (model), Theorem IV.3 (limit); drift and diffusion as in Eq. (5). Dampening:
    Nagel et al., arXiv 2203.11086; decoupled decay: Loshchilov and Hutter, arXiv 1711.05101;
    clipping: Courbariaux et al., arXiv 1511.00363.

    A subclass that changes the physics overrides `dynamics` to return a subclass of `Dynamics`;
    overriding what follows from it is a TypeError.
    """

    weight_quantizer: StepQuantizer | None
    input_quantizer: StepQuantizer | None
    learning_rate: float | Schedule
    ridge: float | Schedule = 0.0
    noise_variance: float | Schedule = 0.0
    teacher: Teacher = field(default_factory=lambda: Teacher.constant(1.0))
    initial: GaussianInitial = field(default_factory=GaussianInitial)
    batch_size: int = 1
    input_distribution: str = "gaussian"
    surrogate: Surrogate | None = None
    weight_decay: float = 0.0
    weight_clip: float | None = None
    dampening: float = 0.0
    momentum: float = 0.0

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        closed = [name for name in _COEFFICIENTS if name in cls.__dict__]
        if closed:
            raise TypeError(
                f"{cls.__name__} overrides {', '.join(closed)}, which not every solver would "
                "follow; override `dynamics` with a subclass of fpsolve.problem.dynamics.Dynamics"
            )

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
        if not isinstance(self.learning_rate, Schedule):
            set_field(self, "learning_rate", finite("learning_rate", self.learning_rate, above=0.0))
        for name in ("ridge", "noise_variance", "weight_decay", "dampening", "momentum"):
            value = getattr(self, name)
            if isinstance(value, Schedule) and name in _SCHEDULED:
                continue
            set_field(self, name, finite(name, value, least=0.0))
        if self.weight_clip is not None:
            set_field(self, "weight_clip", finite("weight_clip", self.weight_clip, above=0.0))
        set_field(self, "batch_size", integer("batch_size", self.batch_size, least=1))
        input_distribution(self.input_distribution)
        check_rules(self)

    @cached_property
    def dynamics(self) -> Dynamics:
        """The coefficients of the limiting equation."""
        return Dynamics(self)

    @property
    def kappas(self) -> NDArray[np.float64]:
        """κ_k = E[x ψ_x(x)] for the inputs of each class, shape (K,) (dimensionless)."""
        return self.dynamics.kappa

    @property
    def sigma2s(self) -> NDArray[np.float64]:
        """S_k = E[ψ_x(x)²] for the inputs of each class, shape (K,) (dimensionless)."""
        return self.dynamics.sigma2

    @property
    def kappa(self) -> float:
        """κ = E[x ψ_x(x)] (dimensionless; paper Prop. II.1); an error if input scales differ."""
        return self._single("kappa")

    @property
    def sigma2(self) -> float:
        """S = σ_ψ² = E[ψ_x(x)²] (dimensionless; paper Prop. II.1); an error if scales differ."""
        return self._single("sigma2")

    def _single(self, name: str) -> float:
        scales = self.teacher.input_scale
        if (scales != scales[0]).any():
            allowed = f"differs between classes, so there is no one {name}; use `{name}s`"
            raise ParameterError("teacher.input_scale", scales, allowed)
        return float(getattr(self.dynamics, name)[0])

    @property
    def rho(self) -> float:
        """ρ = E[s² w*²], with input scale s (dimensionless)."""
        return self.teacher.rho

    def quantize(self, w: ArrayLike) -> NDArray[np.float64]:
        """Return ψ(w) elementwise: the identity for full precision, a mean if it is random."""
        if self.weight_quantizer is None:
            return np.asarray(w, dtype=np.float64)
        return self.weight_quantizer(w)

    def quantized_square(self, w: ArrayLike) -> NDArray[np.float64]:
        """Return E ψ(w)² elementwise; the square of ψ(w) unless that is random."""
        if self.weight_quantizer is None:
            return np.square(np.asarray(w, dtype=np.float64))
        return self.weight_quantizer.mean_square(w)

    def drift(self, w: ArrayLike, w_star: ArrayLike, tau: float = 0.0) -> NDArray[np.float64]:
        """Return a(w; w*) = η(h(κ w* − (S + λ) ψ(w)) − b) at τ, broadcast (paper Eq. 5)."""
        teacher = np.asarray(w_star, dtype=np.float64)
        coordinate = Coordinate(teacher, self.kappa, self.sigma2)
        return self.dynamics.point_drift(w, coordinate, tau)

    def diffusivity(self, generalization_error: ArrayLike, tau: float = 0.0) -> NDArray[np.float64]:
        """Return D = η² S ε_g/(2B) at τ, same shape as `generalization_error` (paper Eq. 5)."""
        return self.sigma2 * self.dynamics.diffusivity(tau, generalization_error)

    def to_toml(self) -> str:
        """Return the problem as TOML text that `from_toml` reads back to an equal problem."""
        return document_text(self)

    @classmethod
    def from_toml(cls, path: str | Path) -> Problem:
        """Read the `[problem]` table of a TOML file; `ParameterError` names file, table and key."""
        return read_document(path).build(cls)

    def __getstate__(self) -> dict[str, Any]:
        # What is cached is cheaper to compute again than to send to another process.
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def __repr__(self) -> str:
        given = (f for f in fields(self) if f.name in _SHOWN or not _is_default(self, f.name))
        parts = [f"{f.name}={getattr(self, f.name)!r}" for f in given]
        text = f"{type(self).__name__}({', '.join(parts)})"
        return text if len(text) <= _LONGEST else text[: _LONGEST - 2] + "…)"


def _is_default(problem: Problem, name: str) -> bool:
    return bool(getattr(problem, name) == getattr(_DEFAULT, name))


_DEFAULT = Problem(weight_quantizer=None, input_quantizer=None, learning_rate=1.0)
