"""Theorem IV.3: the empirical density of STE converges to the PDE, at the rate d^−½.

Measured is the mean over runs of the Wasserstein-1 distance between the d weights of one run and
the density at τ = 20 (b = 2, ω = 1, λ = 1, η = 0.04, as in Fig. 2). Independent draws from the
PDE's density, measured the same way, show what d^−½ looks like without any dynamics.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import fpsolve
from validation.claims import Claim, answer, judged
from validation.curves import agreement, agreement_gate, problem
from validation.gates import Gate, fitted_exponent, mean_and_error, normal_limit
from validation.parts import part
from validation.pictures import COLORS, grid_of_axes, half_power, points

TITLE = "Theorem IV.3: density and d^−½"
KIND = "claim"
SEED = 1301
TIME = 20.0


def compute(quick: bool = False) -> dict[str, Any]:
    """Return distances for growing dimension."""
    # As many coordinates at every d: the smaller ones take more runs.
    dimensions, budget = (
        ((100, 200, 400, 800), 51_200) if quick else ((200, 400, 800, 1600, 3200), 480_000)
    )
    case = problem(2, 1.0, ridge=1.0)
    pde = fpsolve.solve_pde(case, [TIME], rtol=1e-8)
    edges = pde.edges
    cdf = np.concatenate([[0.0], np.cumsum(pde.masses[0, 0])])
    rows = []
    for i, d in enumerate(dimensions):

        def row(i: int = i, d: int = d) -> dict[str, Any]:
            ste = fpsolve.simulate_ste(
                case, [TIME], dimension=d, runs=budget // d, seed=SEED + i, dense_times=[TIME]
            )
            drawn = np.interp(np.random.default_rng([SEED, i]).random((budget // d, d)), cdf, edges)
            mean, error = mean_and_error([wasserstein(w, edges, cdf) for w in ste.weights[:, 0]])
            free, free_error = mean_and_error([wasserstein(w, edges, cdf) for w in drawn])
            return {
                "d": d,
                "runs": budget // d,
                "mean": mean,
                "error": error,
                "free": free,
                "free_error": free_error,
            }

        rows.append(part(f"d = {d}", row))
    # The verdict at the largest d takes few runs: their mean sees terms of order 1/d otherwise.
    few = fpsolve.simulate_ste(
        case, [TIME], dimension=dimensions[-1], runs=4, seed=SEED + 90, dense_times=[TIME]
    )
    seeds = [*range(SEED, SEED + len(rows)), SEED + 90]
    return {"rows": rows, "agreement": agreement(pde, few), "seeds": seeds}


def wasserstein(w: Any, edges: Any, cdf: Any) -> float:
    """∫|F_d − F| dw with F linear between the edges."""
    sample = np.sort(w)
    grid = np.union1d(edges, sample)
    low = np.searchsorted(sample, grid[:-1], side="right") / sample.size
    exact = np.interp(grid, edges, cdf)
    middle = 0.5 * (exact[1:] + exact[:-1])
    return float(np.abs(low - middle) @ np.diff(grid))


def gates(data: dict[str, Any]) -> list[Gate]:
    """Slope −½, and agreement at the largest dimension."""
    slope, error = _slope(data, "mean", "error")
    free, free_error = _slope(data, "free", "free_error")
    limit = normal_limit(2)
    first, *_, last = (r["d"] for r in data["rows"])
    # A shift of the mean of order 1/d adds to noise of order d^−½ in squares.
    bend = (1 / first - 1 / last) / math.log(last / first)
    why = (
        f"{limit:.2g} standard errors of {error:.2g}, and {bend:.2g} for relative "
        "corrections of 1/d"
    )
    return [
        Gate.near("exponent of the distance", slope, -0.5, limit * error + bend, why, noise=error),
        Gate.near(
            "exponent for independent draws",
            free,
            -0.5,
            limit * free_error + bend,
            f"{limit:.2g} standard errors of {free_error:.2g}, and {bend:.2g} as above",
            noise=free_error,
        ),
        agreement_gate("largest d", data["agreement"]),
    ]


def _slope(data: dict[str, Any], key: str, error: str) -> tuple[float, float]:
    return fitted_exponent(*([r[name] for r in data["rows"]] for name in ("d", key, error)))


def claims(data: dict[str, Any]) -> list[Claim]:
    """Whether the distance to the PDE falls, as that of independent draws does."""
    slope, error = _slope(data, "mean", "error")
    free, free_error = _slope(data, "free", "free_error")
    answers = [
        answer("b = 2, τ = 20", 0.1 - abs(slope - free), 2 * float(np.hypot(error, free_error)))
    ]
    first, last = data["rows"][0], data["rows"][-1]
    evidence = (
        f"W1 is {first['mean']:.4f} at d = {first['d']}, {last['mean']:.4f} at d = {last['d']}: "
        f"d^({slope:.3f} ± {error:.3f}), independent draws d^({free:.3f} ± {free_error:.3f})"
    )
    text = "Theorem IV.3: the weights' empirical law tends to the solution of the PDE"
    return [judged("theorem-iv3", text, answers, evidence)]


def headline(data: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    slope, error = _slope(data, "mean", "error")
    return (
        f"the distance between the densities of STE and PDE falls as d^({slope:.3f} ± {error:.3f})"
    )


def visualize(data: dict[str, Any]) -> Any:
    """Draw distance over dimension."""
    figure, axes = grid_of_axes(1, 1, width=6)
    ax = axes[0, 0]
    d = np.array([r["d"] for r in data["rows"]])
    points(
        ax,
        d,
        [r["mean"] for r in data["rows"]],
        [r["error"] for r in data["rows"]],
        COLORS[0],
        label="STE",
    )
    points(
        ax,
        d,
        [r["free"] for r in data["rows"]],
        [r["free_error"] for r in data["rows"]],
        COLORS[1],
        label="independent draws",
    )
    half_power(ax, d, [r["mean"] for r in data["rows"]], [r["error"] for r in data["rows"]])
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("$d$")
    ax.set_ylabel("Wasserstein distance to the PDE")
    ax.legend()
    return figure
