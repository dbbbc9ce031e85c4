"""The grammar of problem files: TOML text to the arguments of `Problem`, and back."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import tomli_w

from fpsolve.errors import ParameterError
from fpsolve.problem.initial import GaussianInitial
from fpsolve.problem.quantizer import StepQuantizer, UniformQuantizer
from fpsolve.problem.schedule import Schedule
from fpsolve.problem.surrogate import Surrogate
from fpsolve.problem.teacher import Teacher

__all__ = ["ProblemDocument", "document_text", "parse_document", "read_document"]
__all__ += ["schedule_of", "schedule_table"]

T = TypeVar("T")

_SCALARS = (
    "ridge",
    "noise_variance",
    "batch_size",
    "input_distribution",
    "weight_decay",
    "weight_clip",
    "dampening",
    "momentum",
)
_SCHEDULED = ("learning_rate", "ridge", "noise_variance")
_QUANTIZERS = ("weight_quantizer", "input_quantizer")
_INITIAL = ("mean", "variance", "overlap")
_SOLVE = ("times", "rtol", "scheme")


@dataclass(frozen=True)
class ProblemDocument:
    """What a problem file says, not yet a problem.

    Attributes
    ----------
    source : str
        How messages call it.
    arguments : dict
        Of `Problem`.
    solve : dict
        The options of its `[solve]` table.
    """

    source: str
    arguments: dict[str, Any]
    solve: dict[str, Any]

    def build(self, make: Callable[..., T]) -> T:
        """Return `make(**arguments)`; `ParameterError` names the source and the field at fault."""
        return _located(self.source, "[problem]", lambda: make(**self.arguments))


def read_document(path: str | Path) -> ProblemDocument:
    """Read a problem file; `ParameterError` names the file, the table and the key at fault."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors put a byte-order mark first
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ParameterError("problem file", str(path), f"cannot be read: {reason}") from None
    return parse_document(text, source=str(path))


def parse_document(text: str, *, source: str = "<string>") -> ProblemDocument:
    """Parse TOML text; `source` is how messages call it."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ParameterError("problem file", source, f"is not valid TOML: {error}") from None
    _known(source, "top level", document, ("problem", "solve"))
    table = _table(source, document, "problem", required=True)
    _known(source, "[problem]", table, ("learning_rate", *_SCALARS, *_QUANTIZERS, *_SUBTABLES))
    if "learning_rate" not in table:
        allowed = "is missing; set it to a number > 0 or give a table [problem.learning_rate]"
        raise ParameterError(f"{source} [problem] learning_rate", None, allowed)
    arguments = {name: table[name] for name in _SCALARS if name in table}
    for name in _QUANTIZERS:
        arguments[name] = _build(source, f"problem.{name}", table, name, _quantizer)
    for name, make in _SUBTABLES.items():
        if name in table:
            arguments[name] = _build(source, f"problem.{name}", table, name, make)
    arguments["learning_rate"] = table["learning_rate"]
    for name in _SCHEDULED:
        if isinstance(table.get(name), dict):
            arguments[name] = _build(source, f"problem.{name}", table, name, schedule_of)
    solve = _table(source, document, "solve")
    _known(source, "[solve]", solve, _SOLVE)
    return ProblemDocument(source, arguments, dict(solve))


def document_text(problem: Any) -> str:
    """Return the `[problem]` table of `problem`; every number survives the round trip exactly."""
    table: dict[str, Any] = {}
    scheduled: dict[str, Any] = {}
    # Rules that are left out stay out of the file, as None has no spelling in TOML.
    always = ("learning_rate", *_SCALARS[:4])
    for name in ("learning_rate", *_SCALARS):
        value = getattr(problem, name)
        if isinstance(value, Schedule):
            scheduled[name] = schedule_table(value)
        elif name in always or value:
            table[name] = value
    # Tables come after plain keys.
    table |= scheduled
    for name in _QUANTIZERS:
        quantizer = getattr(problem, name)
        if quantizer is not None:
            table[name] = _quantizer_table(quantizer)
    if problem.surrogate is not None:
        table["surrogate"] = _surrogate_table(problem.surrogate)
    teacher = problem.teacher
    table["teacher"] = {
        "values": teacher.values.tolist(),
        "probabilities": teacher.probabilities.tolist(),
    }
    if (teacher.input_scale != 1).any():
        table["teacher"]["input_scale"] = teacher.input_scale.tolist()
    table["initial"] = {name: getattr(problem.initial, name) for name in _INITIAL}
    return tomli_w.dumps({"problem": table})


def _quantizer_table(quantizer: StepQuantizer) -> dict[str, Any]:
    if isinstance(quantizer, UniformQuantizer):
        shape: dict[str, Any] = {"bit_width": quantizer.bit_width, "omega": quantizer.omega}
        if quantizer.rounding != "nearest":
            shape["rounding"] = quantizer.rounding
    else:
        shape = {"levels": quantizer.levels.tolist(), "thresholds": quantizer.thresholds.tolist()}
    return {**shape, "temperature": quantizer.temperature}


def _quantizer(table: Mapping[str, Any]) -> StepQuantizer:
    if "levels" in table:
        _only(table, ("levels", "thresholds", "temperature"))
        return StepQuantizer(**table)
    _only(table, ("bit_width", "omega", "temperature", "rounding"))
    for key in ("bit_width", "omega"):
        if key not in table:
            raise ParameterError(key, None, "is missing; give bit_width and omega, or levels")
    return UniformQuantizer(**table)


def _surrogate_table(surrogate: Surrogate) -> dict[str, Any]:
    if surrogate.is_triangular:
        return {"kind": "triangular", "width": surrogate.bound}
    bound = {} if surrogate.bound is None else {"bound": surrogate.bound}
    return {"kind": "clipped", **bound, "slope": surrogate.slope}


def _surrogate(table: Mapping[str, Any]) -> Surrogate:
    makers: dict[str, tuple[Callable[..., Surrogate], tuple[str, ...], tuple[str, ...]]] = {
        "clipped": (Surrogate, (), ("bound", "slope")),
        "triangular": (Surrogate.triangular, ("width",), ()),
    }
    return _of_kind("surrogate", table, makers, default="clipped")


def schedule_table(schedule: Schedule) -> dict[str, Any]:
    """Return the table of a problem file that makes `schedule`."""
    table = {"kind": schedule.kind, **schedule.arguments}
    if schedule.kind == "join":
        table["schedules"] = [schedule_table(part) for part in schedule.arguments["schedules"]]
    return table


def schedule_of(table: Mapping[str, Any]) -> Schedule:
    """Return the schedule that a table of a problem file says."""
    makers: dict[str, tuple[Callable[..., Schedule], tuple[str, ...], tuple[str, ...]]] = {
        "constant": (Schedule.constant, ("value",), ()),
        "steps": (Schedule.steps, ("values", "times"), ()),
        "linear": (Schedule.linear, ("initial", "final", "duration"), ()),
        "cosine": (Schedule.cosine, ("initial", "final", "duration"), ()),
        "exponential": (Schedule.exponential, ("initial", "rate"), ()),
        "join": (_joined, ("schedules", "times"), ()),
    }
    return _of_kind("schedule", table, makers, default=None)


def _joined(schedules: Any, times: Any) -> Schedule:
    if not isinstance(schedules, list) or not all(isinstance(part, dict) for part in schedules):
        raise ParameterError("schedules", schedules, "must be a list of tables, each with a kind")
    return Schedule.join([schedule_of(part) for part in schedules], times=times)


def _teacher(table: Mapping[str, Any]) -> Teacher:
    makers: dict[str, tuple[Callable[..., Teacher], tuple[str, ...], tuple[str, ...]]] = {
        "atoms": (Teacher, ("values", "probabilities"), ("input_scale",)),
        "constant": (Teacher.constant, ("value",), ()),
        "rademacher": (Teacher.rademacher, (), ()),
        "gaussian": (Teacher.gaussian, ("variance", "nodes"), ()),
        "power_law": (Teacher.power_law, ("beta", "gamma", "classes"), ()),
    }
    return _of_kind("teacher", table, makers, default="atoms")


def _of_kind(
    what: str,
    table: Mapping[str, Any],
    makers: Mapping[str, tuple[Callable[..., T], tuple[str, ...], tuple[str, ...]]],
    *,
    default: str | None,
) -> T:
    """Make what `table["kind"]` says: of each kind its maker, the keys it needs and may have."""
    kind = table.get("kind", default)
    if kind not in makers:
        raise ParameterError("kind", kind, f"must be one of {', '.join(makers)}")
    make, needed, optional = makers[kind]
    _only(table, ("kind", *needed, *optional))
    for key in needed:
        if key not in table:
            raise ParameterError(key, None, f"is missing; a {what} of kind {kind!r} needs it")
    return make(**{key: value for key, value in table.items() if key != "kind"})


def _initial(table: Mapping[str, Any]) -> GaussianInitial:
    _only(table, _INITIAL)
    return GaussianInitial(**table)


_SUBTABLES: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "teacher": _teacher,
    "initial": _initial,
    "surrogate": _surrogate,
}


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
