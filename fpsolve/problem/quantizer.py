"""Quantizers: step functions ψ with levels v_0 < … < v_L and thresholds θ_1 < … < θ_L."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.errors import ParameterError
from fpsolve.problem.brief import brief_list
from fpsolve.problem.checks import finite, integer, readonly_vector
from fpsolve.problem.inputs import InputDistribution, input_distribution
from fpsolve.problem.schedule import Schedule

if TYPE_CHECKING:
    from fpsolve.problem.relaxation import StepTable

__all__ = ["StepQuantizer", "UniformQuantizer"]

_MOST_BITS = 16
# Quadrature panels around a smoothed threshold, in units of the temperature.
_PANELS = np.array([-9.0, -4.5, -2.0, 0.0, 2.0, 4.5, 9.0])


class StepQuantizer:
    """A quantizer with any increasing levels and thresholds (sign, ternary, non-uniform …).

    At temperature T = 0 it is the right-continuous step ψ(w) = v_k for w ∈ [θ_k, θ_{k+1});
    at T > 0 the relaxation ψ_T(w) = v_0 + Σ_k (v_k − v_{k−1}) Φ((w − θ_k)/T).

    Parameters
    ----------
    levels : array_like, shape (L + 1,)
        Output values v_0 < … < v_L, at least two (dimensionless).
    thresholds : array_like, shape (L,), optional
        Decision thresholds θ_1 < … < θ_L (dimensionless); midpoints of the levels by default.
    temperature : float, default 0
        Width T ≥ 0 of the smoothed steps (dimensionless).

    Raises
    ------
    ParameterError
        If the levels or thresholds are not finite, not increasing, or do not match in number.

    Notes
    -----
    Source: paper §II-C, Eq. (1), with the thresholds of any step function.
    """

    def __init__(
        self, levels: ArrayLike, thresholds: ArrayLike | None = None, temperature: float = 0.0
    ) -> None:
        self._levels = readonly_vector("levels", levels, least_length=2)
        if (np.diff(self._levels) <= 0).any():
            raise ParameterError("levels", levels, "must increase strictly; sort them")
        if thresholds is None:
            middle = 0.5 * (self._levels[1:] + self._levels[:-1])
            middle.flags.writeable = False
            self._thresholds = middle
        else:
            self._thresholds = readonly_vector("thresholds", thresholds)
        if self._thresholds.size != self._levels.size - 1:
            allowed = f"must be one fewer than the {self._levels.size} levels"
            raise ParameterError("thresholds", thresholds, allowed)
        if (np.diff(self._thresholds) <= 0).any():
            raise ParameterError("thresholds", thresholds, "must increase strictly; sort them")
        if isinstance(temperature, Schedule):
            allowed = (
                "must be a number: it is part of the quantizer's shape; train in stretches of one "
                "temperature each, simulate_ste(..., start=the stretch before)"
            )
            raise ParameterError("temperature", temperature, allowed)
        self._temperature = finite("temperature", temperature, least=0.0)

    @property
    def levels(self) -> NDArray[np.float64]:
        """Levels v_k, shape (L + 1,), increasing, read-only (dimensionless)."""
        return self._levels

    @property
    def thresholds(self) -> NDArray[np.float64]:
        """Thresholds θ_k, shape (L,), increasing, read-only (dimensionless)."""
        return self._thresholds

    @property
    def temperature(self) -> float:
        """Width T of the smoothed steps; 0 for sharp steps (dimensionless)."""
        return self._temperature

    @property
    def rounding(self) -> str:
        """How a weight finds its level: "nearest", or "stochastic" on a uniform grid."""
        return "nearest"

    @cached_property
    def is_odd(self) -> bool:
        """Whether ψ(−w) = −ψ(w) off the thresholds."""
        scale = max(np.abs(part).max(initial=0.0) for part in (self.levels, self.thresholds))
        tolerance = 1e-12 * float(scale)
        return bool(
            np.allclose(self.levels, -self.levels[::-1], rtol=0, atol=tolerance)
            and np.allclose(self.thresholds, -self.thresholds[::-1], rtol=0, atol=tolerance)
        )

    def __call__(self, x: ArrayLike) -> NDArray[np.float64]:
        """Return ψ(x) elementwise, same shape as `x`; NaN raises `ParameterError`."""
        points = np.asarray(x, dtype=np.float64)
        if np.isnan(points).any():
            raise ParameterError("x", x, "must not contain NaN")
        if self.temperature == 0:
            return self.levels[np.searchsorted(self.thresholds, points, side="right")]
        # Compiled, and Numba takes long to import: a command that computes nothing does without.
        from fpsolve.problem.relaxation import relaxed_step

        if self._table is not None:
            return self._table(points.ravel()).reshape(points.shape)
        out = np.empty(points.size)
        relaxed_step(points.ravel(), self.levels, self.thresholds, self.temperature, out)
        return out.reshape(points.shape)

    @cached_property
    def _table(self) -> StepTable | None:
        """ψ_T tabulated, where many smoothed steps overlap."""
        from fpsolve.problem.relaxation import StepTable

        return StepTable.of(self.levels, self.thresholds, self.temperature)

    def mean_square(self, x: ArrayLike) -> NDArray[np.float64]:
        """Return E ψ(x)² elementwise; the square of ψ(x) unless rounding is stochastic."""
        return np.square(self(x))

    def primitive(self, x: ArrayLike) -> NDArray[np.float64]:
        """Return an antiderivative of ψ elementwise, same shape as `x`."""
        from fpsolve.problem.relaxation import relaxed_primitive

        points = np.asarray(x, dtype=np.float64)
        out = np.empty(points.size)
        relaxed_primitive(points.ravel(), self.levels, self.thresholds, self.temperature, out)
        return out.reshape(points.shape)

    def gaussian_moments(self) -> tuple[float, float]:
        """Return κ = E[x ψ(x)] and S = E[ψ(x)²] for x ~ N(0, 1).

        Source: paper Prop. II.1 with v_k − v_{k−1} in κ and the sum of S from k = 0.
        """
        return self.moments(input_distribution("gaussian"))

    def moments(self, law: InputDistribution) -> tuple[float, float]:
        """Return κ = E[x ψ(x)] and S = E[ψ(x)²] under another input law of unit variance."""
        if self.temperature == 0 and self.rounding == "nearest":
            kappa = np.diff(self.levels) @ law.upper_mean(self.thresholds)
            cdf = np.concatenate([[0.0], law.cdf(self.thresholds), [1.0]])
            return float(kappa), float(np.square(self.levels) @ np.diff(cdf))
        kinks = self.thresholds if self.rounding == "nearest" else self.levels
        smooth = np.add.outer(kinks, self.temperature * _PANELS).ravel()
        breaks = np.concatenate([smooth, np.linspace(-law.extent, law.extent, 41), law.kinks])
        breaks = np.unique(np.clip(breaks, -law.extent, law.extent))
        nodes, weights = np.polynomial.legendre.leggauss(16)
        half = 0.5 * np.diff(breaks)[:, None]
        x = (breaks[:-1, None] + half * (1 + nodes)).ravel()
        measure = (half * weights).ravel() * law.pdf(x)
        return float(measure @ (x * self(x))), float(measure @ self.mean_square(x))

    def scaled_moments(self, law: InputDistribution, scale: float) -> tuple[float, float]:
        """Return κ = E[x ψ(x)] and S = E[ψ(x)²] for x = scale · z, with z of unit variance."""
        if scale == 1:
            return self.moments(law)
        # ψ(scale · z) is a step function of z, with thresholds and smoothing in units of `scale`.
        kappa, sigma2 = self._narrowed(scale).moments(law)
        return scale * kappa, sigma2

    def _narrowed(self, scale: float) -> StepQuantizer:
        return StepQuantizer(self.levels, self.thresholds / scale, self.temperature / scale)

    def _key(self) -> tuple[object, ...]:
        return (self.levels.tobytes(), self.thresholds.tobytes(), self.temperature)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        parts = [f"levels={brief_list(self.levels)}, thresholds={brief_list(self.thresholds)}"]
        if self.temperature:
            parts.append(f"temperature={self.temperature}")
        return f"StepQuantizer({', '.join(parts)})"


class UniformQuantizer(StepQuantizer):
    """The symmetric b-bit quantizer: 2^b − 1 equally spaced levels on [−ω, ω], 0 among them.

    Parameters
    ----------
    bit_width : int
        b, from 2 to 16.
    omega : float
        Range ω > 0: the outermost levels are ±ω (dimensionless).
    temperature : float, default 0
        Width T ≥ 0 of the smoothed steps (dimensionless).
    rounding : str, default "nearest"
        "nearest", or "stochastic": up to the next level with a probability that makes ψ right in
        the mean. Calling such a quantizer gives that mean, clip(w, ±ω), `mean_square` gives E ψ²,
        and there are no thresholds.

    Raises
    ------
    ParameterError
        If `bit_width` is not an integer from 2 to 16, `omega` is not positive, or rounding is
        stochastic at a temperature above 0.

    Notes
    -----
    Source: paper §II-C. With L = 2^b − 2: v_k = −ω + kΔ, Δ = 2ω/L, θ_k = −ω + (k − ½)Δ.
    Stochastic rounding: Gupta et al., arXiv 1502.02551.
    """

    def __init__(
        self, bit_width: int, omega: float, temperature: float = 0.0, rounding: str = "nearest"
    ) -> None:
        if bit_width == 1:
            allowed = "one bit leaves the single level 0; use 2 or more, or StepQuantizer([-1, 1])"
            raise ParameterError("bit_width", bit_width, allowed)
        self._bit_width = integer("bit_width", bit_width, least=2, most=_MOST_BITS)
        self._omega = finite("omega", omega, above=0.0)
        if rounding not in ("nearest", "stochastic"):
            raise ParameterError("rounding", rounding, "must be 'nearest' or 'stochastic'")
        steps = 2**self._bit_width - 2
        # Counted from the centre outwards, so that the grid is odd to the last bit.
        index = np.arange(-steps, steps + 1) / steps
        super().__init__(self._omega * index[::2], self._omega * index[1::2], temperature)
        self._rounding = rounding
        if rounding == "stochastic":
            if self.temperature > 0:
                allowed = "must be 0 with stochastic rounding, which is smooth in the mean already"
                raise ParameterError("temperature", temperature, allowed)
            self._thresholds = np.empty(0)
            self._thresholds.flags.writeable = False

    @property
    def bit_width(self) -> int:
        """Number of bits b."""
        return self._bit_width

    @property
    def omega(self) -> float:
        """Quantization range ω (dimensionless)."""
        return self._omega

    @property
    def scale(self) -> float:
        """Quantization step Δ = 2ω/L (dimensionless)."""
        return self._omega / float(2 ** (self._bit_width - 1) - 1)

    @property
    def rounding(self) -> str:
        """How a weight finds its level: "nearest" or "stochastic"."""
        return self._rounding

    def __call__(self, x: ArrayLike) -> NDArray[np.float64]:
        """Return ψ(x) elementwise, its mean clip(x, ±ω) if rounding is stochastic."""
        if self.rounding == "nearest":
            return super().__call__(x)
        points = np.asarray(x, dtype=np.float64)
        if np.isnan(points).any():
            raise ParameterError("x", x, "must not contain NaN")
        return np.clip(points, -self.omega, self.omega)

    def mean_square(self, x: ArrayLike) -> NDArray[np.float64]:
        """Return E ψ(x)² elementwise: linear between the squares of neighbouring levels."""
        if self.rounding == "nearest":
            return super().mean_square(x)
        return np.interp(self(x), self.levels, np.square(self.levels))

    def primitive(self, x: ArrayLike) -> NDArray[np.float64]:
        """Return an antiderivative of the mean of ψ elementwise, same shape as `x`."""
        if self.rounding == "nearest":
            return super().primitive(x)
        inside = self(x)
        return inside * (np.asarray(x) - 0.5 * inside)

    def _narrowed(self, scale: float) -> StepQuantizer:
        if self.rounding == "nearest":
            return super()._narrowed(scale)
        allowed = "must be 1 for inputs that are rounded stochastically"
        raise ParameterError("scale", scale, allowed)

    def _key(self) -> tuple[object, ...]:
        return (*super()._key(), self.rounding)

    def __repr__(self) -> str:
        tail = f", temperature={self.temperature}" if self.temperature else ""
        if self.rounding != "nearest":
            tail += f", rounding={self.rounding!r}"
        return f"UniformQuantizer(bit_width={self.bit_width}, omega={self.omega}{tail})"
