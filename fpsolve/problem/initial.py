"""The law of the initial weights given the teacher."""

from __future__ import annotations

from dataclasses import dataclass

from fpsolve.problem.checks import finite

__all__ = ["GaussianInitial"]


@dataclass(frozen=True)
class GaussianInitial:
    """w_0 | w* ~ N(mean + overlap·w*, variance).

    Parameters
    ----------
    mean : float, default 0
        Mean for w* = 0 (dimensionless).
    variance : float, default 1
        Variance ≥ 0; 0 starts every weight at its mean (dimensionless).
    overlap : float, default 0
        Share of the teacher in the initial weights (dimensionless).

    Raises
    ------
    ParameterError
        If a value is not finite or the variance is negative.
    """

    mean: float = 0.0
    variance: float = 1.0
    overlap: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", finite("initial.mean", self.mean))
        object.__setattr__(self, "variance", finite("initial.variance", self.variance, least=0.0))
        object.__setattr__(self, "overlap", finite("initial.overlap", self.overlap))
