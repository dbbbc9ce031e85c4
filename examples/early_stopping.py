"""
When should I stop?
===================

Under strong ridge the error falls, then rises as the penalty pulls the weights off the teacher. The
minimum is real, but shallower than the isotropic closure makes one believe.
"""

import sys

import numpy as np
from matplotlib.figure import Figure

import fpsolve

problem = fpsolve.Problem(
    weight_quantizer=fpsolve.UniformQuantizer(bit_width=3, omega=1.5),
    input_quantizer=None,
    learning_rate=0.04,
    ridge=1.5,
)
times = np.linspace(0, 120, 241)
exact = fpsolve.solve_pde(problem, times)
closure = fpsolve.solve_ode(problem, times)
stop = fpsolve.find_minimum(times, exact.order_parameters.generalization_error)
promised = fpsolve.find_minimum(times, closure.order_parameters.generalization_error)


def visualize():
    """Draw both learning curves with their minima."""
    figure = Figure(figsize=(5.6, 3.6), layout="constrained")
    axes = figure.subplots()
    for curve, found, name in ((exact, stop, "density"), (closure, promised, "closure")):
        (line,) = axes.plot(times, curve.order_parameters.generalization_error, label=name)
        axes.plot([found.time], [found.value], "o", color=line.get_color())
    axes.set(xlabel=r"$\tau$", ylabel=r"$\varepsilon_g$", ylim=(0.3, 0.6), xlim=(0, 120))
    axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    figure = visualize()
    if len(sys.argv) > 1:
        fpsolve.save_figure(figure, sys.argv[1], overwrite=True)
