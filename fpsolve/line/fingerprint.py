"""By what a model is known again: values of its functions, for a file holds no functions.

Functions cannot be stored safely (reading them back would run whatever a file says), and their code
looks different from one Python to the next. Their values do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpsolve.errors import ParameterError
from fpsolve.numerics.mckean_vlasov import McKeanVlasov

__all__ = ["check_model", "model_values"]

Array = NDArray[np.float64]

# Points in the support of the initial density.
_POINTS = 33
# Mathematical libraries differ in the last digits.
_ALIKE = 1e-9


def model_values(
    model: McKeanVlasov, x: Array, times: Array, moments: Array
) -> dict[str, NDArray[Any]]:
    """Return what is compared, as arrays whose names begin with `model_`.

    Parameters
    ----------
    model : McKeanVlasov
        The model.
    x : ndarray, shape (2,) or (n,)
        Ends of an interval to look at, or points in it.
    times : ndarray
        Times at which the coefficients are looked at.
    moments : ndarray, shape (r,)
        Functionals for that.
    """
    points = np.linspace(x[0], x[1], _POINTS) if x.size == 2 else x
    shape = (lambda at: np.ones(at.shape)) if model.shape is None else model.shape
    functions = [*model.drifts, shape, *model.functionals]
    with np.errstate(all="ignore"):
        fields = [np.broadcast_to(np.asarray(f(points), float), points.shape) for f in functions]
    return {
        "model_x": points,
        "model_times": times,
        "model_moments": moments,
        "model_fields": np.array(fields),
        "model_law": np.array([_law(model, float(time), moments) for time in times]),
        "model_breaks": np.array(model.breaks, dtype=np.float64),
        "model_walls": np.array(model.walls or (), dtype=np.float64),
    }


def check_model(model: McKeanVlasov, kept: Mapping[str, NDArray[Any]]) -> None:
    """Refuse a model that is not the one of which `model_values` returned `kept`.

    Raises
    ------
    ParameterError
        Saying what differs.
    """
    now = model_values(model, kept["model_x"], kept["model_times"], kept["model_moments"])
    names = {
        "model_breaks": "breaks",
        "model_walls": "walls",
        "model_fields": "drift, shape or functionals",
        "model_law": "coefficients or diffusion",
    }
    for name, text in names.items():
        then = np.array(kept[name])
        if name == "model_law" and then.shape == now[name].shape:
            # What could not be evaluated then tells nothing; a mended function may go on.
            then[~np.isfinite(then)] = now[name][~np.isfinite(then)]
        size = np.abs(then[np.isfinite(then)]).max(initial=0.0)
        if then.shape != now[name].shape or not np.allclose(
            now[name], then, rtol=_ALIKE, atol=_ALIKE * size, equal_nan=True
        ):
            allowed = f"must be the equation the run was begun with: other {text}"
            raise ParameterError("model", model, allowed)


def _law(model: McKeanVlasov, time: float, moments: Array) -> Array:
    """Coefficients and diffusion; not all need exist for these moments at a later time."""
    try:
        return model.law(time, moments)
    except Exception:
        return np.full(len(model.drifts) + 1, np.nan)
