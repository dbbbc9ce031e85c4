"""
What if the drift jumps?
========================

Name the point in `breaks` and nothing is lost: dry friction, drift −sign(x) and D = 1/2, has a kink
in its density at every time. Its propagator is known in closed form (Touchette, van der Straeten
and Just, J. Phys. A 43, 445002, 2010); the run starts from it at age 1/2.
"""

import sys

import numpy as np
from matplotlib.figure import Figure
from scipy.special import ndtr

import fpsolve

start, age = 1.5, 0.5


def propagator(x, time):
    """Density at `time` of what was at `start` at time 0."""
    free = np.exp(-0.5 * time - np.abs(x) + start - (x - start) ** 2 / (2 * time))
    fallen = ndtr((time - np.abs(x) - start) / np.sqrt(time))
    return free / np.sqrt(2 * np.pi * time) + np.exp(-2 * np.abs(x)) * fallen


model = fpsolve.McKeanVlasov(lambda x: -np.sign(x), 0.5, breaks=[0.0])
times = np.array([0.0, 0.5, 1.5, 8.0])
result = fpsolve.solve_mckean_vlasov(model, (lambda x: propagator(x, age), -12.0, 12.0), times)
x = np.linspace(-3, 4, 1401)
errors = [np.abs(result.pdf(x, t) - propagator(x, t + age)).max() for t in times]


def visualize():
    """Draw the densities, and the closed form over them."""
    figure = Figure(figsize=(5.5, 3.6), layout="constrained")
    axes = figure.subplots()
    for i, time in enumerate(times):
        axes.plot(x, result.pdf(x, time), f"C{i}", label=f"age {time + age:g}")
        axes.plot(x[::40], propagator(x[::40], time + age), f"C{i}.")
    axes.set(xlabel="$x$", ylabel="density", title="lines: solved, points: closed form")
    axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    figure = visualize()
    if len(sys.argv) > 1:
        fpsolve.save_figure(figure, sys.argv[1], overwrite=True)
