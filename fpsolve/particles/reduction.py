"""Order parameters of coordinates, each of a class of its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fpsolve.problem.problem import Problem
from fpsolve.reduction import OrderParameters

__all__ = ["coordinate_terms", "from_sums", "order_parameters_of"]

Array = NDArray[np.float64]


def from_sums(
    problem: Problem,
    sums: Array,
    labels: NDArray[np.int64],
    teacher_weights: Array,
    times: Array,
) -> OrderParameters:
    """Return order parameters, (runs, M) each, from the sums of `kernels.record_moments`.

    Parameters
    ----------
    problem : Problem
        What was simulated.
    sums : ndarray, shape (runs, M, 6)
        Sums over coordinates.
    labels, teacher_weights : ndarray, shape (runs, d)
        Class and w* of each coordinate.
    times : ndarray, shape (M,)
        When these were the weights.
    """
    m, q, m_psi, q_psi, r_psi, loss = np.moveaxis(sums / labels.shape[1], -1, 0)
    scale = problem.teacher.input_scale
    square = np.square(teacher_weights).mean(axis=1, keepdims=True)
    rho = np.square(scale[labels] * teacher_weights).mean(axis=1, keepdims=True)
    return OrderParameters.from_moments(
        problem,
        m=m,
        q=q,
        m_psi=m_psi,
        q_psi=q_psi,
        r_psi=r_psi,
        loss=loss if (scale != scale[0]).any() else None,
        square=square,
        rho=rho,
        tau=times,
    )


def order_parameters_of(
    problem: Problem,
    weights: Array,
    teacher_weights: Array,
    labels: NDArray[np.int64],
    times: Array,
) -> OrderParameters:
    """Return order parameters, (runs, T) each, of weights (runs, T, d).

    Parameters
    ----------
    problem : Problem
        What they belong to.
    weights : ndarray, shape (runs, T, d)
        w (dimensionless).
    teacher_weights, labels : ndarray, shape (runs, d)
        w* and class of each coordinate.
    times : ndarray, shape (T,)
        When these were the weights.
    """
    terms = coordinate_terms(problem, weights, teacher_weights[:, None], labels[:, None])
    names = ("m", "q", "m_psi", "q_psi", "r_psi", "generalization_error")
    sums = np.stack([terms[name].sum(axis=-1) for name in names], axis=-1)
    return from_sums(problem, sums, labels, teacher_weights, times)


def coordinate_terms(
    problem: Problem, w: Array, w_star: Array, labels: NDArray[np.int64]
) -> dict[str, Array]:
    """Return what each coordinate adds to the order parameters that are means, as `w` in shape.

    "generalization_error" holds the loss, Sψ² − 2κw*ψ, of the coordinate's own class; ψ and ψ²
    are means over the rounding where it is random.
    """
    dynamics, quantizer = problem.dynamics, problem.weight_quantizer
    psi = problem.quantize(w)
    square = np.square(psi) if quantizer is None else quantizer.mean_square(w)
    loss = dynamics.sigma2[labels] * square - 2 * dynamics.kappa[labels] * w_star * psi
    return {
        "m": w_star * w,
        "q": np.square(w),
        "m_psi": w_star * psi,
        "q_psi": square,
        "r_psi": w * psi,
        "generalization_error": loss,
    }
