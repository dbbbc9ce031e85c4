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
from test_store import assert_equal
from test_store_targets import tiny_disk  # noqa: F401

import fpsolve
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
RUN = ["simulate", "p.toml", "--dimension", "9000", "--seed", "3", "--threads", "1"]
SOLVE = ["run", "p.toml", "--times", "0:3:16001", "--rtol", "1e-9"]
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


class TestOde:
    """`fpsolve ode -o`: what was reached is written, whatever ends it."""

    ODE = ("ode", "p.toml", "-o", "r.h5")

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_a_stopped_solve_is_written_and_goes_on(self, here, capsys, monkeypatch, number, code):
        real = fpsolve.solve_ode

        def stopped(problem, **options):
            told = options.pop("callback")

            def callback(tau, state):
                if tau == 2:
                    signal.raise_signal(number)
                return told(tau, state)

            return real(problem, callback=callback, **options)

        monkeypatch.setattr(fpsolve, "solve_ode", stopped)
        assert main([*self.ODE]) == code
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert "r.h5 holds what was reached; --resume solves all of it anew" in lines[0]
        assert load("r.h5").times.tolist() == [0.0, 1.0, 2.0]
        monkeypatch.undo()
        monkeypatch.chdir(here)
        assert main([*self.ODE]) == 2  # It exists.
        assert main([*self.ODE, "--resume"]) == 0
        assert main(["ode", "p.toml", "-o", "whole.h5"]) == 0
        again, whole = load("r.h5"), load("whole.h5")
        np.testing.assert_array_equal(again.dense_times, whole.dense_times)
        assert_equal(again.order_parameters, whole.order_parameters)
        assert_equal(again.dense_order_parameters, whole.dense_order_parameters)
        assert again.stats == whole.stats

    def test_a_failing_solve_is_written_too(self, here, capsys) -> None:
        text = "[problem]\nlearning_rate = 3.0\n[solve]\ntimes = [0, 0.5, 1, 500, 5000]\n"
        (here / "p.toml").write_text(text, encoding="utf-8")
        assert main([*self.ODE]) == 3
        kept = load("r.h5").times
        assert 0 < kept.size < 5

    def test_resume_wants_the_same_problem(self, here, capsys) -> None:
        assert main([*self.ODE]) == 0
        (here / "p.toml").write_text(PROBLEM.replace("0.5", "0.6"), encoding="utf-8")
        assert main([*self.ODE, "--resume"]) == 2
        assert "another problem" in capsys.readouterr().err
        assert main(["ode", "p.toml", "--resume"]) == 2


SWEEP = """
[sweep]
solver = "ode"
[sweep.axes]
learning_rate = "0.01:1:40:log"
"""


class TestSweep:
    """`fpsolve sweep -o`: points are on disk as they are solved, until all are in the file."""

    COMMAND = ("sweep", "p.toml", "--workers", "1", "-o", "r.h5")

    @pytest.fixture(autouse=True)
    def question(self, here) -> None:
        (here / "p.toml").write_text(PROBLEM + SWEEP, encoding="utf-8")

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
    def test_a_stopped_sweep_goes_on(self, here, number) -> None:
        # Slow enough to be met at work, and delivered often enough.
        text = (PROBLEM + SWEEP).replace('"ode"', '"ste"').replace("0.01:1:40", "0.01:0.3:60")
        (here / "p.toml").write_text(text + "[sweep.options]\ndimension = 600\n")
        code = (
            "import sys; from fpsolve.cli import main; from fpsolve.sweeps import sweep; "
            f"sweep._EVERY = 0.1; sys.exit(main({list(self.COMMAND)}))"
        )
        command = [sys.executable, "-c", code]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        deadline, points = time.monotonic() + 60, here / "r.h5.points"
        while not list(points.glob("batch-*.npz")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(number)
        out, err = process.communicate(timeout=300)
        assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number), err
        assert points.exists()
        kept = {path.name: path.stat().st_mtime_ns for path in points.glob("batch-*.npz")}
        if number != signal.SIGKILL:
            assert b"--resume goes on" in out
            assert len(load("r.h5").not_reached) > 0
        else:
            assert not (here / "r.h5").exists()
        assert main([*self.COMMAND]) == 2
        for path, changed in kept.items():  # What was solved is not solved again.
            assert (points / path).stat().st_mtime_ns == changed
        assert main([*self.COMMAND, "--resume"]) == 0
        assert not points.exists()
        result = load("r.h5")
        assert len(result.not_reached) == 0
        seed = result.seed((3,))
        alone = fpsolve.simulate_ste(
            result.problem((3,)), [0, 1, 2, 20], dimension=600, seed=seed, threads=1
        )
        np.testing.assert_array_equal(result["q"][3], alone.order_parameters.q)

    def test_a_finished_sweep_leaves_its_file_alone(self, here, monkeypatch, capsys) -> None:
        assert main([*self.COMMAND]) == 0
        assert [path.name for path in here.iterdir() if path.name.startswith("r.h5")] == ["r.h5"]
        monkeypatch.setattr(fpsolve, "sweep", None)  # Nothing is solved again.
        assert main([*self.COMMAND, "--resume"]) == 0

    def test_resume_wants_the_same_problem(self, here, capsys) -> None:
        assert main([*self.COMMAND]) == 0
        text = (PROBLEM + SWEEP).replace("ridge = 0.5", "ridge = 0.6")
        (here / "p.toml").write_text(text, encoding="utf-8")
        assert main([*self.COMMAND, "--resume"]) == 2
        assert "another problem" in capsys.readouterr().err
        assert main(["sweep", "p.toml", "--resume"]) == 2

    def test_other_values_are_solved_anew(self, here) -> None:
        assert main([*self.COMMAND]) == 0
        text = (PROBLEM + SWEEP).replace('"0.01:1:40:log"', "[0.01, 0.02]")
        (here / "p.toml").write_text(text, encoding="utf-8")
        assert main([*self.COMMAND, "--resume"]) == 0
        assert load("r.h5").axes["learning_rate"] == (0.01, 0.02)
