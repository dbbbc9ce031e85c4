"""Mutations: the theory broken on purpose, to see that the gates notice.

Each mutation reaches into the package while it lasts, and must turn at least one gate of a few
quick items red. The simulation knows nothing of κ, D or the drift, so it stays what it is; broken
itself, it must be noticed as well.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import fpsolve
from fpsolve.density import regrid
from fpsolve.problem.problem import Problem
from validation.catalogue import work_out

__all__ = ["MUTATIONS", "WITNESSES", "check_mutations", "mutated"]

# Quick items that hold as they are and between them see every mutation.
WITNESSES = ("input_moments", "moment_identities", "theorem_v3", "pooled")


def _wrong_kappa() -> Any:
    """κ too large by 2 %."""
    true = Problem.kappa.fget  # type: ignore[attr-defined]
    return mock.patch.object(Problem, "kappa", property(lambda self: 1.02 * true(self)))


def _missing_eta_squared() -> Any:
    """D = S ε_g/(2B), as the last line of Lemma III.3 is printed."""

    def diffusivity(self: Problem, error: Any) -> Any:
        return self.sigma2 / (2 * self.batch_size) * error

    return mock.patch.object(Problem, "diffusivity", diffusivity)


@contextmanager
def _drift_of(change: Callable[[Problem, dict[str, Any]], None]) -> Iterator[None]:
    """Let `change(problem, arguments)` rewrite the drift that the solver has put on its mesh."""
    solve, weigh = fpsolve.solve_pde, regrid.weigh
    signature = inspect.signature(weigh.py_func)
    solved: list[Problem] = []

    def solve_and_tell(problem: Problem, *arguments: Any, **options: Any) -> Any:
        solved[:] = [problem]
        return solve(problem, *arguments, **options)

    def weigh_and_change(*arguments: Any) -> None:
        weigh(*arguments)
        change(solved[0], signature.bind(*arguments).arguments)

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(fpsolve, "solve_pde", solve_and_tell))
        for module in list(sys.modules.values()):
            if getattr(module, "__name__", "").startswith("fpsolve.density") and hasattr(
                module, "weigh"
            ):
                stack.enter_context(mock.patch.object(module, "weigh", weigh_and_change))
        yield


def _input_quantizer_in_drift() -> Any:
    """ψ_x in place of ψ in the drift."""

    def change(problem: Problem, given: dict[str, Any]) -> None:
        quantizer = problem.input_quantizer
        psi_x = given["x"] if quantizer is None else quantizer(given["x"])
        given["drift"] -= given["learning_rate"] * given["pull"] * (psi_x - given["psi"])

    return _drift_of(change)


def _wrong_drift_sign() -> Any:
    """The drift the other way."""

    def change(problem: Problem, given: dict[str, Any]) -> None:
        del problem
        speed, first = given["speed"], given["first"]
        for k in range(speed.size):
            part = given["drift"][:, first[k] : first[k + 1]]
            part[:] = -(part + speed[k]) - speed[k]

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
