"""Theorem IV.3's limit by its particles: `simulate_sde` and propagation of chaos.

N particles of the stochastic differential equation share one ε_g, that of themselves. As N grows
they become independent draws from the PDE's density: the Wasserstein distance to it falls as for
draws, the variance of their averages as 1/N, and the means go to the density's. Two inputs: b = 2
as in Fig. 2, and b = 3 with quantized inputs and two teacher values.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import fpsolve
from fpsolve import Problem, Teacher
from validation.claims import Claim, answer, judged
from validation.curves import problem
from validation.gates import (
    FALSE_ALARM,
    Gate,
    Table,
    fitted_exponent,
    fitted_slope,
    mean_and_error,
    normal_limit,
)
from validation.items.theorem_iv3 import wasserstein
from validation.parts import part
from validation.pictures import COLORS, INK, grid_of_axes, half_power, points

TITLE = "Propagation of chaos: the limiting particles"
KIND = "claim"
SEED = 4601
TIME = 4.0


def cases() -> dict[str, Problem]:
    """Return the problems."""
    two = Teacher([-1.0, 0.5], [0.5, 0.5])
    return {
        "b = 2": problem(2, 1.0, ridge=1.0, eta=0.1),
        "b = b_x = 3, two teacher values": problem(
            3, 1.0, bits_x=3, ridge=0.3, eta=0.3, noise_variance=0.2, teacher=two
        ),
    }


def compute(quick: bool = False) -> dict[str, Any]:
    """Return distances, variances and means of ε_g over the number of particles."""
    counts, budget = ((50, 100, 200, 400), 9_600) if quick else ((100, 400, 1600), 160_000)
    found = {}
    for i, (name, case) in enumerate(cases().items()):
        pde = fpsolve.solve_pde(case, [TIME], rtol=1e-8)
        # One Euler step for all N: what it leaves is looked at by halving it.
        step = 0.02 if quick else 0.004
        rows = [
            part(
                f"{name} {n}",
                lambda case=case, pde=pde, n=n, i=i, step=step: _particles(
                    case, pde, n, budget // n, SEED + 10 * i, step
                ),
            )
            for n in counts
        ]
        state = pde.order_parameters
        found[name] = {"rows": rows, "exact": float(state.generalization_error[0]), "step": step}
    return {"cases": found, "seeds": [SEED, SEED + 10]}


def _particles(
    case: Problem, pde: Any, count: int, runs: int, seed: int, step: float
) -> dict[str, Any]:
    """Return W1 to the density of runs and of draws, and mean and variance of ε_g over runs."""
    sde = fpsolve.simulate_sde(
        case, [TIME], particles=count, runs=runs, seed=seed + count, max_step=step
    )
    rng = np.random.default_rng([seed, count])
    own, free = np.zeros(runs), np.zeros(runs)
    values, shares = case.teacher.values, case.teacher.probabilities
    for k, share in enumerate(shares):
        cdf = np.concatenate([[0.0], np.cumsum(pde.masses[0, k])])
        for r in range(runs):
            w = sde.weights[r, 0][sde.teacher_weights[r] == values[k]]
            own[r] += share * wasserstein(w, pde.edges, cdf)
            free[r] += share * wasserstein(
                np.interp(rng.random(w.size), cdf, pde.edges), pde.edges, cdf
            )
    error = sde.order_parameters.generalization_error[:, 0]
    mean, noise = mean_and_error(error)
    variance = error.var(ddof=1)
    each = np.square(error - mean)
    return {
        "N": count,
        "runs": runs,
        "own": mean_and_error(own),
        "free": mean_and_error(free),
        "mean": [mean, noise],
        "variance": [variance, each.std(ddof=1) / np.sqrt(runs)],
    }


def _power(rows: Any, name: str) -> tuple[float, float]:
    return fitted_exponent(
        [r["N"] for r in rows], [r[name][0] for r in rows], [r[name][1] for r in rows]
    )


def _end(rows: Any) -> tuple[float, float]:
    """Return the mean of ε_g at the end of a line in 1/N, and its error."""
    at = np.array([1 / r["N"] for r in rows])
    mean, error = np.array([r["mean"] for r in rows]).T
    slope, slope_error = fitted_slope(at, mean, error)
    weight = 1 / np.square(error)
    center = weight @ at / weight.sum()
    end = weight @ mean / weight.sum() - slope * center
    return float(end), float(np.hypot(weight.sum() ** -0.5, slope_error * center))


def gates(data: dict[str, Any]) -> list[Gate]:
    """The distance beside that of draws, the variance's power, the mean as N → ∞."""
    rows = []
    limit = normal_limit(3 * len(data["cases"]))
    for name, case in data["cases"].items():
        found = case["rows"]
        first, last = found[0]["N"], found[-1]["N"]
        slope, error = _power(found, "own")
        free, free_error = _power(found, "free")
        # A mean off by 1/N adds to noise of order N^−½ in squares.
        bend = (1 / first - 1 / last) / math.log(last / first)
        spread = float(np.hypot(error, free_error))
        why = f"{limit:.3g} standard errors of {spread:.2g}, and {bend:.1g} for terms of 1/N"
        title = f"{name}: exponent of W1 to the density, less that of independent draws"
        rows.append(Gate.near(title, slope - free, 0.0, limit * spread + bend, why, noise=spread))
        slope, error = _power(found, "variance")
        why = f"{limit:.3g} standard errors of {error:.2g}, and {2 * bend:.1g} for terms of 1/N"
        title = f"{name}: exponent of Var ε_g in N"
        rows.append(Gate.near(title, slope, -1.0, limit * error + 2 * bend, why, noise=error))
        end, error = _end(found)
        # Particles caught at a threshold are displaced by half a step's way: order η·step.
        euler = case["step"]
        why = f"line in 1/N: {limit:.3g} standard errors, and the Euler step {euler:g}"
        title = f"{name}: mean ε_g, N → ∞"
        rows.append(Gate.near(title, end, case["exact"], limit * error + euler, why, noise=error))
    return rows


def claims(data: dict[str, Any]) -> list[Claim]:
    """Whether particles become independent draws of the limiting density."""
    answers, told = [], []
    for name, case in data["cases"].items():
        slope, error = _power(case["rows"], "own")
        answers.append(answer(name, 0.1 - abs(slope + 0.5), 2 * error))
        told.append(f"{name}: W1 ~ N^({slope:.3f} ± {error:.3f})")
    text = "Theorem IV.3: weights follow the limiting SDE, whose particles share ε_g alone"
    return [judged("theorem-iv3-sde", text, answers, "; ".join(told))]


def tables(data: dict[str, Any]) -> list[Table]:
    """All numbers."""
    heads = ["problem", "N", "runs", "W1", "W1 of draws", "mean ε_g", "s.e.", "N·Var ε_g", "PDE"]
    rows = [
        [name, r["N"], r["runs"], r["own"][0], r["free"][0], *r["mean"],
         r["N"] * r["variance"][0], case["exact"]]
        for name, case in data["cases"].items()
        for r in case["rows"]
    ]  # fmt: skip
    return [Table(f"Particles at τ = {TIME:g}", heads, rows)]


def headline(data: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    told = []
    for name, case in data["cases"].items():
        slope, error = _power(case["rows"], "own")
        end, noise = _end(case["rows"])
        told.append(
            f"{name}: W1 ~ N^({slope:.3f} ± {error:.3f}), ε_g → {end:.4f} ± {noise:.4f} (PDE "
            f"{case['exact']:.4f})"
        )
    return "; ".join(told) + f"; false alarms {FALSE_ALARM:g} a gate"


def visualize(data: dict[str, Any]) -> Any:
    """Draw distance and variance over N."""
    figure, axes = grid_of_axes(1, 2)
    for i, (name, case) in enumerate(data["cases"].items()):
        rows = case["rows"]
        n = np.array([r["N"] for r in rows], dtype=float)
        own, error = np.array([r["own"] for r in rows]).T
        points(axes[0, 0], n, own, error, COLORS[i], label=name.replace("b_x", "$b_x$"))
        half_power(axes[0, 0], n, own, error, labelled=i == 0)
        free = np.array([r["free"] for r in rows])[:, 0]
        axes[0, 0].plot(n, free, "_", ms=12, color=COLORS[i])
        variance, noise = np.array([r["variance"] for r in rows]).T
        points(axes[0, 1], n, n * variance, n * noise, COLORS[i])
    axes[0, 0].plot([], [], "_", color=INK, label="independent draws")
    axes[0, 0].set_yscale("log")
    axes[0, 0].set_ylabel("Wasserstein distance to the PDE")
    axes[0, 0].legend()
    axes[0, 1].set_ylim(bottom=0)
    axes[0, 1].set_ylabel(r"$N\,\mathrm{Var}\,\varepsilon_g$")
    for ax in axes[0]:
        ax.set_xscale("log")
        ax.set_xlabel("$N$")
    return figure
