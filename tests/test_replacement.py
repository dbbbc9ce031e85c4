"""A run that is to replace a file leaves it alone until the new one is complete."""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
from test_resume import MANY, QUANTIZED
from test_resume_density import Killed, Mortal, assert_same
from test_store import assert_equal
from test_store_targets import tiny_disk  # noqa: F401

import fpsolve
from fpsolve import SolveError, StoreError, load, resume, save, solve_pde
from fpsolve.cli import main
from fpsolve.recording import commit
from fpsolve.recording.hdf5 import Hdf5Sink
from fpsolve.sweeps.result import INTERRUPTED

TIMES = [0.0, 0.5, 1.0, 2.0]
PROBLEM = QUANTIZED.to_toml() + "\n[solve]\ntimes = [0, 0.5, 1, 2]\n"


@pytest.fixture
def old(tmp_path, macro):
    """A file that is there, and its bytes."""
    path = tmp_path / "r.h5"
    save(macro, path)
    return path, path.read_bytes()


def names(folder) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_the_old_file_is_there_until_the_new_one_is_complete(old) -> None:
    path, before = old
    path.chmod(0o640)

    sink = Hdf5Sink(path, overwrite=True)

    def look(tau, state) -> None:
        assert sink.series("time").size <= len(TIMES)  # The file is there.
        assert path.read_bytes() == before
        with h5py.File(f"{path}.partial") as file:  # Readers find what was reached there.
            assert file.attrs["status"] == "running"
            assert file.attrs["replaces"] == "r.h5"
        assert stat.S_IMODE(os.stat(f"{path}.partial").st_mode) == 0o640
        with pytest.raises(StoreError, match="being written by another run"):
            Hdf5Sink(path, overwrite=True)
        with pytest.raises(StoreError, match="being written by another run"):
            resume(path)
        with pytest.raises(StoreError, match="being written by another run"):
            save(load(path), path, overwrite=True)

    found = solve_pde(QUANTIZED, TIMES, callback=look, store=sink)
    assert_same(load(path), found)
    assert names(path.parent) == ["r.h5"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_links_stay_links(old) -> None:
    path, _ = old
    (path.parent / "elsewhere").mkdir()
    link = path.parent / "elsewhere" / "link.h5"
    link.symlink_to("../r.h5")
    found = solve_pde(QUANTIZED, TIMES, store=Hdf5Sink(link, overwrite=True))
    assert link.is_symlink()
    assert_same(load(path), found)
    assert names(path.parent) == ["elsewhere", "r.h5"]
    assert names(link.parent) == ["link.h5"]


def test_what_is_there_is_lost_in_no_full_disk(old, monkeypatch) -> None:
    # Whatever write is the first that does not fit.
    path, before = old
    write, left = os.pwrite, 0

    def filled(descriptor, data, offset):
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data, offset)

    whole = solve_pde(QUANTIZED, TIMES)
    monkeypatch.setattr("fpsolve.recording.stream._LOOK_EVERY", 0.0)
    worth = 0
    for room in range(100):
        left = room
        monkeypatch.setattr(commit.os, "pwrite", filled)
        try:
            sink = Hdf5Sink(path, overwrite=True, interval=0.0)
            solve_pde(QUANTIZED, TIMES, store=sink)
        except StoreError as error:
            failure = error
        else:
            break
        monkeypatch.undo()
        monkeypatch.setattr("fpsolve.recording.stream._LOOK_EVERY", 0.0)
        assert failure.errno == errno.ENOSPC
        assert str(failure).count("\n") == 0
        assert f"{path} is as it was" in str(failure)
        assert path.read_bytes() == before
        kept = path.with_name("r.h5.partial").exists()
        assert kept == (f"{path}.partial holds" in str(failure))
        worth += kept
        if kept and room % 4 == 0:  # With room again it goes on, and replaces the old one.
            shutil.copy2(path, path.with_name("copy"))
            assert_same(resume(path), whole)
            assert names(path.parent) == ["copy", "r.h5"]
            os.replace(path.with_name("copy"), path)
    assert room > 10
    assert worth > 3
    assert_same(load(path), whole)
    assert names(path.parent) == ["r.h5"]


def test_a_run_on_a_full_disk_ends_with_code_3_and_the_old_file(
    macro, tiny_disk, tmp_path, monkeypatch, capsys  # noqa: F811
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.toml").write_text(PROBLEM, encoding="utf-8")
    target = tiny_disk / "r.h5"
    save(macro, target)
    before = target.read_bytes()
    for command in (
        ["run", "p.toml", "--times", "0:2:20001"],
        ["simulate", "p.toml", "--dimension", "9000", "--seed", "3", "--times", "0:1:2001"],
        ["simulate", "p.toml", "--dimension", "300000", "--seed", "3", "--times", "0,0.00001"],
    ):
        assert main([*command, "-o", str(target), "--overwrite", "--quiet"]) == 3
        err = capsys.readouterr().err.strip()
        assert "No space left on device" in err
        assert f"{target} is as it was" in err
        assert len(err.splitlines()) == 1
        assert target.read_bytes() == before
        partial = target.with_name("r.h5.partial")
        assert ("partial holds" in err) == partial.exists()
        assert names(tiny_disk)[:1] == ["r.h5"]
        if partial.exists():
            with h5py.File(partial) as file:
                assert file["time"].size > 0
            partial.unlink()


def test_a_killed_run_leaves_both_and_goes_on(old) -> None:
    path, before = old
    code = (
        "import sys, fpsolve\n"
        "from fpsolve.problem.toml import parse_problem\n"
        "from fpsolve.recording.hdf5 import Hdf5Sink\n"
        "problem = parse_problem(sys.argv[2], source='here').problem\n"
        "times = [i / 1000 for i in range(2001)]\n"
        "sink = Hdf5Sink(sys.argv[1], overwrite=True, interval=0.05)\n"
        "fpsolve.solve_pde(problem, times, rtol=1e-9, store=sink)\n"
    )
    command = [sys.executable, "-c", code, str(path), QUANTIZED.to_toml()]
    partial = path.with_name("r.h5.partial")
    for _ in range(2):  # A second one begins anew.
        process = subprocess.Popen(command)
        deadline, first = time.monotonic() + 120, None if not partial.exists() else partial.stat()
        while not partial.exists() or (first and partial.stat().st_ino == first.st_ino):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert path.read_bytes() == before
        assert names(path.parent) == ["r.h5", "r.h5.partial"]
    assert "r.h5.partial, a run that is to replace it" in fpsolve_info(path)
    assert_same(resume(path), solve_pde(QUANTIZED, MANY, rtol=1e-9))
    assert names(path.parent) == ["r.h5"]
    assert load(path).times.size == len(MANY)


def fpsolve_info(path) -> str:
    from fpsolve.store.describe import describe

    return describe(path)["file"]


def mortal(path) -> None:
    sink = Mortal(path, overwrite=True, interval=0.0)
    sink.lives = 2
    with pytest.raises(Killed):
        solve_pde(QUANTIZED, TIMES, callback=lambda *_: None, store=sink)


def test_what_is_not_a_run_to_the_file_is_never_replaced(old) -> None:
    path, before = old
    partial = path.with_name("r.h5.partial")
    partial.write_text("mine")
    with pytest.raises(StoreError, match=r"r\.h5\.partial: exists, where a run"):
        Hdf5Sink(path, overwrite=True)
    assert resume_refuses(path)
    partial.unlink()
    shutil.copy(path, partial)  # A result of fpsolve, but of its own.
    with pytest.raises(StoreError, match=r"r\.h5\.partial: exists, where a run"):
        Hdf5Sink(path, overwrite=True)
    partial.unlink()
    partial.symlink_to("nowhere")
    with pytest.raises(StoreError, match=r"r\.h5\.partial: exists, where a run"):
        Hdf5Sink(path, overwrite=True)
    assert path.read_bytes() == before


def resume_refuses(path) -> bool:
    with pytest.raises(StoreError, match="no run that could go on"):
        resume(path)
    return True


def test_a_file_that_came_later_is_not_replaced(old, macro) -> None:
    path, _ = old
    mortal(path)
    save(macro, path, overwrite=True)
    os.utime(path, ns=(1, 1))
    later = path.read_bytes()
    resume_refuses(path)  # It is about the file that is there.
    partial = path.with_name("r.h5.partial")
    done = resume(partial)  # Under its own name it goes on, and stays there.
    assert_same(done, solve_pde(QUANTIZED, TIMES))
    assert path.read_bytes() == later
    assert names(path.parent) == ["r.h5", "r.h5.partial"]


def test_a_file_that_changes_meanwhile_stays(old) -> None:
    path, _ = old

    def meddle(tau, state) -> None:
        path.write_bytes(b"mine")

    with pytest.raises(StoreError, match="has changed since the run began") as caught:
        solve_pde(QUANTIZED, TIMES, callback=meddle, store=Hdf5Sink(path, overwrite=True))
    assert "complete in" in str(caught.value)
    assert path.read_bytes() == b"mine"
    assert_same(load(f"{path}.partial"), solve_pde(QUANTIZED, TIMES))


def test_without_the_old_file_the_run_takes_its_name(old) -> None:
    path, _ = old
    mortal(path)
    path.unlink()
    assert_same(resume(path), solve_pde(QUANTIZED, TIMES))
    assert names(path.parent) == ["r.h5"]


def test_a_run_that_was_killed_as_it_took_the_place_takes_it_again(old, monkeypatch) -> None:
    path, before = old

    def killed(self, target):
        raise Killed

    monkeypatch.setattr("fpsolve.recording.replacement.Path.replace", killed)
    with pytest.raises(Killed):
        solve_pde(QUANTIZED, TIMES, store=Hdf5Sink(path, overwrite=True))
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert_same(resume(path), solve_pde(QUANTIZED, TIMES))
    assert names(path.parent) == ["r.h5"]


def test_a_failing_solve_leaves_the_old_file(old, tmp_path, monkeypatch, capsys) -> None:
    path, before = old
    monkeypatch.chdir(tmp_path)
    text = (
        "[problem]\nlearning_rate = 3.0\n[problem.weight_quantizer]\nbit_width = 2\nomega = 1.0\n"
    )
    (tmp_path / "p.toml").write_text(text, encoding="utf-8")
    real = solve_pde

    def failing(problem, times, **options):
        def stop(tau, state):
            if tau >= 1.0:
                raise SolveError("it does", time=tau, step=0.0)

        return real(QUANTIZED, TIMES, callback=stop, store=options["store"])

    monkeypatch.setattr(fpsolve, "solve_pde", failing)
    command = ["run", "p.toml", "--times", "0,1,2", "-o", "r.h5", "--overwrite"]
    assert main(command) == 3
    err = capsys.readouterr().err.strip().splitlines()[-1]
    assert path.read_bytes() == before
    assert err.endswith("r.h5.partial holds what was reached, r.h5 is as it was")
    assert load("r.h5.partial").times.size > 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_says_where_both_are(
    old, tmp_path, monkeypatch, capsys, number, code
) -> None:
    path, before = old
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.toml").write_text(PROBLEM, encoding="utf-8")
    real = solve_pde

    def stopped(problem, times, **options):
        def stop(tau, state):
            if tau == 1.0:
                signal.raise_signal(number)

        return real(problem, times, callback=stop, **options)

    monkeypatch.setattr(fpsolve, "solve_pde", stopped)
    command = ["run", "p.toml", "-o", "r.h5"]
    assert main([*command, "--overwrite"]) == code
    err = capsys.readouterr().err.strip().splitlines()[-1]
    told = "r.h5.partial holds a checkpoint, r.h5 is as it was; --resume goes on from it"
    assert err.endswith(told)
    assert path.read_bytes() == before
    monkeypatch.setattr(fpsolve, "solve_pde", real)
    assert main([*command, "--resume"]) == 0
    assert names(tmp_path) == ["p.toml", "r.h5"]
    assert main(["run", "p.toml", "-o", "whole.h5"]) == 0
    assert_equal(load("r.h5"), load("whole.h5"))
    assert main([*command, "--resume"]) == 0  # Finished, it is read.
    assert_equal(load("r.h5"), load("whole.h5"))


def test_a_disk_that_fills_as_cells_are_added_leaves_the_old_file(
    old, tmp_path, monkeypatch, capsys
) -> None:
    path, before = old
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.toml").write_text(PROBLEM, encoding="utf-8")

    def full(file, sink):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("fpsolve.store.finish.add_cells", full)
    assert main(["run", "p.toml", "-o", "r.h5", "--overwrite"]) == 3
    assert path.read_bytes() == before
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert main(["run", "p.toml", "-o", "r.h5", "--resume"]) == 0
    with h5py.File("r.h5") as file:
        assert "density" in file
    np.testing.assert_array_equal(load("r.h5").times, TIMES)
    assert names(tmp_path) == ["p.toml", "r.h5"]


def test_an_ode_that_fails_leaves_the_old_file(old, tmp_path, monkeypatch, capsys) -> None:
    path, before = old
    monkeypatch.chdir(tmp_path)
    text = "[problem]\nlearning_rate = 3.0\n[solve]\ntimes = [0, 0.5, 1, 500, 5000]\n"
    (tmp_path / "p.toml").write_text(text, encoding="utf-8")
    assert main(["ode", "p.toml", "-o", "r.h5", "--overwrite"]) == 3
    assert capsys.readouterr().err.strip().endswith("r.h5 is as it was")
    assert path.read_bytes() == before


def test_a_sweep_that_is_stopped_leaves_the_old_file(old, tmp_path, monkeypatch, capsys) -> None:
    path, before = old
    monkeypatch.chdir(tmp_path)
    axis = '[sweep]\nsolver = "ode"\n[sweep.axes]\nridge = [0.1, 0.2]\n'
    (tmp_path / "p.toml").write_text(PROBLEM + axis, encoding="utf-8")
    real = fpsolve.sweep

    def stopped(*given, **options):
        whole = real(*given, **options)
        errors = {(1,): INTERRUPTED}
        return dataclasses.replace(whole, errors=errors, stats={**whole.stats, "interrupted": True})

    monkeypatch.setattr(fpsolve, "sweep", stopped)
    command = ["sweep", "p.toml", "--workers", "1", "-o", "r.h5"]
    assert main([*command, "--overwrite"]) == 130
    assert "r.h5 is as it was" in capsys.readouterr().out
    assert path.read_bytes() == before
    monkeypatch.setattr(fpsolve, "sweep", real)
    assert main([*command, "--resume"]) == 0
    assert names(tmp_path) == ["p.toml", "r.h5"]


def test_a_picture_that_does_not_fit_leaves_the_old_one(tmp_path, macro, monkeypatch) -> None:
    path = tmp_path / "r.png"
    path.write_bytes(b"mine")

    def full(new, target, **_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("fpsolve.plots.figures.put_in_place", full)
    with pytest.raises(StoreError, match="No space left") as caught:
        fpsolve.save_figure(fpsolve.plot(macro), path, overwrite=True)
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == b"mine"
    assert names(tmp_path) == ["r.png"]
