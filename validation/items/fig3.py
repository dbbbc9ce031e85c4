"""Learning curves of Fig. 3: η = 0.04, λ = 1, b = 3, ω = 0.25 … 1.5, the paper's d = 900.

The paper compares STE with the closure; the PDE is added. At ω = 0.5 the target c = ½ is the
outermost level itself: the weights drift away logarithmically slowly while ε_g settles.
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

TITLE = "Fig. 3: range of the weights"
KIND = "figure"
# Claims it is about, by the item that judges them.
ELSEWHERE = {"claims_scan": ("fig3-ode", "fig3-small-range")}
SEED = 301
RANGES = (0.25, 0.5, 1.0, 1.25, 1.5)


def compute(quick: bool = False) -> dict[str, Any]:
    """Return a learning curve for every range."""
    dimension, runs = (400, 3) if quick else (900, 5)
    return {
        f"ω = {omega:g}": learning_curve(
            problem(3, omega, ridge=1.0),
            horizon=120.0,
            dimension=dimension,
            runs=runs,
            seed=SEED + i,
            checks=(5.0, 20.0, 60.0, 120.0),
        )
        for i, omega in enumerate(RANGES)
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
