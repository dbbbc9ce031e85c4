"""Plateau law: from small weights ε_g stays for τ₀ = Δ/(2ηκ|w*|) where it starts.

All weights begin in the bin of 0 and drift at speed ηκ|w*| towards its threshold Δ/2: nothing
changes before. So the plateau is longer for coarser steps, larger ranges, smaller η. Length: the
time at which half of the weights have crossed, by density and by STE.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import fpsolve
from fpsolve import GaussianInitial
from validation.curves import problem
from validation.gates import FALSE_ALARM, Gate, Table, student_limit
from validation.pictures import COLORS, INK, grid_of_axes

TITLE = "Plateau law"
KIND = "new"
# Claims it is about, by the item that judges them.
ELSEWHERE = {"claims_scan": ("plateau",)}
SEED = 3601
DEVIATION = 1e-3


def compute(quick: bool = False) -> dict[str, Any]:
    """Return half-crossing times for several steps, ranges and rates."""
    runs, dimension = (48, 200) if quick else (128, 400)
    rows = []
    for i, (bits, omega, eta) in enumerate(
        [
            (2, 1.0, 0.04),
            (2, 1.5, 0.04),
            (3, 1.0, 0.04),
            (3, 3.0, 0.04),
            (2, 1.0, 0.01),
            (4, 2.0, 0.02),
        ]
    ):
        case = problem(bits, omega, eta=eta, initial=GaussianInitial(variance=DEVIATION**2))
        step = case.weight_quantizer.scale  # type: ignore[union-attr]
        law = step / (2 * eta * case.kappa)
        tau = np.linspace(0, 2 * law, 201)
        exact = fpsolve.solve_pde(case, tau)
        inside = exact.order_parameters.m_psi
        ste = fpsolve.simulate_ste(
            case, [2 * law], dimension=dimension, runs=runs, seed=SEED + i, dense_times=tau
        )
        crossing = [
            _crossing(ste.dense_times, m, step / 2) for m in ste.dense_order_parameters.m_psi
        ]
        # Width of the crowd at the threshold over its speed: how sharp the end is.
        width = np.sqrt(2 * float(case.diffusivity(1.0)) * law + DEVIATION**2) / (eta * case.kappa)
        rows.append(
            {
                "bits": bits,
                "omega": omega,
                "eta": eta,
                "law": law,
                "width": width,
                "pde": _crossing(tau, inside, step / 2),
                "ste": np.mean(crossing),
                "error": np.std(crossing, ddof=1) / np.sqrt(runs),
                "runs": runs,
                "dimension": dimension,
                "tau": tau,
                "curve": exact.order_parameters.generalization_error,
                "seed": SEED + i,
                "spacing": tau[1],
            }
        )
    return {"rows": rows, "limits": [_limit(b, w) for b, w in ((2, 1.0), (3, 1.0), (4, 2.0))]}


def _limit(bits: int, omega: float) -> dict[str, Any]:
    """Half-crossing over the law at rates four times smaller each, extrapolated in η^½."""
    ratios = []
    for eta in (0.016, 0.004, 0.001):
        case = problem(bits, omega, eta=eta, initial=GaussianInitial(variance=1e-8))
        step = case.weight_quantizer.scale  # type: ignore[union-attr]
        law = step / (2 * eta * case.kappa)
        tau = np.linspace(0, 2 * law, 401)
        m_psi = fpsolve.solve_pde(case, tau).order_parameters.m_psi
        ratios.append(_crossing(tau, m_psi, step / 2) / law)
    # η^½ halves from one rate to the next.
    first, second = 2 * ratios[1] - ratios[0], 2 * ratios[2] - ratios[1]
    return {"bits": bits, "omega": omega, "ratio": second, "left": abs(second - first)}


def _crossing(tau: Any, values: Any, level: float) -> float:
    """First time at which `values` reach `level`."""
    at = int(np.argmax(np.asarray(values) >= level))
    low, high = values[at - 1], values[at]
    return float(tau[at - 1] + (level - low) / (high - low) * (tau[at] - tau[at - 1]))


def gates(data: dict[str, Any]) -> list[Gate]:
    """The law within the crowd's width; STE as the density."""
    rows = []
    for r in data["limits"]:
        # Those across are slowed down and some come back, by the crowd's width, which is ∝ η^½.
        why = "extrapolated in η^½ from η = 0.016, 0.004, 0.001; what the last step changed"
        name = f"b = {r['bits']}, ω = {r['omega']:g}: half-crossing over the law, η → 0"
        rows.append(Gate.near(name, r["ratio"], 1.0, max(r["left"], 1e-3), why))
    for r in data["rows"]:
        label = f"b = {r['bits']}, ω = {r['omega']:g}, η = {r['eta']:g}"
        t = student_limit(r["runs"] - 1, len(data["rows"]))
        why = f"Student's t at {FALSE_ALARM:g}: {t:.3g} standard errors, and the times' spacing"
        rows.append(
            Gate.near(
                f"{label}: half-crossing of STE",
                r["ste"],
                r["pde"],
                t * r["error"] + r["spacing"],
                why,
                noise=r["error"],
            )
        )
    return rows


def tables(data: dict[str, Any]) -> list[Table]:
    """Law, density and simulation."""
    columns = {
        "b": "bits",
        "ω": "omega",
        "η": "eta",
        "Δ/(2ηκ|w*|)": "law",
        "density": "pde",
        "STE": "ste",
        "s.e.": "error",
    }
    return [Table.of("Half-crossing times", columns, data["rows"])]


def headline(data: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    off = max(abs(r["pde"] / r["law"] - 1) for r in data["rows"])
    ste = max(abs(r["ste"] / r["law"] - 1) for r in data["rows"])
    return (
        f"the plateau ends at Δ/(2ηκ|w*|) within {100 * off:.1f} % by the PDE, "
        f"{100 * ste:.1f} % by STE"
    )


def visualize(data: dict[str, Any]) -> Any:
    """Draw all curves over τ/τ₀, and times against the law."""
    figure, axes = grid_of_axes(1, 2)
    for color, r in zip(COLORS, data["rows"], strict=False):
        axes[0, 0].plot(np.divide(r["tau"], r["law"]), r["curve"], color=color)
        label = f"b = {r['bits']}, ω = {r['omega']:g}, η = {r['eta']:g}"
        axes[0, 1].errorbar(r["law"], r["ste"], r["error"], fmt="o", color=color, label=label, ms=4)
    axes[0, 0].set_xlabel(r"$\tau/\tau_0$")
    axes[0, 0].set_ylabel(r"$\varepsilon_g$")
    ends = [min(r["law"] for r in data["rows"]), max(r["law"] for r in data["rows"])]
    axes[0, 1].plot(ends, ends, color=INK, lw=0.8)
    axes[0, 1].set_xscale("log")
    axes[0, 1].set_yscale("log")
    for axis in (axes[0, 1].xaxis, axes[0, 1].yaxis):
        axis.set_ticks([5, 10, 20, 50], ["5", "10", "20", "50"])
    axes[0, 1].set_xlabel(r"$\tau_0=\Delta/(2\eta\kappa|w^*|)$")
    axes[0, 1].set_ylabel("half-crossing, STE")
    axes[0, 1].legend()
    return figure
