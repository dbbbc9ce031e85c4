"""Proposition V.7 and Theorem VI.3: small learning rates, in all three regimes of the position p.

b = 3, no input quantizer. Between levels (ω = 1, λ = 1: p = ½) ε* → ε₀ + SΔ²p(1−p); on a level
(ω = 1, λ = ½: c = 2/3) ε* = ε₀(1 + Sχη) + o(η); clipped (ω = 0.4, λ = 1) ρ + σ² − 2κω + Sω²,
with m ballistic and s² → ∞ instead of a fixed point. The closure's s is χε₀η/(2Δφ(z*)); the
paper omits ε₀. On a level the exact spread tends to Δ/√12, that of a flat density over one bin,
not to 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import fpsolve
from validation.claims import Claim, answer, judged
from validation.curves import late_average, problem, student_gate
from validation.gates import Gate, mean_and_error
from validation.parts import part
from validation.pictures import COLORS, GRAY, grid_of_axes, points

TITLE = "Prop. V.7, Theorem VI.3: three regimes"
KIND = "claim"
SEED = 1601
REGIMES = {"between levels": (1.0, 1.0), "on a level": (1.0, 0.5), "clipped": (0.4, 1.0)}


def case_of(regime: str, eta: float) -> fpsolve.Problem:
    """Return the problem of a regime."""
    omega, ridge = REGIMES[regime]
    return problem(3, omega, ridge=ridge, eta=eta, noise_variance=0.1)


def compute(quick: bool = False) -> dict[str, Any]:
    """Return exact, closed and simulated stationary states over η."""
    rates = np.geomspace(1e-5, 0.3, 16)
    dimension, runs = (100, 160) if quick else (200, 512)
    found: dict[str, Any] = {}
    for i, regime in enumerate(REGIMES):
        omega, ridge = REGIMES[regime]
        case = case_of(regime, 0.1)
        limit = fpsolve.small_rate_limit(case)
        step = case.weight_quantizer.scale  # type: ignore[union-attr]
        c = case.kappa / (1 + ridge)
        chi = case.sigma2 / (case.sigma2 + ridge)
        floor = 1.1 - 2 * c + c**2
        p = float(limit.positions[0])
        truth = 1.1 - 2 * omega + omega**2 if c >= omega else floor + step**2 * p * (1 - p)
        row: dict[str, Any] = {
            "truth": truth,
            "library": limit.generalization_error,
            # The theorem's ε_g^(0) holds Sω² where its own derivation has Sc².
            "printed": truth if c >= omega else truth - c**2 + omega**2,
            "chi": chi,
            "step": step,
            "slope": truth * chi if regime == "on a level" else 0.0,
            "library_slope": limit.error_slope,
        }
        states = [fpsolve.stationary_states(case_of(regime, eta))[0] for eta in rates]
        row["exact"] = [state.generalization_error for state in states]
        if regime != "clipped":
            row["spread"] = [state.moments(1.0)[1] for state in states]
            closed = [fpsolve.isotropic_fixed_points(case_of(regime, eta)) for eta in rates]
            row["closure"] = [points_[0].generalization_error for points_ in closed]
            row["closure_spread"] = [points_[0].s for points_ in closed]
        if regime == "between levels":
            row["spread_slope"] = truth * chi / (2 * step * np.exp(0) / np.sqrt(2 * np.pi))
        # Relaxation: the bin's width over the drift, or its square over D where there is none.
        horizon = 200.0 if regime == "between levels" else 150.0
        row["ste"] = part(
            regime,
            lambda case=case, horizon=horizon, i=i: late_average(
                case, (horizon / 2, horizon), dimension=dimension, runs=runs, seed=SEED + i
            ),
        )
        row["ste_truth"] = fpsolve.stationary_states(case)[0].generalization_error
        found[regime] = row
    found["clipped"] |= part(
        "ballistic", lambda: _ballistic(case_of("clipped", 0.1), dimension, runs)
    )
    return {"eta": rates, "regimes": found, "seeds": [SEED, SEED + 1, SEED + 2, SEED + 9]}


def _ballistic(case: fpsolve.Problem, dimension: int, runs: int) -> dict[str, Any]:
    """Return late speeds of m and of s² by STE, with what drift and diffusion say."""
    times = np.array([80.0, 160.0])
    state = fpsolve.simulate_ste(
        case, times, dimension=dimension, runs=runs, seed=SEED + 9, dense_times=times
    ).order_parameters
    speeds = {}
    for name, values in (("m", state.m), ("s2", np.square(state.s))):
        mean, error = mean_and_error((values[:, 1] - values[:, 0]) / (times[1] - times[0]))
        speeds[name] = {"mean": mean, "error": error, "runs": runs}
    pull = case.sigma2 + case.ridge
    error = fpsolve.small_rate_limit(case).generalization_error
    truths = {
        "m": case.learning_rate * pull * (case.kappa / pull - 0.4),
        "s2": 2 * float(case.diffusivity(error)),
    }
    return {"speeds": speeds, "speed_truths": truths}


def gates(data: dict[str, Any]) -> list[Gate]:
    """Limits, slopes and spreads; STE at η = 0.1 in every regime."""
    rows = []
    eta = np.asarray(data["eta"])
    for regime, row in data["regimes"].items():
        exact = np.asarray(row["exact"])
        # What the limit leaves out at the two smallest rates is linear in η, or smaller.
        left = _left(exact, eta) + 1e-12
        why = "twice what linear extrapolation from the two smallest η leaves, and rounding"
        rows.append(Gate.near(f"{regime}: ε* at η = 1e-5", exact[0], row["truth"], left, why))
        gap = abs(row["library"] - row["truth"])
        rows.append(
            Gate.at_most(f"{regime}: library's limit against the formula", gap, 1e-13, "rounding")
        )
        rows.append(student_gate(f"{regime}: ε* by STE, η = 0.1", row["ste"], row["ste_truth"], 3))
    level = data["regimes"]["on a level"]
    slopes = (np.asarray(level["exact"])[:2] - level["truth"]) / eta[:2]
    left = _left(slopes, eta) + 1e-14 / eta[0]
    why = "twice what extrapolation from the two smallest η leaves, and rounding over η"
    rows.append(Gate.near("on a level: slope ε₀Sχ", slopes[0], level["slope"], left, why))
    flat, left = level["spread"][0], _left(level["spread"], eta)
    why = "twice what extrapolation from the two smallest η leaves"
    rows.append(Gate.near("on a level: exact spread", flat, level["step"] / np.sqrt(12), left, why))
    between = data["regimes"]["between levels"]
    slopes = np.asarray(between["closure_spread"])[:2] / eta[:2]
    left = _left(slopes, eta) + 1e-6 * slopes[0]
    why = "twice what extrapolation from the two smallest η leaves, and 1e-6 for the root finder"
    rows.append(
        Gate.near(
            "between levels: s/η of the closure", slopes[0], between["spread_slope"], left, why
        )
    )
    clipped = data["regimes"]["clipped"]
    for name, label in (("m", "dm/dτ"), ("s2", "ds²/dτ")):
        truth = clipped["speed_truths"][name]
        rows.append(student_gate(f"clipped: {label} by STE", clipped["speeds"][name], truth, 2))
    return rows


def _left(values: Any, eta: Any) -> float:
    """Return twice the distance to η = 0 of a quantity linear in η at the two smallest rates."""
    return float(2 * abs(values[1] - values[0]) / (eta[1] / eta[0] - 1))


def claims(data: dict[str, Any]) -> list[Claim]:
    """Whether ε* and s have the stated limits, corrected and as printed."""
    eta = np.asarray(data["eta"])
    answers, told, off = [], [], 0.0
    for regime, row in data["regimes"].items():
        left = _left(row["exact"], eta) + 1e-12
        answers.append(answer(regime, left - abs(row["exact"][0] - row["truth"]), 0.0))
        off = max(off, abs(row["exact"][0] - row["printed"]) / left)
        told.append(
            f"{regime}: exact {row['exact'][0]:.4f} at η = {eta[0]:.0e}, limit {row['truth']:.4f}, "
            f"as printed {row['printed']:.4f}"
        )
    text = "Theorem VI.3: ε* as η → 0 between levels, on a level and beyond the range"
    found = [judged("theorem-vi3", text, answers, "; ".join(told), off=off)]
    between = data["regimes"]["between levels"]
    slopes = np.asarray(between["closure_spread"])[:2] / eta[:2]
    left = _left(slopes, eta) + 1e-6 * slopes[0]
    right = between["spread_slope"]
    # As printed: without the factor ε_g of the limit.
    printed = right / between["truth"]
    evidence = (
        f"s/η of the closure {slopes[0]:.4f} at η = {eta[0]:.0e}; χε_g/(2Δφ) = {right:.4f}, as "
        f"printed χ/(2Δφ) = {printed:.4f}"
    )
    answers = [answer("between levels", left - abs(slopes[0] - right), 0.0)]
    text = "Prop. V.7: between levels s is proportional to η, with slope χ/(2Δφ)"
    off = abs(slopes[0] - printed) / left
    return [*found, judged("prop-v7", text, answers, evidence, off=off)]


def headline(data: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    parts = [
        f"{regime} {row['ste']['mean']:.4f} ± {row['ste']['error']:.4f} (exact "
        f"{row['ste_truth']:.4f})"
        for regime, row in data["regimes"].items()
    ]
    return f"ε* by STE at η = 0.1: {', '.join(parts)}; limits and slopes as corrected"


def visualize(data: dict[str, Any]) -> Any:
    """Draw ε* and s over η in all regimes."""
    figure, axes = grid_of_axes(1, 2, height=3.6)
    for color, (regime, row) in zip(COLORS, data["regimes"].items(), strict=False):
        rise = np.abs(np.subtract(row["exact"], row["truth"]))
        axes[0, 0].plot(data["eta"], np.maximum(rise, 1e-13), color=color, label=regime)
        above = abs(row["ste"]["mean"] - row["truth"])
        points(axes[0, 0], 0.1, above, min(row["ste"]["error"], 0.99 * above), color)
        if "closure" in row:
            rise = np.abs(np.subtract(row["closure"], row["truth"]))
            axes[0, 0].plot(data["eta"], np.maximum(rise, 1e-13), ":", color=color)
            axes[0, 1].plot(data["eta"], row["spread"], color=color)
            axes[0, 1].plot(data["eta"], row["closure_spread"], ":", color=color)
    axes[0, 1].axhline(data["regimes"]["on a level"]["step"] / np.sqrt(12), color=GRAY, lw=0.6)
    axes[0, 0].set_ylabel(r"$|\varepsilon_g^*-$ limit$|$")
    axes[0, 0].set_yscale("log")
    axes[0, 0].set_ylim(1e-13, 1)
    axes[0, 1].set_ylabel("$s$ (solid: exact, dotted: closure)")
    axes[0, 1].set_yscale("log")
    axes[0, 0].legend()
    for ax in axes[0]:
        ax.set_xscale("log")
        ax.set_xlabel(r"$\eta$")
    return figure
