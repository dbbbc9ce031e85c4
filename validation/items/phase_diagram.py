"""Phase diagram: stationary ε* over range ω and bits b, with the range that serves best.

Gaussian teacher of unit variance (at twelve quantiles), λ = 0, η = 0.04, inputs b_x = 4 with ω_x
= 2.5. The optimum found by `optimal_range` against every scanned range, and against STE at the
optimum and beside it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import ndtri

import fpsolve
from fpsolve import Teacher
from validation.curves import late_average, problem, student_gate
from validation.gates import FALSE_ALARM, Gate, Table, student_limit
from validation.pictures import COLORS, grid_of_axes, points

TITLE = "Phase diagram of ε* and the optimal range"
KIND = "new"
# Claims it is about, by the item that judges them.
ELSEWHERE = {"fig6": ("fig6-range", "fig6-optimum")}
SEED = 3201
BITS = (2, 3, 4, 5)


def case_of(bits: int, omega: float) -> fpsolve.Problem:
    """Return the problem at a point of the diagram."""
    grid = ndtri((np.arange(12) + 0.5) / 12)
    teacher = Teacher(grid / np.sqrt(np.mean(grid**2)), np.full(12, 1 / 12))
    return problem(bits, omega, bits_x=4, omega_x=2.5, eta=0.04, teacher=teacher)


def compute(quick: bool = False) -> dict[str, Any]:
    """Return ε* over the diagram, the optima, and STE beside one of them."""
    omegas = np.geomspace(0.3, 8.0, 30 if quick else 120)
    lines = {}
    for bits in BITS:
        best = fpsolve.optimal_range(case_of(bits, 1.0), points=48 if quick else 256)
        curve = fpsolve.range_curve(case_of(bits, 1.0), omegas)
        lines[str(bits)] = {
            "curve": curve,
            "brent": _lowest(bits, omegas, curve),
            "omega": best.omega,
            "error": best.generalization_error,
        }
    dimension, runs = (120, 40) if quick else (240, 48)
    best = lines["3"]["omega"]
    window = (100, 150) if quick else (250, 400)
    judged = []
    for i, omega in enumerate((0.4 * best, best, 2.5 * best)):
        case = case_of(3, omega)
        found = late_average(case, window, dimension=dimension, runs=runs, seed=SEED + i)
        # Stationary up to the slowest teacher values: the PDE at the middle of the window.
        exact = fpsolve.solve_pde(case, np.linspace(*window, 7), rtol=1e-5)
        truth = exact.order_parameters.generalization_error.mean()
        judged.append({"omega": omega, "truth": truth, **found})
    return {"omega": omegas, "lines": lines, "judged": judged}


def _lowest(bits: int, omegas: Any, curve: Any) -> float:
    """Return the least ε* beside the best scanned range, by a search of its own."""

    def error(omega: float) -> float:
        return float(fpsolve.stationary_states(case_of(bits, omega))[0].generalization_error)

    at = int(np.clip(np.argmin(curve), 1, len(omegas) - 2))
    bounds = (float(omegas[at - 1]), float(omegas[at + 1]))
    return float(minimize_scalar(error, bounds=bounds, method="bounded").fun)


def gates(data: dict[str, Any]) -> list[Gate]:
    """No other search finds less; STE agrees, and is higher beside the optimum."""
    rows = []
    for bits, line in data["lines"].items():
        why = (
            "Brent's method on exact stationary states, from the best scanned range; its tolerance"
        )
        rows.append(
            Gate.near(f"b = {bits}: ε* at the optimum", line["error"], line["brent"], 1e-6, why)
        )
    errors = [data["lines"][str(b)]["error"] for b in BITS]
    rows.append(
        Gate.at_most(
            "largest change of the optimum's ε* with a further bit",
            np.diff(errors).max(),
            0.0,
            "more levels, each at its own best range, do no worse",
        )
    )
    low, best, high = data["judged"]
    for r in data["judged"]:
        rows.append(student_gate(f"b = 3, ω = {r['omega']:.3g}: late ε_g by STE", r, r["truth"], 3))
    t = student_limit(best["runs"] - 1, 2)
    for r, side in ((low, "0.4"), (high, "2.5")):
        score = (r["mean"] - best["mean"]) / np.hypot(r["error"], best["error"])
        why = f"Student's t at {FALSE_ALARM:g}: {t:.3g}"
        rows.append(
            Gate.at_least(
                f"STE at {side} of the optimum above the optimum, standard errors", score, t, why
            )
        )
    return rows


def tables(data: dict[str, Any]) -> list[Table]:
    """Optima."""
    rows = [[int(b), line["omega"], line["error"]] for b, line in data["lines"].items()]
    return [Table("Best range", ["b", "ω", "ε*"], rows)]


def headline(data: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    best = ", ".join(
        f"{line['omega']:.2f} (ε* = {line['error']:.4f})" for line in data["lines"].values()
    )
    return f"best range ω for b = 2, 3, 4, 5: {best}; confirmed by STE at b = 3"


def visualize(data: dict[str, Any]) -> Any:
    """Draw the diagram as a map and as curves."""
    figure, axes = grid_of_axes(1, 2, height=3.8)
    curves = np.array([line["curve"] for line in data["lines"].values()])
    image = axes[0, 0].pcolormesh(
        data["omega"], BITS, np.log10(curves), cmap="viridis", shading="nearest", rasterized=True
    )
    figure.colorbar(image, ax=axes[0, 0]).set_label(r"$\log_{10}\varepsilon_g^*$")
    best = [line["omega"] for line in data["lines"].values()]
    axes[0, 0].plot(best, BITS, "o-", color="white", ms=5)
    axes[0, 0].set_yticks(BITS)
    axes[0, 0].set_ylabel("$b$")
    for color, (bits, line) in zip(COLORS, data["lines"].items(), strict=False):
        axes[0, 1].plot(data["omega"], line["curve"], color=color, label=f"$b={bits}$")
        axes[0, 1].plot(line["omega"], line["error"], "v", color=color)
    for r in data["judged"]:
        points(axes[0, 1], r["omega"], r["mean"], r["error"], COLORS[1])
    axes[0, 1].set_yscale("log")
    axes[0, 1].set_ylabel(r"$\varepsilon_g^*$")
    axes[0, 1].legend()
    for ax in axes[0]:
        ax.set_xscale("log")
        ax.set_xlabel(r"$\omega$")
    return figure
