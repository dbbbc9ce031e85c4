"""
Does weight decay hold weights that run away?
=============================================

A teacher beyond the range, c > ω, drives its weights off at a constant speed. Decoupled weight
decay γ stops them: once all are beyond the last threshold they are an Ornstein-Uhlenbeck process
with mean (κw* − (S + λ)ω)/γ and variance ηSε_g/(2γ), and ε_g does not change.
"""

import sys

import numpy as np
from matplotlib.figure import Figure

import fpsolve

eta, decay, omega, value, noise = 0.1, 0.05, 0.5, 1.0, 0.1
setting = {
    "weight_quantizer": fpsolve.UniformQuantizer(bit_width=2, omega=omega),
    "input_quantizer": None,
    "learning_rate": eta,
    "noise_variance": noise,
    "teacher": fpsolve.Teacher.constant(value),
}
times = np.linspace(0, 1500, 61)
held = fpsolve.solve_pde(fpsolve.Problem(**setting, weight_decay=decay), times)
free = fpsolve.solve_pde(fpsolve.Problem(**setting), times)

exact_mean = (value - omega) / decay
exact_error = (value - omega) ** 2 + noise
exact_variance = eta * exact_error / (2 * decay)
state = held.order_parameters
mean, variance = state.m[-1] / value, state.q[-1] - state.m[-1] ** 2
speed = np.diff(free.order_parameters.m)[-1] / np.diff(times)[-1]


def visualize():
    """Draw the mean weight with and without decay, and the last density."""
    figure = Figure(figsize=(9.0, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(times, free.order_parameters.m, label="no decay")
    left.plot(times, state.m, label=rf"$\gamma$ = {decay}")
    left.axhline(exact_mean, color="0.6", linestyle=":", label="closed form")
    left.set(xlabel=r"$\tau$", ylabel="mean weight", ylim=(0, 2.5 * exact_mean))
    left.legend(frameon=False)
    w = exact_mean + np.sqrt(exact_variance) * np.linspace(-4, 4, 301)
    right.plot(w, held.pdf(w, times[-1]), label=rf"density at $\tau$ = {times[-1]:g}")
    gauss = np.exp(-((w - exact_mean) ** 2) / (2 * exact_variance))
    right.plot(w[::12], gauss[::12] / np.sqrt(2 * np.pi * exact_variance), "k.", label="Gaussian")
    right.set(xlabel="$w$", ylabel="density", ylim=(0, 0.95))
    right.legend(frameon=False)
    return figure


if __name__ == "__main__":
    figure = visualize()
    if len(sys.argv) > 1:
        fpsolve.save_figure(figure, sys.argv[1], overwrite=True)
