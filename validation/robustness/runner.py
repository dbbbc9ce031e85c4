"""Working problems out, each in a process with time limits, and the file that keeps the results."""

from __future__ import annotations

import json
import math
import multiprocessing
import resource
import signal
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np

from fpsolve import Problem, UniformQuantizer, __version__, solve_pde
from validation.robustness.judge import (
    LOOSE,
    MIDDLE,
    PROMISED,
    TIGHT,
    TOO_MUCH_WORK,
    judged,
    reason_of,
)
from validation.robustness.problems import draw

__all__ = ["BROKEN", "Ledger", "verdict_of", "work"]

# Seconds of processor time a solve may take; of real time a process gets a multiple, so that a
# busy machine is no reason to fail.
LIMIT = 30.0
_COMPARISON = 120.0
_PATIENCE = 6.0
BROKEN = ("NaN", "mass", "sign", "wrong", "crash", "hang", "slow", "failed", "refused late")
# Longest processor time until a refusal is said.
_AT_ONCE = 1.0

_CONTEXT = multiprocessing.get_context("fork")


def warm_up() -> None:
    """Load what is compiled, once, before processes are forked."""
    problem = Problem(
        weight_quantizer=UniformQuantizer(2, 1.0), input_quantizer=None, learning_rate=0.1
    )
    solve_pde(problem, [1.0], rtol=LOOSE)


def verdict_of(record: dict[str, Any]) -> str:
    """Return what became of a problem: holds, said, refused, or one of `BROKEN`."""
    stages = record["stages"]
    for stage in stages:
        for fault in stage.get("faults", ()):
            return str(fault)
    for stage in stages:
        if "refused" in stage:
            if not reason_of(stage["refused"])[1]:
                return "failed"
            why = reason_of(stage["refused"])[0]
            # Growth has to be seen; that work is too much, before it exceeds what is allowed.
            limit = {"diverges": math.inf, TOO_MUCH_WORK: LIMIT}.get(why, _AT_ONCE)
            late = stage["seconds"] > limit
            return "refused late" if late else "refused"
    if "ended" in record:
        return str(record["ended"])
    errors = stages[-1]["errors"]
    counted = {**errors, "L1": errors.get("L1 unless displaced", errors["L1"])}
    if all(counted[name] <= most for name, most in PROMISED.items()):
        return "holds"
    warned = any("depends" in text for stage in stages for text in stage.get("warned", ()))
    return "said" if warned else "wrong"


class Ledger:
    """The results of one seed, a JSON document a line, only ever appended to.

    Parameters
    ----------
    path : Path
        The file; made if there is none.
    seed : int
        What its problems are drawn from; another seed in the file is an error.

    Raises
    ------
    ValueError
        If the file holds another seed.
    """

    def __init__(self, path: Path, seed: int) -> None:
        self.path = path
        self.records: dict[int, dict[str, Any]] = {}
        whole = 0
        text = path.read_bytes() if path.exists() else b""
        for line in text.splitlines(keepends=True):
            # A line without its end was being written when the process was killed.
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            record = json.loads(line)
            if record["seed"] != seed:
                raise ValueError(f"{path} holds seed {record['seed']}, not {seed}; give another")
            if "index" in record:
                self.records[record["index"]] = record
        if whole < len(text):
            with path.open("r+b") as file:
                file.truncate(whole)
        if not whole:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._append({"seed": seed, "fpsolve": __version__})

    def keep(self, record: dict[str, Any]) -> None:
        """Add the record of one problem."""
        self.records[record["index"]] = record
        self._append(record)

    def _append(self, record: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, default=float) + "\n")


@dataclass
class _Job:
    """A process at work on one problem."""

    index: int
    tight: float
    process: Any
    pipe: Connection
    until: float
    stages: list[dict[str, Any]] = field(default_factory=list)
    at: str = "begin"
    crash: str = ""


def work(seed: int, indices: list[int], jobs: int) -> Iterator[dict[str, Any]]:
    """Yield the record of each problem as it is finished; `jobs` processes at a time."""
    warm_up()
    waiting = [(i, TIGHT) for i in reversed(indices)]
    running: list[_Job] = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(_begin(seed, *waiting.pop()))
            left = max(min(job.until for job in running) - time.monotonic(), 0.0)
            wait([job.pipe for job in running], timeout=left)
            for job in [job for job in running if _has_ended(job)]:
                running.remove(job)
                record = _record(seed, job)
                if _took_too_long(record) and job.at == "tight" and job.tight == TIGHT:
                    # No reference so tight within the time: it is one decade looser.
                    waiting.append((job.index, MIDDLE))
                    continue
                yield record
    finally:
        for job in running:
            job.process.kill()
            job.process.join()


def _took_too_long(record: dict[str, Any]) -> bool:
    """Whether the last solve was cut off, or ended when that was foreseen."""
    said = [s["refused"] for s in record["stages"][-1:] if "refused" in s]
    foreseen = any(reason_of(text)[0] == TOO_MUCH_WORK for text in said)
    return foreseen or record.get("ended") == "slow"


def _begin(seed: int, index: int, tight: float) -> _Job:
    mine, theirs = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=_child, args=(seed, index, tight, theirs), daemon=True)
    process.start()
    theirs.close()
    until = time.monotonic() + _PATIENCE * (2 * LIMIT + _COMPARISON)
    return _Job(index, tight, process, mine, until)


def _child(seed: int, index: int, tight: float, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    np.seterr(all="ignore")

    def begin(stage: str) -> None:
        limit = _COMPARISON if stage == "compared" else LIMIT
        used = time.process_time()
        # The kernel ends the process itself, in compiled code too.
        resource.setrlimit(resource.RLIMIT_CPU, (int(used + limit) + 1, resource.RLIM_INFINITY))
        pipe.send({"begin": stage})

    try:
        for record in judged(draw(seed, index), tight, begin):
            pipe.send(record)
    except Exception:
        pipe.send({"crash": traceback.format_exc()})


def _has_ended(job: _Job) -> bool:
    """Read what the process has said; whether it has come to its end."""
    try:
        while job.pipe.poll():
            said = job.pipe.recv()
            if "begin" in said:
                job.at = said["begin"]
            elif "crash" in said:
                job.crash = said["crash"]
            else:
                job.stages.append(said)
    except EOFError:
        job.process.join()
        return True
    if time.monotonic() > job.until:
        job.process.kill()
        job.process.join()
        job.crash = "hang"
        return True
    return False


def _record(seed: int, job: _Job) -> dict[str, Any]:
    record: dict[str, Any] = {"seed": seed, "index": job.index, "stages": job.stages}
    code = job.process.exitcode
    job.pipe.close()
    if job.crash == "hang":
        record["ended"] = "hang"
    elif job.crash:
        record.update(ended="crash", crash=job.crash)
    elif code == -signal.SIGXCPU:
        record.update(ended="slow", at=job.at)
    elif code != 0:
        record.update(ended="crash", crash=f"the process ended with {code} in {job.at}")
    record["verdict"] = verdict_of(record)
    return record
