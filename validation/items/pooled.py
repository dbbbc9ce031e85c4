"""One test of all: does the simulation leave room for an error in κ, S + λ or D?

Order parameters of STE, extrapolated to d → ∞, less those of the density, on problems that between
them use every coefficient. Their covariance comes from the adjoint equation, beforehand; so does
the power: what an error of a coefficient would do to the density is computed by solving it so.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import stats

from fpsolve import GaussianInitial, Problem
from validation.coefficients import COEFFICIENTS, response
from validation.curves import extrapolated, problem
from validation.gates import FALSE_ALARM, Gate, Table
from validation.parts import part
from validation.pictures import COLORS, INK, grid_of_axes

TITLE = "One pooled test, and what it would have seen"
KIND = "claim"
# Claims it is about, by the item that judges them.
ELSEWHERE = {"theorem_iv3": ("theorem-iv3",)}
SEED = 4201
# Read off weights alone: ε_g of a simulation is reduced with the κ and S that are on trial.
NAMES = ("m_psi", "q_psi", "m", "s")
# Chance of seeing an error of the size that is called visible.
SEEN = 0.95
# Directions in which correlations all but vanish are left out: theory knows them to a per cent.
LEAST = 0.05


def cases() -> dict[str, tuple[Problem, list[float]]]:
    """Return problems with the times at which they are compared."""
    # From narrow weights the spread is that of the diffusion alone.
    narrow = {"initial": GaussianInitial(variance=0.01)}
    return {
        "Fig. 1": (problem(2, 2.0, bits_x=2, omega_x=2.0), [10.0, 25.0]),
        "Fig. 2, b = 2": (problem(2, ridge=1.0), [5.0, 15.0, 30.0]),
        "Fig. 4, b_x = 3": (problem(3, bits_x=3, eta=0.05, ridge=1.0), [5.0, 20.0]),
        "Fig. 8, b = 2, λ = ½": (problem(2, ridge=0.5), [10.0, 25.0]),
        "b = 3, η = 0.5": (
            problem(3, eta=0.5, ridge=0.2, noise_variance=0.2, **narrow),
            [2.0, 8.0],
        ),
        "b = 4, η = 1": (problem(4, eta=1.0, ridge=0.5, noise_variance=0.5, **narrow), [2.0, 8.0]),
        "unquantized": (problem(None, bits_x=3, omega_x=1.5, eta=0.5, **narrow), [1.0, 3.0]),
        "batch of 2": (problem(3, eta=0.3, ridge=0.5, batch_size=2, **narrow), [1.0, 3.0, 10.0]),
    }


def compute(quick: bool = False) -> dict[str, Any]:
    """Return differences, covariances and responses of every problem."""
    # Many runs at small d: the noise falls with both, the cost grows with the square of d.
    dimension, runs = (200, 100) if quick else (200, 3200)
    rows = [
        part(label, lambda i=i, label=label: _row(label, dimension, runs, SEED + 10 * i))
        for i, label in enumerate(cases())
    ]
    return {"rows": rows}


def _row(label: str, dimension: int, runs: int, seed: int) -> dict[str, Any]:
    """Return differences, covariance and responses of one problem."""
    case, tau = cases()[label]
    found = extrapolated(case, tau, dimension=dimension, runs=runs, seed=seed, names=NAMES)
    slopes = [response(case, tau, name, NAMES) for name in COEFFICIENTS]
    return {"label": label, **found, **_projected(found, np.array(slopes))}


def _projected(found: dict[str, Any], slopes: np.ndarray) -> dict[str, Any]:
    """Return differences and responses in the uncorrelated directions that theory knows well."""
    covariance = np.asarray(found["covariance"])
    scale = np.sqrt(np.diag(covariance))
    values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
    kept = values >= LEAST
    whiten = (vectors[:, kept] / np.sqrt(values[kept])).T / scale
    return {
        "scores": whiten @ np.ravel(found["ste"] - found["pde"]),
        "slopes": slopes @ whiten.T,
    }


def pooled(data: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return all scores (n,) and responses (3, n)."""
    scores = np.concatenate([row["scores"] for row in data["rows"]])
    return scores, np.concatenate([np.asarray(row["slopes"]) for row in data["rows"]], axis=1)


def estimates(data: dict[str, Any]) -> list[dict[str, float]]:
    """Return for each coefficient its error as the simulation has it, alone, and its noise."""
    scores, slopes = pooled(data)
    found = []
    for name, slope in zip(COEFFICIENTS, slopes, strict=True):
        noise = 1 / math.sqrt(slope @ slope)
        found.append({"name": name, "error": float(slope @ scores) * noise**2, "noise": noise})
    return found


def power(data: dict[str, Any]) -> dict[str, float]:
    """Return the smallest relative error of each coefficient that would have been seen."""
    reach = _limit() + float(stats.norm.ppf(SEEN))
    return {row["name"]: reach * row["noise"] for row in estimates(data)}


def _limit() -> float:
    return float(-stats.norm.ppf(FALSE_ALARM / (2 * len(COEFFICIENTS))))


def gates(data: dict[str, Any]) -> list[Gate]:
    """The sum of squares, and the three directions in which a wrong coefficient would show."""
    scores, _ = pooled(data)
    limit = float(stats.chi2.isf(FALSE_ALARM, scores.size))
    why = f"χ² of {scores.size} uncorrelated directions at {FALSE_ALARM:g}"
    spread = math.sqrt(2 * scores.size)
    total = float(scores @ scores)
    rows = [Gate.at_most("sum of squared scores", total, limit, why, noise=spread)]
    for row in estimates(data):
        why = f"{_limit():.3g} standard errors, {FALSE_ALARM:g} over three coefficients"
        tolerance = _limit() * row["noise"]
        rows.append(
            Gate.near(
                f"relative error of {row['name']}",
                *(row["error"], 0.0, tolerance, why),
                noise=row["noise"],
            )
        )
    return rows


def tables(data: dict[str, Any]) -> list[Table]:
    """What was found and what would have been."""
    seen = power(data)
    rows = [[r["name"], r["error"], r["noise"], seen[r["name"]]] for r in estimates(data)]
    heads = ["coefficient", "relative error found", "standard error", f"seen with {SEEN:g}"]
    each = [
        [
            r["label"],
            r["dimension"],
            r["runs"],
            len(r["scores"]),
            float(np.square(r["scores"]).sum()),
        ]
        for r in data["rows"]
    ]
    return [
        Table("Power", heads, rows),
        Table("Problems", ["problem", "d", "runs", "directions", "sum of squares"], each),
    ]


def headline(data: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    seen = ", ".join(f"{100 * value:.2g} % in {name}" for name, value in power(data).items())
    scores, _ = pooled(data)
    chance = float(stats.chi2.sf(scores @ scores, scores.size))
    return f"STE and density agree (chance {chance:.2f}); an error of {seen} would have been seen"


def visualize(data: dict[str, Any]) -> Any:
    """Draw the scores against normal quantiles, and the errors with their noise."""
    figure, axes = grid_of_axes(1, 2)
    scores, _ = pooled(data)
    at = stats.norm.ppf((np.arange(scores.size) + 0.5) / scores.size)
    axes[0, 0].plot(at, np.sort(scores), "o", ms=3.5, color=COLORS[0])
    axes[0, 0].plot(at, at, color=INK, lw=0.8)
    axes[0, 0].set_xlabel("normal quantile")
    axes[0, 0].set_ylabel("score, STE less PDE")
    rows = estimates(data)
    place = np.arange(len(rows))
    error = [100 * r["error"] for r in rows]
    axes[0, 1].errorbar(place, error, [100 * r["noise"] for r in rows], fmt="o", color=COLORS[1])
    seen = [100 * value for value in power(data).values()]
    for sign in (-1, 1):
        axes[0, 1].plot(place, sign * np.array(seen), "_", ms=30, color=INK)
    axes[0, 1].set_xticks(place, ["κ", "S + λ", "D"])
    axes[0, 1].set_ylabel("relative error, %")
    axes[0, 1].set_title("found, ± s.e.; bars: what would have been seen")
    return figure
