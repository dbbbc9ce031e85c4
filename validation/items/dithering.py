"""Dithering against rounding: the floor of ε* for a Gaussian teacher as η → 0.

Weights settle on thresholds and mix the two neighbouring levels: an error p(1−p)Δ², on average
SΔ²/6, as of dithering. The closure's floor is that of one Gaussian for all teacher values: as of
rounding, SΔ²/12.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats
from scipy.optimize import brentq

import fpsolve
from fpsolve import Teacher
from validation.curves import late_average, problem, student_gate
from validation.gates import FALSE_ALARM, Gate, student_limit
from validation.pictures import COLORS, INK, grid_of_axes, points

TITLE = "Dithering against rounding"
KIND = "new"
# Why the paper claims nothing of this.
BEYOND = "its examples have one teacher value, not a law of them"
SEED = 3401
OMEGA = 5.0
# Teacher values for the floor of the density, whose error they leave.
NODES = 4096


def case_of(bits: int, eta: float = 0.01, nodes: int = 128) -> fpsolve.Problem:
    """Return a problem with a Gaussian teacher in discrete form, range five deviations."""
    grid = stats.norm.ppf((np.arange(nodes) + 0.5) / nodes)
    values = grid / np.sqrt(np.mean(grid**2))
    return problem(bits, OMEGA, eta=eta, teacher=Teacher(values, np.full(nodes, 1 / nodes)))


def compute(quick: bool = False) -> dict[str, Any]:
    """Return floors by density, closure and simulation, over the step Δ."""
    rows = []
    for bits in (3, 4, 5, 6):
        case = case_of(bits, nodes=NODES)
        step = case.weight_quantizer.scale  # type: ignore[union-attr]
        exact = fpsolve.small_rate_limit(case).generalization_error
        nodes = 512 if quick else 1024
        tiny = case_of(bits, 1e-6, nodes)
        fixed = fpsolve.isotropic_fixed_points(tiny)
        rows.append(
            {
                "bits": bits,
                "step": step,
                "exact": exact,
                "closure": fixed[0].generalization_error if fixed else np.nan,
                **_rounding(case.weight_quantizer, nodes),
            }
        )
    # STE with small η from weights at the teacher's own values: no long search first.
    case = case_of(4, 0.02, 128)
    start = fpsolve.Problem(
        weight_quantizer=case.weight_quantizer,
        input_quantizer=None,
        learning_rate=0.02,
        teacher=case.teacher,
        initial=fpsolve.GaussianInitial(variance=0.0, overlap=1.0),
    )
    runs, dimension = (48, 128) if quick else (64, 256)
    horizon = 800.0 if quick else 1000.0
    ste = late_average(start, (0.7 * horizon, horizon), dimension=dimension, runs=runs, seed=SEED)
    return {
        "rows": rows,
        "ste": {"step": case.weight_quantizer.scale, **ste},  # type: ignore[union-attr]
        "stationary": fpsolve.stationary_states(start)[0].generalization_error,
    }


def _rounding(quantizer: Any, nodes: int) -> dict[str, float]:
    """Floor of w = m w*, the closure's limit, for a Gaussian teacher, by scalar root and sums.

    Teacher values in discrete form leave one of them undecided: moving it over a threshold θ
    changes the error by its probability times |2Δθ(1 − 1/m)|, and by Δ² if its place is unknown.
    """
    levels, thresholds, step = quantizer.levels, quantizer.thresholds, quantizer.scale
    # E[w* ψ(m w*)] = 1, which is dm/dτ = 0.
    m = brentq(lambda m: step * stats.norm.pdf(thresholds / m).sum() - 1, 0.3, 3, xtol=1e-14)
    square = levels[0] ** 2 + np.diff(levels**2) @ stats.norm.sf(thresholds / m)
    return {
        "rounding": square - 1,
        "one_value": (2 * step * OMEGA * abs(1 - 1 / m) + step**2) / nodes,
    }


def gates(data: dict[str, Any]) -> list[Gate]:
    """Δ²/6 for the density, rounding for the closure; STE sides with the density."""
    rows = []
    for r in data["rows"]:
        # Poisson summation: the mean of p(1−p) over a Gaussian is 1/6 up to exp(−2π²/Δ²)·2/π²·…
        wave = np.exp(-2 * (np.pi / r["step"]) ** 2) / np.pi**2 * 2
        tail = 2 * stats.norm.sf(OMEGA) * 4
        grid = 2 / NODES
        why = "Fourier term of the mean over a Gaussian, its tail beyond ω, and 4096 teacher values"
        rows.append(
            Gate.near(
                f"b = {r['bits']}: floor/Δ² of the density",
                r["exact"] / r["step"] ** 2,
                1 / 6,
                wave + tail / r["step"] ** 2 + grid,
                why,
            )
        )
        rows.append(
            Gate.near(
                f"b = {r['bits']}: floor of the closure",
                r["closure"],
                r["rounding"],
                r["one_value"],
                "w = m w* rounded, m by a scalar root; one teacher value undecided",
            )
        )
    s = data["ste"]
    rows.append(student_gate("b = 4: late ε_g of STE", s, data["stationary"]))
    t = student_limit(s["degrees"])
    floor = s["step"] ** 2
    why = f"Student's t at {FALSE_ALARM:g}: {t:.3g} standard errors"
    rows.append(
        Gate.at_least(
            "b = 4: late ε_g/Δ² of STE",
            s["mean"] / floor,
            1 / 12 + t * s["error"] / floor,
            why + " above rounding",
        )
    )
    return rows


def headline(data: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    fine = data["rows"][-1]
    square = data["ste"]["step"] ** 2
    return (
        f"floor/Δ² of the density {fine['exact'] / fine['step'] ** 2:.4f} (1/6), of the closure "
        f"{fine['closure'] / fine['step'] ** 2:.4f} (1/12); STE at b = 4: "
        f"{data['ste']['mean'] / square:.3f} ± {data['ste']['error'] / square:.3f}"
    )


def visualize(data: dict[str, Any]) -> Any:
    """Draw floors over Δ."""
    figure, axes = grid_of_axes(1, 1, width=6, height=3.8)
    ax = axes[0, 0]
    step = np.array([r["step"] for r in data["rows"]])
    ax.plot(step, [r["exact"] for r in data["rows"]], "s-", color=COLORS[0], label="density, η → 0")
    ax.plot(
        step, [r["closure"] for r in data["rows"]], "v:", color=COLORS[2], label="closure, η = 1e-6"
    )
    ax.plot(step, step**2 / 6, color=INK, lw=0.7, label=r"$\Delta^2/6$, dithering")
    ax.plot(step, step**2 / 12, "--", color=INK, lw=0.7, label=r"$\Delta^2/12$, rounding")
    s = data["ste"]
    points(ax, s["step"], s["mean"], s["error"], COLORS[1], label="STE, η = 0.02", ms=5)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(step, [f"{value:.2g}" for value in step])
    ax.set_xlabel(r"$\Delta$")
    ax.set_ylabel(r"$\varepsilon_g^*$")
    ax.legend()
    return figure
