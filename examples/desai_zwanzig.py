"""
Where does a crowd of coupled particles order?
==============================================

Desai and Zwanzig's particles sit in a double well and pull at each other with strength J. Below a
critical diffusion their mean is not zero: it obeys m = ∫ x exp(−V(x; m)/D) dx / ∫ exp(−V(x; m)/D)
dx with V = x⁴/4 − x²/2 + J(x − m)²/2 (Dawson, J. Stat. Phys. 31, 29, 1983). Which of the two signs
is reached depends on the start.
"""

import sys

import numpy as np
from matplotlib.figure import Figure
from scipy.integrate import quad
from scipy.optimize import brentq

import fpsolve

coupling = 1.0


def excess(m, diffusion):
    """What a mean field m brings about, less m."""

    def weight(x):
        return np.exp(-(x**4 / 4 - x**2 / 2 + coupling * (x - m) ** 2 / 2) / diffusion)

    return quad(lambda x: x * weight(x), -5, 5)[0] / quad(weight, -5, 5)[0] - m


critical = brentq(lambda diffusion: excess(1e-4, diffusion) / 1e-4, 0.3, 0.8)
diffusions = np.array([0.2, 0.3, 0.4, 0.6, 0.8])
exact = np.array([brentq(excess, 0.05, 1.5, (d,)) if d < critical else 0.0 for d in diffusions])
reached = np.empty((2, diffusions.size))
for j, diffusion in enumerate(diffusions):
    model = fpsolve.McKeanVlasov(
        [lambda x: x - x**3, lambda x: -x, lambda x: 0 * x + 1],
        float(diffusion),
        coefficients=lambda t, M: [1.0, coupling, coupling * M[0]],
        functionals=[lambda x: x],
    )
    for i, sign in enumerate((1, -1)):
        start = fpsolve.GaussianInitial(0.5 * sign, 0.3)
        result = fpsolve.solve_mckean_vlasov(model, start, [120.0])
        reached[i, j] = result.functionals[0, 0]


def visualize():
    """Draw both branches, and where they meet."""
    figure = Figure(figsize=(5.5, 3.6), layout="constrained")
    axes = figure.subplots()
    below = np.append(np.linspace(0.15, 0.995, 40) * critical, critical)
    branch = [brentq(excess, 1e-3, 1.5, (d,)) for d in below[:-1]] + [0.0]
    for sign in (1, -1):
        axes.plot(below, sign * np.array(branch), "C0", label="self-consistent" if sign > 0 else "")
    for means, marker, label in zip(reached, "^v", ("from above", "from below"), strict=True):
        axes.plot(diffusions, means, f"k{marker}", label=f"solved, {label}")
    axes.axvline(critical, color="0.6", linestyle=":", label="transition")
    axes.set(xlabel="$D$", ylabel="mean")
    axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    figure = visualize()
    if len(sys.argv) > 1:
        fpsolve.save_figure(figure, sys.argv[1], overwrite=True)
