"""
Can I use a quantizer of my own?
================================

Any step function will do: here levels that are dense around zero, as a logarithmic code has them,
beside the uniform grid of as many levels. Whatever the levels, the mean quantized weight settles
exactly on κ w*/(S + λ).
"""

import sys

import numpy as np
from matplotlib.figure import Figure

import fpsolve

logarithmic = fpsolve.StepQuantizer([-1.6, -0.8, -0.4, 0.0, 0.4, 0.8, 1.6])
uniform = fpsolve.UniformQuantizer(bit_width=3, omega=1.6)


def problem(quantizer):
    """A teacher of three values, one of them small."""
    return fpsolve.Problem(
        weight_quantizer=quantizer,
        input_quantizer=None,
        learning_rate=0.05,
        ridge=0.1,
        teacher=fpsolve.Teacher([-1.2, 0.3, 0.6], [0.2, 0.4, 0.4]),
    )


states = {
    name: fpsolve.stationary_states(problem(quantizer))[0]
    for name, quantizer in (("logarithmic", logarithmic), ("uniform", uniform))
}


def mean_quantized(state, w_star):
    """Return E[ψ(w)|w*] by quadrature of the stationary density."""
    w = np.linspace(-4, 4, 400_001)
    return np.trapezoid(state.problem.quantize(w) * state.density(w, w_star), w)


def visualize():
    """Draw both stationary densities."""
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    for axes, (name, state) in zip(figure.subplots(1, 2), states.items(), strict=True):
        fpsolve.plot_stationary_density(state, ax=axes)
        axes.set_title(f"{name}: {axes.get_title()}")
        axes.set_xlim(-1.9, 1.4)
        axes.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.4, 1.0))
    return figure


if __name__ == "__main__":
    figure = visualize()
    if len(sys.argv) > 1:
        fpsolve.save_figure(figure, sys.argv[1], overwrite=True)
