"""Damaged and hostile files: refused with one `StoreError`, or loaded as what was saved."""

from __future__ import annotations

import subprocess
import sys

import h5py
import numpy as np
import pytest
from corruptions import outcomes, saved, stored_runs
from test_store import assert_equal

from fpsolve import StoreError, load, save
from fpsolve.recording import digest
from fpsolve.recording.digest import read_everything
from fpsolve.recording.reading import check_file


def test_no_damage_goes_unnoticed(density, macro, particles, tmp_path) -> None:
    # `python tests/corruptions.py 2000` does the same ten times as often.
    paths = [*saved([density, macro, particles], tmp_path), *stored_runs(tmp_path)]
    told = outcomes(paths, 200, tmp_path, 1, assert_equal, bare=0.1)
    assert told.pop("slowest_ms") < 25_000
    assert set(told) <= {"refused", "same"}, told
    assert told["refused"] > 150


def bare(path) -> None:
    """Rewrite the file as `h5py` copies it: no trailer, another order, the same content."""
    with h5py.File(path, "r+") as file:
        file.flush()
        file.attrs["fpsolve_version"] = file.attrs["fpsolve_version"]


def external_link(file) -> None:
    del file["m"]
    file["m"] = h5py.ExternalLink("/etc/passwd", "/m")


def soft_cycle(file) -> None:
    group = file.create_group("loop")
    group["loop"] = group


def virtual(file) -> None:
    shape = file["m"].shape
    del file["m"]
    layout = h5py.VirtualLayout(shape, "f8")
    layout[...] = h5py.VirtualSource("/other.h5", "m", shape)
    file.create_virtual_dataset("m", layout)


def external_storage(file) -> None:
    shape = file["m"].shape
    del file["m"]
    file.create_dataset("m", shape, "f8", external=[("/etc/passwd", 0, 1 << 20)])


def huge(file) -> None:
    del file["m"]
    file.create_dataset("m", (1 << 40,), "f8", chunks=(1 << 20,))


def compound(file) -> None:
    del file["m"]
    file.create_dataset("m", (4,), np.dtype([("a", "f8"), ("b", "i4")]))


@pytest.mark.parametrize(
    "attack", [external_link, soft_cycle, virtual, external_storage, huge, compound]
)
def test_hostile_structures_are_refused(attack, macro, tmp_path) -> None:
    path = tmp_path / "r.h5"
    save(macro, path)
    with h5py.File(path, "r+") as file:
        attack(file)
    with pytest.raises(StoreError, match=r"r\.h5: ") as caught:
        load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("time", lambda v: v[::-1], "increase"),
        ("density", lambda v: 2 * v, "mass"),
        ("density", lambda v: np.where(v == v.max(), np.nan, v), "finite"),
        ("w_edges", lambda v: v[::-1], "increase"),
        ("m", lambda v: v * np.nan, "finite"),
    ],
)
def test_parts_that_contradict_each_other(name, change, message, density, tmp_path) -> None:
    path = tmp_path / "r.h5"
    save(density, path)
    with h5py.File(path, "r+") as file:
        file[name][...] = change(file[name][...])
    with pytest.raises(StoreError, match=message):
        load(path)


def test_weights_that_do_not_fit_their_order_parameters(particles, tmp_path) -> None:
    path = tmp_path / "r.h5"
    save(particles, path)
    with h5py.File(path, "r+") as file:
        file["weights"][...] *= 1.5
    with pytest.raises(StoreError, match="q does not fit the weights"):
        load(path)


def test_a_copy_made_by_other_tools_is_read(density, tmp_path) -> None:
    # As `h5repack` does: every object copied to a new file, which has no trailer.
    path, copy = tmp_path / "r.h5", tmp_path / "copy.h5"
    save(density, path)
    with h5py.File(path) as file, h5py.File(copy, "w") as other:
        for name, value in file.attrs.items():
            other.attrs[name] = value
        for name in file:
            file.copy(name, other)
        for name, node in file.items():
            for axis, scales in enumerate(getattr(node, "dims", ())):
                other[name].attrs.pop("DIMENSION_LIST", None)
                other[name].attrs.pop("REFERENCE_LIST", None)
                del axis, scales
        for name, node in file.items():
            for axis, scales in enumerate(node.dims) if not node.is_scale else ():
                for scale in scales.values():
                    other[name].dims[axis].attach_scale(other[scale.name])
    assert_equal(load(copy), density)


@pytest.mark.parametrize("part", ["dimension", "attribute", "text"])
def test_the_child_reads_all_that_others_will(part, macro, tmp_path, monkeypatch) -> None:
    # HDF5 can loop in any of it; a parent that read something first would loop itself.
    path, found = tmp_path / "r.h5", []

    def read(file):
        everything = read_everything(file)
        found.append({name: tuple(about)[1:] for name, about in everything.items()})
        return everything

    monkeypatch.setattr(digest, "read_everything", read)
    save(macro, path)
    bare(path)
    assert check_file(str(path)) == ""
    with h5py.File(path, "r+") as file:
        if part == "dimension":
            file["m"].dims[0].detach_scale(file["time"])
        elif part == "attribute":
            file["m"].attrs["units"] = "2"
        else:
            file.attrs["problem"] = file.attrs["problem"] + " "
    assert check_file(str(path)) == ""
    before, after = found[-2:]
    changed = {name for name in before if before[name] != after[name]}
    assert changed == ({"/"} if part == "text" else {"/m"})


def test_reading_ends_even_where_the_library_would_not(macro, tmp_path, monkeypatch) -> None:
    # The child that reads files without trailer never answers: the parent gives up on it.
    path = tmp_path / "r.h5"
    save(macro, path)
    bare(path)
    from fpsolve.recording import reading

    real = subprocess.run

    def stuck(command, **options):
        return real([sys.executable, "-c", "import time; time.sleep(60)"], **options)

    monkeypatch.setattr(reading.subprocess, "run", stuck)
    monkeypatch.setattr(reading, "_SECONDS", 0.5)
    with pytest.raises(StoreError, match="did not end"):
        load(path)
    monkeypatch.setattr(
        reading.subprocess,
        "run",
        lambda c, **o: real([sys.executable, "-c", "import os; os.abort()"], **o),
    )
    with pytest.raises(StoreError, match="crashes"):
        load(path)
