"""Problems and exact results shared by several tests."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from closed_forms import exact_density, exact_macro, sampled_particles
from hypothesis import settings

from fpsolve import GaussianInitial, Problem, Teacher, UniformQuantizer

# The same examples every time; no deadline, since the first call of a compiled function compiles.
settings.register_profile("fpsolve", deadline=None, derandomize=True, database=None)
settings.load_profile("fpsolve")

# `validation` is not installed; it comes last, so that the installed fpsolve is what is tested.
sys.path.append(str(Path(__file__).parent.parent))

# A shell starts background jobs with Ctrl-C ignored, which tests of interruption cannot do without.
signal.signal(signal.SIGINT, signal.default_int_handler)

TIMES = [0.0, 1.0, 5.0, 20.0]

# What nearly every test file calls.
COMPILED = """
import fpsolve
levels = fpsolve.UniformQuantizer(2, 1.0)
problem = fpsolve.Problem(weight_quantizer=levels, input_quantizer=None, learning_rate=0.1)
fpsolve.solve_pde(problem, [0.0, 0.1], rtol=1e-3)
fpsolve.simulate_ste(problem, [0.0, 0.1], dimension=10, seed=1)
fpsolve.simulate_sde(problem, [0.0, 0.1], particles=10, seed=1)
"""


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile kernels once, before several processes that need them would do so beside each other.

    What fails here fails again in a test, which tells of it.
    """
    option = session.config.option
    if getattr(option, "numprocesses", None) and not option.collectonly:
        subprocess.run([sys.executable, "-P", "-c", COMPILED], capture_output=True, check=False)


@pytest.fixture(scope="session")
def linear_problem() -> Problem:
    """Full-precision weights: the density is Gaussian at all times."""
    return Problem(
        weight_quantizer=None,
        input_quantizer=UniformQuantizer(bit_width=3, omega=1.0),
        learning_rate=0.4,
        ridge=0.1,
        noise_variance=0.05,
        teacher=Teacher([-1.0, 0.5], [0.25, 0.75]),
        initial=GaussianInitial(mean=0.2, variance=0.7, overlap=-0.3),
        batch_size=2,
    )


@pytest.fixture(scope="session")
def density(linear_problem):
    return exact_density(linear_problem, TIMES)


@pytest.fixture(scope="session")
def macro(linear_problem):
    return exact_macro(linear_problem, TIMES)


@pytest.fixture(scope="session")
def particles(linear_problem):
    return sampled_particles(linear_problem, TIMES)
