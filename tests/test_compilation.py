"""The first compilation of a kernel is announced, once; what comes from a cache is not."""

import logging
from types import SimpleNamespace

from numba import njit
from numba.core import event

from fpsolve.compilation import _Announcement


def compiled(module):
    """What Numba tells of a function of this module."""
    kernel = SimpleNamespace(py_func=SimpleNamespace(__module__=module))
    return event.trigger_event("numba:compile", data={"dispatcher": kernel})


def test_the_first_of_ours_is_announced_once(caplog) -> None:
    listening = event.install_listener("numba:compile", _Announcement())
    with caplog.at_level(logging.WARNING, "fpsolve"), listening:
        with compiled("somebody.else"):
            assert not caplog.records
        with compiled("fpsolve.numerics.kernels"), compiled("fpsolve.numerics.kernels"):
            pass
    (said,) = caplog.records
    assert said.getMessage().startswith("compiling kernels for this machine, once")


def test_numba_tells_of_what_it_compiles() -> None:
    """The name of the event, and what it carries, are Numba's."""
    listener = event.RecordingListener()
    with event.install_listener("numba:compile", listener):
        njit(lambda x: x + 1)(1)
    _, first = listener.buffer[0]
    assert first.data["dispatcher"].py_func.__module__ == __name__
