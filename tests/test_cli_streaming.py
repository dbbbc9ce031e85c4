"""`fpsolve simulate -o` and `run -o`: on disk as they go on, stopped in order, resumed."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
from test_store_targets import tiny_disk  # noqa: F401

from fpsolve import load
from fpsolve.cli import main

PROBLEM = """
[problem]
learning_rate = 0.3
ridge = 0.5
[problem.weight_quantizer]
bit_width = 2
omega = 1.0
[solve]
times = [0, 1, 2, 20]
"""
RUN = ["simulate", "p.toml", "--dimension", "4000", "--seed", "3", "--threads", "1"]
SOLVE = ["run", "p.toml", "--times", "0:3:4001", "--rtol", "1e-9"]
PROGRESS = re.compile("simulate_ste:|solve_pde:")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.toml").write_text(PROBLEM, encoding="utf-8")
    return tmp_path


def reached(path) -> int:
    """How many times a growing file holds, read by h5py alone."""
    if not path.exists():
        return 0
    try:
        with h5py.File(path) as file:
            return file["time"].size
    except (OSError, KeyError, RuntimeError):  # Opened before a commit, read after it.
        return 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("run", [RUN, SOLVE], ids=["simulate", "run"])
def test_a_stopped_run_says_so_and_goes_on(here, capsys, run, number, code) -> None:
    assert main([*run, "-o", "whole.h5"]) == 0
    command = [sys.executable, "-m", "fpsolve", *run, "-o", "r.h5"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while reached(here / "r.h5") == 0:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    _, err = process.communicate(timeout=300)
    assert process.returncode == code, err
    lines = [line for line in err.decode().splitlines() if not PROGRESS.match(line)]
    assert len(lines) == 1, err
    assert "--resume goes on" in lines[0]
    with h5py.File("r.h5") as file:
        assert file.attrs["status"] == ("terminated" if code == 143 else "interrupted")
        assert "checkpoint" in file
    assert main([*run, "-o", "r.h5", "--resume"]) == 0
    found, expected = load("r.h5"), load("whole.h5")
    if run is RUN:
        np.testing.assert_array_equal(found.weights, expected.weights)
    else:
        np.testing.assert_array_equal(found.frames[-1].u, expected.frames[-1].u)
        np.testing.assert_array_equal(found.dense_times, expected.dense_times)
        with h5py.File("r.h5") as file:  # Complete for other programs too.
            mass = (file["density"][...] * file["w_width"][...]).sum(axis=-1)
        np.testing.assert_allclose(mass, 1.0, atol=1e-9)


def test_resume_goes_beyond_the_end(here) -> None:
    assert main([*RUN, "-o", "whole.h5"]) == 0
    assert main([*RUN, "--times", "0,1", "-o", "r.h5"]) == 0
    assert main([*RUN, "-o", "r.h5", "--resume"]) == 0
    np.testing.assert_array_equal(load("r.h5").weights, load("whole.h5").weights)


def test_densities_go_beyond_the_end_and_stay_readable(here) -> None:
    assert main(["run", "p.toml", "-o", "whole.h5"]) == 0
    assert main(["run", "p.toml", "--times", "0,1", "-o", "r.h5"]) == 0
    assert main(["run", "p.toml", "-o", "r.h5", "--resume"]) == 0
    np.testing.assert_array_equal(load("r.h5").density, load("whole.h5").density)
    for engine in ("netcdf4", "h5netcdf"):
        data = pytest.importorskip("xarray").open_dataset("r.h5", engine=engine)
        mass = (data.density * data.w_width).sum("w")
        np.testing.assert_allclose(mass, 1.0, atol=1e-9)
        data.close()


def test_resume_wants_the_same_problem(here, capsys) -> None:
    assert main([*RUN, "--times", "0,1", "-o", "r.h5"]) == 0
    (here / "p.toml").write_text(PROBLEM.replace("0.5", "0.6"), encoding="utf-8")
    assert main([*RUN, "-o", "r.h5", "--resume"]) == 2
    assert "another problem" in capsys.readouterr().err
    assert main([*RUN, "--resume"]) == 2


def test_a_full_disk_ends_a_run_with_code_3(here, tiny_disk, capsys) -> None:  # noqa: F811
    target = str(tiny_disk / "r.h5")
    big = [*RUN[:3], "200000", *RUN[4:], "--times", "0,0.00001"]
    assert main([*big, "-o", target, "--quiet"]) == 3
    err = capsys.readouterr().err
    assert "No space left on device" in err
    assert len(err.strip().splitlines()) == 1
