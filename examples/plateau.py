"""
Why does nothing happen at first?
=================================

Small initial weights all round to zero. They drift at speed ηκ|w*| until they cross the first
threshold at Δ/2: the error stands still until τ ≈ Δ/(2ηκ|w*|), then drops.
"""

import sys

import numpy as np
from matplotlib.figure import Figure

import fpsolve


def problem(omega):
    """Ternary weights that start close to zero."""
    return fpsolve.Problem(
        weight_quantizer=fpsolve.UniformQuantizer(bit_width=2, omega=omega),
        input_quantizer=None,
        learning_rate=0.02,
        initial=fpsolve.GaussianInitial(variance=1e-4),
    )


times = np.linspace(0, 100, 401)
curves = {omega: fpsolve.solve_pde(problem(omega), times) for omega in (0.5, 0.75, 1.0)}
predicted = {omega: omega / (2 * 0.02) for omega in curves}  # Δ = ω at 2 bits, κ = 1


def half_way(omega):
    """Return the time at which half of the weights have crossed the threshold."""
    share = curves[omega].order_parameters.q_psi / omega**2
    return float(np.interp(0.5, share[: share.argmax() + 1], times[: share.argmax() + 1]))


def visualize():
    """Draw the learning curves, and where they should drop."""
    figure = Figure(figsize=(5.6, 3.6), layout="constrained")
    axes = figure.subplots()
    for omega, curve in curves.items():
        error = curve.order_parameters.generalization_error
        (line,) = axes.plot(times, error, label=rf"$\omega = {omega}$")
        axes.axvline(predicted[omega], color=line.get_color(), ls=":")
    axes.plot([], [], ":", color="0.4", label=r"predicted: $\Delta/(2\eta\kappa)$")
    axes.set(xlabel=r"$\tau$", ylabel=r"$\varepsilon_g$")
    axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    figure = visualize()
    if len(sys.argv) > 1:
        fpsolve.save_figure(figure, sys.argv[1], overwrite=True)
