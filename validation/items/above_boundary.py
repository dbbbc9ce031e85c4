"""Quantized weights above the stability boundary of unquantized ones: training stays bounded.

For unquantized weights q diverges at η > 2(S+λ)/S². Levels end at ±ω, so that ε_g cannot: the
exact stationary density exists at every η. Is it where the simulation goes? This is what is
behind the paper's "implicit regularizer", said of weights here, not of inputs alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import fpsolve
from validation.claims import Claim, answer, judged
from validation.curves import late_average, problem, student_gate
from validation.gates import Gate
from validation.pictures import COLORS, INK, grid_of_axes, points

TITLE = "Above the unquantized stability boundary"
KIND = "new"
SEED = 4301
SETTINGS = {"ridge": 0.3, "noise_variance": 0.1}
FACTORS = (0.5, 1.2, 2.5)


def compute(quick: bool = False) -> dict[str, Any]:
    """Return ε*(η) of the exact stationary density, and STE on both sides of the boundary."""
    free = problem(None, **SETTINGS)
    boundary = fpsolve.stability_boundary(free)
    eta = boundary * np.geomspace(0.02, 4.0, 30)
    exact = [
        fpsolve.stationary_states(problem(3, eta=e, **SETTINGS))[0].generalization_error
        for e in eta
    ]
    dimension, runs = (100, 200) if quick else (200, 600)
    rows = []
    for i, factor in enumerate(FACTORS):
        case = problem(3, eta=factor * boundary, **SETTINGS)
        truth = fpsolve.stationary_states(case)[0].generalization_error
        found = late_average(case, (15, 40), dimension=dimension, runs=runs, seed=SEED + i)
        rows.append({"factor": factor, "eta": factor * boundary, "truth": truth, **found})
    over = problem(None, eta=FACTORS[1] * boundary, **SETTINGS)
    runaway = fpsolve.simulate_ste(
        over, [10.0, 20.0], dimension=dimension, runs=runs, seed=SEED + 9, dense_times=[20.0]
    ).order_parameters.generalization_error
    growth = np.log(runaway[:, 1] / runaway[:, 0])
    return {
        "eta": eta,
        "exact": exact,
        "boundary": boundary,
        "rows": rows,
        "growth": growth.mean(),
        "growth_error": growth.std(ddof=1) / np.sqrt(runs),
    }


def gates(data: dict[str, Any]) -> list[Gate]:
    """STE has the stationary error on both sides; unquantized weights run away above."""
    rows = [
        student_gate(f"ε* by STE at {r['factor']:g} of the boundary", r, r["truth"], len(FACTORS))
        for r in data["rows"]
    ]
    why = "five standard errors: unquantized weights grow there, quantized ones do not"
    growth, error = data["growth"], data["growth_error"]
    name = f"log growth of ε_g, unquantized, at {FACTORS[1]:g} of the boundary"
    return [*rows, Gate.at_least(name, growth, 5 * error, why, noise=error)]


def claims(data: dict[str, Any]) -> list[Claim]:
    """Whether quantized weights learn where unquantized ones run away."""
    nothing = 1 + SETTINGS["noise_variance"]
    runs_away = data["growth"] - 5 * data["growth_error"]
    answers = [
        # Better than weights of 0, and unquantized ones grow.
        answer(
            f"{r['factor']:g} of the boundary", min(nothing - r["mean"], runs_away), 5 * r["error"]
        )
        for r in data["rows"]
        if r["factor"] > 1
    ]
    told = ", ".join(
        f"{r['mean']:.3f} ± {r['error']:.3f} at {r['factor']:g} of the boundary"
        for r in data["rows"]
    )
    evidence = (
        f"ε_g of three-bit weights by STE: {told}; that of unquantized "
        f"weights grows e-fold every {10 / data['growth']:.2g} of τ at {FACTORS[1]:g}"
    )
    text = "Conclusion: quantization enlarges the stable region, an implicit regularizer"
    return [judged("implicit-regularizer", text, answers, evidence)]


def headline(data: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    top = data["rows"][-1]
    return (
        f"at {top['factor']:g} times the boundary η = {data['boundary']:.3g}, where unquantized "
        f"weights run away, three-bit ones keep ε_g at {top['mean']:.3f} ± {top['error']:.3f} "
        f"(exact {top['truth']:.3f})"
    )


def visualize(data: dict[str, Any]) -> Any:
    """Draw ε*(η) across the boundary."""
    figure, axes = grid_of_axes(1, 1, width=6, height=3.6)
    ax = axes[0, 0]
    ax.plot(data["eta"], data["exact"], color=COLORS[0], label="b = 3, exact")
    for r in data["rows"]:
        points(ax, r["eta"], r["mean"], r["error"], COLORS[1])
    ax.plot([], [], "o", ms=3.5, color=COLORS[1], label="STE ± s.e.")
    ax.axvline(data["boundary"], color=INK, ls="--", lw=0.8, label="unquantized: 2(S+λ)/S²")
    ax.set_xscale("log")
    ax.set_ylim(bottom=0)
    ax.set_xlabel(r"$\eta$")
    ax.set_ylabel(r"$\varepsilon_g^*$")
    ax.legend()
    return figure
