"""Compiling what every solve needs, before the first one, by two processes at the same time.

Numba compiles one function after the other. Kernels declared with `ahead` are compiled for the
types that their annotations say, as soon as the first solve begins: one half here, those that are
`aside` by a second process, which leaves them in the cache on disk, where they are found. Whatever
becomes of that process, what it did not leave there is compiled here.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from fpsolve.numerics.signatures import signature_of

__all__ = ["address", "ahead", "assist", "make_ready"]

Kernel = TypeVar("Kernel")

_log = logging.getLogger("fpsolve")

# The halves take equally long: a second process that takes so many times as long as we did, and at
# least so many seconds longer, is in trouble.
_PATIENCE, _LEAST_PATIENCE = 3.0, 30.0
_CODE = (
    "import json, sys; sys.path[:] = json.loads(sys.stdin.readline()); "
    "from fpsolve.numerics.ahead import assist; assist()"
)

# Kernels declared and not ready yet, and whether each is compiled aside.
_waiting: dict[Any, bool] = {}
_lock = threading.RLock()


def ahead(*, aside: bool) -> Callable[[Kernel], Kernel]:
    """Declare a kernel that is to be compiled before the first solve.

    Parameters
    ----------
    aside : bool
        Whether by a process of its own, if there is something else to compile meanwhile.
    """

    def declare(kernel: Kernel) -> Kernel:
        # With NUMBA_DISABLE_JIT it is a plain function.
        if hasattr(kernel, "py_func"):
            _waiting[kernel] = aside
        return kernel

    return declare


def make_ready() -> None:
    """Have all kernels that were declared, from the cache on disk or compiled."""
    if not _waiting:
        return
    with _lock:
        missing = [kernel for kernel in _waiting if not _is_cached(kernel)]
        aside = [kernel for kernel in missing if _waiting[kernel]]
        here = [kernel for kernel in missing if not _waiting[kernel]]
        helper = _start(aside) if here and aside else None
        start = time.monotonic()
        try:
            for kernel in here:
                _compile(kernel)
            if helper is not None:
                _wait(helper, max(_LEAST_PATIENCE, _PATIENCE * (time.monotonic() - start)))
        finally:
            if helper is not None:
                _end(helper)
        for kernel in list(_waiting):
            _compile(kernel)
            del _waiting[kernel]


@functools.cache
def address(kernel: Any) -> int:
    """Where the machine code of a kernel is that is ready; 0 if it runs as plain Python."""
    if not hasattr(kernel, "py_func"):
        return 0
    arguments, result = signature_of(kernel.py_func)
    _compile(kernel)
    compiled = kernel.overloads[arguments]
    if compiled.signature.return_type != result:
        name, found = kernel.py_func.__name__, compiled.signature.return_type
        raise TypeError(f"{name} is declared to return {result}, and returns {found}")
    return int(compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name))


def _compile(kernel: Any) -> None:
    """Load a kernel from the cache, or compile it and leave it there."""
    kernel.compile(signature_of(kernel.py_func)[0])


def _is_cached(kernel: Any) -> bool:
    """Whether the cache on disk holds it: a look at its index."""
    cache = kernel._cache
    if not hasattr(cache, "_cache_file"):
        return False
    key = cache._index_key(signature_of(kernel.py_func)[0], kernel.targetctx.codegen())
    with cache._guard_against_spurious_io_errors():
        return key in cache._cache_file._load_index()
    return False


# --- the other process ---------------------------------------------------------------------------


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _start(kernels: list[Any]) -> subprocess.Popen[bytes] | None:
    """Start a process that compiles `kernels`; None if that cannot be or does not pay."""
    # What is frozen, or has Python embedded, is no interpreter that could be started again.
    interpreter = Path(sys.executable or "").name.lower().startswith("py")
    if _cores() < 2 or getattr(sys, "frozen", False) or not interpreter:
        return None
    names = [(kernel.py_func.__module__, kernel.py_func.__name__) for kernel in kernels]
    try:
        helper = subprocess.Popen(
            # Its path is ours: nothing that lies where it starts comes first.
            [sys.executable, "-P", "-c", _CODE],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Signals from the keyboard are for us alone; it ends when its standard input does.
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except OSError as error:
        _log.debug("no second process compiles: %s", error)
        return None
    assert helper.stdin is not None
    try:
        for line in ([str(path) for path in sys.path], names):
            helper.stdin.write(json.dumps(line).encode() + b"\n")
        helper.stdin.flush()
    except OSError as error:
        _log.debug("the second process does not listen: %s", error)
    return helper


def _wait(helper: subprocess.Popen[bytes], seconds: float) -> None:
    try:
        code = helper.wait(seconds)
    except subprocess.TimeoutExpired:
        _log.debug("the second process has not compiled its kernels in time")
    else:
        if code != 0:
            _log.debug("the second process ended with %d", code)


def _end(helper: subprocess.Popen[bytes]) -> None:
    """End it, if it has not ended, and leave nothing of it."""
    helper.kill()
    helper.wait()
    assert helper.stdin is not None
    with contextlib.suppress(OSError):  # There may be nobody to read the rest.
        helper.stdin.close()


def assist() -> None:
    """Compile the kernels named on standard input, as long as that is open."""
    names = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_input, daemon=True).start()
    gc.disable()  # As in `compilation`.
    for module, name in names:
        _compile(getattr(importlib.import_module(module), name))


def _end_with_input() -> None:
    # Not through `sys.stdin`, which could not be torn down while a thread reads from it.
    while os.read(0, 1024):
        pass
    os._exit(1)
