"""Early stopping: when ε_g is lowest and what stopping there saves, over ridge and range.

b = 3, η = 0.04. Density and closure by `find_minimum`; STE at the largest gain. The largest
gains are where the ridge pulls c far below the teacher: on their way the weights pass better
levels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import fpsolve
from validation.curves import agreement_gate, draw_curves, learning_curve, problem
from validation.gates import Gate, Table
from validation.pictures import COLORS, grid_of_axes, key

TITLE = "Early stopping"
KIND = "new"
# Claims it is about, by the item that judges them.
ELSEWHERE = {"claims_scan": ("early-stopping", "early-stopping-small-lambda")}
SEED = 3501


def compute(quick: bool = False) -> dict[str, Any]:
    """Return minima over ridge and range, and one simulated curve."""
    tau = np.linspace(0, 120, 241 if quick else 481)
    rows = []
    for ridge in (0.5, 1.0, 1.5, 2.0):
        for omega in (1.0, 1.5):
            case = problem(3, omega, ridge=ridge)
            exact = fpsolve.solve_pde(case, tau).order_parameters.generalization_error
            closed = fpsolve.solve_ode(case, tau).order_parameters.generalization_error
            fine, rough = (
                fpsolve.find_minimum(tau, exact),
                fpsolve.find_minimum(tau[::2], exact[::2]),
            )
            other = fpsolve.find_minimum(tau, closed)
            rows.append(
                {
                    "ridge": ridge,
                    "omega": omega,
                    "time": fine.time,
                    "value": fine.value,
                    "gain": fine.gain,
                    "rough": rough.value,
                    "third": _third(exact[::2], int(np.argmin(exact[::2]))),
                    "closure_time": other.time,
                    "closure": other.value,
                    "closure_gain": other.gain,
                }
            )
    curve = learning_curve(
        problem(3, 1.5, ridge=1.5),
        horizon=120.0,
        dimension=400 if quick else 900,
        runs=3 if quick else 5,
        seed=SEED,
        checks=(8.0, 12.0, 16.0, 120.0),
    )
    return {"rows": rows, "curve": curve}


def _third(values: np.ndarray, at: int) -> float:
    """Return the largest third difference of the values around index `at`."""
    near = values[max(at - 3, 0) : at + 4]
    return float(np.abs(np.diff(near, 3)).max())


def gates(data: dict[str, Any]) -> list[Gate]:
    """Agreement with STE; the gain is real; the closure overstates it."""
    rows = [agreement_gate("λ = 1.5, ω = 1.5", data["curve"]["agreement"])]
    resolved = max(abs(r["value"] - r["rough"]) / (2e-5 + r["third"]) for r in data["rows"])
    why = "third difference of the curve around its minimum, which a parabola leaves out; 10·rtol"
    rows.append(Gate.at_most("minima on half the times, change over its bound", resolved, 1.0, why))
    wide = [r for r in data["rows"] if r["omega"] == 1.5]
    why = "twice 10·rtol of ε_g(0), the promise of the solver"
    gain = {r["ridge"]: r["gain"] for r in wide}
    rows.append(
        Gate.at_least(
            "gain at λ = 1.5 less that at λ = 1, ω = 1.5", gain[1.5] - gain[1.0], 2e-5, why
        )
    )
    over = min(r["closure_gain"] - r["gain"] for r in wide if r["ridge"] >= 1.5)
    rows.append(Gate.at_least("closure's gain less the true one, λ ≥ 1.5", over, 2e-5, why))
    return rows


def tables(data: dict[str, Any]) -> list[Table]:
    """All minima."""
    columns = {
        "λ": "ridge",
        "ω": "omega",
        "τ of the minimum": "time",
        "ε_g there": "value",
        "saved": "gain",
        "closure: τ": "closure_time",
        "closure: ε_g": "closure",
        "closure: saved": "closure_gain",
    }
    return [Table.of("Minima, τ ≤ 120", columns, data["rows"])]


def headline(data: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    r = max(data["rows"], key=lambda r: r["gain"])
    return (
        f"stopping at τ = {r['time']:.1f} saves {r['gain']:.3f} at λ = {r['ridge']:g}, ω = "
        f"{r['omega']:g} (closure: {r['closure_gain']:.3f})"
    )


def visualize(data: dict[str, Any]) -> Any:
    """Draw the judged curve and the gains."""
    figure, axes = grid_of_axes(1, 2)
    draw_curves(axes[0, 0], {"λ = 1.5, ω = 1.5": data["curve"]}, COLORS, log=True)
    key(axes[0, 0], loc="lower left")
    for color, omega in zip(COLORS, (1.0, 1.5), strict=False):
        part = [r for r in data["rows"] if r["omega"] == omega]
        at = [r["ridge"] for r in part]
        axes[0, 1].plot(at, [r["gain"] for r in part], "o-", color=color, label=f"ω = {omega:g}")
        closed = [r["closure_gain"] for r in part]
        axes[0, 1].plot(at, closed, "v:", color=color, label=f"ω = {omega:g}, closure")
    axes[0, 1].set_xlabel(r"$\lambda$")
    axes[0, 1].set_ylabel("saved by stopping early")
    axes[0, 1].legend()
    return figure
