"""Compiled loops of the particle room: random inputs, quantization, STE steps, Euler steps.

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
from typing import Any

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
    "PAIR_BLOCK",
    "RELAXED",
    "SDE_CHUNK",
    "SEARCH",
    "SELECT",
    "UNIFORM",
    "draw_pairs",
    "euler_chunks",
    "euler_steps",
    "generalization_error",
    "moment_sums",
    "quantize",
    "ste_steps",
]

Array = NDArray[np.float64]

# Laws of an input coordinate.
GAUSSIAN, UNIFORM, LAPLACE = 0, 1, 2
# Ways to evaluate a quantizer: none, chain of selects, guess on a uniform grid, bin search,
# smoothed steps.
IDENTITY, SELECT, GRID, SEARCH, RELAXED = 0, 1, 2, 3, 4
# Pairs drawn at a time: two blocks of this length stay in the first-level cache.
PAIR_BLOCK = 512
# Particles whose sums are added together first, a multiple of 2·PAIR_BLOCK.
SDE_CHUNK = 65536

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_LOW_HALF = np.uint64(0xFFFFFFFF)
_S27, _S30, _S31, _S32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)
_HALF_SQRT_BITS = int(np.array(math.sqrt(0.5)).view(np.int64))
_LN2 = math.log(2.0)
_ROOT3 = math.sqrt(3.0)
_ROOT_HALF = math.sqrt(0.5)
# A smoothed step this many temperatures away equals 0 or 1 in double precision.
_REACH = 9.0


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
    equal steps, with −inf before the thresholds and +inf after them.
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
def ste_steps(
    key: NDArray[np.uint64], first_step: int, steps: int, batch: int, law: int, noise: Array,
    rate: float, decay: float, weights: Any, inputs: Any, w: Array, psi: Array, w_star: Array,
    marks: NDArray[np.int64], mark: int, moments: Array,
) -> int:  # fmt: skip
    """Advance w, and ψ(w) with it, by `steps` STE updates (theory: the model's update).

    `noise` holds √d ξ of every sample, `rate` = η/(d B), `decay` = ηλ/d; `weights` and `inputs`
    are (mode, levels, thresholds, temperature). Sample n takes pairs n·half … of the stream: the
    first half of the coordinates the even members, the rest the odd ones, where the half is
    padded to whole vectors. Small samples are drawn several at a time.

    After the steps numbered marks[mark] … the sums of `moment_sums` go to the same rows of
    `moments`; returned is the number of the next mark.
    """
    mode, levels, thresholds, temperature = weights
    mode_x, levels_x, thresholds_x, temperature_x = inputs
    half = (w.size + 15) // 16 * 8
    group = max(1, PAIR_BLOCK // half)
    x = np.empty((2, group * half))
    image = np.empty((2, group * half))
    even, odd, image_even, image_odd = x[0], x[1], image[0], image[1]
    zero = np.uint64(0)
    second = np.uint64(half if half < w.size else w.size)
    rest = np.uint64(w.size) - second
    total = steps * batch
    gradient_even, gradient_odd = np.zeros(half), np.zeros(half)
    for n in range(total):
        slot = n % group
        if slot == 0:
            draw_pairs(key, (first_step * batch + n) * half, law, even, odd)
            quantize(even, mode_x, levels_x, thresholds_x, temperature_x, image_even)
            quantize(odd, mode_x, levels_x, thresholds_x, temperature_x, image_odd)
        at = np.uint64(slot * half)
        error = _field(psi, w_star, zero, second, even, image_even, at)
        error += _field(psi, w_star, second, rest, odd, image_odd, at) - noise[n]
        if batch == 1:
            _move(w, psi, zero, second, image_even, at, rate * error, decay)
            _move(w, psi, second, rest, image_odd, at, rate * error, decay)
        else:
            _gather(gradient_even, second, image_even, at, error)
            _gather(gradient_odd, rest, image_odd, at, error)
            if (n + 1) % batch:
                continue
            _move(w, psi, zero, second, gradient_even, zero, rate, decay)
            _move(w, psi, second, rest, gradient_odd, zero, rate, decay)
            gradient_even[:] = 0.0
            gradient_odd[:] = 0.0
        quantize(w, mode, levels, thresholds, temperature, psi)
        if mark < marks.size and first_step + (n + 1) // batch == marks[mark]:
            moment_sums(w, w_star, psi, moments[mark])
            mark += 1
    return mark


@njit(cache=True, nogil=True, fastmath={"contract"})
def _drift_diffuse(
    w: Array, psi: Array, w_star: Array, normals: Array, pull: float, decay: float, spread: float
) -> None:
    for i in range(w.size):
        w[i] += pull * w_star[i] - decay * psi[i] + spread * normals[i]


@njit(cache=True, nogil=True)
def _euler_chunk(
    key: NDArray[np.uint64], first_pair: int, pull: float, decay: float, spread: float,
    weights: Any, w: Array, w_star: Array, sums: Array,
) -> None:  # fmt: skip
    """One Euler step of a chunk: w += pull·w* − decay·ψ(w) + spread·z, z ~ N(0, 1).

    Afterwards sums = Σ w* ψ(w), Σ ψ(w)² at the new weights. Pairs are numbered from `first_pair`;
    each block of 2·PAIR_BLOCK particles takes PAIR_BLOCK of them.
    """
    mode, levels, thresholds, temperature = weights
    work = np.empty((2, PAIR_BLOCK))
    psi = np.empty(PAIR_BLOCK)
    sums[0] = 0.0
    sums[1] = 0.0
    for start in range(0, w.size, 2 * PAIR_BLOCK):
        draw_pairs(key, first_pair + start // 2, GAUSSIAN, work[0], work[1])
        for side in range(2):
            low = min(start + side * PAIR_BLOCK, w.size)
            high = min(low + PAIR_BLOCK, w.size)
            part, star, image = w[low:high], w_star[low:high], psi[: high - low]
            quantize(part, mode, levels, thresholds, temperature, image)
            _drift_diffuse(part, image, star, work[side], pull, decay, spread)
            quantize(part, mode, levels, thresholds, temperature, image)
            _psi_sums(image, star, sums)


@njit(cache=True, nogil=True)
def generalization_error(sums: Array, size: int, physics: Any) -> float:
    """Return the empirical ε_g from Σ w* ψ(w) and Σ ψ(w)² of every chunk, added in their order."""
    _, _, _, kappa, sigma2, floor = physics
    overlap = 0.0
    square = 0.0
    for chunk in range(sums.shape[0]):
        overlap += sums[chunk, 0]
        square += sums[chunk, 1]
    return float(sigma2 * square / size - 2.0 * kappa * overlap / size + floor)


@njit(cache=True, nogil=True)
def euler_chunks(
    key: NDArray[np.uint64], first_pair: int, step: float, error: float, physics: Any, weights: Any,
    w: Array, w_star: Array, sums: Array, first: int, last: int,
) -> None:  # fmt: skip
    """One Euler step of length `step` for the chunks `first` … `last − 1`, given ε_g = `error`.

    `physics` is (ηκ, η(S + λ), η(S/B)^½, κ, S, ρ_d + σ²); `sums` has shape (chunks, 2).
    """
    force, pull, noise = physics[0], physics[1], physics[2]
    # ε_g is a mean square; where it vanishes rounding may leave −1e−17.
    spread = noise * math.sqrt(max(error, 0.0) * step)
    for chunk in range(first, last):
        low = chunk * SDE_CHUNK
        high = min(low + SDE_CHUNK, w.size)
        _euler_chunk(
            key, first_pair + low // 2, step * force, step * pull, spread, weights,
            w[low:high], w_star[low:high], sums[chunk],
        )  # fmt: skip


@njit(cache=True, nogil=True)
def euler_steps(
    key: NDArray[np.uint64], first_pair: int, steps: int, step: float, physics: Any, weights: Any,
    w: Array, w_star: Array, sums: Array,
) -> None:  # fmt: skip
    """`steps` Euler steps of all chunks, each with the ε_g the step before left in `sums`."""
    chunks = sums.shape[0]
    pairs = chunks * (SDE_CHUNK // 2)
    for k in range(steps):
        error = generalization_error(sums, w.size, physics)
        euler_chunks(
            key, first_pair + k * pairs, step, error, physics, weights, w, w_star, sums, 0, chunks
        )


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def _psi_sums(psi: Array, w_star: Array, sums: Array) -> None:
    overlap = 0.0
    square = 0.0
    for i in range(psi.size):
        overlap += w_star[i] * psi[i]
        square += psi[i] * psi[i]
    sums[0] += overlap
    sums[1] += square
