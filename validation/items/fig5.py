"""Fig. 5: inputs quantized alone, λ = 0, σ² = 0. Stability boundary 2/S and stationary error.

Left: the boundary over ω_x for b_x = 2, 3, 4, 10. Right: ε* as η → 0, which is 1 − κ²/S, and at
η = 0.5; dots are STE at η = 0.5 in the stationary state. Coarse inputs lose by their resolution
at large ω_x and all alike by clipping at small ω_x. The boundary's side is tested under Prop.
VI.1.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

import fpsolve
from validation.claims import Claim, answer, judged
from validation.curves import late_average, problem, student_gate
from validation.gates import Gate
from validation.pictures import COLORS, INK, grid_of_axes, points

TITLE = "Fig. 5: quantized inputs"
KIND = "figure"
SEED = 501
RATE = 0.5
BITS = (2, 3, 4, 10)


def compute(quick: bool = False) -> dict[str, Any]:
    """Return boundary, floor and stationary error over ω_x, and STE at a few ranges."""
    ranges = np.geomspace(0.1, 6.0, 60 if quick else 200)
    dimension, runs = (150, 40) if quick else (400, 48)
    rows = {}
    for bits in BITS:
        cases = [problem(None, bits_x=bits, omega_x=w, eta=RATE) for w in ranges]
        kappa = np.array([case.kappa for case in cases])
        sigma2 = np.array([case.sigma2 for case in cases])
        states = [fpsolve.stationary_states(case) for case in cases]
        fixed = [fpsolve.isotropic_fixed_points(case) for case in cases]
        rows[f"{bits}"] = {
            "boundary": [fpsolve.stability_boundary(case) for case in cases],
            "paper": 2 / sigma2,
            "floor": 1 - kappa**2 / sigma2,
            "stationary": [s[0].generalization_error if s else np.nan for s in states],
            "closure": [f[0].generalization_error if f else np.nan for f in fixed],
        }
    simulated = []
    for i, (bits, omega) in enumerate([(2, 0.5), (2, 2.0), (3, 1.0), (4, 2.5)]):
        case = problem(None, bits_x=bits, omega_x=omega, eta=RATE)
        relax = 1 / (RATE * case.sigma2)
        found = late_average(
            case, (8 * relax, 20 * relax), dimension=dimension, runs=runs, seed=SEED + i
        )
        exact = fpsolve.stationary_states(case)[0].generalization_error
        simulated.append({"bits": bits, "omega": omega, "exact": exact, **found})
    return {"ranges": ranges, "curves": rows, "simulated": simulated, "sides": _sides()}


def _sides() -> list[dict[str, float]]:
    """Integrate the ODE, exact for such weights, at either side of 2/S: growth of |q − q*|."""
    found = []
    for bits, omega in ((2, 0.5), (2, 2.0), (3, 1.0), (4, 2.5)):
        boundary = 2 / problem(None, bits_x=bits, omega_x=omega).sigma2
        logs = []
        for factor in (0.98, 1.02):
            case = problem(None, bits_x=bits, omega_x=omega, eta=factor * boundary)
            tau = np.array([20.0, 25.0, 30.0])
            q = fpsolve.solve_ode(case, tau, rtol=1e-10).order_parameters.q
            # Ratio of successive differences: free of q*.
            logs.append(float(np.log(abs((q[2] - q[1]) / (q[1] - q[0])))))
        found.append({"bits": bits, "omega": omega, "below": logs[0], "above": logs[1]})
    return found


def gates(data: dict[str, Any]) -> list[Gate]:
    """The simulation has the stationary error; closure and density are one for such weights."""
    rows = [
        student_gate(
            f"ε* by STE, b_x = {s['bits']}, ω_x = {s['omega']:g}",
            s,
            s["exact"],
            len(data["simulated"]),
        )
        for s in data["simulated"]
    ]
    curves = data["curves"].values()
    why = "two per cent beside 2/S: what is left of a transient shrinks below it and grows above"
    for side in data["sides"]:
        where = f"b_x = {side['bits']}, ω_x = {side['omega']:g}"
        rows.append(Gate.at_most(f"{where}: growth of q at 0.98·2/S", side["below"], 0.0, why))
        rows.append(Gate.at_least(f"{where}: growth of q at 1.02·2/S", side["above"], 0.0, why))
    change = np.diff([c["boundary"] for c in curves], axis=0)
    why = "the margin is not monotone in b_x: another bit raises it here and lowers it there"
    rows.append(Gate.at_least("largest rise of 2/S with b_x", change.max(), 0.01, why))
    rows.append(Gate.at_most("largest fall of 2/S with b_x", change.min(), -0.01, why))
    apart = max(np.nanmax(np.abs(np.divide(c["closure"], c["stationary"]) - 1)) for c in curves)
    reason = "both exact for unquantized weights; rounding, amplified by 1/ε* ≤ 1e5 at b_x = 10"
    rows.append(Gate.at_most("closure against density, relative", apart, 1e-10, reason))
    return rows


def claims(data: dict[str, Any]) -> list[Claim]:
    """Whether another bit always widens the stable region, and whether it passes 2."""
    ranges, curves = np.asarray(data["ranges"]), data["curves"]
    other, margins, changes = [], [], []
    for (bits, low), (more, high) in pairwise(curves.items()):
        change = np.subtract(high["boundary"], low["boundary"])
        changes.append(change)
        where = ranges[change < 0]
        margins.append(
            f"from b_x = {bits} to {more} it falls for ω_x from {where.min():.2g} to "
            f"{where.max():.2g} and rises elsewhere"
            if where.size
            else f"{bits} to {more}: rises"
        )
    # Another bit widens the stable region at some ranges, and narrows it at others.
    both = float(min(np.max(changes), -np.min(changes)))
    one = [answer(f"ω_x from {ranges.min():g} to {ranges.max():g}", both, 1e-9)]
    for bits, curve in curves.items():
        other.append(answer(f"b_x = {bits}", float(np.max(curve["boundary"])) - 2, 1e-9))
    largest = ", ".join(f"{np.max(c['boundary']):.3g} at b_x = {b}" for b, c in curves.items())
    return [
        judged(
            "fig5-margin",
            "Fig. 5: the stability margin is not monotone in the bit width of the inputs",
            one,
            "; ".join(margins),
        ),
        judged(
            "fig5-larger",
            "Fig. 5: in some ranges the stable region is larger than without quantization",
            other,
            f"largest boundary, 2 without: {largest}",
        ),
    ]


def headline(data: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    away = max(abs(s["mean"] - s["exact"]) / s["error"] for s in data["simulated"])
    return (
        f"ε* by STE within {away:.1f} standard errors of theory at {len(data['simulated'])} "
        "ranges; the boundary is 2/S"
    )


def visualize(data: dict[str, Any]) -> Any:
    """Draw the boundary and the stationary error over ω_x."""
    figure, axes = grid_of_axes(1, 2, height=3.6)
    left, right = axes[0]
    for color, (bits, curve) in zip(COLORS, data["curves"].items(), strict=False):
        left.plot(data["ranges"], curve["boundary"], color=color, label=f"$b_x={bits}$")
        right.plot(data["ranges"], curve["floor"], color=color)
        right.plot(data["ranges"], curve["stationary"], "--", color=color)
    left.axhline(2, ls="--", color=INK, lw=1, label="unquantized")
    left.set_ylim(0, 8)
    left.set_ylabel(r"stability boundary $2/\sigma_\psi^2$")
    left.legend()
    for s in data["simulated"]:
        points(right, s["omega"], s["mean"], s["error"], COLORS[BITS.index(s["bits"])])
    right.plot([], [], "-", color=INK, label=r"$\eta\to0$")
    right.plot([], [], "--", color=INK, label=rf"$\eta={RATE}$")
    right.plot([], [], "o", color=INK, ms=3.5, label=rf"STE, $\eta={RATE}$")
    right.set_ylabel(r"$\varepsilon_g^*$")
    right.set_yscale("log")
    right.set_ylim(1e-3, 3)
    right.legend()
    for ax in axes[0]:
        ax.set_xlabel(r"$\omega_x$")
        ax.set_xscale("log")
    return figure
