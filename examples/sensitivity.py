"""
How sensitive is the result to a parameter?
===========================================

By central differences: solves are exact enough (`rtol`) for them. Here dε*/dη of the stationary
error, where the target κw*/(S + λ) lies exactly on a level: theory says ε₀ S χ, χ = S/(S + λ), as η
tends to 0.
"""

import sys
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

import fpsolve

base = fpsolve.Problem(
    weight_quantizer=fpsolve.UniformQuantizer(bit_width=3, omega=1.5),
    input_quantizer=None,
    learning_rate=0.01,
    ridge=1.0,
)


def settled(rate):
    """Return the stationary error at learning rate `rate`."""
    (state,) = fpsolve.stationary_states(replace(base, learning_rate=rate))
    return state.generalization_error


rates = np.geomspace(1e-3, 0.3, 12)
slopes = np.array([(settled(1.01 * r) - settled(0.99 * r)) / (0.02 * r) for r in rates])
limit = fpsolve.small_rate_limit(base)


def visualize():
    """Draw the slope against the learning rate, its limit dashed."""
    figure = Figure(figsize=(5.6, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.semilogx(rates, slopes, "o-", label="central differences")
    axes.axhline(limit.error_slope, color="0.4", ls="--", label=r"limit $\eta \to 0$")
    axes.set(xlabel=r"$\eta$", ylabel=r"$d\varepsilon^*/d\eta$", ylim=(0.115, 0.127))
    axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    figure = visualize()
    if len(sys.argv) > 1:
        fpsolve.save_figure(figure, sys.argv[1], overwrite=True)
