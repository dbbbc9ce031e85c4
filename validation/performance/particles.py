"""How fast the particles are: nanoseconds per coordinate and step, against the plain compiled loop.

    python validation/performance/particles.py [--steps 2e7] [--repeats 7]

All ratios are taken in one process, in alternation, each from the fastest of several repeats, so
that a slow or shared machine changes both sides alike. The plain loop is what one writes first:
draw a normal, quantize input and weight by arithmetic, two dot products, update.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable

import numpy as np
from numba import njit

from fpsolve import Problem, UniformQuantizer, simulate_sde, simulate_ste
from fpsolve.particles import kernels
from fpsolve.particles.packing import pack, pack_rules
from fpsolve.particles.streams import draw, run_streams

DIMENSIONS = (100, 900, 3000)


@njit(nogil=True)
def plain_steps(w, w_star, step, omega, eta, ridge, steps):
    """STE steps for a uniform quantizer of range `omega` on weights and inputs."""
    d = w.size
    last = round(2 * omega / step)
    x, image, psi = np.empty(d), np.empty(d), np.empty(d)
    for _ in range(steps):
        for i in range(d):
            x[i] = np.random.normal()  # noqa: NPY002 (the plain way is what is measured)
            image[i] = min(max(math.floor((x[i] + omega) / step + 0.5), 0.0), last) * step - omega
            psi[i] = min(max(math.floor((w[i] + omega) / step + 0.5), 0.0), last) * step - omega
        prediction = 0.0
        label = 0.0
        for i in range(d):
            prediction += psi[i] * image[i]
            label += w_star[i] * x[i]
        error = (prediction - label) / d
        for i in range(d):
            w[i] -= eta * (error * image[i] + ridge / d * psi[i])


@njit(nogil=True)
def plain_normals(count):
    """Sum of `count` normals, one call each."""
    total = 0.0
    for _ in range(count):
        total += np.random.normal()  # noqa: NPY002
    return total


def fastest(repeats: int, *calls: Callable[[], object]) -> list[float]:
    """Seconds of the fastest of `repeats` calls of each, in alternation; the first is a warm-up."""
    best = [math.inf] * len(calls)
    for repeat in range(repeats + 1):
        for k, call in enumerate(calls):
            start = time.perf_counter()
            call()
            if repeat:
                best[k] = min(best[k], time.perf_counter() - start)
    return best


def one_core(bits: int, d: int, work: int, repeats: int) -> None:
    """Compiled loop against compiled loop."""
    quantizer = UniformQuantizer(bits, 2.0)
    packed, key = pack(quantizer), run_streams(1, 0).inputs
    nothing = np.zeros(0), np.zeros((1, 0), dtype=np.int64)
    marks = kernels.Marks(
        np.zeros(1, dtype=np.int64), np.zeros((1, 6)), nothing[1], nothing[0], nothing[0]
    )
    steps = max(1, work // d)
    w, w_star = np.random.default_rng(0).normal(size=d), np.ones(d)
    mine, other, psi, noise = w.copy(), w.copy(), quantizer(w), np.zeros(steps)
    rates = kernels.Rates(np.array([0.04 / d]), np.zeros(1), np.array([0.04 / d]))
    law = kernels.GAUSSIAN
    samples = kernels.Samples(key, law, 1, packed, np.zeros((2, 0)), noise)
    rules = pack_rules(
        Problem(weight_quantizer=quantizer, input_quantizer=quantizer, learning_rate=0.04)
    )

    def fast() -> None:
        machine = kernels.Machine(packed, mine, psi, w_star, nothing[0], nothing[1][0], key)
        kernels.ste_steps(samples, rates, rules, machine, marks, 0, steps, 1)

    def plain() -> None:
        plain_steps(other, w_star, quantizer.scale, 2.0, 0.04, 0.0, steps)

    ours, theirs = fastest(repeats, fast, plain)
    unit = 1e9 / (steps * d)
    print(
        f"STE b={bits} d={d:5d}: {ours * unit:6.2f} ns, plain {theirs * unit:6.2f} ns, "
        f"{theirs / ours:5.1f} times faster"
    )


def two_threads(d: int, work: int, repeats: int) -> None:
    """Two threads against one, through the public function."""
    quantizer = UniformQuantizer(2, 2.0)
    problem = Problem(weight_quantizer=quantizer, input_quantizer=quantizer, learning_rate=0.04)
    end = [max(1, work // (d * d))]

    def run(threads: int) -> None:
        simulate_ste(problem, end, dimension=d, runs=4, seed=1, threads=threads)

    one, two = fastest(repeats, lambda: run(1), lambda: run(2))
    print(f"STE d={d:5d}, 4 runs: two threads {one / two:4.2f} times as fast as one")


def two_threads_of_one_cloud(repeats: int) -> None:
    """Two threads against one within a single run of a million particles."""
    quantizer = UniformQuantizer(2, 2.0)
    problem = Problem(weight_quantizer=quantizer, input_quantizer=quantizer, learning_rate=0.04)

    def run(threads: int) -> None:
        options = {"max_step": 0.05, "dense_times": [0.0], "threads": threads}
        simulate_sde(problem, [1.0], particles=1_000_000, seed=1, **options)

    one, two = fastest(repeats, lambda: run(1), lambda: run(2))
    print(f"SDE, one run of 10^6: two threads {one / two:4.2f} times as fast as one")


def normals(work: int, repeats: int) -> None:
    """Normals alone."""
    pairs, key = 500_000, run_streams(1, 0).inputs
    rounds = max(1, work // (2 * pairs))
    ours, plain = fastest(
        repeats,
        lambda: [draw(key, k * pairs, pairs) for k in range(rounds)],
        lambda: plain_normals(rounds * 2 * pairs),
    )
    unit = 1e9 / (rounds * 2 * pairs)
    print(f"normals: {ours * unit:5.2f} ns, np.random.normal {plain * unit:5.2f} ns")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=float, default=2e7, help="coordinates × steps a timing")
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    work = int(arguments.steps)
    normals(work, arguments.repeats)
    for bits in (2, 3):
        for d in DIMENSIONS:
            one_core(bits, d, work, arguments.repeats)
    for d in DIMENSIONS:
        two_threads(d, 5 * work, arguments.repeats)
    two_threads_of_one_cloud(arguments.repeats)


if __name__ == "__main__":
    main()
