"""The density under a drift with two jumps and constant diffusion, in Laplace space.

    ∂_t μ = −∂_x(a μ) + D ∂²_x μ,   a = a_1 | a_2 | a_3 to the left, between, right of θ_1 < θ_2,

from a Gaussian. In each bin the transform is what the Gaussian would give under that bin's drift on
the whole line, which is a pair of complementary error functions, plus exponentials; μ and the flux
a μ − D μ' are continuous at the jumps. `mpmath` inverts it along Talbot's contour.
`python tests/two_jumps.py` prints the figures that tests hold.
"""

from __future__ import annotations

from dataclasses import dataclass

import mpmath as mp

DIGITS = 40


@dataclass(frozen=True)
class TwoJumps:
    """Drifts of three bins, their two ends, D, and the mean and variance of the start."""

    drift: tuple[float, float, float]
    jumps: tuple[float, float]
    diffusion: float
    mean: float
    variance: float

    def transform(self, s, x):
        """Laplace transform in t of μ(x), at complex s."""
        d = mp.mpf(self.diffusion)
        first, second = (mp.mpf(t) for t in self.jumps)
        drift = [mp.mpf(a) for a in self.drift]
        roots = [mp.sqrt(a * a + 4 * d * s) for a in drift]
        up = [(a + r) / (2 * d) for a, r in zip(drift, roots, strict=True)]
        down = [(a - r) / (2 * d) for a, r in zip(drift, roots, strict=True)]
        gap = second - first
        # Unknowns: growing in bin 1, growing and decaying in bin 2, decaying in bin 3.
        one, two, three = drift
        matrix, right = mp.matrix(4, 4), mp.matrix(4, 1)
        rise, fall = mp.exp(-up[1] * gap), mp.exp(down[1] * gap)
        for row, values in enumerate(
            (
                (1, -rise, -1, 0),
                (one - d * up[0], -(two - d * up[1]) * rise, -(two - d * down[1]), 0),
                (0, 1, fall, -1),
                (0, two - d * up[1], (two - d * down[1]) * fall, -(three - d * down[2])),
            )
        ):
            for column, value in enumerate(values):
                matrix[row, column] = value
        for row, (at, left, to) in enumerate(((first, 0, 1), (second, 1, 2))):
            (p, dp), (o, do) = (self._free(at, drift[k], roots[k]) for k in (left, to))
            right[2 * row] = o - p
            right[2 * row + 1] = (drift[to] * o - d * do) - (drift[left] * p - d * dp)
        a, b, c, e = mp.lu_solve(matrix, right)
        if x < first:
            return self._free(x, one, roots[0])[0] + a * mp.exp(up[0] * (x - first))
        if x < second:
            own = b * mp.exp(up[1] * (x - second)) + c * mp.exp(down[1] * (x - first))
            return self._free(x, two, roots[1])[0] + own
        return self._free(x, three, roots[2])[0] + e * mp.exp(down[2] * (x - second))

    def _free(self, x, a, root):
        """Transform and its derivative in x where the drift is `a` on the whole line."""
        d, v = mp.mpf(self.diffusion), mp.mpf(self.variance)
        z = x - mp.mpf(self.mean)
        parts = []
        for rate, sign in (((a - root) / (2 * d), -1), ((a + root) / (2 * d), 1)):
            tail = mp.erfc(sign * (z + rate * v) / mp.sqrt(2 * v)) / 2
            parts.append((rate, mp.exp(rate * z + rate * rate * v / 2) * tail))
        value = sum(part for _, part in parts) / root
        slope = sum(rate * part for rate, part in parts) / root
        return value, slope

    def pdf(self, x: float, time: float) -> float:
        """μ(x) at `time` to twelve digits and more."""
        with mp.workdps(DIGITS):
            at = mp.mpf(x)
            found = mp.invertlaplace(
                lambda s: self.transform(s, at), mp.mpf(time), method="talbot", degree=40
            )
            return float(mp.re(found))


# Confining, repelling, one way with a brake, and thin layers.
CASES = {
    "confined": TwoJumps((1.0, -0.4, -1.5), (-0.5, 0.4), 0.3, 0.1, 0.2),
    "parted": TwoJumps((-0.8, 0.1, 0.7), (-0.2, 0.3), 0.1, 0.0, 0.05),
    "one way": TwoJumps((1.2, 0.2, 0.9), (0.0, 0.5), 0.05, -0.8, 0.1),
    "layers": TwoJumps((2.0, 0.5, -1.0), (-0.3, 0.3), 0.02, -0.6, 0.04),
}
TIMES = (0.2, 1.0, 3.0)
POINTS = (-1.1, -0.6, -0.21, 0.02, 0.29, 0.36, 0.7, 1.3)


def main() -> None:
    for name, case in CASES.items():
        print(f'    "{name}": [')
        for time in TIMES:
            figures = [f"{case.pdf(x, time):.12g}" for x in POINTS]
            print(f"        [{', '.join(figures[:4])},\n         {', '.join(figures[4:])}],")
        print("    ],")


if __name__ == "__main__":
    main()
