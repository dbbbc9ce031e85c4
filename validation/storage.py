"""What it costs to keep runs in a file: `python -m validation.storage [overhead | memory KIND]`.

`overhead` compares runs with and without `store=`, 1000 output times each, in turns in one process,
and tells the medians of wall and CPU time, and what a file costs as such (two times). Solves of
0.3 s or more meet the gate if a file adds no more than 5 % to their wall time; of shorter ones a
file as such is more. A second core does most of the work, if there is one that has nothing else to
do: figures of a machine with other work say little. `memory` runs KIND (`pde` or `ste`) with more
and more output times, each in a process of its own, and tells the largest resident memory.
"""

from __future__ import annotations

import dataclasses
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import fpsolve

__all__ = ["main"]

# What keeping a run may cost, if it takes so many seconds; and how long, and how often, each run is
# timed.
_GATE, _GATED = 0.05, 0.3
_SECONDS, _LEAST_RUNS, _MOST_RUNS = 12.0, 5, 51

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
    three, four = (fpsolve.UniformQuantizer(bit_width=bits, omega=1.0) for bits in (3, 4))
    classes = dataclasses.replace(_PROBLEM, weight_quantizer=four, teacher=several)
    slow, slower = (
        dataclasses.replace(_PROBLEM, weight_quantizer=three, learning_rate=rate)
        for rate in (0.004, 1e-4)
    )
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
        "pde, 2 bits, rtol 1e-6": pde(_PROBLEM),
        "pde, 2 bits, rtol 1e-9": pde(_PROBLEM, rtol=1e-9),
        "pde, 3 bits, eta 0.004": pde(slow),
        "pde, 3 bits, eta 1e-4": pde(slower),
        "pde, 4 bits, 4 teachers, rtol 1e-9": pde(classes, rtol=1e-9),
        "pde, 250 cells": pde(_PROBLEM, scheme="scharfetter-gummel", cells=250),
        "pde, 2000 cells": pde(_PROBLEM, scheme="scharfetter-gummel"),
        "mckean-vlasov, double well": lambda store: fpsolve.solve_mckean_vlasov(
            well, start, np.linspace(0.0, 20.0, count), store=store
        ),
        "ste, d = 1000, tau = 20": _runs(count, 20.0)["ste"],
        "ste, d = 1000, tau = 1000": _runs(count, 1000.0)["ste"],
        "sde, 1000 particles, tau = 100": lambda store: fpsolve.simulate_sde(
            _PROBLEM, np.linspace(0.0, 100.0, count), particles=1000, seed=1, threads=1, store=store
        ),
    }


def _overhead() -> None:
    print(
        f"1000 times, plain -> with store=; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    met = {}
    for name, run in _solves(1000).items():
        plain, stored = _both(run)
        bare, file = _both(_solves(2)[name], seconds=2.0)
        more = stored.wall / plain.wall - 1
        if plain.wall >= _GATED:
            met[name] = more <= _GATE
        print(
            f"{name}: wall {1e3 * plain.wall:.1f} -> {1e3 * stored.wall:.1f} ms ({more:+.1%}, "
            f"{1e3 * (stored.wall - plain.wall):+.1f} ms), CPU {1e3 * plain.cpu:.1f} -> "
            f"{1e3 * stored.cpu:.1f} ms ({stored.cpu / plain.cpu - 1:+.1%}); a file of two times "
            f"{1e3 * (file.wall - bare.wall):.1f} ms",
            flush=True,
        )
    missed = "; ".join(name for name, good in met.items() if not good) or "none"
    print(
        f"of {len(met)} solves of {_GATED:g} s or more {sum(met.values())} take at most "
        f"{_GATE:.0%} more wall time; these take more: {missed}"
    )


class _Taken(NamedTuple):
    """Seconds."""

    wall: float
    cpu: float


def _both(run: Callable[[Path | None], Any], seconds: float = _SECONDS) -> tuple[_Taken, _Taken]:
    """Median wall and CPU time of many runs without, and with, a file, in turns."""
    taken: dict[bool, list[_Taken]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r.h5"
        run(path)
        until, number = time.monotonic() + seconds, 0
        while number < _LEAST_RUNS or (time.monotonic() < until and number < _MOST_RUNS):
            number += 1
            for stored in (False, True) if number % 2 else (True, False):
                path.unlink(missing_ok=True)
                begin = time.perf_counter(), time.process_time()
                run(path if stored else None)
                end = time.perf_counter(), time.process_time()
                taken[stored].append(_Taken(end[0] - begin[0], end[1] - begin[1]))
    plain, kept = (_Taken(*np.median(taken[stored], axis=0).tolist()) for stored in (False, True))
    return plain, kept


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
