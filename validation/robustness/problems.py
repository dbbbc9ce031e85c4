"""The domain in which the promise is made, and random problems of it, each known by a number."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.random import Generator

from fpsolve import (
    GaussianInitial,
    ParameterError,
    Problem,
    Schedule,
    StepQuantizer,
    Surrogate,
    Teacher,
    UniformQuantizer,
)
from fpsolve.problem.tables import document_text

__all__ = ["DOMAIN", "Task", "draw"]

# What is drawn, for the documentation; logarithmically uniform where a range spans decades.
DOMAIN = (
    ("learning rate η", "10⁻⁵ to 10, or a schedule"),
    ("ridge λ", "0, or 10⁻³ to 10"),
    ("label noise σ²", "0, or 10⁻⁶ to 100"),
    ("weights", "full precision, sign, uneven steps, or 2 to 10 bits; ω from .05 to 50"),
    ("temperature T", "0, or 10⁻³ to 1"),
    ("inputs", "full precision or 2 to 4 bits; Gaussian, uniform or Laplace"),
    ("teacher", "1 to 128 values: constant, ±1, few, Gaussian, on a level, power law"),
    ("start", "N(0, 1), points (on thresholds too), narrow, wide, far"),
    ("batch size", "1 to 1000"),
    ("horizon", "up to 10⁶, in fast or slow time"),
    (
        "training rules",
        "surrogate, clip, decay, dampening, schedules, stochastic rounding, input scales, "
        "momentum; none in half of the problems, one to three in the others",
    ),
    (
        "since the first table",
        "triangular surrogate, ridge and label noise on schedules, one each in a quarter of the "
        "problems of every seed; of seed 1 from number 3000 on",
    ),
)
_RULES = ("surrogate", "clip", "decay", "dampening", "schedule", "rounding", "scales", "momentum")
_MOST_DRAWS = 100
# The problems of this seed below this number were drawn before the rules of `_more` were there.
_FIRST_SEED, _FIRST_PROBLEMS = 1, 3000
_MORE = ("triangle", "ridge", "noise_variance")


@dataclass(frozen=True)
class Task:
    """One problem and the times asked for (dimensionless)."""

    index: int
    problem: Problem
    times: list[float]

    def text(self) -> str:
        """The problem as the TOML file that `fpsolve run` takes."""
        solve = f"\n[solve]\ntimes = {self.times!r}\n"
        return document_text(self.problem) + solve


def draw(seed: int, index: int) -> Task:
    """Return problem number `index` of a seed, the same whichever others are drawn."""
    rng = np.random.default_rng([seed, index])
    for _ in range(_MOST_DRAWS):
        try:
            problem = _problem(rng)
        except ParameterError:
            # Rules that do not go together: the domain holds problems that can be stated.
            continue
        task = Task(index, problem, _times(rng, problem))
        known = seed == _FIRST_SEED and index < _FIRST_PROBLEMS
        return task if known else _more(task, np.random.default_rng([seed, index, 1]))
    raise RuntimeError(f"no problem drawn for seed {seed}, index {index}")


def _more(task: Task, rng: Generator) -> Task:
    """The task with one rule more, of a stream of its own, where there is one and it fits."""
    rule = rng.choice(_MORE)
    if not _chance(rng, 0.25):
        return task
    if rule == "triangle":
        change: dict[str, Any] = {"surrogate": Surrogate.triangular(_power(rng, 0.5, 30.0))}
    else:
        present = getattr(task.problem, rule)
        most = present if present > 0 else _power(rng, 1e-3, 10.0)
        change = {rule: _course(rng, most, task.times[-1])}
    try:
        return replace(task, problem=replace(task.problem, **change))
    except ParameterError:
        return task


def _course(rng: Generator, most: float, horizon: float) -> Schedule:
    """A schedule up to `most` that takes about the horizon, rising as often as falling."""
    span = horizon * _power(rng, 1e-3, 3.0)
    final = 0.0 if _chance(rng, 0.3) else most * _power(rng, 1e-3, 1.0)
    kind = rng.choice(["steps", "linear", "cosine", "exponential"])
    if kind == "exponential":
        return Schedule.exponential(most, rate=1.0 / span)
    ends = (most, final) if _chance(rng, 0.5) else (final, most)
    if kind == "steps":
        return Schedule.steps(ends, times=[span])
    if kind == "linear":
        return Schedule.linear(*ends, duration=span)
    return Schedule.cosine(*ends, duration=span)


def _power(rng: Generator, low: float, high: float) -> float:
    """A number from `low` to `high`, logarithmically uniform."""
    return float(math.exp(rng.uniform(math.log(low), math.log(high))))


def _chance(rng: Generator, share: float) -> bool:
    return bool(rng.random() < share)


def _problem(rng: Generator) -> Problem:
    rules: set[str] = set()
    if _chance(rng, 0.5):
        count = int(rng.integers(1, 4))
        rules = {_RULES[i] for i in rng.choice(len(_RULES), size=count, replace=False)}
    weights = _quantizer(rng, stochastic="rounding" in rules)
    inputs, law = None, "gaussian"
    if _chance(rng, 0.5):
        inputs = UniformQuantizer(int(rng.integers(2, 5)), _power(rng, 0.5, 4.0))
        law = ("gaussian", "gaussian", "uniform", "laplace")[rng.integers(4)]
    ridge = 0.0 if _chance(rng, 0.4) else _power(rng, 1e-3, 10.0)
    kappa, sigma2 = (1.0, 1.0)
    if inputs is not None:
        probe = Problem(
            weight_quantizer=None, input_quantizer=inputs, learning_rate=1.0, input_distribution=law
        )
        kappa, sigma2 = probe.kappa, probe.sigma2
    teacher = _teacher(rng, weights, (sigma2 + ridge) / max(kappa, 1e-12), "scales" in rules)
    momentum = float(rng.uniform(0.0, 0.95)) if "momentum" in rules else 0.0
    rate = _power(rng, 1e-5, 10.0)
    batch = 1 if _chance(rng, 0.6) else round(_power(rng, 2, 1000))
    if weights is None and not _chance(rng, 0.05):
        # Above this rate full-precision training diverges: few problems, for it is a theorem.
        top = float(np.max(teacher.input_scale)) ** 2 * sigma2
        # Inputs that are all quantized to 0 train nothing, at any rate.
        stable = (top + ridge) / top**2 if top > 0.0 else math.inf
        rate = min(rate, 0.9 * batch * (1.0 - momentum) * stable)
    options: dict[str, Any] = {}
    if "surrogate" in rules:
        bound = None if weights is not None and _chance(rng, 0.5) else _power(rng, 0.1, 10.0)
        options["surrogate"] = Surrogate(bound, 0.0 if _chance(rng, 0.5) else rng.uniform(0.05, 1))
    if "clip" in rules:
        reach = 1.0 if weights is None else float(np.abs(weights.levels).max())
        options["weight_clip"] = reach * _power(rng, 0.3, 10.0)
    if "decay" in rules:
        options["weight_decay"] = _power(rng, 1e-4, 1.0)
    if "dampening" in rules:
        options["dampening"] = _power(rng, 1e-3, 1.0)
    return Problem(
        weight_quantizer=weights,
        input_quantizer=inputs,
        learning_rate=_schedule(rng, rate) if "schedule" in rules else rate,
        ridge=ridge,
        noise_variance=0.0 if _chance(rng, 0.4) else _power(rng, 1e-6, 100.0),
        teacher=teacher,
        initial=_initial(rng, weights, teacher),
        batch_size=batch,
        input_distribution=law,
        momentum=momentum,
        **options,
    )


def _quantizer(rng: Generator, *, stochastic: bool) -> StepQuantizer | None:
    omega = _power(rng, 0.05, 50.0)
    bits = int(rng.choice([2, 2, 3, 3, 4, 4, 5, 6, 7, 8, 9, 10]))
    if stochastic:
        return UniformQuantizer(bits, omega, rounding="stochastic")
    temperature = 0.0 if _chance(rng, 0.7) else _power(rng, 1e-3, 1.0)
    kind = rng.choice(["uniform"] * 7 + ["steps", "sign", "none"])
    if kind == "none":
        return None
    if kind == "sign":
        return StepQuantizer([-omega, omega], temperature=temperature)
    if kind == "steps":
        gaps = rng.uniform(0.2, 1.0, size=int(rng.integers(2, 7)))
        levels = np.concatenate([[0.0], np.cumsum(gaps)])
        return StepQuantizer(omega * (2 * levels / levels[-1] - 1), temperature=temperature)
    return UniformQuantizer(bits, omega, temperature=temperature)


def _teacher(rng: Generator, weights: StepQuantizer | None, target: float, scaled: bool) -> Teacher:
    """A law of w*; `target` is the value for which weights of 1 are best."""
    if scaled and _chance(rng, 0.3):
        classes = int(rng.choice([2, 8, 32, 128]))
        return Teacher.power_law(rng.uniform(0.3, 2.0), rng.uniform(-0.5, 1.0), classes)
    kind = rng.choice(["one", "constant", "rademacher", "gaussian", "few", "level", "range"])
    if kind == "gaussian":
        nodes = int(rng.choice([4, 8, 16, 32, 64, 128]))
        made = Teacher.gaussian(_power(rng, 0.1, 10.0), nodes)
    elif kind == "rademacher":
        made = Teacher.rademacher()
    elif kind == "few":
        values = np.unique(np.round(rng.uniform(-3, 3, size=int(rng.integers(2, 9))), 3))
        share = rng.dirichlet(np.full(values.size, 1.0)) + 1e-3
        made = Teacher(values, share / share.sum())
    elif kind in ("level", "range") and weights is not None:
        level = weights.levels[-1] if kind == "range" else rng.choice(weights.levels)
        made = Teacher.constant(float(level * target))
    else:
        made = Teacher.constant(1.0 if kind == "one" else float(rng.uniform(-3, 3)))
    if not scaled:
        return made
    return Teacher(made.values, made.probabilities, rng.uniform(0.2, 2.0, size=made.values.size))


def _initial(rng: Generator, weights: StepQuantizer | None, teacher: Teacher) -> GaussianInitial:
    kind = rng.choice(["unit", "unit", "unit", "point", "threshold", "wide", "narrow", "far"])
    if kind == "point":
        return GaussianInitial(float(rng.choice([0.0, 0.3, 1.0])), 0.0, float(rng.integers(2)))
    if kind == "threshold" and weights is not None and weights.thresholds.size:
        variance = 0.0 if _chance(rng, 0.7) else _power(rng, 1e-8, 1e-2)
        return GaussianInitial(float(rng.choice(weights.thresholds)), variance)
    if kind == "wide":
        return GaussianInitial(0.0, _power(rng, 1.0, 1e3), rng.uniform(-1, 1))
    if kind == "narrow":
        return GaussianInitial(rng.uniform(-1, 1), _power(rng, 1e-6, 0.1), rng.uniform(-1, 1))
    if kind == "far":
        sign = float(rng.choice([-1.0, 1.0]))
        return GaussianInitial(sign * _power(rng, 1.0, 100.0), _power(rng, 1e-2, 1.0))
    return GaussianInitial()


def _schedule(rng: Generator, rate: float) -> Schedule:
    """A schedule whose largest rate is `rate`, over durations of the slow time."""
    span = min(1e6, _power(rng, 0.01, 100.0) / rate)
    kind = rng.choice(["steps", "linear", "cosine", "exponential", "warmup"])
    if kind == "steps":
        cuts = np.sort(rng.uniform(0, span, size=int(rng.integers(1, 4))))
        values = rate * np.array([1.0, *(_power(rng, 1e-3, 1.0) for _ in cuts)])
        return Schedule.steps(values, times=cuts)
    final = 0.0 if _chance(rng, 0.3) else rate * _power(rng, 1e-3, 1.0)
    if kind == "linear":
        return Schedule.linear(rate, final, duration=span)
    if kind == "cosine":
        return Schedule.cosine(rate, final, duration=span)
    if kind == "exponential":
        return Schedule.exponential(rate, rate=_power(rng, 0.1, 10.0) / span)
    parts = [
        Schedule.linear(0.0, rate, duration=0.1 * span),
        Schedule.cosine(rate, final, duration=0.9 * span),
    ]
    return Schedule.join(parts, times=[0.1 * span])


def _times(rng: Generator, problem: Problem) -> list[float]:
    """A horizon in fast or slow time or the largest, and some times before it."""
    rate = problem.learning_rate
    pace = rate.largest if isinstance(rate, Schedule) else rate
    horizon = 1e6 if _chance(rng, 0.15) else min(1e6, _power(rng, 1e-2, 300.0) / pace)
    if isinstance(rate, Schedule):
        # Where the rate is 0 nothing is left to solve.
        horizon = min(horizon, rate.zero_from)
    count = int(rng.choice([0, 1, 1, 2, 3, 11]))
    early = horizon * np.exp(rng.uniform(math.log(1e-4), 0.0, size=count))
    start = [0.0] if _chance(rng, 0.5) else []
    return np.unique([*start, *early, horizon]).tolist()
