"""A density and particles, in this order."""

from __future__ import annotations

from fpsolve.density.trajectory import DensityTrajectory
from fpsolve.errors import ParameterError
from fpsolve.particles.trajectory import ParticleTrajectory

__all__ = ["check_pair"]


def check_pair(density: object, particles: object) -> None:
    """Raise `ParameterError` unless these are a density and particles, in this order."""
    if isinstance(density, ParticleTrajectory) and isinstance(particles, DensityTrajectory):
        raise ParameterError("density", density, "is of particles: swap the two arguments")
    if not isinstance(density, DensityTrajectory):
        raise ParameterError("density", density, "must be what solve_pde returns")
    if not isinstance(particles, ParticleTrajectory):
        allowed = "must be what simulate_ste, simulate_sde or from_arrays returns"
        raise ParameterError("particles", particles, allowed)
