"""Which training rules go together, and which of them a solver takes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from fpsolve.errors import ParameterError
from fpsolve.problem.schedule import Schedule

__all__ = ["check_rules", "rules_in_use", "take_only"]

# Rule -> whether a problem uses it; their names are those of the fields that choose them.
_RULES: dict[str, Callable[[Any], bool]] = {
    "learning_rate": lambda problem: isinstance(problem.learning_rate, Schedule),
    "ridge": lambda problem: isinstance(problem.ridge, Schedule),
    "noise_variance": lambda problem: isinstance(problem.noise_variance, Schedule),
    "surrogate": lambda problem: problem.surrogate is not None,
    "weight_decay": lambda problem: problem.weight_decay > 0,
    "weight_clip": lambda problem: problem.weight_clip is not None,
    "dampening": lambda problem: problem.dampening > 0,
    "momentum": lambda problem: problem.momentum > 0,
    "weight_quantizer.rounding": lambda problem: _is_stochastic(problem.weight_quantizer),
    "teacher.input_scale": lambda problem: bool((problem.teacher.input_scale != 1).any()),
    "dynamics": lambda problem: not problem.dynamics.is_standard,
}


def rules_in_use(problem: Any) -> tuple[str, ...]:
    """Return the names of the rules beyond the paper that `problem` uses.

    "dynamics" stands for coefficients of the user's own, in a subclass.
    """
    return tuple(name for name, is_used in _RULES.items() if is_used(problem))


def take_only(problem: Any, rules: Collection[str], *, solver: str, cure: str) -> None:
    """Raise `ParameterError` if `problem` uses a rule not among `rules`.

    Parameters
    ----------
    problem : Problem
        What `solver` is asked about.
    rules : collection of str
        What it takes, as `rules_in_use` calls it.
    solver, cure : str
        Its name, and why it takes no other, with what to use.
    """
    for name in rules_in_use(problem):
        if name not in rules:
            value = problem
            for part in name.split("."):
                value = getattr(value, part)
            raise ParameterError(name, value, f"is nothing {solver} can take; {cure}")


def check_rules(problem: Any) -> None:
    """Raise `ParameterError` for rules of a `Problem` that do not go together."""
    quantizer, rate = problem.weight_quantizer, problem.learning_rate
    if isinstance(rate, Schedule) and rate.zero_from == 0:
        raise ParameterError("learning_rate", rate, "must not begin at 0 and stay there")
    if problem.momentum >= 1:
        raise ParameterError("momentum", problem.momentum, "must be in [0, 1)")
    if _is_stochastic(problem.input_quantizer):
        allowed = "must round to the nearest level; only weights may be rounded stochastically"
        raise ParameterError("input_quantizer", problem.input_quantizer, allowed)
    if problem.dampening > 0 and (quantizer is None or _is_stochastic(quantizer)):
        allowed = "must be 0 unless weights are rounded to the nearest level: it damps jumps of psi"
        raise ParameterError("dampening", problem.dampening, allowed)
    _check_surrogate(problem)
    outer = quantizer is not None and quantizer.thresholds.size > 0
    if problem.weight_clip is not None and outer and problem.initial.variance == 0:
        # An atom on the walls would count in a bin that the walls cut off.
        reach = float(abs(quantizer.thresholds[[0, -1]]).max())
        if problem.weight_clip <= reach:
            allowed = (
                f"must be > {reach:g}, the outermost threshold, for weights that all start at "
                "one point; raise it or give initial.variance > 0"
            )
            raise ParameterError("weight_clip", problem.weight_clip, allowed)


def _check_surrogate(problem: Any) -> None:
    surrogate, quantizer = problem.surrogate, problem.weight_quantizer
    if surrogate is None:
        return
    if surrogate.bound is None and quantizer is None:
        allowed = "must be given for full-precision weights, which have no outermost level"
        raise ParameterError("surrogate.bound", None, allowed)
    if surrogate.slope > 0:
        return
    for name in ("weight_decay", "dampening"):
        if getattr(problem, name) > 0:
            allowed = "must be 0 where the surrogate has slope 0: it would move frozen weights"
            raise ParameterError(
                name, getattr(problem, name), f"{allowed}; give the surrogate a slope > 0"
            )
    bound = surrogate.bound or float(abs(quantizer.levels).max())
    if problem.weight_clip is not None and problem.weight_clip > bound:
        allowed = (
            f"must be <= {bound:g}, where the surrogate of slope 0 freezes weights before they "
            "reach it; lower it, drop it or give the surrogate a slope > 0"
        )
        raise ParameterError("weight_clip", problem.weight_clip, allowed)
    if problem.weight_clip == bound and surrogate.is_triangular:
        allowed = (
            f"must be < {bound:g}, where the triangular surrogate is 0 and walls would hold what "
            "is put on them; lower it or drop it"
        )
        raise ParameterError("weight_clip", problem.weight_clip, allowed)


def _is_stochastic(quantizer: Any) -> bool:
    return quantizer is not None and quantizer.rounding == "stochastic"
