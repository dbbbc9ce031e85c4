"""Sums over rows of arrays, eight numbers at a time: where kernels spend most of their time.

A row is what lies at an offset in a C-contiguous array, whatever its shape: node j of all elements
in an array (p + 1, E) begins at j·E. A loop that Numba compiles from Python loads and stores the
row once a term; here a sum stays in registers until it is complete. On rows of some forty elements
that is three times as fast, and there is less to compile.

Nothing is checked. Who changes this file has to touch those that call it, whose cached code does
not notice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = [
    "add_rows",
    "cross",
    "dot",
    "multiply",
    "restore_row",
    "set_rows",
    "set_three_rows",
    "set_two_rows",
    "subtract_products",
]

# Untyped: callers pass no context, and builders of code have no types.
_intrinsic: Any = intrinsic
_code: Any = cgutils

_LANES = 8
# Sums in flight at a time, as many as an addition takes cycles.
_FLIGHT = 4
_WORD, _INT = ir.IntType(64), ir.IntType(32)
_VECTOR = ir.VectorType(ir.DoubleType(), _LANES)
_ZERO = ir.Constant(_VECTOR, [0.0] * _LANES)
# A product may be fused with the sum that takes it.
_FUSED = ("contract",)
_pair: Any = types.UniTuple(types.int64, 2)  # type: ignore[no-untyped-call]


class _Writer:
    """Writes code on blocks of eight numbers; where `mask` is set, only on those that it lets."""

    def __init__(self, context: Any, builder: Any, signature: Any, args: Any) -> None:
        self.builder, self.mask = builder, None
        self.values = [
            context.make_array(kind)(context, builder, value).data
            if isinstance(kind, types.Array)
            else value
            for kind, value in zip(signature.args, args, strict=True)
        ]

    def _place(self, array: Any, at: Any) -> Any:
        return self.builder.bitcast(self.builder.gep(array, [at]), _VECTOR.as_pointer())

    def _masked(self, name: str, result: Any, *arguments: Any) -> Any:
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        full = f"llvm.masked.{name}.v{_LANES}f64.p0"
        function = _code.get_or_insert_function(self.builder.module, kind, full)
        return self.builder.call(function, arguments)

    def load(self, array: Any, at: Any) -> Any:
        place = self._place(array, at)
        if self.mask is None:
            return self.builder.load(place, align=8)
        return self._masked("load", _VECTOR, place, _INT(8), self.mask, _ZERO)

    def store(self, value: Any, array: Any, at: Any) -> None:
        place = self._place(array, at)
        if self.mask is None:
            self.builder.store(value, place, align=8)
        else:
            self._masked("store", ir.VoidType(), value, place, _INT(8), self.mask)

    def numbers(self, pair: Any, count: int) -> list[Any]:
        """So many numbers, of which the first and the difference to the next are given."""
        first, step = (self.builder.extract_value(pair, i) for i in range(2))
        out = [first]
        while len(out) < count:
            out.append(self.builder.add(out[-1], step))
        return out

    def spread(self, value: Any) -> Any:
        """Eight copies of a number."""
        none = ir.Constant(ir.VectorType(value.type, _LANES), ir.Undefined)
        first = self.builder.insert_element(none, value, _INT(0))
        where = ir.Constant(ir.VectorType(_INT, _LANES), [0] * _LANES)
        return self.builder.shuffle_vector(first, none, where)

    def multiply_add(self, total: Any, a: Any, b: Any, sign: int = 1) -> Any:
        product = self.builder.fmul(a, b, flags=_FUSED)
        join = self.builder.fadd if sign > 0 else self.builder.fsub
        return join(total, product, flags=_FUSED)

    def along(self, size: Any, visit: Callable[[list[Any]], None], flight: int = _FLIGHT) -> None:
        """Visit a row: lists of the offsets of blocks, and what is left over behind a mask."""
        builder = self.builder
        wide, narrow = _WORD(_LANES * flight), _WORD(_LANES)
        whole, even = (
            builder.and_(size, _WORD(-_LANES * flight)),
            builder.and_(size, _WORD(-_LANES)),
        )
        with _code.for_range_slice(builder, _WORD(0), whole, wide) as (at, _):
            visit([builder.add(at, _WORD(_LANES * block)) for block in range(flight)])
        with _code.for_range_slice(builder, whole, even, narrow) as (at, _):
            visit([at])
        rest = builder.sub(size, even)
        with builder.if_then(builder.icmp_signed(">", rest, _WORD(0))):
            lanes = ir.Constant(ir.VectorType(_WORD, _LANES), list(range(_LANES)))
            self.mask = builder.icmp_signed("<", lanes, self.spread(rest))
            visit([even])
            self.mask = None

    def sums(
        self, count: Any, totals: list[Any], term: Callable[[Any, int, Any], Any]
    ) -> list[Any]:
        """Totals after total = term(i, block, total) for all i < count."""
        builder = self.builder
        slots = [_code.alloca_once(builder, _VECTOR) for _ in totals]
        for slot, total in zip(slots, totals, strict=True):
            builder.store(total, slot)
        with _code.for_range(builder, count, intp=_WORD) as loop:
            for block, slot in enumerate(slots):
                builder.store(term(loop.index, block, builder.load(slot)), slot)
        return [builder.load(slot) for slot in slots]


def _weighted(adds: bool) -> Callable[..., Any]:
    """The body of `set_rows` and `add_rows`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        writer = _Writer(context, builder, signature, args)
        out, at, weights, first, rows, start, stride, count, size = writer.values

        def visit(blocks: list[Any]) -> None:
            places = [builder.add(at, block) for block in blocks]
            before = [writer.load(out, place) if adds else _ZERO for place in places]

            def term(i: Any, block: int, total: Any) -> Any:
                weight = builder.load(builder.gep(weights, [builder.add(first, i)]))
                row = builder.add(start, builder.mul(i, stride))
                value = writer.load(rows, builder.add(row, blocks[block]))
                return writer.multiply_add(total, writer.spread(weight), value)

            for place, total in zip(places, writer.sums(count, before, term), strict=True):
                writer.store(total, out, place)

        writer.along(size, visit)
        return context.get_dummy_value()

    return generate


def _several(number: int) -> Callable[..., Any]:
    """The body of `set_two_rows` and `set_three_rows`: what is loaded serves all of them."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        writer = _Writer(context, builder, signature, args)
        out, ats, weights, firsts, rows, start, stride, count, size = writer.values
        ats, firsts = writer.numbers(ats, number), writer.numbers(firsts, number)

        def visit(blocks: list[Any]) -> None:
            def term(i: Any, which: int, total: Any) -> Any:
                row, block = divmod(which, len(blocks))
                weight = builder.load(builder.gep(weights, [builder.add(firsts[row], i)]))
                begin = builder.add(start, builder.mul(i, stride))
                value = writer.load(rows, builder.add(begin, blocks[block]))
                return writer.multiply_add(total, writer.spread(weight), value)

            places = [builder.add(at, block) for at in ats for block in blocks]
            totals = writer.sums(count, [_ZERO] * len(places), term)
            for place, total in zip(places, totals, strict=True):
                writer.store(total, out, place)

        writer.along(size, visit, 2)
        return context.get_dummy_value()

    return generate


def _signature(result: Any, *kinds: Any) -> Any:
    """Arrays as they are; all else are whole numbers, or pairs of them."""

    def own(kind: Any) -> Any:
        if isinstance(kind, types.BaseTuple):
            return _pair
        return kind if isinstance(kind, types.Array) else types.int64

    return result(*map(own, kinds))


@_intrinsic
def set_rows(
    context: Any, out: Any, at: Any, weights: Any, first: Any, rows: Any, start: Any, stride: Any,
    count: Any, size: Any,
) -> Any:  # fmt: skip
    """out[at + l] = Σ_i weights[first + i] rows[start + i stride + l], i < count, l < size."""
    kinds = (out, at, weights, first, rows, start, stride, count, size)
    return _signature(types.void, *kinds), _weighted(adds=False)


@_intrinsic
def set_two_rows(
    context: Any, out: Any, at: Any, weights: Any, first: Any, rows: Any, start: Any, stride: Any,
    count: Any, size: Any,
) -> Any:  # fmt: skip
    """The same for two rows; `at` and `first` are pairs: of the first row, and how far the next."""
    kinds = (out, at, weights, first, rows, start, stride, count, size)
    return _signature(types.void, *kinds), _several(2)


@_intrinsic
def set_three_rows(
    context: Any, out: Any, at: Any, weights: Any, first: Any, rows: Any, start: Any, stride: Any,
    count: Any, size: Any,
) -> Any:  # fmt: skip
    """The same for three rows."""
    kinds = (out, at, weights, first, rows, start, stride, count, size)
    return _signature(types.void, *kinds), _several(3)


@_intrinsic
def add_rows(
    context: Any, out: Any, at: Any, weights: Any, first: Any, rows: Any, start: Any, stride: Any,
    count: Any, size: Any,
) -> Any:  # fmt: skip
    """out[at + l] += Σ_i weights[first + i] rows[start + i stride + l], i < count, l < size."""
    kinds = (out, at, weights, first, rows, start, stride, count, size)
    return _signature(types.void, *kinds), _weighted(adds=True)


@_intrinsic
def subtract_products(
    context: Any, out: Any, at: Any, a: Any, a_start: Any, a_stride: Any, b: Any, b_start: Any,
    b_stride: Any, count: Any, size: Any,
) -> Any:  # fmt: skip
    """out[at + l] −= Σ_i a[a_start + i a_stride + l] b[b_start + i b_stride + l]."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        writer = _Writer(context, builder, signature, args)
        out, at, a, a_start, a_stride, b, b_start, b_stride, count, size = writer.values

        def visit(blocks: list[Any]) -> None:
            places = [builder.add(at, block) for block in blocks]
            before = [writer.load(out, place) for place in places]

            def term(i: Any, block: int, total: Any) -> Any:
                first = builder.add(builder.add(a_start, builder.mul(i, a_stride)), blocks[block])
                second = builder.add(builder.add(b_start, builder.mul(i, b_stride)), blocks[block])
                return writer.multiply_add(total, writer.load(a, first), writer.load(b, second), -1)

            for place, total in zip(places, writer.sums(count, before, term), strict=True):
                writer.store(total, out, place)

        writer.along(size, visit)
        return context.get_dummy_value()

    kinds = (out, at, a, a_start, a_stride, b, b_start, b_stride, count, size)
    return _signature(types.void, *kinds), generate


@_intrinsic
def restore_row(
    context: Any, out: Any, at: Any, a: Any, first: Any, second: Any, further: Any, count: Any,
    pivot: Any, size: Any,
) -> Any:  # fmt: skip
    """out[at + l] = (out[at + l] − a[f + l] out[g + l] − Σ_i …) a[pivot + l], (f, g) = `first`.

    The sum is over a[s + i d + l] out[t + i e + l], i < count, l < size, with (s, t) = `second` and
    (d, e) = `further`.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        writer = _Writer(context, builder, signature, args)
        out, at, a, first, second, further, count, pivot, size = writer.values

        def pair(values: Any) -> list[Any]:
            return [builder.extract_value(values, i) for i in range(2)]

        def visit(blocks: list[Any]) -> None:
            places = [builder.add(at, block) for block in blocks]

            def taken(total: Any, at: list[Any], block: int) -> Any:
                one = writer.load(a, builder.add(at[0], blocks[block]))
                other = writer.load(out, builder.add(at[1], blocks[block]))
                return writer.multiply_add(total, one, other, -1)

            def term(i: Any, block: int, total: Any) -> Any:
                steps = [builder.mul(i, step) for step in pair(further)]
                return taken(total, list(map(builder.add, pair(second), steps)), block)

            before = [
                taken(writer.load(out, place), pair(first), n) for n, place in enumerate(places)
            ]
            totals = writer.sums(count, before, term)
            for place, total, block in zip(places, totals, blocks, strict=True):
                factor = writer.load(a, builder.add(pivot, block))
                writer.store(builder.fmul(total, factor), out, place)

        writer.along(size, visit)
        return context.get_dummy_value()

    kinds = (out, at, a, first, second, further, count, pivot, size)
    return _signature(types.void, *kinds), generate


@_intrinsic
def multiply(context: Any, out: Any, at: Any, a: Any, a_start: Any, size: Any) -> Any:
    """out[at + l] *= a[a_start + l], l < size."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        writer = _Writer(context, builder, signature, args)
        out, at, a, a_start, size = writer.values

        def visit(blocks: list[Any]) -> None:
            for block in blocks:
                place = builder.add(at, block)
                factor = writer.load(a, builder.add(a_start, block))
                writer.store(builder.fmul(writer.load(out, place), factor), out, place)

        writer.along(size, visit)
        return context.get_dummy_value()

    return _signature(types.void, out, at, a, a_start, size), generate


@_intrinsic
def cross(
    context: Any, out: Any, at: Any, a: Any, a_start: Any, b: Any, b_start: Any, c: Any,
    c_start: Any, size: Any,
) -> Any:  # fmt: skip
    """out[at + l] = a[a_start + l] b[b_start + l] − out[at + l] c[c_start + l], l < size."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        writer = _Writer(context, builder, signature, args)
        out, at, a, a_start, b, b_start, c, c_start, size = writer.values

        def visit(blocks: list[Any]) -> None:
            for block in blocks:
                place = builder.add(at, block)
                first, second, third = (
                    writer.load(array, builder.add(start, block))
                    for array, start in ((a, a_start), (b, b_start), (c, c_start))
                )
                product = builder.fmul(first, second, flags=_FUSED)
                value = writer.multiply_add(product, writer.load(out, place), third, -1)
                writer.store(value, out, place)

        writer.along(size, visit)
        return context.get_dummy_value()

    kinds = (out, at, a, a_start, b, b_start, c, c_start, size)
    return _signature(types.void, *kinds), generate


@_intrinsic
def dot(context: Any, a: Any, a_start: Any, b: Any, b_start: Any, size: Any) -> Any:
    """Σ_l a[a_start + l] b[b_start + l], l < size."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        writer = _Writer(context, builder, signature, args)
        a, a_start, b, b_start, size = writer.values
        slots = [_code.alloca_once(builder, _VECTOR) for _ in range(_FLIGHT)]
        for slot in slots:
            builder.store(_ZERO, slot)

        def visit(blocks: list[Any]) -> None:
            for slot, block in zip(slots, blocks, strict=False):
                first, second = builder.add(a_start, block), builder.add(b_start, block)
                values = writer.load(a, first), writer.load(b, second)
                builder.store(writer.multiply_add(builder.load(slot), *values), slot)

        writer.along(size, visit)
        totals = [builder.load(slot) for slot in slots]
        while len(totals) > 1:
            totals = [builder.fadd(*totals[n : n + 2]) for n in range(0, len(totals), 2)]
        lanes = [builder.extract_element(totals[0], _INT(lane)) for lane in range(_LANES)]
        while len(lanes) > 1:
            lanes = [builder.fadd(*lanes[n : n + 2]) for n in range(0, len(lanes), 2)]
        return lanes[0]

    return _signature(types.float64, a, a_start, b, b_start, size), generate
