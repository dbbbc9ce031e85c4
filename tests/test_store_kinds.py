"""Every kind of result in a file, and out of it again: studies, states, tables, other formats."""

from __future__ import annotations

import csv
import dataclasses
import json

import h5py
import numpy as np
import pytest
import xarray
from test_store import assert_equal

import fpsolve
from fpsolve import (
    GaussianInitial,
    Problem,
    StoreError,
    Teacher,
    UniformQuantizer,
    export,
    load,
    save,
)
from fpsolve.recording.hdf5 import Hdf5Sink
from fpsolve.reduction import ORDER_PARAMETER_NAMES
from fpsolve.store.dataset import to_xarray


@pytest.fixture(scope="module")
def quantized() -> Problem:
    return Problem(
        weight_quantizer=UniformQuantizer(bit_width=2, omega=1.0),
        input_quantizer=None,
        learning_rate=0.3,
        ridge=0.5,
        noise_variance=0.1,
        teacher=Teacher([-1.0, 0.5], [0.25, 0.75]),
        initial=GaussianInitial(variance=0.5),
    )


@pytest.fixture(scope="module")
def studies(quantized, density, linear_problem):
    trained = fpsolve.simulate_ste(linear_problem, [0.5, 1.0], dimension=40, runs=3, seed=1)
    exact = fpsolve.solve_pde(linear_problem, [0.5, 1.0])
    return {
        "stationary-states": fpsolve.stationary_states(quantized),
        "stationary-state": fpsolve.stationary_states(quantized)[0],
        "fixed-points": fpsolve.isotropic_fixed_points(quantized),
        "optimal-range": fpsolve.optimal_range(quantized, points=5),
        "closure-error": fpsolve.closure_error(quantized, [0.0, 1.0], rtol=1e-3),
        "comparison": fpsolve.compare(exact, trained),
    }


STUDIES = ["stationary-states", "stationary-state", "fixed-points", "optimal-range"]
STUDIES += ["closure-error", "comparison"]


@pytest.mark.parametrize("name", STUDIES)
def test_results_of_studies_come_back(studies, name, tmp_path) -> None:
    save(studies[name], tmp_path / "r.h5")
    assert_equal(load(tmp_path / "r.h5"), studies[name])
    with xarray.open_dataset(tmp_path / "r.h5", engine="h5netcdf") as data:
        assert data.attrs["kind"] == name.replace("state", "states").replace("statess", "states")


def test_no_state_is_nothing_to_save(tmp_path) -> None:
    with pytest.raises(StoreError, match="there is no state"):
        save((), tmp_path / "r.h5")


def test_cells_say_what_makes_integrals_one(density, tmp_path) -> None:
    save(density, tmp_path / "r.h5")
    with xarray.open_dataset(tmp_path / "r.h5", engine="h5netcdf") as data:
        mass = (data["density"] * data["w_width"]).sum("w")
        np.testing.assert_allclose(mass, 1.0, rtol=0, atol=1e-12)
        marginal = (data["marginal_density"] * data["w_width"]).sum("w")
        np.testing.assert_allclose(marginal, 1.0, rtol=0, atol=1e-12)
        assert data["w"].attrs["bounds"] == "w_bounds"
        bounds = data["w_bounds"].values
        np.testing.assert_array_equal(bounds[1:, 0], bounds[:-1, 1])
        np.testing.assert_array_equal(bounds.mean(axis=1), data["w"])


def test_occupancies_are_the_order_parameters_of_the_quantized_weights(quantized, tmp_path) -> None:
    # E ψ(w)² and E w* ψ(w) come from the solver; the occupancies must say the same.
    result = fpsolve.solve_pde(quantized, [0.0, 2.0], rtol=1e-6)
    save(result, tmp_path / "r.h5")
    with xarray.open_dataset(tmp_path / "r.h5", engine="h5netcdf") as data:
        share = data["level_occupancy"]
        np.testing.assert_allclose(share.sum("level"), 1.0, rtol=0, atol=1e-9)
        p = data["teacher_probability"]
        square = (share * data["level"] ** 2 * p).sum(["level", "teacher"])
        np.testing.assert_allclose(square, data["q_psi"], rtol=1e-9)
        overlap = (share * data["level"] * data["teacher"] * p).sum(["level", "teacher"])
        np.testing.assert_allclose(overlap, data["m_psi"], rtol=1e-9, atol=1e-15)


def test_statistics_come_back_whatever_they_are(macro, tmp_path) -> None:
    stats = {
        "flag": True, "none": None, "large": 2**127 - 1, "small": -3, "number": 0.1,
        "text": "json:x", "empty": "", "list": [1, 2], "floats": [0.1, 0.2], "mixed": [1, "a"],
        "nothing": [], "nested": {"steps": 1, "deep": {"x": 0.5}}, "hollow": {},
        "dotted": {"weight_quantizer.omega": 1.0},
    }  # fmt: skip
    save(dataclasses.replace(macro, stats=stats), tmp_path / "r.h5")
    back = load(tmp_path / "r.h5").stats
    assert back == stats
    assert {n: type(v) for n, v in back.items()} == {n: type(v) for n, v in stats.items()}
    with h5py.File(tmp_path / "r.h5") as file:
        assert file.attrs["stats.nested.deep.x"] == 0.5


def test_equal_problems_have_equal_hashes(macro, linear_problem, tmp_path) -> None:
    again = dataclasses.replace(linear_problem)
    other = dataclasses.replace(linear_problem, ridge=0.2)
    hashes = []
    for number, problem in enumerate([linear_problem, again, other]):
        save(dataclasses.replace(macro, problem=problem), tmp_path / f"{number}.h5")
        with h5py.File(tmp_path / f"{number}.h5") as file:
            hashes.append(file.attrs["problem_hash"])
            for name in ["numpy_version", "hdf5_version", "platform", "command"]:
                assert file.attrs[name]
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize("kind", ["density", "macro", "particles"])
def test_to_xarray_is_the_file(kind, request, tmp_path) -> None:
    result = request.getfixturevalue(kind)
    save(result, tmp_path / "r.h5")
    dataset = to_xarray(result)
    with xarray.open_dataset(tmp_path / "r.h5", engine="h5netcdf") as data:
        xarray.testing.assert_equal(dataset, data)
    assert dataset.attrs["kind"] == kind


def test_export_to_a_table(particles, tmp_path) -> None:
    export(particles, tmp_path / "r.csv")
    with open(tmp_path / "r.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    runs, count = particles.order_parameters.m.shape
    assert len(rows) == runs * count
    for name in ORDER_PARAMETER_NAMES:
        column = np.array([float(row[name]) for row in rows])
        np.testing.assert_array_equal(column, getattr(particles.order_parameters, name).ravel())
    assert [float(row["time"]) for row in rows[:count]] == particles.times.tolist()
    assert {int(row["run"]) for row in rows} == set(range(runs))


def test_export_to_numpy(density, tmp_path) -> None:
    export(density, tmp_path / "r.npz")
    with np.load(tmp_path / "r.npz") as data:
        np.testing.assert_array_equal(data["density"], density.density)
        assert json.loads(str(data["attributes"]))["kind"] == "density"


def test_export_to_zarr(density, tmp_path) -> None:
    pytest.importorskip("zarr")
    export(density, tmp_path / "r.zarr")
    with xarray.open_zarr(tmp_path / "r.zarr", consolidated=False) as data:
        np.testing.assert_array_equal(data["density"], density.density)
        assert data["density"].dims == ("time", "teacher", "w")


def test_export_refuses_other_endings(density, tmp_path) -> None:
    with pytest.raises(fpsolve.ParameterError, match=r"\.csv, \.npz, \.zarr"):
        export(density, tmp_path / "r.xlsx")


def test_what_solvers_return_goes_anywhere(quantized, tmp_path) -> None:
    # Their results hold more than cells and weights: polynomials, states to go on from.
    solved = fpsolve.solve_pde(quantized, [0.5, 1.0], rtol=1e-3)
    trained = fpsolve.simulate_ste(quantized, [0.5, 1.0], dimension=40, runs=2, seed=1)
    for number, result in enumerate([solved, trained]):
        for ending in (".csv", ".npz"):
            export(result, tmp_path / f"{number}{ending}")
        dataset = to_xarray(result)
        np.testing.assert_array_equal(dataset["q"], result.order_parameters.q)
        save(result, tmp_path / f"{number}.h5")
        assert_equal(load(tmp_path / f"{number}.h5").order_parameters, result.order_parameters)


@pytest.mark.parametrize(
    "name", [n for n in STUDIES if n not in ("stationary-states", "fixed-points")]
)
def test_every_result_is_an_xarray_dataset(studies, name) -> None:
    assert studies[name].to_xarray().attrs["format"] == "fpsolve"


def test_a_run_that_has_reached_nothing_holds_no_result(quantized, tmp_path) -> None:
    sink = Hdf5Sink(tmp_path / "r.h5")
    sink.open("particles", quantized, [1.0], {})
    assert sink.series("time").size == 0  # The file is there.
    with pytest.raises(StoreError, match="none of its times"):
        load(tmp_path / "r.h5")
    sink.abandon()
