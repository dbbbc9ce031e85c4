"""The finite machine in plain Python, rule by rule, on the documented streams of random numbers.

Nothing here is shared with the compiled loops but the streams: the update is written as the theory
writes it, w ← Π[w − η_t (h(w) (r ψ_x(x)/√d + (λ/d) ψ(w)) + b(w)/d)].
"""

from __future__ import annotations

import math

import numpy as np

from fpsolve import Problem, Schedule
from fpsolve.particles.streams import RunStreams, draw

_GOLDEN, _MIX_1, _MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_WORD = 2**64 - 1


def uniforms(key, first: int, count: int) -> np.ndarray:
    """Numbers `first` … of the stream `key` as uniforms: the upper 53 bits of SplitMix64."""
    out = []
    for n in range(first, first + count):
        z = ((n * _GOLDEN + int(key[0])) & _WORD) ^ int(key[1])
        z = ((z ^ (z >> 30)) * _MIX_1) & _WORD
        z = ((z ^ (z >> 27)) * _MIX_2) & _WORD
        out.append(((z ^ (z >> 31)) >> 11) * 2.0**-53)
    return np.array(out)


def rate_of(problem: Problem, tau: float) -> float:
    """η(τ)."""
    eta = problem.learning_rate
    return float(eta(tau)) if isinstance(eta, Schedule) else eta


def surrogate_of(problem: Problem, w: np.ndarray) -> np.ndarray:
    """h(w)."""
    rule = problem.surrogate
    if rule is None:
        return np.ones_like(w)
    bound = problem.weight_quantizer.levels[-1] if rule.bound is None else rule.bound
    if rule.is_triangular:
        return np.maximum(0.0, 1 - np.abs(w) / bound)
    return np.where(np.abs(w) <= bound, 1.0, rule.slope)


def brake_of(problem: Problem, w: np.ndarray, psi: np.ndarray) -> np.ndarray:
    """b(w) = γ w + 2ζ (clip(w, ±ω) − ψ(w))."""
    out = problem.weight_decay * w
    if problem.dampening > 0:
        levels = problem.weight_quantizer.levels
        out = out + 2 * problem.dampening * (np.clip(w, levels[0], levels[-1]) - psi)
    return out


def forward(problem: Problem, w: np.ndarray, step: int, streams: RunStreams) -> np.ndarray:
    """ψ(w) of a step, with the rounding of that step where it is random."""
    quantizer = problem.weight_quantizer
    if quantizer is None or quantizer.rounding == "nearest":
        return problem.quantize(w)
    levels = quantizer.levels
    width = levels[1] - levels[0]
    place = (np.clip(w, levels[0], levels[-1]) - levels[0]) / width
    lower = np.floor(place)
    up = uniforms(streams.rounding, step * w.size, w.size) < place - lower
    return levels[(lower + up).astype(int)]


def plain_ste(
    problem: Problem, w: np.ndarray, w_star: np.ndarray, scale: np.ndarray, steps: int,
    streams: RunStreams,
) -> np.ndarray:  # fmt: skip
    """Weights after `steps` steps from w, for inputs x_i = scale_i z_i."""
    d, batch = w.size, problem.batch_size
    half = (d + 15) // 16 * 8
    psi_x = problem.input_quantizer or (lambda x: x)
    velocity = np.zeros(d)
    for step in range(steps):
        psi = forward(problem, w, step, streams)
        gradient = np.zeros(d)
        for n in range(step * batch, (step + 1) * batch):
            z = draw(streams.inputs, n * half, half, problem.input_distribution).ravel()[:d]
            x = scale * z
            xi = math.sqrt(problem.noise_variance) * draw(streams.labels, n, 1)[0, 0]
            residual = (psi @ psi_x(x) - w_star @ x) / math.sqrt(d) - xi
            gradient += residual * psi_x(x) / math.sqrt(d) / batch
        move = surrogate_of(problem, w) * (gradient + problem.ridge / d * psi)
        move = move + brake_of(problem, w, psi) / d
        velocity = problem.momentum * velocity + move
        w = w - rate_of(problem, step / d) * velocity
        if problem.weight_clip is not None:
            w = np.clip(w, -problem.weight_clip, problem.weight_clip)
    return w
