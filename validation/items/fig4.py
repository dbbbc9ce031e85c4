"""Learning curves of Fig. 4: weights and inputs quantized, the paper's d = 500.

ω = ω_x = 1, η = 0.05, λ = 1; b = 3 (above) and 4 (below), b_x = 3, 4, 5 and unquantized. The
curves for b_x = 3, 4, 5 nearly coincide: the loss is that of clipping the inputs at ±1, not of
their resolution.
"""

from __future__ import annotations

from typing import Any

from validation.curves import (
    agreement_gate,
    closure_table,
    draw_differences,
    draw_row,
    joined,
    learning_curve,
    problem,
    verdict_on,
)
from validation.gates import Gate, Table
from validation.pictures import COLORS, grid_of_axes, key

TITLE = "Fig. 4: weights and inputs"
KIND = "figure"
# Claims it is about, by the item that judges them.
ELSEWHERE = {"claims_scan": ("fig4-ode", "fig4-bx3", "fig4-floor", "fig4-bits")}
SEED = 401


def compute(quick: bool = False) -> dict[str, Any]:
    """Return a learning curve for every pair of bit widths."""
    dimension, runs = (400, 3) if quick else (500, 5)
    return {
        f"b = {bits}": {
            "no quant." if bits_x is None else f"$b_x={bits_x}$": learning_curve(
                problem(bits, 1.0, bits_x=bits_x, eta=0.05, ridge=1.0),
                horizon=120.0,
                dimension=dimension,
                runs=runs,
                seed=SEED + 10 * bits + (bits_x or 0),
                checks=(5.0, 20.0, 60.0, 120.0),
            )
            for bits_x in (3, 4, 5, None)
        }
        for bits in (3, 4)
    }


def gates(data: dict[str, Any]) -> list[Gate]:
    """Every curve of the PDE agrees with the simulation."""
    return [agreement_gate(name, c["agreement"]) for name, c in joined(data, ", ").items()]


def tables(data: dict[str, Any]) -> list[Table]:
    """ε_g by all three descriptions at the compared times."""
    return [closure_table(joined(data, ", "))]


def headline(data: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    return verdict_on(joined(data))


def visualize(data: dict[str, Any]) -> Any:
    """Draw a row for either bit width, on both time axes."""
    figure, axes = grid_of_axes(2, 3, width=12, height=3.2)
    for row, (panel, curves) in zip(axes, data.items(), strict=True):
        draw_row(row[:2], curves)
        draw_differences(row[2], curves, COLORS)
        for ax in row:
            ax.set_title(f"${panel}$")
    axes[0, 0].legend(loc="upper right")
    key(axes[0, 1], loc="lower left")
    return figure
