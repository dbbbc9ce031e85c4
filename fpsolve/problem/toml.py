"""Problem files: TOML text to `Problem` and back."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import tomli_w

from fpsolve.errors import ParameterError
from fpsolve.problem.initial import GaussianInitial
from fpsolve.problem.problem import Problem
from fpsolve.problem.quantizer import StepQuantizer, UniformQuantizer
from fpsolve.problem.teacher import Teacher

__all__ = ["ProblemFile", "parse_problem", "problem_to_toml", "read_problem_file"]

T = TypeVar("T")

_SCALARS = ("learning_rate", "ridge", "noise_variance", "batch_size", "input_distribution")
_INITIAL = ("mean", "variance", "overlap")
_SOLVE = ("times", "rtol", "scheme")


@dataclass(frozen=True)
class ProblemFile:
    """What a problem file says: the problem, and the options of its `[solve]` table."""

    problem: Problem
    solve: dict[str, Any] = field(default_factory=dict)


def read_problem_file(path: str | Path) -> ProblemFile:
    """Read a problem file; `ParameterError` names the file, the table and the key at fault."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors put a byte-order mark first
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ParameterError("problem file", str(path), f"cannot be read: {reason}") from None
    return parse_problem(text, source=str(path))


def parse_problem(text: str, *, source: str = "<string>") -> ProblemFile:
    """Parse TOML text; `source` is how messages call it."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ParameterError("problem file", source, f"is not valid TOML: {error}") from None
    _known(source, "top level", document, ("problem", "solve"))
    table = _table(source, document, "problem", required=True)
    subtables = ("weight_quantizer", "input_quantizer", "teacher", "initial")
    _known(source, "[problem]", table, (*_SCALARS, *subtables))
    if "learning_rate" not in table:
        raise ParameterError(
            f"{source} [problem] learning_rate", None, "is missing; set it to a number > 0"
        )
    optional: dict[str, Any] = {
        name: _build(source, f"problem.{name}", table, name, _quantizer)
        for name in ("weight_quantizer", "input_quantizer")
    }
    if "teacher" in table:
        optional["teacher"] = _build(source, "problem.teacher", table, "teacher", _teacher)
    if "initial" in table:
        optional["initial"] = _build(source, "problem.initial", table, "initial", _initial)
    scalars = {name: table[name] for name in _SCALARS if name in table}
    problem = _located(source, "[problem]", lambda: Problem(**scalars, **optional))
    solve = _table(source, document, "solve")
    _known(source, "[solve]", solve, _SOLVE)
    return ProblemFile(problem, dict(solve))


def problem_to_toml(problem: Problem) -> str:
    """Return the `[problem]` table of `problem`; every number survives the round trip exactly."""
    table: dict[str, Any] = {name: getattr(problem, name) for name in _SCALARS}
    for name in ("weight_quantizer", "input_quantizer"):
        quantizer = getattr(problem, name)
        if quantizer is not None:
            table[name] = _quantizer_table(quantizer)
    table["teacher"] = {
        "values": problem.teacher.values.tolist(),
        "probabilities": problem.teacher.probabilities.tolist(),
    }
    table["initial"] = {name: getattr(problem.initial, name) for name in _INITIAL}
    return tomli_w.dumps({"problem": table})


def _quantizer_table(quantizer: StepQuantizer) -> dict[str, Any]:
    if isinstance(quantizer, UniformQuantizer):
        shape: dict[str, Any] = {"bit_width": quantizer.bit_width, "omega": quantizer.omega}
    else:
        shape = {"levels": quantizer.levels.tolist(), "thresholds": quantizer.thresholds.tolist()}
    return {**shape, "temperature": quantizer.temperature}


def _quantizer(table: Mapping[str, Any]) -> StepQuantizer:
    if "levels" in table:
        _only(table, ("levels", "thresholds", "temperature"))
        return StepQuantizer(**table)
    _only(table, ("bit_width", "omega", "temperature"))
    for key in ("bit_width", "omega"):
        if key not in table:
            raise ParameterError(key, None, "is missing; give bit_width and omega, or levels")
    return UniformQuantizer(**table)


def _teacher(table: Mapping[str, Any]) -> Teacher:
    kind = table.get("kind", "atoms")
    keys = {
        "atoms": ("values", "probabilities"),
        "constant": ("value",),
        "rademacher": (),
        "gaussian": ("variance", "nodes"),
    }
    if kind not in keys:
        raise ParameterError("kind", kind, f"must be one of {', '.join(keys)}")
    _only(table, ("kind", *keys[kind]))
    arguments = {key: value for key, value in table.items() if key != "kind"}
    for key in keys[kind]:
        if key not in arguments:
            raise ParameterError(key, None, f"is missing; a teacher of kind {kind!r} needs it")
    makers: dict[str, Callable[..., Teacher]] = {
        "atoms": Teacher,
        "constant": Teacher.constant,
        "rademacher": Teacher.rademacher,
        "gaussian": Teacher.gaussian,
    }
    return makers[kind](**arguments)


def _initial(table: Mapping[str, Any]) -> GaussianInitial:
    _only(table, _INITIAL)
    return GaussianInitial(**table)


def _only(table: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    for key in table:
        if key not in allowed:
            raise ParameterError(
                key, table[key], f"is not a key here; allowed: {', '.join(allowed)}"
            )


def _known(source: str, where: str, table: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    _located(source, where, lambda: _only(table, allowed))


def _table(
    source: str, document: Mapping[str, Any], name: str, *, required: bool = False
) -> Mapping[str, Any]:
    table = document.get(name, None if required else {})
    if not isinstance(table, dict):
        state = "is missing" if table is None else "must be a table"
        raise ParameterError(
            f"{source} [{name}]", table, f"{state}; write [{name}] and its keys below it"
        )
    return table


def _build(
    source: str,
    where: str,
    parent: Mapping[str, Any],
    name: str,
    make: Callable[[Mapping[str, Any]], T],
) -> T | None:
    if name not in parent:
        return None
    table = parent[name]
    if not isinstance(table, dict):
        raise ParameterError(f"{source} {where}", table, f"must be a table; write [{where}]")
    return _located(source, f"[{where}]", lambda: make(table))


def _located(source: str, where: str, make: Callable[[], T]) -> T:
    """Run `make`, putting file and table in front of the field any `ParameterError` names."""
    try:
        return make()
    except ParameterError as error:
        raise ParameterError(
            f"{source} {where} {error.field}", error.value, error.allowed
        ) from None
