"""What every solve needs is compiled before the first, by two processes at the same time."""

import importlib
import itertools
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, NamedTuple

import numpy as np
import pytest
from numba import config, njit, typeof
from numba.core.runtime import _nrt_python, rtsys
from numpy.typing import NDArray

from fpsolve import (
    GaussianInitial,
    McKeanVlasov,
    Problem,
    UniformQuantizer,
    solve_mckean_vlasov,
    solve_pde,
)
from fpsolve.density import piecewise
from fpsolve.numerics import ahead, kernels
from fpsolve.numerics.signatures import Shape, signature_of

Vector = Annotated[NDArray[np.float64], Shape(1)]
Fixed = Annotated[NDArray[np.int64], Shape(2, readonly=True)]

MODULE = """
from numba import njit
from fpsolve.numerics.ahead import ahead

@ahead(aside=False)
@njit(cache=True)
def near(x: float) -> float:
    return x + 1.0

@ahead(aside=True)
@njit(cache=True)
def far(x: float, n: int) -> float:
    return x + n
"""
_numbers = itertools.count()


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A module with two small kernels, nothing else waiting, and an empty cache."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(cache))
    config.reload_config()
    monkeypatch.setattr(ahead, "_waiting", {})
    monkeypatch.setattr(ahead, "_cores", lambda: 2)
    name = f"small_kernels_{next(_numbers)}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module(name)
    monkeypatch.undo()
    config.reload_config()


def misses(kernel) -> int:
    """How often it was compiled here."""
    return sum(kernel.stats.cache_misses.values())


def test_the_second_process_compiles_its_half(small) -> None:
    ahead.make_ready()
    assert misses(small.near) == 1
    assert misses(small.far) == 0
    assert sum(small.far.stats.cache_hits.values()) == 1
    assert not ahead._waiting
    assert (small.near(1.0), small.far(1.0, 2)) == (2.0, 3.0)
    assert misses(small.far) == 0, "what it was declared for is what it is called with"


def ends_at_once(monkeypatch, small) -> None:
    monkeypatch.setattr(ahead, "_CODE", "raise SystemExit(3)")


def never_ends(monkeypatch, small) -> None:
    monkeypatch.setattr(ahead, "_CODE", "import time; time.sleep(600)")
    monkeypatch.setattr(ahead, "_LEAST_PATIENCE", 0.1)


def another_cache(monkeypatch, small) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(Path(small.__file__).parent / "elsewhere"))


def one_core(monkeypatch, small) -> None:
    monkeypatch.setattr(ahead, "_cores", lambda: 1)
    no_process(monkeypatch)


def frozen(monkeypatch, small) -> None:
    monkeypatch.setattr(ahead.sys, "frozen", True, raising=False)
    no_process(monkeypatch)


def embedded(monkeypatch, small) -> None:
    monkeypatch.setattr(ahead.sys, "executable", "/usr/sbin/server")
    no_process(monkeypatch)


def no_interpreter(monkeypatch, small) -> None:
    monkeypatch.setattr(ahead.sys, "executable", "/nowhere/python3")


def no_process(monkeypatch) -> None:
    def popen(*args, **kwargs):
        raise AssertionError("a process was started")

    monkeypatch.setattr(ahead.subprocess, "Popen", popen)


@pytest.mark.parametrize(
    "trouble",
    [ends_at_once, never_ends, another_cache, one_core, frozen, embedded, no_interpreter],
    ids=lambda trouble: trouble.__name__,
)
def test_what_the_second_process_did_not_compile_is_compiled_here(
    trouble, small, monkeypatch
) -> None:
    trouble(monkeypatch, small)
    ahead.make_ready()
    assert misses(small.near) == misses(small.far) == 1
    assert (small.near(1.0), small.far(1.0, 2)) == (2.0, 3.0)


def test_what_is_cached_starts_no_process(small, monkeypatch) -> None:
    ahead.make_ready()
    no_process(monkeypatch)
    again = importlib.reload(small)
    assert len(ahead._waiting) == 2
    ahead.make_ready()
    assert misses(again.near) == misses(again.far) == 0
    assert (again.near(1.0), again.far(1.0, 2)) == (2.0, 3.0)


def test_what_is_interrupted_leaves_no_process(small, monkeypatch) -> None:
    started, start = [], ahead._start

    def interrupted(kernel) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ahead, "_CODE", "import time; time.sleep(600)")
    monkeypatch.setattr(ahead, "_start", lambda names: started.append(start(names)) or started[0])
    monkeypatch.setattr(ahead, "_compile", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ahead.make_ready()
    assert started[0].returncode is not None
    assert len(ahead._waiting) == 2, "they are still to be compiled"


def test_the_second_process_ends_when_the_first_does(tmp_path, monkeypatch) -> None:
    """The system then closes what the second reads from. What it compiles would last for ever."""
    monkeypatch.setattr(ahead, "_cores", lambda: 2)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "endless.py").write_text("import time\ntime.sleep(600)\n")
    function = SimpleNamespace(__module__="endless", __name__="nothing")
    helper = ahead._start([SimpleNamespace(py_func=function)])
    assert helper is not None
    assert helper.stdin is not None
    with pytest.raises(subprocess.TimeoutExpired):
        helper.wait(1.0)
    helper.stdin.close()
    assert helper.wait(60.0) == 1


# --- types ---------------------------------------------------------------------------------------


class Pair(NamedTuple):
    values: Vector
    count: int


class Twins(NamedTuple):
    low: float
    high: float


def declared(
    pair: Pair, twins: Twins, both: tuple[Vector, bool], table: Fixed
) -> tuple[int, Twins]:
    raise NotImplementedError


def test_types_follow_from_annotations() -> None:
    """Numba's own types of such values are the truth."""
    vector, table = np.zeros(3), np.zeros((2, 2), np.int64)
    table.flags.writeable = False
    values = (Pair(vector, 1), Twins(1.0, 2.0), (vector, True), table)
    arguments, result = signature_of(declared)
    assert arguments == tuple(typeof(value) for value in values)
    assert result == typeof((1, Twins(1.0, 2.0)))


def test_an_array_without_dimensions_is_no_type() -> None:
    def bare(x: NDArray[np.float64]) -> None:
        raise NotImplementedError

    with pytest.raises(TypeError, match="arrays need a Shape"):
        signature_of(bare)


ALL = [kernels.march, kernels.adapt, kernels.place, kernels.lay, kernels.measure]
ALL += [kernels.fix_masses, piecewise.survey]


def test_solves_need_no_types_that_are_not_declared() -> None:
    """Others would be compiled when they are met, for half a minute."""
    levels = UniformQuantizer(2, 1.0)
    soft = UniformQuantizer(2, 1.0, temperature=0.2)
    plain, smooth = (
        Problem(weight_quantizer=w, input_quantizer=None, learning_rate=0.1) for w in (levels, soft)
    )
    solve_pde(plain, [0.0, 0.1], rtol=1e-3)
    before = {kernel: set(kernel.overloads) for kernel in ALL}
    for kernel, overloads in before.items():
        assert signature_of(kernel.py_func)[0] in overloads
    solve_pde(smooth, [0.0, 0.1], rtol=1e-3)
    solve_pde(plain, [0.0, 0.1], rtol=1e-3, scheme="scharfetter-gummel", cells=100)
    model = McKeanVlasov(
        lambda x: -x, 0.7, coefficients=lambda t, M: [1.0 + M[0]], functionals=[np.square]
    )
    solve_mckean_vlasov(model, GaussianInitial(1.0, 0.2), [0.0, 0.1], rtol=1e-3)
    assert {kernel: set(kernel.overloads) for kernel in ALL} == before


FIRST = """
from fpsolve import Problem, UniformQuantizer, solve_pde
from fpsolve.density.piecewise import survey
from fpsolve.numerics.kernels import adapt, fix_masses, lay, march, measure, place
levels = UniformQuantizer(2, 1.0)
problem = Problem(weight_quantizer=levels, input_quantizer=None, learning_rate=0.1)
solve_pde(problem, [0.0, 0.1], rtol=1e-3)
for kernel in (march, adapt, place, lay, measure, fix_masses, survey):
    print(sum(kernel.stats.cache_misses.values()), sum(kernel.stats.cache_hits.values()))
"""


@pytest.mark.slow
@pytest.mark.skipif(ahead._cores() < 2, reason="needs two cores")
def test_a_first_solve_compiles_half_of_what_it_needs(tmp_path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", FIRST]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["1 0"] + ["0 1"] * 6
    assert done.stderr.count("compiling kernels") == 1


# --- calls at an address -------------------------------------------------------------------------


@njit
def scaled(x: Vector, factor: float) -> tuple[Vector, float]:
    if factor < 0.0:
        raise ValueError("negative factor")
    return x * factor, factor


_scaled_at = kernels.at_address(scaled)


@njit
def caller(address, x, factor):
    y, _ = _scaled_at(address, (x, factor))
    return y + 1.0


@njit
def stranger(address, x):
    return _scaled_at(address, (x, x))


def test_a_kernel_is_called_at_its_address() -> None:
    """It gives what it gives, raises what it raises, and no array is lost or freed twice."""
    x, address = np.arange(4.0), ahead.address(scaled)
    assert np.array_equal(caller(address, x, 2.0), 2.0 * x + 1.0)
    _nrt_python.memsys_enable_stats()
    try:
        before = rtsys.get_allocation_stats()
        for factor in (2.0, 3.0):
            caller(address, x, factor)
        after = rtsys.get_allocation_stats()
    finally:
        _nrt_python.memsys_disable_stats()
    assert 0 < after.alloc - before.alloc == after.free - before.free
    with pytest.raises(ValueError, match="negative factor"):
        caller(address, x, -1.0)


def test_a_kernel_is_not_called_with_other_types() -> None:
    with pytest.raises(TypeError, match="scaled is declared for"):
        stranger(ahead.address(scaled), np.arange(4.0))


@njit
def rounded(x: float) -> float:
    return int(x)


def test_a_kernel_returns_what_it_is_declared_to() -> None:
    with pytest.raises(TypeError, match="rounded is declared to return float64, and returns int64"):
        ahead.address(rounded)
