"""Compiling parts of kernels: only what a kernel is made of, and nothing to be called by itself.

Numba takes every function it compiles all the way to machine code, and optimizes it again in each
function that calls it: a part three calls below a kernel four times. A part that is never called
from Python needs none of that. With this pipeline its code stays as it was written down, until the
kernel as a whole is optimized and translated once. That saves a third of the first solve.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from numba.core import codegen, compiler

__all__ = ["PartCompiler"]


# Numba is untyped.
_CodeLibrary: Any = codegen.JITCodeLibrary
_Compiler: Any = compiler.Compiler


class _Library(_CodeLibrary):  # type: ignore[misc]
    """Code that waits to be linked into that of a kernel."""

    def _optimize_final_module(self) -> None:
        """Leave it to the kernel."""

    def _finalize_final_module(self) -> None:
        """Leave machine code to the kernel."""
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """None: there is no machine code."""
        self._ensure_finalized()
        return 0

    @property
    def codegen(self) -> Any:
        """Nothing runs here, so nothing needs its globals set."""
        return SimpleNamespace(set_env=lambda name, env: None)


class PartCompiler(_Compiler):  # type: ignore[misc]
    """The pipeline of `njit(pipeline_class=PartCompiler)`; its functions cannot be cached."""

    def __init__(self, typingctx: Any, targetctx: Any, library: Any, *others: Any) -> None:
        name = "part" if library is None else library.name
        super().__init__(typingctx, targetctx, library, *others)
        if library is None:
            self.state.library = _Library(self.state.targetctx.codegen(), name)
