"""Mutations: the theory broken on purpose, to see that the gates notice.

Each mutation reaches into the package while it lasts, and must turn at least one gate of a few
quick items red. The simulation knows nothing of κ, D or the drift, so it stays what it is; broken
itself, it must be noticed as well.
"""

from __future__ import annotations

import inspect
import json
import pickle
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import product
from typing import Any
from unittest import mock

import numpy as np

import fpsolve
from fpsolve.macro.stationary_state import StationaryState
from fpsolve.problem import dynamics
from fpsolve.problem.dynamics import Dynamics
from fpsolve.problem.problem import Problem
from fpsolve.problem.quadratic import Quadratic
from validation.catalogue import Result, load_item, work_out
from validation.items import errata, layer_ptq
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
        return tuple(replace(f, s=stretch * f.s, eigenvalues=-f.eigenvalues) for f in found)

    return _changed("isotropic_fixed_points", wrong)


def _wrong_minimum() -> Any:
    """Minima that depend on how many times there are, and save nothing."""
    true = fpsolve.find_minimum

    def wrong(times: Any, values: Any, **options: Any) -> Any:
        found = true(times, values, **options)
        return replace(found, value=found.value + 1e-3 * len(times), gain=0.0)

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


# By how much numbers of an item are altered, from little to much.
AMOUNTS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


def _altered(data: Any, key: str, change: Callable[[float], float]) -> Any:
    """Return data of an item with every number under `key` changed."""
    if isinstance(data, dict):
        return {
            k: _changed_numbers(v, change) if k == key else _altered(v, key, change)
            for k, v in data.items()
        }
    if isinstance(data, list):
        return [_altered(v, key, change) for v in data]
    return data


def _changed_numbers(value: Any, change: Callable[[float], float]) -> Any:
    if isinstance(value, dict):
        return {k: _changed_numbers(v, change) for k, v in value.items()}
    if isinstance(value, list):
        return [_changed_numbers(v, change) for v in value]
    if isinstance(value, float):
        return change(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return max(round(change(float(value))), 0)
    return value


def _keys(data: Any) -> set[str]:
    """Return the names under which an item's data holds numbers, alone or in lists."""
    found = set()
    if isinstance(data, dict):
        for key, value in data.items():
            found |= ({key} if _is_numbers(value) else set()) | _keys(value)
    elif isinstance(data, list):
        for value in data:
            found |= _keys(value)
    return found


def _is_numbers(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(_is_numbers(v) for v in value)
    return isinstance(value, int | float) and not isinstance(value, bool)


def altered(item: str, data: dict[str, Any]) -> dict[str, list[str]]:
    """Return for each gate of an item the numbers that turn it red when off by the least amount.

    Every number of one name is made larger or smaller by that share of itself, and of 1 where it is
    0; a tenfold error is the largest. That shows how far off what was measured may be before the
    gate fails, not that an error of the package would put it there.
    """
    gates = load_item(item).gates
    found: dict[str, list[str]] = {gate_id(gate.name): [] for gate in gates(data)}
    keys = sorted(_keys(data))
    for amount in AMOUNTS:
        waiting = {gate for gate, names in found.items() if not names}
        for key, sign in product(keys if waiting else (), (1, -1)):
            share = sign * amount

            def change(x: float, share: float = share) -> float:
                return x * (1 + share) if x else share

            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    after = gates(_altered(data, key, change))
                except (ArithmeticError, ValueError, LookupError, TypeError):
                    continue  # Sizes and labels were altered: nothing is judged.
            told = f"{key} off by {100 * amount:g} %"
            for gate in after:
                name = gate_id(gate.name)
                if name in waiting and not gate.holds and told not in found[name]:
                    found[name].append(told)
    return {name: told[:3] for name, told in found.items()}


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
}


def record_mutations(items: tuple[str, ...]) -> int:
    """Write which mutation turns which gate of the items red; return 0 if each is turned by one.

    An item is broken in one way after the other until all its gates have been red; where an error
    has not turned a gate red its own numbers are altered. The record keeps what it has of others.
    """
    left = 0
    for item in items:
        left += _record_item(item)
    return 1 if left else 0


def _record_item(item: str) -> int:
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
    found: dict[str, list[str]] = {gate_id(gate.name): [] for gate in whole.gates}
    for name in (*COARSE, *MUTATIONS):
        if all(found.values()):
            break
        # What an item's script does not name cannot change it.
        if not all(word in source for word in CONCERNS.get(name, ())):
            continue
        with _keeping(_SIMULATIONS + (_SOLVES if name in _OUTSIDE else ()), store):
            red = mutated(name, (item,), every=True)
        for gate in {gate_id(g) for _, g in red} & set(found):
            found[gate].append(name)
    errors = sum(map(bool, found.values()))
    numbers = altered(item, whole.data)
    found = {gate: names or numbers.get(gate, []) for gate, names in found.items()}
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    RECORD.write_text(
        json.dumps({**record, item: found}, indent=1, ensure_ascii=False) + "\n", "utf-8"
    )
    never = [gate for gate, names in found.items() if not names]
    print(f"{item}: of {len(found)} gates {errors} turned red by errors", flush=True)
    for gate in never:
        print(f"         never: {gate}", flush=True)
    return len(never)


def record_altered(results: list[Result]) -> int:
    """Add to the record, for gates that no mutation in it turned red, the altered numbers that do.

    Returns 0 if every gate of the results has been red.
    """
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    left = 0
    for result in results:
        if result.skipped or result.error:
            continue
        kept = record.get(result.name, {})
        found = altered(result.name, result.data)
        for gate, names in found.items():
            real = [name for name in kept.get(gate, []) if name in {**COARSE, **MUTATIONS}]
            found[gate] = real or names
            if not found[gate]:
                left += 1
                print(f"{result.name}: never red: {gate}")
        record[result.name] = found
    RECORD.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return 1 if left else 0
