"""
Does my finite model learn as the density says?
===============================================

Train five models of a thousand weights and put them beside the density. `compare` does not ask
whether the two are equal, which a thousand weights never are, but whether sampling noise explains
what is left.
"""

import sys

import fpsolve

problem = fpsolve.Problem(
    weight_quantizer=fpsolve.UniformQuantizer(bit_width=2, omega=1.0),
    input_quantizer=fpsolve.UniformQuantizer(bit_width=3, omega=1.5),
    learning_rate=0.1,
    ridge=0.5,
    teacher=fpsolve.Teacher([-1.0, 0.5], [0.3, 0.7]),
)
times = [0, 1, 4, 15, 60]
density = fpsolve.solve_pde(problem, times)
models = fpsolve.simulate_ste(problem, times, dimension=1000, runs=5, seed=1)
verdict = fpsolve.compare(density, models)


def visualize():
    """Draw histograms of the trained weights under the densities, order parameters below."""
    return fpsolve.plot_comparison(density, models)


if __name__ == "__main__":
    figure = visualize()
    if len(sys.argv) > 1:
        fpsolve.save_figure(figure, sys.argv[1], overwrite=True)
