"""Learning curves of Fig. 8: λ = 0.5, 1, 1.5 from left to right, η = 0.04, the paper's d = 900.

Top: ω = 1, b = 2 … 5. Bottom: b = 3, ω = 0.25 … 1.5. "ODE predictions closely follow the
empirical STE trajectories" holds for the PDE in every panel, not for the closure (see the
adjudication).
"""

from __future__ import annotations

from typing import Any

from validation.curves import (
    agreement_gate,
    closure_table,
    draw_curves,
    draw_differences,
    joined,
    learning_curve,
    problem,
    verdict_on,
)
from validation.gates import Gate, Table
from validation.parts import part
from validation.pictures import COLORS, grid_of_axes, key

TITLE = "Fig. 8: ridge"
KIND = "figure"
# Claims it is about, by the item that judges them.
ELSEWHERE = {
    "claims_scan": (
        "fig8-ode",
        "range-lambda-1",
        "range-lambda-0.5",
        "bits-lambda-0.5",
        "early-stopping",
        "early-stopping-small-lambda",
    )
}
SEED = 801
RIDGES = (0.5, 1.0, 1.5)


def compute(quick: bool = False) -> dict[str, Any]:
    """Return a learning curve for every ridge, bit width and range; quick: the outer ones."""
    dimension, runs = (400, 3) if quick else (900, 5)
    widths = (2, 5) if quick else (2, 3, 4, 5)
    ranges = (0.25, 1.5) if quick else (0.25, 0.5, 1.0, 1.25, 1.5)
    panels: dict[str, Any] = {}
    for ridge in RIDGES:
        cases = {f"b = {b}": (b, 1.0) for b in widths}
        panels[f"λ = {ridge:g}, ω = 1"] = _panel(cases, ridge, dimension, runs, SEED)
    for ridge in RIDGES:
        cases = {f"ω = {w:g}": (3, w) for w in ranges}
        panels[f"λ = {ridge:g}, b = 3"] = _panel(cases, ridge, dimension, runs, SEED + 50)
    return panels


def _panel(
    cases: dict[str, tuple[int, float]], ridge: float, dimension: int, runs: int, seed: int
) -> dict[str, Any]:
    return {
        label: part(
            f"{ridge} {label}",
            lambda i=i, bits=bits, omega=omega: learning_curve(
                problem(bits, omega, ridge=ridge),
                horizon=120.0,
                dimension=dimension,
                runs=runs,
                seed=seed + i + round(100 * ridge),
                checks=(5.0, 37.0, 120.0),
            ),
        )
        for i, (label, (bits, omega)) in enumerate(cases.items())
    }


def gates(data: dict[str, Any]) -> list[Gate]:
    """Every curve of the PDE agrees with the simulation."""
    return [agreement_gate(name, curve["agreement"]) for name, curve in joined(data).items()]


def tables(data: dict[str, Any]) -> list[Table]:
    """ε_g by all three descriptions at the compared times."""
    return [closure_table(joined(data))]


def headline(data: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    return verdict_on(joined(data))


def visualize(data: dict[str, Any]) -> Any:
    """Draw the six panels, and below them what STE and closure are off the PDE in each."""
    figure, axes = grid_of_axes(4, 3, width=11, height=2.7)
    for i, (panel, curves) in enumerate(data.items()):
        row, column = divmod(i, 3)
        draw_curves(axes[row, column], curves, COLORS, log=True)
        axes[row, column].set_title(panel)
        draw_differences(axes[row + 2, column], curves, COLORS)
        axes[row + 2, column].set_title(panel)
        if column == 2:
            axes[row, column].legend(loc="lower left")
    key(axes[0, 0], loc="lower left")
    return figure
