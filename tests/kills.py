"""Kill real runs of every kind at random moments: `python tests/kills.py [NUMBER] [SEED]`.

Each run is killed (SIGKILL or SIGTERM) and resumed until it ends, and is then compared, bit for
bit, with one that was left alone; runs are begun anew until NUMBER kills (60) have met one running.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from test_resume import (
    MANY,
    QUANTIZED,
    TIMES,
    assert_same_run,
    killed_at_random,
    solve_well,
    well,
)

import fpsolve


def main(number: int, seed: int) -> None:
    both = {"runs": 2, "seed": 7}
    whole = {
        "pde": fpsolve.solve_pde(QUANTIZED, MANY, rtol=1e-9),
        "ste": fpsolve.simulate_ste(QUANTIZED, TIMES, dimension=3000, **both),
        "sde": fpsolve.simulate_sde(QUANTIZED, TIMES, particles=20000, max_step=5e-4, **both),
        "line": solve_well(),
    }
    rng, kills, runs = np.random.default_rng(seed), dict.fromkeys(whole, 0), 0
    while sum(kills.values()) < number:
        solver = list(whole)[runs % 4]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "r.h5"
            kills[solver] += killed_at_random(path, solver, 12, rng)["running"]
            if path.exists():
                model = {"model": well()} if solver == "line" else {}
                assert_same_run(fpsolve.resume(path, **model), whole[solver])
        runs += 1
        print(f"{runs} runs, kills that met them running: {kills}", flush=True)


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:3]]
    main(*given, *(60, 1)[len(given) :])
