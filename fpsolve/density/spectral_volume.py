"""Spectral volumes: high-order, conservative, adaptive discretization of the density.

Inside a quantization bin the density is analytic, so it is represented by polynomials of degree p
on elements that never cross a threshold. The density and the flux are continuous across elements;
control volumes inside an element are as wide as the Gauss–Lobatto weights. Elements are split where
the highest Legendre modes carry too much mass and merged, moments and end values kept, where they
carry none.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fpsolve.density.extent import fit_extent, grow
from fpsolve.density.lattice import Lattice
from fpsolve.density.mesh import Mesh
from fpsolve.density.moving_frame import detach, keep_inside
from fpsolve.density.regrid import KEEP, MERGE, SPLIT
from fpsolve.density.start import GaussianStart, gaussian_masses
from fpsolve.problem.problem import Problem

__all__ = ["SpectralVolumes", "default_order"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

# Half-width of the initial domain in standard deviations: Φ(−8.3) = 5e−17.
_REACH = 8.3
# Widths of the elements at a threshold, in units of its layer D/|a|, before any adaptation.
_LAYERS = 4.0
# Elements are merged where they leave this share of what they may unresolved.
_MERGE = 0.01


def default_order(rtol: float) -> int:
    """Polynomial degree that costs least at tolerance `rtol`, found by measurement."""
    return 5 if rtol > 3e-5 else 8 if rtol > 3e-8 else 10


class SpectralVolumes(Mesh):
    """A mesh that starts from a Gaussian and adapts to what time steps make of it.

    Parameters
    ----------
    problem : Problem
        What is solved.
    order : int
        Polynomial degree p.
    resolution : float
        Mass that the highest modes of an element may carry.
    start : GaussianStart
        Initial conditional densities.
    """

    scheme = 0

    def __init__(
        self, problem: Problem, *, order: int, resolution: float, start: GaussianStart
    ) -> None:
        lattice, half = Lattice.of(problem), _REACH * start.deviation
        cells = [lattice.cover(m - half, m + half, 2.0 * start.deviation) for m in start.mean]
        super().__init__(problem, order=order, resolution=resolution, cells=cells)
        while True:
            self.u = self._gaussian(start)
            action = self._start_action()
            if not (action == SPLIT).any():
                break
            self.carry_out(action)
            self.place()
        self._fix_start_mass(start)

    # --- the start -------------------------------------------------------------------------------

    def _gaussian(self, start: GaussianStart) -> Array:
        z = (self.x - np.repeat(start.mean, np.diff(self.first))) / start.deviation
        return np.asarray(np.exp(-0.5 * z**2) / (start.deviation * math.sqrt(2 * math.pi)))

    def _start_action(self) -> Indices:
        """Split where the start is unresolved or a threshold's layer is about to form."""
        action = self.mark(0.0)
        action[action == MERGE] = KEEP
        quantizer = self.problem.weight_quantizer
        if quantizer is None or quantizer.temperature > 0:
            return action
        theta = quantizer.thresholds
        middle = self.left + 0.5 * self.width
        above = theta[np.minimum(np.searchsorted(theta, middle), theta.size - 1)]
        below = theta[np.maximum(np.searchsorted(theta, middle) - 1, 0)]
        nearest = np.where(abs(middle - below) <= abs(middle - above), below, above)
        gap = np.maximum(abs(middle - nearest) - 0.5 * self.width, 0.0)
        gap[gap < 1e-9 * self.width] = 0.0
        w_star = np.repeat(self.problem.teacher.values, np.diff(self.first))
        speed = np.maximum(
            abs(self.problem.drift(nearest, w_star)),
            abs(self.problem.drift(np.nextafter(nearest, -math.inf), w_star)),
        )
        diffusivity = float(self.problem.diffusivity(self.generalization_error))
        layer = _LAYERS * diffusivity / np.maximum(speed, 1e-300)
        reached = np.abs(self.u).max(axis=0) * np.minimum(layer, self.width) > self.resolution
        wide = (self.width > np.maximum(layer, gap)) & (self.width > self.narrowest)
        action[wide & reached] = SPLIT
        return action

    def _fix_start_mass(self, start: GaussianStart) -> None:
        """Give every element the exact mass of the Gaussian, its end values unchanged."""
        centre = np.repeat(start.mean, np.diff(self.first))
        # Neighbours share an edge to the last bit, so that no mass falls between them.
        right = np.append(self.left[1:], 0.0)
        ends = self.first[1:] - 1
        right[ends] = self.left[ends] + self.width[ends]
        low = (self.left - centre) / start.deviation
        high = (right - centre) / start.deviation
        defect = gaussian_masses(low, high) - (self.mass * self.u).sum(axis=0)
        self.u = self.u + self.element.restore[:, :1] * (2.0 * defect / self.width)

    # --- adaptation ------------------------------------------------------------------------------

    def prepare(self, step: float) -> float:
        """Return the step to try, short enough for meshes that move."""
        return keep_inside(self, step) if self.detached.any() else step

    def lowest(self, rtol: float) -> float:
        """Least density accepted of a step: half of what is promised, or what is there already."""
        return min(float(self.u.min()), -0.5 * rtol * float(self.u.max()))

    def adapt(self, new: Array, *, step: float, merge: bool) -> bool:
        """Judge the density `new` reached by a step; accept it, adapted, or prepare for a retry.

        Returns
        -------
        bool
            True if `new` was taken over; False if the mesh was refined or extended under the old
            density because `new` is unresolved on it or has reached its end.
        """
        old, self.u = self.u, new
        action = self.mark(_MERGE * self.resolution if merge else 0.0)
        crowded = bool((self.ends > self.resolution).any())
        if crowded or float(self.unresolved.max()) > self.resolution:
            self.u = old
            if crowded:
                grow(self, step)
            else:
                self.refine(action)
            return False
        changed = bool((action != KEEP).any())
        if changed:
            self.carry_out(action)
        self.shift = self.shift + self.speed * step
        if changed or self.detached.any():
            self.place()
        fit_extent(self, step, trim=merge)
        if merge:
            detach(self, step)
        return True
