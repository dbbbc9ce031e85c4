"""Fig. 7: the index i* and the position p, drawn from real numbers and asked at many.

b = 3, ω = 1, λ = 0.25, no input quantizer: c = κρ/(S + λ) = 0.8 lies between two levels of ψ.
The exact stationary density sits on the threshold between them, with exponential flanks, and
mixes the two levels so that E ψ = c.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

import fpsolve
from validation.claims import Claim, answer, judged
from validation.curves import problem
from validation.gates import Gate
from validation.pictures import COLORS, GRAY, INK, grid_of_axes

TITLE = "Fig. 7: index and position"
KIND = "figure"


def compute(quick: bool = False) -> dict[str, Any]:
    """Return levels, target, position and the stationary density."""
    del quick  # Nothing here takes time.
    case = problem(3, 1.0, ridge=0.25)
    quantizer = case.weight_quantizer
    assert quantizer is not None
    levels, thresholds = quantizer.levels, quantizer.thresholds
    c = case.kappa * case.rho / (case.sigma2 + case.ridge)
    index = int(np.searchsorted(levels, c)) - 1
    state = fpsolve.stationary_states(case)[0]
    w = np.unique(np.concatenate([np.linspace(-1.3, 1.3, 2001), thresholds]))
    density = state.density(w, 1.0)
    return {
        "w": w,
        "psi": quantizer(w),
        "levels": levels,
        "thresholds": thresholds,
        "c": c,
        "index": index,
        "p": (c - levels[index]) / (levels[index + 1] - levels[index]),
        "density": density,
        "mean_psi": float(state.order_parameters.m_psi),
        "upper": _upper_share(case, levels[index], levels[index + 1]),
        "places": _places(),
        "settling": _settling(),
    }


def _places() -> list[dict[str, Any]]:
    """Index and position by both definitions of the paper, between levels and on them."""
    rows = []
    for bits in (2, 3, 4):
        for omega in (0.5, 1.0, 2.0):
            levels = fpsolve.UniformQuantizer(bits, omega).levels
            step = levels[1] - levels[0]
            for share in (0.0, 0.1, 0.5, 0.9):
                # c moves with λ; on a level, up to rounding, it is put there.
                for low in range(levels.size - 1):
                    c = levels[low] + share * step if share else levels[low]
                    if abs(c) >= omega:
                        continue
                    below, above = levels[:-1], levels[1:]
                    half_open = np.flatnonzero((below <= c) & (c < above))
                    i = int(half_open[0])
                    p = (c - levels[i]) / step
                    rows.append(
                        {
                            "bits": bits,
                            "omega": omega,
                            "share": share,
                            "closed": int(np.sum((below <= c) & (c <= above))),
                            "open": int(np.sum((below < c) & (c < above))),
                            "half_open": int(half_open.size),
                            "c": c,
                            "printed": (1 - p) * levels[i] + p * levels[i],
                            "mixed": (1 - p) * levels[i] + p * levels[i + 1],
                        }
                    )
    return rows


def _settling() -> list[dict[str, Any]]:
    """How far from θ* the exact stationary density has its mean, in Δ, at falling η."""
    rows = []
    for bits in (2, 3, 4):
        for p in (0.05, 0.3, 0.5, 0.7, 0.95):
            levels = fpsolve.UniformQuantizer(bits, 1.0).levels
            step = levels[1] - levels[0]
            i = levels.size // 2
            # λ with c = 1/(1 + λ) at p between 0 and the next level, or the one above it.
            i = i if i + 1 < levels.size else i - 1
            c = levels[i] + p * step
            away = []
            for eta in (1e-3, 1e-4):
                state = fpsolve.stationary_states(problem(bits, ridge=1 / c - 1, eta=eta))[0]
                away.append(abs(float(state.order_parameters.m) - levels[i] - step / 2) / step)
            rows.append({"bits": bits, "p": p, "away": away})
    return rows


def _upper_share(case: fpsolve.Problem, low: float, high: float) -> float:
    """Return the mass above the threshold between two levels as η → 0, from E ψ²."""
    slow = replace(case, learning_rate=1e-3)
    q_psi = float(fpsolve.stationary_states(slow)[0].order_parameters.q_psi)
    return (q_psi - low**2) / (high**2 - low**2)


def gates(data: dict[str, Any]) -> list[Gate]:
    """Position and mean of ψ as defined."""
    reason = "identity; rounding of a few operations on numbers of size one"
    return [
        Gate.near("E ψ in the stationary state", data["mean_psi"], data["c"], 1e-12, reason),
        Gate.near(
            "mass above the threshold, η = 1e-3, from E ψ²",
            data["upper"],
            data["p"],
            1e-9,
            "p, as the mass that mixes the two levels to c; flanks of width D/|a| reach the next "
            "thresholds with a mass below e^−100",
        ),
    ]


def claims(data: dict[str, Any]) -> list[Claim]:
    """Whether index and position are what the definitions say, and where the weights settle."""
    rows = data["places"]
    # One index, and the mixture of its two levels is c.
    answers = [
        answer(
            f"b = {r['bits']}, ω = {r['omega']:g}: {r['share']:g} of the way, c = {r['c']:.3g}",
            1e-12 - abs(r["mixed"] - r["c"]) - abs(r["half_open"] - 1),
            0.0,
        )
        for r in rows
    ]
    on = [r for r in rows if r["share"] == 0]
    evidence = (
        f"at {len(rows)} places of c the index is unique with v_i ≤ c < v_{{i+1}}; of the "
        f"{len(on)} on a level, v_i ≤ c ≤ v_{{i+1}} has up to {max(r['closed'] for r in on)} "
        f"indices and v_i < c < v_{{i+1}} {min(r['open'] for r in on)}; c = (1 − p)v_i + p v_i as "
        f"printed is up to {max(abs(r['printed'] - r['c']) for r in rows):.2f} off"
    )
    off = max(abs(r["printed"] - r["c"]) for r in rows) / 1e-12
    text = "Def. VI.2 and V.2, Fig. 7: a unique index i* and position p with c between two levels"
    found = [judged("fig7-index", text, answers, evidence, off=off)]
    rows = data["settling"]
    answers = [
        # To the threshold: nearer at the smaller η, and within a hundredth of a step.
        answer(
            f"b = {r['bits']}, p = {r['p']:g}",
            min(0.01 - r["away"][1], r["away"][0] - r["away"][1] + 1e-12),
            0.0,
        )
        for r in rows
    ]
    worst = max(rows, key=lambda r: r["away"][1])
    evidence = (
        f"mean of the exact stationary density off θ*: {worst['away'][0]:.1e} Δ at η = 1e-3, "
        f"{worst['away'][1]:.1e} Δ at 1e-4, at worst (b = {worst['bits']}, p = {worst['p']:g})"
    )
    text = "After Def. V.2: between levels the weights settle near the threshold θ* as η → 0"
    return [*found, judged("fig7-threshold", text, answers, evidence)]


def headline(data: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    return (
        f"i* = {data['index']}, p = {data['p']:.3g}, and E ψ = c to "
        f"{abs(data['mean_psi'] - data['c']):.0e}"
    )


def visualize(data: dict[str, Any]) -> Any:
    """Draw ψ, c, the neighbouring levels and the density."""
    figure, axes = grid_of_axes(1, 1, height=4.2)
    ax = axes[0, 0]
    i, levels = data["index"], data["levels"]
    ax.step(data["w"], data["psi"], where="post", color=COLORS[0], label=r"$\psi(w)$")
    ax.axhline(data["c"], color=COLORS[1], lw=1, label=rf"$c={data['c']:.3g}$")
    for k, name in ((i, r"$v_{i^*}$"), (i + 1, r"$v_{i^*+1}$")):
        ax.axhline(levels[k], color=GRAY, lw=0.8, ls=":")
        ax.annotate(f"{name} = {levels[k]:.3f}", (-1.28, levels[k]), va="bottom", color=INK)
    at = -0.35
    for low, high, name in (
        (levels[i], data["c"], r"$p\Delta$"),
        (data["c"], levels[i + 1], r"$(1-p)\Delta$"),
    ):
        ax.annotate("", (at, low), (at, high), arrowprops={"arrowstyle": "<->", "color": INK})
        ax.annotate(name, (at + 0.03, 0.5 * (low + high)), va="center", color=INK)
    theta = data["thresholds"][i]
    ax.axvline(theta, color=GRAY, lw=0.8, ls="--")
    ax.annotate(rf"$\theta_{{i^*+1}}={theta:.3f}$", (theta - 0.02, -1.0), ha="right", color=INK)
    shape = np.asarray(data["density"]) / np.max(data["density"])
    ax.fill_between(data["w"], -1.15, -1.15 + 0.9 * shape, color=COLORS[2], alpha=0.4, lw=0)
    ax.plot([], [], lw=6, alpha=0.4, color=COLORS[2], label=r"stationary density, $\eta=0.04$")
    ax.set_xlabel("$w$")
    ax.set_title(rf"$b=3,\ \omega=1,\ \lambda=0.25$: $i^*={i}$, $p={data['p']:.3g}$")
    ax.legend(loc="lower left", bbox_to_anchor=(0.0, 0.25))
    return figure
