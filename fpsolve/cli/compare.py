"""`fpsolve compare`: whether a density and particles agree."""

from __future__ import annotations

import argparse
from pathlib import Path

import fpsolve
from fpsolve.cli.options import add_picture, check_picture, write_picture
from fpsolve.errors import StoreError

NAME = "compare"
SUMMARY = "compare a stored density with stored particles; exit code 1 when they disagree"
EXAMPLE = "fpsolve compare density.h5 particles.h5 --plot compare.png"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fpsolve compare`."""
    parser.add_argument("density", metavar="DENSITY.h5", type=Path, help="from `fpsolve run`")
    parser.add_argument(
        "particles", metavar="PARTICLES.h5", type=Path, help="from `fpsolve simulate`"
    )
    text = "probability of a disagreement by chance (default 1e-4)"
    parser.add_argument("--false-alarm-rate", type=float, default=1e-4, metavar="P", help=text)
    add_picture(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Compare, print the verdict, draw if asked to."""
    check_picture(arguments)
    density = fpsolve.load(arguments.density)
    particles = fpsolve.load(arguments.particles)
    swapped = isinstance(particles, fpsolve.DensityTrajectory)
    if swapped and isinstance(density, fpsolve.ParticleTrajectory):
        raise StoreError(
            f"{arguments.density} holds particles and {arguments.particles} a density; put the "
            f"density file first: fpsolve compare {arguments.particles} {arguments.density}"
        )
    if not isinstance(density, fpsolve.DensityTrajectory):
        raise StoreError(f"{arguments.density}: holds no density; put the density file first")
    if not isinstance(particles, fpsolve.ParticleTrajectory):
        raise StoreError(f"{arguments.particles}: holds no particles; put the particle file second")
    rate = arguments.false_alarm_rate
    comparison = fpsolve.compare(density, particles, false_alarm_rate=rate)
    print(comparison)
    if arguments.plot is not None:
        from fpsolve.plots.particles import plot_comparison

        write_picture(arguments, plot_comparison(density, particles))
    return 0 if comparison.agrees else 1
