"""What goes with compiling kernels: it is said once, and signals and garbage wait for its end."""

from __future__ import annotations

import functools
import gc
import logging
from collections.abc import Callable
from typing import Any

__all__ = ["Compiling", "announce_compilation", "put_off"]


class Compiling:
    """What is known of the compilation in progress."""

    def __init__(self) -> None:
        self.said = False
        self.depth = 0
        self.waiting: list[Callable[[], object]] = []
        self.paused = False

    def begin(self, module: str | None) -> None:
        """Say so at the first of ours, and let no garbage be collected until it is compiled."""
        self.depth += 1
        # Functions that others have made up at run time are of no module.
        if module is None or not module.startswith("fpsolve."):
            return
        if not self.paused and gc.isenabled():
            # A compiler makes millions of objects, nearly all of which stay until it is done: to
            # look through them again and again takes an eighth of the time.
            self.paused = True
            gc.disable()
        if self.said:
            return
        self.said = True
        # A warning is shown without any set-up, as Matplotlib's about its font cache is.
        logging.getLogger("fpsolve").warning(
            "compiling kernels for this machine, once; this takes up to a minute"
        )

    def end(self) -> None:
        """Do what has been put off."""
        self.depth -= 1
        if self.depth == 0 and self.paused:
            self.paused = False
            gc.enable()
        if self.depth == 0 and self.waiting:
            first, self.waiting = self.waiting[0], []
            first()


_compiling = Compiling()


@functools.cache
def announce_compilation() -> None:
    """Have the first compilation of a kernel in this process announced on the log `fpsolve`."""
    # Numba is slow to import, and those who only ask whether to put off need not.
    from numba.core import event

    class Listener(event.Listener):
        """Hears of every function that Numba compiles, not of those it finds in its cache."""

        def on_start(self, event: Any) -> None:
            _compiling.begin(event.data["dispatcher"].py_func.__module__)

        def on_end(self, event: Any) -> None:
            _compiling.end()

    event.register("numba:compile", Listener())  # type: ignore[no-untyped-call]


def put_off(call: Callable[[], object]) -> bool:
    """Do `call` at the end of the compilation in progress; False if there is none.

    The compiler calls Python from C: an exception raised there is lost, and what it was compiling
    broken.
    """
    if _compiling.depth == 0:
        return False
    _compiling.waiting.append(call)
    return True
