"""
May I use two ordinary differential equations instead?
======================================================

The isotropic closure takes the weights for Gaussian around the teacher. For unquantized weights
they are; quantized weights pile up on thresholds instead. Here it is off by a tenth of the error.
"""

import sys

import numpy as np
from matplotlib.figure import Figure

import fpsolve

quantized = fpsolve.Problem(
    weight_quantizer=fpsolve.UniformQuantizer(bit_width=2, omega=1.0),
    input_quantizer=None,
    learning_rate=0.04,
    ridge=1.0,
)
plain = fpsolve.Problem(
    weight_quantizer=None,
    input_quantizer=fpsolve.UniformQuantizer(bit_width=3, omega=1.5),
    learning_rate=0.04,
    ridge=1.0,
)
times = np.linspace(0, 60, 61)
with_quantizer = fpsolve.closure_error(quantized, times)
without = fpsolve.closure_error(plain, times)


def visualize():
    """Draw the exact error and that of the closure, with and without quantized weights."""
    figure = Figure(figsize=(9.0, 3.4), layout="constrained")
    cases = {"2-bit weights": with_quantizer, "unquantized weights": without}
    for axes, (title, case) in zip(figure.subplots(1, 2), cases.items(), strict=True):
        axes.plot(times, case.exact.generalization_error, label="density (exact)")
        axes.plot(times, case.closure.generalization_error, "--", label="isotropic closure")
        axes.set(xlabel=r"$\tau$", ylabel=r"$\varepsilon_g$", title=title)
        axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    figure = visualize()
    if len(sys.argv) > 1:
        fpsolve.save_figure(figure, sys.argv[1], overwrite=True)
