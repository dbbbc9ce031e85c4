"""Compiled mesh adaptation: where to split, what to merge, and the conservative transfer.

An element is a cell of the dyadic lattice of its quantization bin: `index` counts cells of width
span·2^−level from the bin's origin, so that splitting and merging undo each other exactly and a
mesh never drifts off the thresholds. Nodal fields have shape (p + 1, E), as in `step`.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["KEEP", "MERGE", "SPLIT", "mark", "positions", "regrid", "significance", "weigh"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

MERGE = -1
KEEP = 0
SPLIT = 1


@njit(cache=True, nogil=True)
def positions(
    origin: Array,
    span: Array,
    bins: Indices,
    level: Indices,
    index: Indices,
    first: Indices,
    shift: Array,
    nodes: Array,
    left: Array,
    width: Array,
    x: Array,
) -> None:
    """Fill left ends, widths (E,) and node positions (p + 1, E); `shift` (K,) moves the lattice."""
    for k in range(first.size - 1):
        for e in range(first[k], first[k + 1]):
            width[e] = span[bins[e]] * 2.0 ** (-level[e])
            left[e] = origin[bins[e]] + index[e] * width[e] + shift[k]
            for j in range(nodes.size):
                x[j, e] = left[e] + 0.5 * width[e] * (1.0 + nodes[j])


@njit(cache=True, nogil=True)
def weigh(
    x: Array,
    psi: Array,
    width: Array,
    first: Indices,
    quadrature: Array,
    w_star: Array,
    probability: Array,
    learning_rate: float,
    kappa: float,
    sigma2: float,
    pull: float,
    speed: Array,
    mass: Array,
    drift: Array,
    functionals: Array,
) -> None:
    """Fill masses, drift relative to the mesh, weights of ε_g − ρ − σ², m, q (3, p + 1, E)."""
    for k in range(first.size - 1):
        for j in range(x.shape[0]):
            for e in range(first[k], first[k + 1]):
                volume = 0.5 * width[e] * quadrature[j]
                mass[j, e] = volume
                drift[j, e] = learning_rate * (kappa * w_star[k] - pull * psi[j, e]) - speed[k]
                share = probability[k] * volume
                error = psi[j, e] * (sigma2 * psi[j, e] - 2.0 * kappa * w_star[k])
                functionals[0, j, e] = share * error
                functionals[1, j, e] = share * w_star[k] * x[j, e]
                functionals[2, j, e] = share * x[j, e] * x[j, e]


@njit(cache=True, nogil=True)
def significance(
    u: Array,
    left: Array,
    width: Array,
    first: Indices,
    probability: Array,
    second_moment: Array,
    lift: float,
    height: float,
    out: Array,
) -> None:
    """How often an element's mass counts, so that one tolerance guards all that is promised.

    Once for the L¹ error; by its share in q far out; and where the density is low, so that
    ripples stay small against it (`lift` times) or against its maximum. `second_moment`
    (p + 1, E) are the weights of q.
    """
    q = 0.0
    peak = 1e-300
    for j in range(u.shape[0]):
        for e in range(u.shape[1]):
            q += second_moment[j, e] * u[j, e]
            peak = max(peak, u[j, e])
    q = max(q, 1e-300)
    for k in range(first.size - 1):
        for e in range(first[k], first[k + 1]):
            lowest = u[0, e]
            for j in range(1, u.shape[0]):
                lowest = min(lowest, u[j, e])
            far = max(abs(left[e]), abs(left[e] + width[e]))
            ripple = height / (max(lift * lowest, peak) * width[e])
            out[e] = max(1.0, probability[k] * far * far / q, ripple)


@njit(cache=True, nogil=True)
def _tail(u: Array, e: int, width: float, modes: Array) -> float:
    """Mass carried by the two highest Legendre modes of element e: what it barely resolves."""
    largest = 0.0
    for r in range(modes.shape[0]):
        coefficient = 0.0
        for j in range(u.shape[0]):
            coefficient += modes[r, j] * u[j, e]
        largest = max(largest, abs(coefficient))
    return largest * width


@njit(cache=True, nogil=True)
def mark(
    u: Array,
    bins: Indices,
    level: Indices,
    index: Indices,
    width: Array,
    importance: Array,
    widest: Array,
    narrowest: float,
    first: Indices,
    modes: Array,
    split_above: float,
    merge_below: float,
    unresolved: Array,
    action: Indices,
    ends: Array,
) -> None:
    """Choose an action per element, and tell how much mass each leaves unresolved.

    Masses count `importance` (E,) times: far out, little mass makes a large second moment.
    `widest` (E,) bounds widths from above, whatever the density; elements narrower than
    `narrowest` count as resolved. `ends` (2, K) gets the mass scale of the outermost elements.
    """
    for k in range(first.size - 1):
        begin, end = first[k], first[k + 1]
        for e in range(begin, end):
            unresolved[e] = importance[e] * _tail(u, e, width[e], modes)
            action[e] = KEEP
            if width[e] <= narrowest:
                unresolved[e] = 0.0
            elif unresolved[e] > split_above or width[e] > widest[e]:
                action[e] = SPLIT
            elif unresolved[e] < merge_below and 2.0 * width[e] <= widest[e]:
                action[e] = MERGE
        for side in range(2):
            e = begin if side == 0 else end - 1
            peak = 0.0
            for j in range(u.shape[0]):
                peak = max(peak, abs(u[j, e]))
            ends[side, k] = importance[e] * peak * width[e]
        for e in range(begin, end):
            # Mass on its way out of a fine element must not fall into a coarse one.
            if unresolved[e] > split_above:
                if e > begin and width[e - 1] > 1.5 * width[e]:
                    action[e - 1] = SPLIT
                if e + 1 < end and width[e + 1] > 1.5 * width[e]:
                    action[e + 1] = SPLIT
        for e in range(begin, end):
            if action[e] == MERGE:
                paired = (
                    e + 1 < end
                    and action[e + 1] == MERGE
                    and bins[e] == bins[e + 1]
                    and level[e] == level[e + 1]
                    and index[e] % 2 == 0
                    and index[e + 1] == index[e] + 1
                )
                second = (
                    e > begin
                    and action[e - 1] == MERGE
                    and bins[e] == bins[e - 1]
                    and level[e] == level[e - 1]
                    and index[e] % 2 != 0
                    and index[e - 1] == index[e] - 1
                )
                if not paired and not second:
                    action[e] = KEEP


@njit(cache=True, nogil=True)
def _union(
    u: Array,
    e: int,
    width: float,
    halves: Array,
    merge: Array,
    restore: Array,
    nodes: Array,
    quadrature: Array,
    out: Array,
) -> float:
    """Put the union of elements e, e + 1 into `out`; return the L¹ change.

    It keeps mass, first and second moment, so that adaptation disturbs neither m nor q.
    """
    n = u.shape[0]
    defect_0, defect_1, defect_2 = 0.0, 0.0, 0.0
    for j in range(n):
        value = 0.0
        for i in range(n):
            value += merge[j, i] * u[i, e] + merge[j, n + i] * u[i, e + 1]
        out[j] = value
        defect_0 -= quadrature[j] * value
        defect_1 -= quadrature[j] * value * nodes[j]
        defect_2 -= quadrature[j] * value * nodes[j] ** 2
        for child in range(2):
            part = 0.5 * quadrature[j] * u[j, e + child]
            xi = 0.5 * (nodes[j] - 1.0) + child
            defect_0 += part
            defect_1 += part * xi
            defect_2 += part * xi * xi
    for j in range(n):
        out[j] += defect_0 * restore[j, 0] + defect_1 * restore[j, 1] + defect_2 * restore[j, 2]
    change = 0.0
    for child in range(2):
        for j in range(n):
            value = 0.0
            for i in range(n):
                value += halves[child, j, i] * out[i]
            change += 0.5 * width * quadrature[j] * abs(value - u[j, e + child])
    return change


@njit(cache=True, nogil=True)
def regrid(
    u: Array,
    bins: Indices,
    level: Indices,
    index: Indices,
    width: Array,
    importance: Array,
    first: Indices,
    action: Indices,
    halves: Array,
    merge: Array,
    restore: Array,
    nodes: Array,
    quadrature: Array,
    modes: Array,
    merge_below: float,
) -> tuple[Array, Indices, Indices, Indices, Indices]:
    """Carry out `action`; return the new (u, bins, level, index, first).

    Splitting is exact. A union keeps the moments up to the second and both end values; it happens
    only where it changes the density, and leaves unresolved, less than `merge_below`.
    """
    n, elements = u.shape
    room = elements
    for e in range(elements):
        room += 1 if action[e] == SPLIT else 0
    new_u = np.empty((n, room))
    new_bins = np.empty(room, np.int64)
    new_level = np.empty(room, np.int64)
    new_index = np.empty(room, np.int64)
    new_first = np.zeros_like(first)
    joined = np.empty((n, 1))
    count = 0
    for k in range(first.size - 1):
        e = first[k]
        while e < first[k + 1]:
            if action[e] == SPLIT:
                for child in range(2):
                    for j in range(n):
                        value = 0.0
                        for i in range(n):
                            value += halves[child, j, i] * u[i, e]
                        new_u[j, count] = value
                    new_bins[count] = bins[e]
                    new_level[count] = level[e] + 1
                    new_index[count] = 2 * index[e] + child
                    count += 1
                # Interpolation rounds; shared vertices must agree to the last bit.
                new_u[0, count - 2] = u[0, e]
                new_u[n - 1, count - 1] = u[n - 1, e]
                new_u[0, count - 1] = new_u[n - 1, count - 2]
                e += 1
                continue
            if action[e] == MERGE and index[e] % 2 == 0:
                change = _union(
                    u, e, width[e], halves, merge, restore, nodes, quadrature, joined[:, 0]
                )
                change = max(change, _tail(joined, 0, 2 * width[e], modes))
                if change * max(importance[e], importance[e + 1]) < merge_below:
                    for j in range(n):
                        new_u[j, count] = joined[j, 0]
                    new_u[0, count] = u[0, e]
                    new_u[n - 1, count] = u[n - 1, e + 1]
                    new_bins[count] = bins[e]
                    new_level[count] = level[e] - 1
                    new_index[count] = index[e] // 2
                    count += 1
                    e += 2
                    continue
            for j in range(n):
                new_u[j, count] = u[j, e]
            new_bins[count] = bins[e]
            new_level[count] = level[e]
            new_index[count] = index[e]
            count += 1
            e += 1
        new_first[k + 1] = count
    return (
        new_u[:, :count].copy(),
        new_bins[:count].copy(),
        new_level[:count].copy(),
        new_index[:count].copy(),
        new_first,
    )
