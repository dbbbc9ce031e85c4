"""Order parameters: the macroscopic numbers that densities, particles and closures share."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from fpsolve.problem.problem import Problem

__all__ = ["ORDER_PARAMETER_NAMES", "OrderParameters", "macroscopic_rates"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class OrderParameters:
    """Macroscopic state of the weights; every field has the same shape (dimensionless).

    Attributes
    ----------
    m : ndarray
        E[w* w].
    q : ndarray
        E[w²].
    s : ndarray
        (q − m²/ρ)^½, the spread around the teacher's direction; q^½ where ρ = 0.
    m_psi : ndarray
        E[w* ψ(w)].
    q_psi : ndarray
        E[ψ(w)²].
    r_psi : ndarray
        E[w ψ(w)].
    generalization_error : ndarray
        ε_g = S q_ψ − 2κ m_ψ + ρ + σ² (paper Eq. 3).
    """

    m: Array
    q: Array
    s: Array
    m_psi: Array
    q_psi: Array
    r_psi: Array
    generalization_error: Array

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
        rho: Array | float | None = None,
    ) -> OrderParameters:
        """Complete the five moments by s and ε_g; `rho` replaces the law's ρ at finite d."""
        rho = problem.rho if rho is None else rho
        aligned = np.divide(np.square(m), rho, out=np.zeros_like(m), where=np.asarray(rho) > 0)
        spread2 = q - aligned
        # Rounding may leave −1e−17 where all weights lie along the teacher; NaN must not follow.
        s = np.sqrt(np.where(spread2 > 0, spread2, 0.0))
        error = problem.sigma2 * q_psi - 2 * problem.kappa * m_psi + rho + problem.noise_variance
        return cls(m, q, s, m_psi, q_psi, r_psi, error)

    def __getitem__(self, index: object) -> OrderParameters:
        """Return the order parameters at `index` (applied to every field)."""
        return OrderParameters(
            **{f.name: np.asarray(getattr(self, f.name)[index]) for f in fields(self)}
        )


ORDER_PARAMETER_NAMES = tuple(f.name for f in fields(OrderParameters))


def macroscopic_rates(problem: Problem, state: OrderParameters) -> tuple[Array, Array]:
    """Return dm/dτ and dq/dτ as the order parameters themselves dictate, shapes as in `state`.

    The identities need no closure: they hold for the exact density (paper Eqs. 6–7).
    """
    pull = problem.sigma2 + problem.ridge
    eta = problem.learning_rate
    dm = eta * (problem.kappa * problem.rho - pull * state.m_psi)
    dq = 2 * eta * (problem.kappa * state.m - pull * state.r_psi)
    noise = eta**2 * problem.sigma2 / problem.batch_size
    return dm, dq + noise * state.generalization_error
