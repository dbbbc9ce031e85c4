"""
Do finite models agree with the phase diagram?
==============================================

The diagram of range and ridge from the density, and the same question asked of models with 400
weights, four runs a point, each with random numbers of its own. Both go through ``sweep``; on a
cluster they would too, with ``executor=`` and ``store=``.
"""

import sys

import numpy as np

import fpsolve

base = fpsolve.Problem(
    weight_quantizer=fpsolve.UniformQuantizer(bit_width=2, omega=1.0),
    input_quantizer=None,
    learning_rate=0.1,
)
axes = {
    "weight_quantizer.omega": np.linspace(0.4, 2.0, 9),
    "ridge": np.linspace(0.0, 1.5, 8),
}
times = [0.0, 30.0]
density = fpsolve.sweep(base, axes, fpsolve.solve_pde, times=times, rtol=1e-3)
models = fpsolve.sweep(base, axes, fpsolve.simulate_ste, times=times, dimension=400, runs=4, seed=1)

limit = density["generalization_error"][..., -1]  # shape (ranges, ridges)
runs = models["generalization_error"][..., -1]  # shape (ranges, ridges, runs)
difference = runs.mean(axis=-1) - limit
# Runs at one point scatter alike at all points, so their scatter is pooled.
standard_error = np.sqrt(runs.var(axis=-1, ddof=1).mean() / runs.shape[-1])


def visualize():
    """Draw the diagram of the density; the models' looks the same."""
    return fpsolve.plot(density)


if __name__ == "__main__":
    figure = visualize()
    if len(sys.argv) > 1:
        fpsolve.save_figure(figure, sys.argv[1], overwrite=True)
