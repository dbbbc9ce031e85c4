"""Mutations: the theory broken on purpose, to see that the gates notice.

Each mutation reaches into the package while it lasts, and must turn at least one gate of a few
quick items red. The simulation knows nothing of κ, D or the drift, so it stays what it is; broken
itself, it must be noticed as well.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
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

__all__ = ["MUTATIONS", "WITNESSES", "check_mutations", "mutated"]

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


MUTATIONS: dict[str, Callable[[], Any]] = {
    "kappa-2-percent": _wrong_kappa,
    "diffusion-without-eta-squared": _missing_eta_squared,
    "input-quantizer-in-drift": _input_quantizer_in_drift,
    "drift-sign": _wrong_drift_sign,
    "closure-for-pde": _closure_for_pde,
    "simulation-pull-4-percent": _wrong_simulation,
}


def mutated(
    name: str, witnesses: tuple[str, ...] = WITNESSES, *, every: bool = False
) -> list[tuple[str, str]]:
    """Return the gates, as (item, gate), that a mutation turns red.

    Items stop at the first red one, unless `every` is asked. An item that cannot be computed any
    more counts as red under the name of its error.
    """
    red = []
    with MUTATIONS[name]():
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
