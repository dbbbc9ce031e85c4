"""What it costs to keep runs in a file: `python -m validation.storage [overhead | memory KIND]`.

`overhead` compares the CPU time of runs with and without `store=`, 1000 output times each, and says
what a file costs as such and what each time does; `memory` runs KIND (`pde` or `ste`) with more and
more output times, each in a process of its own, and tells the largest resident memory.
"""

from __future__ import annotations

import dataclasses
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


def _solves(count: int) -> dict[str, Callable[[Path | None], Any]]:
    """Solves that differ in what they cost and in what they write."""
    several = fpsolve.Teacher([-1.0, -0.3, 0.3, 1.0], [0.25] * 4)
    fine = fpsolve.UniformQuantizer(bit_width=4, omega=1.0)
    classes = dataclasses.replace(_PROBLEM, weight_quantizer=fine, teacher=several)
    well = fpsolve.McKeanVlasov(
        [lambda x: x - x**3, lambda x: -x, np.ones_like],
        0.5,
        coefficients=lambda t, M: [1.0, 0.8, 0.8 * M[0]],
        functionals=[lambda x: x],
    )
    start = fpsolve.GaussianInitial(0.3, 0.4)

    def pde(problem: fpsolve.Problem, **options: Any) -> Callable[[Path | None], Any]:
        times = np.linspace(0.0, 20.0, count)
        return lambda store: fpsolve.solve_pde(problem, times, store=store, **options)

    return {
        "pde, 2 bits, rtol 1e-9": pde(_PROBLEM, rtol=1e-9),
        "pde, 4 bits, 4 teachers, rtol 1e-9": pde(classes, rtol=1e-9),
        "pde, 2000 cells": pde(_PROBLEM, scheme="scharfetter-gummel"),
        "mckean-vlasov, double well": lambda store: fpsolve.solve_mckean_vlasov(
            well, start, np.linspace(0.0, 20.0, count), store=store
        ),
        "ste, d = 1000, tau = 20": _runs(count, 20.0)["ste"],
        "ste, d = 1000, tau = 1000": _runs(count, 1000.0)["ste"],
    }


def _overhead() -> None:
    print("seconds of CPU: plain, with store=; for the file as such, for each of its 1000 times")
    for name in _solves(2):
        least = {count: _both(_solves(count)[name]) for count in (2, 1000)}
        plain, stored = least[1000]
        constant = least[2][1] - least[2][0]
        each = (stored - plain - constant) / 1000
        print(
            f"{name}: {plain:.3f}, {stored:.3f}, {stored / plain - 1:+.1%}; "
            f"{1e3 * constant:.0f} ms, {1e6 * each:.0f} us",
            flush=True,
        )


def _both(run: Callable[[Path | None], Any]) -> tuple[float, float]:
    """Least CPU time of three runs without and with a file."""
    seconds: dict[bool, list[float]] = {False: [], True: []}
    run(None)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(3):
            for stored in (False, True):
                begin = time.process_time()
                run(Path(folder) / f"{number}.h5" if stored else None)
                seconds[stored].append(time.process_time() - begin)
    return min(seconds[False]), min(seconds[True])


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
