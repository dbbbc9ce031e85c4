"""How many processors a measurement uses."""

from __future__ import annotations

import os

__all__ = ["on_processors"]

_PROCESSORS = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else frozenset({0})


def on_processors(count: int) -> None:
    """Let this process use so many processors, where the system can say so."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(_PROCESSORS)[:count])
