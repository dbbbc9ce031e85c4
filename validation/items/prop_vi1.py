"""Proposition VI.1: stability boundary of unquantized weights, by STE on both sides.

q* = [2ρκ² + ηS((ρ+σ²)(S+λ) − 2ρκ²)]/[(S+λ)(2(S+λ) − ηS²)] (the paper has κ² for ρκ²; here ρ =
2), stable for η < 2(S+λ)/S². Below the boundary STE settles at q* and ε*; above it E q grows, at
the rate of the positive eigenvalue −2η(S+λ) + η²S².
"""

from __future__ import annotations

from typing import Any

import numpy as np

import fpsolve
from fpsolve import GaussianInitial, Teacher
from validation.claims import Claim, answer, judged
from validation.curves import late_average, problem, student_gate
from validation.gates import FALSE_ALARM, Gate, mean_and_error, student_limit
from validation.pictures import COLORS, GRAY, INK, grid_of_axes, points

TITLE = "Prop. VI.1: both sides of the stability boundary"
KIND = "claim"
SEED = 1501
OPTIONS: dict[str, Any] = {
    "bits_x": 2,
    "omega_x": 1.5,
    "ridge": 0.3,
    "noise_variance": 0.25,
    "teacher": Teacher.constant(np.sqrt(2.0)),
    "initial": GaussianInitial(variance=1.0),
}


def compute(quick: bool = False) -> dict[str, Any]:
    """Return STE at 0.8, 0.95 and 1.05, 1.2 of the boundary, with the formulas."""
    dimension, runs = (200, 128) if quick else (400, 512)
    base = problem(None, eta=0.1, **OPTIONS)
    boundary = fpsolve.stability_boundary(base)
    sides = []
    for i, share in enumerate((0.6, 0.9, 1.1, 1.3)):
        case = problem(None, eta=share * boundary, **OPTIONS)
        pull, eta = case.sigma2 + case.ridge, case.learning_rate
        rate = -2 * eta * pull + eta**2 * case.sigma2**2
        stable = share < 1
        horizon = 12 / abs(rate) if stable else 2 / rate
        times = np.linspace(0, horizon, 25)
        found = [
            fpsolve.simulate_ste(
                case, times[1:], dimension=d, runs=runs, seed=SEED + i + 100 * k, dense_times=times
            ).dense_order_parameters.q
            for k, d in enumerate((dimension // 2, dimension))
        ]
        theory = fpsolve.solve_ode(case, times).order_parameters
        # Growth is off by 1/d, which many runs see: 2X_d − X_{d/2} is free of it.
        (rough, rough_error), (fine, fine_error) = (mean_and_error(q) for q in found)
        mean, error = 2 * fine - rough, np.hypot(rough_error, 2 * fine_error)
        side: dict[str, Any] = {
            "share": share,
            "eta": eta,
            "rate": rate,
            "tau": times,
            "q": theory.q,
            "ste": mean,
            "error": error,
            "runs": runs,
        }
        if stable:
            window = (horizon / 2, horizon)
            for name in ("q", "generalization_error"):
                side["late_" + name] = late_average(
                    case, window, dimension=dimension, runs=runs, seed=SEED + 20 + i, name=name
                )
            fixed = fpsolve.isotropic_fixed_points(case)[0]
            side["fixed"] = {"q": fixed.q, "generalization_error": fixed.generalization_error}
            side["eigenvalues"] = np.sort(fixed.eigenvalues.real)
            k, s, rho, noise = case.kappa, case.sigma2, case.rho, case.noise_variance
            for form, square in (("formula", rho * k**2), ("paper", k**2)):
                above = 2 * square + eta * s * ((rho + noise) * pull - 2 * square)
                side[form] = above / (pull * (2 * pull - eta * s**2))
            side["eigenvalue_formulas"] = sorted([-eta * pull, rate])
        else:
            side["fixed_points"] = len(fpsolve.isotropic_fixed_points(case))
        sides.append(side)
    return {"boundary": boundary, "sides": sides, "dimension": dimension, "seed": SEED}


def gates(data: dict[str, Any]) -> list[Gate]:
    """Settled below, growing above, with the formulas' numbers."""
    rows = []
    for side in data["sides"]:
        label = f"η = {side['share']:g} of the boundary"
        if "fixed" in side:
            rows.append(student_gate(f"{label}: q* by STE", side["late_q"], side["formula"], 4))
            found = side["late_generalization_error"]
            truth = side["fixed"]["generalization_error"]
            rows.append(student_gate(f"{label}: ε* by STE", found, truth, 4))
            near = abs(side["fixed"]["q"] / side["formula"] - 1)
            rows.append(
                Gate.at_most(f"{label}: q* against formula, relative", near, 1e-12, "rounding")
            )
            apart = np.abs(np.subtract(side["eigenvalues"], side["eigenvalue_formulas"])).max()
            rows.append(
                Gate.at_most(f"{label}: eigenvalues against formulas", apart, 1e-12, "rounding")
            )
            rows.append(
                Gate.at_most(f"{label}: largest eigenvalue", side["eigenvalues"][-1], 0, "stable")
            )
        else:
            limit = student_limit(side["runs"] - 1, 2)
            why = (
                f"E q obeys the linear ODE exactly as d → ∞; t limit {limit:.3g} at {FALSE_ALARM:g}"
            )
            away = (side["ste"][-1] - side["q"][-1]) / side["error"][-1]
            title = f"{label}: final q by STE, standard errors off"
            rows.append(Gate.near(title, away, 0, limit, why, noise=1.0))
            grown = side["ste"][-1] / side["ste"][0] - limit * side["error"][-1] / side["ste"][0]
            rows.append(
                Gate.at_least(f"{label}: growth of q, less {limit:.3g} s.e.", grown, 1, "unstable")
            )
            rows.append(
                Gate.at_most(
                    f"{label}: fixed points", side["fixed_points"], 0, "q* would be negative"
                )
            )
    return rows


def claims(data: dict[str, Any]) -> list[Claim]:
    """Whether STE settles at q* below the boundary, with ρκ² and with κ², and grows above it."""
    answers, off, told = [], 0.0, []
    for side in data["sides"]:
        label = f"η = {side['share']:g} of the boundary"
        if "fixed" in side:
            found = side["late_q"]
            reach = student_limit(found["degrees"], 2) * found["error"]
            answers.append(answer(label, reach - abs(found["mean"] - side["formula"]), 0.0))
            off = max(off, abs(found["mean"] - side["paper"]) / reach)
            told.append(
                f"{label}: STE {found['mean']:.3f} ± {found['error']:.3f}, with ρκ² "
                f"{side['formula']:.3f}, as printed {side['paper']:.3f}"
            )
        else:
            first, last, noise = side["ste"][0], side["ste"][-1], side["error"][-1]
            answers.append(answer(label, last - first, student_limit(side["runs"] - 1, 2) * noise))
            told.append(f"{label}: q grows {last / first:.0f}-fold")
    text = "Prop. VI.1: q* of unquantized weights, stable for η < 2(S+λ)/S²"
    return [judged("prop-vi1", text, answers, "; ".join(told), off=off)]


def headline(data: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    off = max(
        abs(side["late_q"]["mean"] - side["fixed"]["q"]) / side["late_q"]["error"]
        for side in data["sides"]
        if "fixed" in side
    )
    grown = [side["ste"][-1] / side["ste"][0] for side in data["sides"] if "fixed" not in side]
    return (
        f"below the boundary η = {data['boundary']:.3f} STE settles {off:.1f} standard errors "
        f"from q* at most; above it q grows {grown[0]:.0f}- and {grown[1]:.0f}-fold"
    )


def visualize(data: dict[str, Any]) -> Any:
    """Draw q(τ) on either side."""
    figure, axes = grid_of_axes(1, 2)
    for color, side in zip(COLORS, data["sides"], strict=False):
        ax = axes[0, 0 if "fixed" in side else 1]
        ax.plot(side["tau"], side["q"], ":", color=color, lw=2)
        label = rf"$\eta={side['share']:g}\times$ boundary"
        points(ax, side["tau"], side["ste"], side["error"], color, label=label)
        if "fixed" in side:
            ax.axhline(side["formula"], color=GRAY, lw=0.8)
    axes[0, 0].plot([], [], ":", color=INK, lw=2, label="d → ∞")
    axes[0, 0].plot([], [], "-", color=GRAY, lw=0.8, label="q* of the formula")
    for ax in axes[0]:
        ax.set_xlabel(r"$\tau$")
        ax.set_ylabel("$q$")
        ax.legend()
    axes[0, 1].set_yscale("log")
    return figure
