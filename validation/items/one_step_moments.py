"""Lemmas III.2, III.3, III.4 and Proposition II.2: one step of STE from given weights.

Steps are drawn here from their definition, in NumPy. Mean: η[κw* − (S+λ)ψ(w)]/d, exact at every
d. Mean square: η²Sε_g/d up to O(d⁻²), with the η² that the last line of the paper's proof drops.
Third absolute moment: O(d^−3/2). The four local fields: covariance Σ, exact at every d.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from validation.claims import Claim, answer, judged
from validation.curves import problem
from validation.gates import FALSE_ALARM, Gate, fitted_exponent, fitted_slope, normal_limit
from validation.pictures import COLORS, INK, grid_of_axes, points

TITLE = "One-step moments and local fields"
KIND = "claim"
SEED = 1201


def compute(quick: bool = False) -> dict[str, Any]:
    """Return moments of one step for several dimensions."""
    case = problem(3, 1.0, bits_x=2, omega_x=1.5, eta=0.3, ridge=0.5, noise_variance=0.2)
    rng = np.random.default_rng(SEED)
    budget = 4_000_000 if quick else 40_000_000
    rows = []
    for d in (25, 50, 100, 200, 400):
        w = rng.standard_normal(d)
        w_star = rng.choice([-0.8, 1.2], d)
        rows.append(_one(case, w, w_star, budget // d, rng))
    return {"rows": rows, "seed": SEED}


def _one(case: Any, w: Any, w_star: Any, count: int, rng: Any) -> dict[str, Any]:
    """Return the moments of `count` steps from the same weights, by chunks."""
    d = w.size
    psi = case.weight_quantizer(w)
    quantity: list[Any] = []
    first, second = np.zeros(d), np.zeros(d)
    left = count
    while left > 0:
        part = min(left, 1_000_000 // d)
        left -= part
        x = rng.standard_normal((part, d))
        psi_x = case.input_quantizer(x)
        noise = rng.normal(0, np.sqrt(case.noise_variance), part)
        fields = np.stack([x @ w_star, psi_x @ w_star, psi_x @ w, psi_x @ psi]) / np.sqrt(d)
        residual = fields[3] - fields[0] - noise
        move = step(case, residual, psi_x, psi)
        first += move.sum(axis=0)
        second += np.square(move).sum(axis=0)
        products = np.einsum("an,bn->nab", fields, fields).reshape(part, 16)
        means = np.stack([np.square(move).mean(axis=1), (np.abs(move) ** 3).mean(axis=1)], axis=1)
        quantity.append(np.concatenate([means, products], axis=1))
    found = np.concatenate(quantity)
    mean, error = found.mean(axis=0), found.std(axis=0) / np.sqrt(count)
    drift = case.drift(w, w_star) / d
    spread = np.sqrt((second / count - np.square(first / count)) / count)
    q, m, rho = w @ w / d, w @ w_star / d, w_star @ w_star / d
    m_psi, q_psi, r_psi = psi @ w_star / d, psi @ psi / d, psi @ w / d
    k, s = case.kappa, case.sigma2
    sigma = [
        [rho, k * rho, k * m, k * m_psi],
        [k * rho, s * rho, s * m, s * m_psi],
        [k * m, s * m, s * q, s * r_psi],
        [k * m_psi, s * m_psi, s * r_psi, s * q_psi],
    ]
    epsilon = s * q_psi - 2 * k * m_psi + rho + case.noise_variance
    return {
        "d": d,
        "first": np.max(np.abs(first / count - drift) / spread),
        "second": d * mean[0],
        "second_error": d * error[0],
        "lemma": 2 * float(case.diffusivity(epsilon)),
        "paper": s * epsilon,
        "third": mean[1],
        "third_error": error[1],
        "fields": np.max(np.abs(mean[2:] - np.ravel(sigma)) / error[2:]),
    }


def step(case: Any, residual: Any, psi_x: Any, psi: Any) -> Any:
    """Return what steps change: residuals (n,), inputs (n, d), quantized weights (d,)."""
    d = psi.size
    return -case.learning_rate * (residual[:, None] * psi_x / np.sqrt(d) + case.ridge / d * psi)


def gates(data: dict[str, Any]) -> list[Gate]:
    """Each lemma at every dimension."""
    rows = []
    for r in data["rows"]:
        d = r["d"]
        limit = normal_limit(d)
        why = f"normal limit at {FALSE_ALARM:g} over {d} coordinates"
        rows.append(
            Gate.at_most(
                f"III.2, d = {d}: worst coordinate, standard errors", r["first"], limit, why
            )
        )
        why = f"normal limit at {FALSE_ALARM:g} over 10 entries"
        rows.append(
            Gate.at_most(
                f"II.2, d = {d}: worst entry of Σ, standard errors",
                r["fields"],
                normal_limit(10),
                why,
            )
        )
    d, ratio, error = _second(data)
    slope, slope_error = fitted_slope(1 / d, ratio, error)
    weight = 1 / error**2
    center = weight @ (1 / d) / weight.sum()
    intercept = weight @ ratio / weight.sum() - slope * center
    intercept_error = np.hypot(1 / np.sqrt(weight.sum()), slope_error * center)
    limit = normal_limit()
    why = f"line in 1/d; {limit:.2g} standard errors of {intercept_error:.1g}"
    rows.append(
        Gate.near("III.3: E(Δw)² d/(η²Sε_g) as d → ∞", intercept, 1.0, limit * intercept_error, why)
    )
    third = np.array([r["third"] for r in data["rows"]])
    third_error = np.array([r["third_error"] for r in data["rows"]])
    slope, slope_error = fitted_exponent(d, third, third_error)
    # The weights differ between dimensions; so do ε_g and with it the prefactor ε_g^(3/2).
    epsilon = np.array([r["paper"] for r in data["rows"]])
    prefactor = fitted_exponent(d, epsilon**1.5, epsilon**1.5 * third_error / third)[0]
    corrections = 1.0 / d.min()
    why = f"{limit:.2g} standard errors, and 1/d corrections of at most {corrections:.2g}"
    rows.append(
        Gate.near(
            "III.4: exponent of E|Δw|³ in d",
            slope - prefactor,
            -1.5,
            limit * slope_error + corrections,
            why,
        )
    )
    return rows


def _second(data: dict[str, Any]) -> tuple[Any, Any, Any]:
    d = np.array([r["d"] for r in data["rows"]], dtype=float)
    ratio = np.array([r["second"] / r["lemma"] for r in data["rows"]])
    return d, ratio, np.array([r["second_error"] / r["lemma"] for r in data["rows"]])


def claims(data: dict[str, Any]) -> list[Claim]:
    """Whether the moments of a step are those of the lemmas, at every dimension."""
    rows, found = data["rows"], []
    for name, text, key, tests in (
        ("prop-ii2", "Prop. II.2: the four local fields have covariance Σ", "fields", 10),
        ("lemma-iii2", "Lemma III.2: the mean of a step", "first", 0),
    ):
        answers = [answer(f"d = {r['d']}", normal_limit(tests or r["d"]) - r[key], 0) for r in rows]
        worst = max(r[key] for r in rows)
        told = f"{worst:.1f} standard errors off at most, the worst of all entries"
        found.append(judged(name, text, answers, told))
    d, ratio, error = _second(data)
    limit = normal_limit(d.size)
    answers = [
        # Terms of order 1/d are the lemma's own.
        answer(f"d = {n:g}", limit * e + 2 / n - abs(x - 1), 0.0)
        for n, x, e in zip(d, ratio, error, strict=True)
    ]
    last = rows[-1]
    off = abs(last["second"] - last["paper"]) / (limit * last["second_error"])
    evidence = (
        f"d·E(Δw)² = {last['second']:.4f} ± {last['second_error']:.4f} at d = {last['d']}; η²Sε_g "
        f"is {last['lemma']:.4f}, the last line's Sε_g {last['paper']:.4f}"
    )
    text = "Lemma III.3: the mean square of a step; the last line of its proof lacks η²"
    found.append(judged("lemma-iii3", text, answers, evidence, off=off))
    return found


def headline(data: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    d, ratio, error = _second(data)
    worst = max(max(r["first"], r["fields"]) for r in data["rows"])
    return (
        f"d E(Δw)²/(η²Sε_g) = {ratio[-1]:.4f} ± {error[-1]:.4f} at d = {d[-1]:g}; mean and "
        f"local fields within {worst:.1f} standard errors"
    )


def visualize(data: dict[str, Any]) -> Any:
    """Draw second and third moments over the dimension."""
    figure, axes = grid_of_axes(1, 2)
    d, ratio, error = _second(data)
    points(axes[0, 0], d, ratio, error, COLORS[0])
    axes[0, 0].axhline(1, color=INK, lw=0.8)
    axes[0, 0].set_ylabel(r"$d\,E(\Delta w)^2/(\eta^2\sigma_\psi^2\varepsilon_g)$")
    third = [r["third"] for r in data["rows"]]
    points(axes[0, 1], d, third, [r["third_error"] for r in data["rows"]], COLORS[1])
    axes[0, 1].plot(d, third[-1] * (d / d[-1]) ** -1.5, color=INK, lw=0.8, label=r"$d^{-3/2}$")
    axes[0, 1].set_yscale("log")
    axes[0, 1].set_ylabel(r"$E|\Delta w|^3$")
    axes[0, 1].legend()
    for ax in axes[0]:
        ax.set_xscale("log")
        ax.set_xlabel("$d$")
    return figure
