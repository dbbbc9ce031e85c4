"""Learning curves of Fig. 2: η = 0.04, λ = 1, ω = 1, b = 2 … 5, the paper's d = 900.

The paper compares STE with the closure; the PDE is added. The first phase of the curves, where
the weights are far from Gaussian, is where the closure departs from the simulation.
"""

from __future__ import annotations

from typing import Any

from validation.curves import (
    agreement_gate,
    closure_table,
    draw_panel,
    learning_curve,
    problem,
    verdict_on,
)
from validation.gates import Gate, Table

TITLE = "Fig. 2: bit width of the weights"
KIND = "figure"
# Claims it is about, by the item that judges them.
ELSEWHERE = {"claims_scan": ("fig2-ode", "fig2-floor", "plateau")}
SEED = 201


def compute(quick: bool = False) -> dict[str, Any]:
    """Return a learning curve for every bit width."""
    dimension, runs = (400, 3) if quick else (900, 5)
    return {
        f"b = {bits}": learning_curve(
            problem(bits, 1.0, ridge=1.0),
            horizon=120.0,
            dimension=dimension,
            runs=runs,
            seed=SEED + bits,
            checks=(5.0, 20.0, 60.0, 120.0),
        )
        for bits in (2, 3, 4, 5)
    }


def gates(data: dict[str, Any]) -> list[Gate]:
    """Every curve of the PDE agrees with the simulation."""
    return [agreement_gate(label, curve["agreement"]) for label, curve in data.items()]


def tables(data: dict[str, Any]) -> list[Table]:
    """ε_g by all three descriptions at the compared times."""
    return [closure_table(data)]


def headline(data: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    return verdict_on(data)


def visualize(data: dict[str, Any]) -> Any:
    """Draw all curves on both time axes."""
    return draw_panel(data, height=3.6)
