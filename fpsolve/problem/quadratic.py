"""Arrays of polynomials of degree at most two, with the arithmetic that coefficients need."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Quadratic"]

Array = NDArray[np.float64]


class Quadratic:
    """Polynomials c_0 + c_1 w + c_2 w², one a bin.

    A formula written for numbers applies to them as it stands, so that coefficients on bins and
    coefficients at points are one formula.

    Parameters
    ----------
    coefficients : array_like, shape (..., n), n ≤ 3
        Ascending; missing ones are 0.
    """

    # NumPy numbers on the left leave the operation to this class.
    __array_ufunc__ = None

    def __init__(self, coefficients: ArrayLike) -> None:
        given = np.asarray(coefficients, dtype=np.float64)
        self.coefficients = np.zeros((*given.shape[:-1], 3))
        self.coefficients[..., : given.shape[-1]] = given

    def __add__(self, other: Any) -> Quadratic:
        if isinstance(other, Quadratic):
            return Quadratic(self.coefficients + other.coefficients)
        out = self.coefficients.copy()
        out[..., 0] += other
        return Quadratic(out)

    __radd__ = __add__

    def __neg__(self) -> Quadratic:
        return Quadratic(-self.coefficients)

    def __sub__(self, other: Any) -> Quadratic:
        return Quadratic.__add__(self, -other)

    def __rsub__(self, other: Any) -> Quadratic:
        return Quadratic.__add__(-self, other)

    def __mul__(self, other: Any) -> Quadratic:
        """Multiply by a number, or by polynomials whose product stays of degree two."""
        if not isinstance(other, Quadratic):
            return Quadratic(self.coefficients * other)
        a, b = self.coefficients, other.coefficients
        cubic = a[..., 1] * b[..., 2] + a[..., 2] * b[..., 1]
        if cubic.any() or (a[..., 2] * b[..., 2]).any():
            raise ArithmeticError("a product of coefficients exceeds degree two")
        return Quadratic(
            np.stack(
                [
                    a[..., 0] * b[..., 0],
                    a[..., 0] * b[..., 1] + a[..., 1] * b[..., 0],
                    a[..., 0] * b[..., 2] + a[..., 1] * b[..., 1] + a[..., 2] * b[..., 0],
                ],
                axis=-1,
            )
        )

    __rmul__ = __mul__
