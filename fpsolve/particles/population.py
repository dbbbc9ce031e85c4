"""Classes, teacher weights and initial weights of the coordinates of a run."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fpsolve.errors import ParameterError
from fpsolve.particles.streams import RunStreams, run_streams
from fpsolve.problem.problem import Problem
from fpsolve.problem.teacher import Teacher

__all__ = [
    "TEACHER_ASSIGNMENTS",
    "Population",
    "class_labels",
    "draw_population",
    "exact_counts",
    "teacher_assignment_name",
]

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


class Population(NamedTuple):
    """The coordinates of one run.

    Attributes
    ----------
    labels : ndarray of int, shape (d,)
        Class of each coordinate, an index into `problem.teacher.values`.
    w_star, w : ndarray, shape (d,)
        Teacher weights and initial weights (dimensionless).
    """

    labels: NDArray[np.int64]
    w_star: Array
    w: Array


def draw_population(
    problem: Problem, dimension: int, assignment: str, streams: RunStreams
) -> Population:
    """Return classes, teacher weights and initial weights of one run.

    Coordinates are exchangeable, so the exact assignment lists the classes in order. Initial
    weights beyond `problem.weight_clip` are put on the walls, as the first step would do.
    """
    teacher, law = problem.teacher, problem.initial
    if assignment == "exact":
        counts = exact_counts(teacher, dimension)
        labels = np.repeat(np.arange(counts.size, dtype=np.int64), counts)
    else:
        uniform = np.random.Generator(np.random.PCG64(streams.teacher)).random(dimension)
        inner = np.cumsum(teacher.probabilities)[:-1]
        labels = np.searchsorted(inner, uniform, side="right").astype(np.int64, copy=False)
    w_star = teacher.values[labels]
    w = np.random.Generator(np.random.PCG64(streams.initial)).standard_normal(dimension)
    w *= math.sqrt(law.variance)
    w += law.mean + law.overlap * w_star
    if problem.weight_clip is not None:
        np.clip(w, -problem.weight_clip, problem.weight_clip, out=w)
    return Population(labels, w_star, w)


def class_labels(
    problem: Problem, teacher_weights: Array, assignment: str, seed: int | None
) -> NDArray[np.int64]:
    """Return the class of every coordinate, shape (runs, d), of given teacher weights.

    Where two classes share a teacher value, an exact assignment tells them apart, or else the
    seed from which they were drawn.

    Raises
    ------
    ParameterError
        If a teacher weight is no value of the teacher, or classes cannot be told apart.
    """
    values = problem.teacher.values
    distinct = np.unique(values)
    if not np.isin(teacher_weights, distinct).all():
        strange = teacher_weights[~np.isin(teacher_weights, distinct)][0]
        allowed = "must all be values of problem.teacher; give the problem they belong to"
        raise ParameterError("teacher_weights", float(strange), allowed)
    if distinct.size == values.size:
        order = np.argsort(values)
        return np.asarray(order[np.searchsorted(distinct, teacher_weights)])
    runs, dimension = teacher_weights.shape
    labels = np.empty((runs, dimension), dtype=np.int64)
    for run in range(runs):
        streams = run_streams(seed or 0, run)
        labels[run] = draw_population(problem, dimension, assignment, streams).labels
    if not np.array_equal(values[labels], teacher_weights):
        allowed = "does not say which class a coordinate is of; assign classes exactly"
        raise ParameterError("teacher_weights", teacher_weights, allowed)
    return labels
