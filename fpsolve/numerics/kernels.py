"""Compiled kernels of one solve: the Rosenbrock step, the mesh, and the loop around them.

Kernels check nothing and return a status; the Python around them validates and explains. They stand
in one file because a cached compiled function does not notice when one it calls from another file
has changed.

Layout. Elements of all classes lie side by side; `first[k]` is the first element of class k. A
nodal field has shape (p + 1, E): node j of element e. Neighbours of one class share a vertex,
stored twice:

    u[0, e] ... u[p, e] = u[0, e + 1] ... u[p, e + 1]

A residual is stored unassembled: the two entries of a vertex add up to its value. The last axis
runs over elements, so every inner loop vectorizes.

Unknown is v = h² μ, for which the equation ∂_t μ = −∂_x(a μ) + ∂_x²(h² D μ) has flux
(a/h²) v − D ∂_x v; masses and functionals are divided by h². One conservative form:

    mass dv/dt = A(c, D) v,   A linear in c,   c, D functions of t and M = offset + Σ weights·v,

so that the Jacobian is A plus Σ_i (∂A/∂M_i v) ⊗ weights_i: banded plus rank r. Interior nodes are
eliminated element by element, the vertices by one tridiagonal solve, the low rank by the
Sherman–Morrison–Woodbury formula.

Scheme 0 (spectral volumes): nodal flux F = a v − D v', residual −(weak derivative of F).
Scheme 1 (Scharfetter–Gummel): p = 1, nodes are cell centres; the flux between two centres solves
the local stationary problem with drift `drift[:, 0]` up to the face and `drift[:, 1]` beyond it.

An element is a cell of the dyadic lattice of its bin: `index` counts cells of width span·2^−level
from the bin's origin, so that splitting and merging undo each other exactly and a mesh never drifts
off the breaks.

At an absorbing wall v = 0. The wall's node, whose `mass` is 1, holds what the atom there gains in a
step instead, so that mass is conserved like everywhere else.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, NamedTuple

import numpy as np
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from fpsolve.numerics.ahead import ahead
from fpsolve.numerics.parts import PartCompiler
from fpsolve.numerics.rows import (
    add_rows,
    cross,
    dot,
    multiply,
    restore_row,
    set_rows,
    set_three_rows,
    set_two_rows,
    subtract_products,
)
from fpsolve.numerics.signatures import Shape, signature_of
from fpsolve.numerics.tableau import COUPLING, GAMMA, NODES, NUDGES, ORDER, STAGE_WEIGHTS, STAGES

__all__ = [
    "Bins",
    "Cells",
    "Control",
    "Law",
    "Limits",
    "Mesh",
    "Method",
    "Model",
    "Motion",
    "Record",
    "Reference",
    "adapt",
    "evaluate_law",
    "exponential_flux",
    "fix_masses",
    "lay",
    "march",
    "measure",
    "place",
    "positions",
    "regrid",
    "work_of",
]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
# The same with the number of dimensions, which the types of kernels follow from.
Array1 = Annotated[Array, Shape(1)]
Array2 = Annotated[Array, Shape(2)]
Array3 = Annotated[Array, Shape(3)]
Array4 = Annotated[Array, Shape(4)]
Indices1 = Annotated[Indices, Shape(1)]
Indices2 = Annotated[Indices, Shape(2)]
Flags1 = Annotated[NDArray[np.bool_], Shape(1)]

# Kernels are called from Python; parts of them are not, and need no wrapper, which would take as
# long to compile as they do. Parts make no arrays: without counting of references they compile in a
# third of the time. For the same reason loops stand where NumPy has reductions and assignments to
# slices, each of which brings functions of its own. What has one caller and is given all groups
# becomes a part of that caller before it is compiled. A `_bare_kernel` is called by kernels alone,
# see `at_address`.
# With `_fused` a product may be fused with the sum that takes it, with `_summing` sums
# may be taken in any order, eight numbers at a time; elsewhere Python has to find the same digits.
_compiled: Any = njit
_code: Any = cgutils
_options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
_hidden: dict[str, Any] = {
    **_options,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "pipeline_class": PartCompiler,
}
_kernel: Any = _compiled(**_options, cache=True)
_bare_kernel: Any = _compiled(
    **_options, cache=True, no_cpython_wrapper=True, no_cfunc_wrapper=True
)
_inlined: Any = _compiled(**_options, cache=True, inline="always")
_maker: Any = _compiled(**_hidden)
_part: Any = _compiled(**_hidden, _nrt=False)
_fused: Any = _compiled(**_hidden, _nrt=False, fastmath={"contract"})
_summing: Any = _compiled(**_hidden, _nrt=False, fastmath={"contract", "reassoc"})


# --- groups of arrays ----------------------------------------------------------------------------


class Reference(NamedTuple):
    """Constants of the reference element, see `element.Element`.

    `entries` (p + 1, p + 1, 2) are what the drift at node j and D have for factors in the element
    matrix: −weak and stiffness. `damping` (p + 1, p + 1) is the stiffness of the two highest modes.
    """

    nodes: Array1
    weights: Array1
    derivative: Array2
    weak: Array2
    entries: Array3
    modes: Array2
    damping: Array2
    halves: Array3
    merge: Array2
    restore: Array2
    parts: Array2


class Bins(NamedTuple):
    """Intervals between breaks, each (B,): origin and unit of their lattices, lower and upper ends.

    `narrowest` (B,) are widths below which no cells next to breaks are split, ∞ where coordinates
    decide. `absorbing` (2,) says whether the lowest and the highest end absorb (1.0) or not (0.0).
    """

    origin: Array1
    span: Array1
    lower: Array1
    upper: Array1
    narrowest: Array1
    absorbing: Array1


class Model(NamedTuple):
    """Coefficients on the bins as polynomials in x, ascending, three coefficients each.

    `drift` (J, K, B, 3), `shape` (B, 3) is h, `functionals` (F, K, B, 3); all empty along the first
    axis where they are not polynomials. `flat` (J, K, B) is the drift where it is constant inside a
    bin, NaN where it is not. `probability`, `scale` (K,): weight
    of a class, and what D is multiplied by for it. `walls` (2, F, K) are the functionals of an atom
    on an absorbing wall. `relevance` (K,) ≤ 1: by how much errors of a
    class count. `offset` (F,) is added to functionals. `rule` (F,) tells how accurately they are
    wanted, see `_sizes`.
    """

    drift: Array4
    shape: Array2
    functionals: Array4
    flat: Array3
    walls: Array3
    probability: Array1
    scale: Array1
    relevance: Array1
    offset: Array1
    rule: Indices1


class Law(NamedTuple):
    """Scalar coefficients (c_1 … c_J, D) as functions of t and M.

    rate(t)^power_i (base_i + Σ_j gain_ij M_j + Σ_l extra_il e_l(t)), with a rate and further
    functions e_l that are each one segment of a schedule: `segments` (1 + L, 5) has rows (kind,
    start, duration, initial, final), see `_rate`, the rate's first. Or, if `address` is not 0,
    whatever the C function there writes. D is at least `least`, times its power of the rate.
    """

    base: Array1
    gain: Array2
    power: Array1
    extra: Array2
    segments: Array2
    least: float
    address: int


class Cells(NamedTuple):
    """Lattice cells of all elements (E,), and the first element of each class (K + 1,)."""

    bins: Indices1
    level: Indices1
    index: Indices1  # type: ignore[assignment]
    first: Indices1


class Motion(NamedTuple):
    """Meshes that move with the drift: displacement (K,), drift taken out (J, K), which do (K,).

    `path` (K,) is how far those move in the next step that `lead` leads, NaN for all others.
    """

    shift: Array1
    speed: Array2
    detached: Flags1
    path: Array1


class Mesh(NamedTuple):
    """What follows from cells, motion and model, at the elements (E,) and nodes (p + 1, E).

    `finest` (E,) are widths below which positions lose their digits. `half` are half-widths of the
    two-node form of Scheme 1, `inverse` (E,) is 1/h² amid an element.
    `heat` (E,) is what an element has D multiplied by: the scale of its class, times 2/width in
    Scheme 0.
    """

    first: Indices1
    left: Array1
    width: Array1
    finest: Array1
    widest: Array1
    inverse: Array1
    heat: Array1
    half: Array2
    mass: Array2
    drift: Array3
    functionals: Array3


class Method(NamedTuple):
    """Scheme of a solve, and the addresses of the kernels that `march` calls, see `at_address`."""

    scheme: int
    adapt: int
    place: int


class Work(NamedTuple):
    """Scratch memory of a step, and its results `new` and `report`.

    `stages` holds the density before the step, then the stages; `coupling` (2, STAGES, STAGES + 1)
    what `sums`, of which `start` and `new` are the halves, have them for factors.
    """

    stages: Array
    sums: Array
    start: Array
    flux: Array
    drift: Array
    columns: Array
    matrix: Array
    lower: Array
    upper: Array
    pivot: Array
    held: Array
    coupling: Array
    parts: Array
    new: Array
    report: Array
    sizes: Array
    spare: Array


# --- kernels that call each other ----------------------------------------------------------------


def at_address(kernel: Any) -> Any:
    """`kernel` as other kernels call it: call(address, arguments), see `ahead`.

    Called by name it would become part of what calls it, and be compiled with that once more; this
    way it is compiled once, by another process at the same time. A call takes less than 1 µs. It is
    of the types that the kernel is declared for: the machine code there knows no others.
    """

    @intrinsic
    def call(context: Any, address: Any, arguments: Any) -> Any:
        declared, result = signature_of(kernel.py_func)
        if arguments.types != declared:
            raise TypeError(f"{kernel.__name__} is declared for {declared}, not {arguments.types}")

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            convention, values = context.call_conv, _code.unpack_tuple(builder, args[1])
            kind = convention.get_function_type(result, declared)
            pointer = builder.inttoptr(args[0], kind.as_pointer())
            status, out = convention.call_function(builder, pointer, result, declared, values)
            with _code.if_unlikely(builder, status.is_error):
                convention.return_status_propagate(builder, status)
            return out

        return result(types.int64, arguments), generate

    return call


# --- scalar coefficients -------------------------------------------------------------------------

# Relative step of the differences that give the derivatives of a foreign law: good to 1e-10.
_DIFFERENCE = 6e-6


@intrinsic
def _call(context: Any, address: Any, time: Any, moments: Any, out: Any) -> Any:
    """Call the C function int64 (*)(double, double*, double*) at `address`."""
    signature = types.int64(types.int64, types.float64, types.uintp, types.uintp)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        from llvmlite import ir  # type: ignore[import-untyped] # only the compiler needs it

        word = ir.IntType(64)
        kind = ir.FunctionType(word, [ir.DoubleType(), word, word])
        pointer = builder.inttoptr(args[0], kind.as_pointer())
        return builder.call(pointer, list(args[1:]))

    return signature, generate


@_part
def _rate(segment: Array, time: float) -> tuple[float, float]:
    """Rate and its derivative: 0 constant, 1 linear, 2 cosine, 3 exponential in time."""
    kind, start, duration, initial, final = segment
    if kind == 0.0:
        return initial, 0.0
    if kind == 3.0:
        # `duration` is the time in which the rate falls by e.
        value = initial * math.exp(-(time - start) / duration)
        return value, -value / duration
    share = (time - start) / duration
    if kind == 1.0:
        return initial + (final - initial) * share, (final - initial) / duration
    half = 0.5 * (initial - final)
    angle = math.pi * share
    return final + half * (1.0 + math.cos(angle)), -half * math.sin(angle) * math.pi / duration


@_part
def _evaluate_law(law: Law, time: float, moments: Array, out: Array) -> int:
    """Put (c_1 … c_J, D) into `out`; return 0, or what a foreign law returns if it fails."""
    if law.address != 0:
        status: int = _call(law.address, time, moments.ctypes.data, out.ctypes.data)  # type: ignore[call-arg]
        out[-1] = max(law.least, out[-1])
        return int(status)
    for i in range(out.size):
        out[i] = law.base[i]
        for j in range(law.gain.shape[1]):
            out[i] += law.gain[i, j] * moments[j]
    for j in range(law.extra.shape[1]):
        value, _ = _rate(law.segments[1 + j], time)
        for i in range(out.size):
            out[i] += law.extra[i, j] * value
    rate, _ = _rate(law.segments[0], time)
    for i in range(out.size):
        out[i] *= rate ** law.power[i]
    out[-1] = max(rate ** law.power[-1] * law.least, out[-1])
    return 0


@_part
def _law_slopes(law: Law, time: float, dt: float, moments: Array, spare: Array, out: Array) -> int:
    """out[i] = ∂(c, D)/∂M_i, out[r] = ∂(c, D)/∂t at (time, moments); shape (r + 1, J + 1)."""
    rank, count = out.shape[0] - 1, out.shape[1]
    if law.address == 0:
        rate, slope = _rate(law.segments[0], time)
        held = False
        for i in range(count):
            value, change = law.base[i], 0.0
            for j in range(rank):
                value += law.gain[i, j] * moments[j]
                out[j, i] = rate ** law.power[i] * law.gain[i, j]
            for j in range(law.extra.shape[1]):
                now, turn = _rate(law.segments[1 + j], time)
                value += law.extra[i, j] * now
                change += law.extra[i, j] * turn
            out[rank, i] = law.power[i] * rate ** (law.power[i] - 1.0) * slope * value
            out[rank, i] += rate ** law.power[i] * change
            held = i == count - 1 and value <= law.least
        if held:
            # Where diffusion is held at its least it follows the rate alone.
            for i in range(rank):
                out[i, count - 1] = 0.0
            power = law.power[count - 1]
            out[rank, count - 1] = power * rate ** (power - 1.0) * slope * law.least
        return 0
    above, below, point = spare[0, :count], spare[1, :count], spare[2, :rank]
    for j in range(rank):
        point[j] = moments[j]
    status = 0
    for j in range(rank + 1):
        if j < rank:
            size = _DIFFERENCE * max(1e-3, abs(moments[j]))
            point[j] = moments[j] + size
            status |= _evaluate_law(law, time, point, above)
            point[j] = moments[j] - size
            status |= _evaluate_law(law, time, point, below)
            point[j] = moments[j]
        else:
            size = 1e-3 * dt
            status |= _evaluate_law(law, time + size, point, above)
            # One-sided: the law may jump where the step begins.
            status |= _evaluate_law(law, time, point, below)
            size *= 0.5
        for i in range(count):
            out[j, i] = (above[i] - below[i]) / (2.0 * size)
    return status


@_part
def _any(values: Array) -> bool:
    for value in values:  # noqa: SIM110 # a generator does not compile
        if value != 0.0:
            return True
    return False


@_part
def _sum(values: Array) -> float:
    total = 0.0
    for value in values:
        total += value
    return total


@_part
def _largest(values: Array) -> float:
    largest = 0.0
    for value in values:
        largest = max(largest, value)
    return largest


# --- the semi-discrete operator ------------------------------------------------------------------

# Elements whose rows are worked on together, so that they stay in the fastest cache.
_TILE = 128
# Elements are not split below this width, relative to where they are; in those up to twice as wide
# D is at least this share of |drift| times half their width.
TELLABLE, BLUNT = 1e-13, 0.5
# Those fewer than so many cells away from a break, from which they are counted, may be split
# further.
_COUNTED = 64
# Relative change of D for the derivative of the Scharfetter–Gummel coefficients: a central
# difference is then good to 1e-9, and it only enters the low-rank part of the Jacobian.
_D_STEP = 3e-5
# Damping of the two highest modes, by this multiple of the drift, where the drift is more than so
# many times 2D/width: elements that wide do not resolve what it and diffusion balance.
_DAMPING = 0.04
_STEEP = 20.0
# Rare classes diffuse more where the highest modes carry these shares of an element's largest
# value, from none to as much as an upwind difference between its nodes brings in.
_SMOOTH = 0.01
_ROUGH = 0.1
# Layers of rare classes are no thinner than this share of rtol, of the root of the second moment,
# on the side where they are wider, and diffuse as much so many times as far from their threshold.
_THIN = 0.01
_LAYER_WIDTHS = 20.0


@_part
def _unsigned(index: int) -> int:
    """The same element number without sign: one that might be negative hinders vectorization."""
    return np.uint64(index)  # type: ignore[return-value]


@_part
def _segment(rise: float) -> float:
    """∫_0^1 exp(−|rise| t) dt: mean of an exponential, relative to its larger end."""
    y = abs(rise)
    if y < 1e-8:
        return 1.0 - 0.5 * y
    return -math.expm1(-y) / y


@_part
def _exponential_flux(drift: Array, half: Array, diffusivity: float, e: int) -> tuple[float, float]:
    """Coefficients (α, β) of the flux α u_left − β u_right through the face of element e.

    With the potential U(x) = −∫ a/D from the left centre, the flux that is constant between the
    centres is D (u_left − u_right exp(U_right)) / ∫ exp(U): exact for stationary densities, and
    α, β ≥ 0 whatever the drift.
    """
    advance_left = drift[0, e] * half[0, e]
    advance_right = drift[1, e] * half[1, e]
    at_face = -advance_left / diffusivity
    at_right = at_face - advance_right / diffusivity
    top = max(0.0, max(at_face, at_right))
    integral = half[0, e] * math.exp(max(0.0, at_face) - top) * _segment(at_face)
    integral += half[1, e] * math.exp(max(at_face, at_right) - top) * _segment(at_right - at_face)
    return (
        diffusivity * math.exp(-top) / integral,
        diffusivity * math.exp(at_right - top) / integral,
    )


@_part
def _blend(mesh: Mesh, work: Work, c: Array) -> None:
    """Σ_j c_j drift_j into the nodes' rows of `work.drift`, D·heat into the row after them."""
    size, terms, elements = mesh.mass.size, mesh.drift.shape[0], mesh.heat.size
    set_rows(work.drift, 0, c, 0, mesh.drift, 0, size, terms, size)
    set_rows(work.drift, size, c, terms, mesh.heat, 0, elements, 1, elements)


@_part
def _swiftest(work: Work, e: int) -> float:
    """Largest |drift| of `work.drift` at the nodes of element e."""
    fastest = 0.0
    for j in range(work.flux.shape[0]):
        fastest = max(fastest, abs(work.drift[j, e]))
    return fastest


@_part
def _blunt(mesh: Mesh, work: Work) -> None:
    """Let the narrowest elements there are resolve the layers in them, by more diffusion.

    Positions cannot tell what is within them, and ripples would chase a layer that is narrower.
    """
    nodes, elements = mesh.mass.shape
    for e in range(elements):
        if mesh.width[e] <= 2.0 * mesh.finest[e]:
            work.drift[nodes, e] = max(work.drift[nodes, e], BLUNT * _swiftest(work, e))


@_part
def _dampen(work: Work) -> None:
    """Strength of the damping of the two highest modes into the last row of `work.drift`.

    It stays what it is during a step. What is smooth has no such modes; without it, nothing would
    ever damp what fronts leave behind where diffusion is weak.
    """
    drift, nodes = work.drift, work.flux.shape[0]
    for e in range(drift.shape[1]):
        excess = _swiftest(work, e) - _STEEP * drift[nodes, e]
        drift[nodes + 1, e] = max(0.0, _DAMPING * excess)


@_part
def _drift_at(mesh: Mesh, c: Array, j: int, e: int) -> float:
    """Drift at node j of element e."""
    drift = 0.0
    for i in range(mesh.drift.shape[0]):
        drift += c[i] * mesh.drift[i, j, e]
    return drift


@_part
def _fastest(mesh: Mesh, c: Array, e: int) -> float:
    """Largest |drift| at the nodes of element e."""
    fastest = 0.0
    for j in range(mesh.drift.shape[1]):
        fastest = max(fastest, abs(_drift_at(mesh, c, j, e)))
    return fastest


@_part
def _calm(
    ref: Reference, model: Model, mesh: Mesh, u: Array, c: Array, control: Control, limits: Limits
) -> None:
    """Diffuse what elements of rare classes do not resolve, by as much as an upwind scheme.

    Their elements may leave so much unresolved that noise could grow there to a multiple of a low
    density, which meshes and steps would then have to follow through all thresholds. What is
    diffused is what is unresolved anyway, by no more than the distance of two nodes. And layers of
    theirs are kept wide enough, see `_thicken`.
    """
    nodes, diffusivity = u.shape[0], max(c[c.size - 1], 1e-300)
    thin = _THIN * limits.rtol * _length(model, control.sizes)
    for k in range(mesh.first.size - 1):
        if model.relevance[k] >= 1.0:
            continue
        weight = model.relevance[k] * _far(control.lifted, k)
        elements = (mesh.first[k], mesh.first[k + 1])
        for e in range(elements[0], elements[1]):
            own, peak = diffusivity * model.scale[k], 1e-300
            upwind = 0.5 * mesh.width[e] / (nodes - 1) * _fastest(mesh, c, e)
            if upwind > own:
                for j in range(nodes):
                    peak = max(peak, abs(u[j, e]))
                rough = _tail(u, e, 1.0, ref.modes) / peak
                held = weight * peak * mesh.width[e] * mesh.inverse[e]
                if rough > _SMOOTH and held < limits.resolution:
                    share = min(1.0, math.log(rough / _SMOOTH) / math.log(_ROUGH / _SMOOTH))
                    own += share * (upwind - own)
            mesh.heat[e] = 2.0 * own / (diffusivity * mesh.width[e])
        _thicken(mesh, c, elements, thin)


@_part
def _thicken(mesh: Mesh, c: Array, elements: tuple[int, int], thin: float) -> None:
    """Let layers of thresholds, to which both sides lead, be no thinner than `thin`.

    There the density falls as exp(−|a|x/D) on either side, and holds D/|a| times that at the
    threshold: how a layer that has settled divides its mass does not depend on D, only how wide it
    is. Thus D may be larger, if it is so on both sides and as far out as there is anything of it.
    Of common classes that would not do: under a rate that falls to 0 layers do not settle, and how
    they divide their mass is decided as they become thinner than any position can tell.
    """
    last, diffusivity = mesh.drift.shape[1] - 1, max(c[c.size - 1], 1e-300)
    reach = _LAYER_WIDTHS * thin
    for e in range(elements[0], elements[1] - 1):
        if max(mesh.width[e], mesh.width[e + 1]) > reach:
            continue
        weaker = min(_drift_at(mesh, c, last, e), -_drift_at(mesh, c, 0, e + 1))
        heat, middle = thin * weaker / diffusivity, mesh.left[e + 1]
        if not heat > 0.5 * mesh.heat[e] * mesh.width[e]:
            continue
        for i in range(e, elements[0] - 1, -1):
            if middle - (mesh.left[i] + mesh.width[i]) >= reach:
                break
            mesh.heat[i] = 2.0 * heat / mesh.width[i]
        for i in range(e + 1, elements[1]):
            if mesh.left[i] - middle >= reach:
                break
            mesh.heat[i] = 2.0 * heat / mesh.width[i]


@_part
def _damped(work: Work, begin: int, end: int) -> bool:
    """Whether the highest modes of any of these elements are damped."""
    row = work.flux.shape[0] + 1
    for e in range(begin, end):  # noqa: SIM110 # a generator does not compile
        if work.drift[row, e] != 0.0:
            return True
    return False


@_part
def _apply(matrix: Array, u: Array, begin: int, end: int, out: Array) -> None:
    """out = matrix·u on each element."""
    nodes, elements = u.shape
    for start in range(0, nodes, 3):
        i = min(start, nodes - 3)  # A row that is set twice is the same.
        at, weights = (i * elements + begin, elements), (i * nodes, nodes)
        set_three_rows(out, at, matrix, weights, u, begin, elements, nodes, end - begin)


@_part
def _spectral(ref: Reference, work: Work, u: Array, begin: int, end: int, out: Array) -> None:
    """out = −(weak derivative of a u − D u'), unassembled, a and D being those of `work.drift`.

    And its highest modes are damped, see `_dampen`.
    """
    flux, drift = work.flux, work.drift
    nodes, elements = u.shape
    _apply(ref.derivative, u, begin, end, flux)
    for j in range(nodes):
        at, heat = j * elements + begin, nodes * elements + begin
        cross(flux, at, drift, at, u, at, drift, heat, end - begin)
    _apply(ref.weak, flux, begin, end, out)
    strength = (nodes + 1) * elements + begin
    if _damped(work, begin, end):
        _apply(ref.damping, u, begin, end, flux)
        for j in range(nodes):
            at = j * elements + begin
            subtract_products(out, at, drift, strength, 0, flux, at, 0, 1, end - begin)


@_part
def _fitted(mesh: Mesh, work: Work, u: Array, begin: int, end: int, out: Array) -> None:
    """out = the same by exponential fitting."""
    for e in range(begin, end):
        alpha, beta = _exponential_flux(work.drift, mesh.half, work.drift[2, e], e)
        through = alpha * u[0, e] - beta * u[1, e]
        out[0, e] = -through
        out[1, e] = through


@_part
def _apply_operator(
    scheme: int, ref: Reference, mesh: Mesh, work: Work, u: Array, out: Array
) -> None:
    """out = A u, unassembled, with the coefficients of `work.drift`."""
    for begin in range(0, u.shape[1], _TILE):
        end = min(begin + _TILE, u.shape[1])
        if scheme == 0:
            _spectral(ref, work, u, begin, end, out)
        else:
            _fitted(mesh, work, u, begin, end, out)


@_part
def _change(
    scheme: int,
    ref: Reference,
    mesh: Mesh,
    work: Work,
    at: tuple[Array, Array],
    u: Array,
    out: Array,
) -> None:
    """out = (dA in the direction `along`) u at (c, D), with at = (along, (c, D))."""
    along, point = at
    if scheme == 0:
        _blend(mesh, work, along)
        _apply_operator(scheme, ref, mesh, work, u, out)
        return
    # Central difference; the direction is scaled so that D changes by a share _D_STEP.
    size = _D_STEP * point[-1] / max(abs(along[-1]), 1e-300)
    if along[-1] == 0.0:
        size = _D_STEP
    other, near = work.start, work.spare[0]
    for side in (-1.0, 1.0):
        for i in range(point.size):
            near[i] = point[i] + side * size * along[i]
        _blend(mesh, work, near)
        _apply_operator(scheme, ref, mesh, work, u, other if side < 0.0 else out)
    for j in range(out.shape[0]):
        for e in range(out.shape[1]):
            out[j, e] = (out[j, e] - other[j, e]) / (2.0 * size)


@_part
def _assemble(
    scheme: int, ref: Reference, mesh: Mesh, work: Work, shift: float, begin: int, end: int
) -> None:
    """matrix[:, :, e] = shift·mass − A of element e, with the coefficients of `work.drift`."""
    mass, matrix, drift = mesh.mass, work.matrix, work.drift
    nodes, elements = mass.shape
    if scheme == 1:
        for e in range(begin, end):
            alpha, beta = _exponential_flux(drift, mesh.half, drift[2, e], e)
            matrix[0, 0, e] = shift * mass[0, e] + alpha
            matrix[0, 1, e] = -beta
            matrix[1, 0, e] = -alpha
            matrix[1, 1, e] = shift * mass[1, e] + beta
        return
    step = nodes * elements
    for j in range(nodes):
        for first in range(0, nodes, 3):
            # Two terms: the drift at node j, and the row of D after those of the nodes.
            i = min(first, nodes - 3)
            entry, row = i * nodes + j, (nodes - j) * elements
            at, start = (entry * elements + begin, step), j * elements + begin
            weights = (2 * entry, 2 * nodes)
            set_three_rows(matrix, at, ref.entries, weights, drift, start, row, 2, end - begin)
    for i in range(nodes):
        for e in range(_unsigned(begin), _unsigned(end)):
            matrix[i, i, e] += shift * mass[i, e]
    if _damped(work, begin, end):
        for i in range(nodes):
            for j in range(nodes):
                for e in range(_unsigned(begin), _unsigned(end)):
                    matrix[i, j, e] += ref.damping[i, j] * drift[nodes + 1, e]


@_part
def _shut(matrix: Array, mass: Array, shift: float, node: int, e: int) -> None:
    """At an absorbing wall the node holds an atom, which pushes no flux: its column is its mass."""
    for i in range(matrix.shape[0]):
        matrix[i, node, e] = 0.0
    matrix[node, node, e] = shift * mass[node, e]


# --- linear algebra ------------------------------------------------------------------------------


@_part
def _finish(matrix: Array, i: int, j: int, before: int, begin: int, end: int) -> None:
    """Entry (i, j) −= Σ_k (i, k)·(k, j) over the first `before` interior nodes k."""
    nodes, elements = matrix.shape[0], matrix.shape[2]
    row = nodes * elements
    at, left, right = i * row + j * elements, i * row + elements, row + j * elements
    subtract_products(
        matrix, at + begin, matrix, left + begin, elements, matrix, right + begin, row, before,
        end - begin,
    )  # fmt: skip


@_part
def _factor_interior(matrix: Array, begin: int, end: int) -> None:
    """Eliminate the interior nodes of each element in place; pivots become their reciprocals."""
    nodes, elements = matrix.shape[0], matrix.shape[2]
    last = nodes - 1
    for c in range(1, last):
        for i in range(nodes):
            if i == 0 or i >= c:
                _finish(matrix, i, c, c - 1, begin, end)
        for e in range(_unsigned(begin), _unsigned(end)):
            matrix[c, c, e] = 1.0 / matrix[c, c, e]
        for i in range(nodes):
            if i == 0 or i > c:
                at, pivot = (i * nodes + c) * elements + begin, c * (nodes + 1) * elements + begin
                multiply(matrix, at, matrix, pivot, end - begin)
                _finish(matrix, c, i, c - 1, begin, end)
    for i in range(0, nodes, last):
        for j in range(0, nodes, last):
            _finish(matrix, i, j, last - 1, begin, end)


@_fused
def _factor_vertices(work: Work, here: int, stop: int, k: int) -> None:
    """Factor the tridiagonal system of the vertices of class k, numbered here + k … stop + k.

    `lower` and `upper` hold the multipliers of elimination and substitution, `pivot` reciprocals.
    """
    matrix, lower, upper, pivot = work.matrix, work.lower, work.upper, work.pivot
    last = matrix.shape[0] - 1
    diagonal = matrix[0, 0, here]
    for e in range(here, stop):
        inverse = 1.0 / diagonal
        pivot[e + k] = inverse
        lower[e] = matrix[last, 0, e] * inverse
        upper[e] = matrix[0, last, e] * inverse
        diagonal = matrix[last, last, e] - lower[e] * matrix[0, last, e]
        if e + 1 < stop:
            diagonal += matrix[0, 0, e + 1]
    pivot[stop + k] = 1.0 / diagonal


@_part
def _solve(work: Work, first: Indices, x: Array) -> None:
    """Replace the unassembled right-hand side `x` by the solution at the nodes."""
    for begin in range(0, x.shape[1], _TILE):
        _substitute_interior(work.matrix, x, begin, min(begin + _TILE, x.shape[1]))
    for k in range(first.size - 1):
        _solve_vertices(work, first[k], first[k + 1], k, x)
    for begin in range(0, x.shape[1], _TILE):
        _restore_interior(work.matrix, x, begin, min(begin + _TILE, x.shape[1]))


@_part
def _take_off(matrix: Array, x: Array, at: tuple[int, int, int], begin: int, end: int) -> None:
    """x[i] −= Σ_j (i, j)·x[j] over `count` nodes j from `first` on; at = (i, first, count)."""
    (i, first, count), (nodes, elements) = at, x.shape
    entry = (i * nodes + first) * elements
    subtract_products(
        x, i * elements + begin, matrix, entry + begin, elements, x, first * elements + begin,
        elements, count, end - begin,
    )  # fmt: skip


@_part
def _substitute_interior(matrix: Array, x: Array, begin: int, end: int) -> None:
    last = x.shape[0] - 1
    for c in range(2, last):
        _take_off(matrix, x, (c, 1, c - 1), begin, end)
    for i in range(0, last + 1, last):
        _take_off(matrix, x, (i, 1, last - 1), begin, end)


@_part
def _restore_interior(matrix: Array, x: Array, begin: int, end: int) -> None:
    last, elements = x.shape[0] - 1, x.shape[1]
    for c in range(last - 1, 0, -1):
        at, pivot = c * elements + begin, c * (last + 2) * elements + begin
        first = (c * (last + 1) * elements + begin, begin)
        second, further = (pivot + elements, at + elements), (elements, elements)
        restore_row(x, at, matrix, first, second, further, last - c, pivot, end - begin)


@_fused
def _solve_vertices(work: Work, here: int, stop: int, k: int, x: Array) -> None:
    """The same for the vertices of class k, one after another: only one product waits for both."""
    lower, upper, pivot, last = work.lower, work.upper, work.pivot, x.shape[0] - 1
    value = x[0, here]
    for e in range(here, stop - 1):
        value = (x[last, e] + x[0, e + 1]) - lower[e] * value
        x[0, e + 1] = value
    value = (x[last, stop - 1] - lower[stop - 1] * value) * pivot[stop + k]
    x[last, stop - 1] = value
    for e in range(stop - 1, here - 1, -1):
        value = x[0, e] * pivot[e + k] - upper[e] * value
        x[0, e] = value
        if e > here:
            x[last, e - 1] = value


@_part
def _low_rank(bend: Array, a: Array, x: Array) -> None:
    """Solve bend·y = x in place by elimination with row pivoting in `a`; all small."""
    n = x.size
    if n == 1:
        x[0] /= bend[0, 0]
        return
    for i in range(n):
        for j in range(n):
            a[i, j] = bend[i, j]
    for c in range(n):
        top = c
        for i in range(c + 1, n):
            if abs(a[i, c]) > abs(a[top, c]):
                top = i
        for j in range(n):
            a[c, j], a[top, j] = a[top, j], a[c, j]
        x[c], x[top] = x[top], x[c]
        for i in range(c + 1, n):
            factor = a[i, c] / a[c, c]
            for j in range(c, n):
                a[i, j] -= factor * a[c, j]
            x[i] -= factor * x[c]
    for c in range(n - 1, -1, -1):
        for j in range(c + 1, n):
            x[c] -= a[c, j] * x[j]
        x[c] /= a[c, c]


# --- one step ------------------------------------------------------------------------------------

# Stage s starts from these multiples of what was before the step and of the stages before, and
# takes off these, divided by the step.
_START_WEIGHTS = np.concatenate((np.ones((STAGES, 1)), STAGE_WEIGHTS), axis=1)
_TAKEN = np.concatenate((np.zeros((STAGES, 1)), -COUPLING), axis=1)


@_part
def _begin_step(
    scheme: int,
    ref: Reference,
    bins: Bins,
    mesh: Mesh,
    work: Work,
    laws: tuple[Array, Array],
    dt: float,
) -> None:
    """Factor mass/(γ dt) − A and solve for the low-rank columns; laws = ((c, D), their slopes).

    The last column is ∂F/∂t itself, unsolved, and only there if it is not zero.
    """
    c, slopes = laws
    rank, u, matrix = slopes.shape[0] - 1, work.stages[0], work.matrix
    elements, last, shift = u.shape[1], u.shape[0] - 1, 1.0 / (GAMMA * dt)
    for s in range(STAGES):
        for r in range(STAGES + 1):
            work.coupling[0, s, r] = _START_WEIGHTS[s, r]
            work.coupling[1, s, r] = _TAKEN[s, r] / dt
    if scheme == 0:
        for e in range(elements):
            work.drift[last + 2, e] = 0.0  # No derivative knows it.
    for i in range(rank + 1):
        if _any(slopes[i]):
            _change(scheme, ref, mesh, work, (slopes[i], c), u, work.columns[i])
    _blend(mesh, work, c)
    if scheme == 0:
        _blunt(mesh, work)
        _dampen(work)
    for begin in range(0, elements, _TILE):
        end = min(begin + _TILE, elements)
        _assemble(scheme, ref, mesh, work, shift, begin, end)
    for k in range(mesh.first.size - 1):
        if bins.absorbing[0] != 0.0:
            _shut(matrix, mesh.mass, shift, 0, mesh.first[k])
        if bins.absorbing[1] != 0.0:
            _shut(matrix, mesh.mass, shift, last, mesh.first[k + 1] - 1)
    for begin in range(0, elements, _TILE):
        _factor_interior(matrix, begin, min(begin + _TILE, elements))
    for k in range(mesh.first.size - 1):
        _factor_vertices(work, mesh.first[k], mesh.first[k + 1], k)
    for i in range(rank):
        if _any(slopes[i]):
            _solve(work, mesh.first, work.columns[i])
        else:
            _fill(work.columns[i], 0.0)


@_part
def _fill(out: Array, value: float) -> None:
    for j in range(out.shape[0]):
        for e in range(out.shape[1]):
            out[j, e] = value


@_part
def _take_stage(
    scheme: int,
    ref: Reference,
    bins: Bins,
    mesh: Mesh,
    work: Work,
    at: tuple[int, Array, Array, float],
) -> None:
    """Complete the stage before by its low-rank correction and solve the next.

    at = (stage, correction (r,), (c, D), share of ∂F/∂t).
    """
    stage, correction, c, nudge = at
    stages, start, out = work.stages, work.start, work.stages[stage + 1]
    (nodes, elements), size = start.shape, start.size
    if stage > 0:
        _correct(work, correction, stages[stage])
    # Where it starts, and mass·Σ_r COUPLING_r U_r/dt but for the sign and the mass.
    first = (stage * (STAGES + 1), STAGES * (STAGES + 1))
    set_two_rows(work.sums, (0, size), work.coupling, first, stages, 0, size, stage + 1, size)
    # What atoms gained stands in nodes at absorbing walls, where there is no density.
    _exchange_walls(bins, mesh.first, work.held, start)
    _blend(mesh, work, c)
    if scheme == 0:
        _blunt(mesh, work)
    _apply_operator(scheme, ref, mesh, work, start, out)
    if stage > 0:
        subtract_products(out, 0, mesh.mass, 0, 0, work.new, 0, 0, 1, size)
    if nudge != 0.0:
        forcing = work.columns[correction.size]
        for j in range(nodes):
            for e in range(elements):
                out[j, e] += nudge * forcing[j, e]
    _exchange_walls(bins, mesh.first, work.held, start)
    _solve(work, mesh.first, out)


@_part
def _exchange_walls(bins: Bins, first: Indices, held: Array, u: Array) -> None:
    """Exchange the values at absorbing walls for those in `held` (2, K)."""
    last = u.shape[0] - 1
    for k in range(first.size - 1):
        if bins.absorbing[0] != 0.0:
            e = first[k]
            held[0, k], u[0, e] = u[0, e], held[0, k]
        if bins.absorbing[1] != 0.0:
            e = first[k + 1] - 1
            held[1, k], u[last, e] = u[last, e], held[1, k]


@_part
def _correct(work: Work, correction: Array, out: Array) -> None:
    """out += Σ_i correction_i column_i."""
    add_rows(out, 0, correction, 0, work.columns, 0, out.size, correction.size, out.size)


@_summing
def _end_step(scheme: int, model: Model, mesh: Mesh, work: Work, correction: Array) -> None:
    """new = start + last stage, and the shares of the classes in the report, see `_report`.

    The increment new − u has no mass but what rounding gave it: thin layers hold fluxes that are
    large against their mass. High-order increments are projected onto zero mass, in proportion to
    their size; the amount is reported.
    """
    u, error = work.stages[0], work.stages[STAGES]
    start, new, mass = work.start, work.new, mesh.mass
    _correct(work, correction, error)
    for k in range(mesh.first.size - 1):
        begin, end = _unsigned(mesh.first[k]), _unsigned(mesh.first[k + 1])
        norm = 0.0
        gained = 0.0
        moved = 1e-300
        for j in range(start.shape[0]):
            for e in range(begin, end):
                new[j, e] = start[j, e] + error[j, e]
                norm += mass[j, e] * abs(error[j, e])
                gained += mass[j, e] * (new[j, e] - u[j, e])
                moved += mass[j, e] * abs(new[j, e] - u[j, e])
        share = gained / moved if scheme == 0 else 0.0
        for j in range(start.shape[0]):
            for e in range(begin, end):
                new[j, e] -= share * abs(new[j, e] - u[j, e])
        part = work.parts[k]
        part[0], part[1] = model.relevance[k] * norm, abs(gained)


@_part
def _report(mesh: Mesh, work: Work, offset: Array) -> None:
    """Sum up in `report`: L¹ error, minimum, mass made by rounding, errors and new functionals."""
    parts, report, count = work.parts, work.report, offset.size
    error, new, size = work.stages[STAGES], work.new, work.new.size
    report[0], report[2] = parts[0, 0], parts[0, 1]
    for k in range(1, parts.shape[0]):
        # Only a comparison of this form keeps a NaN.
        report[0] = parts[k, 0] if not parts[k, 0] <= report[0] else report[0]
        report[2] = max(report[2], parts[k, 1])
    report[1] = min(0.0, _extremes(mesh, new, work.flux)[0])
    for i in range(count):
        report[3 + i] = abs(dot(mesh.functionals[i], 0, error, 0, size))
        report[3 + count + i] = offset[i] + dot(mesh.functionals[i], 0, new, 0, size)


@_inlined
def _step(
    scheme: int,
    ref: Reference,
    bins: Bins,
    model: Model,
    law: Law,
    mesh: Mesh,
    work: Work,
    u: Array,
    when: tuple[float, float],
    present: Array,
) -> int:
    """Advance `u`, whose functionals are `present`, by dt into `work.new`; when = (time, dt).

    Returns 0, or 1 if a foreign law failed.
    """
    time, dt = when
    rank = law.gain.shape[1]
    terms = mesh.drift.shape[0] + 1
    c, slopes = np.empty(terms), np.empty((rank + 1, terms))
    moments = present[:rank].copy()
    if _evaluate_law(law, time, moments, c) != 0:
        return 1
    if _law_slopes(law, time, dt, moments, work.spare, slopes) != 0:
        return 1
    _copy(u, work.stages[0])
    _begin_step(scheme, ref, bins, mesh, work, (c, slopes), dt)
    column, bend, scratch = np.empty((rank, rank)), np.empty((rank, rank)), np.empty((rank, rank))
    for i in range(rank):
        for j in range(rank):
            column[j, i] = dot(mesh.functionals[j], 0, work.columns[i], 0, u.size)
            bend[j, i] = (1.0 if i == j else 0.0) - column[j, i]
    gains = np.empty((STAGES, rank))
    correction = np.empty(rank)
    moving = _any(slopes[rank])
    for s in range(STAGES):
        for j in range(rank):
            moments[j] = present[j]
            for r in range(s):
                moments[j] += STAGE_WEIGHTS[s, r] * gains[r, j]
        if _evaluate_law(law, time + NODES[s] * dt, moments, c) != 0:
            return 1
        nudge = NUDGES[s] * dt if moving else 0.0
        _take_stage(scheme, ref, bins, mesh, work, (s, correction, c, nudge))
        for j in range(rank):
            correction[j] = dot(mesh.functionals[j], 0, work.stages[s + 1], 0, u.size)
            gains[s, j] = correction[j]
        _low_rank(bend, scratch, correction)
        for j in range(rank):
            for i in range(rank):
                gains[s, j] += column[j, i] * correction[i]
    _end_step(scheme, model, mesh, work, correction)
    _report(mesh, work, model.offset)
    return 0


@_part
def _copy(source: Array, out: Array) -> None:
    for j in range(out.shape[0]):
        for e in range(out.shape[1]):
            out[j, e] = source[j, e]


@_part
def _outermost(u: Array, low: Array, high: Array) -> None:
    """Least and largest of each element's values, (E,)."""
    for e in range(u.shape[1]):
        low[e] = high[e] = u[0, e]
    for j in range(1, u.shape[0]):
        for e in range(u.shape[1]):
            low[e] = min(low[e], u[j, e])
        for e in range(u.shape[1]):
            high[e] = max(high[e], u[j, e])


@_part
def _extremes(mesh: Mesh, u: Array, spare: Array) -> tuple[float, float]:
    """Least and largest density; `spare` (2, E) is overwritten."""
    _outermost(u, spare[0], spare[1])
    low, high = np.inf, -np.inf
    for e in range(u.shape[1]):
        low = min(low, spare[0, e] * mesh.inverse[e])
        high = max(high, spare[1, e] * mesh.inverse[e])
    return low, high


# --- geometry ------------------------------------------------------------------------------------


@_part
def _positions(
    bins: Bins, cells: Cells, shift: Array, left: Array, width: Array, finest: Array
) -> None:
    """Fill left ends, widths, and those below which positions lose their digits, each (E,).

    Those next to an origin at 0 do so only far below what matters to a lattice of this unit.
    `shift` (K,) moves the lattice. Next to breaks that do not they are counted in cells, if
    `narrowest` lets them: positions then tell no more than the bin.
    """
    for k in range(cells.first.size - 1):
        for e in range(cells.first[k], cells.first[k + 1]):
            b = cells.bins[e]
            width[e] = bins.span[b] * 2.0 ** (-cells.level[e])
            left[e] = bins.origin[b] + cells.index[e] * width[e] + shift[k]
            size = max(abs(left[e]), abs(bins.origin[b]), 1e-6 * bins.span[b])
            finest[e] = TELLABLE * max(size, abs(cells.index[e]) * width[e])
            counted = shift[k] == 0.0 and bins.narrowest[b] < np.inf
            if counted and _cells_to_break(bins, cells, e) < _COUNTED:
                finest[e] = min(finest[e], bins.narrowest[b])
                # On the side of breaks where it is, though it may be no number away from them.
                left[e] = min(left[e], np.nextafter(bins.upper[b], -np.inf))
                if b > 0 and cells.index[e] > 0:
                    left[e] = max(left[e], np.nextafter(bins.lower[b], np.inf))


@_part
def _cells_to_break(bins: Bins, cells: Cells, e: int) -> int:
    """How many cells like element e there are between it and the nearest break, walls left out."""
    b, index, away = cells.bins[e], cells.index[e], _COUNTED
    if b > 0:
        away = min(away, index)
    if b + 1 < bins.span.size:
        away = min(away, (2 ** cells.level[e] if _inner(bins, b) else 0) - 1 - index)
    return away


@_part
def _polynomial(c: Array, x: float) -> float:
    return c[0] + x * (c[1] + x * c[2])  # type: ignore[no-any-return]


@_part
def _bent(model: Model, b: int) -> bool:
    """Whether h varies inside bin b."""
    return bool(model.shape.shape[0] > 0 and (model.shape[b, 1] != 0.0 or model.shape[b, 2] != 0.0))


@_part
def _weigh(ref: Reference, bins: Bins, model: Model, cells: Cells, u: Array, back: bool) -> None:
    """Turn v into the density μ = v/h² where h varies inside elements, or `back`.

    There adaptation works on μ: what keeps ∫μ keeps the mass, and v may vanish where μ does not.
    Such meshes never move, as the drift is nowhere constant where h is not.
    """
    last = u.shape[0] - 1
    for k in range(cells.first.size - 1):
        for e in range(cells.first[k], cells.first[k + 1]):
            b = cells.bins[e]
            if not _bent(model, b):
                continue
            width = bins.span[b] * 2.0 ** (-cells.level[e])
            left = bins.origin[b] + cells.index[e] * width
            joined = back and e > cells.first[k]
            if joined:
                # Positions round, so v differs at a shared vertex: it is the left one, mass kept.
                h = _polynomial(model.shape[b], left)
                moved = ref.weights[0] * (u[last, e - 1] / (h * h) - u[0, e])
                for j in range(u.shape[0]):
                    u[j, e] -= moved * ref.restore[j, 0]
            for j in range(u.shape[0]):
                h = _polynomial(model.shape[b], left + 0.5 * width * (1.0 + ref.nodes[j]))
                u[j, e] = u[j, e] * (h * h) if back else u[j, e] / (h * h)
            if joined:
                u[0, e] = u[last, e - 1]


@_maker
def _place(ref: Reference, bins: Bins, model: Model, cells: Cells, motion: Motion) -> Mesh:
    """Everything that follows from the cells, for coefficients that are polynomials on the bins."""
    nodes, elements = ref.nodes.size, cells.bins.size
    terms, count = model.drift.shape[0], model.functionals.shape[0]
    left, width, inverse = np.empty(elements), np.empty(elements), np.empty(elements)
    heat, finest = np.empty(elements), np.empty(elements)
    _positions(bins, cells, motion.shift, left, width, finest)
    mass, drift = np.empty((nodes, elements)), np.empty((terms, nodes, elements))
    functionals = np.empty((count, nodes, elements))
    for k in range(cells.first.size - 1):
        for e in range(cells.first[k], cells.first[k + 1]):
            b = cells.bins[e]
            h, bent = _polynomial(model.shape[b], left[e] + 0.5 * width[e]), _bent(model, b)
            inverse[e] = divided = 1.0 / (h * h)
            heat[e] = 2.0 * model.scale[k] / width[e]
            for j in range(nodes):
                x = left[e] + 0.5 * width[e] * (1.0 + ref.nodes[j])
                if bent:
                    h = _polynomial(model.shape[b], x)
                    divided = 1.0 / (h * h)
                mass[j, e] = 0.5 * width[e] * ref.weights[j] * divided
                for i in range(terms):
                    a = _polynomial(model.drift[i, k, b], x) - motion.speed[i, k]
                    drift[i, j, e] = a * divided
                for i in range(count):
                    value = _polynomial(model.functionals[i, k, b], x)
                    functionals[i, j, e] = model.probability[k] * mass[j, e] * value
        for side in range(2):
            if bins.absorbing[side] != 0.0:
                e = cells.first[k] if side == 0 else cells.first[k + 1] - 1
                j = 0 if side == 0 else nodes - 1
                for i in range(count):
                    functionals[i, j, e] = model.probability[k] * model.walls[side, i, k]
                mass[j, e] = 1.0
    widest = np.full(elements, np.inf)
    grid = (left, width, finest, widest, inverse, heat, mass[:0])
    return Mesh(cells.first, *grid, mass, drift, functionals)


@ahead(aside=True)
@_kernel
def place(ref: Reference, bins: Bins, model: Model, cells: Cells, motion: Motion) -> Mesh:
    """See `_place`."""
    return _place(ref, bins, model, cells, motion)  # type: ignore[no-any-return]


_place_at: Any = at_address(place)


# --- adaptation ----------------------------------------------------------------------------------

DROP = -2
MERGE = -1
KEEP = 0
SPLIT = 1

# An element of this mass, relative to its width and the largest density, counts as one of mass 1.
_HEIGHT = 4.0
# The largest density counts as no less than that of so much mass spread over all of a class's mesh:
# where nearly all of it lies on walls, ripples of the rest are small against nothing.
_SPREAD = 0.1
# By this factor its height counts more each time that the mesh has let a density become negative.
_MORE_CARE = 3.0
MOST_CARE = 30.0
# An element is split before it leaves as much unresolved as it may.
SPLIT_SHARE = 0.3
# A union of elements may change the density by this share of what an element may leave unresolved.
_UNION = 0.05
# Elements are merged where they leave this share of what they may unresolved.
_MERGE = 0.01
# The extent grows when an end element carries, and shrinks when it carries less than, these shares
# of the mass that an element may leave unresolved.
_GROW = 0.3
_TRIM = 0.03
# Noise in a row of elements adds up to more than they may hold, and then to less: one of that many
# is dropped whole, unless it ever adds up to so many times as much.
_LONG_RUN = 40.0
# While the mesh is chased so often by steps, for what had been dropped, none is any more; a step
# that is taken forgets a share of it.
_MOST_CHASES = 6.0
_FORGET = 0.97
_OVER = 10.0
# Steps for whose drift there is to be room at an end.
_AHEAD = 2.0
_FEWEST = 4
# Errors of positions in the drift across an element, in units of the finest width there may be.
_ROUNDED = 0.02
# Cells that one growth may add at one end; they widen, so that they reach anywhere.
_MOST_NEW = 512


@_part
def _importance(
    mesh: Mesh,
    model: Model,
    u: Array,
    lift: float,
    needs: tuple[float, Array, bool],
    scales: Array,
    marks: Array,
) -> None:
    """How often an element's mass counts, so that one tolerance guards all that is promised.

    Once for the L¹ error; by its share in guarded functionals far out; and where the density is
    low, so that ripples stay small against it (`lift` times) or against its maximum. `needs` are
    `Limits.idle`, how often ripples, and what is left unresolved, count in classes (2, K), and
    whether ripples of rare ones count less, for they are lifted. It goes to `marks[0]`; `marks[1]`
    is overwritten, and so are `scales` (2, F): sizes, and what a driving functional is on average
    over a class. Mass is conserved: only what differs from that may change the functional.
    """
    idle, care, eased = needs
    last, out, sizes, middle = u.shape[0] - 1, marks[0], scales[0], scales[1]
    peak = max(1e-300, _extremes(mesh, u, marks)[1])
    for i in range(sizes.size):
        sizes[i] = 1e-300
        middle[i] = 0.0
        if model.rule[i] == GUARDED:
            sizes[i] += _size(model, mesh, i, u)
        elif model.rule[i] == DRIVING:
            sizes[i] = max(idle, abs(model.offset[i] + dot(mesh.functionals[i], 0, u, 0, u.size)))
    for k in range(mesh.first.size - 1):
        end = mesh.first[k + 1] - 1
        extent = mesh.left[end] + mesh.width[end] - mesh.left[mesh.first[k]]
        height = max(peak, _SPREAD / extent)
        for i in range(sizes.size):
            if model.rule[i] == DRIVING:
                middle[i] = _average(mesh, mesh.functionals[i], u, k)
        for e in range(mesh.first[k], mesh.first[k + 1]):
            lowest = out[e] * mesh.inverse[e]
            ripple = _HEIGHT * care[0, k] / (max(lift * lowest, height) * mesh.width[e])
            if eased:
                ripple *= _ease(model.relevance[k])
            value = max(care[1, k] * model.relevance[k], ripple)
            for i in range(sizes.size):
                if model.rule[i] >= GUARDED:
                    f = mesh.functionals[i]
                    low, high = f[0, e] / mesh.mass[0, e], f[last, e] / mesh.mass[last, e]
                    far = max(abs(low - middle[i]), abs(high - middle[i]))
                    value = max(value, far / sizes[i])
            out[e] = value * mesh.inverse[e]


@_part
def _average(mesh: Mesh, functional: Array, u: Array, k: int) -> float:
    """What a functional is, on average over class k."""
    value, mass = 0.0, 0.0
    for j in range(u.shape[0]):
        for e in range(mesh.first[k], mesh.first[k + 1]):
            value += functional[j, e] * u[j, e]
            mass += mesh.mass[j, e] * u[j, e]
    return value / mass if mass > 0.0 else 0.0


@_part
def _ease(relevance: float) -> float:
    """By how much ripples of a class count: those of a rare one are lifted, see `_lift`.

    What is left of them is of the order of the errors that count by `relevance`.
    """
    return math.sqrt(relevance)


@_part
def _tail(u: Array, e: int, width: float, modes: Array) -> float:
    """Mass carried by the two highest Legendre modes of element e: what it barely resolves."""
    largest = 0.0
    for r in range(modes.shape[0]):
        coefficient = 0.0
        for j in range(u.shape[0]):
            coefficient += modes[r, j] * u[j, e]
        largest = max(largest, abs(coefficient))
    return largest * width


@_part
def _density_tail(ref: Reference, mesh: Mesh, u: Array, e: int) -> float:
    """The same for the density μ = v/h², which may be rougher than v where h varies."""
    largest = 0.0
    for r in range(ref.modes.shape[0]):
        coefficient = 0.0
        for j in range(u.shape[0]):
            coefficient += ref.modes[r, j] * u[j, e] * mesh.mass[j, e] / ref.weights[j]
        largest = max(largest, abs(coefficient))
    return 2.0 * largest


@_maker
def _mark(
    ref: Reference,
    bins: Bins,
    model: Model,
    cells: Cells,
    mesh: Mesh,
    u: Array,
    bounds: tuple[float, float, tuple[float, Array, bool]],
    marks: Array,
    ends: Array,
) -> Indices:
    """Choose an action per element; bounds = (split above, merge below, needs).

    `marks` (2, E) gets importance and mass left unresolved, `ends` (2, K) about what lies beyond
    the outermost elements, 0 at a wall.
    """
    split_above, merge_below, needs = bounds
    importance, unresolved = marks[0], marks[1]
    scales = np.empty((2, model.rule.size))
    _importance(mesh, model, u, 0.5 * SPLIT_SHARE / split_above, needs, scales, marks)
    nodes, elements = u.shape
    tails = np.empty((2, elements))
    for r in range(2):
        set_rows(tails, r * elements, ref.modes, r * nodes, u, 0, elements, nodes, elements)
    action = np.zeros(cells.bins.size, np.int64)
    width = mesh.width
    for k in range(cells.first.size - 1):
        begin, end = cells.first[k], cells.first[k + 1]
        for e in range(begin, end):
            tail = max(abs(tails[0, e]), abs(tails[1, e]))
            unresolved[e] = importance[e] * tail * width[e]
            if _bent(model, cells.bins[e]):
                held = _density_tail(ref, mesh, u, e) * importance[e] / mesh.inverse[e]
                unresolved[e] = max(unresolved[e], held)
            if width[e] <= mesh.finest[e]:
                unresolved[e] = 0.0
            elif unresolved[e] > split_above and _rounded(u, e, tail, mesh):
                unresolved[e] = min(unresolved[e], split_above)
            elif unresolved[e] > split_above or width[e] > mesh.widest[e]:
                action[e] = SPLIT
            elif unresolved[e] < merge_below and 2.0 * width[e] <= mesh.widest[e]:
                action[e] = MERGE
        for side in range(2):
            e = begin if side == 0 else end - 1
            ends[side, k] = importance[e] * _at_end(u, width, begin, end, side)
            if _at_wall(bins, cells, e, side):
                ends[side, k] = 0.0
        for e in range(begin, end):
            # Mass on its way out of a fine element must not fall into a coarse one.
            if unresolved[e] > split_above:
                if e > begin and width[e - 1] > 1.5 * width[e]:
                    action[e - 1] = SPLIT
                if e + 1 < end and width[e + 1] > 1.5 * width[e]:
                    action[e + 1] = SPLIT
        for e in range(begin, end):
            if action[e] == MERGE:
                other = e + 1 if cells.index[e] % 2 == 0 else e - 1
                if other < begin or other >= end or not _twins(cells, action, e, other):
                    action[e] = KEEP
    return action


@_part
def _rounded(u: Array, e: int, tail: float, mesh: Mesh) -> bool:
    """Whether what element e leaves unresolved is no more than rounding of positions makes of it.

    Finer elements would have more of that.
    """
    largest = 0.0
    for j in range(u.shape[0]):
        largest = max(largest, abs(u[j, e]))
    return bool(tail * mesh.width[e] <= _ROUNDED * mesh.finest[e] * largest)


@_part
def _at_end(u: Array, width: Array, begin: int, end: int, side: int) -> float:
    """About what lies beyond an end of a class: the density there, as far as it falls by e.

    Narrow bins have narrow elements, which hold next to nothing however much has come to them.
    """
    e, inward = (end - 1, -1) if side else (begin, 1)
    highest, length = 0.0, 0.0
    while begin <= e < end:
        own = 0.0
        for j in range(u.shape[0]):
            own = max(own, abs(u[j, e]))
        if length == 0.0:
            highest = own
        elif own > math.e * highest:
            break
        length += width[e]
        e += inward
    return highest * length


@_part
def _twins(cells: Cells, action: Indices, e: int, other: int) -> bool:
    """Whether two neighbours are halves of one cell and both to be merged (or just made KEEP)."""
    same = cells.bins[e] == cells.bins[other] and cells.level[e] == cells.level[other]
    halves = cells.index[e] // 2 == cells.index[other] // 2
    return bool(same and halves and action[other] == MERGE)


@_part
def _at_wall(bins: Bins, cells: Cells, e: int, side: int) -> bool:
    """Whether the outer end of element e is an end of the line that the equation lives on."""
    b = cells.bins[e]
    if side == 0:
        return bool(b == 0 and np.isfinite(bins.lower[0]) and cells.index[e] == 0)
    last = bins.upper.size - 1
    return bool(
        b == last and np.isfinite(bins.upper[last]) and cells.index[e] + 1 == 2 ** cells.level[e]
    )


@_part
def _least_part(ref: Reference, u: Array, e: int, wall: int) -> float:
    """Least average of element e over 2p equal parts, and value at the nodes of its halves.

    Where there is an absorbing `wall` at an end (1 the lower, 2 the upper one, 0 none), these are
    relative to what they get of a lift, see `_gets`.
    """
    least, nodes, parts = np.inf, u.shape[0], ref.parts.shape[0]
    for half in range(2):
        for i in range(nodes):
            value, share = 0.0, _gets(0.25 * (1.0 + ref.nodes[i]) + 0.5 * half, wall)
            for j in range(nodes):
                value += ref.halves[half, i, j] * u[j, e]
            if share > 0.0:
                least = min(least, value / share)
    for i in range(parts):
        average = 0.0
        for j in range(nodes):
            average += ref.parts[i, j] * u[j, e]
        least = min(least, average / _gets((i + 0.5) / parts, wall))
    return least


@_part
def _gets(at: float, wall: int) -> float:
    """Share of a lift at a point of an element, from 0 to 1: it vanishes at an absorbing wall."""
    return 1.0 if wall == 0 else at if wall == 1 else 1.0 - at


@_part
def _union(ref: Reference, u: Array, e: int, width: float, out: Array) -> float:
    """Put the union of elements e, e + 1 into `out`; return the L¹ change.

    It keeps mass, first and second moment, so that adaptation disturbs neither m nor q.
    """
    n = u.shape[0]
    defect_0, defect_1, defect_2 = 0.0, 0.0, 0.0
    for j in range(n):
        value = 0.0
        for i in range(n):
            value += ref.merge[j, i] * u[i, e] + ref.merge[j, n + i] * u[i, e + 1]
        out[j] = value
        defect_0 -= ref.weights[j] * value
        defect_1 -= ref.weights[j] * value * ref.nodes[j]
        defect_2 -= ref.weights[j] * value * ref.nodes[j] ** 2
        for child in range(2):
            part = 0.5 * ref.weights[j] * u[j, e + child]
            xi = 0.5 * (ref.nodes[j] - 1.0) + child
            defect_0 += part
            defect_1 += part * xi
            defect_2 += part * xi * xi
    fix = ref.restore
    for j in range(n):
        out[j] += defect_0 * fix[j, 0] + defect_1 * fix[j, 1] + defect_2 * fix[j, 2]
    change = 0.0
    for child in range(2):
        for j in range(n):
            value = 0.0
            for i in range(n):
                value += ref.halves[child, j, i] * out[i]
            change += 0.5 * width * ref.weights[j] * abs(value - u[j, e + child])
    return change


@_maker
def _regrid(
    ref: Reference,
    cells: Cells,
    u: Array,
    marks: Array,
    width: Array,
    action: Indices,
    most: float,
    least: Array,
) -> tuple[Cells, Array]:
    """Carry out `action`; return the new cells and density.

    Splitting is exact. A union keeps the moments up to the second and both end values; it happens
    only where it changes the density, and leaves unresolved, less than `most`, and makes nothing of
    class k smaller than `least[k]`. Dropped elements are empty, see `_trim`.
    """
    n, elements = u.shape
    room = elements
    for e in range(elements):
        room += 1 if action[e] == SPLIT else 0
    new_u = np.empty((n, room))
    new = np.empty((3, room), np.int64)
    first = np.zeros_like(cells.first)
    joined = np.empty((n, 1))
    importance = marks[0]
    count = 0
    for k in range(first.size - 1):
        e = cells.first[k]
        while e < cells.first[k + 1]:
            b, level, index = cells.bins[e], cells.level[e], cells.index[e]
            if action[e] == DROP:
                e += 1
                continue
            if action[e] == SPLIT:
                for child in range(2):
                    for j in range(n):
                        value = 0.0
                        for i in range(n):
                            value += ref.halves[child, j, i] * u[i, e]
                        new_u[j, count] = value
                    new[0, count], new[1, count], new[2, count] = b, level + 1, 2 * index + child
                    count += 1
                # Interpolation rounds; shared vertices must agree to the last bit.
                new_u[0, count - 2] = u[0, e]
                new_u[n - 1, count - 1] = u[n - 1, e]
                new_u[0, count - 1] = new_u[n - 1, count - 2]
                e += 1
                continue
            if action[e] == MERGE and index % 2 == 0:
                change = _union(ref, u, e, width[e], joined[:, 0])
                change = max(change, _tail(joined, 0, 2 * width[e], ref.modes))
                sound = True
                if math.isfinite(least[k]):
                    sound = _least_part(ref, joined, 0, 0) >= least[k]
                    for j in range(n):
                        sound = sound and joined[j, 0] >= least[k]
                if sound and change * max(importance[e], importance[e + 1]) < most:
                    for j in range(n):
                        new_u[j, count] = joined[j, 0]
                    new_u[0, count] = u[0, e]
                    new_u[n - 1, count] = u[n - 1, e + 1]
                    new[0, count], new[1, count], new[2, count] = b, level - 1, index // 2
                    count += 1
                    e += 2
                    continue
            for j in range(n):
                new_u[j, count] = u[j, e]
            new[0, count], new[1, count], new[2, count] = b, level, index
            count += 1
            e += 1
        first[k + 1] = count
    changed = Cells(new[0, :count].copy(), new[1, :count].copy(), new[2, :count].copy(), first)
    return changed, new_u[:, :count].copy()


# --- extent --------------------------------------------------------------------------------------


@_part
def _level(bins: Bins, b: int, width: float) -> int:
    """Level of the cells of bin b that are at most about `width` wide."""
    level = math.ceil(math.log2(bins.span[b] / width))
    return max(level, 0) if _inner(bins, b) else level


@_part
def _inner(bins: Bins, b: int) -> bool:
    return bool(np.isfinite(bins.lower[b]) and np.isfinite(bins.upper[b]))


@_part
def _beyond(
    bins: Bins, cells: Cells, e: int, outward: int, reach: float, free: bool, out: Indices
) -> int:
    """Cells next to element e on the side `outward` (±1), widening until they span `reach`.

    A `free` mesh moves with the drift: its lattice is not bound to the ends of the bin.
    """
    b, level, index = cells.bins[e], cells.level[e], cells.index[e]
    spanned = 0.0
    count = 0
    while (count == 0 or spanned < reach) and count < out.shape[1]:
        width = bins.span[b] * 2.0 ** (-level)
        edge = bins.origin[b] + (index + (1 if outward > 0 else 0)) * width
        bound = bins.upper[b] if outward > 0 else bins.lower[b]
        if not free and abs(edge - bound) < 0.5 * width:
            if b + outward < 0 or b + outward >= bins.span.size:
                break
            b += outward
            level = _level(bins, b, width)
            last = 2**level - 1 if _inner(bins, b) else -1
            index = 0 if outward > 0 else last
        else:
            index += outward
            # Widen where the dyadic lattice allows it and there is still far to go.
            while (
                (index if outward > 0 else index + 1) % 2 == 0
                and 2.0 * width <= reach - spanned
                and (free or level > 0 or not _inner(bins, b))
            ):
                index, level, width = index // 2, level - 1, 2.0 * width
        out[0, count], out[1, count], out[2, count] = b, level, index
        spanned += bins.span[b] * 2.0 ** (-level)
        count += 1
    return count


@_part
def _copy_column(source: Array, e: int, out: Array, at: int) -> None:
    for j in range(source.shape[0]):
        out[j, at] = source[j, e]


@_maker
def _grow(
    ref: Reference,
    bins: Bins,
    cells: Cells,
    detached: NDArray[np.bool_],
    u: Array,
    reach: Array,
    ends: Array,
    limit: float,
    model: Model,
) -> tuple[Cells, Array]:
    """Add empty elements that span `reach` (2, K) to the domains where `ends` exceeds `limit`."""
    n, classes = u.shape[0], cells.first.size - 1
    extra = np.empty((2 * classes, 3, _MOST_NEW), np.int64)
    counts = np.zeros(2 * classes, np.int64)
    for k in range(classes):
        for side in range(2):
            if ends[side, k] <= limit:
                continue
            outward = 1 if side else -1
            e = cells.first[k + 1] - 1 if side else cells.first[k]
            counts[2 * k + side] = _beyond(
                bins, cells, e, outward, reach[side, k], detached[k], extra[2 * k + side]
            )
    total = int(cells.bins.size)
    for count in counts:
        total += int(count)
    new, new_u = np.empty((3, total), np.int64), np.zeros((n, total))
    first = np.zeros_like(cells.first)
    at = 0
    for k in range(classes):
        begin, end = cells.first[k], cells.first[k + 1]
        at += counts[2 * k]
        for i in range(counts[2 * k]):
            _copy_column(extra[2 * k], i, new, at - 1 - i)
        for e in range(begin, end):
            new[0, at], new[1, at], new[2, at] = cells.bins[e], cells.level[e], cells.index[e]
            _copy_column(u, e, new_u, at)
            at += 1
        for i in range(counts[2 * k + 1]):
            _copy_column(extra[2 * k + 1], i, new, at + i)
        rare = model.relevance[k] < 1.0
        if counts[2 * k] > 0:
            _continue(ref, u[0, begin], 0, rare, new_u[:, at - (end - begin) - 1])
        if counts[2 * k + 1] > 0:
            _continue(ref, u[n - 1, end - 1], 1, rare, new_u[:, at])
        at += counts[2 * k + 1]
        first[k + 1] = at
        if rare and counts[2 * k] + counts[2 * k + 1] > 0:
            own = (first[k] + counts[2 * k], at - counts[2 * k + 1])
            _settle(ref, bins, model, new, new_u, (first[k], at), own)
    return Cells(new[0].copy(), new[1].copy(), new[2].copy(), first), new_u


@_part
def _continue(ref: Reference, end_value: float, side: int, tapers: bool, out: Array) -> None:
    """An element that continues the density's end value on that side.

    It is of mass zero, with a ripple, or it `tapers` off without one, and its mass is to be taken
    elsewhere.
    """
    node = 0 if side else out.size - 1
    if tapers:
        for j in range(out.size):
            share = 0.5 * abs(ref.nodes[j] + ref.nodes[node])
            out[j] = end_value * share ** (out.size - 1)
        return
    for j in range(out.size):
        out[j] = -ref.restore[j, 0] * ref.weights[node] * end_value
    out[node] += end_value


@_part
def _settle(
    ref: Reference,
    bins: Bins,
    model: Model,
    cells: Indices,
    u: Array,
    whole: tuple[int, int],
    before: tuple[int, int],
) -> None:
    """Give the elements `whole` the mass that those of them in `before` have.

    Where h is bent `u` is the density, elsewhere h² times it, see `_weigh`.
    """
    mass, total = 0.0, 0.0
    for e in range(whole[0], whole[1]):
        b, own = cells[0, e], 0.0
        for j in range(u.shape[0]):
            own += ref.weights[j] * u[j, e]
        own *= bins.span[b] * 2.0 ** (-cells[1, e])
        if model.shape.shape[0] > 0 and not _bent(model, b):
            own /= model.shape[b, 0] ** 2
        total += own
        if before[0] <= e < before[1]:
            mass += own
    for e in range(whole[0], whole[1]):
        for j in range(u.shape[0]):
            u[j, e] *= mass / total


@_part
def _minor(mesh: Mesh, k: int) -> bool:
    """Whether class k is so small a part of the whole that elements it might need cost little."""
    return bool(4 * (mesh.first[k + 1] - mesh.first[k]) < mesh.width.size)


@_part
def _outward(mesh: Mesh, c: Array, k: int, side: int) -> float:
    """Drift at an end of the domain of class k, positive if it leads out."""
    e = mesh.first[k + 1] - 1 if side else mesh.first[k]
    node = mesh.mass.shape[0] - 1 if side else 0
    drift = 0.0
    for i in range(mesh.drift.shape[0]):
        drift += c[i] * mesh.drift[i, node, e]
    # That of v goes with 1/h².
    return (drift if side else -drift) / float(mesh.inverse[e])


@_part
def _held(mesh: Mesh, u: Array, importance: Array, e: int) -> float:
    """Bound on what element e holds, by its importance."""
    peak = 0.0
    for j in range(u.shape[0]):
        peak = max(peak, abs(u[j, e]))
    return float(peak * importance[e] * mesh.width[e])


@_part
def _idle_run(
    mesh: Mesh,
    u: Array,
    importance: Array,
    k: int,
    side: int,
    shares: tuple[float, float],
    left: int,
    ahead: float,
) -> int:
    """Number of elements at an end of class k that carry nothing, one more than may be dropped.

    They are all those that together hold less than `most`, and are no nearer to the others than
    `ahead`; where the class is not a small part of the whole, two at a time unless they are more
    than `many`; shares = (most, many).
    What they hold counts with its sign: noise that fronts leave behind has no mass. For any density
    t ≥ 0, nothing comes no further from t than u does by max(0, ∫u), in L¹.
    """
    most, many = shares
    at, inward = (mesh.first[k + 1] - 1, -1) if side else (mesh.first[k], 1)
    carried, seen, count = 0.0, 0, 0
    while seen < left - 2:
        e, held = at + inward * seen, 0.0
        for j in range(u.shape[0]):
            held += mesh.mass[j, e] * u[j, e]
        carried += held * importance[e] / mesh.inverse[e]
        seen += 1
        if not abs(carried) < _OVER * most:
            break
        count = seen if abs(carried) < most else count
    while count > 0 and ahead > 0.0:
        count -= 1
        ahead -= mesh.width[at + inward * count]
    if count > many or _minor(mesh, k):
        return count
    few = max(_held(mesh, u, importance, at), _held(mesh, u, importance, at + inward)) < most
    return 2 if few else 0


@_part
def _hand_in(ref: Reference, mesh: Mesh, u: Array, at: int, inner: int) -> None:
    """Give what element `at` holds to element `inner`, its end values unchanged."""
    # Masses know h, which may differ between the two.
    held, room = 0.0, 0.0
    for j in range(u.shape[0]):
        held += mesh.mass[j, at] * u[j, at]
        room += mesh.mass[j, inner] * ref.restore[j, 0]
    for j in range(u.shape[0]):
        u[j, inner] += held / room * ref.restore[j, 0]


@_part
def _share_out(mesh: Mesh, u: Array, k: int, low: int, high: int) -> None:
    """Give what elements `low` … `high` of class k hold to all its others, by a common factor.

    One element alone, if it is narrow, might get more than it holds.
    """
    begin, end = mesh.first[k], mesh.first[k + 1]
    held, kept = 0.0, 0.0
    for e in range(begin, end):
        for j in range(u.shape[0]):
            if low <= e <= high:
                held += mesh.mass[j, e] * u[j, e]
            else:
                kept += mesh.mass[j, e] * u[j, e]
    for e in range(begin, end):
        for j in range(u.shape[0]):
            # What is dropped at one end must not get anything from the other.
            u[j, e] *= 0.0 if low <= e <= high else 1.0 + held / kept


@_part
def _trim(
    ref: Reference,
    bins: Bins,
    cells: Cells,
    mesh: Mesh,
    u: Array,
    marks: tuple[Array, Array],
    bounds: tuple[float, float, float],
    motion: tuple[Array, float],
    action: Indices,
) -> None:
    """Mark end elements to drop that, like their neighbour, carry nothing.

    What little they held moves inward, so that no mass is lost; a domain may leave a reflecting
    wall from which the drift leads away. marks = (importance, ends), bounds = (most to be
    dropped, `ends` above which a domain grows, how many are dropped whole), motion = ((c, D),
    step).
    """
    last = mesh.mass.shape[0] - 1
    (importance, ends), (most, grow, many), (c, step) = marks, bounds, motion
    for k in range(cells.first.size - 1):
        left = cells.first[k + 1] - cells.first[k]
        for side in range(2):
            at, inward = (cells.first[k + 1] - 1, -1) if side else (cells.first[k], 1)
            if left < _FEWEST or action[at] == DROP or _is_atom(bins, mesh, k, at, side * last):
                continue
            outward = _outward(mesh, c, k, side)
            if _at_wall(bins, cells, at, side) and not outward < 0.0:
                continue
            ahead = _AHEAD * step * max(0.0, outward)
            count = _idle_run(mesh, u, importance, k, side, (most, many), left, ahead)
            if count <= many and ends[side, k] > grow:
                continue
            if count < 2:
                continue
            inner = at + inward * (count - 1)
            if count > 2 or _minor(mesh, k):
                _share_out(mesh, u, k, min(at, inner - inward), max(at, inner - inward))
            else:
                _hand_in(ref, mesh, u, at, inner)
            for e in range(min(at, inner), max(at, inner) + 1):
                # A cell whose half goes, or takes in what the half held, stays as it is.
                other = e + 1 if cells.index[e] % 2 == 0 else e - 1
                if cells.first[k] <= other < cells.first[k + 1] and action[other] == MERGE:
                    action[other] = KEEP
                action[e] = KEEP if e == inner else DROP
            ends[side, k] = 0.0
            left -= count


# --- the loop ------------------------------------------------------------------------------------

# How accurately a functional is wanted: not at all, relative to its own size, relative to the mean
# of its absolute value, the latter with its tails guarded by the mesh; and, for what drives the
# law, relative to its present size but for what is too small to matter, see `Limits.idle`.
UNWATCHED = -1
SIGNED = 0
ABSOLUTE = 1
GUARDED = 2
DRIVING = 3

# Why the loop came back; GO if it has no reason to.
GO = -1
REACHED = 0
REFRESH = 1
ATTACH = 2
TICK = 3
STUCK = 4
CROWDED = 5
FOREIGN = 6
REST = 7
LEAD = 8

# Entries of `Control.clock`.
TIME = 0
STEP = 1
TOLERATED = 2
LAST_MINIMUM = 3
ROW = 4
STEPS = 5
REJECTED = 6
REFINED = 7
MOST_UNKNOWNS = 8
TIME_ERROR = 9
ROUNDING = 10
REGRIDS = 11
TRIES = 12
LOGGED = 13
ASK = 14
RESTED = 15
CARE = 16
WORK = 17
# Work and time at the last two looks at how far it has come, and the work at the next one.
LOOKS = 18
NEXT_LOOK = 22
# Of a `Record`: times landed on, and numbers that fill `densities`; `LOGGED` are rows of its `log`.
LANDED = 23
FILLED = 24
# How often a mesh was never fine enough for a step, of late.
CHASES = 25
# The step to try for which meshes are to be led; that for which they are, or −1 where they may
# stay; the step before they were, their count of steps, and the work before which none is; `lead`.
WANTED = 26
LED = 27
UNLED = 28
LED_FROM = 29
NEXT_LEAD = 30
# The largest that functional 0 has been.
LARGEST = 31
# What steps too short for the time to tell have not yet added to it.
CARRIED = 32
CLOCK_SIZE = 33

# Work of a try that does not grow with the mesh, in unknowns. Up to about so many of these fit into
# the faster caches; where there are far more, each takes so much more time.
_OVERHEAD = 200.0
_CACHED, _UNCACHED = 8e4, 3.5
# Accepted steps between attempts to merge elements; with many unknowns a step costs so much that
# there is one after each.
_STEPS_PER_MERGE = 4
_MANY = 20_000
# After so many refinements in a row the step is at fault, not the mesh.
_MOST_REFINEMENTS = 12
# Errors of one step, as estimated, in units of rtol. The estimate is that of the embedded fourth
# order; what really adds up stays some ten times below the promise (10 rtol, and 100 rtol in L¹).
_STEP_FUNCTIONAL = 4.0
_STEP_L1 = 20.0
# Rare classes are those furthest out, which travel furthest: errors of their steps, and what their
# meshes leave unresolved, add up to what is promised after so many of their own widths.
_FAR = 20.0
# What lifting may cost in a run, in units of rtol, in L¹, or by how far mass is moved relative to
# the root of its second moment, and relative to a functional: a quarter, and tenths, of what is
# promised. One lift may cost a share of what is left.
_LIFT_L1 = 25.0
_LIFT_FAR = 1.0
_LIFT_FUNCTIONAL = 1.0
_LIFT_SHARE = 0.2
# Teacher values of less probability, of which a trillion weights hold none, are lifted at any price
# where it is high already, or a shorter step has not helped: others would have to wait for them.
_NEVER = 1e-12
# Mass, in units of rtol, of which a density that is spread all over its mesh is none.
_NOTHING = 1e-6
# What is added by a lift is taken from the nearest elements that lose no more than this share.
_NEARBY = 0.05
# By so much lifting has changed a density where errors of its steps have come near to adding up to
# what is promised, in units of rtol, in L¹, or by how far mass was moved: what happens in edges so
# narrow that it is a hundredth of what may be displaced is no sign of that.
_CHANGE_L1 = 12.0
_CHANGE_FAR = 0.06
# Between nodes a lifted density may still be negative; so often it is lifted again.
_MOST_LIFTS = 4
# Masses of nodes that lie alike about the middle of an element differ by no more where h is level.
_LEVEL = 1e-6
# Share of it below which what is left does not count as less.
_LEAST_LEFT = 0.2
# A rare class for which the mesh is too coarse or too short has it mended after the step, which is
# taken again only where this share of what is amiss is more than others may leave unresolved.
_PATIENCE = 0.03
# A class may leave unresolved so much more, for each of its elements beyond the first hundred,
# before a step is taken again.
_SPARED = 0.01
# A mesh is set moving if it can move for so many steps before it reaches the end of its bin.
_CLEAR_STEPS = 10.0
# It comes to rest where the end is as near as this share of its own length, or nearer than what
# diffuses there in a step.
NEAR_END = 0.01
# Panels of a step for the way that moving meshes go, and nodes and weights on [0, 1] for each.
_MOST_PANELS = 64
_GAUSS = np.stack(np.polynomial.legendre.leggauss(5), axis=1) * 0.5 + np.array([0.5, 0.0])
# First step relative to a time of start that is not 0.
_LEAST_STEP = 1e-8
# Nothing moves in so short a time, and steps of it would be subnormal.
_INSTANT = 1e-290
# Steps above the first share of the time are added to it as they are; those below the other one
# lead nowhere.
_TOLD = 1e-12
_SHORTEST = 1e-26
# A ratio that shortens the next step by a little more than half.
_TOO_LONG = 32.0


# Rows of `Control.lifted`.
SPENT = 0
CHANGED = 1
TRIED = 2
TRIED_CHANGE = 3
TRAVELLED = 4


class Control(NamedTuple):
    """What the loop remembers: `clock` (see TIME …), largest sizes (F,), atoms at walls (2, K).

    `lifted` (5, K + 1) is what lifting ripples has cost, how much it has changed densities, and the
    same for the step that is tried (SPENT …): of the classes, in L¹, times their relevance; and,
    where it is a cost, the largest relative change of the functionals. Its last row is
    how far rare classes have travelled on their meshes, in units of their width.
    """

    clock: Array1
    sizes: Array1
    atoms: Array2
    lifted: Array2


class Limits(NamedTuple):
    """What the loop obeys.

    `chunk` is the number of tries after which to come back; `resolution` the mass an element may
    leave unresolved; `negative` the least density accepted, relative to the
    largest; `idle` the size below which a driving functional needs no relative accuracy;
    `rest` the size of functional 0 below which to ask whether all is at rest.
    """

    rtol: float
    resolution: float
    negative: float
    idle: float
    rest: float
    chunk: int
    most_tries: float
    most_unknowns: int


class Record(NamedTuple):
    """What is found on the way.

    `log` gets a row (time, functionals) an accepted step. At each time landed on, `moments` (S, F)
    get the functionals, `first` (S, K + 1) the first elements of the classes, and `densities` left
    ends, widths and values at the nodes of all elements, one time after the other.
    """

    log: Array2
    moments: Array2
    first: Indices2
    densities: Array1


@_maker
def _workspace(mesh: Mesh, rank: int, size: int) -> Work:
    """Scratch memory for a mesh with room for `size` elements."""
    nodes, terms = mesh.mass.shape[0], mesh.drift.shape[0]
    count, classes = mesh.functionals.shape[0], mesh.first.size - 1
    sums = np.empty((2, nodes, size))
    return Work(
        np.empty((STAGES + 1, nodes, size)),
        sums,
        sums[0],
        np.empty((nodes, size)),
        np.empty((nodes + 2, size)),
        np.empty((rank + 1, nodes, size)),
        np.empty((nodes, nodes, size)),
        np.empty(size),
        np.empty(size),
        np.empty(size + classes),
        np.zeros((2, classes)),
        np.empty((2, STAGES, STAGES + 1)),
        np.empty((classes, 2)),
        sums[1],
        np.empty(3 + 2 * count),
        np.empty(count),
        np.empty((3, max(terms + 1, rank, count))),
    )


@_part
def _measure(offset: Array, functionals: Array, u: Array, out: Array) -> None:
    """out = functionals of the density, offsets included."""
    for i in range(out.size):
        out[i] = offset[i] + dot(functionals[i], 0, u, 0, u.size)


@_summing
def _absolute(functional: Array, u: Array) -> float:
    """Σ|functional·u|."""
    total = 0.0
    for j in range(u.shape[0]):
        for e in range(u.shape[1]):
            total += abs(functional[j, e] * u[j, e])
    return total


@_part
def _size(model: Model, mesh: Mesh, i: int, u: Array) -> float:
    """Functional i of the density, taken everywhere without its sign, and of the atoms at walls."""
    return float(abs(model.offset[i]) + _absolute(mesh.functionals[i], u))


@_part
def _judge(
    scheme: int,
    ref: Reference,
    bins: Bins,
    model: Model,
    mesh: Mesh,
    work: Work,
    u: Array,
    control: Control,
    limits: Limits,
) -> tuple[float, float]:
    """Error of the step from `u` in units of what is allowed, and that of functional 0.

    The error is ∞ where the result is not finite. `work.sizes` gets what `control.sizes` will be.
    """
    count, report, sizes = control.sizes.size, work.report, work.sizes
    # A sum with NaN is NaN, which a largest value may hide.
    if not math.isfinite(_sum(report)):
        return np.inf, 0.0
    worst, first = 0.0, 0.0
    for k in range(work.parts.shape[0]):
        rare = model.relevance[k] < 1.0
        haste, _ = _haste(control.lifted, limits.rtol, k, rare)
        worst = max(worst, haste * work.parts[k, 0] / (_STEP_L1 * limits.rtol))
    for i in range(count):
        sizes[i] = control.sizes[i]
        if model.rule[i] == UNWATCHED:
            continue
        size = abs(report[3 + count + i])
        if model.rule[i] == ABSOLUTE or model.rule[i] == GUARDED:
            size = _size(model, mesh, i, work.new)
        sizes[i] = max(sizes[i], size)
        if model.rule[i] == DRIVING:
            sizes[i] = min(sizes[i], max(size, limits.idle))
        relative = report[3 + i] / max(sizes[i], 1e-300)
        if i == 0:
            first = relative
        worst = max(worst, relative / (_STEP_FUNCTIONAL * limits.rtol))
    lowest, highest = _extremes(mesh, u, work.flux)
    # Ripples of what holds next to nothing, all over its mesh, are none.
    highest = max(highest, _NOTHING * limits.rtol / max(_sum(mesh.width), 1e-300))
    lowest = min(lowest if scheme == 0 else 0.0, -limits.negative * highest)
    if worst <= 1.0 and scheme == 0:
        _lift(ref, bins, model, mesh, work, control, limits, -limits.negative * highest)
    if worst <= 1.0 and _ripples(control.clock, report[1], lowest, highest):
        worst = _TOO_LONG
    return worst, first


@_part
def _haste(lifted: Array, rtol: float, k: int, rare: bool) -> tuple[float, float]:
    """How often errors of a step and ripples of the mesh count in class k: once if none was lifted.

    Ripples of a density that travels far are a sign of errors that add up on its way; and it would
    spend all that lifting may cost. The more it was changed, the less is let pass. Ripples of
    common classes come mostly from steps, which their errors hardly shorten, those of `rare` ones
    from their coarse meshes; and errors of the steps of these add up on their way, see `_far`.
    """
    functional = lifted[SPENT, lifted.shape[1] - 1] / _LIFT_FUNCTIONAL
    spent = max(lifted[CHANGED, k] / _CHANGE_L1, functional) / rtol
    less = 1.0 / max(1.0 - spent, _LEAST_LEFT)
    return (max(less**0.75, _far(lifted, k)), less**2) if rare else (less**2, less)


@_part
def _far(lifted: Array, k: int) -> float:
    """How often errors of a step, and what is left unresolved, count after how far it has come.

    Every time that a law has moved by its width, as much as may be unresolved has gone astray.
    """
    return 1.0 + float(lifted[TRAVELLED, k]) / _FAR


@_part
def _travel(
    ref: Reference, bins: Bins, model: Model, mesh: Mesh, old: Array, new: Array, lifted: Array
) -> None:
    """Add how far the centres of rare classes have moved, in units of their deviations."""
    for k in range(mesh.first.size - 1):
        if model.relevance[k] >= 1.0:
            continue
        begin, end = mesh.first[k], mesh.first[k + 1]
        middle = 0.5 * (mesh.left[begin] + mesh.left[end - 1] + mesh.width[end - 1])
        held, first, second, moved = 1e-300, 0.0, 0.0, 0.0
        for e in range(begin, end):
            for j in range(new.shape[0]):
                if _is_atom(bins, mesh, k, e, j):
                    continue
                x = mesh.left[e] + 0.5 * mesh.width[e] * (1.0 + ref.nodes[j]) - middle
                mass = mesh.mass[j, e] * new[j, e]
                held += mass
                first += mass * x
                second += mass * x * x
                moved += mesh.mass[j, e] * (new[j, e] - old[j, e]) * x
        variance = held * second - first * first
        if variance > 0.0 and held > 0.0:
            lifted[TRAVELLED, k] += min(1.0, abs(moved) / math.sqrt(variance))


@_part
def _charge(lifted: Array) -> None:
    """Count what lifting has cost in a step that was accepted."""
    for i in range(lifted.shape[1]):
        lifted[SPENT, i] += lifted[TRIED, i]
        lifted[CHANGED, i] += lifted[TRIED_CHANGE, i]


@_part
def _is_wall(bins: Bins, mesh: Mesh, k: int, at: int) -> bool:
    """Whether vertex `at` of class k, the left end of element `at`, is an absorbing wall."""
    low = bins.absorbing[0] != 0.0 and at == mesh.first[k]
    return bool(low or (bins.absorbing[1] != 0.0 and at == mesh.first[k + 1]))


@_part
def _is_atom(bins: Bins, mesh: Mesh, k: int, e: int, j: int) -> bool:
    """Whether node j of element e of class k is an absorbing wall, where an atom is held."""
    if j == 0:
        return bool(_is_wall(bins, mesh, k, e))
    return bool(j == mesh.mass.shape[0] - 1 and _is_wall(bins, mesh, k, e + 1))


@_part
def _squared_shape(ref: Reference, bins: Bins, mesh: Mesh, j: int, e: int, k: int) -> float:
    """h² at node j of element e, from its mass, which is divided by it.

    A node at an absorbing wall has mass 1 for another reason: h is that of its neighbour.
    """
    if _is_atom(bins, mesh, k, e, j):
        j = 1 if j == 0 else j - 1
    return 0.5 * mesh.width[e] * ref.weights[j] / mesh.mass[j, e]  # type: ignore[no-any-return]


@_part
def _least_density(
    ref: Reference, bins: Bins, mesh: Mesh, work: Work, u: Array, k: int, e: int
) -> float:
    """Least density of element e, 0 if none is negative.

    That is at a node or on average over one of 2p equal parts, what is seen of it if it is split,
    relative to what it gets of a lift. `work.flux` gets its densities.
    """
    last, density = u.shape[0] - 1, work.flux
    wall = 2 if _is_atom(bins, mesh, k, e, last) else 0
    wall = 1 if _is_atom(bins, mesh, k, e, 0) else wall
    worst = 0.0
    for j in range(u.shape[0]):
        density[j, e] = 0.0
        if not (wall > 0 and _is_atom(bins, mesh, k, e, j)):
            density[j, e] = u[j, e] / _squared_shape(ref, bins, mesh, j, e, k)
            worst = min(worst, density[j, e] / _gets(0.5 * (1.0 + ref.nodes[j]), wall))
    return float(min(worst, _least_part(ref, density, e, wall)))


@_part
def _unsure(mesh: Mesh, e: int) -> bool:
    """Whether element e may hold ripples that nodes do not show: h varies, or none is finer."""
    last = mesh.mass.shape[0] - 1
    level = abs(mesh.mass[1, e] - mesh.mass[last - 1, e]) <= _LEVEL * mesh.mass[1, e]
    return bool(not level or mesh.width[e] <= mesh.finest[e])


@_part
def _lacks(
    ref: Reference, bins: Bins, mesh: Mesh, work: Work, u: Array, k: int, floor: float
) -> bool:
    """By how much a density has to be lifted, not to be negative: `work.lower`; whether it has to.

    Only elements are lifted whose density falls below `floor`, see `_least_density`.
    """
    some = False
    for e in range(mesh.first[k], mesh.first[k + 1]):
        worst = _least_density(ref, bins, mesh, work, u, k, e)
        work.lower[e] = 0.0
        if worst < floor:
            work.lower[e], some = -worst, True
    return some


@_part
def _lift_at(ref: Reference, bins: Bins, mesh: Mesh, lacks: Array, k: int, at: int) -> float:
    """By how much v is lifted at vertex `at`: by what either element at it lacks, 0 at a wall."""
    begin, end, last = mesh.first[k], mesh.first[k + 1], mesh.mass.shape[0] - 1
    lift = 0.0
    if _is_wall(bins, mesh, k, at):
        return lift
    if at > begin:
        lift = lacks[at - 1] * _squared_shape(ref, bins, mesh, last, at - 1, k)
    if at < end:
        lift = max(lift, lacks[at] * _squared_shape(ref, bins, mesh, 0, at, k))
    return lift


@_part
def _keep_at(bins: Bins, mesh: Mesh, keep: Array, k: int, at: int) -> float:
    """The larger factor of the elements at vertex `at`; 1 where an absorbing wall is."""
    if _is_wall(bins, mesh, k, at):
        return 1.0
    left, right = max(at - 1, mesh.first[k]), min(at, mesh.first[k + 1] - 1)
    return float(max(keep[left], keep[right]))


@_part
def _raise(ref: Reference, bins: Bins, mesh: Mesh, work: Work, k: int) -> None:
    """Lift class k of `work.start`.

    Every vertex is lifted by what the elements at it lack (`lower`), and the density, whose ripples
    these are, by what is linear between: where h all but vanishes, what is linear in v = h² μ would
    move far more. Each element that was lifted then gives back what it got, as long as it is not
    left with less than nothing: by factors (`pivot`), which, to be continuous, are the larger ones
    at vertices and linear between.
    """
    u, lacks, keep = work.start, work.lower, work.pivot
    begin, end, last = mesh.first[k], mesh.first[k + 1], u.shape[0] - 1
    for e in range(begin, end):
        low = _lift_at(ref, bins, mesh, lacks, k, e) / _squared_shape(ref, bins, mesh, 0, e, k)
        high = _lift_at(ref, bins, mesh, lacks, k, e + 1)
        high /= _squared_shape(ref, bins, mesh, last, e, k)
        held, added = 0.0, 0.0
        for j in range(u.shape[0]):
            at = 0.5 * (1.0 + ref.nodes[j])
            lift = low * (1.0 - at) + high * at
            lift *= _squared_shape(ref, bins, mesh, j, e, k)
            if not _is_atom(bins, mesh, k, e, j):
                held += mesh.mass[j, e] * u[j, e]
                added += mesh.mass[j, e] * lift
                u[j, e] += lift
        keep[e] = max(held, 0.0) / (max(held, 0.0) + added) if lacks[e] > 0.0 else 1.0
    for e in range(begin, end):
        low = _keep_at(bins, mesh, keep, k, e)
        high = _keep_at(bins, mesh, keep, k, e + 1)
        for j in range(u.shape[0]):
            at = 0.5 * (1.0 + ref.nodes[j])
            if not _is_atom(bins, mesh, k, e, j):
                u[j, e] *= low * (1.0 - at) + high * at


@_part
def _raise_all(ref: Reference, bins: Bins, mesh: Mesh, work: Work, k: int, floor: float) -> None:
    """Lift class k of `work.start` until it is nowhere below `floor`, see `_raise`."""
    for _ in range(_MOST_LIFTS):
        _raise(ref, bins, mesh, work, k)
        if not _lacks(ref, bins, mesh, work, work.start, k, floor):
            break


@_part
def _hat(ref: Reference, mesh: Mesh, k: int, window: tuple[int, int], e: int, j: int) -> float:
    """1 inside a window of elements of class k, falling to 0 over its first and its last one."""
    low, high = window
    at = 0.5 * (1.0 + ref.nodes[j])
    value = at if e == low and low > mesh.first[k] else 1.0
    return value * (1.0 - at) if e + 1 == high and high < mesh.first[k + 1] else value


@_part
def _tilt(
    ref: Reference, bins: Bins, mesh: Mesh, work: Work, k: int, run: tuple[int, int], reach: int
) -> tuple[int, int, float, float]:
    """Window about a run of elements, and (a, b) so that u·(1 − (a + b ξ)·hat) takes back its lift.

    ξ runs from −1 to 1 over the window. What the elements got is `work.lower`, its first moment
    about their left ends `work.pivot`; both are taken back. (a, b) are ∞ where that is too much.
    """
    low = max(mesh.first[k], run[0] - reach)
    high = min(mesh.first[k + 1], run[1] + reach)
    half = 0.5 * (mesh.left[high - 1] + mesh.width[high - 1] - mesh.left[low])
    held, first, second, added, lever = 0.0, 0.0, 0.0, 0.0, 0.0
    for e in range(low, high):
        begin = (mesh.left[e] - mesh.left[low]) / half - 1.0
        if run[0] <= e < run[1]:
            added += work.lower[e]
            lever += work.lower[e] * begin + work.pivot[e] / half
        for j in range(work.start.shape[0]):
            if not _is_atom(bins, mesh, k, e, j):
                at = begin + 0.5 * (1.0 + ref.nodes[j]) * mesh.width[e] / half
                mass = mesh.mass[j, e] * work.start[j, e]
                mass *= _hat(ref, mesh, k, (low, high), e, j)
                held += mass
                first += mass * at
                second += mass * at * at
    spread = held * second - first * first
    a, b = np.inf, np.inf
    if held > 0.0 and spread > 0.0:
        a = (added * second - lever * first) / spread
        b = (lever * held - added * first) / spread
    return low, high, a, b


@_part
def _balance(ref: Reference, bins: Bins, mesh: Mesh, work: Work, k: int) -> None:
    """Take what lifting added to runs of elements from where there is mass next to them.

    Moved no further than that, and with its centre kept, it hardly changes functionals.
    """
    u, begin, end = work.start, mesh.first[k], mesh.first[k + 1]
    for e in range(begin, end):
        work.lower[e], work.pivot[e] = 0.0, 0.0
        for j in range(u.shape[0]):
            if not _is_atom(bins, mesh, k, e, j):
                more = mesh.mass[j, e] * (u[j, e] - work.new[j, e])
                work.lower[e] += more
                work.pivot[e] += more * 0.5 * (1.0 + ref.nodes[j]) * mesh.width[e]
    e = begin
    while e < end:
        first = e
        while e < end and (work.lower[e] != 0.0 or work.pivot[e] != 0.0):
            e += 1
        run, reach = (first, e), 1
        e = max(e, first + 1)
        if run[0] == run[1]:
            continue
        low, high, a, b = _tilt(ref, bins, mesh, work, k, run, reach)
        while abs(a) + abs(b) > _NEARBY and high - low < end - begin:
            reach *= 2
            low, high, a, b = _tilt(ref, bins, mesh, work, k, run, reach)
        if abs(a) + abs(b) > _NEARBY:
            continue
        half = 0.5 * (mesh.left[high - 1] + mesh.width[high - 1] - mesh.left[low])
        for i in range(low, high):
            at = (mesh.left[i] - mesh.left[low]) / half - 1.0
            for j in range(u.shape[0]):
                if not _is_atom(bins, mesh, k, i, j):
                    here = at + 0.5 * (1.0 + ref.nodes[j]) * mesh.width[i] / half
                    u[j, i] *= 1.0 - (a + b * here) * _hat(ref, mesh, k, (low, high), i, j)


@_part
def _free_mass(bins: Bins, mesh: Mesh, u: Array, k: int) -> float:
    """Mass of class k, atoms left out."""
    total = 0.0
    for e in range(mesh.first[k], mesh.first[k + 1]):
        for j in range(u.shape[0]):
            if not _is_atom(bins, mesh, k, e, j):
                total += mesh.mass[j, e] * u[j, e]
    return total


@_part
def _displaced(ref: Reference, bins: Bins, mesh: Mesh, work: Work, k: int) -> float:
    """How far mass of class k lies in `work.start` from where it is in `work.new`, times the mass.

    That is the Wasserstein-1 distance ∫|F_1 − F_2| of the two, atoms left out.
    """
    total, ahead, last = 0.0, 0.0, work.new.shape[0] - 1
    for e in range(mesh.first[k], mesh.first[k + 1]):
        for j in range(last + 1):
            if not _is_atom(bins, mesh, k, e, j):
                ahead += mesh.mass[j, e] * (work.start[j, e] - work.new[j, e])
            if j < last:
                total += abs(ahead) * 0.5 * (ref.nodes[j + 1] - ref.nodes[j]) * mesh.width[e]
    return total


@_part
def _length(model: Model, sizes: Array) -> float:
    """Root of the second moment, which displacements are small against."""
    length = 1e-300
    for i in range(sizes.size):
        if model.rule[i] == GUARDED:
            length = max(length, math.sqrt(sizes[i]))
    return length


@_part
def _price(
    ref: Reference,
    bins: Bins,
    model: Model,
    mesh: Mesh,
    work: Work,
    k: int,
    scale: float,
    moved: Array,
) -> tuple[float, float, float]:
    """Scale the lifted class k in `work.start`; return what taking it over may cost.

    That is a bound on what it adds to errors of the density, how much has changed, and the largest
    relative change of a functional; `moved` gets the changes. Clipping brings a density nearer to
    any that is positive by just the mass clipped: what is moved beyond that counts, or how far it
    is moved.
    """
    u, out = work.new, work.start
    change, clipped, worst, length = 0.0, 0.0, 0.0, _length(model, work.sizes)
    for i in range(moved.size):
        moved[i] = 0.0
    for e in range(mesh.first[k], mesh.first[k + 1]):
        for j in range(u.shape[0]):
            if _is_atom(bins, mesh, k, e, j):
                continue
            out[j, e] *= scale
            change += mesh.mass[j, e] * abs(out[j, e] - max(u[j, e], 0.0))
            clipped += mesh.mass[j, e] * max(-u[j, e], 0.0)
            for i in range(model.offset.size):
                moved[i] += mesh.functionals[i, j, e] * (out[j, e] - u[j, e])
    for i in range(model.offset.size):
        if model.rule[i] != UNWATCHED:
            worst = max(worst, abs(moved[i]) / max(work.sizes[i], 1e-300))
    far = model.relevance[k] * _displaced(ref, bins, mesh, work, k) / length
    change = model.relevance[k] * max(0.0, change - clipped)
    cost = min(change, _LIFT_L1 / _LIFT_FAR * far)
    return cost, min(change, _CHANGE_L1 / _CHANGE_FAR * far), worst


@_part
def _lift(
    ref: Reference,
    bins: Bins,
    model: Model,
    mesh: Mesh,
    work: Work,
    control: Control,
    limits: Limits,
    floor: float,
) -> None:
    """Lift densities in `work.new` that fall below `floor`, where that costs little enough.

    The report then has the minimum of the classes left as they are. Inside an element nodes may be
    positive and averages over parts of it not; in other than rare classes this is looked for only
    where the mesh may not resolve it to the tolerance, see `_unsure`.
    """
    lifted, report, moved, low = control.lifted, work.report, work.spare[1], work.flux[0]
    classes = lifted.shape[1] - 1
    for i in range(classes + 1):
        lifted[TRIED, i] = lifted[TRIED_CHANGE, i] = 0.0
    _outermost(work.new, low, work.flux[1])
    report[1] = 0.0
    for k in range(classes):
        minimum = 0.0
        for e in range(mesh.first[k], mesh.first[k + 1]):
            minimum = min(minimum, low[e] * mesh.inverse[e])
            if model.relevance[k] >= 1.0 and _unsure(mesh, e):
                minimum = min(minimum, _least_density(ref, bins, mesh, work, work.new, k, e))
        plain = minimum >= floor and model.relevance[k] >= 1.0
        if plain or not _lacks(ref, bins, mesh, work, work.new, k, floor):
            report[1] = min(report[1], minimum)
            continue
        for j in range(work.new.shape[0]):
            for e in range(mesh.first[k], mesh.first[k + 1]):
                work.start[j, e] = work.new[j, e]
        _raise_all(ref, bins, mesh, work, k, floor)
        _balance(ref, bins, mesh, work, k)
        if _lacks(ref, bins, mesh, work, work.start, k, floor):
            # What was taken from steep elements has left them negative between nodes.
            _raise_all(ref, bins, mesh, work, k, floor)
        before = _free_mass(bins, mesh, work.new, k)
        scale = before / _free_mass(bins, mesh, work.start, k)
        cost, change, worst = _price(ref, bins, model, mesh, work, k, scale, moved)
        spent, most = lifted[SPENT, k], _LIFT_L1 * limits.rtol
        fair = cost <= _LIFT_SHARE * (most - spent)
        if model.probability[k] < _NEVER:
            fair = fair or spent > 0.5 * most or control.clock[LAST_MINIMUM] < 0.0
        left = _LIFT_FUNCTIONAL * limits.rtol - lifted[SPENT, classes] - lifted[TRIED, classes]
        fair = fair and worst <= _LIFT_SHARE * left
        if not fair or not before > 0.0:
            report[1] = min(report[1], minimum)
            continue
        for j in range(work.new.shape[0]):
            for e in range(mesh.first[k], mesh.first[k + 1]):
                work.new[j, e] = work.start[j, e]
        lifted[TRIED, k], lifted[TRIED_CHANGE, k] = cost, change
        lifted[TRIED, classes] += worst
        for i in range(model.offset.size):
            report[3 + model.offset.size + i] += moved[i]


@_part
def _ripples(clock: Array, minimum: float, lowest: float, highest: float) -> bool:
    """Whether a step is to be rejected for negative density.

    A shorter step cures ripples of time stepping. Those that it does not lessen come from the mesh;
    they are let pass, at their size, until they are gone, but from now on the mesh takes more care.
    Those as deep as the density is high are none, whatever they come from.
    """
    if minimum >= min(lowest, 1.2 * clock[TOLERATED]):
        if minimum > 0.5 * clock[TOLERATED]:
            clock[TOLERATED] = 0.0
        clock[LAST_MINIMUM] = 0.0
        return False
    if -highest < minimum < 0.5 * clock[LAST_MINIMUM] < 0.0:
        clock[TOLERATED] = minimum
        clock[CARE] = min(_MORE_CARE * clock[CARE], MOST_CARE)
        clock[LAST_MINIMUM] = 0.0
        return False
    clock[LAST_MINIMUM] = minimum
    return True


@_part
def _domain(bins: Bins, cells: Cells, motion: Motion, k: int) -> tuple[float, float]:
    """Ends of the domain of class k."""
    e = cells.first[k]
    low = bins.origin[cells.bins[e]] + cells.index[e] * bins.span[cells.bins[e]] * 2.0 ** (
        -cells.level[e]
    )
    e = cells.first[k + 1] - 1
    high = bins.origin[cells.bins[e]] + (cells.index[e] + 1) * bins.span[cells.bins[e]] * 2.0 ** (
        -cells.level[e]
    )
    return low + motion.shift[k], high + motion.shift[k]


@_part
def _stir(model: Model, diffusivity: float, step: float, k: int, h: float) -> float:
    """How far diffusion carries mass in a step where the shape is h, tails included."""
    return 4.0 * h * math.sqrt(2.0 * abs(diffusivity) * model.scale[k] * step)


@_part
def _widest_shape(model: Model, b: int, low: float, high: float) -> float:
    """The larger |h| at the ends of [low, high] in bin b."""
    if model.shape.shape[0] == 0:
        return 1.0
    first, last = _polynomial(model.shape[b], low), _polynomial(model.shape[b], high)
    return float(max(abs(first), abs(last)))


@_part
def _velocity(c: Array, speed: Array, k: int) -> float:
    total = 0.0
    for i in range(speed.shape[0]):
        total += c[i] * speed[i, k]
    return total


@_part
def _keep_inside(
    bins: Bins, model: Model, cells: Cells, motion: Motion, c: Array, step: float
) -> float:
    """The step to try, in which no moving mesh leaves its bin; −1 if one has to be attached."""
    for k in range(motion.shift.size):
        if not motion.detached[k]:
            continue
        b = cells.bins[cells.first[k]]
        low, high = _domain(bins, cells, motion, k)
        below, above = low - bins.lower[b], bins.upper[b] - high
        h = _widest_shape(model, b, low, high)
        margin = max(2.0 * _stir(model, c[-1], step, k, h), NEAR_END * (high - low))
        if min(below, above) < margin:
            return -1.0
        speed = _velocity(c, motion.speed, k)
        ahead = above if speed > 0 else below
        if ahead < np.inf and speed != 0.0:
            # Come closer, but end near enough for the next step to attach the mesh.
            step = min(step, (0.9 * (ahead - margin) + 1e-3 * margin) / abs(speed))
    return step


@_part
def _detach(bins: Bins, model: Model, cells: Cells, motion: Motion, c: Array, step: float) -> bool:
    """Set those meshes moving whose mass lies inside one bin of constant drift, clear of its ends.

    There only diffusion is left in the frame of the drift: far travel, inward or for ever, then
    costs neither steps nor accuracy.
    """
    moved = False
    for k in range(motion.shift.size):
        b = cells.bins[cells.first[k]]
        if motion.detached[k] or not math.isfinite(_sum(model.flat[:, k, b])):
            continue
        if cells.bins[cells.first[k + 1] - 1] != b:
            continue
        speed = _velocity(c, model.flat[:, :, b], k)
        # Further away than where it would be attached again.
        low, high = _domain(bins, cells, motion, k)
        h = _widest_shape(model, b, low, high)
        stir = max(2.5 * _stir(model, c[-1], step, k, h), 2.0 * NEAR_END * (high - low))
        reach = stir + _CLEAR_STEPS * step * abs(speed)
        below, above = low - bins.lower[b], bins.upper[b] - high
        if below > (reach if speed < 0 else stir) and above > (reach if speed > 0 else stir):
            motion.detached[k] = moved = True
            for i in range(motion.speed.shape[0]):
                motion.speed[i, k] = model.flat[i, k, b]
    return moved


@_part
def _panel(law: Law, dt: float) -> float:
    """Part of a step on which the law is smooth: schedules may change it within, a step need not.

    A rate that falls exponentially is followed over so many of its times in which it falls by e.
    """
    panel = dt
    for i in range(law.segments.shape[0]):
        kind, duration = law.segments[i, 0], law.segments[i, 2]
        if kind != 0.0:
            panel = min(panel, duration if kind == 3.0 else 0.5 * duration)
    return max(panel, dt / _MOST_PANELS)


@_part
def _move(law: Law, motion: Motion, when: tuple[float, float], present: Array, c: Array) -> bool:
    """Displace the moving meshes by ∫ c dt over the step: Gauss rules on panels, see `_panel`.

    Those that are led go their path. Returns whether any has moved.
    """
    (time, dt), alone, moved = when, False, False
    for k in range(motion.shift.size):
        if motion.detached[k] and math.isfinite(motion.path[k]):
            motion.shift[k] += motion.path[k]
            moved = moved or motion.path[k] != 0.0
        elif motion.detached[k]:
            alone = moved = True
    count = math.ceil(dt / _panel(law, dt)) if alone else 0
    for panel in range(count):
        for i in range(_GAUSS.shape[0]):
            share, weight = (panel + _GAUSS[i, 0]) / count, _GAUSS[i, 1] / count
            _evaluate_law(law, time + share * dt, present, c)
            for k in range(motion.shift.size):
                if motion.detached[k] and not math.isfinite(motion.path[k]):
                    motion.shift[k] += weight * dt * _velocity(c, motion.speed, k)
    return moved


@_part
def _any_led(motion: Motion) -> bool:
    """Whether any mesh is led, see `lead`."""
    some = False
    for path in motion.path:
        some = some or math.isfinite(path)
    return some


@_maker
def _refine(
    ref: Reference, cells: Cells, u: Array, marks: Array, width: Array, action: Indices, most: float
) -> tuple[Cells, Array]:
    """Split where `action` says so, twice where one split will not do."""
    needy = np.zeros(action.size, np.int64)
    severe = np.zeros(action.size, np.int64)
    some = False
    for e in range(action.size):
        if action[e] == SPLIT:
            needy[e] = SPLIT
            if marks[1, e] > 2.0 ** (u.shape[0] - 1) * most:
                severe[e], some = 1, True
    least = np.full(cells.first.size - 1, -np.inf)
    halved, finer = _regrid(ref, cells, u, marks, width, needy, 0.0, least)
    if not some:
        return halved, finer
    again = np.zeros(halved.bins.size, np.int64)
    at = 0
    for e in range(action.size):
        if severe[e] == 1:
            again[at] = again[at + 1] = SPLIT
        at += 1 + needy[e]
    return _regrid(ref, halved, finer, marks, width, again, 0.0, least)  # type: ignore[no-any-return]


@_part
def _absorb(bins: Bins, cells: Cells, u: Array, gained: Array) -> None:
    """Take what the atoms gained out of the nodes at absorbing walls, into `gained` (2, K)."""
    for k in range(cells.first.size - 1):
        if bins.absorbing[0] != 0.0:
            gained[0, k] = u[0, cells.first[k]]
            u[0, cells.first[k]] = 0.0
        if bins.absorbing[1] != 0.0:
            gained[1, k] = u[-1, cells.first[k + 1] - 1]
            u[-1, cells.first[k + 1] - 1] = 0.0


@_part
def _fill_atoms(model: Model, mesh: Mesh, atoms: Array, gained: Array) -> None:
    """Add to the atoms, and to the offsets what the functionals see of them."""
    last = mesh.mass.shape[0] - 1
    for k in range(mesh.first.size - 1):
        for i in range(model.offset.size):
            f = mesh.functionals[i]
            model.offset[i] += f[0, mesh.first[k]] * gained[0, k]
            model.offset[i] += f[last, mesh.first[k + 1] - 1] * gained[1, k]
        for side in range(2):
            atoms[side, k] += gained[side, k]


@_part
def _reach(model: Model, mesh: Mesh, c: Array, step: float, out: Array) -> None:
    """out = how far beyond its ends (2, K) mass may come in a few steps."""
    for k in range(out.shape[1]):
        for side in range(2):
            e = mesh.first[k + 1] - 1 if side else mesh.first[k]
            stir = _stir(model, c[-1], step, k, 1.0 / math.sqrt(mesh.inverse[e]))
            out[side, k] = stir + 3.0 * step * max(0.0, _outward(mesh, c, k, side))


@_part
def _approach(mesh: Mesh, u: Array, importance: Array, c: Array, step: float, ends: Array) -> None:
    """Count in `ends` (2, K) what the drift may bring to the ends of classes in a step.

    A step that has to be taken again costs as much as all classes; only of those that are a small
    part of the whole are meshes extended on suspicion.
    """
    for k in range(ends.shape[1]):
        if not _minor(mesh, k):
            continue
        begin, end = mesh.first[k], mesh.first[k + 1]
        for side in range(2):
            if ends[side, k] == 0.0:
                continue
            e = end - 1 if side else begin
            ahead = _AHEAD * step * _outward(mesh, c, k, side)
            while ahead > 0.0 and begin <= e < end:
                ends[side, k] = max(ends[side, k], _held(mesh, u, importance, e))
                ahead -= mesh.width[e]
                e += -1 if side else 1


@_part
def _lengthen(clock: Array, step: float, ratio: float) -> None:
    """Choose the next step after one of this length and error ratio."""
    factor = min(6.0, max(0.2, 0.85 * max(ratio, 1e-12) ** (-1.0 / ORDER)))
    if factor < 1.0 or step * factor >= clock[STEP]:
        clock[STEP] = step * factor


@_inlined
def _next_step(
    bins: Bins,
    model: Model,
    law: Law,
    grid: tuple[Cells, Motion],
    clock: Array,
    limits: Limits,
    until: float,
    present: Array,
    c: Array,
) -> tuple[int, float]:
    """GO and the length of the step to try, or why there is none; `c` gets (c, D) at its start."""
    cells, motion = grid
    left = until - clock[TIME]
    if left < max(1e-15 * until, _INSTANT):
        # Two requested times that differ by rounding are one.
        clock[TIME] = max(clock[TIME], until)
        return REACHED, 0.0
    if present[0] < limits.rest and clock[STEPS] >= clock[ASK]:
        return REST, 0.0
    step = left if left <= 1.01 * clock[STEP] else min(clock[STEP], 0.5 * left)
    if _evaluate_law(law, clock[TIME], present, c) != 0:
        return FOREIGN, 0.0
    if _any(motion.detached):
        step = _keep_inside(bins, model, cells, motion, c, step)
        if step < 0.0:
            return ATTACH, 0.0
    if step < _SHORTEST * max(clock[TIME], 1e-290) or clock[TRIES] > limits.most_tries:
        return STUCK, 0.0
    clock[TRIES] += 1.0
    return GO, step


@_part
def _reject(clock: Array, step: float, ratio: float) -> None:
    clock[REJECTED] += 1.0
    if ratio == np.inf:
        clock[STEP] = 0.1 * step
    else:
        _lengthen(clock, step, ratio)


@_part
def _pass_time(clock: Array, step: float, until: float) -> None:
    """Let a step's time pass; steps that are lost in rounding add up until they are not.

    No law changes within so short a time: how the density changes is known, and how long it takes.
    """
    if step == until - clock[TIME]:
        clock[TIME], clock[CARRIED] = until, 0.0
    elif step > _TOLD * clock[TIME]:
        clock[TIME], clock[CARRIED] = clock[TIME] + step, 0.0
    else:
        before, clock[CARRIED] = clock[TIME], clock[CARRIED] + step
        clock[TIME] = before + clock[CARRIED]
        clock[CARRIED] -= clock[TIME] - before


@_part
def _enter(
    work: Work, control: Control, taken: tuple[float, float, float], until: float, log: Array
) -> None:
    """Keep the books of an accepted step; taken = (length, error ratio, error of functional 0)."""
    clock, (step, ratio, relative) = control.clock, taken
    clock[ROW] = 0.0
    clock[CHASES] *= _FORGET
    _charge(control.lifted)
    _pass_time(clock, step, until)
    _lengthen(clock, step, ratio)
    clock[STEPS] += 1.0
    if clock[STEP] > clock[TIME]:  # What has died out may be at its end before it is asked for.
        clock[ASK] = min(clock[ASK], clock[STEPS])
    clock[TIME_ERROR] += relative
    clock[ROUNDING] += work.report[2]
    clock[LARGEST] = max(clock[LARGEST], work.report[work.report.size - control.sizes.size])
    clock[MOST_UNKNOWNS] = max(clock[MOST_UNKNOWNS], float(work.new.size))
    for i in range(control.sizes.size):
        control.sizes[i] = work.sizes[i]
    row, ahead = int(clock[LOGGED]), work.report.size - control.sizes.size
    if row > 0 and log[row - 1, 0] == clock[TIME]:
        row -= 1  # One row a time, that of the last step to it.
    log[row, 0] = clock[TIME]
    for i in range(control.sizes.size):
        log[row, 1 + i] = work.report[ahead + i]
    clock[LOGGED] = row + 1.0


@_part
def _land(mesh: Mesh, u: Array, clock: Array, stops: Array, present: Array, record: Record) -> int:
    """Record the density where it has landed; return whether to GO on, or why not."""
    at, densities, (nodes, elements) = int(clock[FILLED]), record.densities, u.shape
    if at + (2 + nodes) * elements > densities.size:
        return TICK
    landing, row = int(clock[LANDED]), int(clock[LOGGED]) - 1
    for e in range(elements):
        densities[at + e] = mesh.left[e]
        densities[at + elements + e] = mesh.width[e]
    for j in range(nodes):
        at_node = at + (2 + j) * elements
        for e in range(elements):
            densities[at_node + e] = u[j, e]
    for k in range(mesh.first.size):
        record.first[landing, k] = mesh.first[k]
    for i in range(present.size):
        record.moments[landing, i] = present[i]
        if row >= 0 and record.log[row, 0] == stops[landing]:
            # Adaptation and the order of a sum move functionals by rounding: one value a time.
            record.log[row, 1 + i] = present[i]
    clock[LANDED] += 1.0
    clock[FILLED] += (2 + nodes) * elements
    clock[TRIES] = 0.0
    return GO if landing + 1 < stops.size else REACHED


@_part
def _while_it_rises(
    law: Law, mesh: Mesh, u: Array, time: float, resolution: float, present: Array, c: Array
) -> float:
    """Length of a first step that has a rate of 0 where it begins, ∞ where that stays.

    The derivative of the equation is 0 there, so that the step is an explicit one: no more may come
    to breaks, where elements would be made finer, than they leave unresolved.
    """
    step, peak = np.inf, 0.0
    for j in range(u.shape[0]):
        for e in range(u.shape[1]):
            peak = max(peak, u[j, e] * mesh.inverse[e])
    for i in range(law.segments.shape[0]):
        if law.segments[i, 0] != 0.0:
            step = min(step, law.segments[i, 2])
    moved = np.inf
    while moved > resolution and 0.0 < step < np.inf:
        step *= 0.5
        _evaluate_law(law, time + step, present, c)
        moved = 0.0
        for e in range(u.shape[1]):
            moved = max(moved, step * _fastest(mesh, c, e) * peak)
    return step


@_part
def _set_off(
    model: Model,
    law: Law,
    mesh: Mesh,
    u: Array,
    control: Control,
    resolution: float,
    present: Array,
    c: Array,
) -> None:
    """Choose the first step and the sizes relative to which functionals are right."""
    clock = control.clock
    clock[LARGEST] = present[0]
    for i in range(present.size):
        control.sizes[i] = 0.0
        if model.rule[i] == SIGNED:
            control.sizes[i] = abs(present[i])
        elif model.rule[i] >= ABSOLUTE:
            control.sizes[i] = _size(model, mesh, i, u)
    _evaluate_law(law, clock[TIME], present, c)
    speed, finest = 0.0, np.inf
    for e in range(u.shape[1]):
        finest = min(finest, mesh.width[e])
        speed = max(speed, _fastest(mesh, c, e))
    stir = c[-1] * _largest(model.scale)
    step = 0.05 / (speed / finest + stir / finest**2 + 1e-300)
    if speed == 0.0 and stir == 0.0:
        step = min(step, _while_it_rises(law, mesh, u, clock[TIME], resolution, present, c))
    # Next to a time that is not 0 a step must be more than rounding.
    clock[STEP] = max(step, _LEAST_STEP * clock[TIME])


@_part
def _urgency(
    model: Model, cells: Cells, unresolved: Array, ends: Array, resolution: float
) -> tuple[float, float]:
    """Largest of `ends`, and of what classes leave unresolved, for which to take a step again.

    Of hundreds of elements in a class some always leave a little more than they should, which adds
    next to nothing to what all may: that is mended after the step.
    """
    outermost, worst = 0.0, 0.0
    for k in range(cells.first.size - 1):
        share = 1.0 if model.relevance[k] >= 1.0 else _PATIENCE
        outermost = max(outermost, share * max(ends[0, k], ends[1, k]))
        excess, count = 0.0, cells.first[k + 1] - cells.first[k]
        for e in range(cells.first[k], cells.first[k + 1]):
            excess += max(0.0, share * unresolved[e] - resolution)
        spared = max(0.0, _SPARED * count - 1.0) * resolution
        worst = max(worst, resolution + excess - spared)
    return outermost, worst


@_part
def _ask(model: Model, control: Control, rtol: float, care: Array) -> None:
    """How often ripples, and what is left unresolved, count in the classes; (2, K)."""
    for k in range(care.shape[1]):
        rare = model.relevance[k] < 1.0
        _, ripples = _haste(control.lifted, rtol, k, rare)
        care[0, k] = control.clock[CARE] * ripples
        care[1, k] = _far(control.lifted, k) if rare else 1.0


@_part
def _chase(clock: Array, step: float) -> None:
    """Count a refinement; a mesh that is never fine enough chases ripples of too long a step."""
    clock[REFINED] += 1.0
    clock[ROW] += 1.0
    if clock[ROW] % _MOST_REFINEMENTS == 0.0:
        _lengthen(clock, step, _TOO_LONG)
        clock[CHASES] += 1.0


@_maker
def _needy(
    ref: Reference,
    bins: Bins,
    model: Model,
    cells: Cells,
    mesh: Mesh,
    u: Array,
    bounds: tuple[float, float, tuple[float, Array, bool]],
) -> bool:
    """Whether the mesh leaves unresolved what is to be resolved, or ends too near to it."""
    marks, ends = np.empty((2, u.shape[1])), np.empty((2, cells.first.size - 1))
    _mark(ref, bins, model, cells, mesh, u, bounds, marks, ends)
    resolution = bounds[0] / SPLIT_SHARE
    return bool(max(_urgency(model, cells, marks[1], ends, resolution)) > resolution)


@ahead(aside=True)
@_bare_kernel
def adapt(
    ref: Reference,
    bins: Bins,
    model: Model,
    grid: tuple[Cells, Motion, Mesh, Array2],
    new: Array2,
    c: Array1,
    step: float,
    control: Control,
    limits: Limits,
) -> tuple[int, Cells, Array2, bool]:
    """Judge the density `new` reached by a step: take it over, adapted, or prepare for a retry.

    Returns KEEP with cells and density where it was taken over, and whether cells changed; SPLIT if
    the mesh was refined or extended under the old density because `new` is unresolved on it or has
    reached its end.
    """
    cells, motion, mesh, old = grid
    clock, care = control.clock, np.empty((2, cells.first.size - 1))
    _ask(model, control, limits.rtol, care)
    merge = clock[STEPS] % _STEPS_PER_MERGE == 0.0 or new.size > _MANY
    marks, spare = np.empty((2, new.shape[1])), np.empty((2, new.shape[1]))
    ends = np.empty((2, cells.first.size - 1))
    merge_below = _MERGE * limits.resolution if merge else 0.0
    needs = (limits.idle, care, True)
    bounds = (SPLIT_SHARE * limits.resolution, merge_below, needs)
    action = _mark(ref, bins, model, cells, mesh, new, bounds, marks, ends)
    reach = np.empty_like(ends)
    urgent = _urgency(model, cells, marks[1], ends, limits.resolution)
    needy = urgent[0] > limits.resolution or urgent[1] > limits.resolution
    if needy and not _any(c) and not _needy(ref, bins, model, cells, mesh, old, bounds):
        # A step from a rate of 0 is an explicit one, which finer elements would make unstable.
        _lengthen(clock, step, _TOO_LONG)
        return SPLIT, cells, old, False
    if needy:
        _chase(clock, step)
        if urgent[0] > limits.resolution:
            _reach(model, mesh, c, step, reach)
            limit = _GROW * limits.resolution
            _weigh(ref, bins, model, cells, old, False)
            cells, old = _grow(ref, bins, cells, motion.detached, old, reach, ends, limit, model)
        else:
            _weigh(ref, bins, model, cells, old, False)
            cells, old = _refine(ref, cells, old, marks, mesh.width, action, limits.resolution)
        _weigh(ref, bins, model, cells, old, True)
        return SPLIT, cells, old, True
    _travel(ref, bins, model, mesh, old, new, control.lifted)
    _approach(mesh, new, marks[0], c, step, ends)
    outermost = max(_largest(ends[0]), _largest(ends[1]))
    growing = outermost > _GROW * limits.resolution
    if merge:
        many = _LONG_RUN if clock[CHASES] < _MOST_CHASES else np.inf
        shares = (_TRIM * limits.resolution, _GROW * limits.resolution, many)
        _trim(ref, bins, cells, mesh, new, (marks[0], ends), shares, (c, step), action)
    changed, (_, peak) = _any(action), _extremes(mesh, new, spare)
    if changed or growing:
        _weigh(ref, bins, model, cells, new, False)
        for e in range(action.size):
            if _bent(model, cells.bins[e]):
                marks[0, e] /= mesh.inverse[e]
    if changed:
        clock[REGRIDS] += 1.0
        union = _UNION * limits.resolution
        least = np.empty(cells.first.size - 1)
        for k in range(least.size):
            least[k] = -np.inf if model.relevance[k] >= 1.0 else -limits.negative * peak
        cells, new = _regrid(ref, cells, new, marks, mesh.width, action, union, least)
    if growing:
        _reach(model, mesh, c, step, reach)
        limit = _GROW * limits.resolution
        cells, new = _grow(ref, bins, cells, motion.detached, new, reach, ends, limit, model)
    if changed or growing:
        _weigh(ref, bins, model, cells, new, True)
    return KEEP, cells, new, changed or growing


_adapt_at: Any = at_address(adapt)


def work_of(unknowns: float) -> float:
    """Work of one try of a step, in unknowns of a mesh that caches hold."""
    return unknowns * (1.0 + _UNCACHED * unknowns / (unknowns + _CACHED)) + _OVERHEAD


_work_of: Any = _part(work_of)


@_part
def _prepare(
    scheme: int,
    ref: Reference,
    model: Model,
    mesh: Mesh,
    u: Array,
    c: Array,
    control: Control,
    limits: Limits,
) -> None:
    """Count the work of a try, and diffuse rare classes in it as they need it."""
    control.clock[WORK] += _work_of(float(u.size))
    if scheme == 0:
        _calm(ref, model, mesh, u, c, control, limits)


@ahead(aside=False)
@_kernel
def march(
    method: Method,
    ref: Reference,
    bins: Bins,
    model: Model,
    law: Law,
    grid: tuple[Cells, Motion, Mesh, Array2],
    control: Control,
    limits: Limits,
    stops: Array1,
    record: Record,
) -> tuple[int, tuple[Cells, Motion, Mesh, Array2]]:
    """Take error-controlled steps until the last of `stops` is reached or Python is needed.

    It lands on each of them, and records what it finds there. Returns why it came back (REACHED …)
    and the grid. After REFRESH the cells have changed and the mesh has to be made anew by whoever
    knows the coefficients.
    """
    scheme, (cells, motion, mesh, u) = method.scheme, grid
    clock, foreign = control.clock, model.drift.shape[0] == 0
    present, c = np.empty(model.offset.size), np.empty(mesh.drift.shape[0] + 1)
    gained = np.zeros((2, cells.first.size - 1))
    work = _workspace(mesh, law.gain.shape[1], u.shape[1])
    _measure(model.offset, mesh.functionals, u, present)
    if clock[STEP] == 0.0:
        _set_off(model, law, mesh, u, control, limits.resolution, present, c)
    # One way out: every return of so many arrays would be compiled on its own.
    why = GO
    for _ in range(limits.chunk):
        until = stops[int(clock[LANDED])]
        why, step = _next_step(bins, model, law, (cells, motion), clock, limits, until, present, c)
        if why == REACHED:
            why = _land(mesh, u, clock, stops, present, record)
            if why == GO:
                continue
        if why == GO and 0.0 <= clock[LED] != step and _any_led(motion):
            clock[WANTED], why = step, LEAD
        if why != GO:
            break
        if work.new.shape[1] != u.shape[1]:
            work = _workspace(mesh, law.gain.shape[1], u.shape[1])
        when = (clock[TIME], step)
        _prepare(scheme, ref, model, mesh, u, c, control, limits)
        if _step(scheme, ref, bins, model, law, mesh, work, u, when, present) != 0:
            why = FOREIGN
            break
        ratio, relative = _judge(scheme, ref, bins, model, mesh, work, u, control, limits)
        if ratio > 1.0:
            _reject(clock, step, ratio)
            continue
        new = work.new.copy()
        _absorb(bins, cells, new, gained)
        verdict, changed = KEEP, False
        if scheme == 0:
            verdict, cells, u, changed = _adapt_at(
                method.adapt,
                (ref, bins, model, (cells, motion, mesh, u), new, c, step, control, limits),
            )
        else:
            u = new
        if verdict == KEEP:
            _fill_atoms(model, mesh, control.atoms, gained)
            changed = _move(law, motion, when, present, work.spare[0]) or changed
            if scheme == 0 and clock[STEPS] % _STEPS_PER_MERGE == 0.0:
                changed = _detach(bins, model, cells, motion, c, step) or changed
            _enter(work, control, (step, ratio, relative), until, record.log)
        elif u.size > limits.most_unknowns:
            why = CROWDED
            break
        if changed and (foreign or clock[LED] > 0.0):
            why = REFRESH
            break
        if changed:
            mesh = _place_at(method.place, (ref, bins, model, cells, motion))
        _measure(model.offset, mesh.functionals, u, present)
    return TICK if why == GO else why, (cells, motion, mesh, u)


# --- the start -----------------------------------------------------------------------------------

# Widths of the elements at a break, in units of its layer D/|a|, before any adaptation.
_LAYERS = 4.0
# An element that lacks more than this share of its mass has been given less at its end.
_LACKING = 0.01


@_part
def _sample(ref: Reference, mesh: Mesh, gaussian: tuple[Array, Array], u: Array) -> None:
    """Densities N(mean_k, deviation_k²) at the nodes; gaussian = (mean, deviation), each (K,)."""
    for k in range(mesh.first.size - 1):
        mean, deviation = gaussian[0][k], gaussian[1][k]
        top = 1.0 / (deviation * math.sqrt(2.0 * math.pi))
        for e in range(mesh.first[k], mesh.first[k + 1]):
            for j in range(u.shape[0]):
                x = mesh.left[e] + 0.5 * mesh.width[e] * (1.0 + ref.nodes[j])
                z = (x - mean) / deviation
                u[j, e] = math.exp(-0.5 * z * z) * top


@_part
def _join(ref: Reference, bins: Bins, mesh: Mesh, u: Array) -> None:
    """Turn densities at the nodes into v = h² μ, continuous, 0 at absorbing walls."""
    last = u.shape[0] - 1
    for k in range(mesh.first.size - 1):
        begin, end = mesh.first[k], mesh.first[k + 1]
        for e in range(begin, end):
            if e > begin:
                u[0, e] = u[last, e - 1]
        for e in range(begin, end):
            for j in range(last + 1):
                u[j, e] *= _squared_shape(ref, bins, mesh, j, e, k)
            if e > begin and u[last, e - 1] != u[0, e]:
                # Where h jumps v does not: it starts as the smaller, which leaves nothing negative,
                # and rises to the larger over an element, see `_split_jumps`.
                smaller = min(u[last, e - 1], u[0, e])
                below = smaller / u[last, e - 1] - 1.0 if u[last, e - 1] > smaller else 0.0
                above = smaller / u[0, e] - 1.0 if u[0, e] > smaller else 0.0
                for j in range(last + 1):
                    u[j, e - 1] *= 1.0 + below * 0.5 * (1.0 + ref.nodes[j])
                    u[j, e] *= 1.0 + above * 0.5 * (1.0 - ref.nodes[j])
                u[last, e - 1] = u[0, e] = smaller
        if bins.absorbing[0] != 0.0:
            u[0, begin] = 0.0
        if bins.absorbing[1] != 0.0:
            u[last, end - 1] = 0.0


@_part
def _break_speed(bins: Bins, model: Model, c: Array, b: int, k: int) -> tuple[float, bool]:
    """|drift|/h² of class k where bin b ends, the larger of both sides, and if both lead there."""
    x, largest, inward = bins.upper[b], 0.0, True
    for side in range(2):
        h = _polynomial(model.shape[b + side], x)
        drift = 0.0
        for i in range(model.drift.shape[0]):
            drift += c[i] * _polynomial(model.drift[i, k, b + side], x)
        largest = max(largest, abs(drift) / (h * h))
        inward = inward and (drift > 0.0 if side == 0 else drift < 0.0)
    return largest, inward


@_part
def _split_layers(
    bins: Bins, model: Model, mesh: Mesh, u: Array, c: Array, bounds: tuple[float, Array],
    cells: Cells, action: Indices,
) -> None:  # fmt: skip
    """Split where the layer of a break is about to form and elements are too wide for it.

    It holds what lies there now; of a break to which both sides lead, what is in the elements next
    to it, too, which may come in a step. bounds = (mass that is to be resolved, importance). Where
    a rate rises from 0 nothing is about to form yet.
    """
    resolution, importance = bounds
    final = bins.upper.size - 1
    for k in range(mesh.first.size - 1):
        if model.relevance[k] < 1.0:
            continue
        for e in range(mesh.first[k], mesh.first[k + 1]):
            b, width = cells.bins[e], mesh.width[e]
            middle, nearest = mesh.left[e] + 0.5 * width, cells.bins[e]
            if b == final or (
                b > 0 and abs(middle - bins.upper[b - 1]) <= abs(middle - bins.upper[b])
            ):
                nearest = b - 1
            gap = max(abs(middle - bins.upper[nearest]) - 0.5 * width, 0.0)
            if gap < 1e-9 * width:
                gap = 0.0
            speed, inward = _break_speed(bins, model, c, nearest, k)
            layer = _LAYERS * c[-1] * model.scale[k] / speed if speed > 0.0 else np.inf
            peak = 0.0
            for j in range(u.shape[0]):
                peak = max(peak, abs(u[j, e]))
            reached = peak * min(layer, width) > resolution
            reached = reached or (inward and importance[e] * peak * width > resolution)
            if reached and width > max(layer, gap, mesh.finest[e]):
                action[e] = SPLIT


@_part
def _split_jumps(
    model: Model, mesh: Mesh, u: Array, cells: Cells, most: float, action: Indices
) -> None:
    """Split where h jumps, until what `_join` moves to make v continuous is no more than `most`."""
    for k in range(mesh.first.size - 1):
        for e in range(mesh.first[k] + 1, mesh.first[k + 1]):
            b = cells.bins[e]
            if cells.bins[e - 1] == b:
                continue
            x, v = mesh.left[e], u[0, e]
            below, above = _polynomial(model.shape[b - 1], x), _polynomial(model.shape[b], x)
            for at, own, other in ((e - 1, below, above), (e, above, below)):
                more = v * ((own / other) ** 2 - 1.0) * mesh.inverse[at]
                moved = 0.5 * more * mesh.width[at] * model.relevance[k]
                if moved > most and mesh.width[at] > mesh.finest[at]:
                    action[at] = SPLIT


@ahead(aside=True)
@_kernel
def lay(
    ref: Reference,
    bins: Bins,
    model: Model,
    law: Law,
    grid: tuple[Cells, Motion, Mesh, Array2],
    time: float,
    resolution: float,
    idle: float,
    gaussian: tuple[Array1, Array1],
) -> tuple[bool, tuple[Cells, Motion, Mesh, Array2]]:
    """Split elements until they resolve the densities of the start, and the layers they will form.

    Densities are N(mean_k, deviation_k²) for gaussian = (mean, deviation), or, where these are
    empty, those given at the nodes. Returns whether they have to be given anew, on new cells.
    """
    cells, motion, mesh, u = grid
    present, c = np.empty(model.offset.size), np.empty(mesh.drift.shape[0] + 1)
    ends, again = np.empty((2, cells.first.size - 1)), True
    least, care = np.full(cells.first.size - 1, -np.inf), np.ones((2, cells.first.size - 1))
    while again:
        if gaussian[0].size > 0:
            _sample(ref, mesh, gaussian, u)
        _join(ref, bins, mesh, u)
        _measure(model.offset, mesh.functionals, u, present)
        _evaluate_law(law, time, present, c)
        marks = np.empty((2, u.shape[1]))
        bounds = (SPLIT_SHARE * resolution, 0.0, (idle, care, False))
        action = _mark(ref, bins, model, cells, mesh, u, bounds, marks, ends)
        again = False
        for e in range(action.size):
            action[e] = max(action[e], KEEP)
        if model.drift.shape[0] > 0 and bins.upper.size > 1:
            _split_layers(bins, model, mesh, u, c, (resolution, marks[0]), cells, action)
            _split_jumps(model, mesh, u, cells, SPLIT_SHARE * resolution, action)
        if not _any(action):
            break
        again = True
        cells, u = _regrid(ref, cells, u, marks, mesh.width, action, 0.0, least)
        if model.drift.shape[0] == 0:
            break
        mesh = _place(ref, bins, model, cells, motion)
        if gaussian[0].size == 0:
            break
    return again, (cells, motion, mesh, u)


@ahead(aside=True)
@_kernel
def fix_masses(ref: Reference, bins: Bins, mesh: Mesh, u: Array2, masses: Array1) -> None:
    """Give every element its mass (E,), its end values unchanged."""
    for k in range(mesh.first.size - 1):
        for e in range(mesh.first[k], mesh.first[k + 1]):
            held, room, inner = 0.0, 0.0, 0.0
            for j in range(u.shape[0]):
                plain = 0.5 * mesh.width[e] * ref.weights[j]
                share = plain * u[j, e] / _squared_shape(ref, bins, mesh, j, e, k)
                held += share
                inner += share * (1.0 - ref.nodes[j] ** 2)
                room += plain * ref.restore[j, 0]
            if masses[e] - held > _LACKING * masses[e] and inner > 0.0:
                # What `_join` has taken away, so that what is left stays positive.
                for j in range(u.shape[0]):
                    u[j, e] *= 1.0 + (1.0 - ref.nodes[j] ** 2) * ((masses[e] - held) / inner)
                continue
            for j in range(u.shape[0]):
                lift = ref.restore[j, 0] * _squared_shape(ref, bins, mesh, j, e, k)
                u[j, e] += lift * ((masses[e] - held) / room)


# --- for Python ----------------------------------------------------------------------------------


@_kernel
def evaluate_law(law: Law, time: float, moments: Array, out: Array) -> int:
    """See `_evaluate_law`."""
    return _evaluate_law(law, time, moments, out)  # type: ignore[no-any-return]


@_kernel
def exponential_flux(drift: Array, half: Array, diffusivity: float, e: int) -> tuple[float, float]:
    """See `_exponential_flux`."""
    return _exponential_flux(drift, half, diffusivity, e)  # type: ignore[no-any-return]


@ahead(aside=True)
@_kernel
def measure(offset: Array1, functionals: Array3, u: Array2, out: Array1) -> None:
    """See `_measure`."""
    _measure(offset, functionals, u, out)


@_kernel
def positions(
    bins: Bins, cells: Cells, shift: Array, left: Array, width: Array, finest: Array
) -> None:
    """See `_positions`."""
    _positions(bins, cells, shift, left, width, finest)


@_kernel
def regrid(
    ref: Reference,
    cells: Cells,
    u: Array,
    marks: Array,
    width: Array,
    action: Indices,
    most: float,
    least: Array,
) -> tuple[Cells, Array]:
    """See `_regrid`."""
    return _regrid(ref, cells, u, marks, width, action, most, least)  # type: ignore[no-any-return]
