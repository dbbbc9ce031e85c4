"""Names of points that stay the same from run to run: hashes of all that an answer depends on."""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fpsolve._version import __version__
from fpsolve.errors import ParameterError
from fpsolve.problem.problem import Problem

__all__ = ["point_key", "point_seed", "question_token", "refused_key"]


def question_token(solve: Callable[..., Any], options: Mapping[str, Any]) -> str:
    """Return text that says which solver, options and version are asked.

    Raises
    ------
    ParameterError
        If an option or the function itself has no text that tells it from others.
    """
    told = ", ".join(f"{n}={_token(n, v)}" for n, v in sorted(options.items()))
    return f"fpsolve {__version__}: {_function(solve)}({told})"


def point_key(question: str, problem: Problem) -> str:
    """Return 32 hexadecimal digits that name the answer to `question` about `problem`."""
    text = f"{question}\n{problem.to_toml()}"
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def refused_key(question: str, base: Problem, error: str) -> str:
    """Return the key of a point whose axes make no problem: of what is wrong with it."""
    return point_key(f"{question}\n{error}", base)


def point_seed(seed: int, problem: Problem) -> int:
    """Return the seed of a point's own streams: of `seed` and the problem, not of its place."""
    digest = hashlib.blake2b(problem.to_toml().encode(), digest_size=16).digest()
    sequence = np.random.SeedSequence([seed, int.from_bytes(digest, "little")])
    return int.from_bytes(sequence.generate_state(4).tobytes(), "little")


def _function(solve: Callable[..., Any]) -> str:
    if isinstance(solve, functools.partial):
        bound = ", ".join(_token("solve", v) for v in solve.args)
        named = ", ".join(f"{n}={_token(n, v)}" for n, v in sorted(solve.keywords.items()))
        return f"partial({_function(solve.func)}, {bound}; {named})"
    name = f"{solve.__module__}.{getattr(solve, '__qualname__', type(solve).__qualname__)}"
    if name.startswith("fpsolve."):
        return name
    try:
        body = inspect.getsource(inspect.unwrap(solve))
    except (OSError, TypeError):
        allowed = "must be a function whose source can be read, so that its answers can be kept"
        raise ParameterError("solve", solve, allowed) from None
    caught = inspect.getclosurevars(solve).nonlocals if inspect.isfunction(solve) else {}
    cells = ", ".join(f"{n}={_token(n, v)}" for n, v in sorted(caught.items()))
    return f"{name}[{hashlib.blake2b(body.encode(), digest_size=16).hexdigest()}; {cells}]"


def _token(name: str, value: Any) -> str:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return repr(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_token(name, v) for v in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {_token(name, v)}" for k, v in sorted(value.items())) + "}"
    if isinstance(value, Problem):
        return value.to_toml()
    if callable(value):
        return _function(value)
    allowed = "must be numbers, text, lists of them or a function where answers are kept in a store"
    raise ParameterError(name, value, allowed)
