"""Kill real runs of every kind at random moments: `python tests/kills.py [NUMBER] [SEED]`.

Each run is killed (SIGKILL or SIGTERM) and resumed until it ends, and is then compared, bit for
bit, with one that was left alone; runs are begun anew until NUMBER kills (60) have met one running,
each kind in its turn. Kinds: every solver that takes `store=`, densities from points (on a
threshold, under training rules, beside others that see noise) besides, `fpsolve sweep -o` and
`sweep(store=)`.
"""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from test_resume import (
    MANY,
    PROBLEMS,
    QUANTIZED,
    TIMES,
    assert_same_run,
    killed_at_random,
    solve_well,
    well,
)
from test_store import assert_equal

import fpsolve

# Forty points of some twentieths of a second each.
AXES = {"learning_rate": np.geomspace(0.01, 0.3, 40)}
OPTIONS = {"times": [0.0, 1.0, 10.0], "dimension": 2000, "seed": 5}
QUESTION = """
[sweep]
solver = "ste"
[sweep.axes]
learning_rate = {axis}
[sweep.options]
dimension = 2000
seed = 5
[solve]
times = [0.0, 1.0, 10.0]
"""
# In processes of their own: they say "ready" when all is imported, and deliver often.
BEGIN = """
import sys, json, fpsolve
from fpsolve.cli import main
from fpsolve.recording.signals import stopping_signal, terminable
from fpsolve.sweeps import sweep
fpsolve.simulate_ste, fpsolve.save, fpsolve.load
sweep._EVERY = 0.05
print("ready", flush=True)
"""
SHELL = BEGIN + "sys.exit(main(sys.argv[1:]))"
CALL = (
    BEGIN
    + """
axes, options = json.loads(sys.argv[2]), json.loads(sys.argv[3])
problem = fpsolve.Problem.from_toml(sys.argv[4])
try:
    with terminable():
        found = fpsolve.sweep(
            problem, axes, fpsolve.simulate_ste, workers=1, store=sys.argv[1], **options
        )
except KeyboardInterrupt:
    sys.exit(128 + stopping_signal())
sys.exit(128 + stopping_signal() if found.stats.get("interrupted") else 0)
"""
)


def swept(*, store: Path | None = None) -> fpsolve.SweepResult:
    """The sweep of both, in this process; from `store` what is there is not solved again."""
    return fpsolve.sweep(QUANTIZED, AXES, fpsolve.simulate_ste, store=store, **OPTIONS)


def sweep_killed(command: list[str], there: Callable[[], int], kills: int, rng: Any) -> int:
    """Kill `command` and begin it again up to `kills` times; return how often it was running.

    `there` reads, with nothing but NumPy, how many points are on disk; none may get lost.
    """
    running = kept = 0
    for _ in range(kills):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n", process.stderr
        time.sleep(rng.uniform(0.0, 2.0))
        number = rng.choice([signal.SIGKILL, signal.SIGTERM])
        process.send_signal(number)
        _, err = process.communicate(timeout=120)
        if process.returncode == 0:
            break
        assert process.returncode in (-number, 128 + number), err
        running += 1
        now = there()
        assert now >= kept, "a point that was there is lost"
        kept = now
    return running


def points(folder: Path) -> int:
    """Number of points in the files of a sweep that goes on, each of which is whole."""
    count = 0
    for path in folder.iterdir() if folder.exists() else ():
        assert path.match("batch-*.npz"), "no litter"
        with np.load(path) as batch:
            count += batch["key"].size
    return count


def assert_same_sweep(found: fpsolve.SweepResult, whole: fpsolve.SweepResult) -> None:
    """Both have the same bits at every point; they differ in what it took."""
    assert not found.not_reached
    assert found.arrays.keys() == whole.arrays.keys()
    for name, array in whole.arrays.items():
        assert_equal(found[name], array)


def sweep_in_shell(folder: Path, kills: int, rng: Any, whole: fpsolve.SweepResult) -> int:
    """`fpsolve sweep -o`, killed, gone on with `--resume`, and compared."""
    question, out = folder / "p.toml", folder / "r.h5"
    axis = AXES["learning_rate"].tolist()
    question.write_text(QUANTIZED.to_toml() + QUESTION.format(axis=axis), encoding="utf-8")
    arguments = ["sweep", str(question), "--workers", "1", "-o", str(out), "--resume"]
    command = [sys.executable, "-c", SHELL, *arguments]
    running = sweep_killed(command, lambda: points(folder / "r.h5.points"), kills, rng)
    subprocess.run(command, check=True, capture_output=True)
    assert {path.name for path in folder.iterdir()} == {"p.toml", "r.h5"}, "no litter"
    assert_same_sweep(fpsolve.load(out), whole)
    return running


def sweep_in_python(folder: Path, kills: int, rng: Any, whole: fpsolve.SweepResult) -> int:
    """`sweep(store=)`, killed, called again, and compared."""
    import json

    question, store = folder / "p.toml", folder / "points"
    question.write_text(QUANTIZED.to_toml(), encoding="utf-8")
    axes = json.dumps({"learning_rate": AXES["learning_rate"].tolist()})
    told = [str(store), axes, json.dumps(OPTIONS), str(question)]
    command = [sys.executable, "-c", CALL, *told]
    running = sweep_killed(command, lambda: points(store), kills, rng)
    assert_same_sweep(swept(store=store), whole)
    return running


def run_killed(folder: Path, kills: int, rng: Any, solver: str, whole: Any) -> int:
    """A run with `store=`, killed, resumed, and compared."""
    path = folder / "r.h5"
    running = killed_at_random(path, solver, kills, rng)["running"]
    if path.exists():
        model = {"model": well()} if solver == "line" else {}
        assert_same_run(fpsolve.resume(path, **model), whole)
    return running


def main(number: int, seed: int) -> None:
    both = {"runs": 2, "seed": 7}
    whole = {
        "pde": fpsolve.solve_pde(QUANTIZED, MANY, rtol=1e-9),
        **{n: fpsolve.solve_pde(solved, MANY, rtol=1e-9) for n, solved in PROBLEMS.items()},
        "ste": fpsolve.simulate_ste(QUANTIZED, TIMES, dimension=3000, **both),
        "sde": fpsolve.simulate_sde(QUANTIZED, TIMES, particles=20000, max_step=5e-4, **both),
        "line": solve_well(),
    }
    sweep = swept()
    rng, kills, runs = np.random.default_rng(seed), dict.fromkeys([*whole, *SWEEPS], 0), 0
    each = min(12, math.ceil(number / len(kills)))
    while sum(kills.values()) < number or runs < len(kills):
        kind = list(kills)[runs % len(kills)]
        with tempfile.TemporaryDirectory() as folder:
            if kind in whole:
                kills[kind] += run_killed(Path(folder), each, rng, kind, whole[kind])
            else:
                kills[kind] += SWEEPS[kind](Path(folder), each, rng, sweep)
        runs += 1
        print(f"{runs} runs, kills that met them running: {kills}", flush=True)


SWEEPS = {"sweep -o": sweep_in_shell, "sweep(store=)": sweep_in_python}

if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:3]]
    main(*given, *(60, 1)[len(given) :])
