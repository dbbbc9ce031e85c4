"""Damage files at random: what does `load` make of it? `python corruptions.py COUNT SEED SHARE`.

Every damaged file must either be refused with `StoreError` or load as what was saved. A share
of them has lost its trailer before, so that HDF5 itself meets the damage, in a child process.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from fpsolve import StoreError, load, save
from fpsolve.recording.commit import _FOOTER

__all__ = ["damaged", "judge", "main", "outcomes", "saved", "stored_runs"]


def damaged(content: bytes, rng: np.random.Generator, *, trailer: bool) -> bytes:
    """Return `content` with one kind of damage: bits, bytes, a block, an exchange, or its end."""
    if not trailer:
        start = content.rindex(b"fpsolve trailer2")
        content = content[: _FOOTER.unpack(content[start : start + _FOOTER.size])[1]]
    data = bytearray(content)
    kind = rng.integers(6)
    at = int(rng.integers(len(data)))
    length = int(rng.integers(1, 512))
    if kind == 0:
        data[at] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        for place in rng.integers(len(data), size=int(rng.integers(1, 20))):
            data[place] = rng.integers(256)
    elif kind == 2:
        data[at : at + length] = bytes(len(data[at : at + length]))
    elif kind == 3:
        data = data[: max(at, 1)]
    elif kind == 4:
        data[at : at + length] = rng.bytes(len(data[at : at + length]))
    else:
        del data[at : at + length]
    return bytes(data)


def judge(path: Path, same) -> str:
    """Return what loading does: "refused", "same", "DIFFERENT" or "FOREIGN" with the exception."""
    try:
        result = load(path)
    except StoreError as error:
        return "refused" if "\n" not in str(error) else "FOREIGN: more than one line"
    except BaseException as error:
        return f"FOREIGN: {type(error).__name__}: {error}"
    try:
        same(result)
    except AssertionError:
        return "DIFFERENT"
    return "same"


def saved(results, folder: Path) -> list[Path]:
    """Write results into files of a folder."""
    for number, result in enumerate(results):
        save(result, folder / f"saved{number}.h5")
    return [folder / f"saved{number}.h5" for number in range(len(results))]


def outcomes(
    paths, count: int, folder: Path, seed: int, same, *, bare: float, aloud: bool = False
) -> dict[str, int]:
    """Damage `count` files, a share `bare` of them without trailer; return how often what came."""
    rng = np.random.default_rng(seed)
    contents, results = [path.read_bytes() for path in paths], [load(path) for path in paths]
    told: dict[str, int] = {}
    victim = folder / "victim.h5"
    slowest = 0.0
    for number in range(count):
        which = number % len(results)
        victim.write_bytes(damaged(contents[which], rng, trailer=rng.random() >= bare))
        start = time.monotonic()
        outcome = judge(victim, lambda loaded, which=which: same(loaded, results[which]))
        slowest = max(slowest, time.monotonic() - start)
        told[outcome] = told.get(outcome, 0) + 1
        if aloud and number % 100 == 99:
            print(number + 1, told, f"slowest {slowest:.1f} s", flush=True)
    told["slowest_ms"] = round(1000 * slowest)
    return told


def stored_runs(folder: Path) -> list[Path]:
    """Files of every kind that a run writes as it goes on."""
    import fpsolve

    problem = fpsolve.Problem(
        weight_quantizer=fpsolve.UniformQuantizer(bit_width=2, omega=1.0),
        input_quantizer=None,
        learning_rate=0.3,
        weight_clip=1.1,
    )
    times, paths = [0.0, 0.5, 1.0], [folder / f"{kind}.h5" for kind in ("pde", "ste", "line")]
    fpsolve.solve_pde(problem, times, rtol=1e-4, store=paths[0])
    fpsolve.simulate_ste(problem, times, dimension=30, runs=2, seed=1, store=paths[1])
    model = fpsolve.McKeanVlasov(lambda x: -x, 0.7, functionals=[lambda x: x, np.square])
    start = fpsolve.GaussianInitial(0.3, 0.2)
    fpsolve.solve_mckean_vlasov(model, start, times, rtol=1e-4, store=paths[2])
    return paths


def main(count: int, seed: int = 1, bare: float = 0.5) -> int:
    """Print the outcomes for every kind of trajectory, saved and written by runs."""
    from closed_forms import exact_density, exact_macro, sampled_particles
    from test_store import assert_equal

    from fpsolve import Problem, Teacher

    problem = Problem(
        weight_quantizer=None, input_quantizer=None, learning_rate=0.4,
        teacher=Teacher([-1.0, 0.5], [0.25, 0.75]),
    )  # fmt: skip
    times = [0.0, 1.0, 5.0]
    results = [make(problem, times) for make in (exact_density, exact_macro, sampled_particles)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = [*saved(results, folder), *stored_runs(folder)]
        told = outcomes(paths, count, folder, seed, assert_equal, bare=bare, aloud=True)
    print(told)
    return int(any(word.isupper() for name in told for word in name.split(":")[:1]))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), *map(int, sys.argv[2:3]), *map(float, sys.argv[3:4])))
