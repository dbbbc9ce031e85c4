"""Teacher weights and initial weights of one run."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fpsolve.errors import ParameterError
from fpsolve.particles.streams import RunStreams
from fpsolve.problem.problem import Problem
from fpsolve.problem.teacher import Teacher

__all__ = ["TEACHER_ASSIGNMENTS", "draw_population", "exact_counts", "teacher_assignment_name"]

Array = NDArray[np.float64]

TEACHER_ASSIGNMENTS = ("exact", "random")


def teacher_assignment_name(name: object) -> str:
    """Return `name` if it is "exact" or "random", or raise `ParameterError`."""
    if name not in TEACHER_ASSIGNMENTS:
        raise ParameterError("teacher_assignment", name, "must be 'exact' or 'random'")
    return str(name)


def exact_counts(teacher: Teacher, dimension: int) -> NDArray[np.int64]:
    """Return how many of `dimension` coordinates get each teacher value, shape (K,).

    Proportions as near to the probabilities as whole numbers allow (largest remainders), so a
    value whose expected count is far below 1 may be missing.
    """
    ideal = teacher.probabilities * dimension
    counts = np.floor(ideal + 1e-9).astype(np.int64)
    short = dimension - int(counts.sum())
    # Stable sort: of equal remainders the first value wins, on every machine.
    counts[np.argsort(-(ideal - counts), kind="stable")[:short]] += 1
    return counts


def draw_population(
    problem: Problem, dimension: int, assignment: str, streams: RunStreams
) -> tuple[Array, Array]:
    """Return teacher weights and initial weights, each of shape (d,) (dimensionless).

    Coordinates are exchangeable, so the exact assignment lists the teacher values in order.
    """
    teacher, law = problem.teacher, problem.initial
    if assignment == "exact":
        w_star = np.repeat(teacher.values, exact_counts(teacher, dimension))
    else:
        uniform = np.random.Generator(np.random.PCG64(streams.teacher)).random(dimension)
        inner = np.cumsum(teacher.probabilities)[:-1]
        w_star = teacher.values[np.searchsorted(inner, uniform, side="right")]
    w = np.random.Generator(np.random.PCG64(streams.initial)).standard_normal(dimension)
    w *= math.sqrt(law.variance)
    w += law.mean + law.overlap * w_star
    return w_star, w
