"""Misprints that algebra alone decides: the line of the paper, and the line that contradicts it."""

from __future__ import annotations

from validation.gates import Table

__all__ = ["algebra_table"]

# Where; what the paper prints; what it must be; which line of the paper says so.
_ROWS = (
    (
        "Assumptions IV.2(3), III.1(3)",
        "E Σ (w*)⁴ + (w⁰)⁴ ≤ C, over the coordinates",
        "≤ C d",
        "the remark below IV.2: coordinates are O_d(1), so that a sum of d fourth powers is O(d)",
    ),
    (
        "Lemma IV.5, statement",
        "sum bounded by C",
        "by C d",
        "the last line of its own proof ends in C d",
    ),
    (
        "§ V-B",
        "E‖E_{t}Ψ^{t+1} − Ψ^{t} − F/d‖ ≤ C d^(−2/3)",
        "C d^(−3/2)",
        "Eq. (13) of Lemma IV.2; d^(−2/3) summed over d·T steps would not vanish",
    ),
    (
        "Eq. (15)",
        "E_{t}m^{t+1} − m^{t} + (η/d) F₁ = 0",
        "− F₁/d",
        "Eq. (25), where F₁ has its sign and its η already",
    ),
    (
        "App. IV-B, increment of q",
        "−2ηλ r_ψ, then −2ηλ m; last line without 1/d",
        "−(2ηλ/d) r_ψ, every term of the last line over d",
        "Eq. (9): the ridge enters a step as λ/d",
    ),
    (
        "App. IV-D",
        "“Lemma ??”: F is Lipschitz",
        "no such lemma",
        "§ IV-E holds Lemmas IV.4 to IV.6 alone; Prop. V.2 at s → 0 speaks against it, see above",
    ),
    (
        "App. V-B, small-η limit",
        "κ²(S + 2λ)/(S + λ)²",
        "ρκ²(S + 2λ)/(S + λ)²",
        "the lines before it: m* = ρκ/(S + λ), and q* with ρκ², as decided above",
    ),
    (
        "Lemma IV.6 and Eq. (24)",
        "ρ²",
        "ρ",
        "Eq. (24)'s next line has ρ: E(w*·x/√d)² = ρ",
    ),
    (
        "§ V-D, fixed points",
        "2sκΔ/c",
        "2s(S + λ)Δ",
        "the definition of c beside it: κ/c = (S + λ)/ρ, the same at ρ = 1 alone",
    ),
    (
        "§ V-D",
        "s = √(q − m²)",
        "√(q − m²/ρ)",
        "Prop. V.2, first line",
    ),
    (
        "Def. V.2 and VI.2",
        "v_{i*} ≤ c ≤ v_{i*+1} (VI.2) or < on both sides (V.2), a unique i*; "
        "c = (1−p)v_{i*} + p v_{i*}",
        "< on one side; p v_{i*+1}",
        "c = v_k satisfies both i* = k and k − 1; the same line goes on “= −ω + Δ(i* + p)”",
    ),
    (
        "Fig. 6",
        "text: up to τ = 8·10⁶; caption: up to 8·10⁶",
        "not decidable: steps or τ",
        "they differ by d = 100; where that matters is in Fig. 6's item",
    ),
)


def algebra_table() -> Table:
    """Return the table of misprints that need no number."""
    columns = ["where", "the paper prints", "correct", "by"]
    return Table("Decided by algebra", columns, [list(row) for row in _ROWS])
