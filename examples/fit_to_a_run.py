"""
Which learning rate and noise explain the curve I measured?
===========================================================

A learning curve of a simulated model stands for the measurement; least squares over `solve_pde`
finds the parameters that made it. A solve takes milliseconds, so that fitting takes seconds.
"""

import sys
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure
from scipy.optimize import least_squares

import fpsolve

truth = fpsolve.Problem(
    weight_quantizer=fpsolve.UniformQuantizer(bit_width=2, omega=1.0),
    input_quantizer=None,
    learning_rate=0.3,
    noise_variance=0.2,
)
times = np.linspace(0, 20, 41)
measured = fpsolve.simulate_ste(truth, times, dimension=2000, runs=4, seed=5)
curve = measured.order_parameters.generalization_error.mean(axis=0)


def predicted(parameters):
    """Return the learning curve for log η and log σ²."""
    rate, noise = np.exp(parameters)
    problem = replace(truth, learning_rate=rate, noise_variance=noise)
    return fpsolve.solve_pde(problem, times, rtol=1e-4).order_parameters.generalization_error


fit = least_squares(lambda p: predicted(p) - curve, np.log([0.1, 0.05]), diff_step=1e-2)
learning_rate, noise_variance = np.exp(fit.x)


def visualize():
    """Draw the measurement and the fit."""
    figure = Figure(figsize=(5.6, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(times, curve, "o", ms=4, mfc="white", label="measured")
    label = rf"fit: $\eta = {learning_rate:.3f}$, $\sigma^2 = {noise_variance:.3f}$"
    axes.plot(times, predicted(fit.x), label=label)
    axes.set(xlabel=r"$\tau$", ylabel=r"$\varepsilon_g$", ylim=(0, None))
    axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    figure = visualize()
    if len(sys.argv) > 1:
        fpsolve.save_figure(figure, sys.argv[1], overwrite=True)
