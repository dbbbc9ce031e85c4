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

__all__ = ["damaged", "judge", "main", "outcomes"]


def damaged(content: bytes, rng: np.random.Generator, *, trailer: bool) -> bytes:
    """Return `content` with one kind of damage: bits, bytes, a block, an exchange, or its end."""
    if not trailer:
        start = content.rindex(b"fpsolve trailer1")
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


def outcomes(results, count: int, folder: Path, seed: int, same, *, bare: float) -> dict[str, int]:
    """Damage `count` files, a share `bare` of them without trailer; return how often what came."""
    rng = np.random.default_rng(seed)
    contents = []
    for number, result in enumerate(results):
        save(result, folder / f"{number}.h5")
        contents.append((folder / f"{number}.h5").read_bytes())
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
    told["slowest_ms"] = round(1000 * slowest)
    return told


def main(count: int, seed: int = 1, bare: float = 0.5) -> int:
    """Print the outcomes for every kind of trajectory."""
    from closed_forms import exact_density, exact_macro, sampled_particles
    from test_store import assert_equal

    from fpsolve import Problem, Teacher

    problem = Problem(
        weight_quantizer=None, input_quantizer=None, learning_rate=0.4,
        teacher=Teacher([-1.0, 0.5], [0.25, 0.75]),
    )  # fmt: skip
    times = [0.0, 1.0, 5.0]
    results = [make(problem, times) for make in (exact_density, exact_macro, sampled_particles)]
    with tempfile.TemporaryDirectory() as folder:
        told = outcomes(results, count, Path(folder), seed, assert_equal, bare=bare)
    print(told)
    return int(any(word.isupper() for name in told for word in name.split(":")[:1]))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), *map(int, sys.argv[2:3]), *map(float, sys.argv[3:4])))
