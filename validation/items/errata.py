"""Errata: each misprint with the paper's form, the correct form, and the numbers that decide.

"Decides" is computed without either form: by quadrature, by simulated steps, by differences of
the PDE's solution, by a root; it could have sided with either. What algebra alone decides stands
in a table of its own, with the line of the paper that contradicts the misprint.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats
from scipy.integrate import quad

import fpsolve
from fpsolve import GaussianInitial, Teacher
from validation.claims import Claim, answer, judged
from validation.curves import problem
from validation.errata_algebra import algebra_table
from validation.errata_proofs import proof_numbers
from validation.gates import FALSE_ALARM, Gate, Table, normal_limit

TITLE = "Errata: the paper's form, the correct form, and what decides"
KIND = "verdict"
SEED = 2101


def compute(quick: bool = False) -> dict[str, Any]:
    """Return a row for every misprint."""
    count = 40_000 if quick else 400_000
    rng = np.random.default_rng(SEED)
    rows = [
        *_one_step(count, rng),
        _spread(rng),
        *_input_sums(),
        _relaxed_product(),
        *_rates(),
        _fixed_point(),
        _closure_equation(),
        *_small_rate(),
        _runaway(),
        *(row(*number) for number in proof_numbers(count, rng)),
    ]
    return {"rows": rows, "seed": SEED}


def row(
    where: str, paper: str, correct: str, values: Any, tolerance: float, why: str
) -> dict[str, Any]:
    """Return one misprint; `values` are what the two forms say and what decides."""
    said, right, decides = (float(v) for v in values)
    return {
        "where": where,
        "paper": paper,
        "correct": correct,
        "said": said,
        "right": right,
        "decides": decides,
        "tolerance": float(tolerance),
        "why": why,
    }


def _one_step(count: int, rng: Any) -> list[dict[str, Any]]:
    """III-F and Lemma III.3, from fresh samples at fixed weights."""
    case = problem(2, 1.5, bits_x=3, omega_x=1.5, eta=0.2, noise_variance=0.1)
    d = 100
    w, w_star = rng.standard_normal(d), rng.choice([-1.0, 0.5], d)
    psi = case.weight_quantizer(w)  # type: ignore[misc]
    errors, squares = [], []
    for _ in range(max(1, count // 20_000)):
        x = rng.standard_normal((20_000, d))
        psi_x = case.input_quantizer(x)  # type: ignore[misc]
        noise = np.sqrt(case.noise_variance) * rng.standard_normal(len(x))
        off = psi_x @ psi / np.sqrt(d) - x @ w_star / np.sqrt(d) - noise
        errors.append(off**2)
        # Averaged over coordinates: E(Δw)² d.
        squares.append(case.learning_rate**2 * off**2 * np.square(psi_x).mean(axis=1))
    k, s = case.kappa, case.sigma2
    base = s * psi @ psi / d + w_star @ w_star / d + case.noise_variance
    limit = normal_limit()
    error, square = np.concatenate(errors), np.concatenate(squares)
    wrong, right = base - 2 * k * psi @ w / d, base - 2 * k * psi @ w_star / d
    tolerance = limit * error.std() / np.sqrt(error.size)
    first = row(
        "III-F",
        "m_ψ = ψ(w)·w/d",
        "ψ(w)·w*/d",
        (wrong, right, error.mean()),
        tolerance,
        f"ε_g on {error.size} fresh samples; normal limit at {FALSE_ALARM:g}",
    )
    tolerance = (
        limit * square.std() / np.sqrt(square.size) + 4 * right * s * case.learning_rate**2 / d
    )
    lemma = s * right
    second = row(
        "Lemma III.3, last line",
        "Sε_g/d",
        "η²Sε_g/d",
        (lemma, case.learning_rate**2 * lemma, square.mean()),
        tolerance,
        "d E(Δw)² of simulated steps; normal limit, and 4/d for the O(d⁻²) term",
    )
    return [first, second]


def _spread(rng: Any) -> dict[str, Any]:
    """V-A: length of the part of w orthogonal to w*."""
    w_star = np.array([1.5, -0.5, 2.0, 1.0, -1.0, 0.3])
    w = rng.standard_normal(6)
    rho, m, q = w_star @ w_star / 6, w @ w_star / 6, w @ w / 6
    orthogonal = np.linalg.qr(np.column_stack([w_star, np.eye(6)[:, :5]]))[0][:, 1:]
    length = np.sum((orthogonal.T @ w) ** 2) / 6
    return row(
        "V-A, V.1",
        "q − m²/ρ²",
        "q − m²/ρ",
        (q - m**2 / rho**2, q - m**2 / rho, length),
        1e-14,
        "|w⊥|²/d of a drawn vector by an orthonormal basis; rounding",
    )


def _input_sums() -> list[dict[str, Any]]:
    """Prop. II.1: which differences, and which first term."""
    case = fpsolve.StepQuantizer([-2.0, -0.5, 0.5, 2.0], [-1.0, 0.0, 1.0])
    v, theta = case.levels, case.thresholds
    pdf, cdf = stats.norm.pdf, np.concatenate([[0], stats.norm.cdf(theta), [1]])
    breaks = [-10.0, *theta, 10.0]

    def mean(power: int) -> tuple[float, float]:
        parts = [
            quad(
                lambda x, level=v[k]: level * (level if power else x) * pdf(x),
                breaks[k],
                breaks[k + 1],
                epsabs=1e-14,
            )
            for k in range(v.size)
        ]
        return sum(p[0] for p in parts), sum(p[1] for p in parts) + 1e-14

    # v_{k+1} − v_k at θ_k, with no level beyond the last.
    shifted = float(np.diff(v)[1:] @ pdf(theta[:-1]))
    kappa, kappa_error = mean(0)
    sigma2, sigma2_error = mean(1)
    why = "quadrature of a non-uniform quantizer; its own error estimate"
    right = float(np.diff(v) @ pdf(theta))
    second = float(v[1:] ** 2 @ np.diff(cdf)[1:])
    return [
        row(
            "Prop. II.1, κ",
            "(v_{k+1} − v_k) φ(θ_k)",
            "(v_k − v_{k−1}) φ(θ_k)",
            (shifted, right, kappa),
            kappa_error,
            why,
        ),
        row(
            "Prop. II.1, S",
            "sum from k = 1",
            "from k = 0",
            (second, v**2 @ np.diff(cdf), sigma2),
            sigma2_error,
            why,
        ),
    ]


def _relaxed_product() -> dict[str, Any]:
    """App. IV-A: E[Θ(z − θ_i) Θ(z − θ_j)], z Gaussian: probability of the later threshold."""
    m, s, low, high = 0.3, 0.7, -0.5, 0.5
    z = ((m - low) / s, (m - high) / s)
    integral, error = quad(lambda w: stats.norm.pdf(w, m, s), high, 12.0, epsabs=1e-14)
    return row(
        "App. IV-A",
        "T → 0: Φ(max{·,·})",
        "Φ(min{·,·})",
        (stats.norm.cdf(max(z)), stats.norm.cdf(min(z)), integral),
        error + 1e-14,
        "quadrature of the product of two steps; its own error estimate",
    )


def _rates() -> list[dict[str, Any]]:
    """App. IV-B: dm/dτ and dq/dτ, decided by differences of the density's own m and q."""
    case = problem(2, 1.0, bits_x=2, omega_x=1.5, ridge=0.5, eta=0.1)
    time, h, rtol = 6.0, 0.05, 1e-9
    times = time + h * np.array([-2, -1, 0, 1, 2])
    state = fpsolve.solve_pde(case, times, rtol=rtol).order_parameters
    here = state[2]
    eta, s, k, ridge = case.learning_rate, case.sigma2, case.kappa, case.ridge

    def slope(values: Any) -> tuple[float, float]:
        fine, coarse = (values[3] - values[1]) / (2 * h), (values[4] - values[0]) / (4 * h)
        # Fourth order by Richardson; the step from `fine` bounds what is left.
        return (4 * fine - coarse) / 3, abs(fine - coarse) + 20 * rtol / h

    dm, dm_error = slope(state.m)
    dq, dq_error = slope(state.q)
    paper_m = eta * (k * case.rho - s * here.m - ridge * here.m_psi)
    right_m = eta * (k * case.rho - (s + ridge) * here.m_psi)
    kick = eta**2 * s * here.generalization_error
    paper_q = 2 * eta * (k * here.m - s * here.r_psi - ridge * here.m) + kick
    right_q = 2 * eta * (k * here.m - (s + ridge) * here.r_psi) + kick
    why = "dΨ/dτ by differences of the PDE's solution at τ = 6; their error"
    return [
        row("App. IV-B, m", "S m", "S m_ψ", (paper_m, right_m, dm), dm_error, why),
        row("App. IV-B, q", "λ m", "λ r_ψ", (paper_q, right_q, dq), dq_error, why),
    ]


def _fixed_point() -> dict[str, Any]:
    """Prop. VI.1: q* for ρ = 2, decided by integrating the ODE to its end."""
    case = problem(
        None, bits_x=2, omega_x=1.5, eta=0.3, ridge=0.4, teacher=Teacher.constant(2**0.5)
    )
    k, s, pull, rho, eta = case.kappa, case.sigma2, case.sigma2 + case.ridge, case.rho, 0.3

    def q(square: float) -> float:
        return (2 * square + eta * s * (rho * pull - 2 * square)) / (pull * (2 * pull - eta * s**2))

    end = float(fpsolve.solve_ode(case, [400.0], rtol=1e-11).order_parameters.q[0])
    return row(
        "Prop. VI.1, V-B",
        "κ² in q*",
        "ρκ²",
        (q(k**2), q(rho * k**2), end),
        1e-8,
        "q of the ODE at τ = 400, ρ = 2; its tolerance 1e-11 over some hundred steps",
    )


def _closure_equation() -> dict[str, Any]:
    """Eq. 8: the second fixed-point equation, decided by where dq/dτ of the closure vanishes."""
    case = problem(3, 1.0, bits_x=2, omega_x=1.5, eta=0.1, ridge=0.2)
    quantizer = case.weight_quantizer
    assert quantizer is not None
    late = fpsolve.solve_ode(case, [3000.0], rtol=1e-11).order_parameters[0]
    pull = case.sigma2 + case.ridge
    phi = stats.norm.pdf((late.m - quantizer.thresholds) / late.s)
    step = np.diff(quantizer.levels)[0]
    paper = 2 * pull / case.sigma2 * late.s * phi[:-1].sum()
    right = 2 * pull / case.sigma2 * late.s * step * phi.sum()
    decides = case.learning_rate * late.generalization_error
    return row(
        "Eq. 8",
        "no Δ, sum to L − 1",
        "Δ Σ_{k=1}^L",
        (paper, right, decides),
        1e-7,
        "left-hand side against ηε_g, both of the ODE at τ = 3000; its tolerance",
    )


def _small_rate() -> list[dict[str, Any]]:
    """Prop. V.7 and Theorem VI.3: s/η and ε* of the closure and of the density at tiny η."""
    case = problem(3, 1.0, bits_x=3, eta=1e-4, ridge=0.3)
    s, k = case.sigma2, case.kappa
    pull = s + case.ridge
    c, chi, step = k / pull, s / pull, 1 / 3
    p = (c + 1) / step % 1
    phi = stats.norm.pdf(stats.norm.ppf(p))
    between = s * step**2 * p * (1 - p)
    floor, paper_floor = 1 - 2 * k * c + s * c**2, 1 - 2 * k * c + s
    fixed = fpsolve.isotropic_fixed_points(case)[0]
    half = fpsolve.isotropic_fixed_points(problem(3, 1.0, bits_x=3, eta=5e-5, ridge=0.3))[0]
    slope = half.s / 5e-5
    left = 4 * abs(fixed.s / 1e-4 - slope) + 1e-6 * slope
    exact = fpsolve.stationary_states(case)[0].generalization_error
    smaller = fpsolve.stationary_states(problem(3, 1.0, bits_x=3, eta=5e-5, ridge=0.3))[0]
    remains = 4 * abs(exact - smaller.generalization_error) + 1e-12
    return [
        row(
            "Prop. V.7",
            "s = χη/(2Δφ)",
            "χε_g⁽⁰⁾η/(2Δφ(z*))",
            (chi / (2 * step * phi), chi * (floor + between) / (2 * step * phi), slope),
            left,
            "s/η of the closure's fixed point at η = 5e-5; its change from η = 1e-4",
        ),
        row(
            "Thm VI.3, V.8",
            "ε_g⁽⁰⁾ with Sω²",
            "S c²",
            (paper_floor + between, floor + between, exact),
            remains,
            "ε* of the exact stationary density at η = 1e-4; its change to η = 5e-5",
        ),
    ]


def _runaway() -> dict[str, Any]:
    """V.8 case 3: what s² does at |c| > ω, by the PDE."""
    case = problem(2, 0.4, eta=0.1, ridge=1.0, initial=GaussianInitial(variance=0.25))
    times = np.array([100.0, 200.0])
    state = fpsolve.solve_pde(case, times).order_parameters
    growth = np.diff(np.square(state.s))[0] / 100.0
    error = fpsolve.small_rate_limit(case).generalization_error
    tolerance = (
        2 * 1e-5 * float(np.square(state.s).max()) / 100.0 + 1e-5 * float(state.q.max()) / 50.0
    )
    return row(
        "V.8 case 3",
        "s → 0, a fixed point",
        "none: ds²/dτ → 2D",
        (0.0, 2 * float(case.diffusivity(error)), growth),
        tolerance,
        "growth of s² of the PDE from τ = 100 to 200; 10·rtol of q",
    )


def gates(data: dict[str, Any]) -> list[Gate]:
    """The correct form meets what decides, the paper's does not."""
    found = []
    for r in data["rows"]:
        name, why = r["where"], r["why"]
        found.append(
            Gate.near(f"{name}: correct form", r["right"], r["decides"], r["tolerance"], why)
        )
        away = abs(r["said"] - r["decides"]) / r["tolerance"]
        found.append(
            Gate.at_least(
                f"{name}: the paper's form, off by so many tolerances", away, 3, "beyond doubt"
            )
        )
    return found


def claims(data: dict[str, Any]) -> list[Claim]:
    """The formulas of the paper that numbers decide, once corrected and as printed."""
    rows = data["rows"]
    answers = [
        answer(r["where"], r["tolerance"] - abs(r["right"] - r["decides"]), 0.0) for r in rows
    ]
    off = min(abs(r["said"] - r["decides"]) / r["tolerance"] for r in rows)
    evidence = (
        f"{len(rows)} of its misprints change a number: each correct form meets what decides, each "
        f"printed one is off by {off:.0f} tolerances at least; this item's tables list them, and "
        "those that algebra decides"
    )
    text = "The formulas of the paper as they are printed"
    return [judged("misprints", text, answers, evidence, off=off)]


def headline(data: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    paper = min(abs(r["said"] - r["decides"]) / r["tolerance"] for r in data["rows"])
    right = max(abs(r["right"] - r["decides"]) / r["tolerance"] for r in data["rows"])
    return (
        f"{len(data['rows'])} misprints: correct forms within {right:.2f} of the tolerance, "
        f"the paper's off by {paper:.0f} tolerances at least"
    )


def tables(data: dict[str, Any]) -> list[Table]:
    """Both forms and what decides."""
    columns = {
        "where": "where",
        "paper": "paper",
        "correct": "correct",
        "paper's form says": "said",
        "correct form says": "right",
        "decides": "decides",
        "how": "why",
    }
    return [Table.of("Errata", columns, data["rows"]), algebra_table()]
