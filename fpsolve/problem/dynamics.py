"""`Dynamics`: the coefficients of the limiting equation, in the one place that knows them.

For every class k of coordinates, with probability p_k, teacher weight w*_k and input scale s_k,

    ∂_τ μ = −∂_w(a μ) + ∂²_w(h² D μ),
    a = η(τ) [h(w) (κ_k w*_k − (S_k + λ(τ)) ψ(w)) − b(w)],   D = η(τ)² S_k ε_g / (2B),
    ε_g = Σ_k p_k E[S_k ψ² − 2 κ_k w*_k ψ | k] + ρ + σ²(τ),

where ψ and ψ² stand for their means over the rounding, h is the surrogate and b the sum of weight
decay γw and dampening 2ζ(clip(w, ±ω) − ψ). Momentum β turns η into η/(1 − β).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.errors import ParameterError
from fpsolve.problem.inputs import input_distribution
from fpsolve.problem.quadratic import Quadratic
from fpsolve.problem.quantizer import StepQuantizer
from fpsolve.problem.schedule import Schedule, simplest, value_at
from fpsolve.problem.surrogate import Surrogate
from fpsolve.problem.teacher import Teacher

__all__ = ["FUNCTIONAL_NAMES", "Coefficients", "Dynamics", "Fields", "Pieces", "Walls"]

Array = NDArray[np.float64]

# Distance, relative to the bound of a triangular surrogate, at which a weight no longer moves.
_CREEP = 1e-10
# What `functionals` holds, in order: the integrand of ε_g − ρ − σ², then plain averages.
FUNCTIONAL_NAMES = ("loss", "m", "q", "m_psi", "q_psi", "r_psi")


class Coordinate(NamedTuple):
    """What the coefficients depend on in a class of coordinates (numbers or arrays)."""

    w_star: Any
    kappa: Any
    sigma2: Any


class Coefficients(NamedTuple):
    """Scalar factors at a time τ and an error ε_g, with their derivatives.

    Attributes
    ----------
    drift : ndarray, shape (J,)
        Factors c_j of the drift's terms.
    diffusion : float
        D without the factors S_k and h².
    drift_error, drift_time : ndarray, shape (J,)
        Derivatives of `drift` in ε_g and τ.
    diffusion_error, diffusion_time : float
        Derivatives of `diffusion` in ε_g and τ.
    """

    drift: Array
    diffusion: float
    drift_error: Array
    diffusion_error: float
    drift_time: Array
    diffusion_time: float


class Fields(NamedTuple):
    """Coefficients at points: `drift` (J, ...), `shape` (...) = h, `functionals` (6, ...)."""

    drift: Array
    shape: Array
    functionals: Array


class Pieces(NamedTuple):
    """The same on each of the B bins, as ascending polynomials in w.

    `drift` (J, K, B, 3), `shape` (B, 2), `functionals` (6, K, B, 3) in the order of
    `FUNCTIONAL_NAMES`, without the probabilities of the classes.
    """

    drift: Array
    shape: Array
    functionals: Array


class Walls(NamedTuple):
    """Ends of the interval in which weights move.

    `kind` is "reflect" (weights are clipped to it; what starts beyond is put on the wall) or
    "absorb" (weights beyond are frozen where they are; those that leave stay just beyond the
    wall). `bins` are the bins in which weights on the low and on the high wall count. Where h
    falls to 0 continuously nobody arrives at an absorbing wall, as log(bound − |w|) follows a
    diffusion without end: weights nearer than `margin` are as good as there, and the density is
    solved for up to there, without flux.
    """

    low: float
    high: float
    kind: str
    bins: tuple[int, int]
    margin: float = 0.0

    @property
    def solved(self) -> tuple[float, float]:
        """Ends of the interval that the density is solved for on."""
        return self.low + self.margin, self.high - self.margin


class Training(Protocol):
    """What `Dynamics` reads of a `Problem`; see there."""

    @property
    def weight_quantizer(self) -> StepQuantizer | None: ...
    @property
    def input_quantizer(self) -> StepQuantizer | None: ...
    @property
    def learning_rate(self) -> float | Schedule: ...
    @property
    def ridge(self) -> float | Schedule: ...
    @property
    def noise_variance(self) -> float | Schedule: ...
    @property
    def teacher(self) -> Teacher: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def input_distribution(self) -> str: ...
    @property
    def surrogate(self) -> Surrogate | None: ...
    @property
    def weight_decay(self) -> float: ...
    @property
    def weight_clip(self) -> float | None: ...
    @property
    def dampening(self) -> float: ...
    @property
    def momentum(self) -> float: ...


class Dynamics:
    """Coefficients of the equation of one problem (dimensionless throughout).

    Parameters
    ----------
    problem : Problem
        What is trained.

    Attributes
    ----------
    w_star, probability, input_scale, kappa, sigma2 : ndarray, shape (K,)
        Of each class: w*, its share, s, κ = E[xψ_x(x)] and S = E[ψ_x(x)²].
    breaks : ndarray, shape (B − 1,)
        Points, increasing, where a coefficient jumps or kinks. Between two of them, on a *bin*,
        everything is smooth, and polynomial at temperature 0. They know nothing of the walls.
    thresholds : ndarray, shape (L,)
        Those at which ψ jumps; empty at T > 0, with stochastic rounding or without quantizer.
    walls : Walls or None
        None where weights move on the whole line.

    Notes
    -----
    A subclass changes the physics by overriding `drift_terms`, `functional_terms`, `coefficients`
    or `offset`; everything else follows from these four, and overriding it is a TypeError. What a
    simulation of the finite machine does follows from the problem alone.
    """

    _OPEN: ClassVar[frozenset[str]] = frozenset(
        {"drift_terms", "functional_terms", "coefficients", "offset", "is_standard"}
    )

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        closed = {n for n in cls.__dict__ if n in Dynamics.__dict__ and not n.startswith("__")}
        if closed - Dynamics._OPEN:
            raise TypeError(
                f"{cls.__name__} overrides {', '.join(sorted(closed - Dynamics._OPEN))}, which "
                "follow from drift_terms, functional_terms, coefficients and offset: override those"
            )

    def __init__(self, problem: Training) -> None:
        self.problem = problem
        teacher = problem.teacher
        self.w_star, self.probability = teacher.values, teacher.probabilities
        self.input_scale = teacher.input_scale
        self.kappa, self.sigma2 = _input_moments(problem)
        self._eta, self._ridge = simplest(problem.learning_rate), simplest(problem.ridge)
        self._noise = simplest(problem.noise_variance)
        quantizer = problem.weight_quantizer
        self._sharp = quantizer is None or quantizer.temperature == 0
        self._bound = self._surrogate_bound()
        self.thresholds = (
            quantizer.thresholds if quantizer is not None and self._sharp else np.empty(0)
        )
        points = [*self.thresholds.tolist()]
        if quantizer is not None and quantizer.rounding == "stochastic":
            points += quantizer.levels.tolist()
        if problem.surrogate is not None:
            points += problem.surrogate.breaks(self._bound)
        if quantizer is not None and problem.dampening > 0:
            points += quantizer.levels[[0, -1]].tolist()
        self.breaks = np.unique(np.array(points))
        self.walls = self._walls()

    @property
    def is_standard(self) -> bool:
        """Whether no subclass changes a coefficient, so that closed forms apply."""
        return type(self) is Dynamics

    # --- what may be overridden ------------------------------------------------------------------

    def drift_terms(
        self, coordinate: Coordinate, psi: Any, shape: Any, brake: Any
    ) -> tuple[Any, ...]:
        """Return the J terms a_j of the drift; `coefficients` holds their factors.

        The arguments are numbers, arrays or `Quadratic`s alike: κ, S and w* of the class, the mean
        of ψ, h and b. A scheduled ridge is a term of its own.
        """
        ridge, target = self._ridge, coordinate.kappa * coordinate.w_star
        if isinstance(ridge, Schedule):
            return (shape * (target - coordinate.sigma2 * psi) - brake, -1.0 * shape * psi)
        return (shape * (target - (coordinate.sigma2 + ridge) * psi) - brake,)

    def functional_terms(
        self, coordinate: Coordinate, w: Any, psi: Any, square: Any
    ) -> tuple[Any, ...]:
        """Return the integrands of `FUNCTIONAL_NAMES`; `square` is the mean of ψ²."""
        w_star = coordinate.w_star
        loss = coordinate.sigma2 * square - (2 * coordinate.kappa * w_star) * psi
        return (loss, w_star * w, w * w, w_star * psi, square, w * psi)

    def coefficients(
        self, tau: float, generalization_error: float, *, before: bool = False
    ) -> Coefficients:
        """Return the scalar factors at (τ, ε_g); `before` takes the left limit at a jump."""
        eta, slope = self.rate(tau, before=before)
        per_error = eta**2 / (2 * self.problem.batch_size)
        drift, drift_time, ridge = [eta], [slope], self._ridge
        if isinstance(ridge, Schedule):
            now = ridge(tau, before=before)
            drift.append(eta * now)
            drift_time.append(slope * now + eta * ridge.derivative(tau, before=before))
        return Coefficients(
            drift=np.array(drift),
            diffusion=per_error * generalization_error,
            drift_error=np.zeros(len(drift)),
            diffusion_error=per_error,
            drift_time=np.array(drift_time),
            diffusion_time=eta * slope / self.problem.batch_size * generalization_error,
        )

    def offset(self, tau: ArrayLike | None = None) -> Any:
        """Return ρ + σ², the part of ε_g that no weight changes, at the time or times `tau`.

        Raises
        ------
        ParameterError
            If the noise is scheduled and no time is given: then there is no one offset.
        """
        if tau is None:
            tau = 0.0
            _steady("noise_variance", self.problem.noise_variance)
        return self.problem.teacher.rho + value_at(self._noise, tau)

    # --- in time ---------------------------------------------------------------------------------

    def rate(self, tau: float = 0.0, *, before: bool = False) -> tuple[float, float]:
        """Return the rate η/(1 − β) at τ, and its derivative."""
        eta, gain = self._eta, 1 / (1 - self.problem.momentum)
        if isinstance(eta, Schedule):
            return gain * eta(tau, before=before), gain * eta.derivative(tau, before=before)
        return gain * eta, 0.0

    @property
    def constant_rate(self) -> float:
        """The rate η/(1 − β) where it does not change; `ParameterError` where it is scheduled."""
        _steady("learning_rate", self.problem.learning_rate)
        return self.rate()[0]

    def ridge(self, tau: float = 0.0, *, before: bool = False) -> float:
        """Return λ at τ."""
        return float(value_at(self._ridge, tau, before=before))

    def added_noise(self, tau: ArrayLike) -> Any:
        """Return what a schedule adds to `steady_offset` at the time or times `tau`: σ², or 0."""
        return value_at(self._noise if isinstance(self._noise, Schedule) else 0.0, tau)

    @property
    def steady_offset(self) -> float:
        """The part of the offset that does not change with time."""
        return float(self.offset(0.0) - self.added_noise(0.0))

    def landing_points(self, horizon: float) -> Array:
        """Return the times in (0, horizon) on which an integrator must end a step."""
        scheduled = (self._eta, self._ridge, self._noise)
        points = {t for s in scheduled if isinstance(s, Schedule) for t in s.landing_points}
        return np.array(sorted(t for t in points if t < horizon))

    def check_horizon(self, horizon: float) -> None:
        """Raise `ParameterError` if the learning rate is 0 on a stretch before `horizon`."""
        eta = self.problem.learning_rate
        if isinstance(eta, Schedule) and eta.zero_from < horizon:
            allowed = (
                f"is 0 from tau = {eta.zero_from:g} on, where nothing moves any more; "
                f"end the times (at {horizon:g} now) there, or let the schedule end above 0"
            )
            raise ParameterError("learning_rate", eta, allowed)

    # --- in w ------------------------------------------------------------------------------------

    @property
    def target(self) -> Array:
        """c(w*_k) = κ_k w*_k/(S_k + λ), where the drift of unquantized weights ends; (K,)."""
        return self.kappa * self.w_star / self.restoring

    @property
    def restoring(self) -> Array:
        """S_k + λ, the factor of ψ in the drift; (K,). `ParameterError` where λ is scheduled."""
        return self.sigma2 + _steady("ridge", self.problem.ridge)

    @property
    def ideal(self) -> Array:
        """κ_k w*_k/S_k, the ψ of least loss; (K,), 0 where inputs are quantized to nothing."""
        seen = self.sigma2 > 0
        return np.where(seen, self.kappa * self.w_star / np.where(seen, self.sigma2, 1.0), 0.0)

    @property
    def floor(self) -> float:
        """ρ + σ² − Σ p_k κ_k² w*_k²/S_k, the ε_g that the best weights of all leave (Eq. 3)."""
        lossless = self.problem.teacher.rho - float(
            self.probability @ (self.sigma2 * np.square(self.ideal))
        )
        # κ² ≤ s²S by Cauchy–Schwarz; quadrature of smoothed inputs may miss equality by rounding.
        inputs = lossless if lossless > 1e-15 * self.problem.teacher.rho else 0.0
        return inputs + _steady("noise_variance", self.problem.noise_variance)

    def coordinate(self, k: Any) -> Coordinate:
        """Return w*, κ and S of class k, an index or an array of them."""
        return Coordinate(self.w_star[k], self.kappa[k], self.sigma2[k])

    def bins(self, w: ArrayLike) -> NDArray[np.int64]:
        """Return the bin of each weight: the one to the right for a weight on a break."""
        return np.searchsorted(self.breaks, np.asarray(w, dtype=np.float64), side="right")

    @cached_property
    def pieces(self) -> Pieces | None:
        """The coefficients on the bins as polynomials; None at T > 0, where they are not."""
        if not self._sharp:
            return None
        w = Quadratic(np.tile([0.0, 1.0], (self.breaks.size + 1, 1)))
        psi, square = Quadratic(self._psi_pieces), Quadratic(self._square_pieces)
        shape, brake = Quadratic(self.shape_pieces), self._brake(w, psi, self._clip_pieces)
        drift, functionals = [], []
        for k in range(self.w_star.size):
            coordinate = self.coordinate(k)
            drift.append([t.coefficients for t in self.drift_terms(coordinate, psi, shape, brake)])
            terms = self.functional_terms(coordinate, w, psi, square)
            functionals.append([t.coefficients for t in terms])
        return Pieces(
            np.ascontiguousarray(np.swapaxes(drift, 0, 1)),
            self.shape_pieces,
            np.ascontiguousarray(np.swapaxes(functionals, 0, 1)),
        )

    @cached_property
    def shape_pieces(self) -> Array:
        """h on each bin as [constant, slope], (B, 2), at any temperature."""
        surrogate = self.problem.surrogate
        if surrogate is None:
            return np.tile([1.0, 0.0], (self._middles.size, 1))
        return surrogate.line(self._middles, self._bound)

    def fields(self, w: ArrayLike, bins: ArrayLike, k: Any) -> Fields:
        """Return the coefficients of class k at points `w`, continued from the given `bins`.

        Parameters
        ----------
        w, bins : array_like, shape (...)
            Points, and for each the bin whose side of a break is meant.
        k : int or ndarray of int
            Class, or one a point.
        """
        points, bins = np.asarray(w, dtype=np.float64), np.asarray(bins)
        coordinate = self.coordinate(k)
        psi, square, shape, clip = self._at(points, bins)
        drift = self.drift_terms(coordinate, psi, shape, self._brake(points, psi, clip))
        functionals = self.functional_terms(coordinate, points, psi, square)
        return Fields(_stacked(drift, points), shape, _stacked(functionals, points))

    def shape(self, w: ArrayLike, bins: NDArray[np.int64] | None = None) -> Array:
        """Return h(w), 1 without a surrogate, continued from `bins` where these are given."""
        points = np.asarray(w, dtype=np.float64)
        if bins is not None:
            return _along(self.shape_pieces, bins, points)
        bins = self.bins(points)
        # The surrogate counts both ends of its interval as inside.
        bins = np.where(points == self._bound, bins - 1, bins)
        return _along(self.shape_pieces, bins, points)

    def brake(self, w: ArrayLike) -> Array:
        """Return b(w) for the means of ψ, 0 without weight decay and dampening."""
        points = np.asarray(w, dtype=np.float64)
        psi, _, _, clip = self._at(points, self.bins(points))
        return np.asarray(self._brake(points, psi, clip))

    def point_drift(self, w: ArrayLike, coordinate: Coordinate, tau: float = 0.0) -> Array:
        """Return the drift a(w) at τ for the given w*, κ and S, broadcast."""
        points = np.asarray(w, dtype=np.float64)
        psi, _, shape, clip = self._at(points, self.bins(points))
        terms = self.drift_terms(coordinate, psi, shape, self._brake(points, psi, clip))
        factors = self.coefficients(tau, 0.0).drift
        return np.asarray(sum(c * a for c, a in zip(factors, terms, strict=True)))

    def push_and_pull(self, w_star: ArrayLike) -> tuple[Array, float]:
        """Return A and B of the drift A − Bψ at w*, where h = 1, b = 0 and κ, S are of class 0."""
        coordinate = Coordinate(np.asarray(w_star), self.kappa[0], self.sigma2[0])
        for name in ("learning_rate", "ridge"):
            _steady(name, getattr(self.problem, name))
        factors = self.coefficients(0.0, 0.0).drift
        flat, unit = (
            sum(c * a for c, a in zip(factors, terms, strict=True))
            for terms in (self.drift_terms(coordinate, psi, 1.0, 0.0) for psi in (0.0, 1.0))
        )
        return np.asarray(flat), float(np.ravel(flat - unit)[0])

    def diffusivity(self, tau: float, generalization_error: ArrayLike) -> Array:
        """Return D at τ without the factors S_k and h², same shape as the error."""
        per_error = self.coefficients(tau, 1.0).diffusion
        return np.asarray(per_error * np.asarray(generalization_error, dtype=np.float64))

    def generalization_error(
        self, loss: ArrayLike, *, rho: ArrayLike | None = None, tau: ArrayLike | None = None
    ) -> Array:
        """Return ε_g from the average of the loss functional, with the finite machine's ρ_d.

        `tau` are the times of the losses, needed where the noise is scheduled.
        """
        law = self.problem.teacher.rho
        excess = 0.0 if rho is None else np.asarray(rho, dtype=np.float64) - law
        return np.asarray(np.asarray(loss, dtype=np.float64) + self.offset(tau) + excess)

    def loss(self, m_psi: ArrayLike, q_psi: ArrayLike) -> Array:
        """Return S q_ψ − 2κ m_ψ, the average of the loss where κ and S are those of all classes.

        Raises
        ------
        ParameterError
            If input scales differ: then each class has its own κ and S.
        """
        if (self.input_scale != self.input_scale[0]).any():
            allowed = "differs between classes: m_psi and q_psi do not say what the loss is"
            raise ParameterError("teacher.input_scale", self.input_scale, allowed)
        return np.asarray(
            self.sigma2[0] * np.asarray(q_psi) - 2 * self.kappa[0] * np.asarray(m_psi)
        )

    # --- the parts -------------------------------------------------------------------------------

    def _at(self, points: Array, bins: NDArray[np.int64]) -> tuple[Array, Array, Array, Array]:
        """Mean of ψ, mean of ψ², h and clip(w, ±ω) at points of given bins."""
        shape, clip = (_along(p, bins, points) for p in (self.shape_pieces, self._clip_pieces))
        quantizer = self.problem.weight_quantizer
        if quantizer is not None and not self._sharp:
            psi = quantizer(points)
            return psi, np.square(psi), shape, clip
        psi, square = (_along(p, bins, points) for p in (self._psi_pieces, self._square_pieces))
        return psi, square, shape, clip

    def _brake(self, w: Any, psi: Any, clip: Any) -> Any:
        if isinstance(w, Quadratic):
            clip = Quadratic(clip)
        brake = self.problem.weight_decay * w
        if self.problem.dampening > 0:
            brake = brake + 2 * self.problem.dampening * (clip - psi)
        return brake

    @cached_property
    def _middles(self) -> Array:
        """A point inside each bin."""
        if self.breaks.size == 0:
            return np.zeros(1)
        inner = 0.5 * (self.breaks[1:] + self.breaks[:-1])
        reach = max(1.0, float(np.abs(self.breaks).max()))
        return np.concatenate([[self.breaks[0] - reach], inner, [self.breaks[-1] + reach]])

    @cached_property
    def _psi_pieces(self) -> Array:
        quantizer, middles = self.problem.weight_quantizer, self._middles
        if quantizer is None or quantizer.rounding == "stochastic":
            return self._clip_pieces
        return np.stack([quantizer(middles), np.zeros(middles.size)], axis=1)

    @cached_property
    def _square_pieces(self) -> Array:
        quantizer, middles = self.problem.weight_quantizer, self._middles
        out = np.zeros((middles.size, 3))
        if quantizer is None:
            out[:, 2] = 1.0
        elif quantizer.rounding == "nearest":
            out[:, 0] = np.square(quantizer(middles))
        else:
            # Between levels u and v the mean square is the chord (u + v) w − u v.
            levels = quantizer.levels
            above = np.clip(np.searchsorted(levels, middles), 1, levels.size - 1)
            low, high = levels[above - 1], levels[above]
            inside = np.abs(middles) < levels[-1]
            out[:, 0] = np.where(inside, -low * high, levels[-1] ** 2)
            out[:, 1] = np.where(inside, low + high, 0.0)
        return out

    @cached_property
    def _clip_pieces(self) -> Array:
        """clip(w, v_0, v_L) on each bin as [constant, slope]; w itself without quantizer."""
        quantizer, middles = self.problem.weight_quantizer, self._middles
        out = np.zeros((middles.size, 2))
        if quantizer is None:
            out[:, 1] = 1.0
            return out
        low, high = quantizer.levels[[0, -1]]
        inside = (middles > low) & (middles < high)
        out[:, 0] = np.where(inside, 0.0, np.where(middles > 0, high, low))
        out[:, 1] = inside
        return out

    def _surrogate_bound(self) -> float:
        """Where h ends to be 1: infinity without a surrogate."""
        surrogate, quantizer = self.problem.surrogate, self.problem.weight_quantizer
        if surrogate is None:
            return math.inf
        if surrogate.bound is not None:
            return surrogate.bound
        if quantizer is None:
            allowed = "must be given for full-precision weights, which have no outermost level"
            raise ParameterError("surrogate.bound", None, allowed)
        return float(np.abs(quantizer.levels).max())

    def _walls(self) -> Walls | None:
        clip, surrogate = self.problem.weight_clip, self.problem.surrogate
        if clip is not None:
            # A weight on the wall stands at the point itself: right-continuous, as ψ is.
            low, high = (int(b) for b in self.bins(np.array([-clip, clip])))
            return Walls(-clip, clip, "reflect", (low, high))
        if surrogate is not None and surrogate.slope == 0:
            # Who leaves has overstepped the bound by a little, and stays beyond it.
            bins = int(np.searchsorted(self.breaks, -self._bound)), int(self.bins(self._bound))
            margin = _CREEP * self._bound if surrogate.is_triangular else 0.0
            return Walls(-self._bound, self._bound, "absorb", bins, margin)
        return None


def _steady(name: str, value: float | Schedule) -> float:
    """Return a number, or raise `ParameterError` for a schedule."""
    if isinstance(value, Schedule):
        allowed = "must be a number here: what depends on one value has none under a schedule"
        raise ParameterError(name, value, allowed)
    return value


def _stacked(terms: Sequence[Any], points: Array) -> Array:
    """Stack terms that are numbers or have the shape of `points`."""
    out = np.empty((len(terms), *points.shape))
    for i, term in enumerate(terms):
        out[i] = term
    return out


def _along(pieces: Array, bins: NDArray[np.int64], points: Array) -> Array:
    """Evaluate ascending polynomials (B, n), n > 1, of the given bins at points."""
    # To look up the only bin at every point would take longer than all else.
    chosen = pieces[bins] if pieces.shape[0] > 1 else pieces[0]
    value = chosen[..., -1]
    for i in range(pieces.shape[1] - 2, -1, -1):
        value = chosen[..., i] + points * value
    return np.asarray(value)


def _input_moments(problem: Training) -> tuple[Array, Array]:
    """κ_k and S_k of each class, evaluated once for each distinct input scale."""
    scales, which = np.unique(problem.teacher.input_scale, return_inverse=True)
    quantizer = problem.input_quantizer
    if quantizer is None:
        moments = np.stack([np.square(scales)] * 2)
    else:
        law = input_distribution(problem.input_distribution)
        moments = np.array([quantizer.scaled_moments(law, float(s)) for s in scales]).T
    kappa, sigma2 = moments[:, which]
    for part in (kappa, sigma2):
        part.flags.writeable = False
    return kappa, sigma2
