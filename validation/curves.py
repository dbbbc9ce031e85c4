"""Learning curves in all three descriptions, and the verdict of the simulation on each."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

import fpsolve
from validation.coefficients import COEFFICIENTS, response
from validation.gates import (
    FALSE_ALARM,
    Gate,
    Table,
    mean_and_error,
    normal_limit,
    student_limit,
)
from validation.pictures import COLORS, INK, grid_of_axes, key, points

__all__ = [
    "agreement",
    "agreement_gate",
    "both_times",
    "closure_table",
    "draw_curves",
    "draw_differences",
    "draw_panel",
    "draw_row",
    "extrapolated",
    "joined",
    "known_errors",
    "late_average",
    "learning_curve",
    "normal_gate",
    "problem",
    "student_gate",
]


def problem(
    bits: int | None,
    omega: float = 1.0,
    *,
    bits_x: int | None = None,
    omega_x: float = 1.0,
    eta: float = 0.04,
    **options: Any,
) -> fpsolve.Problem:
    """Return a problem with uniform quantizers; None stands for full precision."""
    return fpsolve.Problem(
        weight_quantizer=None if bits is None else fpsolve.UniformQuantizer(bits, omega),
        input_quantizer=None if bits_x is None else fpsolve.UniformQuantizer(bits_x, omega_x),
        learning_rate=eta,
        **options,
    )


def both_times(horizon: float, count: int, least: float = 1e-3) -> np.ndarray:
    """Return times good for linear and logarithmic axes alike, from 0 to `horizon`."""
    even = np.linspace(0, horizon, count)
    return np.union1d(even, np.geomspace(least * horizon, horizon, count))


# Times of a curve at which the adjoint equation is solved; its variances are interpolated.
_ADJOINT_TIMES = 10


def known_errors(
    case: fpsolve.Problem,
    times: Any,
    dimension: int,
    runs: int,
    name: str = "generalization_error",
    known: fpsolve.Fluctuations | None = None,
) -> np.ndarray:
    """Return standard errors of a mean over runs at the times, by the adjoint equation.

    Of many times the equation is solved at some, unless `known` has it solved, and its variances
    are interpolated.
    """
    times = np.unique(np.atleast_1d(np.asarray(times, dtype=np.float64)))
    known = known or known_fluctuations(case, times)
    variance = np.interp(times, known.times, np.maximum(known.variance(name), 0.0))
    return np.asarray(np.sqrt(variance / (dimension * runs)))


def known_fluctuations(
    case: fpsolve.Problem, times: np.ndarray, among: Any = ()
) -> fpsolve.Fluctuations:
    """Return the solution of the adjoint equation at some of the times, and all of `among`."""
    chosen = np.unique(np.linspace(0, times.size - 1, _ADJOINT_TIMES).round().astype(int))
    return fpsolve.fluctuations(case, np.union1d(times[chosen], among), rtol=0.05)


def agreement(
    density: Any,
    particles: Any,
    *,
    curves: int = 1,
    power: bool = True,
    known: fpsolve.Fluctuations | None = None,
) -> dict[str, Any]:
    """Return the verdict of `compare` as the worst of its tests, each over its own limit.

    Parameters
    ----------
    density, particles
        Trajectories with common times.
    curves : int, default 1
        How many such verdicts one gate is the worst of.
    power : bool, default True
        Whether standard errors are those of the adjoint equation, and what would have been seen
        is asked; where a density freezes there is nothing to see.
    known : Fluctuations, optional
        What the adjoint equation says at the common times and others, where that was asked before.

    Returns
    -------
    dict
        "worst": largest |difference|/limit; "tests": their number; "tau", "ste", "exact",
        "error": common times, ε_g of both, and its standard error over the runs; "sees": the
        smallest relative error of each coefficient that one of the tests would have seen.
    """
    found = fpsolve.compare(density, particles, false_alarm_rate=FALSE_ALARM / curves)
    ratios = [abs(row.standard_errors) / row.limit for row in found.order_parameters]
    ratios += [
        d.value / d.limit
        for row in found.densities
        for d in (row.wasserstein, row.kolmogorov_smirnov, row.binned_l1)
    ]
    rows = [row for row in found.order_parameters if row.name == "generalization_error"]
    tau = [row.time for row in rows]
    runs, _, dimension = particles.weights.shape
    values = particles.order_parameters.generalization_error
    error, sees = mean_and_error(values)[1], {}
    if power:
        try:
            known = known or fpsolve.fluctuations(density.problem, tau, rtol=0.05)
            error = known_errors(density.problem, tau, dimension, runs, known=known)
            if _is_plain(density.problem):
                limit = max(r.limit for r in rows)
                sees = _sees(density.problem, tau, dimension * runs, known, limit)
        except fpsolve.ParameterError:  # A rule without an adjoint equation: the runs tell.
            pass
    return {
        "worst": max(ratios),
        "tests": len(ratios),
        "tau": tau,
        "ste": [row.particles for row in rows],
        "exact": [row.density for row in rows],
        "error": error,
        "sees": sees,
    }


def _is_plain(case: fpsolve.Problem) -> bool:
    """Whether training follows the paper's rule, whose three coefficients can be in error."""
    numbers = (case.learning_rate, case.ridge, case.noise_variance)
    braked = case.weight_decay or case.dampening or case.momentum or case.weight_clip
    rules = braked or case.surrogate is not None or np.ptp(case.teacher.input_scale) > 0
    return not rules and all(isinstance(number, int | float) for number in numbers)


def _sees(
    case: fpsolve.Problem, tau: Any, coordinates: int, known: fpsolve.Fluctuations, limit: float
) -> dict[str, float]:
    """Return the smallest relative error of each coefficient that one test sees, 95 in 100."""
    names = ("m_psi", "q_psi", "m", "q")
    at = np.searchsorted(known.times, np.asarray(tau) * (1 - 1e-9))
    noise = np.ravel([known.standard_error(name, coordinates)[at] for name in names])
    moves = noise > 0
    sure = limit + float(stats.norm.ppf(0.95))
    return {
        name: sure / float(np.max(np.abs(response(case, tau, name, names))[moves] / noise[moves]))
        for name in COEFFICIENTS
    }


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 1 else "more than 100 %"


def agreement_gate(label: str, found: dict[str, Any]) -> Gate:
    """Return the gate that the density explains the simulation."""
    sees = ", ".join(
        f"{_percent(value)} in {symbol}"
        for symbol, value in zip(("κ", "S + λ", "D"), found["sees"].values(), strict=False)
    )
    return Gate.at_most(
        f"{label}: STE against PDE, worst of {found['tests']} tests over its limit",
        found["worst"],
        1.0,
        f"densities and order parameters at τ = {', '.join(f'{t:g}' for t in found['tau'])}; "
        f"limits from sampling noise at a false-alarm rate of {FALSE_ALARM:g} over all tests of "
        f"the curve{'; sees an error of ' if sees else ''}{sees}",
        noise=1 / normal_limit(found["tests"]),
    )


def learning_curve(
    case: fpsolve.Problem,
    *,
    horizon: float,
    dimension: int,
    runs: int,
    seed: int,
    checks: Any,
    count: int = 14,
) -> dict[str, Any]:
    """Return ε_g(τ) of STE (mean, standard error over runs), PDE and closure, and the verdict.

    Parameters
    ----------
    case : Problem
        What is trained.
    horizon : float
        Last τ.
    dimension, runs, seed : int
        Of the simulation.
    checks : sequence of float
        Times at which densities and order parameters are compared.
    count : int, default 14
        Points of the simulation on either time axis.
    """
    seen = both_times(horizon, count, least=3e-3)
    ste = fpsolve.simulate_ste(
        case, checks, dimension=dimension, runs=runs, seed=seed, dense_times=seen
    )
    tau = np.union1d(both_times(horizon, 61), checks)
    pde = fpsolve.solve_pde(case, tau)
    closure = fpsolve.solve_ode(case, tau)
    known = known_fluctuations(case, ste.dense_times, pde.times[np.isin(pde.times, checks)])
    found = agreement(pde, ste, known=known)
    error = ste.dense_order_parameters.generalization_error
    return {
        "tau": tau,
        "pde": pde.order_parameters.generalization_error,
        "closure": closure.order_parameters.generalization_error,
        "closure_at_checks": np.interp(
            found["tau"], tau, closure.order_parameters.generalization_error
        ),
        "ste_tau": ste.dense_times,
        "ste": error.mean(axis=0),
        "ste_error": known_errors(case, ste.dense_times, dimension, runs, known=known),
        "agreement": found,
        "dimension": dimension,
        "runs": runs,
        "seed": seed,
    }


def draw_curves(axes: Any, curves: dict[str, dict[str, Any]], colors: Any, *, log: bool) -> None:
    """Draw the three descriptions of every curve on a linear or logarithmic time axis."""
    for (label, curve), color in zip(curves.items(), colors, strict=False):
        tau = np.asarray(curve["tau"])
        shown = tau > 0 if log else tau >= 0
        axes.plot(tau[shown], np.asarray(curve["pde"])[shown], "-", color=color, label=label)
        axes.plot(tau[shown], np.asarray(curve["closure"])[shown], ":", color=color)
        at = np.asarray(curve["ste_tau"])
        seen = at > 0 if log else np.isin(np.round(at, 9), np.round(_even(at), 9))
        points(
            axes,
            at[seen],
            np.asarray(curve["ste"])[seen],
            np.asarray(curve["ste_error"])[seen],
            color,
        )
    axes.set_xlabel(r"$\tau$")
    axes.set_ylabel(r"$\varepsilon_g$")
    if log:
        axes.set_xscale("log")


def draw_row(row: Any, curves: dict[str, dict[str, Any]]) -> None:
    """Draw curves on two axes, over linear and over logarithmic time."""
    for axes, log in zip(row, (False, True), strict=True):
        draw_curves(axes, curves, COLORS, log=log)


def draw_differences(
    axes: Any, curves: dict[str, dict[str, Any]], colors: Any, *, log: bool = True
) -> None:
    """Draw what STE and closure are off the PDE: the scale is that of the difference."""
    for curve, color in zip(curves.values(), colors, strict=False):
        tau, exact = np.asarray(curve["tau"]), np.asarray(curve["pde"])
        shown = tau > 0 if log else tau >= 0
        axes.plot(tau[shown], (np.asarray(curve["closure"]) - exact)[shown], ":", color=color)
        at = np.asarray(curve["ste_tau"])
        seen = at > 0
        off = np.asarray(curve["ste"]) - np.interp(at, tau, exact)
        points(axes, at[seen], off[seen], np.asarray(curve["ste_error"])[seen], color)
    axes.axhline(0, color=INK, lw=0.8)
    axes.set_xlabel(r"$\tau$")
    axes.set_ylabel(r"$\varepsilon_g$ less that of the PDE")
    if log:
        axes.set_xscale("log")


def draw_panel(curves: dict[str, dict[str, Any]], height: float = 3.2) -> Any:
    """Return a figure of curves on both time axes, and of what they are off the PDE."""
    figure, axes = grid_of_axes(1, 3, width=12, height=height)
    draw_row(axes[0, :2], curves)
    draw_differences(axes[0, 2], curves, COLORS)
    axes[0, 0].legend(loc="upper right")
    key(axes[0, 1], loc="lower left")
    return figure


def joined(panels: dict[str, dict[str, Any]], between: str = ": ") -> dict[str, Any]:
    """Return the curves of all panels under the names of panel and curve, without TeX's $."""
    return {
        f"{panel}{between}{label.strip('$')}": curve
        for panel, curves in panels.items()
        for label, curve in curves.items()
    }


def _even(at: np.ndarray) -> np.ndarray:
    """Return every time that keeps a distance from the one before, for a linear axis."""
    kept = [0.0]
    gap = at[-1] / 20
    for time in at[1:]:
        if time - kept[-1] >= gap:
            kept.append(float(time))
    return np.array(kept)


def closure_table(curves: dict[str, dict[str, Any]]) -> Table:
    """Return ε_g of STE, PDE and closure at the compared times, with their distances."""
    rows: list[list[object]] = []
    for label, curve in curves.items():
        found = curve["agreement"]
        for tau, ste, error, exact, closed in zip(
            found["tau"],
            found["ste"],
            found["error"],
            found["exact"],
            curve["closure_at_checks"],
            strict=True,
        ):
            away = [(ste - exact) / error, (ste - closed) / error] if error else ["–", "–"]
            rows.append([label, tau, ste, error, exact, away[0], closed, away[1]])
    columns = ["curve", "τ", "STE", "s.e.", "PDE", "(STE − PDE)/s.e.", "closure"]
    return Table("ε_g in three descriptions", [*columns, "(STE − closure)/s.e."], rows)


def late_average(
    case: fpsolve.Problem,
    window: tuple[float, float],
    *,
    dimension: int,
    runs: int,
    seed: int,
    name: str = "generalization_error",
) -> dict[str, Any]:
    """Return the time average of an order parameter of STE over a window, as d → ∞.

    Means over runs differ from their limit by O(1/d), which many runs make visible. Runs at d/2
    and d, extrapolated to 2X_d − X_{d/2}, are free of that term.

    Standard errors are those of the runs, since the adjoint equation would have to be solved over
    the whole horizon at many times of the window, at more than the simulation's cost. Of
    forty runs, Student's limit at 1e-6 is 12 % above the normal one of a known variance: that is
    all there is to gain. Runs are many and d is small, since noise is that of runs·d while the
    cost is that of runs·d².
    """
    times = np.linspace(*window, 101)
    means, errors = [], []
    for part, d in enumerate((dimension // 2, dimension)):
        found = fpsolve.simulate_ste(
            case, [window[1]], dimension=d, runs=runs, seed=seed + 10_000 * part, dense_times=times
        )
        values = getattr(found.dense_order_parameters, name)
        # τ = 0 may be recorded too; it is no part of the window.
        averages = values[:, found.dense_times >= window[0] - 0.5 / d].mean(axis=1)
        mean, error = mean_and_error(averages)
        means.append(float(mean))
        errors.append(float(error))
    shares = np.square([errors[0], 2 * errors[1]])
    return {
        "mean": 2 * means[1] - means[0],
        "error": float(np.sqrt(shares.sum())),
        # Welch–Satterthwaite.
        "degrees": float(shares.sum() ** 2 / np.square(shares).sum() * (runs - 1)),
        "runs": runs,
        "dimension": dimension,
        "seeds": [seed, seed + 10_000],
    }


def student_gate(name: str, found: dict[str, Any], truth: float, tests: int = 1) -> Gate:
    """Return the gate that a mean over independent runs has the given truth."""
    degrees = found.get("degrees", found["runs"] - 1)
    limit = student_limit(degrees, tests)
    wider = 100 * (limit / normal_limit(tests) - 1)
    return Gate.near(
        name,
        found["mean"],
        truth,
        limit * found["error"],
        f"truth {truth:.6g} ± {limit:.3g} standard errors of {found['error']:.2g} over the runs: "
        f"Student's t of {degrees:.3g} degrees of freedom at {FALSE_ALARM:g} over {tests} tests, "
        f"{wider:.2g} % wider than if the variance were known",
        noise=found["error"],
    )


def verdict_on(curves: dict[str, dict[str, Any]]) -> str:
    """Return in one sentence how STE stands to the PDE and to the closure on several curves."""
    tests = sum(curve["agreement"]["tests"] for curve in curves.values())
    worst = max(curve["agreement"]["worst"] for curve in curves.values())
    off = max(
        abs(ste - closed) / error
        for curve in curves.values()
        for ste, closed, error in zip(
            curve["agreement"]["ste"],
            curve["closure_at_checks"],
            curve["agreement"]["error"],
            strict=True,
        )
        if error > 0
    )
    return (
        f"no difference of STE and PDE in {tests} tests beyond sampling noise (the largest is "
        f"{100 * worst:.0f} % of what noise may do); the paper's ODE is up to {off:.0f} standard "
        "errors off STE"
    )


def extrapolated(
    case: fpsolve.Problem,
    times: Any,
    *,
    dimension: int,
    runs: int,
    seed: int,
    names: tuple[str, ...] = ("generalization_error",),
) -> dict[str, Any]:
    """Return means over runs of STE as d → ∞, 2X_d − X_{d/2}, and what theory says of them.

    Their covariance is that of the adjoint equation, not of the runs: it is known beforehand, so
    that the differences are normal, not Student's t.

    Returns
    -------
    dict
        "tau" (T,); "ste", "pde" (F, T); "covariance" (F·T, F·T); "error" (F, T), its root
        diagonal; "closure" (F, T).
    """
    times = np.atleast_1d(np.asarray(times, dtype=np.float64))
    means = []
    for part, d in enumerate((dimension // 2, dimension)):
        found = fpsolve.simulate_ste(
            case, times, dimension=d, runs=runs, seed=seed + 10_000 * part, dense_times=times
        ).order_parameters
        means.append([np.asarray(getattr(found, name)).mean(axis=0) for name in names])
    exact = fpsolve.solve_pde(case, times).order_parameters
    closed = fpsolve.solve_ode(case, times).order_parameters
    known = fpsolve.fluctuations(case, times)
    at = [known.names.index(name) for name in names]
    size = len(names) * times.size
    # Two dimensions, one minus and one twofold: 1/(d/2) + 4/d.
    covariance = known.covariance[:, at][:, :, :, at] * 6 / (dimension * runs)
    covariance = np.transpose(covariance, (1, 0, 3, 2)).reshape(size, size)
    return {
        "tau": times,
        "ste": 2 * np.array(means[1]) - np.array(means[0]),
        "pde": np.array([getattr(exact, name) for name in names]),
        "closure": np.array([getattr(closed, name) for name in names]),
        "covariance": covariance,
        "error": np.sqrt(np.diag(covariance)).reshape(len(names), times.size),
        "dimension": dimension,
        "runs": runs,
        "seeds": [seed, seed + 10_000],
    }


def normal_gate(name: str, found: dict[str, Any], tests: int = 1) -> Gate:
    """Return the gate that the worst of the extrapolated means lies where the density has it."""
    score = np.abs(np.subtract(found["ste"], found["pde"])) / np.asarray(found["error"])
    limit = normal_limit(score.size * tests)
    return Gate.at_most(
        f"{name}: STE off the PDE, standard errors",
        float(np.max(score)),
        limit,
        f"normal limit at {FALSE_ALARM:g} over {score.size * tests} values; standard errors by "
        "the adjoint equation",
        noise=1.0,
    )
