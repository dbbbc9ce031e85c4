"""What an error of κ, of S + λ or of D would do to the density: by solving it so."""

from __future__ import annotations

from typing import Any

import numpy as np

import fpsolve
from fpsolve import Problem

__all__ = ["COEFFICIENTS", "changed", "response"]

COEFFICIENTS = ("kappa", "sigma2_plus_ridge", "diffusivity")
ERROR = -0.01


def changed(case: Problem, name: str, error: float) -> tuple[Problem, float]:
    """Return a problem whose density is that of `case` with a wrong coefficient, and its clock.

    κ is that of teacher weights as much larger, the rest of ε_g kept by the noise (so that the
    error must be negative); S + λ that of another λ; D that of another η in a time ητ that is
    kept.
    """
    fields = {field: getattr(case, field) for field in case.__dataclass_fields__}
    if name == "kappa":
        teacher = fpsolve.Teacher(case.teacher.values * (1 + error), case.teacher.probabilities)
        noise = case.noise_variance + case.rho - teacher.rho
        return Problem(**{**fields, "teacher": teacher, "noise_variance": noise}), 1.0
    if name == "sigma2_plus_ridge":
        # A negative λ is refused, so that here the error is positive.
        ridge = case.ridge - error * (case.sigma2 + case.ridge)
        return Problem(**{**fields, "ridge": ridge}), 1.0
    return Problem(**{**fields, "learning_rate": case.learning_rate * (1 + error)}), 1 / (1 + error)


def response(case: Problem, tau: Any, name: str, names: tuple[str, ...]) -> np.ndarray:
    """Return d(order parameters)/d(relative error) of the density, shape (F·T,).

    Parameters
    ----------
    case : Problem
        What is trained.
    tau : array_like, shape (T,)
        Times.
    name : str
        One of `COEFFICIENTS`.
    names : tuple of str
        Order parameters, F of them.
    """
    other, clock = changed(case, name, ERROR)
    step = -ERROR if name == "sigma2_plus_ridge" else ERROR
    right = fpsolve.solve_pde(case, tau, rtol=1e-8).order_parameters
    wrong = fpsolve.solve_pde(other, np.asarray(tau) * clock, rtol=1e-8).order_parameters
    # m and m_ψ are weighted with the teacher.
    unit = {"m": 1 + ERROR, "m_psi": 1 + ERROR} if name == "kappa" else {}
    shifts = [getattr(wrong, n) / unit.get(n, 1.0) - getattr(right, n) for n in names]
    return np.ravel(shifts) / step
