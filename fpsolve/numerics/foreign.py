"""Coefficients that the user gives as Python functions, called from compiled code."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fpsolve.numerics.equation import affine_law
from fpsolve.numerics.kernels import Law

__all__ = ["ForeignLaw"]

Array = NDArray[np.float64]

_SIGNATURE = ctypes.CFUNCTYPE(
    ctypes.c_int64,
    ctypes.c_double,
    ctypes.POINTER(ctypes.c_double),
    ctypes.POINTER(ctypes.c_double),
)


class ForeignLaw:
    """A Python function of (t, M) that returns (c_1 … c_J, D), as a C function.

    Parameters
    ----------
    coefficients : callable
        `coefficients(t, M)` with M of shape (r,); returns J + 1 numbers.
    terms, rank : int
        J and r.

    Attributes
    ----------
    failure : BaseException or None
        What the function raised; compiled code then stops, and whoever called it raises this.
    """

    def __init__(
        self, coefficients: Callable[[float, Array], Array], terms: int, rank: int
    ) -> None:
        self.failure: BaseException | None = None
        self.terms, self.rank = terms, rank

        def call(time: float, moments: object, out: object) -> int:
            try:
                at = np.ctypeslib.as_array(moments, (max(rank, 1),))[:rank].copy()
                np.ctypeslib.as_array(out, (terms + 1,))[:] = coefficients(time, at)
            except BaseException as failure:  # it cannot pass through compiled code
                self.failure = failure
                return 1
            return 0

        self._call = _SIGNATURE(call)

    def law(self, *, terms: int, rank: int, least: float = 0.0, given: bool = False) -> Law:
        """The law as kernels take it; this object must outlive it.

        Its gains are not used, but NaN where c may depend on M, and 0 if all c are `given`.
        """
        address = ctypes.cast(self._call, ctypes.c_void_p).value
        assert address is not None
        zeros, gain = np.zeros(terms + 1), np.zeros((terms + 1, rank))
        if not given:
            gain[:-1] = np.nan
        return affine_law(zeros, gain, zeros, least=least, address=address)
