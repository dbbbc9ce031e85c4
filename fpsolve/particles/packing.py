"""A quantizer as compiled loops read it: a way to evaluate it and the numbers this needs."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fpsolve.particles import kernels
from fpsolve.problem.quantizer import StepQuantizer, UniformQuantizer

__all__ = ["PackedQuantizer", "pack"]

Array = NDArray[np.float64]
PackedQuantizer = tuple[int, Array, Array, float]


def pack(quantizer: StepQuantizer | None) -> PackedQuantizer:
    """Return (mode, levels, thresholds, temperature) for `kernels.quantize`.

    The fastest way that gives the same number as `quantizer(x)` for every x, thresholds included.
    """
    if quantizer is None:
        return kernels.IDENTITY, np.zeros(1), np.zeros(1), 0.0
    levels, thresholds = quantizer.levels, quantizer.thresholds
    if quantizer.temperature > 0:
        return kernels.RELAXED, levels.copy(), thresholds.copy(), quantizer.temperature
    for width in (2, 6):
        if thresholds.size <= width:
            missing = width - thresholds.size
            theta = np.pad(thresholds, (0, missing), constant_values=math.inf)
            return kernels.SELECT, np.pad(levels, (0, missing), mode="edge"), theta, 0.0
    if isinstance(quantizer, UniformQuantizer):
        ends = np.array([-math.inf]), np.array([math.inf])
        theta = np.concatenate([ends[0], thresholds, ends[1]])
        return kernels.GRID, levels.copy(), theta, 0.0
    return kernels.SEARCH, levels.copy(), thresholds.copy(), 0.0
