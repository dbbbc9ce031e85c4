"""A sweep as a table that fits the terminal."""

from __future__ import annotations

import shutil
from typing import Any

__all__ = ["sweep_table"]

_MOST_ROWS = 25
_MOST_ERRORS = 10
_WIDTH = 12


def sweep_table(result: Any) -> str:
    """Return ε_g (or the first array) at the last time, a line a point: the mean over runs.

    Parameters
    ----------
    result : SweepResult
        Of more than 25 points a selection is shown, first and last included.
    """
    import numpy as np

    name = "generalization_error" if "generalization_error" in result.arrays else None
    name = name or next(iter(result.arrays))
    shown = "eps_g" if name == "generalization_error" else name
    failed = {i: e for i, e in result.errors.items() if i not in result.not_reached}
    indices = [i for i in np.ndindex(*result.shape) if i not in result.not_reached]
    room = max((shutil.get_terminal_size((100, 24)).columns - 17) // max(len(result.axes), 1), 9)
    widths = [min(max(len(axis), _WIDTH) + 2, room) for axis in result.axes]
    heads = [_fit(axis, w) for axis, w in zip(result.axes, widths, strict=True)]
    rows = ["".join(heads) + f"{shown:>16}"]
    few = len(indices) <= _MOST_ROWS
    chosen = range(len(indices)) if few else np.linspace(0, len(indices) - 1, _MOST_ROWS).round()
    for index in (indices[int(i)] for i in chosen):
        point = zip(result.axes.values(), index, widths, strict=True)
        values = "".join(_fit(_text(axis[i]), w) for axis, i, w in point)
        told = "failed" if index in failed else _number(result, name, index)
        rows.append(f"{values}{told:>16}")
    if not few:
        rows.append(f"({_MOST_ROWS} of {len(indices)} points)")
    for index, error in list(failed.items())[:_MOST_ERRORS]:
        rows.append(f"failed at {index}: {error}")
    if len(failed) > _MOST_ERRORS:
        rows.append(f"({_MOST_ERRORS} of {len(failed)} failures)")
    return "\n".join(rows)


def _number(result: Any, name: str, index: tuple[int, ...]) -> str:
    import numpy as np

    values = result.arrays[name][index]
    inner = result.inner[name]
    if inner and inner[-1] == "time":
        values = values[..., -1]
    if "root" in inner:  # the several states of a point side by side would not fit
        values = values[np.isfinite(values)][:1]
    return f"{np.mean(values):.8g}" if np.size(values) else "none"


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(_text(part) for part in value)
    return f"{value:.6g}" if isinstance(value, float) else " ".join(str(value).split())


def _fit(text: str, width: int) -> str:
    """Return `text` at the right of `width` columns; of a longer one its end."""
    return f"{text:>{width}}" if len(text) < width else f"  …{text[3 - width :]}"
