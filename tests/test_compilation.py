"""The first compilation of a kernel is announced, once; signals wait until it is done."""

import gc
import logging
import os
import signal
import subprocess
import sys
import time

import pytest
from numba import njit
from numba.core import event

from fpsolve import compilation
from fpsolve.compilation import Compiling
from fpsolve.recording import signals
from fpsolve.recording.signals import Terminated, noticed, terminable

COLD = """
import sys
from fpsolve.cli import main
print("ready", flush=True)
sys.exit(main(sys.argv[1:]))
"""
PROBLEM = """
[problem]
learning_rate = 0.3
[problem.weight_quantizer]
bit_width = 2
omega = 1.0
"""
# What is compiled by two processes, and what by one, in less time.
RUN, SIMULATE = ["run"], ["simulate", "--particles", "50", "--seed", "1"]


def test_the_first_of_ours_is_announced_once(caplog) -> None:
    compiling = Compiling()
    with caplog.at_level(logging.WARNING, "fpsolve"):
        compiling.begin("somebody.else")
        compiling.begin(None)
        assert not caplog.records
        compiling.begin("fpsolve.numerics.kernels")
        compiling.begin("fpsolve.numerics.kernels")
    for _ in range(4):
        compiling.end()
    (said,) = caplog.records
    assert said.getMessage().startswith("compiling kernels for this machine, once")


def test_what_is_put_off_is_done_at_the_end_of_all_that_is_compiled() -> None:
    compiling, done = Compiling(), []
    compiling.begin("fpsolve.numerics.kernels")
    compiling.begin("numba.np")
    compiling.waiting.append(lambda: done.append(1))
    compiling.end()
    assert not done
    compiling.end()
    assert done == [1]


@pytest.mark.parametrize("collects", [True, False])
def test_garbage_waits_for_the_end_of_all_that_is_compiled(collects) -> None:
    set_to = {True: gc.enable, False: gc.disable}
    before, compiling = gc.isenabled(), Compiling()
    set_to[collects]()
    try:
        compiling.begin("somebody.else")
        assert gc.isenabled() is collects
        compiling.begin("fpsolve.numerics.kernels")
        assert not gc.isenabled()
        compiling.end()
        assert not gc.isenabled()
        compiling.end()
        assert gc.isenabled() is collects
    finally:
        set_to[before]()


def test_a_signal_that_is_only_noticed_does_not_wait_for_the_compiler(monkeypatch) -> None:
    """It raises nothing where it comes, and would be raised where nobody expects it."""
    monkeypatch.setattr(signals, "_last", None)  # Nobody is to learn of it later.
    with terminable(), noticed() as came:
        compilation._compiling.begin("fpsolve.numerics.kernels")
        os.kill(os.getpid(), signal.SIGTERM)
        assert [type(stop) for stop in came] == [Terminated]
        compilation._compiling.end()
    assert len(came) == 1


def test_numba_tells_of_what_it_compiles() -> None:
    """The name of the event, and what it carries, are Numba's."""
    listener = event.RecordingListener()
    with event.install_listener("numba:compile", listener):
        njit(lambda x: x + 1)(1)
    _, first = listener.buffer[0]
    assert first.data["dispatcher"].py_func.__module__ == __name__


@pytest.mark.parametrize(
    ("run", "number", "code"), [(RUN, signal.SIGTERM, 143), (SIMULATE, signal.SIGINT, 130)]
)
def test_a_signal_while_kernels_compile_ends_a_run_in_order(run, number, code, tmp_path) -> None:
    problem = tmp_path / "problem.toml"
    problem.write_text(PROBLEM, encoding="utf-8")
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-c", COLD, *run, str(problem), "--times", "0,1"]
    command += ["-o", str(tmp_path / "r.h5")]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == b"ready\n"
    said = process.stderr.readline()
    while b"compiling kernels" not in said:
        assert process.poll() is None, said
        said += process.stderr.readline()
    time.sleep(0.3)
    process.send_signal(number)
    _, err = process.communicate(timeout=300)
    assert process.returncode == code, err
    assert b"Traceback" not in err
    assert b"ignored" not in err
