"""Compiled right-hand side and integrator of the isotropic closure.

The state is (m, v), v = s² = q − m²/ρ, rather than the paper's (m, q): in v the alignment drops
out of the equations exactly, so that s stays accurate, and positive, when it is far below |m|.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = [
    "AVERAGES",
    "FAILED_STEPS",
    "FAILED_UNDERFLOW",
    "Law",
    "closure_averages",
    "closure_rates",
    "integrate_closure",
]

Array = NDArray[np.float64]
# Teacher values (K,), probabilities (K,), w*/ρ (K,), levels (L + 1,), thresholds (L,), and
# (η, S + λ, κ, S, ρ, σ², B, T).
Law = tuple[Array, Array, Array, Array, Array, Array]

# Entries of the array `closure_averages` fills: values, then derivatives by m and by v.
AVERAGES = (
    "m_psi",
    "pull",
    "q_psi",
    "m_psi_m",
    "m_psi_v",
    "pull_m",
    "pull_v",
    "q_psi_m",
    "q_psi_v",
)

FAILED_UNDERFLOW = 1
FAILED_STEPS = 2

# Beyond this many standard deviations a normal tail is below 1e-18.
_REACH = 9.0
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(10)
_ROOT_TWO_PI = math.sqrt(2.0 * math.pi)
_LONGEST_RUN = 20_000_000


@njit(cache=True, nogil=True)
def _smooth_square(
    w: float, levels: Array, thresholds: Array, temperature: float
) -> tuple[float, float, float]:
    """Return ψ_T², its derivative and its second derivative at w."""
    first = np.searchsorted(thresholds, w - _REACH * temperature)
    last = np.searchsorted(thresholds, w + _REACH * temperature)
    value = levels[first]
    slope = 0.0
    curvature = 0.0
    for k in range(first, last):
        z = (w - thresholds[k]) / temperature
        step = levels[k + 1] - levels[k]
        phi = math.exp(-0.5 * z * z) / _ROOT_TWO_PI
        value += step * 0.5 * math.erfc(-z / math.sqrt(2.0))
        slope += step * phi / temperature
        curvature -= step * z * phi / (temperature * temperature)
    return value * value, 2.0 * value * slope, 2.0 * (slope * slope + value * curvature)


@njit(cache=True, nogil=True)
def _panels(
    low: float,
    high: float,
    level: float,
    mean: float,
    v: float,
    levels: Array,
    thresholds: Array,
    temperature: float,
    out: Array,
) -> None:
    """Add ∫_low^high (ψ_T² − level²) N(w; mean, v) dw and its derivatives by mean, v to `out`."""
    if not high > low:
        return
    s = math.sqrt(v)
    count = math.ceil((high - low) / (1.5 * min(s, temperature)))
    half = 0.5 * (high - low) / count
    for panel in range(count):
        centre = low + (2 * panel + 1) * half
        for i in range(_NODES.size):
            w = centre + half * _NODES[i]
            x = (w - mean) / s
            density = half * _WEIGHTS[i] * math.exp(-0.5 * x * x) / (_ROOT_TWO_PI * s)
            square = _smooth_square(w, levels, thresholds, temperature)[0] - level * level
            out[0] += density * square
            out[1] += density * square * x / s
            out[2] += density * square * (x * x - 1.0) / (2.0 * v)


@njit(cache=True, nogil=True)
def _staircase(mean: float, r2: float, levels: Array, thresholds: Array, out: Array) -> None:
    """Fill `out` (7,) with Gaussian averages of the sharp ψ over w ~ N(mean, r2), r2 > 0.

    E ψ, its first and second derivative by the mean, the derivative of the first by r2, and
    E ψ² with its derivatives by the mean and by r2. Only steps within reach are summed.
    """
    r = math.sqrt(r2)
    first = np.searchsorted(thresholds, mean - _REACH * r)
    last = np.searchsorted(thresholds, mean + _REACH * r)
    out[:] = 0.0
    out[0] = levels[first]
    out[4] = levels[first] ** 2
    for k in range(first, last):
        z = (mean - thresholds[k]) / r
        step = levels[k + 1] - levels[k]
        height = levels[k + 1] + levels[k]
        phi = step * math.exp(-0.5 * z * z) / (_ROOT_TWO_PI * r)
        passed = step * 0.5 * math.erfc(-z / math.sqrt(2.0))
        out[0] += passed
        out[1] += phi
        out[2] -= z * phi / r
        out[3] += (z * z - 1.0) * phi / (2.0 * r2)
        out[4] += height * passed
        out[5] += height * phi
        out[6] -= height * z * phi / (2.0 * r)


@njit(cache=True, nogil=True)
def _smoothed_q(
    mean: float, v: float, levels: Array, thresholds: Array, temperature: float, out: Array
) -> None:
    """Fill `out` with E ψ_T(w)² for w ~ N(mean, v) and its derivatives by mean and v, T > 0."""
    out[:] = 0.0
    if v == 0.0:
        square, slope, curvature = _smooth_square(mean, levels, thresholds, temperature)
        out[0] = square
        out[1] = slope
        out[2] = 0.5 * curvature
        return
    s = math.sqrt(v)
    left = mean - _REACH * s
    right = mean + _REACH * s
    if s <= temperature:
        _panels(left, right, 0.0, mean, v, levels, thresholds, temperature, out)
        return
    # Narrow steps: the sharp staircase in closed form, plus what the smoothing changes near it.
    stair = np.empty(7)
    _staircase(mean, v, levels, thresholds, stair)
    out[:] = stair[4:]
    last = thresholds.size - 1
    for k in range(last + 1):
        theta = thresholds[k]
        low = theta - _REACH * temperature
        high = theta + _REACH * temperature
        if k > 0:
            low = max(low, 0.5 * (thresholds[k - 1] + theta))
        if k < last:
            high = min(high, 0.5 * (thresholds[k + 1] + theta))
        below = levels[k]
        above = levels[k + 1]
        _panels(
            max(low, left), min(theta, right), below, mean, v, levels, thresholds, temperature, out
        )
        _panels(
            max(theta, left), min(high, right), above, mean, v, levels, thresholds, temperature, out
        )


@njit(cache=True, nogil=True)
def closure_averages(
    m: float,
    v: float,
    law: Law,
    out: Array,
) -> None:
    """Fill `out` (9,) with the averages named in `AVERAGES`, for w | w* ~ N(m·direction, v).

    `pull` is r_ψ − (m/ρ) m_ψ = v E[ψ_T'(w)], what ψ takes from the spread. Without levels ψ is
    the identity. Paper Proposition V.2 and its smoothed form in appendix IV-A.
    """
    values, probabilities, direction, levels, thresholds, constants = law
    temperature = constants[7]
    out[:] = 0.0
    stair = np.empty(7)
    if levels.size == 0:
        for k in range(values.size):
            out[0] += probabilities[k] * values[k] * direction[k] * m
            out[3] += probabilities[k] * values[k] * direction[k]
            out[2] += probabilities[k] * direction[k] ** 2 * m * m
            out[7] += probabilities[k] * direction[k] ** 2 * 2.0 * m
        out[2] += v
        out[8] = 1.0
        out[1] = v
        out[6] = 1.0
        return
    r2 = v + temperature * temperature
    for k in range(values.size):
        mean = m * direction[k]
        p = probabilities[k]
        if r2 > 0.0:
            _staircase(mean, r2, levels, thresholds, stair)
        else:
            stair[:] = 0.0
            stair[0] = levels[np.searchsorted(thresholds, mean, side="right")]
            stair[4] = stair[0] ** 2
        out[0] += p * values[k] * stair[0]
        out[1] += p * v * stair[1]
        out[3] += p * values[k] * direction[k] * stair[1]
        out[4] += p * values[k] * 0.5 * stair[2]
        out[5] += p * v * direction[k] * stair[2]
        out[6] += p * (stair[1] + v * stair[3])
        if temperature > 0.0:
            _smoothed_q(mean, v, levels, thresholds, temperature, stair[4:])
        out[2] += p * stair[4]
        out[7] += p * direction[k] * stair[5]
        out[8] += p * stair[6]


@njit(cache=True, nogil=True)
def closure_rates(
    m: float,
    v: float,
    law: Law,
    averages: Array,
    rates: Array,
    jacobian: Array,
) -> None:
    """Fill `rates` with (dm/dτ, dv/dτ, ε_g) and `jacobian` (3, 2) with their derivatives by (m, v).

    Paper Eqs. (6)–(7), written for v = q − m²/ρ.
    """
    eta, grip, kappa, sigma2, rho, noise, batch, _ = law[5]
    closure_averages(m, v, law, averages)
    kick = eta * eta * sigma2 / batch
    rates[2] = sigma2 * averages[2] - 2.0 * kappa * averages[0] + rho + noise
    rates[0] = eta * (kappa * rho - grip * averages[0])
    rates[1] = -2.0 * eta * grip * averages[1] + kick * rates[2]
    for j in range(2):
        jacobian[2, j] = sigma2 * averages[7 + j] - 2.0 * kappa * averages[3 + j]
        jacobian[0, j] = -eta * grip * averages[3 + j]
        jacobian[1, j] = -2.0 * eta * grip * averages[5 + j] + kick * jacobian[2, j]


# Rosenbrock method RODAS of order 4(3), L-stable and stiffly accurate: Hairer & Wanner, Solving
# Ordinary Differential Equations II (1996), section IV.7, in the transformed variables U.
_GAMMA = 0.25
_A = np.array(
    [
        [0.0, 0.0, 0.0, 0.0, 0.0],
        [1.544, 0.0, 0.0, 0.0, 0.0],
        [0.9466785280815826, 0.2557011698983284, 0.0, 0.0, 0.0],
        [3.314825187068521, 2.896124015972201, 0.9986419139977817, 0.0, 0.0],
        [1.221224509226641, 6.019134481288629, 12.53708332932087, -0.6878860361058950, 0.0],
        [1.221224509226641, 6.019134481288629, 12.53708332932087, -0.6878860361058950, 1.0],
    ]
)
_C = np.array(
    [
        [0.0, 0.0, 0.0, 0.0, 0.0],
        [-5.6688, 0.0, 0.0, 0.0, 0.0],
        [-2.430093356833875, -0.2063599157091915, 0.0, 0.0, 0.0],
        [-0.1073529058151375, -9.594562251023355, -20.47028614809616, 0.0, 0.0],
        [7.496443313967647, -10.24680431464352, -33.99990352819905, 11.70890893206160, 0.0],
        [
            8.083246795921522,
            -7.981132988064893,
            -31.52159432874371,
            16.31930543123136,
            -6.058818238834054,
        ],
    ]
)


@njit(cache=True, nogil=True)
def _step(
    m: float,
    v: float,
    h: float,
    rates: Array,
    jacobian: Array,
    law: Law,
    averages: Array,
    stages: Array,
    scratch_rates: Array,
    scratch_jacobian: Array,
) -> bool:
    """Fill `stages` (6, 2) with the increments of one step; False if v leaves [0, ∞)."""
    a = 1.0 / (h * _GAMMA) - jacobian[0, 0]
    b = -jacobian[0, 1]
    c = -jacobian[1, 0]
    d = 1.0 / (h * _GAMMA) - jacobian[1, 1]
    determinant = a * d - b * c
    if determinant == 0.0 or not math.isfinite(determinant):
        return False
    for i in range(6):
        mi = m
        vi = v
        gm = 0.0
        gv = 0.0
        for j in range(i):
            mi += _A[i, j] * stages[j, 0]
            vi += _A[i, j] * stages[j, 1]
            gm += _C[i, j] * stages[j, 0]
            gv += _C[i, j] * stages[j, 1]
        if not (vi >= 0.0 and math.isfinite(vi) and math.isfinite(mi)):
            return False
        if i > 0:
            closure_rates(mi, vi, law, averages, scratch_rates, scratch_jacobian)
            fm = scratch_rates[0] + gm / h
            fv = scratch_rates[1] + gv / h
        else:
            fm = rates[0]
            fv = rates[1]
        stages[i, 0] = (d * fm - b * fv) / determinant
        stages[i, 1] = (a * fv - c * fm) / determinant
    return True


@njit(cache=True, nogil=True)
def _sum_stages(m: float, v: float, stages: Array) -> tuple[float, float]:
    """Return (m, v) after a step."""
    for j in range(5):
        m += _A[5, j] * stages[j, 0]
        v += _A[5, j] * stages[j, 1]
    return m + stages[5, 0], v + stages[5, 1]


@njit(cache=True, nogil=True)
def _first_step(v: float, rates: Array, jacobian: Array, scales: Array) -> float:
    """Return a step in which little changes; `scales` are those of `_error`."""
    speed = abs(jacobian[0, 0]) + abs(jacobian[1, 1]) + abs(rates[1]) / (v + scales[2])
    return float(1e-2 * scales[0] ** 0.25 / (speed + 1e-300))


@njit(cache=True, nogil=True)
def _error(
    m: float, v: float, stages: Array, rates: Array, jacobian: Array, scales: Array
) -> float:
    """Return the local error of a step in units of the tolerance: of m, of v, and of ε_g.

    ε_g is controlled through its linearization: near a threshold it sees errors of m far below m.
    scales = (rtol, √ρ, floor of q, ρ + σ²).
    """
    rtol, root_rho, floor, ground = scales
    dm = abs(stages[5, 0])
    dv = abs(stages[5, 1])
    spread = math.sqrt(v + (m * m / (root_rho * root_rho) if root_rho > 0.0 else 0.0) + floor)
    error = dv / (rtol * (v + 1e-20 * floor))
    if root_rho > 0.0:
        error = max(error, dm / (rtol * root_rho * spread))
    seen = abs(jacobian[2, 0]) * dm + abs(jacobian[2, 1]) * dv
    rounding = 4e-15 * abs(m * jacobian[2, 0])
    return float(max(error, seen / (rtol * (rates[2] + ground) + rounding)))


@njit(cache=True, nogil=True)
def integrate_closure(
    m: float,
    v: float,
    begin: tuple[float, float],
    times: Array,
    law: Law,
    scales: Array,
    out: Array,
    counts: NDArray[np.int64],
) -> tuple[int, float, float, Array]:
    """Fill `out` (T, 2) with (m, v) at `times`; return status, last τ, last step and the path.

    It begins at the τ and with the step of `begin`, a step of 0 standing for one of its own choice;
    begun where another call has ended it goes on as if that had not ended. counts (3,) receives
    accepted steps, rejected steps, and evaluations of the right-hand side; the path (M, 3) holds
    (τ, m, v) at the start and after every accepted step.
    """
    tau, proposal = begin
    taken = 0
    path = np.empty((256, 3))
    path[0] = tau, m, v
    averages = np.empty(9)
    rates = np.empty(3)
    jacobian = np.empty((3, 2))
    next_rates = np.empty(3)
    next_jacobian = np.empty((3, 2))
    scratch_rates = np.empty(3)
    scratch_jacobian = np.empty((3, 2))
    stages = np.zeros((6, 2))
    closure_rates(m, v, law, averages, rates, jacobian)
    counts[2] += 1
    if proposal == 0.0:
        proposal = _first_step(v, rates, jacobian, scales)
    for i in range(times.size):
        while tau < times[i]:
            left = times[i] - tau
            if left < 1e-14 * times[i]:
                tau = times[i]
                break
            # Two equal steps rather than one long and one tiny at the end.
            h = left if proposal >= left else min(proposal, 0.5 * left)
            fits = _step(
                m, v, h, rates, jacobian, law, averages, stages, scratch_rates, scratch_jacobian
            )
            counts[2] += 5
            shrink = 0.25
            if fits:
                m_new, v_new = _sum_stages(m, v, stages)
                fits = v_new >= 0.0 and math.isfinite(v_new) and math.isfinite(m_new)
            if fits:
                closure_rates(m_new, v_new, law, averages, next_rates, next_jacobian)
                counts[2] += 1
                error = _error(m_new, v_new, stages, next_rates, next_jacobian, scales)
                fits = error <= 1.0
                shrink = min(4.0, max(0.2, 0.9 * max(error, 1e-12) ** -0.25))
            if fits:
                tau = times[i] if h == left else tau + h
                m = m_new
                v = v_new
                rates[:] = next_rates
                jacobian[:, :] = next_jacobian
                counts[0] += 1
                taken += 1
                if taken == path.shape[0]:
                    path = np.concatenate((path, np.empty_like(path)))
                path[taken] = tau, m, v
                proposal = h * shrink if h < left or shrink < 1.0 else max(proposal, h * shrink)
            else:
                counts[1] += 1
                proposal = h * shrink
                if proposal < 1e-15 * max(tau, 1e-280):
                    return FAILED_UNDERFLOW, tau, proposal, path[: taken + 1]
            if counts[0] + counts[1] > _LONGEST_RUN:
                return FAILED_STEPS, tau, proposal, path[: taken + 1]
        out[i, 0] = m
        out[i, 1] = v
    return 0, tau, proposal, path[: taken + 1]
