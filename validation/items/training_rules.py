"""Training rules beyond the paper: each in STE and in the limit, and what theory says of them.

Schedules of rate, ridge and noise, surrogates, decay, clipping, dampening, momentum, random
rounding, inputs of several scales: the density of each against the finite machine, in two settings.
Then closed forms. Dampening ζ moves a weight between two levels off its dithering: with ζ' = ζ/(S +
λ) the upper one is taken with probability clip((p − ζ')/(1 − 2ζ'), 0, 1), so that the floor falls
from SΔ²/6 towards SΔ²/12. Flips of oscillating weights do not depend on the rate. A clipped
straight-through estimator freezes weights, which costs something; annealing by a cosine gains
something over a constant rate at equal steps.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

import fpsolve
from fpsolve import GaussianInitial, Problem, Schedule, Surrogate, Teacher, UniformQuantizer
from validation.curves import agreement, agreement_gate, problem, student_gate
from validation.gates import Gate, Table, mean_and_error
from validation.parts import part
from validation.pictures import COLORS, INK, grid_of_axes, points

TITLE = "Training rules beyond the paper"
KIND = "new"
# Why the paper claims nothing of this.
BEYOND = "it trains by one rule, at a constant rate"
SEED = 5601
CHECKS = [1.0, 6.0]
SCALES = Teacher([1.0, 0.6], [0.5, 0.5], [0.5, 1.5])
RULES: dict[str, dict[str, Any]] = {
    "cosine rate": {"learning_rate": Schedule.cosine(0.3, 0.02, duration=6.0)},
    "ridge in steps": {"ridge": Schedule.steps([0.0, 1.0], times=[2.0])},
    "fading noise": {"noise_variance": Schedule.linear(1.0, 0.0, duration=5.0)},
    "clipped STE": {"surrogate": Surrogate(), "initial": GaussianInitial(variance=0.36)},
    "leaky STE": {"surrogate": Surrogate(slope=0.3)},
    "weight decay": {"weight_decay": 0.5},
    "weight clip": {"weight_clip": 0.8},
    "dampening": {"dampening": 0.3},
    "momentum": {"momentum": 0.6, "learning_rate": 0.06},
    "stochastic rounding": {},
    "input scales": {"teacher": SCALES},
}
# Shares of a step between two levels at which a dampened weight stands, ζ' of each.
DAMPED = (0.0, 0.15, 0.3, 0.45)
RATES = (0.02, 0.01, 0.005, 0.0025)
TWO_LEVELS = 0.3


def settings(rule: str) -> tuple[Problem, Problem]:
    """Return the two problems in which a rule is tried."""
    rounding = "stochastic" if rule == "stochastic rounding" else "nearest"
    return tuple(
        replace(case, weight_quantizer=UniformQuantizer(bits, 1.0, rounding=rounding),
                **RULES[rule])
        for bits, case in (
            (2, problem(2, eta=0.15, ridge=0.3, noise_variance=0.2)),
            (3, problem(3, bits_x=3, omega_x=1.5, eta=0.25, ridge=0.1, batch_size=2)),
        )
    )  # type: ignore[return-value] # fmt: skip


def compute(quick: bool = False) -> dict[str, Any]:
    """Return agreements of each rule, floors, flips and what rules cost or gain."""
    return {
        "rules": _agreements(*((300, 6) if quick else (900, 12))),
        "floors": part("floors", lambda: _floors(32 if quick else 256)),
        "flips": part("flips", lambda: _flips(*((100, 12) if quick else (240, 24)))),
        "frozen": part("frozen", lambda: _frozen(*((100, 60) if quick else (400, 100)))),
        "annealing": part("annealing", lambda: _annealing(*((200, 8) if quick else (800, 24)))),
    }


def _agreements(dimension: int, runs: int) -> list[dict[str, Any]]:
    rows = []
    for i, rule in enumerate(RULES):
        for j, case in enumerate(settings(rule)):
            seed = SEED + 10 * i + j
            found = part(
                f"{rule} {j}",
                lambda case=case, seed=seed: _agreement(case, dimension, runs, seed),
            )
            rows.append({"rule": rule, "setting": "ab"[j], "agreement": found})
    return rows


def _agreement(case: fpsolve.Problem, dimension: int, runs: int, seed: int) -> dict[str, Any]:
    pde = fpsolve.solve_pde(case, CHECKS, rtol=1e-5)
    ste = fpsolve.simulate_ste(case, CHECKS, dimension=dimension, runs=runs, seed=seed)
    found = agreement(pde, ste, curves=2 * len(RULES))
    return {**found, "dimension": dimension, "runs": runs}


def _floors(count: int) -> list[dict[str, float]]:
    """ε* of dampened weights as η → 0, for teacher values spread evenly over one bin."""
    share = (np.arange(count) + 0.5) / count
    teacher = Teacher(share, np.full(count, 1 / count))
    rows = []
    for damped in DAMPED:
        case = problem(2, eta=1e-5, teacher=teacher, dampening=damped)
        upper = np.clip((share - damped) / (1 - 2 * damped), 0, 1)
        rows.append(
            {
                "damped": damped,
                "exact": float(np.mean(upper * (1 - share) ** 2 + (1 - upper) * share**2)),
                "found": fpsolve.stationary_states(case)[0].generalization_error,
            }
        )
    return rows


def _flips(dimension: int, runs: int) -> dict[str, Any]:
    """d^½ times the flips a weight and step, of one teacher value between two levels."""
    teacher = Teacher.constant(TWO_LEVELS)
    start = GaussianInitial(mean=0.5, variance=1e-3)
    p = TWO_LEVELS
    rows = []
    for eta in RATES:
        case = problem(2, eta=eta, teacher=teacher, initial=start)
        late = fpsolve.solve_pde(case, [4 / eta])
        rows.append({"eta": eta, "density": float(fpsolve.flip_rate(late, 1)[0])})
    counted = []
    for i, eta in enumerate((0.2, 0.05)):
        case = problem(2, eta=eta, teacher=teacher, initial=start)
        window = [4 / eta, 12 / eta]
        density = float(fpsolve.flip_rate(fpsolve.solve_pde(case, window[:1]), 1)[0])
        means, errors = [], []
        for d in (dimension, 4 * dimension):
            ste = fpsolve.simulate_ste(
                case, window, dimension=d, runs=runs, seed=SEED + 500 + i, dense_times=window,
                count_flips=True,
            )  # fmt: skip
            mean, error = mean_and_error(ste.flip_rate[:, -1].sum(axis=1) * math.sqrt(d))
            means.append(float(mean))
            errors.append(float(error))
        noise = math.hypot(2 * errors[1], errors[0])
        told = {"mean": 2 * means[1] - means[0], "error": noise, "runs": runs, "degrees": runs - 1}
        counted.append({"eta": eta, "density": density, "dimension": 4 * dimension, **told})
    closed = 4 / math.pi * p * (1 - p) / math.sqrt(p * (1 - p))
    return {"closed": closed, "rows": rows, "counted": counted}


def _frozen(dimension: int, runs: int) -> dict[str, Any]:
    """Share of frozen weights and ε_g, clipped against identity: density, and STE as d → ∞."""
    base = problem(2, eta=0.2, ridge=0.2, initial=GaussianInitial(variance=0.36))
    tau = 10.0
    out: dict[str, Any] = {"tau": tau}
    for name, case in (("clipped", replace(base, surrogate=Surrogate())), ("identity", base)):
        pde = fpsolve.solve_pde(case, [tau])
        out[name] = {
            "error": float(pde.order_parameters.generalization_error[0]),
            "frozen": float(pde.frozen[0]),
        }
        shares, errors = [], []
        for index, d in enumerate((dimension, 4 * dimension)):
            number = runs if d == dimension else max(runs // 4, 8)
            ste = fpsolve.simulate_ste(
                case, [tau], dimension=d, runs=number, seed=SEED + 600 + index, dense_times=[tau]
            )
            shares.append(mean_and_error(ste.frozen[:, -1]))
            errors.append(mean_and_error(ste.order_parameters.generalization_error[:, -1]))
        # A walk oversteps the wall by d^-1/2; means over runs are off by 1/d.
        out[name]["ste_frozen"] = _ahead(shares, 2.0, -1.0, max(runs // 4, 8))
        out[name]["ste"] = _ahead(errors, 4 / 3, -1 / 3, max(runs // 4, 8))
    return out


def _ahead(pair: list[Any], fine: float, coarse: float, runs: int) -> dict[str, Any]:
    (first, first_error), (last, last_error) = pair
    error = math.hypot(fine * float(last_error), coarse * float(first_error))
    mean = fine * float(last) + coarse * float(first)
    return {"mean": mean, "error": error, "runs": runs, "degrees": runs - 1}


def _annealing(dimension: int, runs: int) -> dict[str, Any]:
    """ε_g at a horizon: the best constant rate of a grid, and a cosine from four times that."""
    horizon = 40.0
    base = problem(3, ridge=0.2, noise_variance=0.2)
    rates = np.geomspace(0.02, 0.6, 9)
    errors = [
        float(
            fpsolve.solve_pde(replace(base, learning_rate=float(eta)), [horizon], rtol=1e-5)
            .order_parameters.generalization_error[-1]
        )
        for eta in rates
    ]  # fmt: skip
    best = float(rates[int(np.argmin(errors))])
    cases = {
        "constant": replace(base, learning_rate=best),
        "cosine": replace(base, learning_rate=Schedule.cosine(3 * best, 0.0, duration=horizon)),
    }
    out: dict[str, Any] = {
        "horizon": horizon, "best": best, "rates": rates.tolist(), "errors": errors,
        "floor": base.dynamics.floor,
    }  # fmt: skip
    for i, (name, case) in enumerate(cases.items()):
        pde = fpsolve.solve_pde(case, [horizon]).order_parameters
        pair = []
        for d in (dimension, 2 * dimension):
            ste = fpsolve.simulate_ste(
                case, [horizon], dimension=d, runs=runs, seed=SEED + 700 + i, dense_times=[horizon]
            )
            pair.append(mean_and_error(ste.order_parameters.generalization_error[:, -1]))
        found = _ahead(pair, 2.0, -1.0, runs)
        out[name] = {
            "pde": float(pde.generalization_error[-1]),
            "ste": {**found, "dimension": 2 * dimension},
        }
    return out


def gates(data: dict[str, Any]) -> list[Gate]:
    """Agreement of every rule, and the closed forms."""
    rows = [
        agreement_gate(f"{row['rule']}, setting {row['setting']}", row["agreement"])
        for row in data["rules"]
    ]
    for floor in data["floors"]:
        rows.append(
            Gate.near(
                f"floor under dampening ζ' = {floor['damped']:g}",
                floor["found"],
                floor["exact"],
                # The density spreads over Δη/(1 − 2ζ') around its threshold.
                1e-3 * floor["exact"],
                "clip((p − ζ')/(1 − 2ζ'), 0, 1) of weights on the upper level, η = 1e-5",
            )
        )
    flips = data["flips"]
    for row in flips["rows"]:
        rows.append(
            Gate.near(
                f"flips at η = {row['eta']:g} over (4/π)Δp(1 − p)/(ε_g d)^½",
                row["density"] / flips["closed"],
                1.0,
                1e-6,
                "the same at any rate, but for what leaks beyond the two levels",
            )
        )
    for row in flips["counted"]:
        rows.append(student_gate(f"flips counted at η = {row['eta']:g}", row, row["density"], 2))
    frozen = data["frozen"]
    rows.append(
        student_gate(
            "share of frozen weights", frozen["clipped"]["ste_frozen"], frozen["clipped"]["frozen"]
        )
    )
    for name in ("clipped", "identity"):
        rows.append(student_gate(f"ε_g, {name}", frozen[name]["ste"], frozen[name]["error"], 2))
    told = data["annealing"]
    for name in ("constant", "cosine"):
        label = f"ε_g at τ = {told['horizon']:g}, {name}"
        rows.append(student_gate(label, told[name]["ste"], told[name]["pde"], 2))
    rows.append(
        Gate.at_most(
            "excess error of a cosine over that of the best constant rate",
            (told["cosine"]["pde"] - told["floor"]) / (told["constant"]["pde"] - told["floor"]),
            1.0,
            "annealing gains at equal steps",
        )
    )
    return rows


def tables(data: dict[str, Any]) -> list[Table]:
    """What dampening, clipping and annealing do."""
    frozen, told = data["frozen"], data["annealing"]
    floors = {"ζ'": "damped", "closed form": "exact", "stationary state": "found"}
    clipped = [
        [n, frozen[n]["error"], frozen[n]["ste"]["mean"], frozen[n]["frozen"]]
        for n in ("identity", "clipped")
    ]
    rates = [[f"best constant, η = {told['best']:.3g}", *_both(told["constant"])]]
    rates += [["cosine from three times that to 0", *_both(told["cosine"])]]
    return [
        Table.of("Floor of ε_g in units of Δ² under dampening", floors, data["floors"]),
        Table(
            f"Surrogate: ε_g at τ = {frozen['tau']:g}",
            ["estimator", "PDE", "STE", "frozen share"],
            clipped,
        ),
        Table(f"ε_g at τ = {told['horizon']:g}", ["rate", "PDE", "STE"], rates),
    ]


def _both(found: dict[str, Any]) -> list[float]:
    return [found["pde"], found["ste"]["mean"]]


def headline(data: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    told, frozen = data["annealing"], data["frozen"]
    worst = max(row["agreement"]["worst"] for row in data["rules"])
    floors = [row["found"] for row in data["floors"]]
    gain = (told["constant"]["pde"] - told["floor"]) / (told["cosine"]["pde"] - told["floor"])
    return (
        f"every rule's density explains STE (worst test at {worst:.2f} of its limit); dampening "
        f"takes the floor from {floors[0]:.4f} Δ² to {floors[-1]:.4f} Δ²; a clipped estimator has "
        f"{frozen['clipped']['error'] / frozen['identity']['error']:.2f} times the identity's "
        f"ε_g; a cosine has an excess {gain:.2f} times below the best constant rate's"
    )


def visualize(data: dict[str, Any]) -> Any:
    """Draw the floor under dampening, flips over η, and ε_g over the constant rate."""
    figure, axes = grid_of_axes(1, 3)
    left, middle, right = axes[0]
    left.plot([r["damped"] for r in data["floors"]], [r["exact"] for r in data["floors"]],
              color=INK, lw=1)  # fmt: skip
    points(left, [r["damped"] for r in data["floors"]], [r["found"] for r in data["floors"]],
           [0.0] * len(data["floors"]), COLORS[0])  # fmt: skip
    left.set_xlabel("dampening ζ'")
    left.set_ylabel(r"floor of $\varepsilon_g$ / $\Delta^2$")
    flips = data["flips"]
    middle.semilogx([r["eta"] for r in flips["rows"]], [r["density"] for r in flips["rows"]], ".-",
                    color=COLORS[0], label="density")  # fmt: skip
    points(middle, [r["eta"] for r in flips["counted"]], [r["mean"] for r in flips["counted"]],
           [r["error"] for r in flips["counted"]], COLORS[1], label="STE")  # fmt: skip
    middle.axhline(flips["closed"], color=INK, lw=0.8)
    middle.set_ylim(0, 1.3 * flips["closed"])
    middle.set_xlabel("η")
    middle.set_ylabel("flips · d$^{1/2}$")
    middle.legend()
    told = data["annealing"]
    right.loglog(told["rates"], told["errors"], ".-", color=COLORS[0], label="constant")
    right.axhline(told["cosine"]["pde"], color=COLORS[1], label="cosine")
    right.set_xlabel("η")
    right.set_ylabel(rf"$\varepsilon_g$ at τ = {told['horizon']:g}")
    right.legend()
    return figure
