"""Exact stationary density against long STE runs.

Two teacher values, b = 3, ω = 1, b_x = 3, ω_x = 1.5, λ = 0.3, η = 0.2, σ² = 0.2: on each bin μ ∝
exp(a w/D), glued at the thresholds, with D from the self-consistent ε*. Weights of many
independent runs at a late time.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from scipy import stats

import fpsolve
from fpsolve import Teacher
from validation.curves import late_average, problem, student_gate
from validation.gates import FALSE_ALARM, Gate
from validation.pictures import COLORS, grid_of_axes

TITLE = "Exact stationary density against long runs"
KIND = "new"
# Why the paper claims nothing of this.
BEYOND = "its fixed points are those of the ODE, not of the density"
SEED = 3301
TIME = 200.0
VALUES = (-0.7, 1.0)


def compute(quick: bool = False) -> dict[str, Any]:
    """Return density, histograms and the distance between them."""
    dimension, runs = (240, 40) if quick else (480, 128)
    case = problem(
        3,
        1.0,
        bits_x=3,
        omega_x=1.5,
        eta=0.2,
        ridge=0.3,
        noise_variance=0.2,
        teacher=Teacher(VALUES, [0.5, 0.5]),
    )
    state = fpsolve.stationary_states(case)[0]
    ste = fpsolve.simulate_ste(
        case, [TIME], dimension=dimension, runs=runs, seed=SEED, dense_times=[TIME]
    )
    # What is known of how coordinates of one run depend on each other.
    judged = fpsolve.compare(fpsolve.solve_pde(case, [TIME]), ste)
    inflation = {row.teacher_value: row.inflation for row in judged.densities}
    bins = np.linspace(-1.2, 1.4, 105)
    panels = []
    for value in VALUES:
        fine = np.linspace(-6, 6, 240_001)
        density = state.density(fine, value)
        cdf = np.concatenate([[0], np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(fine))])
        pooled = ste.weights[:, 0][ste.teacher_weights == value]
        exact = partial(np.interp, xp=fine, fp=cdf)
        distance = stats.ks_1samp(pooled, exact, method="asymp").statistic
        panels.append(
            {
                "value": value,
                "histogram": np.histogram(pooled, bins)[0] / (pooled.size * np.diff(bins)),
                "w": fine[::20],
                "density": density[::20],
                "distance": distance,
                "count": pooled.size,
                "inflation": inflation[value],
                "mass": cdf[-1],
            }
        )
    late = late_average(case, (TIME / 2, TIME), dimension=dimension, runs=runs, seed=SEED + 1)
    return {
        "bins": bins,
        "panels": panels,
        "late": late,
        "exact": state.generalization_error,
        "pde": fpsolve.solve_pde(case, [TIME / 2, TIME]).order_parameters.generalization_error,
        "seed": SEED,
    }


def gates(data: dict[str, Any]) -> list[Gate]:
    """Mass one, distribution as simulated, ε* as simulated, and reached by the PDE."""
    rows = []
    for p in data["panels"]:
        label = f"w* = {p['value']:g}"
        rows.append(
            Gate.near(
                f"{label}: mass by quadrature",
                p["mass"],
                1.0,
                1e-6,
                "trapezoids across the kinks at thresholds: step² × slopes",
            )
        )
        factor = p["inflation"]
        limit = stats.kstwobign.isf(FALSE_ALARM) * np.sqrt(factor / p["count"])
        rows.append(
            Gate.at_most(
                f"{label}: Kolmogorov–Smirnov distance",
                p["distance"],
                limit,
                f"its limit law at {FALSE_ALARM:g} for {p['count']} weights, variance × "
                f"{factor:.3g} for shared samples, by the adjoint equation",
            )
        )
    rows.append(student_gate("ε* by STE", data["late"], data["exact"]))
    left = abs(data["pde"][1] - data["pde"][0]) + 1e-5 * 3
    why = "its change since τ = 100, which exceeds what is left, and 10·rtol of ε_g(0)"
    rows.append(Gate.near("ε_g of the PDE at τ = 200", data["pde"][1], data["exact"], left, why))
    return rows


def headline(data: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    p = max(data["panels"], key=lambda p: p["distance"])
    away = abs(data["late"]["mean"] - data["exact"]) / data["late"]["error"]
    return (
        f"Kolmogorov–Smirnov distance {p['distance']:.4f} at {p['count']} weights; ε* by STE "
        f"{away:.1f} standard errors from the exact {data['exact']:.4f}"
    )


def visualize(data: dict[str, Any]) -> Any:
    """Draw both conditional densities."""
    figure, axes = grid_of_axes(1, 2, height=3.4)
    for ax, p in zip(axes[0], data["panels"], strict=True):
        ax.stairs(p["histogram"], data["bins"], fill=True, color=COLORS[1], alpha=0.35, label="STE")
        ax.plot(p["w"], p["density"], color=COLORS[0], label="exact")
        ax.set_xlim(data["bins"][0], data["bins"][-1])
        ax.set_xlabel("$w$")
        ax.set_title(f"$w^*={p['value']:g}$")
    axes[0, 0].set_ylabel("stationary density")
    axes[0, 0].legend()
    return figure
