"""`Equation`: coefficients of a separable McKean–Vlasov equation, as the kernels want them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from fpsolve.numerics import kernels
from fpsolve.numerics.carry import Placed, carry_over, fill_in, same_elements
from fpsolve.numerics.kernels import Bins, Cells, Law, Mesh, Model, Motion, Reference

__all__ = ["SEGMENT_KINDS", "Equation", "Fields", "Segment", "affine_law"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

# Drift terms (J, p + 1, E), h (p + 1, E), functionals (F, p + 1, E) at points x (p + 1, E) of
# elements whose bins and classes are given, each (E,).
Fields = Callable[[Array, Indices, Indices], tuple[Array, Array, Array]]
# A rate between two times on which a step must land: (kind, start, duration, initial, final).
Segment = tuple[float, float, float, float, float]
SEGMENT_KINDS = {"constant": 0.0, "linear": 1.0, "cosine": 2.0, "exponential": 3.0}
CONSTANT: Segment = (SEGMENT_KINDS["constant"], 0.0, 1.0, 1.0, 1.0)


def affine_law(
    base: Array,
    gain: Array,
    power: Array,
    *,
    extra: Array | None = None,
    segments: Sequence[Segment] = (CONSTANT,),
    least: float = 0.0,
    address: int = 0,
) -> Law:
    """Return the law rate^power (base + gain·M + extra·e) of the coefficients (c_1 … c_J, D).

    `segments` are those of the rate and of each e_l, the columns of `extra`.
    """
    further = np.zeros((base.size, 0)) if extra is None else extra
    arrays = [np.array(a, dtype=np.float64) for a in (base, gain, power, further, segments)]
    scalars, factors, exponents, columns, rows = arrays
    return Law(scalars, factors, exponents, columns, rows, float(least), int(address))


@dataclass(frozen=True, eq=False)
class Equation:
    """∂_t μ_k = −∂_x(Σ_j c_j a_jk(x) μ_k) + ∂_x²(D s_k h(x)² μ_k) for classes k.

    Scalars c_j and D follow from time and from linear functionals M of all classes, see
    `kernels.Law`. Everything is dimensionless.

    Attributes
    ----------
    bins : Bins
        Intervals inside which a_j, h and the functionals are smooth.
    drift, shape, functionals : ndarray, shapes (J, K, B, 3), (B, 3), (F, K, B, 3)
        Their coefficients as polynomials of degree 2 on the bins; `drift` has J = 0 where `fields`
        gives the values.
    fields : callable or None
        The same values at any points, see `Fields`.
    terms : int
        Number J of drift terms.
    flat : ndarray, shape (J, K, B)
        Drift where it is constant inside a bin, NaN elsewhere.
    probability, scale, relevance : ndarray, shape (K,)
        Weight of a class, s_k, and by how much errors of a class count (≤ 1).
    walls : ndarray, shape (2, F, K)
        Functionals of an atom on the lower and the upper wall, where those absorb.
    offset, rule : ndarray, shape (F,)
        Constants added to the functionals, and how accurately they are wanted.
    widest : callable or None
        Largest element that resolves the coefficients at [left, right], shape (E,).
    """

    bins: Bins
    drift: Array
    shape: Array
    functionals: Array
    terms: int
    flat: Array
    probability: Array
    scale: Array
    relevance: Array
    walls: Array
    offset: Array
    rule: Indices
    fields: Fields | None = None
    widest: Callable[[Array, Array], Array] | None = field(default=None)

    def model(self) -> Model:
        """The groups of arrays that kernels take.

        They are copies: atoms add to the offsets, and read-only arrays are a type of their own, for
        which everything would be compiled again.
        """
        return Model(
            self.drift.copy(),
            self.shape.copy(),
            self.functionals.copy(),
            self.flat.copy(),
            self.walls.copy(),
            self.probability.copy(),
            self.scale.copy(),
            self.relevance.copy(),
            self.offset.copy(),
            self.rule.copy(),
        )

    def only(self, classes: Indices) -> Equation:
        """Return the equation of these classes, in this order."""
        fields = self.fields

        def theirs(x: Array, bins: Indices, own: Indices) -> tuple[Array, Array, Array]:
            assert fields is not None
            return fields(x, bins, classes[own])

        return replace(
            self,
            drift=self.drift[:, classes],
            functionals=self.functionals[:, classes],
            flat=self.flat[:, classes],
            probability=self.probability[classes],
            scale=self.scale[classes],
            relevance=self.relevance[classes],
            walls=self.walls[:, :, classes],
            fields=None if fields is None else theirs,
        )

    def place(
        self,
        ref: Reference,
        model: Model,
        cells: Cells,
        motion: Motion,
        before: Placed | None = None,
    ) -> Mesh:
        """Everything that follows from the cells; `fields` only where they are not those `before`.

        Parameters
        ----------
        ref, model, cells, motion
            What the mesh is made of.
        before : Placed, optional
            A mesh that was made before.
        """
        if self.fields is None:
            mesh: Mesh = kernels.place(ref, self.bins, model, cells, motion)
            return mesh
        nodes, size = ref.nodes.size, cells.bins.size
        left, width, finest, inverse = np.empty((4, size))
        widest = np.full(size, np.inf)
        kernels.positions(self.bins, cells, motion.shift, left, width, finest)
        classes = np.repeat(np.arange(cells.first.size - 1), np.diff(cells.first))
        heat = 2.0 * self.scale[classes] / width
        rows = np.empty((1 + self.terms + self.offset.size, nodes, size))
        mass, drift, functionals = rows[0], rows[1 : 1 + self.terms], rows[1 + self.terms :]
        grid = (left, width, finest, widest, inverse, heat, mass[:0])
        mesh = Mesh(cells.first, *grid, mass, drift, functionals)
        absorbing, new = self.bins.absorbing != 0.0, np.arange(size)
        if before is not None:
            source = same_elements(before, mesh, motion.speed, ends=not absorbing.any())
            carry_over(before.mesh, mesh, source)
            new = np.flatnonzero(source < 0)
        if new.size:
            own, x = classes[new], left[new] + 0.5 * width[new] * (1.0 + ref.nodes[:, None])
            terms, h, seen = map(np.ascontiguousarray, self.fields(x, cells.bins[new], own))
            found = terms, h, seen
            fill_in(mesh, new, own, ref.weights, found, motion.speed, self.probability)
            if self.widest is not None:
                widest[new] = self.widest(left[new], left[new] + width[new])
        for side, node, end in ((0, 0, cells.first[:-1]), (1, -1, cells.first[1:] - 1)):
            if absorbing[side]:
                functionals[:, node, end] = self.probability * self.walls[side]
                mass[node, end] = 1.0
        return mesh
