"""Mutations: the theory broken on purpose, to see that the gates notice.

Each mutation reaches into the package while it lasts, and must turn at least one gate of a few
quick items red. The simulation knows nothing of κ, D or the drift, so it stays what it is; broken
itself, it must be noticed as well.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np

import fpsolve
from fpsolve.problem import dynamics
from fpsolve.problem.dynamics import Dynamics
from fpsolve.problem.problem import Problem
from fpsolve.problem.quadratic import Quadratic
from validation.catalogue import work_out
from validation.items import errata
from validation.noticed import RECORD, gate_id

__all__ = ["COARSE", "MUTATIONS", "WITNESSES", "check_mutations", "mutated", "record_mutations"]

# Quick items that hold as they are and between them see every mutation.
WITNESSES = ("input_moments", "moment_identities", "theorem_v3", "pooled")


def _wrong_kappa() -> Any:
    """κ too large by 2 %."""
    true = dynamics._input_moments

    def moments(problem: Any) -> Any:
        kappa, sigma2 = true(problem)
        return 1.02 * kappa, sigma2

    return mock.patch.object(dynamics, "_input_moments", moments)


def _missing_eta_squared() -> Any:
    """D = S ε_g/(2B), as the last line of Lemma III.3 is printed."""
    true = Dynamics.coefficients

    def coefficients(self: Dynamics, tau: float, error: float, **options: Any) -> Any:
        per_error = 1 / (2 * self.problem.batch_size)
        found = true(self, tau, error, **options)
        return found._replace(diffusion=per_error * error, diffusion_error=per_error)

    return mock.patch.object(Dynamics, "coefficients", coefficients)


def _drift_of(change: Callable[..., Any]) -> Any:
    """Let `change(dynamics, coordinate, psi, shape, brake)` be the terms of the drift."""
    return mock.patch.object(Dynamics, "drift_terms", change)


def _input_quantizer_in_drift() -> Any:
    """ψ_x in place of ψ in the drift."""
    true = Dynamics.drift_terms

    def change(self: Dynamics, coordinate: Any, psi: Any, shape: Any, brake: Any) -> Any:
        if isinstance(psi, Quadratic):
            quantizer, middles = self.problem.input_quantizer, self._middles
            line = np.tile([0.0, 1.0], (middles.size, 1))
            if quantizer is not None:
                line = np.stack([quantizer(middles), np.zeros(middles.size)], axis=1)
            psi = Quadratic(line)
        return true(self, coordinate, psi, shape, brake)

    return _drift_of(change)


def _wrong_drift_sign() -> Any:
    """The drift the other way."""
    true = Dynamics.drift_terms

    def change(self: Dynamics, *arguments: Any) -> Any:
        return tuple(-1.0 * term for term in true(self, *arguments))

    return _drift_of(change)


def _closure_for_pde() -> Any:
    """Order parameters of the closure handed out as those of the density."""
    solve = fpsolve.solve_pde

    def solve_closed(problem: Problem, times: Any, **options: Any) -> Any:
        closed = fpsolve.solve_ode(problem, times)
        return replace(solve(problem, times, **options), order_parameters=closed.order_parameters)

    return mock.patch.object(fpsolve, "solve_pde", solve_closed)


def _wrong_simulation() -> Any:
    """STE that trains with S + λ too large by 4 %."""
    simulate = fpsolve.simulate_ste

    def simulate_wrongly(problem: Problem, times: Any, **options: Any) -> Any:
        ridge = problem.ridge + 0.04 * (problem.sigma2 + problem.ridge)
        return simulate(replace(problem, ridge=ridge), times, **options)

    return mock.patch.object(fpsolve, "simulate_ste", simulate_wrongly)


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
    ridge = problem.ridge + 0.5 * (float(problem.dynamics.sigma2.max()) + problem.ridge)
    return replace(problem, ridge=ridge, noise_variance=problem.noise_variance + 0.5)


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


def _density_for_closure() -> Any:
    """Order parameters of the density handed out as those of the macroscopic ODE."""

    def solve_exactly(problem: Problem, times: Any, **options: Any) -> Any:
        closed = ode(problem, times, **options)
        exact = fpsolve.solve_pde(problem, times).order_parameters
        return replace(closed, order_parameters=exact)

    ode = fpsolve.solve_ode
    return mock.patch.object(fpsolve, "solve_ode", solve_exactly)


def _drowned_simulation() -> Any:
    """STE whose order parameters are read through noise ten times their size."""
    simulate = fpsolve.simulate_ste

    def simulate_noisily(problem: Problem, times: Any, **options: Any) -> Any:
        found = simulate(problem, times, **options)
        rng = np.random.default_rng(1)
        fields = {}
        for part in ("order_parameters", "dense_order_parameters"):
            own = getattr(found, part)
            names = own.__dataclass_fields__
            noisy = {
                n: np.asarray(getattr(own, n)) * (1 + 10 * rng.standard_normal(1))
                * (1 + 10 * rng.standard_normal(np.shape(getattr(own, n))))
                for n in names
            }  # fmt: skip
            fields[part] = replace(own, **noisy)
        return replace(found, **fields)

    return mock.patch.object(fpsolve, "simulate_ste", simulate_noisily)


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


MUTATIONS: dict[str, Callable[[], Any]] = {
    "kappa-2-percent": _wrong_kappa,
    "diffusion-without-eta-squared": _missing_eta_squared,
    "input-quantizer-in-drift": _input_quantizer_in_drift,
    "drift-sign": _wrong_drift_sign,
    "closure-for-pde": _closure_for_pde,
    "simulation-pull-4-percent": _wrong_simulation,
}
# Coarse errors, for the record of which gate can turn red at all.
COARSE: dict[str, Callable[[], Any]] = {
    "simulation-of-another-problem": _simulation_of_another,
    "density-of-another-problem": _density_of_another,
    "closure-of-another-problem": _closure_of_another,
    "statics-of-another-problem": _statics_of_another,
    "input-moments-30-percent": _wrong_input_moments,
    "density-for-closure": _density_for_closure,
    "density-coarse": _coarse_density,
    "variances-large": _large_variances,
    "variances-small": _small_variances,
    "simulation-drowned": _drowned_simulation,
    "paper-right": _paper_right,
}


def mutated(
    name: str, witnesses: tuple[str, ...] = WITNESSES, *, every: bool = False
) -> list[tuple[str, str]]:
    """Return the gates, as (item, gate), that a mutation turns red.

    Items stop at the first red one, unless `every` is asked. An item that cannot be computed any
    more counts as red under the name of its error.
    """
    red = []
    with {**MUTATIONS, **COARSE}[name]():
        for witness in witnesses:
            result = work_out(witness, True, variant=name, draw=False)
            red += [(witness, gate.name) for gate in result.gates if not gate.holds]
            if result.error:
                red.append((witness, result.error.strip().splitlines()[-1]))
            if red and not every:
                break
    return red


def check_mutations() -> int:
    """Print what every mutation turns red; return 0 if each turns something."""
    missed = 0
    for witness in WITNESSES:
        result = work_out(witness, True, draw=False)
        if not result.holds:
            print(f"{witness} does not hold as it is")
            return 1
    for name, mutation in MUTATIONS.items():
        red = mutated(name, every=True)
        missed += not red
        print(f"{'noticed' if red else 'MISSED '}  {name}: {inspect.getdoc(mutation)}")
        for item, gate in red:
            print(f"         {item}: {gate}")
    return 1 if missed else 0


def record_mutations(items: tuple[str, ...]) -> int:
    """Write which mutation turns which gate of the items red; return 0 if each is turned by one.

    An item is broken in one way after the other until all its gates have been red; the record
    keeps what it has of other items.
    """
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    left = 0
    for item in items:
        whole = work_out(item, True, draw=False)
        if whole.skipped:
            print(f"{item}: skipped, {whole.skipped}")
            continue
        if not whole.holds:
            print(f"{item} does not hold as it is")
            left += 1
            continue
        found: dict[str, list[str]] = {gate_id(gate.name): [] for gate in whole.gates}
        for name in (*COARSE, *MUTATIONS):
            if all(found.values()):
                break
            if name == "paper-right" and item != "errata":
                continue
            for _, gate in mutated(name, (item,), every=True):
                if gate_id(gate) in found:
                    found[gate_id(gate)].append(name)
        record[item] = found
        RECORD.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", "utf-8")
        never = [gate for gate, names in found.items() if not names]
        left += len(never)
        print(f"{item}: {len(found) - len(never)} of {len(found)} gates turned red", flush=True)
        for gate in never:
            print(f"         never: {gate}", flush=True)
    return 1 if left else 0
