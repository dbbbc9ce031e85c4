"""Short text for long lists, so that what the user chose shows itself on one line."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["brief_list"]

_WHOLE = 5


def brief_list(values: Iterable[float]) -> str:
    """Return `[a, b, c]`, or the ends and the number of entries where there are many."""
    entries = [float(v) for v in values]
    if len(entries) <= _WHOLE:
        return str(entries)
    return f"[{entries[0]:.6g}, {entries[1]:.6g}, … {len(entries)} …, {entries[-1]:.6g}]"
