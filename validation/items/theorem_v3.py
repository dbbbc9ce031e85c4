"""Theorem V.3: E|Ψ_d − Ψ| of Ψ = (m, q) falls as d^−½ to the PDE, and saturates to the closure.

b = 2, ω = 1, λ = 1, η = 0.04; the maximum is over τ = 2.5, 5, …, 20. The paper states the bound
for the closure (Eqs. 6–7 under Assumption V.1). Its distance to the simulation stops falling
where the two theories are apart; the distance to the PDE goes on falling.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import fpsolve
from validation.curves import problem
from validation.gates import (
    Gate,
    fitted_exponent,
    fitted_slope,
    mean_and_error,
    normal_limit,
    student_limit,
)
from validation.parts import part
from validation.pictures import COLORS, GRAY, grid_of_axes, half_power, points

TITLE = "Theorem V.3: PDE against closure as d grows"
KIND = "claim"
# Claims it is about, by the item that judges them.
ELSEWHERE = {"claims_scan": ("theorem-v3",)}
SEED = 1401
TIMES = np.linspace(2.5, 20, 8)


def compute(quick: bool = False) -> dict[str, Any]:
    """Return distances of (m, q) to both theories for growing dimension."""
    # As many coordinates at every d: the smaller ones take more runs.
    dimensions, budget = (
        ((100, 200, 400, 800), 80_000) if quick else ((200, 400, 800, 1600, 3200), 640_000)
    )
    case = problem(2, 1.0, ridge=1.0)
    exact = fpsolve.solve_pde(case, TIMES, rtol=1e-8).order_parameters
    closed = fpsolve.solve_ode(case, TIMES).order_parameters
    rows = []
    for i, d in enumerate(dimensions):
        rows.append(
            part(
                f"d = {d}",
                lambda i=i, d=d: _distances(
                    case, {"pde": exact, "closure": closed}, d, budget // d, SEED + i
                ),
            )
        )
    known = fpsolve.fluctuations(case, TIMES)
    rng = np.random.default_rng(SEED)
    pair = [known.names.index(name) for name in ("m", "q")]
    promised = []
    for t in range(TIMES.size):
        spread = known.covariance[t][pair][:, t, pair]
        draws = rng.multivariate_normal([0, 0], spread, size=200_000)
        promised.append(float(np.hypot(*draws.T).mean()))
    apart = np.hypot(exact.m - closed.m, exact.q - closed.q)
    for row in rows:
        row["promised"] = promised[row.pop("at")] / np.sqrt(row["d"])
    return {"rows": rows, "apart": apart.max(), "seeds": [SEED + i for i in range(len(rows))]}


def _distances(
    case: fpsolve.Problem, theories: dict[str, Any], d: int, runs: int, seed: int
) -> dict[str, Any]:
    """Return mean distances of (m, q) to the theories, at the time where they are largest."""
    ste = fpsolve.simulate_ste(
        case, TIMES, dimension=d, runs=runs, seed=seed, dense_times=[TIMES[-1]]
    ).order_parameters
    row: dict[str, Any] = {"d": d, "runs": runs}
    for name, theory in theories.items():
        distance = np.hypot(ste.m - theory.m, ste.q - theory.q)
        mean, error = mean_and_error(distance)
        at = int(np.argmax(mean))
        row[name], row[name + "_error"] = mean[at], error[at]
        row.setdefault("at", at)
    return row


def gates(data: dict[str, Any]) -> list[Gate]:
    """−½ to the PDE; a floor under the distance to the closure."""
    rows = data["rows"]
    limit = normal_limit()
    # Over what the linearized equation promises, exactly ∝ d^−½; a shift of order 1/d is left.
    ratio = [r["pde"] / r["promised"] for r in rows]
    noise = [r["pde_error"] / r["promised"] for r in rows]
    at = [1 / r["d"] for r in rows]
    slope, slope_error = fitted_slope(at, ratio, noise)
    weight = 1 / np.square(noise)
    center = float(weight @ at / weight.sum())
    intercept = float(weight @ ratio / weight.sum()) - slope * center
    error = float(np.hypot(1 / np.sqrt(weight.sum()), slope_error * center))
    why = f"line in 1/d; {limit:.2g} standard errors of {error:.2g}, and 1 % of the promise"
    found = [
        Gate.near(
            "distance to the PDE over that of the linearized equation, which is C d^−½, d → ∞",
            intercept,
            1.0,
            limit * error + 0.01,
            why,
            noise=error,
        )
    ]
    end = rows[-1]
    t = student_limit(end["runs"] - 1)
    flat, flat_error = slope_of(data, "closure")
    why = f"−½ and {limit:.2g} standard errors of {flat_error:.2g}: it saturates"
    found.append(
        Gate.at_least(
            "exponent of the distance to the closure", flat, -0.5 + limit * flat_error, why
        )
    )
    found.append(
        Gate.at_least(
            f"distance to the closure over that to the PDE, d = {end['d']}",
            end["closure"] / end["pde"],
            1 + t * np.hypot(end["pde_error"] / end["pde"], end["closure_error"] / end["closure"]),
            "they would be alike if the closure were exact",
        )
    )
    return found


def slope_of(data: dict[str, Any], name: str) -> tuple[float, float]:
    """Return the exponent in d of a distance, and its standard error."""
    rows = data["rows"]
    columns = ([r[key] for r in rows] for key in ("d", name, name + "_error"))
    return fitted_exponent(*columns)


def headline(data: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    slope, error = slope_of(data, "pde")
    flat, flat_error = slope_of(data, "closure")
    end = data["rows"][-1]
    return (
        f"E|Ψ_d − Ψ| falls as d^({slope:.3f} ± {error:.3f}) to the PDE, d^({flat:.3f} ± "
        f"{flat_error:.3f}) to the closure; at d = {end['d']} {end['pde']:.4f} against "
        f"{end['closure']:.4f}"
    )


def plain(data: dict[str, Any]) -> str:
    """What was found, for a reader who knows no symbol of the paper."""
    slope, error = slope_of(data, "pde")
    flat, flat_error = slope_of(data, "closure")
    end = data["rows"][-1]
    return (
        "The larger the model, the nearer simulated training comes to the density that fpsolve "
        f"solves for: their distance falls as d^({slope:.2f} ± {error:.2f}) with the number d of "
        f"weights. To the paper's two equations it falls as d^({flat:.2f} ± {flat_error:.2f}) and "
        f"levels off: at d = {end['d']} it is {end['closure']:.3f}, to the density "
        f"{end['pde']:.3f}."
    )


def visualize(data: dict[str, Any]) -> Any:
    """Draw both distances over the dimension."""
    figure, axes = grid_of_axes(1, 1, width=6)
    ax = axes[0, 0]
    d = np.array([r["d"] for r in data["rows"]])
    for name, label, color in (
        ("pde", "to the PDE", COLORS[0]),
        ("closure", "to the closure", COLORS[1]),
    ):
        points(
            ax,
            d * (1.04 if name == "closure" else 1.0),  # Beside each other where they coincide.
            [r[name] for r in data["rows"]],
            [r[name + "_error"] for r in data["rows"]],
            color,
            label=label,
        )
    half_power(ax, d, [r["pde"] for r in data["rows"]], [r["pde_error"] for r in data["rows"]])
    ax.axhline(data["apart"], color=GRAY, lw=0.8, ls="--", label="between the two theories")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("$d$")
    ax.set_ylabel(r"$\max_\tau\,E\,\|\Psi_d-\Psi\|$")
    ax.legend()
    return figure
