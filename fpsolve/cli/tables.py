"""Results as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fpsolve.reduction import OrderParameters

__all__ = ["order_parameter_table"]

_COLUMNS = {
    "generalization_error": "eps_g",
    **{name: name for name in ("m", "q", "s", "m_psi", "q_psi", "r_psi")},
}
_MOST_ROWS = 25


def order_parameter_table(times: Any, state: OrderParameters) -> str:
    """Return a table of the order parameters, a row a time; for runs their mean and its error.

    Parameters
    ----------
    times : ndarray, shape (T,)
        Times τ (dimensionless). Of more than 25 a selection is shown, first and last included.
    state : OrderParameters
        Each of shape (T,) or (runs, T).
    """
    values = {name: np.atleast_2d(getattr(state, name)) for name in _COLUMNS}
    runs = len(values["m"])
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
            row.append(f"{column.mean():>14.7g}")
            if runs > 1 and name == "generalization_error":
                row.append(f"{column.std(ddof=1) / np.sqrt(runs):>10.2g}")
        rows.append("".join(row))
    if len(times) > _MOST_ROWS:
        rows.append(f"({_MOST_ROWS} of {len(times)} times)")
    return "\n".join(rows)


def _shown(count: int) -> list[int]:
    if count <= _MOST_ROWS:
        return list(range(count))
    return [int(i) for i in np.linspace(0, count - 1, _MOST_ROWS).round()]
