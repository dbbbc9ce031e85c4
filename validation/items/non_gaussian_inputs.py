"""Non-Gaussian inputs: only κ and S change.

Uniform and Laplace inputs of unit variance, b = 3, ω = 1, λ = 0.5, b_x = 2, ω_x = 1. The moments
against quadrature written anew, the learning curves against STE on such inputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats
from scipy.integrate import quad

from validation.claims import Answer, Claim, answer, judged
from validation.curves import (
    agreement_gate,
    closure_table,
    draw_panel,
    learning_curve,
    problem,
    verdict_on,
)
from validation.gates import Gate, Table, normal_limit

TITLE = "Non-Gaussian inputs"
KIND = "claim"
SEED = 1801
LAWS = {
    "gaussian": stats.norm(),
    "uniform": stats.uniform(-np.sqrt(3), 2 * np.sqrt(3)),
    "laplace": stats.laplace(scale=np.sqrt(0.5)),
}


def compute(quick: bool = False) -> dict[str, Any]:
    """Return moments and a learning curve for every input law."""
    dimension, runs = (400, 3) if quick else (900, 5)
    found = {}
    for i, (name, law) in enumerate(LAWS.items()):
        case = problem(3, 1.0, bits_x=2, ridge=0.5, input_distribution=name)
        # Finer inputs, of which quick runs do without.
        finer = problem(3, 1.0, bits_x=3, ridge=0.5, input_distribution=name, eta=0.08)
        # Ternary inputs: ψ_x is ±1 beyond ½, so both moments are integrals over a tail.
        top = np.inf if name != "uniform" else np.sqrt(3)
        kappa, kappa_error = quad(lambda x, law=law: 2 * x * law.pdf(x), 0.5, top, epsabs=1e-13)
        sigma2, sigma2_error = quad(lambda x, law=law: 2 * law.pdf(x), 0.5, top, epsabs=1e-13)
        found[name] = {
            "kappa": [case.kappa, kappa, kappa_error],
            "sigma2": [case.sigma2, sigma2, sigma2_error],
            "curve": learning_curve(
                case,
                horizon=80.0,
                dimension=dimension,
                runs=runs,
                seed=SEED + i,
                checks=(5.0, 20.0, 80.0),
            ),
        }
        if not quick:
            found[name]["finer"] = learning_curve(
                finer,
                horizon=40.0,
                dimension=dimension,
                runs=runs,
                seed=SEED + 100 + i,
                checks=(2.5, 10.0, 40.0),
            )
    return found


def gates(data: dict[str, Any]) -> list[Gate]:
    """Moments against quadrature, curves against STE."""
    rows = []
    for name, found in data.items():
        for symbol, key_ in (("κ", "kappa"), ("S", "sigma2")):
            value, truth, error = found[key_]
            why = f"quadrature's own error estimate {error:.1g}, and 1e-13 for rounding"
            rows.append(Gate.near(f"{name}: {symbol}", value, truth, error + 1e-13, why))
        rows.append(agreement_gate(name, found["curve"]["agreement"]))
    return rows


def claims(data: dict[str, Any]) -> list[Claim]:
    """Whether STE follows the density under other laws, where that of Gaussian inputs fails."""
    answers, told = [], []
    for name, bits, key_ in [
        (name, bits, key_)
        for bits, key_ in ((2, "curve"), (3, "finer"))
        for name in data
        if name != "gaussian" and key_ in data[name]
    ]:
        found, normal = (data[law][key_]["agreement"] for law in (name, "gaussian"))
        scores = [
            abs(ste - other) / error
            for ste, other, error in zip(found["ste"], normal["exact"], found["error"], strict=True)
        ]
        apart = max(scores) > normal_limit(len(scores))
        label = f"{name}, b_x = {bits}"
        sign = answer(label, 1.0 - found["worst"], 0.0).sign
        answers.append(Answer(label, sign if apart else 0))
        told.append(
            f"{label}: worst of {found['tests']} tests of STE against the density at "
            f"{100 * found['worst']:.0f} % of what noise may do; with κ and S of Gaussian inputs "
            f"ε_g is {max(scores):.0f} standard errors off"
        )
    text = (
        "IV, after Assumption IV.2: inputs need not be Gaussian, if all their moments are bounded"
    )
    return [judged("non-gaussian-inputs", text, answers, "; ".join(told))]


def tables(data: dict[str, Any]) -> list[Table]:
    """ε_g by all three descriptions at the compared times."""
    return [closure_table({name: found["curve"] for name, found in data.items()})]


def headline(data: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    return verdict_on({name: found["curve"] for name, found in data.items()})


def visualize(data: dict[str, Any]) -> Any:
    """Draw all curves on both time axes."""
    curves = {name: found["curve"] for name, found in data.items()}
    return draw_panel(curves)
