"""Results read by programs that have never heard of fpsolve: netCDF's, HDF5's, pandas, MATLAB."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas
import pytest

import fpsolve
from fpsolve.reduction import ORDER_PARAMETER_NAMES

KINDS = ["density", "particles", "macro", "saved"]
# Relative to a copy by `h5repack`, which packs what a run wrote piece by piece.
MOST_SIZE = 1.2


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> dict[str, tuple[Path, Any]]:
    """Name -> file and what is in it: runs that wrote as they went on, and saved ones."""
    folder = tmp_path_factory.mktemp("results")
    problem = fpsolve.Problem(
        weight_quantizer=fpsolve.UniformQuantizer(bit_width=2, omega=1.0),
        input_quantizer=None,
        learning_rate=0.3,
        ridge=0.5,
        noise_variance=0.1,
    )
    times = np.linspace(0.0, 5.0, 60)
    density = fpsolve.solve_pde(problem, times, rtol=1e-4, store=folder / "density.h5")
    particles = fpsolve.simulate_ste(
        problem, times, dimension=50, runs=2, seed=1, store=folder / "particles.h5"
    )
    macro = fpsolve.solve_ode(problem, times)
    fpsolve.save(macro, folder / "macro.h5")
    fpsolve.save(density, folder / "saved.h5")
    held = {"density": density, "particles": particles, "macro": macro, "saved": density}
    return {name: (folder / f"{name}.h5", result) for name, result in held.items()}


def told_by(tool: str, *arguments: object) -> str:
    """What a program of the system prints; it may complain of nothing."""
    if shutil.which(tool) is None:
        pytest.skip(f"no {tool} on the path")
    done = subprocess.run(
        [tool, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HDF5_USE_FILE_LOCKING": "TRUE"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_ncdump_sees_dimensions_and_variables(results, kind) -> None:
    path, result = results[kind]
    header = told_by("ncdump", "-h", path)
    time = re.search(r"^\ttime = (?:UNLIMITED ; // \()?(\d+)", header, re.MULTILINE)
    assert time is not None
    assert int(time[1]) == result.times.size
    axes = "run, time" if kind == "particles" else "time"
    for name in ORDER_PARAMETER_NAMES:
        assert f"\tdouble {name}({axes}) ;" in header
        assert f'{name}:units = "1" ;' in header
    assert '\t\tstring :Conventions = "CF-' in header


@pytest.mark.parametrize("kind", KINDS)
def test_ncdump_prints_the_numbers(results, kind) -> None:
    path, result = results[kind]
    text = told_by("ncdump", "-v", "q", "-p", "9,17", path)
    listed = re.search(r"^ q =(.*?);", text[text.index("\ndata:") :], re.MULTILINE | re.DOTALL)
    assert listed is not None
    # Rows of a dimension that may grow are in braces.
    numbers = np.array([float(number.strip("{} \n")) for number in listed[1].split(",")])
    np.testing.assert_array_equal(numbers, result.order_parameters.q.ravel())


@pytest.mark.parametrize("kind", KINDS)
def test_h5dump_reads_headers_and_numbers(results, kind, tmp_path) -> None:
    path, result = results[kind]
    header = told_by("h5dump", "-H", path)
    for name in ("time", *ORDER_PARAMETER_NAMES):
        about = rf'DATASET "{name}" {{\s+DATATYPE  H5T_IEEE_F64LE\s+DATASPACE  SIMPLE'
        assert re.search(about, header), name
    told_by("h5dump", "-d", "/generalization_error", "-b", "LE", "-o", tmp_path / "raw", path)
    np.testing.assert_array_equal(
        np.fromfile(tmp_path / "raw", "<f8"),
        result.order_parameters.generalization_error.ravel(),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_files_are_no_larger_than_repacked_ones(results, kind, tmp_path) -> None:
    path, result = results[kind]
    told_by("h5repack", path, tmp_path / "packed.h5")
    assert path.stat().st_size <= MOST_SIZE * (tmp_path / "packed.h5").stat().st_size
    back = fpsolve.load(tmp_path / "packed.h5")
    for name in ORDER_PARAMETER_NAMES:
        np.testing.assert_array_equal(
            getattr(back.order_parameters, name), getattr(result.order_parameters, name)
        )


@pytest.mark.parametrize("kind", KINDS)
def test_pandas_reads_the_table(results, kind, tmp_path) -> None:
    _, result = results[kind]
    fpsolve.export(result, tmp_path / "r.csv")
    table = pandas.read_csv(tmp_path / "r.csv")
    if kind == "particles":
        assert sorted(set(table["run"])) == [0, 1]
        table = table[table["run"] == 1]
    np.testing.assert_allclose(table["time"], result.times, rtol=1e-15, atol=0)
    for name in ORDER_PARAMETER_NAMES:
        held = getattr(result.order_parameters, name)
        held = held[1] if kind == "particles" else held
        # Versions before 3 read decimal numbers to one unit in the last place.
        np.testing.assert_allclose(table[name], held, rtol=1e-15, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_h5read_of_matlab_finds_plain_numbers(results, kind) -> None:
    # It returns arrays for integers and floats; compounds, references, enumerations and lists of
    # any length become structures and cells. Its HDF5 has these three filters and no others.
    plain = (h5py.h5t.INTEGER, h5py.h5t.FLOAT)
    filters = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
    seen = []

    def look(name: str, node: h5py.Group | h5py.Dataset) -> None:
        # Only fpsolve goes on from the state in there.
        if not isinstance(node, h5py.Dataset) or name.startswith("checkpoint/"):
            return
        assert node.id.get_type().get_class() in plain, name
        made = node.id.get_create_plist()
        assert {made.get_filter(i)[0] for i in range(made.get_nfilters())} <= filters, name
        assert not node.is_virtual, name
        assert not node.external, name
        seen.append(name)

    with h5py.File(results[kind][0]) as file:
        file.visititems(look)
    assert {"time", *ORDER_PARAMETER_NAMES} <= set(seen)
