"""One problem judged: solved at two tolerances, compared, its mass and sign looked at."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpsolve import FpsolveError, solve_pde
from fpsolve.density.trajectory import DensityTrajectory
from fpsolve.density.view import AnyFrame
from validation.robustness.problems import Task

__all__ = ["LOOSE", "MIDDLE", "PROMISED", "TIGHT", "TOO_MUCH_WORK", "judged", "reason_of"]

Array = NDArray[np.float64]

LOOSE, MIDDLE, TIGHT = 1e-4, 1e-6, 1e-7
# The promise, in units of rtol.
PROMISED = {"generalization_error": 10.0, "m": 10.0, "q": 10.0, "L1": 100.0}
# Where classes cancel in m it is told from 0 down to this share of √(ρ q).
_CANCELLED = 1e-5
# Below this probability a teacher value counts less; its density may be off by this share, and by
# more the rarer it is, as the fourth root, up to that.
_RARE, _CRUDE, _CRUDEST = 1e-3, 0.05, 0.5
_MOST_DEFECT = 1e-10
# ε_g is a sum of terms of which it may be next to nothing, from the start to the end.
_ROUNDING = 1e-14
# Gauss–Legendre points an interval on which both densities are polynomials.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)
TOO_MUCH_WORK = "too much work"
# Parts of a message that ends a solve -> what it says, and whether theory says so too.
_REASONS = (
    ("grows without bound", "diverges", True),
    ("never spreads", "a point mass without noise", True),
    ("diffusion is so weak", "layers finer than rounding", True),
    ("would take", TOO_MUCH_WORK, True),
    ("than positions can", "layers finer than positions", True),
    ("ripples", "ripples", False),
    ("fell below rounding", "step below rounding", False),
    ("steps were not enough", "too many steps", False),
    ("unknowns", "too many unknowns", False),
    ("lost its mass", "mass lost", False),
)


def reason_of(message: str) -> tuple[str, bool]:
    """Return what an error says in a few words, and whether it is a justified refusal."""
    for part, name, justified in _REASONS:
        if part in message:
            return name, justified
    return "other", False


def judged(task: Task, tight: float, begin: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Yield what is found, stage by stage: the solves, then their comparison.

    Parameters
    ----------
    task : Task
        What to solve.
    tight : float
        Tolerance of the reference.
    begin : callable
        Called with the name of each stage before it begins.
    """
    solved: list[DensityTrajectory] = []
    for name, rtol in (("loose", LOOSE), ("tight", tight)):
        begin(name)
        record, result = _solved(task, name, rtol)
        yield record
        if result is None:
            return
        solved.append(result)
    begin("compared")
    loose, reference = solved
    errors = order_parameter_errors(loose, reference)
    # On the way, too: a law may have come to a point before the first time asked for.
    size = float(np.sqrt(reference.dense_order_parameters.q.max()))
    found = [
        density_errors(a, b, task.problem.teacher.probabilities, size)
        for a, b in zip(loose.frames, reference.frames, strict=True)
    ]
    errors["L1"] = max(distance for distance, _ in found)
    # What of it is more than laws displaced by less than is promised of their place.
    errors["L1 unless displaced"] = max(less for _, less in found)
    yield {"stage": "compared", "errors": errors}


def _solved(task: Task, name: str, rtol: float) -> tuple[dict[str, Any], DensityTrajectory | None]:
    """Solve and look at the end state; full precision in closed form is the tight solve."""
    # The closed form is the reference of full precision, the solver is what is judged.
    scheme = "spectral-volume" if name == "loose" else "auto"
    record: dict[str, Any] = {"stage": name, "rtol": rtol}
    begun = time.process_time()
    result = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = solve_pde(task.problem, task.times, rtol=rtol, scheme=scheme)
        except FpsolveError as error:
            record["refused"] = str(error)
            record["reached"] = float(getattr(error, "time", 0.0))
    record["seconds"] = time.process_time() - begun
    if caught:
        record["warned"] = sorted({str(w.message) for w in caught})
    if result is not None:
        record.update(_faults(result, rtol))
    return record, result


def _faults(result: DensityTrajectory, rtol: float) -> dict[str, Any]:
    """What is wrong with a result in itself, and what it cost."""
    faults = []
    every = [*vars(result.order_parameters).values(), *vars(result.dense_order_parameters).values()]
    # r_ψ, s and the alignment have no value where weights or teacher vanish.
    if not np.isfinite([np.abs(f).max() for f in every if f is not None]).all():
        faults.append("NaN")
    for frame in result.frames:
        atoms = getattr(frame, "atoms", None)
        least = 0.0 if atoms is None else float(atoms.masses.min(initial=0.0))
        if not frame.mass_defect() <= _MOST_DEFECT and "mass" not in faults:
            faults.append("mass")
        if not min(frame.lowest(), least) >= -rtol and "sign" not in faults:
            faults.append("sign")
    stats = {n: result.stats.get(n) for n in ("steps", "rejected", "most_unknowns", "time_error")}
    return {"faults": faults, **stats}


def order_parameter_errors(
    loose: DensityTrajectory, reference: DensityTrajectory
) -> dict[str, Any]:
    """Errors of ε_g, m and q relative to their largest value, in units of the loose rtol."""
    errors: dict[str, Any] = {}
    for name in ("generalization_error", "m", "q"):
        one, two = (getattr(t.order_parameters, name) for t in (loose, reference))
        dense = getattr(reference.dense_order_parameters, name)
        largest = max(float(np.abs(dense).max()), float(np.abs(two).max()))
        if name == "m":
            size = reference.problem.rho * float(reference.order_parameters.q.max())
            largest = max(largest, _CANCELLED * size**0.5)
        error = float(np.abs(one - two).max())
        if name == "generalization_error":
            untrained = reference.problem.rho + float(reference.order_parameters.q.max())
            error = max(0.0, error - _ROUNDING * untrained)
        errors[name] = error / largest / LOOSE if largest > 0 else error / LOOSE
    return errors


def density_errors(
    loose: AnyFrame, reference: AnyFrame, probability: Array, size: float
) -> tuple[float, float]:
    """Largest distances of conditional densities, in units in which 100 is promised.

    The first is that in L¹; the second the same but of densities whose mass is nowhere displaced by
    more than 10 rtol·`size` on average, size being the root mean square weight, as is promised of
    m: laws and layers narrower than 1/10 of it, which that may move by their own width.
    """
    worst, exempt = 0.0, 0.0
    for k, share in enumerate(probability.tolist()):
        rarer = max(1.0, _RARE / share)
        allowed = min(100.0 * LOOSE * rarer, _CRUDE * rarer**0.25, _CRUDEST)
        distance = 100.0 * _distance(loose, reference, k) / allowed
        worst = max(worst, distance)
        if distance > 100.0 and _transport(loose, reference, k) <= 0.1 * allowed * size:
            distance = 100.0
        exempt = max(exempt, distance)
    return worst, exempt


def _transport(one: AnyFrame, two: AnyFrame, k: int) -> float:
    """∫|F₁ − F₂| of class k: the least distance by which the mass of one makes the other."""
    edges = np.unique(np.concatenate([_edges(one, k), _edges(two, k), *_places(one, two, k)]))
    half = 0.5 * np.diff(edges)
    x = edges[:-1] + half * (1.0 + _NODES[:, None])
    change = np.abs(one.cdf(k, x) - two.cdf(k, x))
    return float((change * half * _WEIGHTS[:, None]).sum())


def _places(one: AnyFrame, two: AnyFrame, k: int) -> list[Array]:
    """Where class k has point masses."""
    return [np.asarray(atoms.of(k)[0]) for atoms in map(_atoms, (one, two)) if atoms is not None]


def _atoms(frame: AnyFrame) -> Any:
    return frame.atoms if hasattr(frame, "atoms") else getattr(frame, "_atoms", None)


def _distance(one: AnyFrame, two: AnyFrame, k: int) -> float:
    """∫|μ₁ − μ₂| of class k, point masses included: those at one place against each other."""
    total = 0.0
    edges = np.unique(np.concatenate([_edges(one, k), _edges(two, k)]))
    if edges.size > 1:
        half = 0.5 * np.diff(edges)
        x = edges[:-1] + half * (1.0 + _NODES[:, None])
        total = float((np.abs(one.pdf(k, x) - two.pdf(k, x)) * half * _WEIGHTS[:, None]).sum())
    held: dict[float, float] = {}
    for frame, sign in ((one, 1.0), (two, -1.0)):
        atoms = _atoms(frame)
        if atoms is not None:
            for at, mass in zip(*atoms.of(k), strict=True):
                held[float(at)] = held.get(float(at), 0.0) + sign * float(mass)
    return total + sum(map(abs, held.values()))


def _edges(frame: AnyFrame, k: int) -> Array:
    """Ends of the elements of class k; those of a Gaussian are where it is small."""
    first = getattr(frame, "first", None)
    if first is None:
        mean, deviation = frame.mean[k], frame.deviation[k]  # type: ignore[union-attr]
        if deviation == 0:
            return np.empty(0)
        return np.asarray(mean + deviation * np.linspace(-8.3, 8.3, 65))
    own = slice(int(first[k]), int(first[k + 1]))
    left, width = frame.left[own], frame.width[own]  # type: ignore[union-attr]
    return np.concatenate([left, left + width])
