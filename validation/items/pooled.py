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

import fpsolve
from fpsolve import GaussianInitial, Problem
from validation.curves import extrapolated, problem
from validation.gates import FALSE_ALARM, Gate, Table
from validation.pictures import COLORS, INK, grid_of_axes

TITLE = "One pooled test, and what it would have seen"
KIND = "claim"
SEED = 4201
# Read off weights alone: ε_g of a simulation is reduced with the κ and S that are on trial.
NAMES = ("m_psi", "q_psi", "m", "s")
COEFFICIENTS = ("kappa", "sigma2_plus_ridge", "diffusivity")
# Chance of seeing an error of the size that is called visible.
SEEN = 0.95
ERROR = -0.01
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


def changed(case: Problem, name: str, error: float) -> tuple[Problem, float]:
    """Return a problem whose density is that of `case` with a wrong coefficient, and its clock.

    κ is that of teacher weights as much larger, the rest of ε_g kept by the noise (so that the
    error must be negative); S + λ that of another λ; D that of another η in a time ητ that is
    kept.
    """
    fields = {field: getattr(case, field) for field in case.__dataclass_fields__}
    if name == "kappa":
        teacher = fpsolve.Teacher(case.teacher.values * (1 + error), case.teacher.probabilities)
        noise = case.noise_variance + case.rho - teacher.rho
        return Problem(**{**fields, "teacher": teacher, "noise_variance": noise}), 1.0
    if name == "sigma2_plus_ridge":
        # A negative λ is refused, so that here the error is positive.
        ridge = case.ridge - error * (case.sigma2 + case.ridge)
        return Problem(**{**fields, "ridge": ridge}), 1.0
    return Problem(**{**fields, "learning_rate": case.learning_rate * (1 + error)}), 1 / (1 + error)


def response(case: Problem, tau: Any, name: str) -> np.ndarray:
    """Return d(order parameters)/d(relative error) of the density, shape (F·T,)."""
    other, clock = changed(case, name, ERROR)
    step = -ERROR if name == "sigma2_plus_ridge" else ERROR
    right = fpsolve.solve_pde(case, tau, rtol=1e-8).order_parameters
    wrong = fpsolve.solve_pde(other, np.asarray(tau) * clock, rtol=1e-8).order_parameters
    # m and m_ψ are weighted with the teacher.
    unit = {"m": 1 + ERROR, "m_psi": 1 + ERROR} if name == "kappa" else {}
    shifts = [getattr(wrong, n) / unit.get(n, 1.0) - getattr(right, n) for n in NAMES]
    return np.ravel(shifts) / step


def compute(quick: bool = False) -> dict[str, Any]:
    """Return differences, covariances and responses of every problem."""
    # Many runs at small d: the noise falls with both, the cost grows with the square of d.
    dimension, runs = (200, 100) if quick else (200, 3200)
    rows = []
    for i, (label, (case, tau)) in enumerate(cases().items()):
        found = extrapolated(
            case, tau, dimension=dimension, runs=runs, seed=SEED + 10 * i, names=NAMES
        )
        slopes = [response(case, tau, name) for name in COEFFICIENTS]
        rows.append({"label": label, **found, **_projected(found, np.array(slopes))})
    return {"rows": rows}


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
    rows = [Gate.at_most("sum of squared scores", float(scores @ scores), limit, why)]
    for row in estimates(data):
        why = f"{_limit():.3g} standard errors, {FALSE_ALARM:g} over three coefficients"
        tolerance = _limit() * row["noise"]
        rows.append(
            Gate.near(f"relative error of {row['name']}", row["error"], 0.0, tolerance, why)
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
