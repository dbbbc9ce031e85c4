"""
How do I judge a training loop of my own?
=========================================

The loop below is plain NumPy; it could as well be PyTorch, with ``weight.detach().numpy()`` stored
now and then. `ParticleTrajectory.from_arrays` turns stored weights into a trajectory that every
verb of fpsolve understands.
"""

import sys

import numpy as np

import fpsolve

problem = fpsolve.Problem(
    weight_quantizer=fpsolve.UniformQuantizer(bit_width=3, omega=1.5),
    input_quantizer=None,
    learning_rate=0.2,
    ridge=0.3,
)
dimension, times = 400, np.array([0.0, 1.0, 4.0, 12.0])


def train(rng):
    """Return the weights at `times`: one pass, identity straight-through estimator."""
    teacher = np.ones(dimension)
    w = rng.standard_normal(dimension)
    stored = [w.copy()]
    for step in range(1, int(times[-1] * dimension) + 1):
        x = rng.standard_normal(dimension)
        psi = problem.quantize(w)
        residual = (psi - teacher) @ x / np.sqrt(dimension)
        gradient = residual * x / np.sqrt(dimension) + problem.ridge / dimension * psi
        w -= problem.learning_rate * gradient
        if np.any(step == times * dimension):
            stored.append(w.copy())
    return stored


rng = np.random.default_rng(0)
weights = np.array([train(rng) for _ in range(6)])  # shape (runs, times, dimension)
models = fpsolve.ParticleTrajectory.from_arrays(problem, times, weights, np.ones(dimension))
density = fpsolve.solve_pde(problem, times)
verdict = fpsolve.compare(density, models)
wrong_rate = fpsolve.Problem(
    weight_quantizer=problem.weight_quantizer, input_quantizer=None, learning_rate=0.4, ridge=0.3
)
rebuke = fpsolve.compare(fpsolve.solve_pde(wrong_rate, times), models)


def visualize():
    """Draw the loop's weights under the density."""
    return fpsolve.plot_histograms(density, models)


if __name__ == "__main__":
    figure = visualize()
    if len(sys.argv) > 1:
        fpsolve.save_figure(figure, sys.argv[1], overwrite=True)
