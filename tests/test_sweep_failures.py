"""Sweeps that are killed, in part or as a whole, and points that kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fpsolve import ParameterError, SolveError, StoreError, sweep

RATES = np.linspace(0.01, 1.0, 60).tolist()
# Long enough for workers to be worth their start.
PAUSE = 0.06


def noted(problem, log: str, victim: float, deaths: int, parent: int) -> float:
    """Twice the learning rate, a line in `log` a call; `victim` kills its worker `deaths` times."""
    with open(log, "a", encoding="ascii") as file:
        file.write(f"{problem.learning_rate!r} {os.getpid()}\n")
    calls = Path(log).read_text().split().count(repr(victim))
    if problem.learning_rate == victim and os.getpid() != parent and calls <= deaths:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(PAUSE)
    return 2 * problem.learning_rate


def calls(log: Path) -> list[str]:
    return [line.split()[0] for line in log.read_text().splitlines()]


@pytest.mark.parametrize("deaths", [1, 100])
def test_a_dead_worker_loses_only_its_batch(linear_problem, tmp_path, deaths) -> None:
    log = tmp_path / "log"
    result = sweep(
        linear_problem,
        {"learning_rate": RATES},
        noted,
        workers=2,
        log=str(log),
        victim=RATES[40],
        deaths=deaths,
        parent=os.getpid(),
    )
    expected = 2 * np.array(RATES)
    if deaths == 1:
        assert result.errors == {}
    else:
        assert list(result.errors) == [(40,)]
        assert "its worker died 2 times" in result.errors[40,]
        expected[40] = np.nan
        assert calls(log).count(repr(RATES[40])) == 2
    np.testing.assert_array_equal(result["value"], expected)
    again = len(calls(log)) - len(RATES)
    assert 1 <= again < 10, "more was solved again than one batch"


SCRIPT = """
import os, sys
sys.path.insert(0, {tests!r})
from fpsolve import Problem, sweep
from test_sweep_failures import RATES, noted
sweep(Problem.from_toml("p.toml"), {{"learning_rate": RATES}}, noted, workers=2,
      store="answers", log="log", victim=-1.0, deaths=0, parent=0)
open("finished", "w").close()
"""


def test_after_sigkill_the_same_line_solves_what_is_missing(linear_problem, tmp_path) -> None:
    (tmp_path / "p.toml").write_text(linear_problem.to_toml())
    (tmp_path / "script.py").write_text(SCRIPT.format(tests=str(Path(__file__).parent)))
    command = [sys.executable, "script.py"]  # without a `__main__` guard
    process = subprocess.Popen(command, cwd=tmp_path)
    until = time.monotonic() + 120
    while len(list(tmp_path.glob("answers/batch-*.npz"))) < 4 and time.monotonic() < until:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (tmp_path / "finished").exists(), "it was not killed in time"
    log = tmp_path / "log"
    workers = {int(line.split()[1]) for line in log.read_text().splitlines()} - {process.pid}
    assert workers, "no worker had started"
    while any(alive(pid) for pid in workers) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(alive(pid) for pid in workers), "workers outlive the sweep"
    before = len(calls(log))
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120)
    again = calls(log)[before:]
    assert len(again) == len(set(again)) < len(RATES) - 4
    kept = sweep(
        linear_problem,
        {"learning_rate": RATES},
        noted,
        workers=1,
        store=tmp_path / "answers",
        log="log",
        victim=-1.0,
        deaths=0,
        parent=0,
    )
    np.testing.assert_array_equal(kept["value"], 2 * np.array(RATES))
    assert len(calls(log)) == before + len(again), "something was solved once more"


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def fickle(problem, broken: bool) -> float:
    """A defect where the rate is large, a refusal where it is small."""
    if problem.learning_rate < 0.1:
        raise SolveError("no", time=0.0, step=0.0)
    if problem.learning_rate > 0.9 and broken:
        raise ZeroDivisionError("nothing there")
    return problem.learning_rate


def test_any_exception_is_recorded_and_the_rest_is_kept(linear_problem) -> None:
    axes = {"learning_rate": [0.05, 0.5, 0.95]}
    result = sweep(linear_problem, axes, fickle, broken=True)
    assert result.errors[0,].startswith("stopped at tau")
    assert result.errors[2,] == "ZeroDivisionError: nothing there"
    np.testing.assert_array_equal(result.status, [1, 0, 1])
    np.testing.assert_array_equal(result["value"], [np.nan, 0.5, np.nan])


counted: list[float] = []


def counting(problem, shift: float = 0.0) -> float:
    counted.append(problem.learning_rate)
    if problem.learning_rate == 0.3:
        raise OSError("the disk was full")
    if problem.learning_rate == 0.4:
        raise SolveError("no", time=0.0, step=0.0)
    return problem.learning_rate + shift


def test_a_store_serves_what_it_has_and_tries_again_what_the_machine_refused(
    linear_problem, tmp_path
) -> None:
    counted.clear()

    def ask(rates, **options):
        counted.clear()
        axes = {"learning_rate": rates}
        result = sweep(linear_problem, axes, counting, workers=1, store=tmp_path / "s", **options)
        return result, list(counted)

    first, solved = ask([0.1, 0.2, 0.3, 0.4])
    assert solved == [0.1, 0.2, 0.3, 0.4]
    again, solved = ask([0.4, 0.3, 0.2, 0.1, 0.5])  # another order, one more
    assert solved == [0.3, 0.5]
    np.testing.assert_array_equal(again["value"][:4], first["value"][::-1])
    assert again.errors[0,] == first.errors[3,]
    _, solved = ask([0.1], shift=1.0)
    assert solved == [0.1], "another option is another question"
    for file in (tmp_path / "s").glob("*.npz"):
        file.write_bytes(file.read_bytes()[:100])
    _, solved = ask([0.1, 0.2])
    assert solved == [0.1, 0.2], "damaged files are solved again"
    assert not list((tmp_path / "s").glob(".*.part"))


def test_a_store_needs_what_names_an_answer(linear_problem, tmp_path) -> None:
    axes = {"learning_rate": [0.1]}
    with pytest.raises(ParameterError, match="shift"):
        sweep(linear_problem, axes, counting, store=tmp_path / "s", shift=object())
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="folder"):
        sweep(linear_problem, axes, counting, store=tmp_path / "file")
