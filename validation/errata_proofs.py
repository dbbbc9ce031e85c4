"""Numbers that decide misprints of the paper's proofs, for the item on errata."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from scipy import stats
from scipy.integrate import quad

import fpsolve
from validation.curves import problem
from validation.gates import FALSE_ALARM, normal_limit

__all__ = ["proof_numbers"]

Number = tuple[str, str, str, tuple[float, float, float], float, str]


def proof_numbers(count: int, rng: Any) -> list[Number]:
    """Return where, both forms, what they and the decision say, its tolerance and its reason."""
    return [
        *_field_covariance(count, rng),
        _field_bound(rng),
        _lipschitz(),
        _on_a_level(),
        *_between_levels(),
        _same_scale(),
    ]


def _field_covariance(count: int, rng: Any) -> list[Number]:
    """Cov[ζ] of Prop. II.2, entries (1,2) and (3,2), from draws of one coordinate."""
    quantizer = fpsolve.UniformQuantizer(2, 1.5)
    kappa, sigma2 = quantizer.gaussian_moments()
    w, w_star = 0.7, -1.3
    x = rng.standard_normal(count)
    psi = quantizer(x)
    found: list[Number] = []
    for entry, product, said, right, forms in (
        ("(1,2)", w_star * x * w_star * psi, kappa * w_star, kappa * w_star**2, ("κw*", "κw*²")),
        (
            "(3,2)",
            w * psi * w_star * psi,
            sigma2 * w_star**2,
            sigma2 * w * w_star,
            ("Sw*²", "Sw*w"),
        ),
    ):
        error = product.std() / np.sqrt(count)
        why = f"mean of {count} draws; normal limit at {FALSE_ALARM:g}"
        values = (said, right, float(product.mean()))
        found.append((f"Cov[ζ], {entry}", *forms, values, normal_limit() * error, why))
    return found


def _field_bound(rng: Any) -> Number:
    """Lemma III.4's proof: ‖ψ(w)‖‖ψ(x)‖/√d, bounded or growing?"""
    quantizer = fpsolve.UniformQuantizer(3, 1.0)
    d = np.array([100, 1000, 10_000, 100_000])
    size = [
        np.linalg.norm(quantizer(rng.standard_normal(n)))
        * np.linalg.norm(quantizer(rng.standard_normal(n)))
        / np.sqrt(n)
        for n in d
    ]
    slope = np.polyfit(np.log(d), np.log(size), 1)[0]
    why = "exponent in d from draws at d = 100 … 10⁵; d^−½ at the smallest, over the decades"
    tolerance = normal_limit() / np.sqrt(d[0]) / np.log(d[-1] / d[0])
    form = "O(√d); the lemma is true, by moments of the local field"
    return ("Lemma III.4, proof", "≤ C", form, (0.0, 0.5, float(slope)), tolerance, why)


def _lipschitz() -> Number:
    """App. IV-D: the largest slope of m_ψ(m, s) in m as s → 0, by quadrature of ψ."""
    quantizer = fpsolve.UniformQuantizer(2, 1.0)
    s, h = np.array([0.04, 0.02, 0.01]), 1e-3

    def m_psi(m: float, width: float) -> float:
        cut = [m - 9 * width, *quantizer.thresholds, m + 9 * width]
        cut = [c for c in cut if m - 9 * width <= c <= m + 9 * width]
        parts = pairwise(cut)
        return sum(
            float(quantizer(0.5 * (a + b))) * quad(stats.norm(m, width).pdf, a, b)[0]
            for a, b in parts
        )

    rise = [(m_psi(0.5 + h * w, w) - m_psi(0.5 - h * w, w)) / (2 * h * w) for w in s]
    slope = np.polyfit(np.log(s), np.log(rise), 1)[0]
    why = "exponent in s of ∂m_ψ/∂m at a threshold, by quadrature; third differences over h"
    form = "∂m_ψ/∂m ~ 1/s: F is not Lipschitz near s = 0 at T = 0"
    return ("App. IV-D", "F Lipschitz (Lemma ??)", form, (0.0, -1.0, float(slope)), 1e-3, why)


def _on_a_level() -> Number:
    """V.7 against V.8 at p ∈ {0, 1}: how sφ(Δ/2s)/η of the closure changes with η."""
    rates = (1e-3, 1e-6)
    found = [fpsolve.isotropic_fixed_points(problem(3, eta=eta, ridge=0.5))[0] for eta in rates]
    step = 1 / 3
    # The product is proportional to ε_g, whose own change is divided out.
    ratio = [
        f.s * stats.norm.pdf(step / (2 * f.s)) / (eta * f.generalization_error)
        for f, eta in zip(found, rates, strict=True)
    ]
    decides = float(np.log(ratio[1] / ratio[0]))
    said = -0.5 * float(np.log(np.log(1 / rates[1]) / np.log(1 / rates[0])))
    z = 0.5 * step / found[0].s
    tolerance = 2 * float(stats.norm.pdf(3 * z) / stats.norm.pdf(z)) + 1e-6
    why = (
        "change of log(sφ/ηε_g) of the closure's fixed point, η = 1e-3 to 1e-6; next levels' tails"
    )
    return ("V.7 against V.8", "Θ(η/√log(1/η))", "sφ ≍ η", (said, 0.0, decides), tolerance, why)


def _between_levels() -> list[Number]:
    """V.8's second SΔ²p(1−p), and the constants in V.7's proof, at tiny η."""
    eta = 1e-4
    case, half = (problem(3, bits_x=3, eta=e, ridge=0.3) for e in (eta, eta / 2))
    kappa, s = case.kappa, case.sigma2
    c, chi, step = kappa / (s + 0.3), s / (s + 0.3), 1 / 3
    p = (c + 1) / step % 1
    phi = float(stats.norm.pdf(stats.norm.ppf(p)))
    between = s * step**2 * p * (1 - p)
    first = 1 - 2 * kappa * c + s * c**2 + between
    exact = [fpsolve.stationary_states(x)[0].generalization_error for x in (case, half)]
    left = 4 * abs(exact[0] - exact[1]) + 1e-12
    fixed = fpsolve.isotropic_fixed_points(case)[0]
    other = fpsolve.isotropic_fixed_points(half)[0]
    drive = eta * fixed.generalization_error
    drift = 4 * abs(fixed.s / eta - other.s / (eta / 2)) + 1e-6 * fixed.s / eta
    why = "of the closure's fixed point at η = 1e-4; its change to η = 5e-5"
    return [
        (
            "V.8 with V.7's ε_g⁽⁰⁾",
            "ε_g⁽⁰⁾ + SΔ²p(1−p), which ε_g⁽⁰⁾ holds already",
            "once",
            (first + between, first, exact[0]),
            left,
            "ε* of the exact stationary density at η = 1e-4; its change to η = 5e-5",
        ),
        (
            "V.7, proof: left-hand side",
            "2sΔφ/c",
            "2sΔφ/χ",
            (2 * fixed.s * step * phi / c, 2 * fixed.s * step * phi / chi, drive),
            2 * step * phi / chi * eta * drift,
            "ηε_g " + why,
        ),
        (
            "V.7, proof: limit of s/η",
            "ε_g⁽⁰⁾/(2(1+λ)Δφ)",
            "χ ε_g⁽⁰⁾/(2Δφ)",
            (first / (2 * 1.3 * step * phi), chi * first / (2 * step * phi), other.s / (eta / 2)),
            drift,
            "s/η " + why,
        ),
    ]


def _same_scale() -> Number:
    """V.6's proof at S = κ = 1: (1 − c²) or (1 − c)²?"""
    eta = 1e-4
    exact, half = (
        fpsolve.stationary_states(problem(3, eta=e, ridge=0.25))[0].generalization_error
        for e in (eta, eta / 2)
    )
    c, step = 0.8, 1 / 3
    p = (c + 1) / step % 1
    between = step**2 * p * (1 - p)
    tolerance = 4 * abs(exact - half) + 1e-12
    why = "ε* of the exact stationary density at η = 1e-4, S = κ = 1; its change to η = 5e-5"
    values = (1 - c**2 + between, (1 - c) ** 2 + between, exact)
    return ("V.6, proof", "(1 − c²)", "(1 − c)², only where S = κ = 1", values, tolerance, why)
