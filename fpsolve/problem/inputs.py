"""The law of one input coordinate x, with E x = 0 and E x² = 1 (theory §2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fpsolve.errors import ParameterError

__all__ = ["INPUT_DISTRIBUTIONS", "InputDistribution", "input_distribution"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class InputDistribution:
    """A symmetric law of unit variance for the input coordinates (dimensionless).

    Attributes
    ----------
    name : str
        The name by which `Problem` refers to it.
    pdf, cdf, upper_mean : callable
        Density p(x), distribution function P(x), and ∫_x^∞ t p(t) dt, each elementwise.
    extent : float
        |x| beyond which the law carries less than 1e-16 of its second moment.
    kinks : tuple of float
        Points where the density is not smooth, for quadrature panels.
    """

    name: str
    pdf: Callable[[Array], Array]
    cdf: Callable[[Array], Array]
    upper_mean: Callable[[Array], Array]
    extent: float
    kinks: tuple[float, ...] = ()


def _gaussian_pdf(x: Array) -> Array:
    return np.exp(-0.5 * np.square(x)) / math.sqrt(2 * math.pi)


def _gaussian_cdf(x: Array) -> Array:
    from scipy.special import ndtr  # SciPy takes long to import; reading a problem needs none of it

    return np.asarray(ndtr(x))


_SIDE = math.sqrt(3.0)
_RATE = math.sqrt(2.0)


def _uniform_pdf(x: Array) -> Array:
    return np.where(np.abs(x) <= _SIDE, 0.5 / _SIDE, 0.0)


def _uniform_cdf(x: Array) -> Array:
    return (np.clip(x, -_SIDE, _SIDE) + _SIDE) / (2 * _SIDE)


def _uniform_upper_mean(x: Array) -> Array:
    return (3.0 - np.square(np.clip(x, -_SIDE, _SIDE))) / (4 * _SIDE)


def _laplace_pdf(x: Array) -> Array:
    return np.exp(-_RATE * np.abs(x)) / _RATE


def _laplace_cdf(x: Array) -> Array:
    tail = 0.5 * np.exp(-_RATE * np.abs(x))
    return np.where(x < 0, tail, 1 - tail)


def _laplace_upper_mean(x: Array) -> Array:
    return 0.5 * np.exp(-_RATE * np.abs(x)) * (np.abs(x) + 1 / _RATE)


INPUT_DISTRIBUTIONS = {
    law.name: law
    for law in (
        InputDistribution("gaussian", _gaussian_pdf, _gaussian_cdf, _gaussian_pdf, 10.0),
        InputDistribution(
            "uniform", _uniform_pdf, _uniform_cdf, _uniform_upper_mean, _SIDE, (-_SIDE, _SIDE)
        ),
        InputDistribution("laplace", _laplace_pdf, _laplace_cdf, _laplace_upper_mean, 32.0, (0.0,)),
    )
}


def input_distribution(name: object) -> InputDistribution:
    """Return the input law called `name`, or raise `ParameterError`."""
    if not isinstance(name, str) or name not in INPUT_DISTRIBUTIONS:
        known = ", ".join(repr(n) for n in INPUT_DISTRIBUTIONS)
        raise ParameterError("input_distribution", name, f"must be one of {known}")
    return INPUT_DISTRIBUTIONS[name]
