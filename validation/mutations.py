"""Mutations: the theory broken on purpose, to see that the gates notice.

Each mutation reaches into the package while it lasts, and must turn at least one gate of a few
quick items red. The simulation knows nothing of κ, D or the drift, so it stays what it is.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import fpsolve
from fpsolve.density import spectral_volume
from fpsolve.problem.problem import Problem
from validation.catalogue import work_out

__all__ = ["MUTATIONS", "WITNESSES", "check_mutations", "mutated"]

# Quick items that hold as they are and between them see every mutation.
WITNESSES = ("fig1",)


def _wrong_kappa() -> Any:
    """κ too large by 2 %."""
    true = Problem.kappa.fget  # type: ignore[attr-defined]
    return mock.patch.object(Problem, "kappa", property(lambda self: 1.02 * true(self)))


def _missing_eta_squared() -> Any:
    """D = S ε_g/(2B), as the last line of Lemma III.3 is printed."""

    def diffusivity(self: Problem, error: Any) -> Any:
        return self.sigma2 / (2 * self.batch_size) * error

    return mock.patch.object(Problem, "diffusivity", diffusivity)


def _drift_of(change: Callable[..., Any]) -> Any:
    """Replace the drift that the solver puts on its mesh by `change(arguments)`."""
    weigh = spectral_volume.weigh
    names = inspect.signature(weigh.py_func)

    def weighed(*arguments: Any) -> None:
        given = names.bind(*arguments).arguments
        weigh(*arguments)
        change(given)

    return mock.patch.object(spectral_volume, "weigh", weighed)


def _input_quantizer_in_drift() -> Any:
    """ψ_x in place of ψ in the drift."""
    owner: list[Problem] = []
    init = spectral_volume.SpectralVolumes.__init__

    def remember(self: Any, problem: Problem, **options: Any) -> None:
        owner[:] = [problem]
        init(self, problem, **options)

    def change(given: dict[str, Any]) -> None:
        quantizer = owner[0].input_quantizer
        psi_x = given["x"] if quantizer is None else quantizer(given["x"])
        given["drift"] -= given["learning_rate"] * given["pull"] * (psi_x - given["psi"])

    @contextmanager
    def both() -> Iterator[None]:
        remembering = mock.patch.object(spectral_volume.SpectralVolumes, "__init__", remember)
        with remembering, _drift_of(change):
            yield

    return both()


def _wrong_drift_sign() -> Any:
    """The drift the other way."""

    def change(given: dict[str, Any]) -> None:
        speed = given["speed"]
        first = given["first"]
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


MUTATIONS: dict[str, Callable[[], Any]] = {
    "kappa-2-percent": _wrong_kappa,
    "diffusion-without-eta-squared": _missing_eta_squared,
    "input-quantizer-in-drift": _input_quantizer_in_drift,
    "drift-sign": _wrong_drift_sign,
    "closure-for-pde": _closure_for_pde,
}


def mutated(name: str, witnesses: tuple[str, ...] = WITNESSES) -> list[tuple[str, str]]:
    """Return the gates, as (item, gate), that a mutation turns red; items stop at the first red.

    An item that cannot be computed any more counts as red under the name of its error.
    """
    red = []
    with MUTATIONS[name]():
        for witness in witnesses:
            result = work_out(witness, True, variant=name, draw=False)
            red += [(witness, gate.name) for gate in result.gates if not gate.holds]
            if result.error:
                red.append((witness, result.error.strip().splitlines()[-1]))
            if red:
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
        red = mutated(name)
        missed += not red
        print(f"{'noticed' if red else 'MISSED '}  {name}: {inspect.getdoc(mutation)}")
        for item, gate in red:
            print(f"         {item}: {gate}")
    return 1 if missed else 0
