"""`fpsolve sweep` and `fpsolve merge`: the same line on a laptop and in a job array."""

from __future__ import annotations

import numpy as np
import pytest

import fpsolve
from fpsolve.cli import main

SWEEP = """
[solve]
times = [0.0, 1.0, 4.0]
rtol = 1e-4
[sweep]
solver = "ode"
[sweep.axes]
learning_rate = "0.01:1:5:log"
"weight_quantizer.bit_width" = [2, 3]
"ridge+noise_variance" = [[0.5, 0.0], [1.0, 0.1], [1.5, 0.2]]
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    problem = fpsolve.Problem(
        weight_quantizer=fpsolve.UniformQuantizer(2, 1.0),
        input_quantizer=fpsolve.UniformQuantizer(3, 1.0),
        learning_rate=0.04,
        ridge=1.0,
    )
    (tmp_path / "s.toml").write_text(problem.to_toml() + SWEEP)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_file_says_all(here, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["sweep", "s.toml", "-o", "s.h5"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert "(25 of 30 points)" in out
    assert max(len(line) for line in out) <= 60
    result = fpsolve.load("s.h5")
    assert result.shape == (5, 2, 3)
    np.testing.assert_allclose(
        result.axes["learning_rate"], [0.01, 10**-1.5, 0.1, 10**-0.5, 1.0], rtol=1e-12
    )
    assert result.axes["ridge+noise_variance"] == ((0.5, 0.0), (1.0, 0.1), (1.5, 0.2))
    problem = result.problem((1, 1, 2))
    assert (problem.ridge, problem.noise_variance) == (1.5, 0.2)
    alone = fpsolve.solve_ode(problem, [0.0, 1.0, 4.0], rtol=1e-4).order_parameters
    np.testing.assert_array_equal(result["q"][1, 1, 2], alone.q)
    data = result.to_xarray()
    np.testing.assert_array_equal(data["noise_variance"], [0.0, 0.1, 0.2])


def test_parts_and_merge_are_the_whole(here, capsys) -> None:
    assert main(["sweep", "s.toml", "--part", "1/3"]) == 0
    assert main(["sweep", "s.toml", "--part", "3/3", "--workers", "1"]) == 0
    assert main(["merge", "s.toml"]) == 1
    assert "10 points are not in s.answers" in capsys.readouterr().out
    assert main(["sweep", "s.toml", "--part", "2/3"]) == 0
    assert main(["merge", "s.toml", "-o", "merged.h5"]) == 0
    assert main(["sweep", "s.toml", "-o", "whole.h5"]) == 0
    merged, whole = fpsolve.load("merged.h5"), fpsolve.load("whole.h5")
    for name, array in whole.arrays.items():
        np.testing.assert_array_equal(merged[name], array, strict=True)


def test_states_and_ensembles_through_the_same_door(here, capsys) -> None:
    command = ["sweep", "s.toml", "--workers", "1", "--overwrite", "-o", "r.h5", "--solver"]
    assert main([*command, "stationary"]) == 0
    found = fpsolve.load("r.h5")
    assert found.dimensions[-1] == "root"
    (state,) = fpsolve.stationary_states(found.problem((2, 1, 1)))
    assert found["generalization_error"][2, 1, 1, 0] == state.generalization_error
    assert main([*command, "ste", "--dimension", "20", "--runs", "2", "--seed", "3"]) == 0
    found = fpsolve.load("r.h5")
    assert found.dimensions[-2:] == ("run", "time")
    assert "eps_g" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--axis", "learning_rate=1,2"], "twice"),
        (["--axis", "batch_size=1,2", "--axis", "batch_size=3"], "twice"),
        (["--axis", "ridge=1,2"], "varied twice"),
        (["--axis", "batch_size=-1:2:3:log"], "logarithmic"),
        (["--part", "0/3"], "I/N"),
        (["--part", "half"], "I/N"),
        (["--workers", "1", "--dask", "tcp://x:1"], "not allowed"),
        (["--dask", "nowhere"], "--dask"),
        (["--solver", "ste"], "--dimension"),
    ],
)
def test_bad_lines_say_what_is_wrong(here, capsys, more, words) -> None:
    assert main(["sweep", "s.toml", *more]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('solver = "ode"', 'solver = "nonsense"', "solver"),
        ('solver = "ode"', "axis = 1", "axis"),
        ('"0.01:1:5:log"', "0.1", "learning_rate"),
        ("[1.5, 0.2]", "[1.5]", "must hold 2 values"),
    ],
)
def test_bad_files_say_what_is_wrong(here, capsys, old, new, words) -> None:
    path = here / "s.toml"
    path.write_text(path.read_text().replace(old, new))
    assert main(["sweep", "s.toml"]) == 2
    assert words in capsys.readouterr().err


def test_merge_needs_a_folder(here, capsys) -> None:
    assert main(["merge", "s.toml"]) == 2
    assert "s.answers" in capsys.readouterr().err


def test_a_scheduler_by_its_address(here) -> None:
    distributed = pytest.importorskip("distributed", reason="needs the dask extra")
    assert main(["sweep", "s.toml", "-o", "whole.h5", "--workers", "1"]) == 0
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", host="127.0.0.1"
    )
    with cluster:
        address = cluster.scheduler_address
        assert main(["sweep", "s.toml", "--dask", address, "-o", "dask.h5"]) == 0
    whole, dask = fpsolve.load("whole.h5"), fpsolve.load("dask.h5")
    for name, array in whole.arrays.items():
        np.testing.assert_array_equal(dask[name], array, strict=True)
