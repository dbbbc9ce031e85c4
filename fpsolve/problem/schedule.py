"""`Schedule`: a number that changes with time, as learning rates do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve.errors import ParameterError
from fpsolve.problem.brief import brief_list
from fpsolve.problem.checks import finite, readonly_vector

__all__ = ["Schedule", "largest_of", "simplest", "value_at", "varies"]

Array = NDArray[np.float64]

# Values nearer than this, relative to the larger, meet without a jump.
_MEET = 1e-12


@dataclass(frozen=True)
class _Piece:
    """One smooth stretch: from `start` on, until the next piece begins.

    `shape` is "constant", "linear", "cosine" (from `first` to `last` in `length`) or "exponential"
    (`first` decaying at the rate `last`).
    """

    start: float
    shape: str
    first: float
    last: float = 0.0
    length: float = math.inf

    def value(self, tau: Array) -> Array:
        t = tau - self.start
        if self.shape == "linear":
            return np.asarray(self.first + (self.last - self.first) * (t / self.length))
        if self.shape == "cosine":
            swing = 0.5 * (1 + np.cos(math.pi * t / self.length))
            return np.asarray(self.last + (self.first - self.last) * swing)
        if self.shape == "exponential":
            return np.asarray(self.first * np.exp(-self.last * t))
        return np.full(t.shape, self.first)

    def slope(self, tau: Array) -> Array:
        t = tau - self.start
        if self.shape == "linear":
            return np.full(t.shape, (self.last - self.first) / self.length)
        if self.shape == "cosine":
            turn = math.pi / self.length
            return np.asarray(0.5 * (self.last - self.first) * turn * np.sin(turn * t))
        if self.shape == "exponential":
            return np.asarray(-self.last * self.first * np.exp(-self.last * t))
        return np.zeros(t.shape)

    def moved(self, by: float) -> _Piece:
        return _Piece(self.start + by, self.shape, self.first, self.last, self.length)

    @property
    def is_zero(self) -> bool:
        """Whether the piece is 0 throughout."""
        return self.first == 0 and (self.shape in ("constant", "exponential") or self.last == 0)


class Schedule:
    """A non-negative number as a function of time τ (dimensionless), smooth between few points.

    Made by `constant`, `steps`, `linear`, `cosine`, `exponential` and `join`; equal if made alike.
    At a jump the later value holds: schedules are continuous from the right.

    Attributes
    ----------
    kind : str
        Which of these made it.
    arguments : dict
        What it was made from, under the names of the maker's parameters.

    Raises
    ------
    ParameterError
        If a value is negative or not finite, a duration not positive, or times do not increase.
    """

    def __init__(self, kind: str, arguments: dict[str, Any], pieces: Sequence[_Piece]) -> None:
        self.kind = kind
        self.arguments = arguments
        self._pieces = tuple(pieces)
        self._starts = np.array([piece.start for piece in self._pieces])

    # --- makers ----------------------------------------------------------------------------------

    @classmethod
    def constant(cls, value: float) -> Schedule:
        """`value` at all times."""
        value = finite("schedule.value", value, least=0.0)
        return cls("constant", {"value": value}, [_Piece(0.0, "constant", value)])

    @classmethod
    def steps(cls, values: ArrayLike, *, times: ArrayLike) -> Schedule:
        """values[i] on [times[i − 1], times[i]): one value more than times."""
        levels = _non_negative("schedule.values", values)
        switches = _increasing("schedule.times", times)
        if levels.size != switches.size + 1:
            allowed = f"must have one entry more than the {switches.size} times"
            raise ParameterError("schedule.values", values, allowed)
        starts = [0.0, *switches.tolist()]
        pieces = [_Piece(t, "constant", v) for t, v in zip(starts, levels.tolist(), strict=True)]
        return cls("steps", {"values": levels.tolist(), "times": switches.tolist()}, pieces)

    @classmethod
    def linear(cls, initial: float, final: float, *, duration: float) -> Schedule:
        """A straight line from `initial` to `final`, where it stays after `duration`."""
        return cls._ramp("linear", initial, final, duration)

    @classmethod
    def cosine(cls, initial: float, final: float, *, duration: float) -> Schedule:
        """Half a cosine wave from `initial` to `final`, where it stays after `duration`.

        Source: Loshchilov and Hutter, "SGDR", arXiv 1608.03983, Eq. (5), without restarts.
        """
        return cls._ramp("cosine", initial, final, duration)

    @classmethod
    def _ramp(cls, kind: str, initial: float, final: float, duration: float) -> Schedule:
        first = finite("schedule.initial", initial, least=0.0)
        last = finite("schedule.final", final, least=0.0)
        length = finite("schedule.duration", duration, above=0.0)
        pieces = [_Piece(0.0, kind, first, last, length), _Piece(length, "constant", last)]
        return cls(kind, {"initial": first, "final": last, "duration": length}, pieces)

    @classmethod
    def exponential(cls, initial: float, *, rate: float) -> Schedule:
        """initial · exp(−rate · τ), with a rate ≥ 0."""
        first = finite("schedule.initial", initial, least=0.0)
        decay = finite("schedule.rate", rate, least=0.0)
        pieces = [_Piece(0.0, "exponential", first, decay)]
        return cls("exponential", {"initial": first, "rate": decay}, pieces)

    @classmethod
    def join(cls, schedules: Sequence[Schedule], *, times: ArrayLike) -> Schedule:
        """schedules[i] on [times[i − 1], times[i]), each counting time from where it begins.

        Warm-up, then decay: `join([linear(0, .1, duration=5), cosine(.1, 0, duration=95)],
        times=[5])`.
        """
        switches = _increasing("schedule.times", times)
        parts = list(schedules)
        for part in parts:
            if not isinstance(part, Schedule):
                raise ParameterError("schedule.schedules", part, "must be a list of Schedules")
        if len(parts) != switches.size + 1:
            allowed = f"must have one entry more than the {switches.size} times"
            raise ParameterError("schedule.schedules", len(parts), allowed)
        starts = [0.0, *switches.tolist()]
        stops = [*switches.tolist(), math.inf]
        pieces = [
            piece.moved(start)
            for part, start, stop in zip(parts, starts, stops, strict=True)
            for piece in part._pieces
            if piece.start + start < stop
        ]
        return cls("join", {"schedules": parts, "times": switches.tolist()}, pieces)

    # --- values ----------------------------------------------------------------------------------

    def __call__(self, tau: ArrayLike, *, before: bool = False) -> Any:
        """Return the value at `tau` ≥ 0, a float for a number and an array for an array.

        `before` asks for the limit from the left, which differs at jumps only.
        """
        return self._evaluate("value", tau, before)

    def derivative(self, tau: ArrayLike, *, before: bool = False) -> Any:
        """Return the derivative in τ from the right, or from the left with `before`."""
        return self._evaluate("slope", tau, before)

    def _evaluate(self, what: str, tau: ArrayLike, before: bool) -> Any:
        points = np.asarray(tau, dtype=np.float64)
        if not (points >= 0).all():
            raise ParameterError("tau", tau, "must be >= 0; training starts at tau = 0")
        begun = np.searchsorted(self._starts, points, side="left" if before else "right")
        which = np.maximum(begun - 1, 0)
        out = np.empty(points.shape)
        for i in np.unique(which):
            here = which == i
            out[here] = getattr(self._pieces[i], what)(points[here])
        return float(out) if out.ndim == 0 else out

    # --- where it is not smooth, where it ends ---------------------------------------------------

    @property
    def jumps(self) -> tuple[float, ...]:
        """Times τ > 0 at which the value jumps."""
        return tuple(t for t in self.landing_points if self._gap(t) > 0)

    @property
    def landing_points(self) -> tuple[float, ...]:
        """Times τ > 0 of jumps and kinks: an integrator must end a step on each."""
        return tuple(
            float(t)
            for t in self._starts[1:]
            if self._gap(t) > 0 or self.derivative(t) != self.derivative(t, before=True)
        )

    def _gap(self, tau: float) -> float:
        left, right = self(tau, before=True), self(tau)
        gap = abs(left - right)
        return gap if gap > _MEET * max(abs(left), abs(right)) else 0.0

    def piece(self, tau: float) -> tuple[str, float, float, float, float]:
        """Return the smooth stretch that holds from `tau` on: shape, start, duration, ends.

        The duration of an exponential is the time in which it falls by e.
        """
        found = self._pieces[max(int(np.searchsorted(self._starts, tau, side="right")) - 1, 0)]
        if found.shape == "exponential" and found.last > 0:
            return ("exponential", found.start, 1.0 / found.last, found.first, 0.0)
        if found.shape in ("linear", "cosine"):
            return (found.shape, found.start, found.length, found.first, found.last)
        return ("constant", found.start, 1.0, found.first, found.first)

    @property
    def zero_from(self) -> float:
        """Time from which the value is 0, first such stretch; infinite if there is none."""
        for piece in self._pieces:
            if piece.is_zero:
                return piece.start
        return math.inf

    @property
    def largest(self) -> float:
        """Least upper bound of the value over all τ ≥ 0: every piece is monotone."""
        ends = [*self._starts[1:].tolist(), None]
        tops = [float(piece.value(np.asarray(piece.start))) for piece in self._pieces]
        tops += [
            float(piece.value(np.asarray(end)))
            for piece, end in zip(self._pieces, ends, strict=True)
            if end is not None
        ]
        return max(tops)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Schedule)
            and self.kind == other.kind
            and self.arguments == other.arguments
        )

    def __hash__(self) -> int:
        return hash((self.kind, self._pieces))

    def __repr__(self) -> str:
        given = self.arguments
        if self.kind == "join":
            inner = ", ".join(map(repr, given["schedules"]))
            text = f"Schedule.join([{inner}], times={brief_list(given['times'])})"
            if len(text) > 160:
                count = len(given["schedules"])
                text = f"<Schedule of {count} joined at {brief_list(given['times'])}>"
            return text
        if self.kind == "steps":
            return (
                f"Schedule.steps({brief_list(given['values'])}, times={brief_list(given['times'])})"
            )
        if self.kind == "constant":
            return f"Schedule.constant({given['value']})"
        if self.kind == "exponential":
            return f"Schedule.exponential({given['initial']}, rate={given['rate']})"
        ends = f"{given['initial']}, {given['final']}"
        return f"Schedule.{self.kind}({ends}, duration={given['duration']})"


def value_at(number: float | Schedule, tau: ArrayLike, *, before: bool = False) -> Any:
    """Return what a number or a schedule is at `tau`, of the shape of `tau`."""
    if isinstance(number, Schedule):
        return number(tau, before=before)
    return number if np.ndim(tau) == 0 else np.full(np.shape(tau), number)


def largest_of(number: float | Schedule) -> float:
    """Return a number, or the largest value of a schedule."""
    return number.largest if isinstance(number, Schedule) else number


def varies(number: float | Schedule) -> bool:
    """Whether it changes with time: a constant schedule is a number said differently."""
    return isinstance(number, Schedule) and number.kind != "constant"


def simplest(number: float | Schedule) -> float | Schedule:
    """Return the number of a constant schedule, and anything else as it is."""
    return float(value_at(number, 0.0)) if not varies(number) else number


def _non_negative(field: str, values: ArrayLike) -> Array:
    vector = readonly_vector(field, values)
    if (vector < 0).any():
        raise ParameterError(field, values, "must all be >= 0")
    return vector


def _increasing(field: str, times: ArrayLike) -> Array:
    vector = readonly_vector(field, times)
    if vector[0] <= 0 or (np.diff(vector) <= 0).any():
        raise ParameterError(field, times, "must be > 0 and increase strictly")
    return vector
