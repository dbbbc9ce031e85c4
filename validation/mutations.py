"""Mutations: the theory broken on purpose, to see that the gates notice.

Each mutation reaches into the package while it lasts, and must turn at least one gate of a few
quick items red. The simulation knows nothing of κ, D or the drift, so it stays what it is; broken
itself, it must be noticed as well.
"""

from __future__ import annotations

import inspect
import json
import pickle
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np

import fpsolve
from fpsolve.problem import dynamics
from fpsolve.problem.dynamics import Dynamics
from fpsolve.problem.problem import Problem
from fpsolve.problem.quadratic import Quadratic
from validation.catalogue import load_item, work_out
from validation.coarse import COARSE, CONCERNS
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
        if not isinstance(problem.ridge, int | float):
            return simulate(problem, times, **options)
        ridge = problem.ridge + 0.04 * (float(problem.dynamics.sigma2.max()) + problem.ridge)
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


class _Kept:
    """Results of a function of the package, kept while nothing else is broken."""

    def __init__(self, name: str) -> None:
        self.true, self.known = getattr(fpsolve, name), {}

    def __call__(self, problem: Problem, *rest: Any, **options: Any) -> Any:
        fields = {f: getattr(problem, f) for f in problem.__dataclass_fields__}
        key = pickle.dumps(
            (fields, [np.asarray(r).tolist() for r in rest], sorted(options.items()))
        )
        if key not in self.known:
            self.known[key] = self.true(problem, *rest, **options)
        return self.known[key]


# What takes long and knows nothing of a change elsewhere; then what the theory's mutations change.
_SIMULATIONS = ("simulate_ste", "simulate_sde")
_SOLVES = ("solve_pde", "fluctuations")


@contextmanager
def _keeping(names: tuple[str, ...], store: dict[str, _Kept]) -> Iterator[None]:
    """Let functions of the package answer from `store` what they have been asked before."""
    with ExitStack() as stack:
        for name in names:
            kept = store.setdefault(name, _Kept(name))
            stack.enter_context(mock.patch.object(fpsolve, name, kept))
        yield


# Mutations that leave what functions of the package do to their arguments as it is.
_OUTSIDE = {
    *("simulation-of-another-problem", "density-of-another-problem", "closure-of-another-problem"),
    *("statics-of-another-problem", "density-for-closure", "density-coarse", "simulation-drowned"),
    *("variances-large", "variances-small", "simulation-pull-4-percent", "closure-for-pde"),
    *("density-noisy", "runs-unlike", "surrogate-ignored", "inputs-unquantized"),
    *("initial-law-ignored", "schedule-ignored"),
}


def record_mutations(items: tuple[str, ...], errors: tuple[str, ...] = ()) -> int:
    """Write which error turns which gate of the items red; return 0 if each is turned by one.

    An item is broken in one way after the other until all its gates have been red. With `errors`
    these alone are made, and the record keeps what it has of others.
    """
    return 1 if sum(_record_item(item, errors) for item in items) else 0


def _record_item(item: str, errors: tuple[str, ...]) -> int:
    """Record one item; return how many of its gates have never been red."""
    store: dict[str, _Kept] = {}
    with _keeping((*_SIMULATIONS, *_SOLVES), store):
        whole = work_out(item, True, draw=False)
    if whole.skipped:
        print(f"{item}: skipped, {whole.skipped}")
        return 0
    if not whole.holds:
        print(f"{item} does not hold as it is {whole.error}")
        return 1
    source = inspect.getsource(load_item(item))
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    known = record.get(item, {}) if errors else {}
    found = {g: known.get(g, []) for g in (gate_id(gate.name) for gate in whole.gates)}
    for name in errors or (*COARSE, *MUTATIONS):
        if not errors and all(found.values()):
            break
        # What an item's script does not name cannot change it.
        if not all(word in source for word in CONCERNS.get(name, ())):
            continue
        with _keeping(_SIMULATIONS + (_SOLVES if name in _OUTSIDE else ()), store):
            red = mutated(name, (item,), every=True)
        for gate in {gate_id(g) for _, g in red} & set(found):
            found[gate] = [*(other for other in found[gate] if other != name), name]
    RECORD.write_text(
        json.dumps({**record, item: found}, indent=1, ensure_ascii=False) + "\n", "utf-8"
    )
    never = [gate for gate, names in found.items() if not names]
    print(f"{item}: of {len(found)} gates {len(found) - len(never)} turned red", flush=True)
    for gate in never:
        print(f"         never: {gate}", flush=True)
    return len(never)
