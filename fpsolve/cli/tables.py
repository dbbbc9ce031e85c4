"""Results as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fpsolve.reduction import OrderParameters

__all__ = ["order_parameter_table"]

_COLUMNS = {
    "generalization_error": "eps_g",
    **{name: name for name in ("m", "q", "s", "m_psi", "q_psi", "r_psi")},
}
_MOST_ROWS = 25
_ROUNDING = 1e-12


def order_parameter_table(times: Any, state: OrderParameters) -> str:
    """Return a table of the order parameters, a row a time; for runs their mean and its error.

    Parameters
    ----------
    times : ndarray, shape (T,)
        Times τ (dimensionless). Of more than 25 a selection is shown, first and last included.
    state : OrderParameters
        Each of shape (T,) or (runs, T).
    """
    import numpy as np  # here, so that --help does without

    values = {name: np.atleast_2d(getattr(state, name)) for name in _COLUMNS}
    runs = len(values["m"])
    # Below this a number is the rounding of others: 2.8e-17 is 0 to a reader.
    noise = _ROUNDING * max(float(np.abs(v).max(initial=0.0)) for v in values.values())
    header = [f"{'tau':>10}"]
    for name, short in _COLUMNS.items():
        header.append(f"{short:>14}")
        if runs > 1 and name == "generalization_error":
            header.append(f"{'+-':>10}")
    rows = ["".join(header)]
    for index in _shown(len(times)):
        row = [f"{times[index]:>10.6g}"]
        for name in _COLUMNS:
            column = values[name][:, index]
            mean = float(column.mean())
            row.append(f"{0.0 if abs(mean) < noise else mean:>14.7g}")
            if runs > 1 and name == "generalization_error":
                row.append(f"{column.std(ddof=1) / np.sqrt(runs):>10.2g}")
        rows.append("".join(row))
    if len(times) > _MOST_ROWS:
        rows.append(f"({_MOST_ROWS} of {len(times)} times)")
    return "\n".join(rows)


def _shown(count: int) -> list[int]:
    if count <= _MOST_ROWS:
        return list(range(count))
    return [round(i * (count - 1) / (_MOST_ROWS - 1)) for i in range(_MOST_ROWS)]
