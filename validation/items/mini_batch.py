"""Mini-batches: B samples a step divide the diffusivity by B, and nothing else.

b = 4, ω = 2, b_x = 4, ω_x = 2.5, λ = 0, σ² = 1, η = 0.5, B = 1, 4, 16. STE averages B fresh
samples in every step.
"""

from __future__ import annotations

from typing import Any

from validation.claims import Answer, Claim, answer, judged
from validation.curves import (
    agreement_gate,
    closure_table,
    draw_panel,
    learning_curve,
    problem,
    verdict_on,
)
from validation.gates import FALSE_ALARM, Gate, Table, normal_limit

TITLE = "Mini-batches"
KIND = "claim"
SEED = 1701


def compute(quick: bool = False) -> dict[str, Any]:
    """Return a learning curve for every batch size."""
    dimension, runs = (400, 3) if quick else (900, 5)
    return {
        f"B = {batch}": learning_curve(
            problem(4, 2.0, bits_x=4, omega_x=2.5, eta=0.5, noise_variance=1.0, batch_size=batch),
            horizon=24.0,
            dimension=dimension,
            runs=runs,
            seed=SEED + batch,
            checks=(2.0, 8.0, 24.0),
        )
        for batch in (1, 4, 16)
    }


def gates(data: dict[str, Any]) -> list[Gate]:
    """Every curve of the PDE agrees; and the batch matters beyond the noise."""
    rows = [agreement_gate(label, curve["agreement"]) for label, curve in data.items()]
    one, many = data["B = 1"]["agreement"], data["B = 16"]["agreement"]
    apart = max(
        abs(a - b) / (e**2 + f**2) ** 0.5
        for a, b, e, f in zip(one["ste"], many["ste"], one["error"], many["error"], strict=True)
    )
    why = f"normal limit at {FALSE_ALARM:g}: STE tells the batches apart, so the agreement counts"
    rows.append(
        Gate.at_least("STE at B = 1 against B = 16, standard errors", apart, normal_limit(), why)
    )
    return rows


def claims(data: dict[str, Any]) -> list[Claim]:
    """Whether the density with D/B is that of STE, where one with D would not be."""
    one, answers, told = data["B = 1"]["agreement"], [], []
    for label, curve in data.items():
        found = curve["agreement"]
        scores = [
            abs(ste - other) / error
            for ste, other, error in zip(found["ste"], one["exact"], found["error"], strict=True)
        ]
        # Where a density that knew no batch did as well, nothing is decided.
        apart = label == "B = 1" or max(scores) > normal_limit(len(scores))
        sign = answer(label, 1.0 - found["worst"], 0.0).sign
        answers.append(Answer(label, sign if apart else 0))
        told.append(
            f"{label}: ε_g at τ = {found['tau'][-1]:g} by STE {found['ste'][-1]:.4f} ± "
            f"{found['error'][-1]:.4f}, density {found['exact'][-1]:.4f}"
        )
    text = "III-E: the analysis extends to mini-batches of any finite size"
    told.append(f"with D not divided by B it is {one['exact'][-1]:.4f} at every B")
    return [judged("mini-batch", text, answers, "; ".join(told))]


def tables(data: dict[str, Any]) -> list[Table]:
    """ε_g by all three descriptions at the compared times."""
    return [closure_table(data)]


def headline(data: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    return verdict_on(data)


def visualize(data: dict[str, Any]) -> Any:
    """Draw all curves on both time axes."""
    return draw_panel(data)
