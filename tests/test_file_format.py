"""A stranger's reader, written from docs/file-format.md with h5py and NumPy alone."""

from __future__ import annotations

import hashlib
import json
import tomllib
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

import fpsolve
from fpsolve import load, save
from fpsolve.store.upgrade import upgrade

PAGE = (Path(__file__).parent.parent / "docs" / "file-format.md").read_text(encoding="utf-8")
STATE = ["m", "q", "s", "m_psi", "q_psi", "r_psi", "generalization_error"]


def value(attribute):
    """An attribute as the page explains it."""
    if isinstance(attribute, str) and attribute.startswith("json:"):
        return json.loads(attribute[5:])
    return attribute.tolist() if hasattr(attribute, "tolist") else attribute


def read(path):
    """Everything at the root: arrays with their axes, statistics, the problem's TOML."""
    with h5py.File(path) as file:
        assert file.attrs["format"] == "fpsolve"
        assert file.attrs["schema_version"] == 2
        arrays, axes = {}, {}
        for name, node in file.items():
            if isinstance(node, h5py.Dataset):
                arrays[name] = node[...]
                axes[name] = [s.keys()[0] for s in node.dims if len(s)]
        stats = {
            name.removeprefix("stats."): value(held)
            for name, held in file.attrs.items()
            if name.startswith("stats.")
        }
        return file.attrs["kind"], arrays, axes, stats, tomllib.loads(file.attrs["problem"])


def ragged(path, name):
    """The arrays of all times in the group `frames`."""
    with h5py.File(path) as file:
        group = file["frames"]
        values, shapes = group[name][...], group[f"{name}_shape"][...]
        at = group["mesh"][...] if name in ("first", "left", "width") else range(len(shapes))
    ends = np.cumsum(shapes.prod(axis=1))
    rows = [v.reshape(s) for v, s in zip(np.split(values, ends[:-1]), shapes, strict=True)]
    return [rows[i] for i in at]


def test_a_stranger_reads_a_density(density, tmp_path) -> None:
    save(density, tmp_path / "r.h5")
    kind, arrays, axes, stats, problem = read(tmp_path / "r.h5")
    assert kind == "density"
    assert stats == density.stats
    assert problem["problem"]["learning_rate"] == density.problem.learning_rate
    for name in STATE:
        assert axes[name] == ["time"]
        np.testing.assert_array_equal(arrays[name], getattr(density.order_parameters, name))
    np.testing.assert_array_equal(arrays["density"], density.density)
    np.testing.assert_allclose((arrays["density"] * arrays["w_width"]).sum(-1), 1, rtol=1e-12)


def test_a_stranger_reads_polynomials(tmp_path) -> None:
    problem = fpsolve.Problem(
        weight_quantizer=fpsolve.UniformQuantizer(bit_width=2, omega=1.0),
        input_quantizer=None,
        learning_rate=0.3,
    )
    result = fpsolve.solve_pde(problem, [1.0, 2.0], rtol=1e-4)
    save(result, tmp_path / "r.h5")
    for name in ("first", "left", "width", "u"):
        for stored, frame in zip(ragged(tmp_path / "r.h5", name), result.frames, strict=True):
            np.testing.assert_array_equal(stored, getattr(frame, name))


def test_a_stranger_reads_particles(particles, tmp_path) -> None:
    save(particles, tmp_path / "r.h5")
    kind, arrays, axes, stats, _ = read(tmp_path / "r.h5")
    assert kind == "particles"
    assert stats == particles.stats
    assert axes["weights"] == ["run", "time", "coordinate"]
    np.testing.assert_array_equal(arrays["weights"], particles.weights)
    np.testing.assert_allclose(np.square(arrays["weights"]).mean(-1), arrays["q"], rtol=1e-12)


def test_the_trailer_is_as_described(macro, tmp_path) -> None:
    save(macro, tmp_path / "r.h5")
    content = (tmp_path / "r.h5").read_bytes()
    seal, footer = content[-16:], content[-56:-16]
    assert footer[:16] == b"fpsolve trailer2"
    length, page, blocks, size = np.frombuffer(footer[16:], "<u8,<u4,<u4,<u8")[0]
    assert (page, blocks, size) == (32768, 0, 0)
    assert hashlib.blake2b(content[length:-16], digest_size=16).digest() == seal
    pages = [content[at : min(at + page, length)] for at in range(0, length, page)]
    told = b"".join(zlib.crc32(p).to_bytes(4, "little") for p in pages)
    assert content[length:-56] == told


def test_every_variable_and_attribute_is_on_the_page(density, particles, tmp_path) -> None:
    for result in (density, particles):
        path = tmp_path / f"{type(result).__name__}.h5"
        save(result, path)
        with h5py.File(path) as file:
            names = [n for n in file if n.removeprefix("dense_") not in STATE]
            for name in [*names, *(a.split(".")[0] for a in file.attrs)]:
                plain = {"run", "coordinate", "time", "bound", "Conventions", "dense_time"}
                assert name in plain or f"`{name}" in PAGE, name


@pytest.fixture
def old_file(density, tmp_path):
    """A file of schema 1, written as version 0.1 wrote it."""
    path = tmp_path / "old.h5"
    with h5py.File(path, "w") as file:
        file.attrs.update({"format": "fpsolve", "schema_version": 1, "kind": "density"})
        file.attrs["created"] = "2026-01-01T00:00:00+00:00"
        file.attrs["fpsolve_version"] = "0.1.0"
        file.attrs["problem"] = density.problem.to_toml()
        file.attrs["stats"] = json.dumps(density.stats)
        file["time"], file["w_edges"] = density.times, density.edges
        file["teacher"], file["density"] = density.problem.teacher.values, density.density
        for name in STATE:
            file[name] = getattr(density.order_parameters, name)
    return path


def test_files_of_schema_1_are_read_and_upgraded(old_file, density) -> None:
    for _ in range(2):  # Before and after.
        result = load(old_file)
        np.testing.assert_array_equal(result.density, density.density)
        np.testing.assert_array_equal(result.order_parameters.q, density.order_parameters.q)
        assert result.stats == density.stats
        assert result.problem == density.problem
        upgrade(old_file)
    with h5py.File(old_file) as file:
        assert file.attrs["schema_version"] == 2


def test_a_long_run_has_frames_alone(linear_problem, tmp_path, monkeypatch) -> None:
    from fpsolve.density import view

    result = fpsolve.solve_pde(linear_problem, [0.5, 1.0], rtol=1e-3)
    monkeypatch.setattr(view, "_MOST_VALUES", 10)
    save(result, tmp_path / "r.h5")
    with h5py.File(tmp_path / "r.h5") as file:
        assert "density" not in file
    back = load(tmp_path / "r.h5")
    assert back.pdf(0.3, 1.0) == result.pdf(0.3, 1.0)
