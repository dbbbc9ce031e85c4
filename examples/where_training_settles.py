"""
Where does training settle, and how fast?
=========================================

The stationary density is known in closed form at any learning rate, bin by bin an exponential, and
its linearized dynamics says at which rate it is reached. A solve to late times agrees with both.
"""

import sys

import numpy as np
from matplotlib.figure import Figure

import fpsolve

problem = fpsolve.Problem(
    weight_quantizer=fpsolve.UniformQuantizer(bit_width=3, omega=1.5),
    input_quantizer=fpsolve.UniformQuantizer(bit_width=3, omega=1.5),
    learning_rate=0.3,
    ridge=0.2,
)
(state,) = fpsolve.stationary_states(problem)
late = fpsolve.solve_pde(problem, np.linspace(0, 200, 101), rtol=1e-8)
distance = np.abs(late.order_parameters.generalization_error - state.generalization_error)
# The same at every step of the solver, for a smooth curve.
steps = late.dense_times
along = np.abs(late.dense_order_parameters.generalization_error - state.generalization_error)


def visualize():
    """Draw the stationary density, and how the error approaches its stationary value."""
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    fpsolve.plot_stationary_density(state, ax=left)
    right.semilogy(steps, along, label="solve")
    line = np.linspace(20, 60)
    slope = np.exp(-state.relaxation_rate * (line - late.times[20]))
    right.semilogy(line, distance[20] * slope, "--", color="0.3", label="relaxation rate")
    right.set(xlim=(0, 65), ylim=(1e-9, 3))
    right.set(xlabel=r"$\tau$", ylabel=r"$|\varepsilon_g - \varepsilon^*|$")
    right.legend(frameon=False)
    return figure


if __name__ == "__main__":
    figure = visualize()
    if len(sys.argv) > 1:
        fpsolve.save_figure(figure, sys.argv[1], overwrite=True)
