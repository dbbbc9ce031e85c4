"""Proposition II.1: κ = E[x ψ_x(x)] and S = E[ψ_x(x)²], for x ~ N(0, 1).

The closed forms, against adaptive quadrature of a quantizer written anew (rounding to a grid and
clipping), and against a million draws. The corrected sums run over v_k − v_{k−1} and from k = 0.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from scipy.integrate import quad
from scipy.special import ndtr

import fpsolve
from validation.claims import Claim, answer, judged
from validation.gates import FALSE_ALARM, Gate, Table, normal_limit
from validation.pictures import COLORS, grid_of_axes, points

TITLE = "Input moments κ and S"
KIND = "claim"
SEED = 1101
CASES = ((2, 1.0, 0.0), (2, 2.0, 0.0), (3, 1.0, 0.0), (4, 1.0, 0.0), (4, 3.0, 0.0), (3, 1.0, 0.3))


def step(x: Any, bits: int, omega: float, temperature: float) -> Any:
    """ψ(x) by rounding and clipping, or for T > 0 by its average over Gaussian dither."""
    half = 2 ** (bits - 1) - 1
    grid = omega / half
    if temperature == 0:
        return np.clip(np.floor(np.asarray(x) / grid + 0.5), -half, half) * grid
    edges = grid * (np.arange(-half, half) + 0.5)
    return -omega + grid * ndtr((np.asarray(x)[..., None] - edges) / temperature).sum(axis=-1)


def compute(quick: bool = False) -> dict[str, Any]:
    """Return both moments by formula, quadrature and draws."""
    draws = np.random.default_rng(SEED).standard_normal(200_000 if quick else 4_000_000)
    rows = []
    for bits, omega, temperature in CASES:
        found = fpsolve.Problem(
            weight_quantizer=None,
            input_quantizer=fpsolve.UniformQuantizer(bits, omega, temperature),
            learning_rate=0.04,
        )
        half = 2 ** (bits - 1) - 1
        breaks = [-9.0, *(omega / half * (np.arange(-half, half) + 0.5)), 9.0]

        def mean(power: int, breaks: Any = breaks, case: Any = (bits, omega, temperature)) -> Any:
            def f(x: float) -> float:
                psi = float(step(x, *case))
                return psi * (psi if power else x) * np.exp(-x * x / 2) / np.sqrt(2 * np.pi)

            parts = [quad(f, a, b, epsabs=1e-13) for a, b in pairwise(breaks)]
            return sum(p[0] for p in parts), sum(p[1] for p in parts)

        psi = step(draws, bits, omega, temperature)
        for name, formula, power, sample in (
            ("κ", found.kappa, 0, draws * psi),
            ("S", found.sigma2, 1, psi**2),
        ):
            integral, error = mean(power)
            rows.append(
                {
                    "name": f"{name}, b_x = {bits}, ω_x = {omega:g}, T = {temperature:g}",
                    "formula": formula,
                    "integral": integral,
                    "integral_error": error,
                    "drawn": sample.mean(),
                    "drawn_error": sample.std() / np.sqrt(sample.size),
                    # As printed the sum of S begins at k = 1: without inputs at the lowest level.
                    "left_out": float(np.mean(sample * (psi <= psi.min()))) if power else 0.0,
                }
            )
    return {"rows": rows, "seed": SEED}


def gates(data: dict[str, Any]) -> list[Gate]:
    """Formula against quadrature and against draws."""
    rows = []
    limit = normal_limit(len(data["rows"]))
    for r in data["rows"]:
        why = f"quadrature's own error estimate {r['integral_error']:.1g}, and 1e-13 for rounding"
        tolerance = r["integral_error"] + 1e-13
        rows.append(Gate.near(r["name"] + ": formula", r["formula"], r["integral"], tolerance, why))
    worst = max(abs(r["drawn"] - r["formula"]) / r["drawn_error"] for r in data["rows"])
    why = f"normal limit at {FALSE_ALARM:g} over {len(data['rows'])} tests"
    rows.append(Gate.at_most("draws against formula, worst in standard errors", worst, limit, why))
    return rows


def claims(data: dict[str, Any]) -> list[Claim]:
    """Whether the closed forms are the moments of drawn inputs."""
    limit = normal_limit(len(data["rows"]))
    answers = [
        answer(r["name"], limit * r["drawn_error"] - abs(r["drawn"] - r["formula"]), 0.0)
        for r in data["rows"]
    ]
    off = max(r["left_out"] / r["drawn_error"] for r in data["rows"]) / limit
    missing = max(r["left_out"] for r in data["rows"])
    evidence = (
        f"within {limit:.1f} standard errors of draws at {len(answers)} quantizers; as printed S "
        f"begins at k = 1 and leaves out up to {missing:.2g}"
    )
    return [judged("prop-ii1", "Prop. II.1: closed forms of κ and S", answers, evidence, off=off)]


def tables(data: dict[str, Any]) -> list[Table]:
    """All moments."""
    columns = {
        "moment": "name",
        "formula": "formula",
        "quadrature": "integral",
        "draws": "drawn",
        "s.e.": "drawn_error",
    }
    return [Table.of("Moments", columns, data["rows"])]


def headline(data: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    off = max(abs(r["formula"] - r["integral"]) for r in data["rows"])
    drawn = max(abs(r["drawn"] - r["formula"]) / r["drawn_error"] for r in data["rows"])
    return f"formulas within {off:.0e} of quadrature and {drawn:.1f} standard errors of draws"


def visualize(data: dict[str, Any]) -> Any:
    """Draw κ and S over the range for several bit widths."""
    figure, axes = grid_of_axes(1, 2)
    omega = np.linspace(0.05, 4, 200)
    for color, bits in zip(COLORS, (2, 3, 4, 10), strict=False):
        moments = np.array([fpsolve.UniformQuantizer(bits, w).gaussian_moments() for w in omega])
        for ax, values in zip(axes[0], moments.T, strict=True):
            ax.plot(omega, values, color=color, label=f"$b_x={bits}$")
    for i, row in enumerate(data["rows"][:10]):
        bits, at, _ = CASES[i // 2]
        color = COLORS[(2, 3, 4, 10).index(bits)]
        points(axes[0, i % 2], at, row["drawn"], row["drawn_error"], color)
    for ax, name in zip(axes[0], (r"$\kappa$", r"$\sigma_\psi^2$"), strict=True):
        ax.set_xlabel(r"$\omega_x$")
        ax.set_ylabel(name)
    axes[0, 0].legend()
    return figure
