"""
How do range and ridge act together?
====================================

A sweep over both. With more cores, or on a cluster, only ``workers=`` or ``executor=`` changes. At
2 bits the valley of small error bends: the penalty shortens the target, a narrower range fits it.
"""

import sys

import numpy as np
from matplotlib.figure import Figure

import fpsolve

base = fpsolve.Problem(
    weight_quantizer=fpsolve.UniformQuantizer(bit_width=2, omega=1.0),
    input_quantizer=None,
    learning_rate=0.05,
)
ranges = np.linspace(0.4, 2.0, 9)
ridges = np.linspace(0.0, 1.5, 7)
axes_swept = {"weight_quantizer.omega": ranges, "ridge": ridges}
result = fpsolve.sweep(
    base, axes_swept, fpsolve.solve_pde, times=[0.0, 120.0], rtol=1e-3, workers=1
)
late = result.order_parameters.generalization_error[..., -1]  # shape (ranges, ridges)


def visualize():
    """Draw the error at the last time over both axes."""
    figure = Figure(figsize=(5.6, 4.0), layout="constrained")
    axes = figure.subplots()
    fpsolve.plot_phase_diagram(result, ax=axes)
    best = ranges[late.argmin(axis=0)]
    axes.plot(best, ridges, "wo", mec="0.2", zorder=1.9, label=r"best range at a $\lambda$")
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2)
    return figure


if __name__ == "__main__":
    figure = visualize()
    if len(sys.argv) > 1:
        fpsolve.save_figure(figure, sys.argv[1], overwrite=True)
