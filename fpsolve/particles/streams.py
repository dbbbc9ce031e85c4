"""Independent random streams: one seed, and for every run its own keys.

Run r of seed e draws from `SeedSequence(e, spawn_key=(r,))`, so it is the same run whether 1 or
100 runs are asked for, on any number of threads and in any chunks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fpsolve.particles import kernels
from fpsolve.problem.checks import integer

__all__ = ["LAWS", "RunStreams", "draw", "entropy_from", "run_streams", "stream_key"]

LAWS = {"gaussian": kernels.GAUSSIAN, "uniform": kernels.UNIFORM, "laplace": kernels.LAPLACE}


@dataclass(frozen=True)
class RunStreams:
    """Where one run takes its randomness from.

    Attributes
    ----------
    teacher, initial : numpy.random.SeedSequence
        Seeds of the teacher weights and of the initial weights.
    inputs, labels, rounding : ndarray of uint64, shape (2,)
        Keys of the counter-based streams of inputs (or Brownian increments), of label noise and of
        random rounding (or of what absorbing walls catch).
    """

    teacher: np.random.SeedSequence
    initial: np.random.SeedSequence
    inputs: NDArray[np.uint64]
    labels: NDArray[np.uint64]
    rounding: NDArray[np.uint64]


def entropy_from(seed: int | None) -> int:
    """Return `seed` if it is a non-negative integer, fresh entropy if it is None.

    Raises
    ------
    ParameterError
        If `seed` is anything else.
    """
    if seed is not None:
        return integer("seed", seed, least=0)
    # SeedSequence draws 128 bits from the operating system.
    return int(np.random.SeedSequence().entropy)  # type: ignore[arg-type]


def stream_key(sequence: np.random.SeedSequence) -> NDArray[np.uint64]:
    """Return the 128-bit key of a counter-based stream, shape (2,)."""
    return sequence.generate_state(2, np.uint64).astype(np.uint64, copy=False)


def run_streams(entropy: int, run: int) -> RunStreams:
    """Return the streams of run number `run` under the seed `entropy`."""
    teacher, initial, *keyed = np.random.SeedSequence(entropy, spawn_key=(run,)).spawn(5)
    return RunStreams(teacher, initial, *(stream_key(sequence) for sequence in keyed))


def draw(
    key: NDArray[np.uint64], first: int, count: int, law: str = "gaussian"
) -> NDArray[np.float64]:
    """Return pairs `first` … `first + count − 1` of a stream.

    Parameters
    ----------
    key : ndarray of uint64, shape (2,)
        The stream (`stream_key`).
    first, count : int
        Number of the first pair, and how many pairs.
    law : str, default "gaussian"
        "gaussian", "uniform" or "laplace"; mean 0, variance 1 (dimensionless).

    Returns
    -------
    ndarray, shape (2, count)
        Independent draws: row 0 the even, row 1 the odd members of the pairs.
    """
    pairs = np.empty((2, count))
    kernels.draw_pairs(key, first, LAWS[law], pairs[0], pairs[1])
    return pairs
