"""Adjudication: six claims that are not, or not everywhere, true as they stand. STE is the judge.

For each: what the paper says, what the PDE or the exact stationary state says, what the
simulation says. A claim falls only where the simulation contradicts it beyond the stated noise.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import fpsolve
from fpsolve import GaussianInitial
from validation.curves import known_errors, late_average, problem
from validation.gates import FALSE_ALARM, Gate, Table, normal_limit, student_limit
from validation.parts import part
from validation.pictures import COLORS, INK, grid_of_axes, points

TITLE = "Adjudication: six claims before the simulation"
KIND = "verdict"
# Claims it is about, by the item that judges them.
ELSEWHERE = {
    "claims_scan": (
        "theorem-v3",
        "fig8-ode",
        "fig4-bx3",
        "range-lambda-1",
        "bits-lambda-0.5",
        "early-stopping",
        "plateau",
    )
}
SEED = 2201


def at_time(
    case: fpsolve.Problem, tau: Any, dimension: int, runs: int, seed: int
) -> dict[str, Any]:
    """Return ε_g at times τ by STE, PDE and closure; standard errors by the adjoint equation."""
    tau = np.atleast_1d(tau).astype(float)
    ste = fpsolve.simulate_ste(
        case, tau, dimension=dimension, runs=runs, seed=seed, dense_times=[tau[-1]]
    )
    return {
        "tau": tau,
        "ste": ste.order_parameters.generalization_error.mean(axis=0),
        "error": known_errors(case, tau, dimension, runs),
        "pde": fpsolve.solve_pde(case, tau).order_parameters.generalization_error,
        "closure": fpsolve.solve_ode(case, tau).order_parameters.generalization_error,
        "runs": runs,
        "dimension": dimension,
        "seed": seed,
    }


def compute(quick: bool = False) -> dict[str, Any]:
    """Return the evidence for every claim."""
    d, runs = (400, 12) if quick else (1600, 16)
    # At the end and on the way: does more input precision help, and is b_x = 3 not monotone?
    way = np.linspace(2.0, 60.0, 15) if quick else np.linspace(2.0, 120.0, 30)
    early = np.unique(np.concatenate([np.linspace(0, 40, 81), [120.0]]))[1:]
    growing = (200, 800) if quick else (250, 1000, 4000)
    inputs = d if quick else 900
    return {
        "growing d": [
            part(
                f"d = {n}",
                lambda n=n: at_time(problem(2, 1.0, ridge=1.0), 5.0, n, 24, SEED + n),
            )
            for n in growing
        ],
        "fig8": part("fig8", lambda: at_time(problem(2, 1.0, ridge=0.5), 37.0, d, runs, SEED + 1)),
        "fig8 curves": _curves(problem(2, 1.0, ridge=0.5)),
        "inputs": {
            str(bits): part(
                f"b_x = {bits}",
                lambda bits=bits: at_time(
                    problem(3, 1.0, bits_x=bits, eta=0.05, ridge=1.0), way, inputs, runs, SEED + 2
                ),
            )
            for bits in (3, 4, 5)
        },
        "wide": part(
            "wide",
            lambda: at_time(
                problem(3, 1.0, bits_x=3, omega_x=2.0, eta=0.05, ridge=1.0),
                *(way[-1], inputs, runs, SEED + 7),
            ),
        ),
        "ranges": {
            str(w): part(f"ω = {w}", lambda w=w: _range(w, quick, runs))
            for w in (0.5, 1.0, 1.25, 1.5)
        },
        "bits": {str(b): part(f"b = {b}", lambda b=b: _bits(b, quick, runs)) for b in (3, 4)},
        "early": part(
            "early",
            lambda: at_time(problem(3, 1.5, ridge=1.5), early, 200 if quick else 900, 64, SEED + 5),
        ),
        "shoulder": part("shoulder", lambda: _plateaus(quick)),
    }


def _range(omega: float, quick: bool, runs: int) -> dict[str, Any]:
    """Late ε_g at λ = 1, exactly and by STE."""
    case = problem(3, omega, eta=0.04, ridge=1.0)
    # At ω = ½ the target is the outermost level itself: no stationary state, but a limit.
    state = fpsolve.stationary_states(case)[0] if omega > 0.5 else fpsolve.small_rate_limit(case)
    window = (100, 200) if quick else (200, 300)
    found = late_average(case, window, dimension=100, runs=4 * runs, seed=SEED + 3)
    return {"exact": state.generalization_error, **found}


def _bits(bits: int, quick: bool, runs: int) -> dict[str, Any]:
    """Late ε_g at λ = ½, exactly and by STE."""
    # From beside the stationary state: on a level it is approached by diffusion alone.
    beside = GaussianInitial(2 / 3, 0.01)
    case = problem(bits, 1.0, eta=0.04, ridge=0.5, initial=beside)
    found = late_average(
        case,
        (50, 150) if quick else (100, 300),
        dimension=100 if quick else 200,
        runs=(24 if quick else 12) * runs,
        seed=SEED + 4,
    )
    return {"exact": fpsolve.stationary_states(case)[0].generalization_error, **found}


def _plateaus(quick: bool) -> dict[str, Any]:
    """ε_g from broad and from small initial weights; its fall by half the plateau law's time."""
    tau = np.linspace(0, 40, 161)
    case = problem(2, 1.0, ridge=1.0)
    assert isinstance(case.weight_quantizer, fpsolve.UniformQuantizer)
    half = 0.5 * case.weight_quantizer.scale / (2 * case.learning_rate * case.kappa)
    at = int(np.argmin(np.abs(tau - half)))
    found = {}
    for name, variance in (("N(0, 1)", 1.0), ("N(0, 1e-4)", 1e-4)):
        case = problem(2, 1.0, ridge=1.0, initial=GaussianInitial(variance=variance))
        ste = fpsolve.simulate_ste(
            case, [40.0], dimension=400 if quick else 1600, runs=8, seed=SEED + 6, dense_times=tau
        )
        error = ste.dense_order_parameters.generalization_error
        pde = fpsolve.solve_pde(case, tau).order_parameters.generalization_error
        known = fpsolve.fluctuations(case, [0.0, tau[at]], rtol=0.05)
        which = known.names.index("generalization_error")
        spread = known.covariance[:, which, :, which]
        variance = spread[0, 0] + spread[1, 1] - 2 * spread[0, 1]
        found[name] = {
            "tau": tau,
            "half": tau[at],
            "pde": pde,
            "ste": error.mean(axis=0),
            "pde_fall": pde[0] - pde[at],
            "grain": 2 * case.kappa / ste.weights[:, 0].size,
            "fall": (error[:, 0] - error[:, at]).mean(),
            "error": np.sqrt(max(variance, 0.0) / ste.weights[:, 0].size),
            "runs": 8,
        }
    return found


def apart(found: dict[str, Any], theory: str, at: int = 0) -> float:
    """Return |STE − theory| in standard errors."""
    return abs(found["ste"][at] - found[theory][at]) / found["error"][at]


def _curves(case: fpsolve.Problem) -> dict[str, Any]:
    """ε_g of density and closure over time."""
    tau = np.linspace(0.0, 120.0, 241)
    pde, closure = (
        solve(case, tau).order_parameters.generalization_error
        for solve in (fpsolve.solve_pde, fpsolve.solve_ode)
    )
    return {"tau": tau, "pde": pde, "closure": closure}


def gates(data: dict[str, Any]) -> list[Gate]:
    """For every claim, the numbers by which it stands or falls."""
    rows = []
    last = data["growing d"][-1]
    t = normal_limit()
    why = f"normal limit at {FALSE_ALARM:g}: {t:.3g}; standard errors by the adjoint equation"
    d = last["dimension"]
    rows.append(
        Gate.at_least(
            f"1: closure, standard errors off STE at d = {d}", apart(last, "closure"), t, why
        )
    )
    rows.append(
        Gate.at_most(f"1: PDE, standard errors off STE at d = {d}", apart(last, "pde"), t, why)
    )
    fig8 = data["fig8"]
    rows.append(
        Gate.at_least("2: closure, standard errors off STE", apart(fig8, "closure"), t, why)
    )
    rows.append(Gate.at_most("2: PDE, standard errors off STE", apart(fig8, "pde"), t, why))
    rows += _input_gates(data["inputs"], data["wide"])
    ranges = data["ranges"]
    for better, worse in (("0.5", "1.0"), ("0.5", "1.25"), ("1.5", "1.0"), ("1.5", "1.25")):
        rows.append(
            _lower(f"4: ε* at ω = {better} below ω = {worse}, STE", ranges[better], ranges[worse])
        )
    rows.append(
        _lower("4: ε* at b = 3 below b = 4 (λ = ½), STE", data["bits"]["3"], data["bits"]["4"])
    )
    rows += _early_gates(data["early"])
    rows += _plateau_gates(data["shoulder"])
    return rows


def _input_gates(inputs: dict[str, Any], wide: dict[str, Any]) -> list[Gate]:
    """3: fall at every b_x as the PDE says, which is monotone; clipping outweighs resolution."""
    three, five = inputs["3"], inputs["5"]
    tests = len(inputs) * len(three["tau"])
    t = normal_limit(tests)
    why = f"normal limit at {FALSE_ALARM:g} over {tests} times and bit widths"
    away = max(apart(f, "pde", i) for f in inputs.values() for i in range(len(f["tau"])))
    promised = 1e-5 * three["pde"][0]
    t_end = normal_limit()
    clipped, finer = three["ste"][-1] - wide["ste"][-1], three["ste"][-1] - five["ste"][-1]
    # ε₃ − ε_wide − |ε₃ − ε₅| holds ε₃ twice where ε₃ < ε₅.
    error = np.sqrt(4 * three["error"][-1] ** 2 + wide["error"][-1] ** 2 + five["error"][-1] ** 2)
    return [
        Gate.at_most("3: STE off the PDE, standard errors, worst", away, t, why, noise=1.0),
        Gate.at_most(
            "3: largest rise of the PDE at b_x = 3",
            np.diff(three["pde"]).max(),
            promised,
            "10·rtol of the largest value: ε_g falls all the time",
        ),
        Gate.at_least(
            "3: what ω_x = 2 saves less what b_x = 5 changes, by STE",
            clipped - abs(finer),
            t_end * error,
            f"{t_end:.3g} standard errors, normal at {FALSE_ALARM:g}: the loss is clipping",
            noise=error,
        ),
    ]


def _plateau_gates(shoulder: dict[str, Any]) -> list[Gate]:
    """6: from small weights no fall for half of Δ/(2ηκ|w*|), from N(0, 1) it falls at once."""
    broad, small = shoulder["N(0, 1)"], shoulder["N(0, 1e-4)"]
    t = normal_limit(2)
    why = f"{t:.3g} standard errors by the adjoint equation: normal at {FALSE_ALARM:g}"
    name = f"6: fall of ε_g until τ = {broad['half']:g} by STE"
    found = []
    for label, r in (("N(0, 1)", broad), ("N(0, 1e-4)", small)):
        # No fewer weights than one can have crossed: 2κ/d each.
        still = t * r["error"] + 1e-5 * r["pde"][0] + r["grain"]
        title = f"{name}, from {label}"
        also = why + ", 10·rtol, and one weight's part"
        found.append(Gate.near(title, r["fall"], r["pde_fall"], still, also, noise=r["error"]))
    gap = broad["fall"] - small["fall"]
    error = float(np.hypot(broad["error"], small["error"]))
    title = f"{name}, from N(0, 1) less from N(0, 1e-4)"
    return [*found, Gate.at_least(title, gap, t * error, why, noise=error)]


def _lower(name: str, low: dict[str, Any], high: dict[str, Any]) -> Gate:
    """Return the gate that one mean is below another, by a test of the difference."""
    score = (high["mean"] - low["mean"]) / np.hypot(low["error"], high["error"])
    limit = student_limit(low["runs"] - 1, 1, 1e-3)
    why = (
        "difference over its standard error; one chance in a thousand if there were none: "
        f"t = {limit:.3g}"
    )
    return Gate.at_least(name, score, limit, why, noise=1.0)


def _early_gates(found: dict[str, Any]) -> list[Gate]:
    at = int(np.argmin(found["pde"]))
    t = normal_limit()
    gain = found["ste"][-1] - found["ste"][at]
    error = np.hypot(found["error"][-1], found["error"][at])
    why = f"normal limit at {FALSE_ALARM:g}: {t:.3g} standard errors by the adjoint equation"
    closed, ste = min(found["closure"]), found["ste"][at]
    return [
        Gate.at_least("5: what stopping early saves by STE", gain, t * error, why + ": it is real"),
        Gate.at_least(
            "5: minimum of STE less that of the closure",
            ste - closed,
            t * found["error"][at],
            why + ": the closure exaggerates it",
        ),
        Gate.at_most(
            "5: PDE at its minimum, standard errors off STE", apart(found, "pde", at), t, why
        ),
    ]


def tables(data: dict[str, Any]) -> list[Table]:
    """Both sides, and the judge."""
    early = data["early"]
    lowest = int(np.argmin(early["pde"]))
    third = "3: b_x = 3, 4, 5 differ, b_x = 3 not monotone"
    fifth = "5: early stopping at λ = 1.5"
    rows = [
        _at("1: d^−½ distance to the closure", f"ε_g(5), d = {f['dimension']}", f, 0)
        for f in data["growing d"]
    ]
    rows.append(_at("2: ODE follows STE in all panels", "ε_g(37), b = 2, λ = ½", data["fig8"], 0))
    for bits, f in data["inputs"].items():
        rows.append(_at(third, f"ε_g({f['tau'][-1]:g}), b_x = {bits}", f, -1))
    for w, r in data["ranges"].items():
        rows.append(_late("4: ω ≈ 1–1.25 best at λ = 1", f"ε*, ω = {w}", r))
    for b, r in data["bits"].items():
        rows.append(_late("4: error falls with b", f"ε*, b = {b}, λ = ½", r))
    minimum = _at(fifth, f"minimum, ω = 1.5 (τ = {early['tau'][lowest]:g})", early, lowest)
    minimum[2] = min(early["closure"])  # The closure's own, wherever it is.
    rows += [minimum, _at(fifth, f"ε_g({early['tau'][-1]:g})", early, -1)]
    wide = data["wide"]
    rows.append(_at(third, f"ε_g({wide['tau'][-1]:g}), b_x = 3, ω_x = 2", wide, -1))
    for name, r in data["shoulder"].items():
        fall = f"ε_g(0) − ε_g({r['half']:g}), w₀ ~ {name}"
        rows.append(["6: an initial plateau", fall, "–", r["pde_fall"], r["fall"], r["error"]])
    density = "density (PDE or stationary)"
    columns = ["the paper's claim", "quantity", "closure", density, "STE", "s.e."]
    return [Table("Evidence", columns, rows)]


def _at(claim: str, quantity: str, found: dict[str, Any], i: int) -> list[object]:
    return [claim, quantity, *(found[name][i] for name in ("closure", "pde", "ste", "error"))]


def _late(claim: str, quantity: str, found: dict[str, Any]) -> list[object]:
    return [claim, quantity, "–", found["exact"], found["mean"], found["error"]]


def headline(data: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    growing, fig8 = data["growing d"][-1], data["fig8"]
    return (
        "where claims and STE part, STE sides with the density: the closure is "
        f"{apart(growing, 'closure'):.0f} standard errors off at d = {growing['dimension']} and "
        f"{apart(fig8, 'closure'):.0f} in Fig. 8, the PDE {apart(growing, 'pde'):.1f} and "
        f"{apart(fig8, 'pde'):.1f}"
    )


def visualize(data: dict[str, Any]) -> Any:
    """Draw a panel a claim."""
    figure, axes = grid_of_axes(2, 3, width=11, height=2.9)
    ax = axes[0, 0]
    d = [f["dimension"] for f in data["growing d"]]
    points(
        ax,
        d,
        [f["ste"][0] for f in data["growing d"]],
        [f["error"][0] for f in data["growing d"]],
        COLORS[1],
        label="STE",
    )
    ax.axhline(data["growing d"][0]["pde"][0], color=COLORS[0], label="PDE")
    ax.axhline(data["growing d"][0]["closure"][0], ls=":", color=INK, label="closure")
    ax.set_xscale("log")
    ax.set_xlabel("$d$")
    ax.legend()
    ax = axes[0, 1]
    f = data["fig8"]
    shown = data["fig8 curves"]
    ax.plot(shown["tau"], shown["pde"], color=COLORS[0])
    ax.plot(shown["tau"], shown["closure"], ":", color=INK)
    points(ax, f["tau"], f["ste"], f["error"], COLORS[1], ms=5)
    ax.set_yscale("log")
    ax.set_xlabel(r"$\tau$")
    ax = axes[0, 2]
    # All three nearly coincide: the scale is that of what they differ by.
    finest = np.asarray(data["inputs"]["5"]["pde"])
    for color, (bits, f) in zip(COLORS, data["inputs"].items(), strict=False):
        points(ax, f["tau"], f["ste"] - finest, f["error"], color, ms=2.5)
        ax.plot(f["tau"], f["pde"] - finest, color=color, label=f"$b_x={bits}$")
    ax.set_xlabel(r"$\tau$")
    ax.legend()
    ax = axes[1, 0]
    at = [float(w) for w in data["ranges"]]
    points(
        ax,
        at,
        [r["mean"] for r in data["ranges"].values()],
        [r["error"] for r in data["ranges"].values()],
        COLORS[1],
    )
    exact = [r["exact"] for r in data["ranges"].values()]
    ax.plot(at, exact, "_", color=COLORS[0], ms=14, label="stationary, exact")
    ax.plot([], [], "o", color=COLORS[1], ms=3.5, label="STE")
    ax.set_xlabel(r"$\omega$")
    ax.legend()
    ax = axes[1, 1]
    f = data["early"]
    # The last time is far behind the minimum.
    tau, ste, error, pde, closure = (
        np.asarray(f[name])[:-1] for name in ("tau", "ste", "error", "pde", "closure")
    )
    near = np.maximum(pde, closure) < 2 * closure.min()  # Around the minimum.
    points(ax, tau[near][::2], ste[near][::2], error[near][::2], COLORS[1])
    ax.plot(tau[near], pde[near], color=COLORS[0])
    ax.plot(tau[near], closure[near], ":", color=INK)
    ax.set_xlabel(r"$\tau$")
    ax = axes[1, 2]
    for color, (name, r) in zip(COLORS, data["shoulder"].items(), strict=False):
        ax.plot(r["tau"], r["pde"], color=color, label=name)
        ax.plot(r["tau"][::8], r["ste"][::8], "o", ms=3, color=color)
    ax.set_xlabel(r"$\tau$")
    ax.legend()
    names = (
        "closure at growing $d$",
        "Fig. 8, b = 2, λ = ½",
        "input bits",
        "range of the weights, λ = 1",
        "early stopping",
        "plateau",
    )
    for i, (ax, name) in enumerate(zip(axes.flat, names, strict=True)):
        ax.set_title(f"{i + 1}: {name}")
        ax.set_ylabel(r"$\varepsilon_g$")
    axes[0, 2].set_ylabel(r"$\varepsilon_g$ less that of the PDE, $b_x=5$")
    return figure
