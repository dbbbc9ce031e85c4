"""Densities of Fig. 1: b = b_x = 2, ω = ω_x = 2, w* = 1, τ = 10, 25, 50, 100.

The paper has d = 3000, and leaves η and λ unstated; here η = 0.04 with λ = 0 and λ = 1. Histograms
are STE, solid lines the PDE, dotted lines the Gaussian that the closure assumes. The mass gathers
on the threshold w = 1, with an asymmetric peak that no Gaussian follows. Bars are averages over 0.1
of w, wider than that peak: they end below it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import fpsolve
from validation.claims import Claim, answer, judged
from validation.curves import (
    agreement,
    agreement_gate,
    draw_curves,
    learning_curve,
    problem,
    verdict_on,
)
from validation.gates import Gate
from validation.parts import part
from validation.pictures import COLORS, INK, grid_of_axes, is_stacked, key

TITLE = "Fig. 1: densities, STE against PDE"
KIND = "figure"
TIMES = (10.0, 25.0, 50.0, 100.0)
SEED = 101
LEAST = 1e-3  # What densities are drawn from.


def compute(quick: bool = False) -> dict[str, Any]:
    """Return histograms, densities and learning curves for λ = 0 and 1."""
    dimension, runs = (300, 4) if quick else (3000, 3)
    found = {}
    for ridge in (0.0, 1.0):
        case = problem(2, 2.0, bits_x=2, omega_x=2.0, ridge=ridge)
        curve = part(
            f"λ = {ridge}",
            lambda case=case: learning_curve(
                case, horizon=120.0, dimension=dimension, runs=runs, seed=SEED, checks=TIMES
            ),
        )
        ste = fpsolve.simulate_ste(
            case, TIMES, dimension=dimension, runs=runs, seed=SEED + 1, dense_times=[TIMES[-1]]
        )
        pde = fpsolve.solve_pde(case, TIMES)
        closed = fpsolve.solve_ode(case, TIMES).order_parameters
        bins = np.linspace(-2.5, 3.0, 56)
        share = [
            np.histogram(ste.weights[:, t], bins)[0] / (ste.weights[:, t].size * np.diff(bins))
            for t in range(len(TIMES))
        ]
        # A density with a layer of width D/|a| is drawn on its own mesh, not on the bins.
        edges = pde.edges
        kept = (edges[1:] > bins[0]) & (edges[:-1] < bins[-1])
        found[f"λ = {ridge:g}"] = {
            "curve": curve,
            "bins": bins,
            "histograms": share,
            "w": pde.centers[kept],
            "density": pde.density[:, 0, kept],
            "m": closed.m,
            "s": closed.s,
            "agreement": agreement(pde, ste),
        }
    limits = [
        {"omega": w, "ridge": ridge, "eta": eta, **_limit(w, ridge, eta)}
        for w in (2.0, 1.5)
        for ridge in (0.0, 0.5, 1.0)
        for eta in (0.02, 0.04, 0.08)
    ]
    return {
        "cases": found,
        "limits": limits,
        "dimension": dimension,
        "runs": runs,
        "seeds": [SEED, SEED + 1],
    }


def _limit(omega: float, ridge: float, eta: float) -> dict[str, Any]:
    """Mean and deviation of the stationary density, and the threshold that is nearest."""
    case = problem(2, omega, bits_x=2, omega_x=2.0, ridge=ridge, eta=eta)
    state = fpsolve.stationary_states(case)[0].order_parameters
    thresholds = case.weight_quantizer.thresholds  # type: ignore[union-attr]
    mean = float(state.m)
    nearest = thresholds[np.argmin(np.abs(thresholds - mean))]
    return {"mean": mean, "deviation": float(state.s), "threshold": nearest}


def gates(data: dict[str, Any]) -> list[Gate]:
    """Densities and learning curves agree with the simulation."""
    rows = []
    for label, case in data["cases"].items():
        rows.append(agreement_gate(f"{label}, densities", case["agreement"]))
        rows.append(agreement_gate(f"{label}, a second seed", case["curve"]["agreement"]))
    return rows


def claims(data: dict[str, Any]) -> list[Claim]:
    """Whether the density of the limit is that of simulated weights, at either ridge."""
    answers, told = [], []
    for label, case in data["cases"].items():
        worst = case["agreement"]["worst"]
        answers.append(answer(label, 1 - worst, 0.0))
        told.append(f"{label}: largest difference {100 * worst:.0f} % of what sampling may do")
    text = "Fig. 1: histograms of trained weights have the density of the PDE"
    shown = [r for r in data["limits"] if r["omega"] == 2]
    others = [r for r in data["limits"] if r["omega"] != 2]
    ends = [
        # Where the mean ends: within two deviations of the teacher's value.
        answer(
            f"λ = {r['ridge']:g}, η = {r['eta']:g}",
            2 * r["deviation"] - abs(r["mean"] - 1),
            0.0,
            ridge=r["ridge"],
            eta=r["eta"],
        )
        for r in shown
    ]
    worst = max(shown, key=lambda r: abs(r["mean"] - 1))
    evidence = (
        f"stationary mean {worst['mean']:.3f} ± {worst['deviation']:.3f} at worst; w* is a "
        f"threshold of ψ there. With ω = {others[0]['omega']:g}, whose threshold is at "
        f"{others[0]['threshold']:g}, the mean is {min(r['mean'] for r in others):.3f} to "
        f"{max(r['mean'] for r in others):.3f}: weights gather at thresholds, not at the teacher"
    )
    end = "Fig. 1: as τ grows the distribution approaches w* = 1"
    return [
        judged("fig1-density", text, answers, "; ".join(told)),
        judged("fig1-limit", end, ends, evidence),
    ]


def headline(data: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    curves = {label: case["curve"] for label, case in data["cases"].items()}
    worst = max(case["agreement"]["worst"] for case in data["cases"].values())
    return (
        f"densities at d = {data['dimension']}: worst test at {worst:.2f} of its limit; "
        f"{verdict_on(curves)}"
    )


def visualize(data: dict[str, Any]) -> Any:
    """Draw the densities of both cases, and ε_g on both time axes."""
    figure, axes = grid_of_axes(3, 4, width=11, height=2.5)
    for row, (label, case) in enumerate(data["cases"].items()):
        bins, w = np.asarray(case["bins"]), np.asarray(case["w"])
        for i, time in enumerate(TIMES):
            ax = axes[row, i]
            bars = np.maximum(case["histograms"][i], LEAST)
            ax.stairs(
                bars, bins, baseline=LEAST, fill=True, color=COLORS[1], alpha=0.35, label="STE"
            )
            density = np.asarray(case["density"][i])
            ax.plot(w, _seen(density), color=COLORS[0], label="PDE")
            m, s = case["m"][i], case["s"][i]
            gaussian = np.exp(-0.5 * ((w - m) / s) ** 2) / (s * np.sqrt(2 * np.pi))
            ax.plot(w, _seen(gaussian), ":", color=INK, label="closure")
            ax.set_title(f"{label}, τ = {time:g}")
            ax.set_yscale("log")
            ax.set_ylim(LEAST, 2 * max(density.max(), gaussian.max()))
            ax.set_xlim(-2.5, 3)
            ax.set_xlabel("$w$")
        axes[row, 1].legend(loc="upper left")
    curves = {label: case["curve"] for label, case in data["cases"].items()}
    last = axes[2]
    if is_stacked():  # One below the other, and nothing below these two.
        chosen = last[:2]
        last[0].get_gridspec().set_height_ratios([1] * 10 + [1e-3] * 2)
        figure.set_size_inches(figure.get_figwidth(), figure.get_figheight() * 10 / 12)
    else:
        chosen = last[::2]
        for i, ax in zip((0, 2), chosen, strict=True):
            ax.set_subplotspec(ax.get_gridspec()[2, i : i + 2])
    for ax in set(last) - set(chosen):
        ax.remove()
    for ax, log in zip(chosen, (False, True), strict=True):
        draw_curves(ax, curves, COLORS, log=log)
        if not log:
            ax.legend(loc="upper right")
        else:
            key(ax, loc="lower left")
    return figure


def _seen(density: np.ndarray) -> np.ndarray:
    """Return a density without what lies below the axis."""
    return np.where(density >= LEAST, density, np.nan)
