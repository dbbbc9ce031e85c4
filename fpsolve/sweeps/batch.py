"""A batch of points: solved one by one, wherever it is, and packed into a few arrays."""

from __future__ import annotations

import functools
import inspect
import json
import math
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpsolve.errors import FpsolveError
from fpsolve.problem.problem import Problem
from fpsolve.sweeps.answer import Answer, answer_of
from fpsolve.sweeps.axes import problem_at
from fpsolve.sweeps.keys import point_key, point_seed, refused_key
from fpsolve.sweeps.warm import one_compiles

__all__ = [
    "Outcome",
    "Packed",
    "Question",
    "checked_call",
    "pack",
    "solve_batch",
    "solve_point",
    "unpack",
]

Packed = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Question:
    """What is asked of every point.

    Attributes
    ----------
    solve : callable
        Called as `solve(problem, **options)`.
    options : dict
        Of `solve`; "seed" becomes one seed a point.
    base : Problem
        Whose fields are varied.
    names : tuple of str
        Of the axes.
    token : str
        Names the question where answers are to be kept; empty where they are not.
    """

    solve: Callable[..., Any]
    options: Mapping[str, Any]
    base: Problem
    names: tuple[str, ...]
    token: str = ""

    @property
    def name(self) -> str:
        """What the solver is called."""
        return getattr(self.solve, "__name__", repr(self.solve))


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of a point.

    Attributes
    ----------
    answer : Answer or None
        None where it failed.
    error : str
        Why it failed.
    final : bool
        Whether it would fail again: the solver itself refused, not the machine.
    seconds : float
        What it cost.
    key : str
        Names the point in a store; empty where there is none.
    """

    answer: Answer | None
    error: str = ""
    final: bool = True
    seconds: float = math.nan
    key: str = ""


def solve_point(question: Question, values: Sequence[Any]) -> Outcome:
    """Solve the point whose axes have `values`; only Ctrl-C is raised."""
    start = time.perf_counter()
    answer, error, final, key = None, "", True, ""
    try:
        problem = problem_at(question.base, question.names, values)
        key = question.token and point_key(question.token, problem)
        options = dict(question.options)
        if options.get("seed") is not None:
            options["seed"] = point_seed(options["seed"], problem)
        found = question.solve(problem, **options)
        if getattr(found, "stats", None) and found.stats.get("interrupted"):
            raise KeyboardInterrupt  # a simulation that ended early
        answer = answer_of(found)
    except FpsolveError as failure:
        error = str(failure)
        key = key or (question.token and refused_key(question.token, question.base, error))
    except Exception as failure:
        error, final = f"{type(failure).__name__}: {failure}", False
    return Outcome(answer, error, final, time.perf_counter() - start, key)


def solve_batch(question: bytes, points: Sequence[Sequence[Any]]) -> Packed:
    """Solve several points in this process; what a worker of any engine runs."""
    asked = _opened(question)
    with one_compiles(asked.name):
        outcomes = [solve_point(asked, values) for values in points[:1]]
    return pack(outcomes + [solve_point(asked, values) for values in points[1:]])


@functools.lru_cache(maxsize=4)
def _opened(question: bytes) -> Question:
    return pickle.loads(question)  # type: ignore[no-any-return]


def pack(outcomes: Sequence[Outcome]) -> Packed:
    """Return outcomes as a few arrays: answers of one layout end to end, shapes beside them."""
    groups: dict[str, list[int]] = {}
    for position, outcome in enumerate(outcomes):
        if outcome.answer is not None:
            groups.setdefault(_layout(outcome.answer), []).append(position)
    packed: Packed = {
        "seconds": np.array([o.seconds for o in outcomes]),
        "final": np.array([o.final for o in outcomes]),
        "key": np.array([o.key for o in outcomes]),
        "error": np.array(json.dumps([o.error for o in outcomes])),
        "layouts": np.array(json.dumps(list(groups))),
    }
    for number, positions in enumerate(groups.values()):
        packed[f"{number}.position"] = np.array(positions)
        answers = [outcomes[p].answer for p in positions]
        for kind in ("arrays", "coordinates"):
            for name in getattr(answers[0], kind):
                parts = [np.asarray(getattr(a, kind)[name]) for a in answers]
                packed[f"{number}.{kind}.{name}"] = np.concatenate([p.ravel() for p in parts])
                packed[f"{number}.{kind}_shape.{name}"] = np.array([p.shape for p in parts])
    return packed


def unpack(packed: Mapping[str, NDArray[Any]]) -> list[Outcome]:
    """Return what `pack` was given."""
    answers: dict[int, Answer] = {}
    for number, layout in enumerate(json.loads(str(packed["layouts"]))):
        dimensions = {name: tuple(told) for name, told in json.loads(layout)["arrays"].items()}
        arrays = {name: _split(packed, f"{number}", "arrays", name) for name in dimensions}
        along = json.loads(layout)["coordinates"]
        coordinates = {name: _split(packed, f"{number}", "coordinates", name) for name in along}
        for row, position in enumerate(packed[f"{number}.position"].tolist()):
            answers[position] = Answer(
                {name: parts[row] for name, parts in arrays.items()},
                dimensions,
                {name: parts[row] for name, parts in coordinates.items()},
            )
    errors = json.loads(str(packed["error"]))
    columns = [packed[name].tolist() for name in ("final", "seconds", "key")]
    told = zip(errors, *columns, strict=True)
    return [Outcome(answers.get(i), *rest) for i, rest in enumerate(told)]


def _layout(answer: Answer) -> str:
    kinds = {name: array.dtype.str for name, array in answer.arrays.items()}
    return json.dumps(
        {"arrays": answer.dimensions, "kinds": kinds, "coordinates": list(answer.coordinates)}
    )


def _split(
    packed: Mapping[str, NDArray[Any]], number: str, kind: str, name: str
) -> list[NDArray[Any]]:
    flat = packed[f"{number}.{kind}.{name}"]
    shapes = packed[f"{number}.{kind}_shape.{name}"]
    if len(shapes) and (shapes == shapes[0]).all():
        return list(flat.reshape(len(shapes), *shapes[0]))
    ends = np.cumsum(shapes.prod(axis=1))
    parts = np.split(flat, ends[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def checked_call(solve: Callable[..., Any], base: Problem, options: Mapping[str, Any]) -> None:
    """Raise `TypeError` now if `solve` takes no such options."""
    try:
        signature = inspect.signature(solve)
    except ValueError:  # some compiled callables tell nothing
        return
    signature.bind(base, **options)
