"""What raises in the middle of a solve ends it in order."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

# Compiled code that hands arrays to Python does not survive what is raised there.
SCRIPT = """
import random, signal
from fpsolve import Problem, UniformQuantizer, solve_ode, solve_pde

class Stop(Exception):
    pass

def stop(number, frame):
    raise Stop

signal.signal(signal.SIGALRM, stop)
if {by_default}:
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    Stop = KeyboardInterrupt
problem = Problem(
    weight_quantizer=UniformQuantizer(2, 2.0), input_quantizer=None, learning_rate=0.04
)
{verb}(problem, [1.0, 50.0])
random.seed(1)
count = 0
for _ in range(200):
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-4, 4e-3))
        while True:
            {verb}(problem, [1.0, 50.0])
    except Stop:
        count += 1
print(count)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="this system has no SIGALRM")
@pytest.mark.parametrize("by_default", [False, True])
@pytest.mark.parametrize("verb", ["solve_pde", "solve_ode"])
def test_solves_are_interrupted_in_order(verb, by_default):
    script = SCRIPT.format(verb=verb, by_default=by_default)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (0, "200\n"), done.stderr
