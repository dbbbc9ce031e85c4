"""Proposition V.2 and Lemmas IV.3 to IV.6, numerically.

V.2: m_ψ, q_ψ, r_ψ of Gaussian weights, against quadrature of a quantizer written anew. IV.3 and
IV.4: increments of (m, q) and of single weights, from steps drawn by their definition, have the
stated powers of d, and the prefactors that joint normality of the local fields gives. IV.5: the sum
of E w⁴ grows as d (its proof's C d, not its statement's C). IV.6: E q² and E m² stay bounded.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from scipy import stats
from scipy.integrate import quad

import fpsolve
from fpsolve import Teacher
from validation.claims import Claim, answer, judged
from validation.curves import problem
from validation.gates import Gate, Table, fitted_exponent, fitted_slope, normal_limit
from validation.parts import part
from validation.pictures import COLORS, INK, grid_of_axes, points

TITLE = "Prop. V.2 and Lemmas IV.3 to IV.6"
KIND = "claim"
SEED = 4801
DIMENSIONS = (25, 50, 100, 200, 400)
VALUES = (-0.8, 1.2)
# Claimed powers of d.
POWERS = {"IV.3, Ψ": -2.0, "IV.4, l = 2": -1.0, "IV.4, l = 3": -1.5, "IV.4, l = 4": -2.0}
BOUNDED = {"IV.5, Σ E w⁴": 1.0, "IV.6, E q²": 0.0, "IV.6, E m²": 0.0}


def compute(quick: bool = False) -> dict[str, Any]:
    """Return moments of one step over d, moments of runs over d, and V.2's averages."""
    budget = 2_000_000 if quick else 20_000_000
    steps = [
        part(f"step {d}", lambda d=d: _one_step(d, budget // d, np.random.default_rng([SEED, d])))
        for d in DIMENSIONS
    ]
    dimensions, coordinates = (
        ((50, 100, 200, 400), 20_000) if quick else ((100, 400, 1600), 160_000)
    )
    runs = [part(f"run {d}", lambda d=d: _runs(d, coordinates // d)) for d in dimensions]
    return {
        "steps": steps,
        "runs": runs,
        "exact": _exact(),
        "gaussian": _gaussian(),
        "seeds": [SEED, SEED + 1],
    }


def _case() -> fpsolve.Problem:
    return problem(
        3, 1.0, bits_x=2, omega_x=1.5, eta=0.3, ridge=0.5, noise_variance=0.2,
        teacher=Teacher(list(VALUES), [0.5, 0.5]),
    )  # fmt: skip


def _one_step(d: int, count: int, rng: Any) -> dict[str, Any]:
    """Return means of one step's moments over the limits that normal local fields give."""
    case = _case()
    eta, s, k = case.learning_rate, case.sigma2, case.kappa
    # Every d has weights of the same law: Gaussian quantiles for either teacher value.
    half = stats.norm.ppf((np.arange(d // 2) + 0.5) / (d // 2))
    w = np.concatenate([half, half[: d - d // 2]] if d % 2 == 0 else [half, half, [0.0]])
    w_star = np.repeat(VALUES, [d - d // 2, d // 2])
    psi = case.weight_quantizer(w)  # type: ignore[misc]
    q, m, rho = w @ w / d, w @ w_star / d, w_star @ w_star / d
    m_psi, q_psi, r_psi = psi @ w_star / d, psi @ psi / d, psi @ w / d
    epsilon = s * q_psi - 2 * k * m_psi + rho + case.noise_variance
    # Var Δm and Var Δq of Gaussian (r, F), times d².
    pull_m, pull_q = eta * (s * m_psi - k * rho), 2 * eta * (s * r_psi - k * m)
    kick = eta**2 * s * epsilon
    limit = kick * rho + pull_m**2 + 4 * kick * q + pull_q**2 - 4 * pull_q * kick + 2 * kick**2
    absolute = {n: float(np.mean(np.abs(_inputs(case)) ** n)) for n in (2, 3, 4)}
    normal = {2: 1.0, 3: np.sqrt(8 / np.pi), 4: 3.0}
    rows: dict[str, list[Any]] = {name: [] for name in POWERS}
    left = count
    while left > 0:
        size = min(left, 500_000 // d)
        left -= size
        x = rng.standard_normal((size, d))
        psi_x = case.input_quantizer(x)  # type: ignore[misc]
        noise = rng.normal(0, np.sqrt(case.noise_variance), size)
        residual = (psi_x @ psi - x @ w_star) / np.sqrt(d) - noise
        move = -eta * (residual[:, None] * psi_x / np.sqrt(d) + case.ridge / d * psi)
        new = w + move
        change = np.stack([move @ w_star / d, (np.square(new) - np.square(w)).mean(axis=1)])
        mean = _mean_change(case, w, w_star, psi, epsilon)
        rows["IV.3, Ψ"].append(np.square(change - mean[:, None]).sum(axis=0) * d**2 / limit)
        for n in (2, 3, 4):
            scale = eta**n * normal[n] * epsilon ** (n / 2) * absolute[n]
            value = np.mean(np.abs(move) ** n, axis=1) * d ** (n / 2) / scale
            rows[f"IV.4, l = {n}"].append(value)
    found: dict[str, Any] = {"d": d}
    for name, values in rows.items():
        joined = np.concatenate(values)
        found[name] = [joined.mean(), joined.std() / np.sqrt(joined.size)]
    return found


def _inputs(case: fpsolve.Problem) -> np.ndarray:
    """Return ψ_x at Gaussian quantiles, dense enough for its absolute moments."""
    count = 400_000
    x = stats.norm.ppf((np.arange(count) + 0.5) / count)
    return np.asarray(case.input_quantizer(x))  # type: ignore[misc]


def _mean_change(case: Any, w: Any, w_star: Any, psi: Any, epsilon: float) -> np.ndarray:
    """Return E_tΔ(m, q); of q to leading order, what is left is O(1/d²) and shows in no power."""
    d, eta = w.size, case.learning_rate
    drift = case.drift(w, w_star) / d
    square = eta**2 * case.sigma2 * epsilon / d
    return np.array([drift @ w_star / d, 2 * drift @ w / d + square])


def _runs(d: int, runs: int) -> dict[str, Any]:
    """Return largest moments over τ ≤ 10 of STE runs: Σ E w⁴, E q², E m²."""
    times = [2.0, 5.0, 10.0]
    ste = fpsolve.simulate_ste(
        _case(), times, dimension=d, runs=runs, seed=SEED + 1, dense_times=times
    )
    state = ste.order_parameters
    row: dict[str, Any] = {"d": d}
    each = {
        "IV.5, Σ E w⁴": (ste.weights**4).sum(axis=2),
        "IV.6, E q²": np.square(state.q),
        "IV.6, E m²": np.square(state.m),
    }
    for name, values in each.items():
        mean = values.mean(axis=0)
        at = int(np.argmax(mean))
        row[name] = [mean[at], values[:, at].std(ddof=1) / np.sqrt(runs), at]
    return row


def _exact() -> dict[str, float]:
    """Return the limits by the density, at the times where they are largest."""
    density = fpsolve.solve_pde(_case(), [2.0, 5.0, 10.0])
    state = density.order_parameters
    p = np.asarray(density.problem.teacher.probabilities)
    left, right = density.edges[:-1], density.edges[1:]
    fourth = sum(left**a * right ** (4 - a) for a in range(5)) / 5
    return {
        "IV.5, Σ E w⁴": float(max(np.einsum("k,tkn,n->t", p, density.masses, fourth))),
        "IV.6, E q²": float(np.square(state.q).max()),
        "IV.6, E m²": float(np.square(state.m).max()),
    }


def _gaussian() -> list[dict[str, Any]]:
    """V.2 as the macroscopic ODE has it, and by quadrature, on its way."""
    case = _case()
    step = 1 / 3
    edges = step * (np.arange(-3, 3) + 0.5)
    rows = []
    tau = np.array([0.5, 4.0, 20.0])
    path = fpsolve.solve_ode(case, tau).order_parameters
    for i, time in enumerate(tau):
        total, errors = np.zeros(3), 0.0
        for star in VALUES:
            mean, s = path.m[i] * star / case.rho, path.s[i]
            cut = [mean - 12 * s, *edges[np.abs(edges - mean) < 12 * s], mean + 12 * s]
            for a, b in pairwise(cut):
                psi = step * np.clip(np.floor(0.5 * (a + b) / step + 0.5), -3, 3)
                for n, weight in enumerate((star * psi, psi**2, None)):

                    def density(w: float, weight: Any = weight, psi: float = psi) -> float:
                        value = w * psi if weight is None else weight
                        return float(value * stats.norm.pdf(w, mean, s))  # noqa: B023

                    value, error = quad(density, a, b, epsabs=1e-13)
                    total[n] += 0.5 * value
                    errors += error
        for n, name in enumerate(("m_psi", "q_psi", "r_psi")):
            value = float(getattr(path, name)[i])
            rows.append(
                {"name": name, "tau": time, "formula": value, "integral": total[n], "error": errors}
            )
    return rows


def prefactor(data: dict[str, Any], name: str) -> tuple[float, float]:
    """Return the end of a line in 1/d through a moment over its limit, and its error."""
    at = np.array([1 / row["d"] for row in data["steps"]])
    ratio, error = np.array([row[name] for row in data["steps"]]).T
    _, slope_error = fitted_slope(at, ratio, error)
    weight = 1 / np.square(error)
    center = weight @ at / weight.sum()
    slope = fitted_slope(at, ratio, error)[0]
    end = weight @ ratio / weight.sum() - slope * center
    return float(end), float(np.hypot(weight.sum() ** -0.5, slope_error * center))


def exponent(data: dict[str, Any], name: str) -> tuple[float, float]:
    """Return the measured exponent of d, and its error."""
    if name in POWERS:
        d = [row["d"] for row in data["steps"]]
        ratio, error = np.array([row[name] for row in data["steps"]]).T
        slope, noise = fitted_exponent(d, ratio, error)
        return slope + POWERS[name], noise
    d = [row["d"] for row in data["runs"]]
    mean, error, _ = np.array([row[name] for row in data["runs"]]).T
    return fitted_exponent(d, mean, error)


def gates(data: dict[str, Any]) -> list[Gate]:
    """Prefactors of all powers; V.2's averages; moments of runs at their limit."""
    rows = []
    limit = normal_limit(len(POWERS))
    for name in POWERS:
        end, error = prefactor(data, name)
        why = f"line in 1/d; {limit:.3g} standard errors, and 0.3 % for its curvature at d = 25"
        title = f"{name}: moment over its limit, d → ∞"
        rows.append(Gate.near(title, end, 1.0, limit * error + 3e-3, why, noise=error))
    limit = normal_limit(len(BOUNDED))
    last = data["runs"][-1]
    for name, grows in BOUNDED.items():
        mean, error, _ = last[name]
        scale = last["d"] ** grows * data["exact"][name]
        why = f"{limit:.3g} standard errors at d = {last['d']}, and 4/d for what is left of 1/d"
        tolerance = limit * error / scale + 4 / last["d"]
        title = f"{name}: largest over τ ≤ 10, over that of the density"
        rows.append(Gate.near(title, mean / scale, 1.0, tolerance, why, noise=error / scale))
    for r in data["gaussian"]:
        why = f"quadrature's own error estimate {r['error']:.1g}, and 1e-12 for rounding"
        title = f"V.2: {r['name']} at τ = {r['tau']:g}"
        rows.append(Gate.near(title, r["formula"], r["integral"], r["error"] + 1e-12, why))
    return rows


def claims(data: dict[str, Any]) -> list[Claim]:
    """Whether each bound has the power of d that the paper states."""
    found = []
    texts = {
        "lemma-iv3": ("Lemma IV.3: E‖Ψ^{t+1} − E_{t}Ψ^{t+1}‖² ≤ C d^(−2)", ("IV.3, Ψ",)),
        "lemma-iv4": (
            "Lemma IV.4: E|Δw|^l ≤ C d^(−l/2), l = 2, 3, 4",
            ("IV.4, l = 2", "IV.4, l = 3", "IV.4, l = 4"),
        ),
        "lemma-iv5": ("Lemma IV.5: Σ E w⁴ ≤ C; its proof ends in C d", ("IV.5, Σ E w⁴",)),
        "lemma-iv6": ("Lemma IV.6: E q² and E m² ≤ C", ("IV.6, E q²", "IV.6, E m²")),
    }
    for key, (text, names) in texts.items():
        answers, told, off = [], [], 0.0
        for name in names:
            slope, error = exponent(data, name)
            # The statement of IV.5 is judged by what its proof has; how far it is off, beside.
            claimed = {**POWERS, **BOUNDED}[name]
            stated = POWERS.get(name, 0.0)
            off = max(off, (slope - stated - 0.1) / (5 * error))
            # A bound holds where the moment grows no faster; 0.1 is a tenth of the next power.
            answers.append(answer(name, claimed + 0.1 - slope, 5 * error))
            told.append(f"{name} ~ d^({slope:.3f} ± {error:.3f})")
        found.append(judged(key, text, answers, "; ".join(told), off=off))
    return found


def tables(data: dict[str, Any]) -> list[Table]:
    """All moments."""
    heads = ["d", *(part_ for name in POWERS for part_ in (name, f"s.e. of {name}"))]
    rows = [[row["d"], *(v for name in POWERS for v in row[name])] for row in data["steps"]]
    runs = [[row["d"], *(row[name][0] for name in BOUNDED)] for row in data["runs"]]
    return [
        Table("One step: moments over their limits", heads, rows),
        Table("Runs: largest over τ ≤ 10", ["d", *BOUNDED], runs),
    ]


def headline(data: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    told = ", ".join(f"{n}: d^({exponent(data, n)[0]:.2f})" for n in (*POWERS, *BOUNDED))
    return f"powers of d as measured: {told}"


def visualize(data: dict[str, Any]) -> Any:
    """Draw all moments over d, each over its limit."""
    figure, axes = grid_of_axes(1, 2, height=3.4)
    for i, name in enumerate(POWERS):
        d = np.array([row["d"] for row in data["steps"]]) * (1 + 0.03 * i)
        ratio, error = np.array([row[name] for row in data["steps"]]).T
        points(axes[0, 0], d, ratio, error, COLORS[i], label=name)
    for i, (name, grows) in enumerate(BOUNDED.items()):
        d = np.array([row["d"] for row in data["runs"]], dtype=float)
        mean, error, _ = np.array([row[name] for row in data["runs"]]).T
        scale = d**grows * data["exact"][name]
        points(axes[0, 1], d, mean / scale, error / scale, COLORS[i + 4], label=name)
    for ax in axes[0]:
        ax.axhline(1, color=INK, lw=0.8)
        ax.set_xscale("log")
        ax.set_xlabel("$d$")
        ax.legend()
    axes[0, 0].set_ylabel("moment of a step, over its limit")
    axes[0, 1].set_ylabel("moment of runs, over the density's")
    return figure
