"""
How large may the learning rate be?
===================================

With unquantized weights training is stable below 2(S + λ)/S², where S is the second moment of the
quantized inputs. Quantized *weights* are bounded, and no learning rate makes their error diverge.
"""

import sys

import numpy as np
from matplotlib.figure import Figure

import fpsolve

inputs = fpsolve.UniformQuantizer(bit_width=2, omega=2.0)


def problem(rate, weights=None):
    """Quantized inputs, and weights quantized or not."""
    return fpsolve.Problem(weight_quantizer=weights, input_quantizer=inputs, learning_rate=rate)


boundary = fpsolve.stability_boundary(problem(0.1))
times = np.linspace(0, 20, 81)
below = fpsolve.solve_pde(problem(0.8 * boundary), times)
above = fpsolve.solve_pde(problem(1.2 * boundary), times)
ternary = fpsolve.UniformQuantizer(bit_width=2, omega=1.0)
quantized = fpsolve.solve_pde(problem(1.2 * boundary, ternary), times)


def visualize():
    """Draw the three learning curves."""
    figure = Figure(figsize=(5.6, 3.6), layout="constrained")
    axes = figure.subplots()
    cases = {
        "0.8 of the boundary": below,
        "1.2 of it": above,
        "1.2 of it, 2-bit weights": quantized,
    }
    for label, case in cases.items():
        axes.semilogy(times, case.order_parameters.generalization_error, label=label)
    axes.set(xlabel=r"$\tau$", ylabel=r"$\varepsilon_g$")
    axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    figure = visualize()
    if len(sys.argv) > 1:
        fpsolve.save_figure(figure, sys.argv[1], overwrite=True)
