"""
How many bits does a power law of learning need?
================================================

When inputs have variances spread as a power law, the error of unquantized weights falls as a power
of time. Quantized weights follow it down to a floor set by their bits, and there it ends.
"""

import sys

import numpy as np
from matplotlib.figure import Figure

import fpsolve

BETA, GAMMA = 0.8, 0.7
times = np.geomspace(50, 2e4, 40)


def curve(bits):
    """The error over time with so many bits; None for full precision."""
    problem = fpsolve.Problem(
        weight_quantizer=bits and fpsolve.UniformQuantizer(bits, omega=2.0),
        input_quantizer=None,
        learning_rate=0.005,
        teacher=fpsolve.Teacher.power_law(BETA, GAMMA, classes=12),
        initial=fpsolve.GaussianInitial(variance=1e-4),
    )
    return fpsolve.solve_pde(problem, times, rtol=1e-4)


solved = {bits: curve(bits) for bits in (None, 3, 5, 7)}
free = solved[None].order_parameters.generalization_error
floors = {bits: solved[bits].order_parameters.generalization_error[-1] for bits in (3, 5, 7)}
law = (times > 2e3) & (times < 8e3)
exponent = np.polyfit(np.log(times[law]), np.log(free[law]), 1)[0]
ends = {
    bits: np.exp(np.interp(-np.log(floor), -np.log(free), np.log(times)))
    for bits, floor in floors.items()
}


def visualize():
    """Draw the power law and where each number of bits leaves it."""
    figure = Figure(figsize=(5.6, 3.6), layout="constrained")
    axes = figure.subplots()
    for bits, found in solved.items():
        error = found.dense_order_parameters.generalization_error
        style = {"label": f"{bits} bits"} if bits else {"label": "full precision", "color": "black"}
        axes.loglog(found.dense_times, error, **style)
    axes.set(xlim=(50, 2e4))
    axes.set(xlabel=r"$\tau$", ylabel=r"$\varepsilon_g$")
    axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    print(f"exponent {exponent:.2f}")
    for bits, end in ends.items():
        print(f"{bits} bits end it at tau = {end:.0f} with an error of {floors[bits]:.2g}")
    figure = visualize()
    if len(sys.argv) > 1:
        fpsolve.save_figure(figure, sys.argv[1], overwrite=True)
