"""Mini-batches: B samples a step divide the diffusivity by B, and nothing else.

b = 4, ω = 2, b_x = 4, ω_x = 2.5, λ = 0, σ² = 1, η = 0.5, B = 1, 4, 16. STE averages B fresh
samples in every step. The claim is asked at other initial weights and rates, too, which the paper
leaves open; quick runs leave these out.
"""

from __future__ import annotations

from typing import Any

from fpsolve import GaussianInitial
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
BATCHES = (1, 4, 16)
CHECKS = (2.0, 8.0, 24.0)
# Rates and initial variances beside those of the curves, and how large a machine takes them.
OTHERS = ((0.1, 1.0), (0.5, 0.01), (0.5, 4.0))
SMALL = (300, 8)


def compute(quick: bool = False) -> dict[str, Any]:
    """Return a learning curve for every batch size, and the same elsewhere."""
    size = (400, 3) if quick else (900, 5)
    return {
        "curves": _curves(size, 0.5, 1.0, SEED),
        "others": {}
        if quick
        else {
            f"η = {eta:g}, variance {variance:g}": _curves(
                SMALL, eta, variance, SEED + 100 * (1 + i)
            )
            for i, (eta, variance) in enumerate(OTHERS)
        },
    }


def _curves(size: tuple[int, int], eta: float, variance: float, seed: int) -> dict[str, Any]:
    """Learning curves of all batches, at times of the same ητ; `size` is d and the runs."""
    dimension, runs = size
    clock = 0.5 / eta
    found = {}
    for batch in BATCHES:
        case = problem(
            *(4, 2.0),
            bits_x=4,
            omega_x=2.5,
            eta=eta,
            noise_variance=1.0,
            batch_size=batch,
            initial=GaussianInitial(variance=variance),
        )
        found[f"B = {batch}"] = learning_curve(
            case,
            horizon=CHECKS[-1] * clock,
            dimension=dimension,
            runs=runs,
            seed=seed + batch,
            checks=tuple(clock * tau for tau in CHECKS),
        )
    return found


def gates(data: dict[str, Any]) -> list[Gate]:
    """Every curve of the PDE agrees; and the batch matters beyond the noise."""
    curves = data["curves"]
    rows = [agreement_gate(label, curve["agreement"]) for label, curve in curves.items()]
    one, many = curves["B = 1"]["agreement"], curves["B = 16"]["agreement"]
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
    answers, told = [], []
    for setting, curves in {"": data["curves"], **data["others"]}.items():
        one = curves["B = 1"]["agreement"]
        for label, curve in curves.items():
            found = curve["agreement"]
            scores = [
                abs(ste - other) / error
                for ste, other, error in zip(
                    found["ste"], one["exact"], found["error"], strict=True
                )
            ]
            # Where a density that knew no batch did as well, nothing is decided.
            apart = label == "B = 1" or max(scores) > normal_limit(len(scores))
            name = f"{label}, {setting}" if setting else label
            sign = answer(name, 1.0 - found["worst"], 0.0).sign
            answers.append(Answer(name, sign if apart else 0))
            if not setting:
                told.append(
                    f"{label}: ε_g at τ = {found['tau'][-1]:g} by STE {found['ste'][-1]:.4f} ± "
                    f"{found['error'][-1]:.4f}, density {found['exact'][-1]:.4f}"
                )
    one = data["curves"]["B = 1"]["agreement"]
    text = "III-E: the analysis extends to mini-batches of any finite size"
    told.append(f"with D not divided by B it is {one['exact'][-1]:.4f} at every B")
    return [judged("mini-batch", text, answers, "; ".join(told))]


def tables(data: dict[str, Any]) -> list[Table]:
    """ε_g by all three descriptions at the compared times."""
    return [closure_table(data["curves"])]


def headline(data: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    return verdict_on(data["curves"])


def visualize(data: dict[str, Any]) -> Any:
    """Draw all curves on both time axes."""
    return draw_panel(data["curves"])
