"""
Which quantization range serves best at given bits?
===================================================

For weights of a Gaussian teacher: a narrow range clips, a wide one rounds coarsely. Each bit halves
the step, so that the best range grows with the bits while its error falls.
"""

import sys

import numpy as np
from matplotlib.figure import Figure

import fpsolve


def problem(bits, omega):
    """Weights of `bits` bits, teacher N(0, 1), small learning rate."""
    return fpsolve.Problem(
        weight_quantizer=fpsolve.UniformQuantizer(bits, omega),
        input_quantizer=None,
        learning_rate=0.01,
        teacher=fpsolve.Teacher.gaussian(1.0, 64),
    )


ranges = np.geomspace(0.3, 8.0, 240)
curves = {bits: fpsolve.range_curve(problem(bits, 1.0), ranges) for bits in (2, 3, 4)}
best = {bits: fpsolve.optimal_range(problem(bits, 1.0), points=60) for bits in (2, 3, 4)}


def visualize():
    """Draw the stationary error over the range, a curve a bit width, the best ranges marked."""
    figure = Figure(figsize=(5.6, 3.8), layout="constrained")
    axes = figure.subplots()
    for bits, errors in curves.items():
        (line,) = axes.plot(ranges, errors, label=f"$b = {bits}$")
        found = best[bits]
        axes.plot([found.omega], [found.generalization_error], "o", color=line.get_color())
    axes.set(xscale="log", yscale="log", xlabel=r"$\omega$", ylabel=r"stationary $\varepsilon_g$")
    axes.set_xticks([0.5, 1, 2, 4, 8], ["0.5", "1", "2", "4", "8"], minor=False)
    axes.set_xticks([], minor=True)
    axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    figure = visualize()
    if len(sys.argv) > 1:
        fpsolve.save_figure(figure, sys.argv[1], overwrite=True)
