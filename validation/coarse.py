"""Coarse errors of theory, solver, simulation and statistics: can a gate turn red at all?"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np

import fpsolve
from fpsolve.macro.stationary_state import StationaryState
from fpsolve.problem import dynamics
from fpsolve.problem.dynamics import Dynamics
from fpsolve.problem.problem import Problem
from validation.items import (
    errata,
    layer_ptq,
    one_step_moments,
    propagation_of_chaos,
    theorem_iv3,
)

__all__ = ["COARSE", "CONCERNS"]


def _asked_of_another(*names: str) -> Any:
    """Let functions of the package answer for more ridge and more label noise than they are asked.

    Problems stay what they are for everything else.
    """
    stack = ExitStack()
    for name in names:
        true = getattr(fpsolve, name)

        def wrong(problem: Problem, *rest: Any, _true: Any = true, **options: Any) -> Any:
            other = _other(problem)
            found = _true(other, *rest, **options)
            if hasattr(found, "problem") and not isinstance(found.problem, Problem):
                return found
            return replace(found, problem=problem) if _is_trajectory(found) else found

        stack.enter_context(mock.patch.object(fpsolve, name, wrong))
    return stack


def _other(problem: Problem) -> Problem:
    """Return a problem with half as much pull again and more label noise, schedules kept."""
    changes = {}
    if isinstance(problem.ridge, int | float):
        pull = float(problem.dynamics.sigma2.max()) + problem.ridge
        changes["ridge"] = problem.ridge + 0.5 * pull
    if isinstance(problem.noise_variance, int | float):
        changes["noise_variance"] = problem.noise_variance + 0.5
    return replace(problem, **changes)


def _is_trajectory(found: Any) -> bool:
    return hasattr(found, "order_parameters") and hasattr(found, "times")


def _simulation_of_another() -> Any:
    """STE and SDE with half as much pull again, and more label noise."""
    return _asked_of_another("simulate_ste", "simulate_sde")


def _density_of_another() -> Any:
    """The density solved with half as much pull again, and more label noise."""
    return _asked_of_another("solve_pde")


def _closure_of_another() -> Any:
    """The macroscopic ODE integrated with half as much pull again, and more label noise."""
    return _asked_of_another("solve_ode")


def _statics_of_another() -> Any:
    """Stationary states, fixed points, limits and ranges of a problem with more pull and noise."""
    return _asked_of_another(
        *("stationary_states", "isotropic_fixed_points", "small_rate_limit", "stability_boundary"),
        *("range_curve", "optimal_range"),
    )


def _weights_of_four_bits() -> Any:
    """The density of unquantized weights solved as if they had four bits."""
    solve = fpsolve.solve_pde
    four = fpsolve.UniformQuantizer(4, 1.5)

    def solve_quantized(problem: Problem, times: Any, **options: Any) -> Any:
        if problem.weight_quantizer is not None:
            return solve(problem, times, **options)
        found = solve(replace(problem, weight_quantizer=four), times, **options)
        return replace(found, problem=problem)

    return mock.patch.object(fpsolve, "solve_pde", solve_quantized)


def _density_for_closure() -> Any:
    """Order parameters of the density handed out as those of the macroscopic ODE."""

    def solve_exactly(problem: Problem, times: Any, **options: Any) -> Any:
        closed = ode(problem, times, **options)
        exact = fpsolve.solve_pde(problem, times).order_parameters
        return replace(closed, order_parameters=exact)

    ode = fpsolve.solve_ode
    return mock.patch.object(fpsolve, "solve_ode", solve_exactly)


def _drowned_simulation() -> Any:
    """STE and SDE whose order parameters are read through noise ten times their size."""
    stack = ExitStack()
    for name in ("simulate_ste", "simulate_sde"):
        true = getattr(fpsolve, name)

        def noisy(problem: Problem, times: Any, _true: Any = true, **options: Any) -> Any:
            found = _true(problem, times, **options)
            rng = np.random.default_rng(1)
            parts = {}
            for part in ("order_parameters", "dense_order_parameters"):
                own = getattr(found, part)
                values = {n: np.asarray(getattr(own, n)) for n in own.__dataclass_fields__}
                drowned = {
                    n: v * (1 + 10 * rng.standard_normal(v.shape)) for n, v in values.items()
                }
                parts[part] = replace(own, **drowned)
            return replace(found, **parts)

        stack.enter_context(mock.patch.object(fpsolve, name, noisy))
    return stack


def _changed(name: str, change: Callable[[Problem, Any], Any]) -> Any:
    """Let a function of the package return `change(problem, found)`."""
    true = getattr(fpsolve, name)

    def wrong(problem: Problem, *rest: Any, **options: Any) -> Any:
        return change(problem, true(problem, *rest, **options))

    return mock.patch.object(fpsolve, name, wrong)


def _constant_boundary() -> Any:
    """The stability boundary of all problems is 2."""
    return _changed("stability_boundary", lambda *_: 2.0)


def _wrong_fixed_points() -> Any:
    """Fixed points of the closure where there are none, unstable, too wide at small rates."""
    true = fpsolve.isotropic_fixed_points

    def wrong(problem: Problem, found: Any) -> Any:
        found = found or true(replace(problem, learning_rate=1e-3))
        stretch = float(problem.dynamics.rate()[0]) ** -0.05
        return tuple(
            replace(
                f,
                order_parameters=replace(f.order_parameters, s=stretch * f.s, q=stretch * f.q),
                eigenvalues=-f.eigenvalues,
            )
            for f in found
        )

    return _changed("isotropic_fixed_points", wrong)


def _wrong_minimum() -> Any:
    """Minima that depend on how many times there are, and save nothing."""
    true = fpsolve.find_minimum

    def wrong(times: Any, values: Any, **options: Any) -> Any:
        found = true(times, values, **options)
        value = found.value + 1e-3 * len(times)
        return replace(found, value=value, final=value)

    return mock.patch.object(fpsolve, "find_minimum", wrong)


def _wrong_range() -> Any:
    """Best ranges of 15, the errors there growing with the bits."""

    def wrong(problem: Problem, found: Any) -> Any:
        bits = problem.weight_quantizer.bit_width  # type: ignore[union-attr]
        return replace(found, omega=15.0, generalization_error=0.05 * bits)

    return _changed("optimal_range", wrong)


def _wrong_closure_error() -> Any:
    """Differences of density and closure a thousandth larger than they are."""

    def wrong(_: Problem, found: Any) -> Any:
        return replace(found, stats={**found.stats, "largest": found.stats["largest"] + 1e-3})

    return _changed("closure_error", wrong)


def _wrong_stationary_density() -> Any:
    """Stationary densities with 5 % too much mass."""
    true = StationaryState.density

    def density(self: Any, *arguments: Any) -> Any:
        return 1.05 * true(self, *arguments)

    return mock.patch.object(StationaryState, "density", density)


def _fresh_samples() -> Any:
    """A calibration set that is never used twice."""
    true = layer_ptq.train

    def train(weights: Any, omega: float, steps: int, samples: Any, seed: int) -> Any:
        del samples
        return true(weights, omega, steps, None, seed)

    return mock.patch.object(layer_ptq, "train", train)


def _coarse_density() -> Any:
    """The density solved to a tolerance ten thousand times coarser than is asked for."""
    solve = fpsolve.solve_pde

    def solve_coarsely(problem: Problem, times: Any, **options: Any) -> Any:
        rtol = min(1e4 * options.pop("rtol", 1e-6), 1e-2)
        return solve(problem, times, rtol=rtol, **options)

    return mock.patch.object(fpsolve, "solve_pde", solve_coarsely)


def _variances_scaled(factor: float) -> Any:
    true = fpsolve.fluctuations

    def wrong(problem: Problem, times: Any, **options: Any) -> Any:
        found = true(problem, times, **options)
        return replace(found, covariance=factor * found.covariance)

    return mock.patch.object(fpsolve, "fluctuations", wrong)


def _large_variances() -> Any:
    """Variances over runs said to be a thousand times what they are."""
    return _variances_scaled(1000.0)


def _small_variances() -> Any:
    """Variances over runs said to be a hundredth of what they are."""
    return _variances_scaled(0.01)


def _paper_right() -> Any:
    """Errata: what decides sides with the form that the paper prints."""
    true = errata.row

    def row(where: str, paper: str, correct: str, values: Any, *rest: Any) -> Any:
        said, right, _ = values
        return true(where, paper, correct, (said, right, said), *rest)

    return mock.patch.object(errata, "row", row)


def _wrong_input_moments() -> Any:
    """κ and S of input quantizers too large by 30 %, wherever they are read."""
    true = dynamics._input_moments

    def moments(problem: Any) -> Any:
        kappa, sigma2 = true(problem)
        return 1.3 * kappa, 1.3 * sigma2

    return mock.patch.object(dynamics, "_input_moments", moments)


# Coarse errors, for the record of which gate can turn red at all.
def _noisy_density() -> Any:
    """Order parameters of the density with noise of 3 % of their size, as of a rough solver."""
    true = fpsolve.solve_pde
    rng = np.random.default_rng(1)

    def noisy(problem: Problem, times: Any, **options: Any) -> Any:
        found = true(problem, times, **options)
        own = found.order_parameters
        values = {n: np.asarray(getattr(own, n)) for n in own.__dataclass_fields__}
        rough = {n: v * (1 + 0.03 * rng.standard_normal(v.shape)) for n, v in values.items()}
        return replace(found, order_parameters=replace(own, **rough))

    return mock.patch.object(fpsolve, "solve_pde", noisy)


def _strong_diffusion() -> Any:
    """D too large by 10 % in density and stationary states."""
    true = Dynamics.coefficients

    def coefficients(self: Dynamics, tau: float, error: float, **options: Any) -> Any:
        found = true(self, tau, error, **options)
        return found._replace(
            diffusion=1.1 * found.diffusion, diffusion_error=1.1 * found.diffusion_error
        )

    return mock.patch.object(Dynamics, "coefficients", coefficients)


def _strong_drift() -> Any:
    """The drift too fast by 10 %."""
    true = Dynamics.drift_terms

    def terms(self: Dynamics, *arguments: Any) -> Any:
        return tuple(1.1 * term for term in true(self, *arguments))

    return mock.patch.object(Dynamics, "drift_terms", terms)


def _steps_of_another_size() -> Any:
    """Steps that fall as d^−0.4, not d^−½, with the dimension."""
    true = one_step_moments.step

    def step(case: Any, residual: Any, psi_x: Any, psi: Any) -> Any:
        return true(case, residual, psi_x, psi) * psi.size**0.1

    return mock.patch.object(one_step_moments, "step", step)


def _distances_squared() -> Any:
    """The square of the Wasserstein distance taken for itself."""
    true = theorem_iv3.wasserstein
    stack = ExitStack()
    for module in (theorem_iv3, propagation_of_chaos):
        stack.enter_context(
            mock.patch.object(module, "wasserstein", lambda *given: true(*given) ** 2)
        )
    return stack


def _runs_unlike() -> Any:
    """Every other run of SDE and STE trains at twice the rate."""
    stack = ExitStack()
    for name in ("simulate_ste", "simulate_sde"):
        true = getattr(fpsolve, name)

        def unlike(problem: Problem, times: Any, _true: Any = true, **options: Any) -> Any:
            found = _true(problem, times, **options)
            if not isinstance(problem.learning_rate, int | float):
                return found
            other = _true(
                replace(problem, learning_rate=2 * problem.learning_rate), times, **options
            )
            parts = {}
            for part in ("order_parameters", "dense_order_parameters"):
                one, two = getattr(found, part), getattr(other, part)
                mixed = {n: np.array(getattr(one, n)) for n in one.__dataclass_fields__}
                for n, values in mixed.items():
                    values[::2] = getattr(two, n)[::2]
                parts[part] = replace(one, **mixed)
            return replace(found, **parts)

        stack.enter_context(mock.patch.object(fpsolve, name, unlike))
    return stack


def _simulation_of(change: Callable[[Problem], Problem]) -> Any:
    """STE that trains a problem changed in one thing."""
    true = fpsolve.simulate_ste

    def simulate(problem: Problem, times: Any, **options: Any) -> Any:
        return replace(true(change(problem), times, **options), problem=problem)

    return mock.patch.object(fpsolve, "simulate_ste", simulate)


def _surrogate_ignored() -> Any:
    """STE that lets gradients pass everywhere, whatever the surrogate."""
    return _simulation_of(lambda problem: replace(problem, surrogate=None))


def _inputs_unquantized() -> Any:
    """STE that is given its inputs in full precision."""
    return _simulation_of(lambda problem: replace(problem, input_quantizer=None))


def _initial_law_ignored() -> Any:
    """STE that begins with weights of variance 1, whatever the initial law."""
    return _simulation_of(lambda problem: replace(problem, initial=fpsolve.GaussianInitial()))


def _schedule_ignored() -> Any:
    """The density solved at the first rate of a schedule for all times."""
    true = fpsolve.solve_pde

    def solve(problem: Problem, times: Any, **options: Any) -> Any:
        rate = problem.learning_rate
        first = rate if isinstance(rate, int | float) else rate(0.0)
        return replace(
            true(replace(problem, learning_rate=first), times, **options), problem=problem
        )

    return mock.patch.object(fpsolve, "solve_pde", solve)


def _few_classes() -> Any:
    """Power-law teachers of a quarter of the classes that are asked for."""
    true = fpsolve.Teacher.power_law

    def power_law(beta: float, gamma: float, classes: int) -> Any:
        return true(beta, gamma, max(classes // 4, 2))

    return mock.patch.object(fpsolve.Teacher, "power_law", power_law)


COARSE: dict[str, Callable[[], Any]] = {
    "density-of-another-problem": _density_of_another,
    "closure-of-another-problem": _closure_of_another,
    "statics-of-another-problem": _statics_of_another,
    "input-moments-30-percent": _wrong_input_moments,
    "density-for-closure": _density_for_closure,
    "density-coarse": _coarse_density,
    "simulation-drowned": _drowned_simulation,
    "variances-large": _large_variances,
    "variances-small": _small_variances,
    "paper-right": _paper_right,
    "boundary-constant": _constant_boundary,
    "fixed-points-wrong": _wrong_fixed_points,
    "minimum-wrong": _wrong_minimum,
    "best-range-wrong": _wrong_range,
    "closure-error-wrong": _wrong_closure_error,
    "unquantized-as-four-bits": _weights_of_four_bits,
    "stationary-mass-5-percent": _wrong_stationary_density,
    "samples-always-fresh": _fresh_samples,
    "simulation-of-another-problem": _simulation_of_another,
    "density-noisy": _noisy_density,
    "diffusion-10-percent": _strong_diffusion,
    "drift-10-percent": _strong_drift,
    "steps-of-another-size": _steps_of_another_size,
    "distances-squared": _distances_squared,
    "runs-unlike": _runs_unlike,
    "surrogate-ignored": _surrogate_ignored,
    "inputs-unquantized": _inputs_unquantized,
    "initial-law-ignored": _initial_law_ignored,
    "schedule-ignored": _schedule_ignored,
    "classes-few": _few_classes,
}


# Words that the script of an item must hold for a coarse error to concern it.
CONCERNS = {
    "paper-right": ("proof_numbers",),
    "boundary-constant": ("stability_boundary",),
    "fixed-points-wrong": ("isotropic_fixed_points",),
    "minimum-wrong": ("find_minimum",),
    "best-range-wrong": ("optimal_range",),
    "closure-error-wrong": ("closure_error",),
    "unquantized-as-four-bits": ("isotropy",),
    "stationary-mass-5-percent": (".density(",),
    "samples-always-fresh": ("silero",),
    "steps-of-another-size": ("def step(",),
    "distances-squared": ("wasserstein",),
    "surrogate-ignored": ("Surrogate(",),
    "inputs-unquantized": ("bits_x",),
    "initial-law-ignored": ("GaussianInitial",),
    "schedule-ignored": ("Schedule",),
    "classes-few": ("power_law",),
}
