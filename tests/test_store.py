"""Saving and loading: nothing is lost, netCDF-4 readers agree, nothing half-written stays."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import h5py
import numpy as np
import pytest
import xarray
from closed_forms import exact_density, exact_macro

import fpsolve
from fpsolve import StoreError, Teacher, load, save, sweep
from fpsolve.density.cell_frame import CellFrame
from fpsolve.reduction import ORDER_PARAMETER_NAMES, OrderParameters

KINDS = ["density", "macro", "particles", "sweep"]


@pytest.fixture(scope="module")
def swept(linear_problem):
    axes = {"learning_rate": [0.1, 0.4], "teacher": [Teacher.rademacher(), Teacher.constant(0.3)]}
    return sweep(linear_problem, axes, exact_macro, times=[0.0, 1.0, 3.0])


@pytest.fixture(params=KINDS)
def result(request):
    name = "swept" if request.param == "sweep" else request.param
    return request.getfixturevalue(name)


def assert_equal(a, b) -> None:
    """Equal to the last bit, field by field."""
    assert type(a) is type(b)
    if isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b, strict=True)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for name in a:
            assert_equal(a[name], b[name])
    elif dataclasses.is_dataclass(a) and not isinstance(a, fpsolve.Problem):
        for field in dataclasses.fields(a):
            assert_equal(getattr(a, field.name), getattr(b, field.name))
    elif isinstance(a, tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_equal(x, y)
    else:
        assert a == b


def test_load_gives_back_an_equal_result(result, tmp_path) -> None:
    save(result, tmp_path / "r.h5")
    assert_equal(load(tmp_path / "r.h5"), result)
    assert [p.name for p in tmp_path.iterdir()] == ["r.h5"]


def test_xarray_opens_the_file(result, tmp_path) -> None:
    save(result, tmp_path / "r.h5")
    with xarray.open_dataset(tmp_path / "r.h5", engine="h5netcdf") as data:
        np.testing.assert_array_equal(data["time"], result.times)
        for name in ORDER_PARAMETER_NAMES:
            assert data[name].attrs["units"] == "1"
            assert data[name].dims[-1] == "time"
            np.testing.assert_array_equal(data[name], getattr(result.order_parameters, name))
        for variable in data.variables.values():
            assert set(variable.dims) <= set(data.coords), "every axis has a coordinate"


# The netCDF library, in a process of its own: its HDF5 and that of h5py may not like each other.
NETCDF_READER = """
import json, sys, netCDF4
with netCDF4.Dataset(sys.argv[1]) as data:
    data.set_auto_mask(False)
    told = {
        name: {
            "dimensions": variable.dimensions,
            "text": variable.dtype is str,
            "attributes": {key: str(variable.getncattr(key)) for key in variable.ncattrs()},
            "values": variable[:].ravel().tolist(),
        }
        for name, variable in data.variables.items()
    }
    unlimited = [d.name for d in data.dimensions.values() if d.isunlimited()]
    print(json.dumps({"variables": told, "unlimited": unlimited, "problem": data.problem}))
"""


def test_the_netcdf_library_reads_the_same(result, tmp_path) -> None:
    path = tmp_path / "r.h5"
    save(result, path)
    command = [sys.executable, "-c", NETCDF_READER, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    variables = told["variables"]
    base = result.base if isinstance(result, fpsolve.SweepResult) else result.problem
    assert told["problem"] == base.to_toml()
    assert told["unlimited"] == []
    for name in ORDER_PARAMETER_NAMES:
        expected = getattr(result.order_parameters, name).ravel()
        np.testing.assert_array_equal(variables[name]["values"], expected)
    for name, variable in variables.items():
        assert variable["attributes"]["long_name"], name
        assert variable["text"] or variable["attributes"]["units"] == "1", name
        assert set(variable["dimensions"]) <= set(variables), f"{name}: an axis has no coordinate"


def test_named_layout_of_a_density(density, tmp_path) -> None:
    save(density, tmp_path / "r.h5")
    with xarray.open_dataset(tmp_path / "r.h5", engine="h5netcdf") as data:
        assert data["density"].dims == ("time", "teacher", "w")
        assert data["density"].sel(time=5.0, teacher=0.5).dims == ("w",)
        np.testing.assert_array_equal(data["density"], density.density)
        np.testing.assert_array_equal(data["w_edges"], density.edges)
        np.testing.assert_array_equal(data["teacher"], density.problem.teacher.values)


def test_named_layout_of_particles(particles, tmp_path) -> None:
    save(particles, tmp_path / "r.h5")
    with xarray.open_dataset(tmp_path / "r.h5", engine="h5netcdf") as data:
        assert data["weights"].dims == ("run", "time", "coordinate")
        assert data["generalization_error"].dims == ("run", "time")
        np.testing.assert_array_equal(data["weights"], particles.weights)


def test_root_attributes_describe_the_file(density, tmp_path) -> None:
    save(density, tmp_path / "r.h5")
    with h5py.File(tmp_path / "r.h5") as file:
        about = dict(file.attrs)
        assert about["format"] == "fpsolve"
        assert about["schema_version"] == 2
        assert about["kind"] == "density"
        assert about["fpsolve_version"] == fpsolve.__version__
        assert about["created"].startswith("20")
        stats = {n.removeprefix("stats."): v for n, v in about.items() if n.startswith("stats.")}
        assert stats == density.stats
        assert about["problem"] == density.problem.to_toml()
        assert file["density"].chunks[0] == 1, "one time can be read without the others"
        assert file["density"].compression == "gzip"
        assert all(v.fletcher32 for v in file.values() if v.chunks)


def test_an_existing_file_is_kept_unless_told_otherwise(density, macro, tmp_path) -> None:
    path = tmp_path / "r.h5"
    save(density, path)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"r\.h5: exists"):
        save(macro, path)
    assert path.read_bytes() == before
    save(macro, path, overwrite=True)
    assert_equal(load(path), macro)


def broken(result, **changes):
    return dataclasses.replace(result, **changes)


def test_shapes_are_checked_at_the_door(density, particles, tmp_path) -> None:
    path = tmp_path / "r.h5"
    halved = tuple(CellFrame(f.cell_edges, f.averages[:1]) for f in density.frames)
    short = OrderParameters(*(np.zeros(3),) * 7)
    cases = [
        (broken(density, frames=halved), r"density: has shape \(4, 1, 400\)"),
        (broken(density, order_parameters=short), r"m: has shape \(3,\), but \(time\)"),
        (broken(density, times=np.zeros((2, 2))), "time: must be a non-empty list"),
        (broken(density, stats={"solver": object()}), "stats: a value of type object"),
        (broken(particles, weights=particles.weights[0]), r"weights: has shape \(4, 200\)"),
        (broken(particles, teacher_weights=np.zeros((1, 200))), "teacher_weights: has shape"),
    ]
    for bad, message in cases:
        with pytest.raises(StoreError, match=message):
            save(bad, path)
        assert list(tmp_path.iterdir()) == [], "nothing half-written is left"


def test_a_failing_write_leaves_the_old_file(density, tmp_path) -> None:
    path = tmp_path / "r.h5"
    save(density, path)
    with pytest.raises(StoreError, match="stats"):
        save(broken(density, stats={"x": object()}), path, overwrite=True)
    assert_equal(load(path), density)
    assert len(list(tmp_path.iterdir())) == 1


def test_impossible_targets(density, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    for target, message in [
        (tmp_path, "is a directory"),
        (tmp_path / "nowhere" / "r.h5", "is not a directory"),
        (tmp_path / "file" / "r.h5", "is not a directory"),
    ]:
        with pytest.raises(StoreError, match=message):
            save(density, target)
    with pytest.raises(StoreError, match="a dict is not a result"):
        save({}, tmp_path / "r.h5")


def test_files_that_are_not_results(density, tmp_path) -> None:
    good = tmp_path / "good.h5"
    save(density, good)
    text = tmp_path / "text.h5"
    text.write_text("not HDF5")
    cut = tmp_path / "cut.h5"
    cut.write_bytes(good.read_bytes()[:4000])
    foreign = tmp_path / "foreign.h5"
    h5py.File(foreign, "w").close()
    cases = [(tmp_path / "none.h5", "does not exist"), (text, "not an HDF5 file")]
    cases += [(cut, "cannot be read"), (foreign, "is not a file written by fpsolve")]
    for path, message in cases:
        with pytest.raises(StoreError, match=message) as caught:
            load(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: f.attrs.__setitem__("schema_version", 99), "schema version 99"),
        (lambda f: f.attrs.__setitem__("kind", "poem"), "kind 'poem'"),
        (
            lambda f: f.attrs.__setitem__("problem", "[problem]\nlearning_rate = -1"),
            "learning_rate",
        ),
        (lambda f: f.attrs.__delitem__("problem"), "damaged"),
        (lambda f: f.attrs.__delitem__("stats.scheme"), "digest"),
        (lambda f: f.attrs.__setitem__("stats.steps", 7), "digest"),
        (lambda f: f["m"].attrs.__setitem__("long_name", "other"), "digest"),
        (lambda f: f.__delitem__("q_psi"), "q_psi"),
    ],
)
def test_damaged_files(density, tmp_path, damage, message) -> None:
    path = tmp_path / "r.h5"
    save(density, path)
    with h5py.File(path, "r+") as file:
        damage(file)
    with pytest.raises(StoreError, match=message):
        load(path)


def test_a_law_of_many_teacher_values_fits(linear_problem, tmp_path) -> None:
    # The TOML text is then longer than the 64 KiB that HDF5 gives a plain attribute.
    count = 3000
    values = np.linspace(-1, 1, count)
    teacher = Teacher(values, np.full(count, 1 / count))
    result = exact_density(dataclasses.replace(linear_problem, teacher=teacher), [0.0], cells=8)
    save(result, tmp_path / "r.h5")
    assert load(tmp_path / "r.h5").problem == result.problem
    with xarray.open_dataset(tmp_path / "r.h5", engine="h5netcdf") as data:
        assert data["density"].shape == (1, count, 8)
