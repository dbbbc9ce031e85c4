"""How results show themselves: one line on a terminal, a small table in a notebook."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from importlib import import_module
from typing import Any

__all__ = ["Shown", "span"]

_LONGEST = 200


class Shown:
    """Base of results that say what they hold, not all of it."""

    __slots__ = ()

    def _shown(self) -> dict[str, object]:
        """Return what to tell: name -> number or short text, the most important first."""
        raise NotImplementedError

    def __repr__(self) -> str:
        parts = ", ".join(f"{name}={_short(value)}" for name, value in self._shown().items())
        text = f"{type(self).__name__}({parts})"
        return text if len(text) <= _LONGEST else text[: _LONGEST - 2] + "…)"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{escape(name)}</th>"
            f"<td style='text-align:left'>{escape(_short(value))}</td></tr>"
            for name, value in self._shown().items()
        )
        head = f"<caption><b>{type(self).__name__}</b></caption>"
        return f"<table>{head}<tbody>{rows}</tbody></table>"

    def to_xarray(self) -> Any:
        """Return an `xarray.Dataset` with the variables and attributes of a file (needs xarray)."""
        # By name: what writes results knows them, not the other way round.
        return import_module("fpsolve.store.dataset").to_xarray(self)


def span(values: Iterable[float]) -> str:
    """Return `a … b (n)` of a sequence: its ends and its length."""
    entries = [float(v) for v in values]
    if not entries:
        return "none"
    if len(entries) == 1:
        return f"{entries[0]:.6g}"
    return f"{entries[0]:.6g} … {entries[-1]:.6g} ({len(entries)})"


def _short(value: object) -> str:
    """One line: numbers with six digits."""
    if isinstance(value, bool) or not isinstance(value, float):
        return " ".join(str(value).split())
    return f"{value:.6g}"
