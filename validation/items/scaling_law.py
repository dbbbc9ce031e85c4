"""Power laws of learning: their exponent, and what bits, range and rate make of them.

Inputs with variances Λ of density ∝ Λ^(β−1) on (0, 1], teacher variance ∝ Λ^γ: trained at a small
rate without quantization the error falls as τ^−(1+β+γ), as every coordinate has its own rate ηΛ.
Quantized weights end at a floor, Σ p Λ [Δ² f(1 − f) + (distance to the range)²] with f the
fractional position of w* between two levels: bits set where the power law stops, a range that is
too short stops it earlier than any number of bits would.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import fpsolve
from fpsolve import GaussianInitial, Problem, Teacher, UniformQuantizer
from validation.curves import agreement, agreement_gate
from validation.gates import Gate, Table
from validation.parts import part
from validation.pictures import COLORS, GRAY, grid_of_axes

TITLE = "Power laws, and what bits, range and rate make of them"
KIND = "new"
# Why the paper claims nothing of this.
BEYOND = "it has one input scale and one teacher value, no spectra of them"
SEED = 5801
EXPONENTS = ((0.8, 0.7), (0.5, 0.3))
OMEGA = 2.0
# Power laws hold from some 1/η on, until the slowest class of the discretization has learned.
FIRST, LAST = 10.0, 40.0


def case_of(
    classes: int,
    exponents: tuple[float, float] = EXPONENTS[0],
    *,
    bits: int | None = None,
    omega: float = OMEGA,
    eta: float = 0.005,
) -> Problem:
    """Return training of a power-law teacher from weights near 0."""
    return Problem(
        weight_quantizer=None if bits is None else UniformQuantizer(bits, omega),
        input_quantizer=None,
        learning_rate=eta,
        teacher=Teacher.power_law(*exponents, classes),
        initial=GaussianInitial(variance=1e-4),
    )


def compute(quick: bool = False) -> dict[str, Any]:
    """Return fitted exponents, curves over bits, range and rate, floors, and STE beside one."""
    classes = 12 if quick else 32
    count = 25 if quick else 49
    fits = [
        part(f"fit {exponents}", lambda exponents=exponents: _fit(exponents, classes))
        for exponents in EXPONENTS
    ]
    settings: dict[str, dict[str, Any]] = {
        "full precision": {},
        "3 bits": {"bits": 3},
        "5 bits": {"bits": 5},
        "7 bits": {"bits": 7},
        "7 bits, range 1": {"bits": 7, "omega": 1.0},
        "5 bits, η = 0.1": {"bits": 5, "eta": 0.1},
    }
    tau = np.geomspace(1.0, 2e4, count)
    rows = [
        part(
            name,
            lambda name=name, options=options: _row(name, case_of(classes, **options), tau),
        )
        for name, options in settings.items()
    ]
    ste = part("STE", lambda: _ste(400 if quick else 2400))
    return {"fits": fits, "tau": tau.tolist(), "rows": rows, "ste": ste}


def _fit(exponents: Any, classes: int) -> dict[str, float]:
    """The exponent of unquantized weights by theory and by the density; how far classes matter."""
    tau = np.geomspace(FIRST, LAST, 5) / 0.005
    curves = [
        fpsolve.solve_pde(case_of(k, exponents), tau, rtol=1e-5)
        .order_parameters.generalization_error
        for k in (classes, 2 * classes)
    ]  # fmt: skip
    return {
        "theory": -(1 + sum(exponents)),
        "found": float(np.polyfit(np.log(tau), np.log(curves[1]), 1)[0]),
        "classes": float(np.abs(curves[0] / curves[1] - 1).max()),
    }


def _row(name: str, case: Problem, tau: Any) -> dict[str, Any]:
    """The curve of one setting, and its floor."""
    curve = fpsolve.solve_pde(case, tau, rtol=1e-4).order_parameters.generalization_error
    return {"setting": name, "curve": curve.tolist(), **_floor(case)}


def _floor(case: Problem) -> dict[str, float]:
    """The floor as η → 0 in closed form, and that of the stationary density at η = 1e-5."""
    if case.weight_quantizer is None:
        return {"floor": 0.0, "found": 0.0}
    small = fpsolve.Problem(
        weight_quantizer=case.weight_quantizer,
        input_quantizer=None,
        learning_rate=1e-5,
        teacher=case.teacher,
    )
    levels, w = case.weight_quantizer.levels, case.teacher.values
    inside = np.clip(w, levels[0], levels[-1])
    step = levels[1] - levels[0]
    f = np.mod((inside - levels[0]) / step, 1.0)
    square = np.square(step) * f * (1 - f) + np.square(w - inside)
    weights = case.teacher.probabilities * np.square(case.teacher.input_scale)
    found = fpsolve.stationary_states(small)[-1].generalization_error
    return {"floor": float(weights @ square), "found": found}


def _ste(dimension: int) -> dict[str, Any]:
    case = case_of(5, bits=4, eta=0.2)
    times = [3.0, 30.0]
    ste = fpsolve.simulate_ste(case, times, dimension=dimension, runs=8, seed=SEED)
    found = agreement(fpsolve.solve_pde(case, times, rtol=1e-5), ste)
    return {"dimension": dimension, "runs": 8, **found}


def _stops(data: dict[str, Any], floor: float) -> float:
    """When the unquantized error passes a floor, NaN if it does not."""
    curve = np.array(data["rows"][0]["curve"])
    if not curve[-1] < floor < curve[0]:
        return math.nan
    at = np.interp(-math.log(floor), -np.log(curve), np.log(data["tau"]))
    return float(np.exp(at))


def gates(data: dict[str, Any]) -> list[Gate]:
    """Exponents, floors, and the finite machine."""
    rows = []
    for fit in data["fits"]:
        label = f"exponent {fit['theory']:g}"
        why = "−(1 + β + γ), fitted over a factor of four in time; corrections are of order η"
        rows.append(Gate.near(label, fit["found"], fit["theory"], 0.01, why))
        why = "classes once and twice as many; ε_g of a power law that lasts"
        rows.append(Gate.at_most(f"{label}: left by the classes", fit["classes"], 1e-2, why))
    for row in data["rows"][1:]:
        name = f"floor, {row['setting']}"
        why = "Σ p Λ [Δ² f(1 − f) + (distance to the range)²], η = 1e-5"
        rows.append(Gate.near(name, row["found"], row["floor"], 1e-3 * row["floor"], why))
    rows.append(agreement_gate("4 bits, 5 classes", data["ste"]))
    return rows


def tables(data: dict[str, Any]) -> list[Table]:
    """Exponents, and where each setting leaves the power law."""
    heads = {"theory": "theory", "fitted": "found", "left by classes": "classes"}
    stops = [
        [row["setting"], row["floor"], _stops(data, row["floor"]), row["curve"][-1]]
        for row in data["rows"]
    ]
    last = f"ε_g at τ = {data['tau'][-1]:g}"
    return [
        Table.of("Exponents at η = 0.005", heads, data["fits"]),
        Table(
            "Where the power law ends",
            ["setting", "floor as η → 0", "τ at which η = 0.005 reaches it", last],
            stops,
        ),
    ]


def headline(data: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    fits = ", ".join(f"{f['found']:.3f} ({f['theory']:g})" for f in data["fits"])
    by_name = {row["setting"]: row for row in data["rows"]}
    stop = [_stops(data, by_name[f"{b} bits"]["floor"]) for b in (3, 5, 7)]
    return (
        f"unquantized exponents {fits}; 3, 5 and 7 bits end the power law at τ = "
        f"{stop[0]:.0f}, {stop[1]:.0f} and {stop[2]:.0f}; with a range of 1 seven bits end at "
        f"{by_name['7 bits, range 1']['floor']:.2g}, above the {by_name['3 bits']['floor']:.2g} "
        "of three bits with a range of 2"
    )


def visualize(data: dict[str, Any]) -> Any:
    """Draw ε_g over time for bits, and for range and rate."""
    figure, axes = grid_of_axes(1, 2)
    tau = np.array(data["tau"])
    fit = data["fits"][0]
    for ax, names in zip(axes[0], (range(4), (0, 2, 3, 4, 5)), strict=True):
        for i in names:
            row = data["rows"][i]
            ax.loglog(tau, row["curve"], color=COLORS[i % len(COLORS)], label=row["setting"])
            if row["floor"] > 0:
                ax.axhline(row["floor"], color=COLORS[i % len(COLORS)], lw=0.6, ls=":")
        late = tau[tau > 1e3]
        scale = data["rows"][0]["curve"][-1] * (late / tau[-1]) ** fit["theory"]
        ax.loglog(late, 2 * scale, "--", color=GRAY, lw=1)
        ax.set_xlabel("τ")
        ax.legend(fontsize=8)
    axes[0, 0].set_ylabel(r"$\varepsilon_g$")
    return figure
