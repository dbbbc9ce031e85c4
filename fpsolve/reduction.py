"""Reduction of densities and particles to the order parameters they share with closures."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.display import Shown, span
from fpsolve.errors import ParameterError
from fpsolve.problem.problem import Problem
from fpsolve.problem.rules import rules_in_use

__all__ = [
    "ORDER_PARAMETER_NAMES",
    "ORDER_PARAMETER_TEXTS",
    "OrderParameters",
    "macroscopic_rates",
    "order_parameter_variables",
    "order_parameters",
]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class OrderParameters(Shown):
    """Macroscopic state of the weights; every field has the same shape (dimensionless).

    Attributes
    ----------
    m : ndarray
        E[w* w].
    q : ndarray
        E[w²].
    s : ndarray
        (q − m²/E[w*²])^½, the spread around the teacher's direction; q^½ where w* = 0. For inputs
        of unit variance E[w*²] is ρ. The difference is known to the accuracy of q and m alone;
        where that leaves it negative, s is 0.
    m_psi : ndarray
        E[w* ψ(w)].
    q_psi : ndarray
        E[ψ(w)²], also over the rounding where that is random.
    r_psi : ndarray
        E[w ψ(w)].
    generalization_error : ndarray
        ε_g = S q_ψ − 2κ m_ψ + ρ + σ² (paper Eq. 3), averaged over classes with their own κ, S.
    """

    m: Array
    q: Array
    s: Array
    m_psi: Array
    q_psi: Array
    r_psi: Array
    generalization_error: Array

    def _shown(self) -> dict[str, object]:
        error = np.asarray(self.generalization_error)
        told: dict[str, object] = {"shape": error.shape}
        if error.size:
            for name in ORDER_PARAMETER_NAMES[::-1]:
                values = np.asarray(getattr(self, name)).reshape(-1)
                told[name] = span([values[0], values[-1]] if values.size > 1 else values)
        return told

    @classmethod
    def from_moments(
        cls,
        problem: Problem,
        *,
        m: Array,
        q: Array,
        m_psi: Array,
        q_psi: Array,
        r_psi: Array,
        loss: Array | None = None,
        square: Array | float | None = None,
        rho: Array | float | None = None,
        tau: ArrayLike | None = None,
    ) -> OrderParameters:
        """Complete the five moments by s and ε_g.

        `loss` is the average of Sψ² − 2κw*ψ, needed where κ and S differ between classes. `square`
        and `rho` replace the law's E[w*²] and ρ = E[s²w*²] at finite d. `tau` are the times, needed
        where the noise is scheduled.
        """
        square = problem.teacher.square if square is None else square
        aligned = np.divide(
            np.square(m), square, out=np.zeros_like(m), where=np.asarray(square) > 0
        )
        spread2 = q - aligned
        # Where all weights lie along the teacher, rounding or the solver's tolerance may leave a
        # difference of −1e−17 or −1e−9; NaN must not follow.
        s = np.sqrt(np.where(spread2 > 0, spread2, 0.0))
        dynamics = problem.dynamics
        loss = dynamics.loss(m_psi, q_psi) if loss is None else loss
        error = dynamics.generalization_error(loss, rho=rho, tau=tau)
        return cls(m, q, s, m_psi, q_psi, r_psi, error)

    def __getitem__(self, index: object) -> OrderParameters:
        """Return the order parameters at `index` (applied to every field)."""
        return OrderParameters(
            **{f.name: np.asarray(getattr(self, f.name)[index]) for f in fields(self)}
        )


ORDER_PARAMETER_NAMES = tuple(f.name for f in fields(OrderParameters))


# Name -> what it is, for the labels of files and data sets.
ORDER_PARAMETER_TEXTS = {
    "m": "overlap with the teacher, E[w* w]",
    "q": "second moment of the weights, E[w^2]",
    "s": "spread around the teacher's direction, (q - m^2/rho)^(1/2)",
    "m_psi": "overlap of the quantized weights, E[w* psi(w)]",
    "q_psi": "second moment of the quantized weights, E[psi(w)^2]",
    "r_psi": "product of weights and quantized weights, E[w psi(w)]",
    "generalization_error": "generalization error",
}


def order_parameter_variables(
    state: OrderParameters, dimensions: tuple[str, ...], prefix: str = ""
) -> dict[str, tuple[tuple[str, ...], Array, dict[str, str]]]:
    """Return what `xarray.Dataset` takes as variables: name -> dimensions, values, attributes."""
    return {
        prefix + name: (dimensions, getattr(state, name), {"long_name": text, "units": "1"})
        for name, text in ORDER_PARAMETER_TEXTS.items()
    }


class Cells(Protocol):
    """Conditional densities as cell averages; `DensityTrajectory` is one."""

    @property
    def problem(self) -> Problem: ...
    @property
    def edges(self) -> Array: ...
    @property
    def density(self) -> Array: ...


@runtime_checkable
class Weights(Protocol):
    """Weights with their teacher weights; `ParticleTrajectory` is one."""

    @property
    def problem(self) -> Problem: ...
    @property
    def weights(self) -> Array: ...
    @property
    def teacher_weights(self) -> Array: ...


def order_parameters(source: Cells | Weights) -> OrderParameters:
    """Reduce stored cell averages or stored weights to order parameters.

    A trajectory's own `.order_parameters` come from the solver and know more than cell averages:
    here m, q and r_ψ of a density are right to second order in its cell widths. m_ψ, q_ψ and ε_g
    are sums of bin masses at T = 0 and lose nothing, nor does anything reduced from weights.

    Parameters
    ----------
    source : DensityTrajectory or ParticleTrajectory
        Or anything with their `problem` and either `edges` (N + 1,) and `density` (..., K, N), or
        `weights` (runs, T, d) and `teacher_weights` (runs, d).

    Returns
    -------
    OrderParameters
        Of shape (...,) for a density, (runs, T) for weights (dimensionless); particles use their
        own ρ_d.

    Raises
    ------
    ParameterError
        If `source` is none of these, if input scales differ between classes, whose losses these
        averages do not tell apart, or if the noise is scheduled and `source` has no `times`.

    Notes
    -----
    Source: paper §IV (definitions) and Eq. (3).
    """
    if not isinstance(source, Weights) and not _has_cells(source):
        allowed = (
            "must be the result of solve_pde, simulate_ste or simulate_sde, or have a problem with "
            "edges and density, or with weights and teacher_weights"
        )
        raise ParameterError("source", source, allowed)
    problem, times = source.problem, getattr(source, "times", None)
    if isinstance(source, Weights):
        w = np.asarray(source.weights)
        w_star = np.asarray(source.teacher_weights)[:, None, :]
        psi = problem.quantize(w)
        return OrderParameters.from_moments(
            problem,
            m=(w_star * w).mean(axis=-1),
            q=np.square(w).mean(axis=-1),
            m_psi=(w_star * psi).mean(axis=-1),
            q_psi=problem.quantized_square(w).mean(axis=-1),
            r_psi=(w * psi).mean(axis=-1),
            square=np.square(w_star).mean(axis=-1),
            rho=np.square(w_star).mean(axis=-1),
            tau=times,
        )
    edges = np.asarray(source.edges)
    mass = np.asarray(source.density) * np.diff(edges)
    w = 0.5 * (edges[1:] + edges[:-1])
    psi = problem.quantize(w)
    square = (edges[1:] ** 2 + edges[1:] * edges[:-1] + edges[:-1] ** 2) / 3
    probability = problem.teacher.probabilities
    aligned = probability * problem.teacher.values
    return OrderParameters.from_moments(
        problem,
        m=aligned @ np.moveaxis(mass @ w, -1, 0),
        q=probability @ np.moveaxis(mass @ square, -1, 0),
        m_psi=aligned @ np.moveaxis(mass @ psi, -1, 0),
        q_psi=probability @ np.moveaxis(mass @ problem.quantized_square(w), -1, 0),
        r_psi=probability @ np.moveaxis(mass @ (w * psi), -1, 0),
        tau=times,
    )


def _has_cells(source: object) -> bool:
    # Not by isinstance: before Python 3.12 that would compute the averages once more.
    return all(hasattr(source, name) for name in ("problem", "edges"))


def macroscopic_rates(problem: Problem, state: OrderParameters) -> tuple[Array, Array]:
    """Return dm/dτ and dq/dτ as the order parameters themselves dictate.

    Parameters
    ----------
    problem : Problem
        What is trained.
    state : OrderParameters
        Order parameters of a density or of particles, of any one shape (dimensionless).

    Returns
    -------
    dm, dq : ndarray
        The rates, shapes as in `state` (dimensionless).

    Raises
    ------
    ParameterError
        If the learning rate or the ridge is scheduled, or input scales differ between classes; with
        a surrogate, weight clipping or dampening, whose rates these averages do not say.

    Notes
    -----
    The identities need no closure: they hold for the exact density, with momentum as a larger rate.
    Weight decay γ adds −ηγm and −2ηγq. Stochastic rounding changes ε_g alone: ψ stands for its
    mean.

    Source: paper Eqs. (6)–(7); decay as a drift −ηγw.
    """
    for name in ("surrogate", "weight_clip", "dampening"):
        if name in rules_in_use(problem):
            allowed = (
                "must not be used: order parameters alone do not say its rates; those of solve_pde "
                "at times close to each other do"
            )
            raise ParameterError(name, getattr(problem, name), allowed)
    # E[w* a] and 2E[w a] + 2D, for a drift A w* − Bψ.
    push, pull = problem.dynamics.push_and_pull(1.0)
    dm = float(push) * problem.rho - pull * state.m_psi
    dq = 2 * (float(push) * state.m - pull * state.r_psi)
    decay = problem.dynamics.constant_rate * problem.weight_decay
    dm, dq = dm - decay * state.m, dq - 2 * decay * state.q
    return dm, dq + 2 * problem.diffusivity(state.generalization_error)
