"""
How long does a particle stay in its well?
==========================================

In the double well U = x⁴/4 − x²/2 at a small diffusion D, the difference of the occupancies of the
two wells decays at the rate (√2/π) exp(−1/(4D)) (1 − 3D/2 + O(D²)): Kramers' law with its first
correction (Laplace's method on the mean first-passage time).
"""

import sys

import numpy as np
from matplotlib.figure import Figure

import fpsolve

diffusions = np.array([0.04, 0.05, 0.065, 0.08, 0.1])
# Late enough for the well to have settled.
early, late = 10.0, 60.0
rates = []
for diffusion in diffusions:
    model = fpsolve.McKeanVlasov(lambda x: x - x**3, float(diffusion))
    start = fpsolve.GaussianInitial(-1.0, float(diffusion) / 2)
    result = fpsolve.solve_mckean_vlasov(model, start, [early, late], rtol=1e-8)
    left = [1 - 2 * result.probability(0.0, 6.0, time) for time in (early, late)]
    rates.append(np.log(left[0] / left[1]) / (late - early))
rates = np.array(rates)
leading = np.sqrt(2) / np.pi * np.exp(-1 / (4 * diffusions))
corrected = leading * (1 - 1.5 * diffusions)


def visualize():
    """Draw the rate against the inverse diffusion."""
    figure = Figure(figsize=(5.5, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.semilogy(1 / diffusions, leading, "--", label="Kramers")
    axes.semilogy(1 / diffusions, corrected, label="with its first correction")
    axes.semilogy(1 / diffusions, rates, "ko", label="solved")
    axes.set(xlabel="$1/D$", ylabel="relaxation rate")
    axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    figure = visualize()
    if len(sys.argv) > 1:
        fpsolve.save_figure(figure, sys.argv[1], overwrite=True)
