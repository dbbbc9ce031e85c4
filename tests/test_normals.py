"""Random numbers: the documented definition, goodness of fit, independence of streams.

Seeds are fixed; every statistical limit is a two-sided one at 1e-7, so that each test would fail
for at most one seed in 10^5.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from fpsolve import ParameterError
from fpsolve.particles.streams import draw, entropy_from, run_streams

Z_LIMIT = stats.norm.isf(0.5e-7)
ROOT3 = math.sqrt(3.0)
CDF = {
    "gaussian": stats.norm.cdf,
    "uniform": stats.uniform(-ROOT3, 2 * ROOT3).cdf,
    "laplace": stats.laplace(scale=math.sqrt(0.5)).cdf,
}
# E x², E x⁴, … of the laws, each of unit variance.
EVEN_MOMENTS = {
    "gaussian": [1, 3, 15, 105, 945, 10395],
    "uniform": [3**k / (2 * k + 1) for k in range(1, 7)],
    "laplace": [math.factorial(2 * k) / 2**k for k in range(1, 7)],
}
MASK = 2**64 - 1


def hashed(counter: int, key: tuple[int, int]) -> int:
    """The documented hash, in Python's exact integers."""
    z = (counter * 0x9E3779B97F4A7C15 + key[0] & MASK) ^ key[1]
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


def moment_scores(sums: np.ndarray, count: int, law: str) -> np.ndarray:
    """Standard scores of the first six sample moments."""
    exact = {2 * k: m for k, m in enumerate(EVEN_MOMENTS[law], start=1)}
    mean = np.array([exact.get(k, 0.0) for k in range(1, 7)])
    variance = np.array([exact[2 * k] for k in range(1, 7)]) - mean**2
    return (sums / count - mean) / np.sqrt(variance / count)


def poisson_tail(observed: int, expected: float) -> float:
    """Two-sided p-value of a count."""
    return 2 * min(stats.poisson.cdf(observed, expected), stats.poisson.sf(observed - 1, expected))


def test_hash_with_an_empty_second_key_is_splitmix64():
    # First output of SplitMix64 from seed 0, as published with its reference implementation.
    assert hashed(1, (0, 0)) == 0xE220A8397B1DCDAF
    pair = draw(np.zeros(2, dtype=np.uint64), 1, 1, "uniform")[:, 0]
    upper, lower = np.rint((pair + ROOT3) / (2 * ROOT3) * 2**32 - 0.5).astype(int)
    assert (upper, lower) == (0xE220A839, 0x7B1DCDAF)


@pytest.mark.parametrize("first", [0, 12345, 2**40])
def test_normals_follow_their_definition(first):
    key = (0xDEADBEEFCAFEBABE, 0x0123456789ABCDEF)
    drawn = draw(np.array(key, dtype=np.uint64), first, 2000)
    for j in range(2000):
        z = hashed(first + j, key)
        radius = math.sqrt(-2 * math.log(((z >> 32) + 0.5) / 2**32))
        low = z & 0xFFFFFFFF
        angle = math.pi * (((low & 0x7FFFFFFF) + 0.5) / 2**31 - 0.5 + (low >> 31))
        assert drawn[0, j] == pytest.approx(radius * math.cos(angle), rel=1e-9, abs=1e-9)
        assert drawn[1, j] == pytest.approx(radius * math.sin(angle), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("law", CDF)
def test_a_block_is_its_parts(law):
    key = run_streams(3, 0).inputs
    parts = [draw(key, first, count, law) for first, count in ((7, 1), (8, 300), (308, 706))]
    np.testing.assert_array_equal(draw(key, 7, 1007, law), np.concatenate(parts, axis=1))


def blocks(law: str, millions: int):
    """Yield the draws a million at a time."""
    key = run_streams(20, 0).inputs
    for k in range(millions):
        yield draw(key, k * 500_000, 500_000, law).ravel()


SIZES = [pytest.param(10, id="1e7"), pytest.param(100, id="1e8", marks=pytest.mark.slow)]


@pytest.mark.parametrize("millions", SIZES)
@pytest.mark.parametrize("law", CDF)
def test_moments_and_cells(law, millions):
    sums, counts = np.zeros(6), np.zeros(1000)
    for x in blocks(law, millions):
        power = np.ones_like(x)
        for k in range(6):
            power *= x
            sums[k] += power.sum()
        counts += np.bincount((CDF[law](x) * 1000).astype(int), minlength=1000)[:1000]
    total = millions * 10**6
    assert np.abs(moment_scores(sums, total, law)).max() < Z_LIMIT
    assert counts.sum() == total
    chi2 = np.square(counts - total / 1000).sum() / (total / 1000)
    assert stats.chi2.isf(1 - 1e-7, 999) < chi2 < stats.chi2.isf(1e-7, 999)


@pytest.mark.parametrize("millions", SIZES)
def test_normal_tails_to_five_sigma(millions):
    limits = np.array([3.0, 4.0, 4.5, 5.0])
    above, below = np.zeros(4, dtype=int), np.zeros(4, dtype=int)
    for x in blocks("gaussian", millions):
        above += (x[:, None] > limits).sum(axis=0)
        below += (x[:, None] < -limits).sum(axis=0)
    for count, limit in zip([*above, *below], [*limits, *limits], strict=True):
        assert poisson_tail(count, millions * 1e6 * stats.norm.sf(limit)) > 1e-7


def correlation_scores(x: np.ndarray, y: np.ndarray) -> list[float]:
    """Standard scores of the correlations of x with y, and of their squares and signs."""
    n = x.size
    squares = np.mean((x**2 - 1) * (y**2 - 1)) / 2
    mixed = np.mean(x * (y**2 - 1)) / math.sqrt(2)
    return [math.sqrt(n) * c for c in (np.mean(x * y), squares, mixed)]


@pytest.mark.parametrize("lag", [1, 2, 3, 8, 504, 1000])
def test_no_serial_correlation(lag):
    even, odd = draw(run_streams(21, 0).inputs, 0, 1_000_000)
    scores = correlation_scores(even, odd)
    for one, other in ((even, even), (odd, odd), (even, odd)):
        scores += correlation_scores(one[:-lag], other[lag:])
    assert np.abs(scores).max() < Z_LIMIT


@pytest.mark.parametrize(
    ("one", "other"),
    [((1, 0), (1, 1)), ((1, 0), (2, 0)), ((0, 0), (2**64, 0)), ((5, 7), (7, 5))],
)
def test_no_correlation_between_streams(one, other):
    streams = run_streams(*one), run_streams(*other)
    scores = []
    for first, second in (
        (streams[0].inputs, streams[1].inputs),
        (streams[0].inputs, streams[0].labels),
    ):
        x, y = (draw(key, 0, 500_000).ravel() for key in (first, second))
        scores += correlation_scores(x, y) + correlation_scores(x[:-1], y[1:])
    assert np.abs(scores).max() < Z_LIMIT


def test_streams_whose_keys_differ_by_one_bit_are_independent():
    key = run_streams(4, 0).inputs
    pairs = draw(key, 0, 200_000)
    for word in (0, 1):
        for bit in (0, 3, 27, 57, 63):
            other = key.copy()
            other[word] ^= np.uint64(1 << bit)
            for x, y in zip(pairs, draw(other, 0, 200_000), strict=True):
                assert np.abs(correlation_scores(x, y)).max() < Z_LIMIT


def test_fresh_entropy_differs_and_bad_seeds_are_refused():
    assert entropy_from(None) != entropy_from(None)
    assert entropy_from(12) == 12
    for seed in (-1, 1.5, "1", True):
        with pytest.raises(ParameterError, match="seed"):
            entropy_from(seed)
