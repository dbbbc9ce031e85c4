"""Fig. 7: the index i* and the position p, drawn from real numbers.

b = 3, ω = 1, λ = 0.25, no input quantizer: c = κρ/(S + λ) = 0.8 lies between two levels of ψ.
The exact stationary density sits on the threshold between them, with exponential flanks, and
mixes the two levels so that E ψ = c.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

import fpsolve
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
    }


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
