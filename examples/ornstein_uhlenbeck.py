"""
How do I solve a Fokker-Planck equation of my own?
==================================================

Give the drift, the diffusion and what to average. The Ornstein-Uhlenbeck process, drift −x and
diffusion D, stays Gaussian: its mean relaxes as exp(−t), its variance to D as exp(−2t).
"""

import sys

import numpy as np
from matplotlib.figure import Figure

import fpsolve

diffusion, mean, variance = 0.7, 1.5, 0.2
model = fpsolve.McKeanVlasov(lambda x: -x, diffusion, functionals=[lambda x: x, np.square])
times = np.array([0.0, 0.3, 1.0, 4.0])
result = fpsolve.solve_mckean_vlasov(model, fpsolve.GaussianInitial(mean, variance), times)

exact_mean = mean * np.exp(-times)
exact_variance = diffusion + (variance - diffusion) * np.exp(-2 * times)
x = np.linspace(-4, 4, 801)
exact = np.exp(-((x - exact_mean[:, None]) ** 2) / (2 * exact_variance[:, None]))
exact /= np.sqrt(2 * np.pi * exact_variance[:, None])
error = max(np.abs(result.pdf(x, t) - e).max() for t, e in zip(times, exact, strict=True))


def visualize():
    """Draw the densities, and the closed form over them."""
    figure = Figure(figsize=(5.5, 3.6), layout="constrained")
    axes = figure.subplots()
    for i, time in enumerate(times):
        axes.plot(x, result.pdf(x, time), f"C{i}", label=f"$t$ = {time:g}")
        axes.plot(x[::25], exact[i, ::25], f"C{i}.")
    axes.set(xlabel="$x$", ylabel="density", title="lines: solved, points: closed form")
    axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    figure = visualize()
    if len(sys.argv) > 1:
        fpsolve.save_figure(figure, sys.argv[1], overwrite=True)
