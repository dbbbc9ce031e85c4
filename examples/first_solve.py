"""
What does a solve look like?
============================

A linear model of ternary weights and inputs, trained by the straight-through estimator with
learning rate 0.04 (the paper's Fig. 1). Its weights pile up on a *threshold* of the quantizer, not
on the teacher's weight, and the generalization error rises again while they do.
"""

import sys

import fpsolve

problem = fpsolve.Problem(
    weight_quantizer=fpsolve.UniformQuantizer(bit_width=2, omega=2.0),
    input_quantizer=fpsolve.UniformQuantizer(bit_width=2, omega=2.0),
    learning_rate=0.04,
)
density = fpsolve.solve_pde(problem, times=[0, 10, 25, 50, 100])
errors = density.order_parameters.generalization_error


def visualize():
    """Draw the densities, and the error below them."""
    return fpsolve.plot(density)


if __name__ == "__main__":
    figure = visualize()
    if len(sys.argv) > 1:
        fpsolve.save_figure(figure, sys.argv[1], overwrite=True)
