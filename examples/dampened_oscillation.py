"""
What does dampening do to weights between two levels?
=====================================================

With c at a fraction p between two levels, training dithers: the upper level is taken a share p of
the time, at any learning rate. Oscillation dampening ζ makes that clip((p − ζ')/(1 − 2ζ'), 0, 1) at
small rates, ζ' = ζ/(S + λ): weights round to the nearer level more and more. Here that level is the
teacher's weight, and the error falls to nothing.
"""

import sys

import numpy as np
from matplotlib.figure import Figure

import fpsolve

ridge, omega = 0.6, 1.0
# c = 1/(1 + λ) = 0.625 between the levels 0 and 1 of 2-bit weights.
fraction = 1 / (1 + ridge)
strengths = np.array([0.0, 0.1, 0.2, 0.3, 0.4])
problems = [
    fpsolve.Problem(
        weight_quantizer=fpsolve.UniformQuantizer(bit_width=2, omega=omega),
        input_quantizer=None,
        learning_rate=0.005,
        ridge=ridge,
        dampening=float(zeta * (1 + ridge)),
        initial=fpsolve.GaussianInitial(0.5, 0.01),
    )
    for zeta in strengths
]
horizon = 1000.0
late = [fpsolve.solve_pde(problem, [horizon]) for problem in problems]
upper = np.array([result.probability(0.5, np.inf, horizon) for result in late])
exact = np.clip((fraction - strengths) / (1 - 2 * strengths), 0, 1)
errors = np.array([result.order_parameters.generalization_error[0] for result in late])


def visualize():
    """Draw the occupancy of the upper level and the error against the dampening."""
    figure = Figure(figsize=(9.0, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    fine = np.linspace(0, 0.45, 200)
    limit = np.clip((fraction - fine) / (1 - 2 * fine), 0, 1)
    left.plot(fine, limit, label="small-rate limit")
    left.plot(strengths, upper, "ko", label="solved")
    left.set(xlabel=r"$\zeta/(S + \lambda)$", ylabel="share at the upper level", ylim=(0, 1.05))
    left.legend(frameon=False)
    right.plot(fine, 1 - limit)  # the share that is not at the upper level
    right.plot(strengths, errors, "ko")
    right.set(xlabel=r"$\zeta/(S + \lambda)$", ylabel=r"$\varepsilon_g$ reached")
    return figure


if __name__ == "__main__":
    figure = visualize()
    if len(sys.argv) > 1:
        fpsolve.save_figure(figure, sys.argv[1], overwrite=True)
