"""Lemmas V.1 and V.3 to V.5, and Proposition V.7 at p ∈ {0, 1}: the closure at small s.

Everything here is about the paper's macroscopic ODE, weights w = m + s ξ at w* = 1. V.1: m_ψ(m, s)
takes the value c once. V.3 to V.5: m(s), S(m(s), s) and q_ψ near a threshold; what is left of each
is computed without cancellation, down to where it is 10⁻²⁰⁰ or less, and held against the stated
bound. V.7 at p ∈ {0, 1}, c on a level: sφ(Δ/2s) ≍ η, so s ~ 1/√log(1/η). The exact density does
something else there: its spread tends to Δ/√12 (Prop. V.7's own item).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from scipy import stats
from scipy.special import ndtr

import fpsolve
from validation.claims import Claim, answer, judged
from validation.curves import problem
from validation.gates import Gate, Table
from validation.pictures import COLORS, grid_of_axes

TITLE = "Lemmas V.1, V.3 to V.5, and V.7 on a level"
KIND = "claim"
BITS, OMEGA = 3, 1.0
POSITIONS = (0.05, 0.3, 0.5, 0.8, 0.95)
LEMMAS = ("V.3", "V.4", "V.5")


def _ladder() -> tuple[np.ndarray, np.ndarray, float]:
    """Return levels, thresholds and step of the quantizer, written anew."""
    step = 2 * OMEGA / (2**BITS - 2)
    levels = -OMEGA + step * np.arange(2**BITS - 1)
    return levels, 0.5 * (levels[1:] + levels[:-1]), step


def compute(quick: bool = False) -> dict[str, Any]:
    """Return crossings of m_ψ = c, what is left of the expansions, and s(η) on a level."""
    spreads = np.geomspace(0.3, 0.015, 12 if quick else 40)
    rates = np.geomspace(1e-2, 1e-10, 5 if quick else 17)
    left = [_left(p, float(share)) for p in POSITIONS for share in spreads]
    return {
        "crossings": _crossings(),
        "left": left,
        "between": [_between(ridge) for ridge in (0.15, 0.25, 0.7)],
        "level": [_level(float(e)) for e in rates],
    }


def _between(ridge: float) -> dict[str, float]:
    """The library's fixed point for c between two levels, less its expansion at small s."""
    levels, thresholds, step = _ladder()
    case = problem(BITS, OMEGA, eta=0.05, ridge=ridge, noise_variance=0.1)
    fixed = fpsolve.isotropic_fixed_points(case)[0]
    c = 1 / (1 + ridge)
    index = int(np.searchsorted(levels, c)) - 1
    p = (c - levels[index]) / step
    phi = float(stats.norm.pdf(step / (2 * fixed.s)))
    return {
        "ridge": ridge,
        "share": fixed.s / step,
        "left": fixed.m - thresholds[index] - fixed.s * float(stats.norm.ppf(p)),
        "bound": fixed.s**2 / step * phi,
    }


def _crossings() -> list[dict[str, Any]]:
    """How often m_ψ(m, s) passes c on its way from −ω to ω."""
    levels, thresholds, _ = _ladder()
    rows = []
    for s in (0.01, 0.1, 1.0):
        m = np.linspace(-OMEGA - 9 * s, OMEGA + 9 * s, 20_001)
        m_psi = levels[0] + ndtr((m[:, None] - thresholds) / s) @ np.diff(levels)
        for c in (-0.97, -0.2, 0.05, 0.5, 0.83):
            passed = np.diff((m_psi >= c).astype(int))
            rows.append(
                {
                    "s": s,
                    "c": c,
                    "count": int(np.count_nonzero(passed)),
                }
            )
    return rows


def _left(p: float, share: float) -> dict[str, Any]:
    """Return what V.3 to V.5 leave at position p and s = share·Δ, over their stated bounds."""
    levels, thresholds, step = _ladder()
    index, s = 3, share * step
    c = levels[index] + p * step
    wanted = stats.norm.ppf(p)
    z, tail = wanted, 0.0
    for _ in range(60):
        # Φ(z) = p − tails of the other thresholds, which are held apart: no digits cancel.
        others = np.delete((thresholds[index] - thresholds) / s + z, index)
        tail = float(ndtr(others[index:]).sum() - ndtr(-others[:index]).sum())
        z = float(stats.norm.ppf(p - tail))
    shift = -tail / float(stats.norm.pdf(wanted))
    shift = z - wanted if abs(tail) > 1e-6 else shift
    squares = np.diff(np.square(levels))
    others = np.delete((thresholds[index] - thresholds) / s + z, index)
    rest = np.delete(squares, index)
    q_left = float(rest[index:] @ ndtr(others[index:]) - rest[:index] @ ndtr(-others[:index]))
    q_left -= squares[index] * tail
    bound = float(stats.norm.pdf(0.5 / share))
    return {
        "p": p,
        "c": c,
        "share": share,
        # In units of the stated bounds s²φ/Δ, φ and sφ.
        "V.3": abs(s * shift) / (s**2 / step * bound),
        "V.4": float(stats.norm.pdf(others).sum()) / bound,
        "V.5": abs(q_left) / (s * bound),
        "q_left": q_left,
        "m": thresholds[index] + s * z,
    }


def _level(eta: float) -> dict[str, float]:
    """The closure's fixed point for c on a level, at a rate."""
    case = problem(BITS, OMEGA, eta=eta, ridge=0.5, noise_variance=0.1)
    fixed = fpsolve.isotropic_fixed_points(case)[0]
    step = _ladder()[2]
    drive = eta * case.sigma2 * fixed.generalization_error
    # Two thresholds, half a step away on either side, carry all of the sum.
    pull = 2 * (case.sigma2 + case.ridge) * fixed.s * step * 2
    phi = float(stats.norm.pdf(step / (2 * fixed.s)))
    next_phi = float(stats.norm.pdf(3 * step / (2 * fixed.s)))
    return {
        "eta": eta,
        "s": fixed.s,
        "ratio": pull * phi / drive,
        "next": next_phi / phi,
        "law": fixed.s * np.sqrt(8 * np.log(1 / eta)) / step,
        "limit": fixed.generalization_error,
    }


def gates(data: dict[str, Any]) -> list[Gate]:
    """The library's fixed points of the closure, between levels and on one."""
    rows = []
    for r in data["between"]:
        why = "Lemma V.3's bound s²φ(Δ/2s)/Δ, ten times, and 1e-9 of a root"
        title = f"library's m − θ* − sΦ⁻¹(p), λ = {r['ridge']:g}"
        rows.append(Gate.near(title, r["left"], 0.0, 10 * r["bound"] + 1e-9, why))
    for r in data["level"]:
        why = "2(S+λ)sΔ·2φ(Δ/2s) = ηSε_g, up to the next thresholds' φ(3Δ/2s), and 1e-6 of a root"
        title = f"V.7 on a level, η = {r['eta']:.1e}: both sides' ratio"
        rows.append(Gate.near(title, r["ratio"], 1.0, r["next"] * 1.1 + 1e-6, why))
    first, last = data["level"][0], data["level"][-1]
    why = "s√(8 log(1/η))/Δ goes to 1 with corrections log log(1/η)/log(1/η)"
    rows.append(
        Gate.at_most(
            f"V.7 on a level: distance of s from its law, η = {last['eta']:.0e} less that at 1e-2",
            abs(last["law"] - 1) - abs(first["law"] - 1),
            0.0,
            why,
        )
    )
    return rows


def claims(data: dict[str, Any]) -> list[Claim]:
    """Whether each remainder stays within its bound as s → 0."""
    found = []
    texts = {
        "V.3": "Lemma V.3: m(s) = θ* + sΦ⁻¹(p) + O(s²φ(Δ/2s)/Δ)",
        "V.4": "Lemma V.4: S(m(s), s) = φ(z*) + O(φ(Δ/2s))",
        "V.5": "Lemma V.5: q_ψ = c² + Δ²p(1−p) + O(sφ(Δ/2s))",
    }
    for name, text in texts.items():
        answers, largest = [], 0.0
        for p in POSITIONS:
            rows = [r for r in data["left"] if r["p"] == p]
            # A bound: over the smaller half of all s the ratio is not above that of the larger.
            half = len(rows) // 2
            before = max(r[name] for r in rows[:half])
            after = max(r[name] for r in rows[half:])
            largest = max(largest, before, after)
            answers.append(answer(f"p = {p:g}", before - after, 0.0))
        evidence = (
            f"what is left is {largest:.2g} times the bound at most, for s from 0.3 to 0.015 Δ, "
            "and falls with s at every p"
        )
        found.append(judged(f"lemma-{name.lower().replace('.', '')}", text, answers, evidence))
    once = [
        answer(f"s = {r['s']:g}, c = {r['c']:g}", float((r["count"] == 1) - 0.5), 0.0)
        for r in data["crossings"]
    ]
    told = f"{len(once)} pairs of s and c, crossings of c by m_ψ counted"
    found.append(judged("lemma-v1", "Lemma V.1: m_ψ(m, s) = c has one solution", once, told))
    rows = data["level"]
    answers = []
    for one, other in pairwise(rows):
        # s ~ (log 1/η)^(−1/2): the local exponent, nearer to it than to twice or half of it.
        slope = np.log(other["s"] / one["s"]) / np.log(np.log(other["eta"]) / np.log(one["eta"]))
        name = f"η = {one['eta']:.0e} to {other['eta']:.0e}"
        answers.append(answer(name, 0.25 - abs(slope + 0.5), 0.0))
    evidence = (
        f"s√(8 log(1/η))/Δ = {rows[0]['law']:.3f} at η = {rows[0]['eta']:.0e}, "
        f"{rows[-1]['law']:.3f} at {rows[-1]['eta']:.0e}; of the closure alone, the density's "
        "spread tends to Δ/√12"
    )
    text = "Prop. V.7, p ∈ {0, 1}: s = Θ(1/√log(1/η))"
    found.append(judged("prop-v7-level", text, answers, evidence))
    return found


def tables(data: dict[str, Any]) -> list[Table]:
    """Remainders over their bounds, and the fixed point on a level."""
    columns = {"p": "p", "s/Δ": "share", "V.3": "V.3", "V.4": "V.4", "V.5": "V.5"}
    level = {"η": "eta", "s": "s", "sides' ratio": "ratio", "s√(8 log 1/η)/Δ": "law"}
    return [
        Table.of("What is left, over the stated bound", columns, data["left"]),
        Table.of("c on a level", level, data["level"]),
    ]


def headline(data: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    worst = {n: max(r[n] for r in data["left"]) for n in LEMMAS}
    told = ", ".join(f"{n} {v:.2g}" for n, v in worst.items())
    return (
        f"remainders over the stated bounds, at most: {told}; on a level s is "
        f"{data['level'][-1]['law']:.3f} of Δ/√(8 log(1/η)) at η = {data['level'][-1]['eta']:.0e}"
    )


def visualize(data: dict[str, Any]) -> Any:
    """Draw remainders over their bounds, and s on a level over its law."""
    figure, axes = grid_of_axes(1, 2, height=3.4)
    for color, name in zip(COLORS, LEMMAS, strict=False):
        for style, p in zip(("-", "--", ":"), (0.05, 0.3, 0.8), strict=True):
            rows = [r for r in data["left"] if r["p"] == p]
            label = f"{name}, p = {p:g}"
            y = np.maximum([r[name] for r in rows], 1e-30)
            axes[0, 0].plot([r["share"] for r in rows], y, style, color=color, label=label)
    axes[0, 0].set_xscale("log")
    axes[0, 0].set_yscale("log")
    axes[0, 0].set_ylim(1e-30, 100)
    axes[0, 0].set_xlabel(r"$s/\Delta$")
    axes[0, 0].set_ylabel("remainder over the stated bound")
    axes[0, 0].legend(fontsize=7, ncols=2)
    eta = [r["eta"] for r in data["level"]]
    axes[0, 1].plot(eta, [r["law"] for r in data["level"]], "o-", color=COLORS[3])
    axes[0, 1].axhline(1, lw=0.8, color=COLORS[6])
    axes[0, 1].set_xscale("log")
    axes[0, 1].set_xlabel(r"$\eta$")
    axes[0, 1].set_ylabel(r"$s\sqrt{8\log(1/\eta)}/\Delta$, $c$ on a level")
    return figure
