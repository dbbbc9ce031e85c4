"""Compiled loops of the particle room: random inputs, quantization, STE steps, Euler steps.

What a loop needs comes in a few named tuples of arrays and numbers, built once a run.

Everything a step calls lives in this one file, because a cached compiled function does not
notice when a function it calls in another file has changed: hence the length of the file. Kernels
check nothing.

Random numbers are a pure function of (key, counter). Pair n of a stream is

    z = (n·G + key_0) ^ key_1;  z = (z ^ z>>30)·M_1;  z = (z ^ z>>27)·M_2;  z ^ z>>31,

the SplitMix64 generator (Steele, Lea & Flood 2014) with a second key word, by which two streams
visit different numbers and not the same ones shifted. The upper 32 bits give the Box–Muller
radius, the lower 32 its angle (low bits of this hash mix least, so none decides a sign); |normal|
never exceeds (2·33·ln 2)^½ = 6.76. Polynomials are accurate to 2e-10 relative.

`contract` allows fused multiply–add; `reassoc` allows a sum to run in vector lanes. Both are fixed
when the code is compiled and leave NaN and infinity alone, so a result does not depend on threads.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

__all__ = [
    "GAUSSIAN",
    "GRID",
    "IDENTITY",
    "LAPLACE",
    "MOMENTS",
    "PAIR_BLOCK",
    "RELAXED",
    "SDE_CHUNK",
    "SEARCH",
    "SELECT",
    "STOCHASTIC",
    "UNIFORM",
    "Cloud",
    "Machine",
    "Marks",
    "Physics",
    "Quantization",
    "Rates",
    "Rules",
    "Samples",
    "draw_pairs",
    "euler_chunks",
    "euler_steps",
    "generalization_error",
    "loss_sum",
    "moment_sums",
    "quantize",
    "record_moments",
    "round_randomly",
    "ste_steps",
]

Array = NDArray[np.float64]

# Laws of an input coordinate.
GAUSSIAN, UNIFORM, LAPLACE = 0, 1, 2
# Ways to evaluate a quantizer: none, chain of selects, guess on a uniform grid, bin search,
# smoothed steps, mean of stochastic rounding.
IDENTITY, SELECT, GRID, SEARCH, RELAXED, STOCHASTIC = 0, 1, 2, 3, 4, 5
# Columns of the recorded sums: those of `moment_sums`, then the loss.
MOMENTS = 6
# Pairs drawn at a time: two blocks of this length stay in the first-level cache.
PAIR_BLOCK = 512
# Particles whose sums are added together first, a multiple of 2·PAIR_BLOCK.
SDE_CHUNK = 65536

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_LOW_HALF = np.uint64(0xFFFFFFFF)
_S11, _S27, _S30 = np.uint64(11), np.uint64(27), np.uint64(30)
_S31, _S32 = np.uint64(31), np.uint64(32)
_HALF_SQRT_BITS = int(np.array(math.sqrt(0.5)).view(np.int64))
_LN2 = math.log(2.0)
_ROOT3 = math.sqrt(3.0)
_ROOT_HALF = math.sqrt(0.5)
# A smoothed step this many temperatures away equals 0 or 1 in double precision.
_REACH = 9.0


class Quantization(NamedTuple):
    """A quantizer as `quantize` reads it; see `fpsolve.particles.packing.pack`."""

    mode: int
    levels: Array
    thresholds: Array
    temperature: float


class Samples(NamedTuple):
    """Inputs and labels of a run.

    `key` (2,) and `law` of the inputs, `batch` of them a step; `scale` (2, half) of the even and
    the odd coordinates, or (2, 0) where all are 1; `noise` holds √d ξ of every sample of a call.
    """

    key: NDArray[np.uint64]
    law: int
    batch: int
    quantizer: Quantization
    scale: Array
    noise: Array


class Rates(NamedTuple):
    """Of each step, or one number for all: η/(dB), ηλ/d, η/d and λ."""

    sample: Array
    ridge: Array
    step: Array
    pull: Array


class Rules(NamedTuple):
    """What a step does beyond the paper's, nothing where `plain`.

    h = 1 − tilt·|w| for |w| ≤ bound and `slope` beyond; `decay` γ, `dampening` 2ζ about [low,
    high]; weights stay within ±clip; velocities keep the share `momentum`. `absorbing` tells the
    Euler step that the bound absorbs.
    """

    plain: bool
    bound: float
    tilt: float
    slope: float
    ridge: float
    decay: float
    dampening: float
    low: float
    high: float
    clip: float
    momentum: float
    absorbing: bool


class Machine(NamedTuple):
    """One run: w, ψ(w) and w*, each (d,), the velocity (d,) or (0,), how often thresholds were
    passed (L,) or (0,), and the key of random rounding.
    """

    quantizer: Quantization
    w: Array
    psi: Array
    w_star: Array
    velocity: Array
    flips: NDArray[np.int64]
    rounding: NDArray[np.uint64]


class Marks(NamedTuple):
    """Numbers of the steps after which sums go to the same rows of `moments` and `flips`.

    κ_i w*_i and S_i of every coordinate, (d,) each, or (0,) where κ and S are those of all.
    """

    steps: NDArray[np.int64]
    moments: Array
    flips: NDArray[np.int64]
    target: Array
    sigma2: Array


def _reinterpret_as_int(typing_context: Any, x: Any) -> Any:
    """Reinterpret a float64 as int64."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(64))

    return types.int64(types.float64), generate


def _reinterpret_as_float(typing_context: Any, bits: Any) -> Any:
    """Reinterpret an int64 as float64."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.int64), generate


_bits_of: Any = intrinsic(_reinterpret_as_int)
_float_of: Any = intrinsic(_reinterpret_as_float)


@njit(cache=True, nogil=True, inline="always")
def _hash(counter: Any, key_0: Any, key_1: Any) -> Any:
    z = (counter * _GOLDEN + key_0) ^ key_1
    z = (z ^ (z >> _S30)) * _MIX_1
    z = (z ^ (z >> _S27)) * _MIX_2
    return z ^ (z >> _S31)


@njit(cache=True, nogil=True, fastmath={"contract"}, inline="always")
def _log(u: float) -> float:
    """ln u for normal u > 0: exponent, and a polynomial in the mantissa on [√½, √2)."""
    bits = _bits_of(u)
    exponent = (bits - _HALF_SQRT_BITS) >> 52
    f = _float_of(bits - (exponent << 52)) - 1.0
    p = -0.058456713350896375
    p = p * f + 0.10636542375579953
    p = p * f - 0.10898112577877182
    p = p * f + 0.11042736039719009
    p = p * f - 0.12410885665961421
    p = p * f + 0.14283798395270253
    p = p * f - 0.16670383652377296
    p = p * f + 0.2000016963794254
    p = p * f - 0.24999936585814816
    p = p * f + 0.3333333084628052
    p = p * f - 0.5000000030845538
    p = p * f + 1.000000000048012
    return float(p * f + np.float64(exponent) * _LN2)


@njit(cache=True, nogil=True, fastmath={"contract"})
def draw_pairs(key: NDArray[np.uint64], first: int, law: int, even: Array, odd: Array) -> None:
    """Fill even[j], odd[j] with pair `first + j` of the stream `key`, of unit variance."""
    if law == GAUSSIAN:
        _gaussian_pairs(key[0], key[1], np.uint64(first), even, odd)
    elif law == UNIFORM:
        _uniform_pairs(key[0], key[1], np.uint64(first), even, odd)
    else:
        _laplace_pairs(key[0], key[1], np.uint64(first), even, odd)


@njit(cache=True, nogil=True, fastmath={"contract"})
def _gaussian_pairs(key_0: Any, key_1: Any, first: Any, even: Array, odd: Array) -> None:
    for j in range(even.size):
        z = _hash(first + np.uint64(j), key_0, key_1)
        radius2 = -2.0 * _log((np.float64(np.int64(z >> _S32)) + 0.5) * 2.0**-32)
        low = np.int64(z & _LOW_HALF)
        # Half the angle, in units of π/2, within (−½, ½); the leading bit turns the pair by π.
        v = (np.float64(low & 0x7FFFFFFF) + 0.5) * 2.0**-31 - 0.5
        radius = np.float64(1 - 2 * (low >> 31)) * math.sqrt(radius2)
        t = v * v
        sine = 0.00015820630355647733 * t - 0.004681266256726245
        sine = (sine * t + 0.07969258272563062) * t - 0.6459640961467954
        sine = (sine * t + 1.5707963267881) * v
        cosine = 0.0009036280663802505 * t - 0.02086006950026408
        cosine = (cosine * t + 0.2536692036551135) * t - 1.2337005406331623
        cosine = cosine * t + 0.9999999999524894
        even[j] = radius * (1.0 - 2.0 * sine * sine)
        odd[j] = radius * (2.0 * sine * cosine)


@njit(cache=True, nogil=True, fastmath={"contract"})
def _uniform_pairs(key_0: Any, key_1: Any, first: Any, even: Array, odd: Array) -> None:
    scale = 2.0 * _ROOT3 * 2.0**-32
    for j in range(even.size):
        z = _hash(first + np.uint64(j), key_0, key_1)
        even[j] = (np.float64(np.int64(z >> _S32)) + 0.5) * scale - _ROOT3
        odd[j] = (np.float64(np.int64(z & _LOW_HALF)) + 0.5) * scale - _ROOT3


@njit(cache=True, nogil=True, fastmath={"contract"})
def _laplace_pairs(key_0: Any, key_1: Any, first: Any, even: Array, odd: Array) -> None:
    for j in range(even.size):
        z = _hash(first + np.uint64(j), key_0, key_1)
        high = np.int64(z >> _S32)
        low = np.int64(z & _LOW_HALF)
        # The leading bit for the sign, 31 for the magnitude, whose law is exponential.
        size = _log((np.float64(high & 0x7FFFFFFF) + 0.5) * 2.0**-31)
        even[j] = np.float64(2 * (high >> 31) - 1) * _ROOT_HALF * size
        size = _log((np.float64(low & 0x7FFFFFFF) + 0.5) * 2.0**-31)
        odd[j] = np.float64(2 * (low >> 31) - 1) * _ROOT_HALF * size


@njit(cache=True, nogil=True)
def quantize(
    x: Array, mode: int, levels: Array, thresholds: Array, temperature: float, out: Array
) -> None:
    """out_i = ψ(x_i); on a threshold the upper level (Θ(0) = 1), whatever the mode.

    SELECT expects the thresholds padded to 2 or 6 by +inf and the levels by any number; GRID
    equal steps, with −inf before the thresholds and +inf after them; STOCHASTIC means the mean.
    """
    if mode == SELECT:
        if thresholds.size == 2:
            _select_2(x, levels, thresholds, out)
        else:
            _select_6(x, levels, thresholds, out)
    elif mode == GRID:
        _guess(x, levels, thresholds, out)
    elif mode == SEARCH:
        for i in range(x.size):
            out[i] = levels[np.searchsorted(thresholds, x[i], side="right")]
    elif mode == RELAXED:
        _relaxed(x, levels, thresholds, temperature, out)
    elif mode == STOCHASTIC:
        for i in range(x.size):
            out[i] = min(max(x[i], levels[0]), levels[-1])
    else:
        for i in range(x.size):
            out[i] = x[i]


@njit(cache=True, nogil=True)
def _select_2(x: Array, v: Array, theta: Array, out: Array) -> None:
    v_0, v_1, v_2 = v[0], v[1], v[2]
    t_1, t_2 = theta[0], theta[1]
    for i in range(x.size):
        y = x[i]
        value = v_1 if y >= t_1 else v_0
        out[i] = v_2 if y >= t_2 else value


@njit(cache=True, nogil=True)
def _select_6(x: Array, v: Array, theta: Array, out: Array) -> None:
    v_0, v_1, v_2, v_3, v_4, v_5, v_6 = v[0], v[1], v[2], v[3], v[4], v[5], v[6]
    t_1, t_2, t_3, t_4, t_5, t_6 = theta[0], theta[1], theta[2], theta[3], theta[4], theta[5]
    for i in range(x.size):
        y = x[i]
        value = v_1 if y >= t_1 else v_0
        value = v_2 if y >= t_2 else value
        value = v_3 if y >= t_3 else value
        value = v_4 if y >= t_4 else value
        value = v_5 if y >= t_5 else value
        out[i] = v_6 if y >= t_6 else value


@njit(cache=True, nogil=True)
def _guess(x: Array, v: Array, theta: Array, out: Array) -> None:
    """Guess the bin by arithmetic, at most one off, and let the thresholds decide."""
    last = v.size - 1
    per_step = (last - 1) / (theta[last] - theta[1])
    for i in range(x.size):
        y = x[i]
        guess = min(max(math.floor((y - theta[1]) * per_step) + 1.0, 0.0), float(last))
        k = np.int64(guess)
        k += np.int64(y >= theta[k + 1]) - np.int64(y < theta[k])
        out[i] = v[k]


@njit(cache=True, nogil=True)
def _relaxed(x: Array, levels: Array, thresholds: Array, temperature: float, out: Array) -> None:
    """The sum of `fpsolve.problem.relaxation.relaxed_step`, here because of the caching rule."""
    reach = _REACH * temperature
    for i in range(x.size):
        first = np.searchsorted(thresholds, x[i] - reach)
        last = np.searchsorted(thresholds, x[i] + reach)
        value = levels[first]
        for k in range(first, last):
            z = (x[i] - thresholds[k]) / temperature
            value += (levels[k + 1] - levels[k]) * 0.5 * math.erfc(-z / math.sqrt(2.0))
        out[i] = value


@njit(cache=True, nogil=True)
def round_randomly(key: NDArray[np.uint64], step: int, w: Array, levels: Array, psi: Array) -> None:
    """ψ_i = one of the two levels next to w_i, with mean clip(w_i): the rounding of step `step`.

    `levels` have equal steps; coordinate i takes number step·d + i of the stream `key`.
    """
    last = levels.size - 1
    low, per_step = levels[0], last / (levels[last] - levels[0])
    first = np.uint64(step) * np.uint64(w.size)
    for i in range(w.size):
        u = np.float64(np.int64(_hash(first + np.uint64(i), key[0], key[1]) >> _S11)) * 2.0**-53
        y = min(max((w[i] - low) * per_step, 0.0), float(last))
        k = np.int64(y)
        psi[i] = levels[k + np.int64(u < y - k)]


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc"}, inline="always")
def _field(
    psi: Array, w_star: Array, first: Any, count: Any, x: Array, image: Array, at: Any
) -> Any:
    """Return Σ ψ(w_i) ψ_x(x_i) − w*_i x_i over `count` coordinates from `first`.

    x and ψ_x(x) are read from position `at`. Offsets are unsigned: a slice would cost more than
    the sum at d = 100, and a signed offset would be tested for being negative at every element.
    """
    total = 0.0
    for i in range(count):
        total += psi[first + i] * image[at + i] - w_star[first + i] * x[at + i]
    return total


@njit(cache=True, nogil=True, fastmath={"contract"}, inline="always")
def _move(
    w: Array, psi: Array, first: Any, count: Any, image: Array, at: Any, rate: float, decay: float
) -> None:
    """w_i −= rate·ψ_x(x_i) + decay·ψ(w_i), indices as in `_field`."""
    for i in range(count):
        w[first + i] -= rate * image[at + i] + decay * psi[first + i]


@njit(cache=True, nogil=True, fastmath={"contract"}, inline="always")
def _gather(gradient: Array, count: Any, image: Array, at: Any, error: float) -> None:
    """gradient_i += error·ψ_x(x_i), the image read from position `at`."""
    for i in range(count):
        gradient[i] += error * image[at + i]


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def moment_sums(w: Array, w_star: Array, psi: Array, out: Array) -> None:
    """out = Σ w* w, Σ w², Σ w* ψ, Σ ψ², Σ w ψ."""
    m = q = m_psi = q_psi = r_psi = 0.0
    for i in range(w.size):
        m += w_star[i] * w[i]
        q += w[i] * w[i]
        m_psi += w_star[i] * psi[i]
        q_psi += psi[i] * psi[i]
        r_psi += w[i] * psi[i]
    out[0] = m
    out[1] = q
    out[2] = m_psi
    out[3] = q_psi
    out[4] = r_psi


@njit(cache=True, nogil=True)
def _second_moment(w: Array, psi: Array, quantizer: Any, out: Array) -> None:
    """out_i = E ψ(w_i)², over the rounding where that is random; `psi` is the mean."""
    levels = quantizer.levels
    for i in range(w.size):
        out[i] = psi[i] * psi[i]
    if quantizer.mode == STOCHASTIC:
        last = levels.size - 1
        width = (levels[last] - levels[0]) / last
        for i in range(w.size):
            y = (psi[i] - levels[0]) / width
            f = y - math.floor(y)
            out[i] += width * width * f * (1.0 - f)


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def loss_sum(psi: Array, square: Array, target: Array, sigma2: Array) -> float:
    """Return Σ S_i E ψ_i² − 2κ_i w*_i ψ_i."""
    total = 0.0
    for i in range(psi.size):
        total += sigma2[i] * square[i] - 2.0 * target[i] * psi[i]
    return total


@njit(cache=True, nogil=True)
def record_moments(machine: Any, target: Array, sigma2: Array, out: Array) -> None:
    """Put the sums of `moment_sums` and the loss of classes (0 without) into `out`, (6,).

    Where rounding is random, sums are means over it.
    """
    w, psi, quantizer = machine.w, machine.psi, machine.quantizer
    if quantizer.mode == STOCHASTIC:
        psi = np.empty_like(w)
        mode, levels, thresholds, temperature = quantizer
        quantize(w, mode, levels, thresholds, temperature, psi)
    moment_sums(w, machine.w_star, psi, out)
    out[5] = 0.0
    if quantizer.mode == STOCHASTIC or target.size > 0:
        square = np.empty_like(w)
        _second_moment(w, psi, quantizer, square)
        out[3] = square.sum()
        if target.size > 0:
            out[5] = loss_sum(psi, square, target, sigma2)


@njit(cache=True, nogil=True)
def _renew(machine: Any, step: int) -> None:
    """ψ(w) for step number `step`: rounded at random, or counting which thresholds w passed."""
    quantizer, psi, flips = machine.quantizer, machine.psi, machine.flips
    if quantizer.mode == STOCHASTIC:
        round_randomly(machine.rounding, step, machine.w, quantizer.levels, psi)
    else:
        before = psi.copy()
        mode, levels, thresholds, temperature = quantizer
        quantize(machine.w, mode, levels, thresholds, temperature, psi)
        for i in range(psi.size):
            if psi[i] != before[i]:
                a = np.searchsorted(quantizer.levels, before[i])
                b = np.searchsorted(quantizer.levels, psi[i])
                for k in range(min(a, b), max(a, b)):
                    flips[k] += 1


@njit(cache=True, nogil=True, fastmath={"contract"}, inline="always")
def _gradient_factor(y: float, rules: Any) -> Any:
    """h(y)."""
    size = abs(y)
    return 1.0 - rules.tilt * size if size <= rules.bound else rules.slope


@njit(cache=True, nogil=True, fastmath={"contract"}, inline="always")
def _brake(y: float, psi: float, rules: Any) -> Any:
    """b(y) = γ y + 2ζ (clip(y) − ψ(y))."""
    return rules.decay * y + rules.dampening * (min(max(y, rules.low), rules.high) - psi)


@njit(cache=True, nogil=True, fastmath={"contract"})
def _move_by_rules(
    machine: Any, first: Any, count: Any, gradient: Array, rules: Any, share: float, rate: float,
    ridge: float,
) -> None:  # fmt: skip
    """w_i ← Π[w_i − rate·v_i], v_i ← β v_i + h(share·gradient_i + λψ_i) + b (theory §9, Update)."""
    w, psi, velocity = machine.w, machine.psi, machine.velocity
    heavy = velocity.size > 0
    for i in range(count):
        y = w[first + i]
        value = psi[first + i]
        pull = share * gradient[i] + ridge * value
        v = _gradient_factor(y, rules) * pull + _brake(y, value, rules)
        if heavy:
            v += rules.momentum * velocity[first + i]
            velocity[first + i] = v
        w[first + i] = min(max(y - rate * v, -rules.clip), rules.clip)


@njit(cache=True, nogil=True)
def _scale_inputs(x: Array, scale: Array) -> None:
    """Multiply samples (2, group·half) by the input scales (2, half) of their coordinates."""
    half = scale.shape[1]
    for side in range(2):
        for start in range(0, x.shape[1], half):
            for i in range(half):
                x[side, start + i] *= scale[side, i]


@njit(cache=True, nogil=True)
def ste_steps(
    samples: Any, rates: Any, rules: Any, machine: Any, marks: Any, first_step: int, steps: int,
    mark: int,
) -> int:  # fmt: skip
    """Advance w, and ψ(w) with it, by `steps` STE updates (theory: the model's update).

    Sample n takes pairs n·half … of the stream: the first half of the coordinates the even
    members, the rest the odd ones, where the half is padded to whole vectors. Small samples are
    drawn several at a time. Returned is the number of the next mark.
    """
    # Taken out of their tuples once: in the loop that would cost more than a small step.
    w, psi, w_star, quantizer = machine.w, machine.psi, machine.w_star, machine.quantizer
    key, law, batch, noise = samples.key, samples.law, samples.batch, samples.noise
    mode, levels, thresholds, temperature = quantizer
    mode_x, levels_x, thresholds_x, temperature_x = samples.quantizer
    sample_rates, ridge_rates, ends = rates.sample, rates.ridge, marks.steps
    plain, simple = rules.plain, mode != STOCHASTIC and machine.flips.size == 0
    half = (w.size + 15) // 16 * 8
    group = max(1, PAIR_BLOCK // half)
    x = np.empty((2, group * half))
    image = np.empty((2, group * half))
    even, odd, image_even, image_odd = x[0], x[1], image[0], image[1]
    zero = np.uint64(0)
    second = np.uint64(half if half < w.size else w.size)
    rest = np.uint64(w.size) - second
    gradient_even, gradient_odd = np.zeros(half), np.zeros(half)
    advance = np.int64(sample_rates.size > 1)
    for n in range(steps * batch):
        slot = n % group
        if slot == 0:
            draw_pairs(key, (first_step * batch + n) * half, law, even, odd)
            if samples.scale.size > 0:
                _scale_inputs(x, samples.scale)
            quantize(even, mode_x, levels_x, thresholds_x, temperature_x, image_even)
            quantize(odd, mode_x, levels_x, thresholds_x, temperature_x, image_odd)
        at = np.uint64(slot * half)
        error = _field(psi, w_star, zero, second, even, image_even, at)
        error += _field(psi, w_star, second, rest, odd, image_odd, at) - noise[n]
        step = n // batch
        now = step * advance
        if plain and batch == 1:
            rate, ridge = sample_rates[now], ridge_rates[now]
            _move(w, psi, zero, second, image_even, at, rate * error, ridge)
            _move(w, psi, second, rest, image_odd, at, rate * error, ridge)
        else:
            _gather(gradient_even, second, image_even, at, error)
            _gather(gradient_odd, rest, image_odd, at, error)
            if (n + 1) % batch:
                continue
            if plain:
                rate, ridge = sample_rates[now], ridge_rates[now]
                _move(w, psi, zero, second, gradient_even, zero, rate, ridge)
                _move(w, psi, second, rest, gradient_odd, zero, rate, ridge)
            else:
                share, rate, ridge = 1.0 / batch, rates.step[now], rates.pull[now]
                _move_by_rules(machine, zero, second, gradient_even, rules, share, rate, ridge)
                _move_by_rules(machine, second, rest, gradient_odd, rules, share, rate, ridge)
            gradient_even[:] = 0.0
            gradient_odd[:] = 0.0
        if simple:
            quantize(w, mode, levels, thresholds, temperature, psi)
        else:
            _renew(machine, first_step + step + 1)
        if mark < ends.size and first_step + step + 1 == ends[mark]:
            record_moments(machine, marks.target, marks.sigma2, marks.moments[mark])
            marks.flips[mark] = machine.flips
            mark += 1
    return mark


class Physics(NamedTuple):
    """κ, S + λ, (S/B)^½, S where one class has them all, and ρ_d + σ²."""

    kappa: float
    pull: float
    noise: float
    sigma2: float
    floor: float


class Cloud(NamedTuple):
    """Particles w and w*, (N,) each, and what one class or several need for a step.

    `sums` (chunks, 2) holds Σ w*ψ and Σ ψ² of each chunk, or the loss first where rules apply;
    κ_i w*_i, S_i and (S_i/B)^½ are (N,) there and (0,) otherwise. `walls` is the key of the stream
    that decides what an absorbing wall has caught between two steps.
    """

    quantizer: Quantization
    w: Array
    w_star: Array
    sums: Array
    key: NDArray[np.uint64]
    walls: NDArray[np.uint64]
    target: Array
    sigma2: Array
    noise: Array


@njit(cache=True, nogil=True, fastmath={"contract"})
def _drift_diffuse(
    w: Array, psi: Array, w_star: Array, normals: Array, pull: float, decay: float, spread: float
) -> None:
    for i in range(w.size):
        w[i] += pull * w_star[i] - decay * psi[i] + spread * normals[i]


@njit(cache=True, nogil=True)
def _reflected(y: float, wall: float) -> float:
    """y folded back into ±wall: exact for a driftless step near one wall."""
    if y > wall:
        y = 2.0 * wall - y
    elif y < -wall:
        y = -2.0 * wall - y
    return min(max(y, -wall), wall)


@njit(cache=True, nogil=True)
def _absorbed(x: float, y: float, wall: float, variance: float, u: float) -> float:
    """Where a step from x to y ends, for u uniform in (0, 1): just beyond a wall it has met.

    A Brownian bridge between points at distances a, b of a wall meets it with probability
    exp(−2ab/variance).
    """
    side = 1.0 if y > 0.0 else -1.0
    left = wall - side * y
    if left >= 0.0:
        exponent = 2.0 * (wall - side * x) * left / variance
        # Beyond 38 the exponential is below every u.
        if exponent > 38.0 or u >= math.exp(-exponent):
            return y
    return float(side * np.nextafter(wall, np.inf))


@njit(cache=True, nogil=True)
def _rule_step(
    cloud: Any, rules: Any, low: int, psi: Array, normals: Array, first_pair: int, step: float,
    rate: float, error: float,
) -> None:  # fmt: skip
    """One Euler step of the particles from `low` on, one for each of ψ, by the rules."""
    w, target, sigma2, noise = cloud.w, cloud.target, cloud.sigma2, cloud.noise
    spread = rate * math.sqrt(max(error, 0.0) * step)
    key = cloud.walls
    for j in range(psi.size):
        i = low + j
        x = w[i]
        h = _gradient_factor(x, rules)
        drift = h * (target[i] - (sigma2[i] + rules.ridge) * psi[j]) - _brake(x, psi[j], rules)
        wide = h * spread * noise[i]
        y = x + step * rate * drift + wide * normals[j]
        if rules.absorbing:
            if abs(x) <= rules.bound and wide > 0.0:
                z = _hash(np.uint64(first_pair) * np.uint64(2) + np.uint64(i), key[0], key[1])
                u = (np.float64(np.int64(z >> _S11)) + 0.5) * 2.0**-53
                w[i] = _absorbed(x, y, rules.bound, wide * wide, u)
        else:
            w[i] = _reflected(y, rules.clip)


@njit(cache=True, nogil=True)
def _euler_chunk(
    cloud: Any, physics: Any, rules: Any, chunk: int, first_pair: int, step: float, rate: float,
    error: float,
) -> None:  # fmt: skip
    """One Euler step of a chunk, and its sums at the new weights.

    Each block of 2·PAIR_BLOCK particles takes PAIR_BLOCK pairs, numbered by the first particle's
    place in the cloud.
    """
    w, w_star, sums, key = cloud.w, cloud.w_star, cloud.sums[chunk], cloud.key
    mode, levels, thresholds, temperature = cloud.quantizer
    plain = rules.plain
    work = np.empty((2, PAIR_BLOCK))
    psi = np.empty(PAIR_BLOCK)
    # ε_g is a mean square; where it vanishes rounding may leave −1e−17.
    spread = rate * physics.noise * math.sqrt(max(error, 0.0) * step)
    force, pull = step * (rate * physics.kappa), step * (rate * physics.pull)
    sums[0] = 0.0
    sums[1] = 0.0
    first = chunk * SDE_CHUNK
    last = min(first + SDE_CHUNK, w.size)
    for start in range(first, last, 2 * PAIR_BLOCK):
        draw_pairs(key, first_pair + start // 2, GAUSSIAN, work[0], work[1])
        for side in range(2):
            low = min(start + side * PAIR_BLOCK, last)
            high = min(low + PAIR_BLOCK, last)
            part, star, image = w[low:high], w_star[low:high], psi[: high - low]
            quantize(part, mode, levels, thresholds, temperature, image)
            if plain:
                _drift_diffuse(part, image, star, work[side], force, pull, spread)
                quantize(part, mode, levels, thresholds, temperature, image)
                _psi_sums(image, star, sums)
            else:
                _rule_step(cloud, rules, low, image, work[side], first_pair, step, rate, error)
                quantize(part, mode, levels, thresholds, temperature, image)
                square = np.empty(high - low)
                _second_moment(part, image, cloud.quantizer, square)
                own = cloud.target[low:high], cloud.sigma2[low:high]
                sums[0] += loss_sum(image, square, own[0], own[1])


@njit(cache=True, nogil=True)
def generalization_error(cloud: Any, physics: Any, plain: bool) -> float:
    """Return the empirical ε_g from the sums of every chunk, added in their order."""
    overlap = 0.0
    square = 0.0
    size = cloud.w.size
    for chunk in range(cloud.sums.shape[0]):
        overlap += cloud.sums[chunk, 0]
        square += cloud.sums[chunk, 1]
    if not plain:
        return float(overlap / size + physics.floor)
    overlap_part = 2.0 * physics.kappa * overlap / size
    return float(physics.sigma2 * square / size - overlap_part + physics.floor)


@njit(cache=True, nogil=True)
def euler_chunks(
    cloud: Any, physics: Any, rules: Any, first_pair: int, step: float, rate: float, error: float,
    first: int, last: int,
) -> None:  # fmt: skip
    """One Euler step of length `step` at the rate η for the chunks `first` … `last − 1`."""
    for chunk in range(first, last):
        _euler_chunk(cloud, physics, rules, chunk, first_pair, step, rate, error)


@njit(cache=True, nogil=True)
def euler_steps(
    cloud: Any, physics: Any, rules: Any, first_pair: int, step: float, rates: Array, steps: int
) -> None:
    """`steps` Euler steps of all chunks, each with the ε_g the step before left in the sums.

    `rates` holds η of each step, or one number for all.
    """
    chunks = cloud.sums.shape[0]
    pairs = chunks * (SDE_CHUNK // 2)
    advance = np.int64(rates.size > 1)
    for k in range(steps):
        error = generalization_error(cloud, physics, rules.plain)
        rate = rates[k * advance]
        euler_chunks(cloud, physics, rules, first_pair + k * pairs, step, rate, error, 0, chunks)


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def _psi_sums(psi: Array, w_star: Array, sums: Array) -> None:
    overlap = 0.0
    square = 0.0
    for i in range(psi.size):
        overlap += w_star[i] * psi[i]
        square += psi[i] * psi[i]
    sums[0] += overlap
    sums[1] += square
