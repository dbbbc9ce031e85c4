"""Problems and exact results shared by several tests."""

from __future__ import annotations

import signal
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
