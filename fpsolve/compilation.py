"""Say that kernels are being compiled, once, before it takes its seconds."""

from __future__ import annotations

import functools
import logging
from typing import Any

from numba.core import event

__all__ = ["announce_compilation"]


class _Announcement(event.Listener):
    """Hears of every function that Numba compiles, and not of those it finds in its cache."""

    said = False

    def on_start(self, event: Any) -> None:
        """Say so at the first of ours."""
        if self.said or not event.data["dispatcher"].py_func.__module__.startswith("fpsolve."):
            return
        self.said = True
        # A warning is shown without any set-up, as Matplotlib's about its font cache is.
        logging.getLogger("fpsolve").warning(
            "compiling kernels for this machine, once; this takes up to half a minute"
        )

    def on_end(self, event: Any) -> None:
        """Nothing: results follow at once."""


@functools.cache
def announce_compilation() -> None:
    """Have the first compilation of a kernel in this process announced on the log `fpsolve`."""
    event.register("numba:compile", _Announcement())  # type: ignore[no-untyped-call]
