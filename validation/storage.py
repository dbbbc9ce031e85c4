"""What it costs to keep runs in a file: `python -m validation.storage [overhead | memory KIND]`.

`overhead` compares the CPU time of runs with and without `store=`, 1000 output times each; `memory`
runs KIND (`pde` or `ste`) with more and more output times, each in a process of its own, and tells
the largest resident memory.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import fpsolve

__all__ = ["main"]

_PROBLEM = fpsolve.Problem(
    weight_quantizer=fpsolve.UniformQuantizer(bit_width=2, omega=1.0),
    input_quantizer=None,
    learning_rate=0.3,
    ridge=0.5,
    noise_variance=0.1,
)


def _runs(count: int, horizon: float) -> dict[str, Callable[[Path | None], Any]]:
    times = np.linspace(0.0, horizon, count)
    return {
        "pde": lambda store: fpsolve.solve_pde(_PROBLEM, times, rtol=1e-9, store=store),
        "ste": lambda store: fpsolve.simulate_ste(
            _PROBLEM, times, dimension=1000, seed=1, threads=1, store=store
        ),
    }


def _overhead() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for horizon in (20.0, 1000.0):
            for kind, run in _runs(1000, horizon).items():
                run(None)
                seconds = []
                for store in (None, Path(folder) / f"{kind}{horizon}.h5"):
                    begin = time.process_time()
                    run(store)
                    seconds.append(time.process_time() - begin)
                plain, stored = seconds
                print(
                    f"{kind} to tau = {horizon:g}: {plain:.2f} s, {stored:.2f} s with store=, "
                    f"{stored / plain - 1:+.1%}"
                )


def _memory(kind: str) -> None:
    for count in (10, 1000, 10_000, 100_000):
        command = [sys.executable, "-m", "validation.storage", "one", kind, str(count)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        print(done.stdout.strip(), flush=True)


def _one(kind: str, count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r.h5"
        _runs(count, 20.0 if kind == "pde" else count / 1000)[kind](path)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{kind}, {count} output times: {peak:.0f} MB, file {path.stat().st_size / 1e6:.0f} MB"
        )


def main(arguments: list[str]) -> None:
    """Do what the command line says."""
    if arguments[:1] == ["memory"]:
        _memory(arguments[1])
    elif arguments[:1] == ["one"]:
        _one(arguments[1], int(arguments[2]))
    else:
        _overhead()


if __name__ == "__main__":
    main(sys.argv[1:])
