"""T > 0 and the limiting particles: PDE, closure, STE and SDE side by side.

The paper's ψ_T = Σ Δ Φ((w − θ_k)/T) in place of the steps, for weights. STE and SDE are compared
with the PDE; the closure becomes better as T grows, since ψ_T becomes smooth. At T = 0 the SDE of
Theorem IV.3, with particles that share ε_g, has the PDE's density too: propagation of chaos.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import fpsolve
from fpsolve import Problem, UniformQuantizer
from validation.curves import extrapolated, normal_gate
from validation.gates import Gate, Table, mean_and_error, student_limit
from validation.parts import part
from validation.pictures import COLORS, INK, grid_of_axes, points

TITLE = "T > 0, and the limiting particles"
KIND = "claim"
# Claims it is about, by the item that judges them.
ELSEWHERE = {"theorem_iv3": ("theorem-iv3",), "propagation_of_chaos": ("theorem-iv3-sde",)}
SEED = 4401
TIMES = np.array([5.0, 37.0])
TEMPERATURES = (0.0, 0.1, 0.3)


def case_of(temperature: float) -> Problem:
    """Return the problem of Fig. 8's worst panel at a temperature."""
    return Problem(
        weight_quantizer=UniformQuantizer(2, 1.0, temperature=temperature),
        input_quantizer=None,
        learning_rate=0.04,
        ridge=0.5,
    )


def compute(quick: bool = False) -> dict[str, Any]:
    """Return ε_g in all descriptions."""
    dimension, runs = (200, 12) if quick else (800, 32)
    particles, sde_runs = (1000, 40) if quick else (8000, 40)
    rows = []
    for i, temperature in enumerate(TEMPERATURES):
        case = case_of(temperature)
        ste = part(
            f"T = {temperature}",
            lambda case=case, i=i: extrapolated(
                case, TIMES, dimension=dimension, runs=runs, seed=SEED + i
            ),
        )
        row = {"T": temperature, **ste}
        if temperature == 0:
            # The normal distribution function at every step makes T > 0 a hundred times slower.
            mean, error = part("SDE", lambda case=case: _limiting(case, particles, sde_runs))
            row |= {"sde": mean, "sde_error": error}
        rows.append(row)
    return {"rows": rows, "particles": particles, "sde_runs": sde_runs}


def _limiting(case: fpsolve.Problem, particles: int, runs: int) -> tuple[Any, Any]:
    """Mean of ε_g over runs of the limiting equation's particles, and its standard error."""
    sde = fpsolve.simulate_sde(case, TIMES, particles=particles, runs=runs, seed=SEED + 50)
    return mean_and_error(sde.order_parameters.generalization_error)


def gates(data: dict[str, Any]) -> list[Gate]:
    """Both simulations agree with the PDE at every temperature."""
    rows = []
    limit = student_limit(data["sde_runs"] - 1, TIMES.size)
    for r in data["rows"]:
        rows.append(normal_gate(f"T = {r['T']:g}", r, len(data["rows"])))
        for i, tau in enumerate(TIMES if "sde" in r else ()):
            truth, error = r["pde"][0][i], r["sde_error"][i]
            # Euler's step and shared ε_g shift a mean over N particles by a few 1/N, beside it.
            why = f"{limit:.3g} standard errors of {error:.2g}, Student's t over {TIMES.size} tests"
            name = f"T = {r['T']:g}, τ = {tau:g}: SDE"
            rows.append(Gate.near(name, r["sde"][i], truth, limit * error, why, noise=error))
    return rows


def tables(data: dict[str, Any]) -> list[Table]:
    """All descriptions."""
    heads = ["T", "τ", "PDE", "STE", "s.e.", "SDE", "s.e. ", "closure", "closure − PDE"]
    rows = [
        [
            *(r["T"], float(tau), r["pde"][0][i], r["ste"][0][i], r["error"][0][i]),
            *((r["sde"][i], r["sde_error"][i]) if "sde" in r else ("–", "–")),
            r["closure"][0][i],
            r["closure"][0][i] - r["pde"][0][i],
        ]
        for r in data["rows"]
        for i, tau in enumerate(TIMES)
    ]
    return [Table(f"ε_g, {data['particles']} particles in the SDE", heads, rows)]


def headline(data: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    gap = [abs(r["closure"][0][1] - r["pde"][0][1]) for r in data["rows"]]
    told = ", ".join(f"{g:.3f} at T = {r['T']:g}" for g, r in zip(gap, data["rows"], strict=True))
    return (
        f"STE has the PDE's ε_g at T ≥ 0, the SDE at T = 0; the closure is off by {told} (τ = 37)"
    )


def visualize(data: dict[str, Any]) -> Any:
    """Draw what each description is off the PDE."""
    figure, axes = grid_of_axes(1, 2)
    for ax, i in zip(axes[0], range(TIMES.size), strict=True):
        at = np.array([r["T"] for r in data["rows"]])
        exact = np.array([r["pde"][0][i] for r in data["rows"]])
        ste = np.array([r["ste"][0][i] for r in data["rows"]]) - exact
        points(ax, at, ste, [r["error"][0][i] for r in data["rows"]], COLORS[1], label="STE")
        cold = data["rows"][0]
        off = cold["sde"][i] - cold["pde"][0][i]
        points(ax, [0.01], [off], [cold["sde_error"][i]], COLORS[2], label="SDE")
        closed = np.array([r["closure"][0][i] for r in data["rows"]]) - exact
        ax.plot(at, closed, ":", color=COLORS[3], label="closure")
        ax.axhline(0, color=INK, lw=0.8)
        ax.set_xlabel("$T$")
        ax.set_title(f"τ = {TIMES[i]:g}")
    axes[0, 0].set_ylabel(r"$\varepsilon_g$ less that of the PDE")
    axes[0, 0].legend()
    return figure
