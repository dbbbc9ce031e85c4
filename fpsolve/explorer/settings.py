"""What the page's controls say, as plain values, and the problem they make."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

import numpy as np

from fpsolve.errors import ParameterError
from fpsolve.problem.initial import GaussianInitial
from fpsolve.problem.inputs import INPUT_DISTRIBUTIONS
from fpsolve.problem.problem import Problem
from fpsolve.problem.quantizer import StepQuantizer, UniformQuantizer
from fpsolve.problem.schedule import Schedule
from fpsolve.problem.surrogate import Surrogate
from fpsolve.problem.tables import schedule_of, schedule_table
from fpsolve.problem.teacher import Teacher

__all__ = ["CONTROLS", "GROUPS", "Control", "Settings", "hidden", "problem_of", "query_of"]
__all__ += ["settings_of", "settings_of_query"]

# Control name -> number, integer or text.
Settings = dict[str, Any]


@dataclass(frozen=True)
class Control:
    """One control of the page.

    Attributes
    ----------
    group, label : str
        Where it stands, and the paper's symbol with a word.
    default : float, int or str
        What a page without a link shows.
    low, high, step : float
        Range of a slider; on a logarithmic one `step` is in decades.
    log : bool
        Whether the slider is logarithmic.
    choices : tuple of str
        What may be chosen; for a list.
    field : str
        Field of `Problem` (or argument) that an error message about this control names.
    """

    group: str
    label: str
    default: Any
    low: float = 0.0
    high: float = 1.0
    step: float = 0.01
    log: bool = False
    choices: tuple[str, ...] = ()
    field: str = ""


GROUPS = ("weights", "inputs", "training", "teacher", "start", "rules", "time")
FULL, UNIFORM, LEVELS = "full precision", "uniform", "levels"
CONSTANT, SIGNS, GAUSSIAN, VALUES = "constant", "±1", "gaussian", "values"
TABLE = "as in a file"
_RATES = ("constant", "linear", "cosine", "exponential", TABLE)
_EXAMPLE = 'kind = "steps", values = [0.1, 0.02], times = [20.0]'

CONTROLS = {
    "weights": Control("weights", "weights ψ", UNIFORM, choices=(UNIFORM, LEVELS, FULL)),
    "bits": Control("weights", "b, bits", 2, 2, 8, 1, field="bit_width"),
    "omega": Control("weights", "ω, range", 2.0, 0.05, 5.0, 0.01, field="omega"),
    "levels": Control("weights", "levels", "-1, 0, 1", field="levels"),
    "thresholds": Control("weights", "thresholds (empty: midway)", "", field="thresholds"),
    "temperature": Control("weights", "T, smoothing", 0.0, 0.0, 1.0, 0.01, field="temperature"),
    "rounding": Control(
        "weights", "rounding", "nearest", choices=("nearest", "stochastic"), field="rounding"
    ),
    "inputs": Control("inputs", "inputs ψₓ", UNIFORM, choices=(UNIFORM, LEVELS, FULL)),
    "bits_x": Control("inputs", "bₓ, bits", 2, 2, 8, 1, field="bit_width"),
    "omega_x": Control("inputs", "ωₓ, range", 2.0, 0.05, 5.0, 0.01, field="omega"),
    "levels_x": Control("inputs", "levels", "-1, 0, 1", field="levels"),
    "thresholds_x": Control("inputs", "thresholds (empty: midway)", "", field="thresholds"),
    "temperature_x": Control("inputs", "Tₓ, smoothing", 0.0, 0.0, 1.0, 0.01, field="temperature"),
    "law": Control(
        "inputs",
        "law of x",
        "gaussian",
        choices=tuple(INPUT_DISTRIBUTIONS),
        field="input_distribution",
    ),
    "rate": Control("training", "schedule of η", "constant", choices=_RATES),
    "eta": Control(
        "training", "η, learning rate", 0.04, 1e-4, 5.0, 0.01, log=True, field="learning_rate"
    ),
    "eta_end": Control(
        "training", "final η", 0.004, 1e-4, 5.0, 0.01, log=True, field="learning_rate"
    ),
    "duration": Control(
        "training", "duration in τ", 50.0, 0.1, 1e5, 0.02, log=True, field="duration"
    ),
    "rate_table": Control("training", "schedule of η as TOML", _EXAMPLE, field="learning_rate"),
    "ridge": Control("training", "λ, ridge", 0.0, 0.0, 3.0, 0.01, field="ridge"),
    "noise": Control("training", "σ², label noise", 0.0, 0.0, 3.0, 0.01, field="noise_variance"),
    "ridge_table": Control("training", "schedule of λ as TOML (empty: none)", "", field="ridge"),
    "noise_table": Control(
        "training", "schedule of σ² as TOML (empty: none)", "", field="noise_variance"
    ),
    "batch": Control("training", "B, batch", 1, 1, 64, 1, field="batch_size"),
    "teacher": Control(
        "teacher", "teacher w*", CONSTANT, choices=(CONSTANT, SIGNS, GAUSSIAN, VALUES)
    ),
    "value": Control("teacher", "w*", 1.0, -3.0, 3.0, 0.01, field="values"),
    "variance": Control("teacher", "variance", 1.0, 0.01, 4.0, 0.01, field="variance"),
    "nodes": Control("teacher", "nodes", 8, 2, 32, 1, field="nodes"),
    "values": Control("teacher", "values", "-1, 0.5", field="values"),
    "shares": Control("teacher", "probabilities", "0.5, 0.5", field="probabilities"),
    "scale": Control("teacher", "input scale s", "1", field="input_scale"),
    "mean": Control("start", "mean of w₀", 0.0, -3.0, 3.0, 0.01, field="mean"),
    "spread": Control("start", "variance of w₀", 1.0, 0.0, 4.0, 0.01, field="initial"),
    "overlap": Control("start", "overlap with w*", 0.0, -2.0, 2.0, 0.01, field="overlap"),
    "surrogate": Control(
        "rules", "surrogate h", "identity", choices=("identity", "clipped", "leaky", "triangular")
    ),
    "bound": Control("rules", "bound of h", 2.0, 0.05, 5.0, 0.01, field="surrogate"),
    "slope": Control("rules", "slope beyond", 0.1, 0.01, 0.99, 0.01, field="surrogate"),
    "decay": Control("rules", "γ, weight decay", 0.0, 0.0, 2.0, 0.01, field="weight_decay"),
    "clip": Control("rules", "c, clip (0: free)", 0.0, 0.0, 5.0, 0.01, field="weight_clip"),
    "dampening": Control("rules", "ζ, dampening", 0.0, 0.0, 2.0, 0.01, field="dampening"),
    "momentum": Control("rules", "β, momentum", 0.0, 0.0, 0.99, 0.01, field="momentum"),
    "horizon": Control("time", "τ, horizon", 100.0, 0.1, 1e5, 0.02, log=True, field="times"),
}


def hidden(settings: Mapping[str, Any]) -> set[str]:
    """Return the controls that mean nothing beside the others."""
    out: set[str] = set()
    for kind, suffix in (("weights", ""), ("inputs", "_x")):
        if settings[kind] != UNIFORM:
            out |= {f"bits{suffix}", f"omega{suffix}"}
        if settings[kind] != LEVELS:
            out |= {f"levels{suffix}", f"thresholds{suffix}"}
        if settings[kind] == FULL:
            out.add(f"temperature{suffix}")
    if settings["weights"] != UNIFORM:
        out |= {"rounding", "dampening"}
    if settings["rate"] == "constant":
        out |= {"eta_end", "duration"}
    elif settings["rate"] == "exponential":
        out.add("eta_end")
    if settings["rate"] == TABLE:
        out |= {"eta", "eta_end", "duration"}
    else:
        out.add("rate_table")
    out |= {name for name in ("ridge", "noise") if settings[f"{name}_table"].strip()}
    of_kind = {CONSTANT: {"value"}, SIGNS: set(), GAUSSIAN: {"variance", "nodes"}}
    of_kind[VALUES] = {"values", "shares", "scale"}
    out |= set().union(*of_kind.values()) - of_kind[settings["teacher"]]
    if settings["surrogate"] == "identity":
        out |= {"bound", "slope"}
    elif settings["surrogate"] != "leaky":
        out.add("slope")
    return out


def problem_of(settings: Mapping[str, Any]) -> Problem:
    """Return the problem of these settings.

    Raises
    ------
    ParameterError
        If a value is one that the library refuses.
    """
    s = settings
    return Problem(
        weight_quantizer=_quantizer(s, "weights", ""),
        input_quantizer=_quantizer(s, "inputs", "_x"),
        learning_rate=_rate(s),
        ridge=_number_or_schedule(s, "ridge"),
        noise_variance=_number_or_schedule(s, "noise"),
        teacher=_teacher(s),
        initial=GaussianInitial(s["mean"], s["spread"], s["overlap"]),
        batch_size=int(s["batch"]),
        input_distribution=s["law"],
        surrogate=_surrogate(s),
        weight_decay=s["decay"],
        weight_clip=s["clip"] or None,
        dampening=0.0 if "dampening" in hidden(s) else s["dampening"],
        momentum=s["momentum"],
    )


def _quantizer(s: Mapping[str, Any], kind: str, suffix: str) -> StepQuantizer | None:
    if s[kind] == FULL:
        return None
    temperature = s[f"temperature{suffix}"]
    if s[kind] == LEVELS:
        name, between = f"levels{suffix}", f"thresholds{suffix}"
        given = _numbers(between, s[between]) if s[between].strip() else None
        return StepQuantizer(_numbers(name, s[name]), given, temperature=temperature)
    options = {} if suffix or s["rounding"] == "nearest" else {"rounding": s["rounding"]}
    return UniformQuantizer(
        int(s[f"bits{suffix}"]), s[f"omega{suffix}"], temperature=temperature, **options
    )


def _rate(s: Mapping[str, Any]) -> float | Schedule:
    first, last, duration = s["eta"], s["eta_end"], s["duration"]
    if s["rate"] == "linear":
        return Schedule.linear(first, last, duration=duration)
    if s["rate"] == "cosine":
        return Schedule.cosine(first, last, duration=duration)
    if s["rate"] == "exponential":
        return Schedule.exponential(first, rate=1.0 / duration)
    if s["rate"] == TABLE:
        return _schedule("learning_rate", s["rate_table"])
    return float(first)


def _number_or_schedule(s: Mapping[str, Any], name: str) -> float | Schedule:
    text = s[f"{name}_table"]
    return _schedule(CONTROLS[name].field, text) if text.strip() else s[name]


def _schedule(field: str, text: str) -> Schedule:
    """Read a schedule as problem files write it, as an inline table with or without its braces."""
    inner = text.strip()
    if not inner.startswith("{"):
        inner = "{" + inner + "}"
    try:
        table = tomllib.loads(f"schedule = {inner}")["schedule"]
    except tomllib.TOMLDecodeError as error:
        allowed = f"must be such as {_EXAMPLE}, with the keys of a problem file: {error}"
        raise ParameterError(field, text, allowed) from None
    try:
        return schedule_of(table)
    except ParameterError as error:
        raise ParameterError(field, text, f"must say a schedule; {error}") from None


def _surrogate(s: Mapping[str, Any]) -> Surrogate | None:
    if s["surrogate"] == "identity":
        return None
    if s["surrogate"] == "triangular":
        return Surrogate.triangular(s["bound"])
    return Surrogate(s["bound"], s["slope"] if s["surrogate"] == "leaky" else 0.0)


def _teacher(s: Mapping[str, Any]) -> Teacher:
    if s["teacher"] == CONSTANT:
        return Teacher.constant(s["value"])
    if s["teacher"] == SIGNS:
        return Teacher.rademacher()
    if s["teacher"] == GAUSSIAN:
        return Teacher.gaussian(s["variance"], int(s["nodes"]))
    values, shares = _numbers("values", s["values"]), _numbers("probabilities", s["shares"])
    scale = _numbers("input_scale", s["scale"])
    if scale == [1.0]:
        return Teacher(values, shares)
    return Teacher(values, shares, input_scale=scale[0] if len(scale) == 1 else scale)


def _numbers(field: str, text: str) -> list[float]:
    try:
        return [float(part) for part in str(text).replace(";", ",").split(",")]
    except ValueError:
        raise ParameterError(field, text, "must be numbers with commas between them") from None


# --- from a problem -------------------------------------------------------------------------------


def settings_of(problem: Problem, horizon: float = 100.0) -> Settings:
    """Return the settings that make `problem`.

    Raises
    ------
    ParameterError
        If no control of the page can say what the problem says.
    """
    s = {name: control.default for name, control in CONTROLS.items()}
    _set_quantizer(s, problem.weight_quantizer, "weights", "")
    _set_quantizer(s, problem.input_quantizer, "inputs", "_x")
    teacher, start = problem.teacher, problem.initial
    _set_rates(s, problem)
    s |= {"batch": problem.batch_size, "law": problem.input_distribution}
    s |= {"mean": start.mean, "spread": start.variance, "overlap": start.overlap}
    s |= {"decay": problem.weight_decay, "clip": problem.weight_clip or 0.0}
    s |= {"dampening": problem.dampening, "momentum": problem.momentum, "horizon": horizon}
    if teacher == Teacher.rademacher():
        s["teacher"] = SIGNS
    elif teacher == Teacher.constant(float(teacher.values[0])):
        s |= {"teacher": CONSTANT, "value": float(teacher.values[0])}
    else:
        s |= {"teacher": VALUES, "values": _text(teacher.values)}
        s |= {"shares": _text(teacher.probabilities), "scale": _text(teacher.input_scale)}
    if problem.surrogate is not None:
        surrogate = problem.surrogate
        s["surrogate"] = "leaky" if surrogate.slope else "clipped"
        if surrogate.is_triangular:
            s["surrogate"] = "triangular"
        s["slope"] = surrogate.slope or s["slope"]
        s["bound"] = s["omega"] if surrogate.bound is None else surrogate.bound
    return s


def _set_quantizer(s: Settings, quantizer: StepQuantizer | None, kind: str, suffix: str) -> None:
    if quantizer is None:
        s[kind] = FULL
        return
    s[f"temperature{suffix}"] = quantizer.temperature
    if isinstance(quantizer, UniformQuantizer):
        s[kind] = UNIFORM
        s[f"bits{suffix}"], s[f"omega{suffix}"] = quantizer.bit_width, quantizer.omega
        if not suffix:
            s["rounding"] = quantizer.rounding
        return
    s |= {kind: LEVELS, f"levels{suffix}": _text(quantizer.levels)}
    usual = 0.5 * (quantizer.levels[1:] + quantizer.levels[:-1])
    if not np.array_equal(usual, quantizer.thresholds):
        s[f"thresholds{suffix}"] = _text(quantizer.thresholds)


def _set_rates(s: Settings, problem: Problem) -> None:
    fields = {"ridge": problem.ridge, "noise": problem.noise_variance}
    for name, value in fields.items():
        told = isinstance(value, Schedule)
        s[f"{name}_table" if told else name] = _inline(value)
    rate = problem.learning_rate
    if not isinstance(rate, Schedule):
        s["eta"] = rate
        return
    given = rate.arguments
    if rate.kind in ("linear", "cosine") and given["initial"] > 0 and given["final"] > 0:
        s |= {"rate": rate.kind, "eta": given["initial"], "eta_end": given["final"]}
        s["duration"] = given["duration"]
    else:
        s |= {"rate": TABLE, "rate_table": _inline(rate)}


def _inline(value: Any) -> Any:
    """A number as it is; a schedule as an inline table of TOML, the outer braces left out.

    Panel takes what begins with a brace in a link for JSON.
    """
    return _toml(schedule_table(value))[1:-1] if isinstance(value, Schedule) else value


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else repr(float(value))


def _text(values: Any) -> str:
    return ", ".join(repr(float(v)) for v in np.atleast_1d(values))


# --- links ----------------------------------------------------------------------------------------


def query_of(settings: Mapping[str, Any]) -> str:
    """Return the settings that are not usual as the query of a link."""
    out = hidden(settings)
    told = {
        name: settings[name]
        for name, control in CONTROLS.items()
        if settings[name] != control.default and name not in out
    }
    return urlencode(told)


def settings_of_query(query: str) -> Settings:
    """Return the settings of a link; unknown names are left out.

    Raises
    ------
    ParameterError
        If a value is no number, or is not among the choices.
    """
    s = {name: control.default for name, control in CONTROLS.items()}
    for name, text in parse_qsl(query.lstrip("?"), keep_blank_values=True):
        control = CONTROLS.get(name)
        if control is None:
            continue
        if control.choices and text not in control.choices:
            raise ParameterError(name, text, f"must be one of {', '.join(control.choices)}")
        if isinstance(control.default, str):
            s[name] = text
            continue
        try:
            number = float(text)
        except ValueError:
            raise ParameterError(name, text, "must be a number") from None
        if not np.isfinite(number):
            raise ParameterError(name, text, "must be a finite number")
        s[name] = int(number) if isinstance(control.default, int) else number
    return s
