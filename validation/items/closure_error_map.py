"""Closure-error map: the largest |ε_g(PDE) − ε_g(closure)| over time, for range ω and ridge λ.

Left: b = 2, η = 0.04, τ ≤ 120. STE runs at the worst point and at a harmless one say which of the
two is right: the map is an error of the closure, not of the density. Right: where the closure is
good and where not, over bit width, temperature T of the quantizer and initial variance, at its
worst over λ = 0.5 and 1 (ω = 1). More levels, smooth ones, or both make it good.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import fpsolve
from validation.curves import agreement, agreement_gate, problem
from validation.gates import FALSE_ALARM, Gate, Table, normal_limit
from validation.parts import part
from validation.pictures import INK, grid_of_axes

TITLE = "Closure-error map"
KIND = "new"
# Claims it is about, by the item that judges them.
ELSEWHERE = {"claims_scan": ("theorem-v3",), "moment_identities": ("prop-v2",)}
SEED = 3101


def compute(quick: bool = False) -> dict[str, Any]:
    """Return the map, and STE at its extremes."""
    omegas = np.linspace(0.3, 2.0, 6 if quick else 18)
    ridges = np.linspace(0.0, 1.5, 4 if quick else 11)
    tau = np.unique(np.concatenate([np.linspace(0, 120, 41), np.geomspace(0.5, 60, 30)]).round(6))
    worst = np.zeros((ridges.size, omegas.size))
    when = np.zeros_like(worst)
    for i, ridge in enumerate(ridges):
        for j, omega in enumerate(omegas):
            found = fpsolve.closure_error(problem(2, omega, ridge=ridge), tau, rtol=1e-5)
            error = np.abs(found.order_parameters.generalization_error)
            worst[i, j], when[i, j] = error.max(), tau[np.argmax(error)]
    judged = []
    for k, at in enumerate((np.argmax(worst), np.argmin(worst))):
        i, j = np.unravel_index(at, worst.shape)
        case = problem(2, omegas[j], ridge=ridges[i])
        time = max(float(when[i, j]), 1.0)
        size = {
            "dimension": (1600, 400)[k] if quick else 3200 - 2300 * k,
            "runs": (8, 4)[k],
        }
        ste = fpsolve.simulate_ste(case, [time], **size, seed=SEED + k, dense_times=[time])
        found = agreement(fpsolve.solve_pde(case, [time]), ste)
        closed = fpsolve.solve_ode(case, [time]).order_parameters.generalization_error[0]
        judged.append({"omega": omegas[j], "ridge": ridges[i], "closure": closed, **size, **found})
    where = part("where", lambda: _where(quick))
    unquantized = fpsolve.closure_error(problem(None, ridge=0.5), tau, rtol=1e-6)
    return {
        "omega": omegas,
        "ridge": ridges,
        "map": worst,
        "judged": judged,
        "unquantized": unquantized.stats["largest"],
        "where": where,
        "seeds": [SEED, SEED + 1],
    }


def _where(quick: bool) -> dict[str, Any]:
    """Largest |PDE − closure| over τ and λ, by quantizer and initial variance."""
    variances = (1e-4, 0.3, 1.0, 4.0) if quick else (1e-4, 1e-2, 0.1, 0.3, 1.0, 2.0, 4.0)
    tau = np.linspace(0.5, 60.0, 40)
    kinds = [(b, t) for b in (2, 3, 4, 5) for t in ((0.0, 0.3) if quick else (0.0, 0.1, 0.3))]
    gaps = []
    for bits, temperature in kinds:
        quantizer = fpsolve.UniformQuantizer(bits, 1.0, temperature=temperature)
        row = []
        for variance in variances:
            worst = 0.0
            for ridge in (0.5, 1.0):
                case = fpsolve.Problem(
                    weight_quantizer=quantizer,
                    input_quantizer=None,
                    learning_rate=0.04,
                    ridge=ridge,
                    initial=fpsolve.GaussianInitial(variance=variance),
                )
                found = fpsolve.closure_error(case, tau, rtol=1e-4).order_parameters
                worst = max(worst, float(np.abs(found.generalization_error).max()))
            row.append(worst)
        gaps.append(row)
    labels = [f"b = {b}" + (f", T = {t:g}" if t else "") for b, t in kinds]
    return {"labels": labels, "variances": variances, "gaps": gaps}


def gates(data: dict[str, Any]) -> list[Gate]:
    """STE sides with the PDE; without quantizer both are one."""
    worst = data["judged"][0]
    limit = normal_limit()
    score = abs(worst["ste"][0] - worst["closure"]) / worst["error"][0]
    where = f"ω = {worst['omega']:.3g}, λ = {worst['ridge']:.3g}, τ = {worst['tau'][0]:.3g}"
    return [
        agreement_gate(f"worst point ({where})", worst),
        agreement_gate("best point", data["judged"][1]),
        Gate.at_least(
            "closure at the worst point, standard errors off STE",
            score,
            limit,
            f"normal at {FALSE_ALARM:g}",
            noise=1.0,
        ),
        Gate.at_most(
            "largest difference for unquantized weights",
            data["unquantized"],
            1e-5 * 2.0,
            "there the closure is exact: 10·rtol of ε_g(0) = 2, the promise of the PDE's solver",
        ),
    ]


def headline(data: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    worst = data["judged"][0]
    away = abs(worst["ste"][0] - worst["closure"]) / worst["error"][0]
    return (
        f"the closure is wrong by up to {np.max(data['map']):.3f} (ω = {worst['omega']:.2g}, "
        f"λ = {worst['ridge']:.2g}); there STE is {away:.0f} standard errors from it and agrees "
        f"with the PDE; good to 0.01 at {', '.join(_good(data)) or 'no quantizer'}"
    )


def _good(data: dict[str, Any]) -> list[str]:
    """Quantizers at which the closure is good to a hundredth from every initial variance."""
    where = data["where"]
    pairs = zip(where["labels"], where["gaps"], strict=True)
    return [f"({name})" for name, row in pairs if max(row) < 0.01]


def visualize(data: dict[str, Any]) -> Any:
    """Draw the map."""
    figure, axes = grid_of_axes(1, 2, width=11, height=4)
    ax = axes[0, 0]
    image = ax.pcolormesh(
        data["omega"],
        data["ridge"],
        data["map"],
        cmap="viridis",
        shading="nearest",
        rasterized=True,
    )
    bar = figure.colorbar(image, ax=ax)
    bar.set_label(r"$\max_\tau|\varepsilon_g^{\mathrm{PDE}}-\varepsilon_g^{\mathrm{closure}}|$")
    for k, point in enumerate(data["judged"]):
        ax.plot(point["omega"], point["ridge"], "o*"[1 - k], color="white", mec=INK, ms=10)
    ax.set_xlabel(r"$\omega$")
    ax.set_ylabel(r"$\lambda$")
    ax.set_title("b = 2, η = 0.04 (star: judged worst, dot: judged best)")
    where, ax = data["where"], axes[0, 1]
    gaps = np.log10(np.maximum(where["gaps"], 1e-6))
    image = ax.pcolormesh(
        np.arange(gaps.shape[1]), np.arange(gaps.shape[0]), gaps, cmap="viridis",
        shading="nearest", rasterized=True,
    )  # fmt: skip
    for i, row in enumerate(where["gaps"]):
        for j, gap in enumerate(row):
            dark = gaps[i, j] < gaps.mean()
            color = "white" if dark else "black"
            ax.text(j, i, f"{gap:.2g}", ha="center", va="center", color=color, fontsize=7)
    ax.set_xticks(range(gaps.shape[1]), [f"{v:g}" for v in where["variances"]])
    ax.set_yticks(range(gaps.shape[0]), where["labels"])
    ax.set_xlabel("initial variance")
    ax.set_title("worst over λ = 0.5, 1 and τ ≤ 60, η = 0.04, ω = 1")
    figure.colorbar(image, ax=ax).set_label("log₁₀ of the largest |PDE − closure|")
    return figure


def tables(data: dict[str, Any]) -> list[Table]:
    """The map of where the closure is good."""
    where = data["where"]
    heads = ["quantizer", *(f"variance {v:g}" for v in where["variances"])]
    rows = [[name, *row] for name, row in zip(where["labels"], where["gaps"], strict=True)]
    return [Table("Largest |PDE − closure| over λ = 0.5, 1 and τ ≤ 60", heads, rows)]
