"""Does the optimal range beat the usual ones when a layer is trained by STE?

Layers of 600 weights, bell-shaped with light to heavy tails, are quantized to 2–4 bits and learned
by one-pass STE at dimension 600 from their own weights as teacher. The range comes from
`optimal_range` on `Teacher.from_samples` (64 values), from the largest |w|, from three root mean
squares, and from the least mean square of w − ψ(w). What counts is ε_g at the end of training,
averaged over independent runs and the last third of the time, with its standard error over runs.

Run `python validation/optimal_range.py`: a table, in about three minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fpsolve import (
    Problem,
    Teacher,
    UniformQuantizer,
    optimal_range,
    range_curve,
    simulate_ste,
    usual_ranges,
)

DIMENSION = 600
LEARNING_RATE = 0.1
TIME = 120.0
RUNS = 4
NODES = 64


@dataclass(frozen=True)
class Row:
    """One layer, bit width and choice of range (dimensionless)."""

    layer: str
    bits: int
    inputs: str
    choice: str
    omega: float
    theory: float
    simulated: float
    error: float


def layers() -> dict[str, np.ndarray]:
    """Return weights of unit variance, shape (DIMENSION,) each."""
    rng = np.random.default_rng(7)
    raw = {
        "gaussian": rng.standard_normal(DIMENSION),
        "laplace": rng.laplace(size=DIMENSION),
        "student-5": rng.standard_t(5, size=DIMENSION),
        "outliers": np.where(
            rng.random(DIMENSION) < 0.01,
            8 * rng.standard_normal(DIMENSION),
            rng.standard_normal(DIMENSION),
        ),
    }
    return {name: weights / weights.std() for name, weights in raw.items()}


def judge(problem: Problem, omega: float) -> tuple[float, float]:
    """Return mean and standard error of the late ε_g of STE at this range."""
    quantizer = problem.weight_quantizer
    assert isinstance(quantizer, UniformQuantizer)
    late = np.linspace(2 * TIME / 3, TIME, 51)
    tried = Problem(
        weight_quantizer=UniformQuantizer(quantizer.bit_width, omega),
        input_quantizer=problem.input_quantizer,
        learning_rate=problem.learning_rate,
        teacher=problem.teacher,
    )
    found = simulate_ste(
        tried, [TIME], dimension=DIMENSION, runs=RUNS, seed=1, dense_times=late
    ).dense_order_parameters.generalization_error.mean(axis=1)
    return float(found.mean()), float(found.std(ddof=1) / np.sqrt(RUNS))


def rows() -> Iterator[Row]:
    """Yield a row for every layer, bit width, input precision and choice of range."""
    for layer, weights in layers().items():
        for inputs in (None, UniformQuantizer(4, 2.6)):
            for bits in (2, 3, 4):
                law = Problem(
                    weight_quantizer=UniformQuantizer(bits, 1.0),
                    input_quantizer=inputs,
                    learning_rate=LEARNING_RATE,
                    teacher=Teacher.from_samples(weights, NODES),
                )
                choices = {"optimal_range": optimal_range(law).omega, **usual_ranges(weights, bits)}
                theory = range_curve(law, list(choices.values()))
                # The simulated teacher is the layer itself, not its 64 representatives.
                trained = Problem(
                    weight_quantizer=law.weight_quantizer,
                    input_quantizer=inputs,
                    learning_rate=LEARNING_RATE,
                    teacher=Teacher(weights, np.full(DIMENSION, 1 / DIMENSION)),
                )
                label = "none" if inputs is None else "b_x = 4"
                for (choice, omega), expected in zip(choices.items(), theory, strict=True):
                    mean, error = judge(trained, omega)
                    yield Row(layer, bits, label, choice, omega, float(expected), mean, error)


def main() -> None:
    """Print the table, and count how often each choice is best."""
    print(
        f"{'layer':10} {'b':>2} {'inputs':8} {'choice':14} {'omega':>7} {'theory':>9} {'STE':>9} +-"
    )
    best: dict[tuple[str, int, str], Row] = {}
    every = []
    for row in rows():
        every.append(row)
        key = (row.layer, row.bits, row.inputs)
        if key not in best or row.simulated < best[key].simulated:
            best[key] = row
        print(
            f"{row.layer:10} {row.bits:2d} {row.inputs:8} {row.choice:14} {row.omega:7.3f}"
            f" {row.theory:9.5f} {row.simulated:9.5f} {row.error:.5f}",
            flush=True,
        )
    for choice in dict.fromkeys(row.choice for row in every):
        wins = sum(row.choice == choice for row in best.values())
        print(f"{choice:14} best in {wins} of {len(best)}")
    gaps = [
        (row, best[row.layer, row.bits, row.inputs])
        for row in every
        if row.choice == "optimal_range"
    ]
    lost = [(row, winner) for row, winner in gaps if winner is not row]
    for row, winner in lost:
        sigmas = (row.simulated - winner.simulated) / np.hypot(row.error, winner.error)
        where = f"{row.layer} b = {row.bits} inputs {row.inputs}"
        print(f"lost: {where} to {winner.choice} by {sigmas:.1f} standard errors")


if __name__ == "__main__":
    main()
