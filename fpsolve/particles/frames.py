"""A trajectory put together again from what a run handed to its sink."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fpsolve.particles.trajectory import ParticleTrajectory
from fpsolve.problem.problem import Problem
from fpsolve.reduction import ORDER_PARAMETER_NAMES, OrderParameters

__all__ = ["trajectory_from_frames"]


def trajectory_from_frames(
    problem: Problem,
    constants: Mapping[str, Any],
    frames: Sequence[Mapping[str, Any]],
    stats: Mapping[str, Any],
) -> ParticleTrajectory:
    """Return the trajectory of the requested times that a sink has, at least one.

    Parameters
    ----------
    problem : Problem
        What was simulated.
    constants : mapping
        With `teacher_weights`, (runs, d).
    frames : sequence of mapping
        One a requested time: `time`, `weights` (runs, d), the order parameters (runs,), and those
        since the time before, with the prefix `dense_`, over `dense_time`.
    stats : mapping
        What the run said of itself.
    """

    def dense(name: str) -> np.ndarray[Any, Any]:
        return np.concatenate([np.asarray(frame[name]) for frame in frames], axis=-1)

    def here(name: str) -> np.ndarray[Any, Any]:
        return np.stack([np.asarray(frame[name]) for frame in frames], axis=1)

    counted = "flip_counts" in frames[0]
    counts = [np.asarray(frame["flip_counts"]) for frame in frames] if counted else []
    return ParticleTrajectory(
        problem=problem,
        times=np.array([float(frame["time"]) for frame in frames]),
        weights=here("weights"),
        teacher_weights=np.asarray(constants["teacher_weights"]),
        order_parameters=OrderParameters(**{n: here(n) for n in ORDER_PARAMETER_NAMES}),
        dense_times=dense("dense_time"),
        dense_order_parameters=OrderParameters(
            **{n: dense(f"dense_{n}") for n in ORDER_PARAMETER_NAMES}
        ),
        stats=dict(stats),
        flip_counts=np.concatenate(counts, axis=1) if counted else None,
    )
