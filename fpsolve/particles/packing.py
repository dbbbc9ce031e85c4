"""Quantizers and training rules as compiled loops read them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fpsolve.particles import kernels
from fpsolve.particles.kernels import Quantization, Rules
from fpsolve.problem.problem import Problem
from fpsolve.problem.quantizer import StepQuantizer, UniformQuantizer
from fpsolve.problem.rules import rules_in_use

__all__ = ["pack", "pack_rules"]

Array = NDArray[np.float64]

# Rules that change what a step does to a weight; the others change its rate, inputs or rounding.
_MOVING = {"surrogate", "weight_decay", "weight_clip", "dampening", "momentum"}


def pack(quantizer: StepQuantizer | None) -> Quantization:
    """Return (mode, levels, thresholds, temperature) for `kernels.quantize`.

    The fastest way that gives the same number as `quantizer(x)` for every x, thresholds included.
    """
    if quantizer is None:
        return Quantization(kernels.IDENTITY, np.zeros(1), np.zeros(1), 0.0)
    levels, thresholds = quantizer.levels, quantizer.thresholds
    if quantizer.rounding == "stochastic":
        return Quantization(kernels.STOCHASTIC, levels.copy(), thresholds.copy(), 0.0)
    if quantizer.temperature > 0:
        return Quantization(
            kernels.RELAXED, levels.copy(), thresholds.copy(), quantizer.temperature
        )
    for width in (2, 6):
        if thresholds.size <= width:
            missing = width - thresholds.size
            theta = np.pad(thresholds, (0, missing), constant_values=math.inf)
            padded = np.pad(levels, (0, missing), mode="edge")
            return Quantization(kernels.SELECT, padded, theta, 0.0)
    if isinstance(quantizer, UniformQuantizer):
        ends = np.array([-math.inf]), np.array([math.inf])
        theta = np.concatenate([ends[0], thresholds, ends[1]])
        return Quantization(kernels.GRID, levels.copy(), theta, 0.0)
    return Quantization(kernels.SEARCH, levels.copy(), thresholds.copy(), 0.0)


def pack_rules(problem: Problem, *, always: bool = False, ridge: float = 0.0) -> Rules:
    """Return what a step does beyond the paper's.

    Parameters
    ----------
    problem : Problem
        Whose rules are packed.
    always : bool, default False
        Whether the step is to go by the rules even where none moves weights in a new way.
    ridge : float, default 0
        λ of an Euler step; steps of the machine have theirs among their rates.
    """
    surrogate, quantizer = problem.surrogate, problem.weight_quantizer
    low, high = (-math.inf, math.inf) if quantizer is None else quantizer.levels[[0, -1]].tolist()
    bound, tilt, slope = math.inf, 0.0, 1.0
    if surrogate is not None:
        bound, slope = _bound(problem), surrogate.slope
        tilt = 1 / bound if surrogate.is_triangular else 0.0
    walls = problem.dynamics.walls
    return Rules(
        plain=not always and not _MOVING.intersection(rules_in_use(problem)),
        bound=bound,
        tilt=tilt,
        slope=slope,
        ridge=ridge,
        decay=problem.weight_decay,
        dampening=2 * problem.dampening,
        low=low,
        high=high,
        clip=math.inf if problem.weight_clip is None else problem.weight_clip,
        momentum=problem.momentum,
        absorbing=walls is not None and walls.kind == "absorb",
    )


def _bound(problem: Problem) -> float:
    surrogate, quantizer = problem.surrogate, problem.weight_quantizer
    if surrogate is not None and surrogate.bound is not None:
        return surrogate.bound
    # A problem without quantizer and without bound cannot be made.
    return math.inf if quantizer is None else float(np.abs(quantizer.levels).max())
