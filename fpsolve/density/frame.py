"""`Frame`: conditional densities at one time, piecewise polynomial with point masses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.density.atoms import Atoms
from fpsolve.density.piecewise import cumulate, evaluate, integrate, invert, survey
from fpsolve.numerics.element import Element, reference_element

__all__ = ["Elements", "Frame", "flanked"]

Array = NDArray[np.float64]
# Left ends, widths and values at the nodes of elements.
Elements = tuple[Array, Array, Array]


@dataclass(frozen=True, eq=False, init=False)
class Frame:
    """Conditional densities μ(w | w*_k) at one time; arrays are copied and made read-only.

    A density of order p is a polynomial on each element, given by its values at the p + 1
    Gauss–Lobatto nodes. It may be discontinuous between elements, and there may be no element at
    all where every weight sits in an atom.

    Parameters
    ----------
    order : int
        Polynomial degree p >= 4.
    first : array_like, shape (K + 1,)
        First element of each teacher value; elements of one value ascend and do not overlap.
    left, width : array_like, shape (E,)
        Left ends and widths of the elements (dimensionless).
    u : array_like, shape (p + 1, E)
        Density at the nodes.
    atoms : Atoms, optional
        Point masses beside the polynomials; none by default.
    """

    kind = "polynomial"

    order: int
    first: NDArray[np.int64]
    left: Array
    width: Array
    u: Array
    atoms: Atoms

    def __init__(
        self,
        order: int,
        first: ArrayLike,
        left: ArrayLike,
        width: ArrayLike,
        u: ArrayLike,
        atoms: Atoms | None = None,
    ) -> None:
        fields: dict[str, Any] = {"order": order, "first": _readonly(first, np.int64)}
        for name, values in (("left", left), ("width", width), ("u", u)):
            fields[name] = _readonly(values, np.float64)
        fields["atoms"] = Atoms.none(fields["first"].size - 1) if atoms is None else atoms
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    @classmethod
    def series(cls, order: int, first: NDArray[np.int64], values: Array) -> list[Frame]:
        """Take over densities at several times, without point masses.

        Parameters
        ----------
        order : int
            As above.
        first : ndarray, shape (T, K + 1)
            First elements at each time. Neither array is copied, and both have to be read-only.
        values : ndarray
            Left ends, widths and values at the nodes, (p + 3, E), one time after the other.

        Returns
        -------
        list of Frame
            One a time.
        """
        out, nodes, at = [], order + 1, 0
        atoms = Atoms.none(first.shape[1] - 1)
        held = np.zeros((first.shape[0], first.shape[1] - 1))
        surveys = np.empty((first.shape[0], 4))
        survey(first, values, _survey_rows(order), order, held, surveys)
        every = zip(first, first[:, -1].tolist(), surveys.tolist(), strict=True)
        for begins, count, found in every:
            middle, begin, end = at + count, at + 2 * count, at + (2 + nodes) * count
            frame = object.__new__(cls)
            frame.__dict__.update(
                order=order,
                first=begins,
                left=values[at:middle],
                width=values[middle:begin],
                u=values[begin:end].reshape(nodes, count),
                atoms=atoms,
                _survey=tuple(found),
            )
            out.append(frame)
            at = end
        return out

    @classmethod
    def of_points(cls, points: ArrayLike, order: int = 4) -> Frame:
        """All weights of teacher value k at `points`[k], shape (K,)."""
        position = np.asarray(points, dtype=np.float64)[:, None]
        first = np.zeros(position.size + 1, dtype=np.int64)
        nothing = np.empty(0)
        atoms = Atoms(position, np.ones_like(position))
        return cls(order, first, nothing, nothing, np.empty((order + 1, 0)), atoms)

    @property
    def count(self) -> int:
        """Number K of teacher values."""
        return self.first.size - 1

    @property
    def element(self) -> Element:
        """Reference element of the polynomials."""
        return reference_element(self.order)

    @cached_property
    def _modes(self) -> Array:
        return _readonly(self.element.legendre @ self.u, np.float64)

    @cached_property
    def _primitive(self) -> Array:
        return _readonly(self.element.primitive @ self.u, np.float64)

    @cached_property
    def _before(self) -> Array:
        """Mass of a teacher value's elements before each element, shape (E,)."""
        mass = self.element_masses()
        before = np.zeros(self.left.size)
        for own in self._owned():
            before[own.start + 1 : own.stop] = np.cumsum(mass[own])[:-1]
        return _readonly(before, np.float64)

    def _owned(self) -> list[slice]:
        return [slice(int(a), int(b)) for a, b in zip(self.first[:-1], self.first[1:], strict=True)]

    def element_masses(self) -> Array:
        """Mass of each element, shape (E,)."""
        return np.asarray(0.5 * self.width * (self.element.weights @ self.u))

    # --- questions, each of one teacher value ----------------------------------------------------

    def pdf(self, k: int, w: Array) -> Array:
        """Return the density of teacher value k at `w`, atoms left out; 0 outside the elements."""
        own = self._owned()[k]
        out = np.zeros(w.size)
        evaluate(self.left[own], self.width[own], self._modes[:, own], w.ravel(), out)
        return out.reshape(w.shape)

    def cdf(self, k: int, w: Array) -> Array:
        """Return the mass of teacher value k at or below `w`, atoms included."""
        own = self._owned()[k]
        out = np.zeros(w.size)
        args = self.left[own], self.width[own], self._primitive[:, own], self._before[own]
        cumulate(*args, w.ravel(), out)
        return out.reshape(w.shape) + self.atoms.below(k, w)

    def probability(self, k: int, low: float, high: float) -> float:
        """Return the mass of teacher value k in [low, high], atoms at its ends included."""
        own = self._owned()[k]
        inside = 0.0
        if own.stop > own.start:
            begin, end = self.left[own.start], self.left[own.stop - 1] + self.width[own.stop - 1]
            edges = np.array([max(low, begin), min(high, end)])
            if edges[1] > edges[0]:
                out = np.zeros((1, 1))
                first = np.array([0, own.stop - own.start])
                args = self.left[own], self.width[own], self._primitive[:, own]
                integrate(first, *args, edges, out)
                inside = float(out[0, 0])
        return inside + self.atoms.within(k, low, high)

    def quantile(self, k: int, p: Array) -> Array:
        """Return the least w below which teacher value k has mass `p` in (0, 1)."""
        own = self._owned()[k]
        rest, out = self.atoms.invert(k, p.ravel(), lambda at: self._smooth_below(k, at))
        todo = np.isnan(out)
        if own.stop == own.start:
            # The masses of atoms add up to 1 but for rounding: what is beyond is the last one.
            out[todo] = self.atoms.of(k)[0][-1]
        elif todo.any():
            found = np.empty(int(todo.sum()))
            polynomials = self._modes[:, own], self._primitive[:, own]
            invert(
                self.left[own], self.width[own], *polynomials, self._before[own], rest[todo], found
            )
            out[todo] = found
        return out.reshape(p.shape)

    def _smooth_below(self, k: int, w: Array) -> Array:
        return self.cdf(k, w) - self.atoms.below(k, w)

    # --- the whole frame -------------------------------------------------------------------------

    def support(self) -> tuple[float, float]:
        """Least interval that holds everything."""
        ends = [self.left, self.left + self.width, self.atoms.held()]
        every = np.concatenate(ends)
        return float(every.min()), float(every.max())

    def outline(self) -> tuple[Array, Array]:
        """Return the ends of all elements, and how wide the element is that each belongs to."""
        ends = np.concatenate([self.left, self.left + self.width])
        return ends, np.concatenate([self.width, self.width])

    def cell_masses(self, edges: Array) -> Array:
        """Return the masses in the cells between `edges` (N + 1,), shape (K, N)."""
        out = np.zeros((self.count, edges.size - 1))
        integrate(self.first, self.left, self.width, self._primitive, edges, out)
        return out + self.atoms.cell_masses(edges)

    def cell_averages(self, edges: Array) -> Array:
        """Return the cell averages on increasing `edges` (N + 1,), shape (K, N)."""
        return np.asarray(self.cell_masses(edges) / np.diff(edges))

    def atom_masses(self) -> Array:
        """Return the mass in atoms of each teacher value, shape (K,)."""
        return self.atoms.totals

    @cached_property
    def _survey(self) -> tuple[float, float, float, float]:
        values = np.concatenate([self.left, self.width, self.u.ravel()])
        values.flags.writeable = False  # As those of `series` are: a type of its own.
        out, held = np.empty((1, 4)), self.atom_masses()[None]
        survey(self.first[None], values, _survey_rows(self.order), self.order, held, out)
        low, high, most, defect = out[0].tolist()
        return low, high, most, defect

    def mass_defect(self) -> float:
        """Largest |mass − 1| of a conditional density."""
        return self._survey[3]

    def unresolved(self) -> float:
        """Largest L¹ norm, over teacher values, of what the highest Legendre modes carry."""
        return self._survey[2]

    def lowest(self) -> float:
        """Least average over p equal parts of an element, relative to the largest.

        Where atoms hold nearly all, it is relative to what they were spread evenly.
        """
        if not self.left.size:
            return 0.0
        low, high = self._survey[:2]
        held = self.atom_masses()
        if held.any():
            extent = np.array([self.width[own].sum() for own in self._owned()])
            high = max(high, float((held / np.where(extent > 0, extent, np.inf)).max()))
        return low / high

    def expectation(self, function: Callable[[Array], Array]) -> Array:
        """Return E[function(w) | w*_k], shape (K,), by the quadrature of the elements.

        `function` may jump where elements meet: it is asked just inside of them.
        """
        nodes = self.element.nodes[:, None]
        x = self.left + 0.5 * self.width * (1.0 + nodes)
        nudge = 1e-12 * self.width + 4e-16 * np.abs(x)
        x = x - nudge * np.sign(nodes) * (np.abs(nodes) == 1.0)
        part = 0.5 * self.width * (self.element.weights @ (self.u * function(x)))
        out = np.array([part[own].sum() for own in self._owned()])
        held = self.atoms.masses > 0
        at = np.where(held, self.atoms.positions, 0.0)
        return np.asarray(out + np.where(held, self.atoms.masses * function(at), 0.0).sum(axis=1))

    # --- storage ---------------------------------------------------------------------------------

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the frame as a flat dictionary of arrays."""
        return {
            "order": np.asarray(self.order),
            "first": self.first,
            "left": self.left,
            "width": self.width,
            "u": self.u,
            "atom_positions": self.atoms.positions,
            "atom_masses": self.atoms.masses,
        }

    @staticmethod
    def columns(frames: Sequence[Frame]) -> dict[str, NDArray[Any] | list[NDArray[Any]]]:
        """Return what `to_arrays` returns of several frames, each array of all of them together."""
        return {
            "order": np.array([frame.order for frame in frames]),
            "first": [frame.first for frame in frames],
            "left": [frame.left for frame in frames],
            "width": [frame.width for frame in frames],
            "u": [frame.u for frame in frames],
            "atom_positions": [frame.atoms.positions for frame in frames],
            "atom_masses": [frame.atoms.masses for frame in frames],
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Frame:
        """Return the frame that `to_arrays` took apart."""
        atoms = Atoms(arrays["atom_positions"], arrays["atom_masses"])
        first, left, width, u = (arrays[n] for n in ("first", "left", "width", "u"))
        return cls(int(arrays["order"]), first, left, width, u, atoms)

    def __repr__(self) -> str:
        low, high = self.support()
        values, elements, order = self.count, self.left.size, self.order
        text = f"Frame({values} teacher values, {elements} elements of order {order}"
        return f"{text} on [{low:.4g}, {high:.4g}], mass in atoms {self.atom_masses().max():.3g})"


def flanked(
    first: NDArray[np.int64],
    elements: Elements,
    lower: Sequence[Elements],
    upper: Sequence[Elements],
) -> tuple[NDArray[np.int64], Array, Array, Array]:
    """Return where each class begins, and its elements between some more of it, (K,) lists."""
    left, width, u = elements
    parts: list[Elements] = []
    begins = [0]
    for k, (low, high) in enumerate(zip(lower, upper, strict=True)):
        own = slice(int(first[k]), int(first[k + 1]))
        parts += [low, (left[own], width[own], u[:, own]), high]
        begins.append(begins[-1] + sum(part[0].size for part in parts[-3:]))
    joined = [np.concatenate([part[i] for part in parts], axis=-1) for i in range(3)]
    return np.array(begins, np.int64), joined[0], joined[1], joined[2]


@lru_cache(maxsize=32)
def _survey_rows(order: int) -> Array:
    """Nodal values to averages over `order` equal parts, the highest two modes, the average."""
    element = reference_element(order)
    points = np.linspace(-1.0, 1.0, order + 1)
    values = np.polynomial.legendre.legvander(points, order + 1) @ element.primitive
    parts = 0.5 * order * np.diff(values, axis=0)
    return np.concatenate([parts, element.legendre[-2:], 0.5 * element.weights[None]])


def _readonly(values: ArrayLike, dtype: Any) -> NDArray[Any]:
    array = np.array(values, dtype=dtype, order="C")
    array.flags.writeable = False
    return array
