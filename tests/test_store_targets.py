"""Where files may be written, and what happens to those that are there."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys

import numpy as np
import pytest
from closed_forms import sampled_particles
from test_store import assert_equal

import fpsolve
from fpsolve import GaussianInitial, ParameterError, StoreError, load, save
from fpsolve.recording.hdf5 import Hdf5Sink
from fpsolve.recording.sink import Ending


def test_links_are_followed_and_stay_links(macro, density, tmp_path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "link.h5"
    link.symlink_to("there/real.h5")
    save(macro, link)  # A link to nothing yet: the file it names comes into being.
    save(density, link, overwrite=True)
    assert link.is_symlink()
    assert_equal(load(tmp_path / "there" / "real.h5"), density)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["link.h5", "real.h5", "there"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_a_replaced_file_keeps_its_mode(macro, tmp_path, mode) -> None:
    path = tmp_path / "r.h5"
    save(macro, path)
    path.chmod(mode)
    save(macro, path, overwrite=True)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_new_file_has_the_mode_of_any_new_file(macro, tmp_path) -> None:
    save(macro, tmp_path / "r.h5")
    (tmp_path / "plain").touch()
    modes = {stat.S_IMODE((tmp_path / n).stat().st_mode) for n in ("r.h5", "plain")}
    assert len(modes) == 1


def test_devices_and_pipes_are_refused(macro, tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for target in (tmp_path / "pipe", "/dev/null"):
        with pytest.raises(StoreError, match="device, a pipe"):
            save(macro, target, overwrite=True)
        with pytest.raises(StoreError, match="not a regular file"):
            load(target)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_writers_exclude_each_other(macro, linear_problem, tmp_path) -> None:
    path = tmp_path / "r.h5"
    sink = Hdf5Sink(path)
    sink.open("macro", linear_problem, [0.0], {})
    assert sink.series("time").size == 0  # The file is there.
    with pytest.raises(StoreError, match="another run"):
        save(macro, path, overwrite=True)
    with pytest.raises(StoreError, match="exists"):
        Hdf5Sink(path)
    sink.close(Ending())
    save(macro, path, overwrite=True)


FULL = """
import sys, numpy as np, fpsolve
from fpsolve.store.files import save
from fpsolve import load
result = load(sys.argv[1])
try:
    save(result, sys.argv[2], overwrite=True)
except fpsolve.StoreError as error:
    print(error.errno, error)
    sys.exit(3)
"""


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 1 MB."""
    (tmp_path / "disk").mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path / "disk")]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount command")
    if done.returncode:
        pytest.skip("not allowed to mount a file system")
    yield tmp_path / "disk"
    subprocess.run(["umount", "--lazy", str(tmp_path / "disk")], check=True)


def test_a_full_disk_is_one_error_and_leaves_the_old_file(
    macro, particles, tiny_disk, tmp_path
) -> None:
    save(macro, tiny_disk / "r.h5")
    before = (tiny_disk / "r.h5").read_bytes()
    large = tmp_path / "large.h5"
    save(sampled_particles(particles.problem, [0.0, 1.0], dimension=60_000), large)
    command = [sys.executable, "-c", FULL, str(large), str(tiny_disk / "r.h5")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 3, done
    assert done.stderr == ""
    assert "No space left on device" in done.stdout
    assert done.stdout.startswith("28 ")
    assert (tiny_disk / "r.h5").read_bytes() == before
    assert [p.name for p in tiny_disk.iterdir()] == ["r.h5"]


def test_a_run_on_a_full_disk_keeps_what_it_had(linear_problem, tiny_disk) -> None:
    path = tiny_disk / "r.h5"
    sink = Hdf5Sink(path)
    sink.open("particles", linear_problem, [0.0, 1.0], {})
    noise = np.random.default_rng(1).standard_normal((1, 300_000))
    sink.extend(0, {"time": np.zeros(1), "weights": [noise[:, :20_000]]})
    sink.checkpoint({"step": 1})
    sink.extend(1, {"time": np.ones(1), "weights": [noise[:, :20_000]]})
    with pytest.raises(StoreError, match="No space left") as caught:
        sink.checkpoint({"state": noise, "step": 2})
    assert caught.value.errno == errno.ENOSPC
    again = Hdf5Sink(path, resume=True)
    assert again.state == {"step": 1}
    assert len(again.frames) == 1


RUNS = {
    "pde": lambda problem, **store: fpsolve.solve_pde(problem, [0.0, 1.0], **store),
    "ste": lambda problem, **store: fpsolve.simulate_ste(
        problem, [0.0, 1.0], dimension=50, seed=1, **store
    ),
    "sde": lambda problem, **store: fpsolve.simulate_sde(
        problem, [0.0, 1.0], particles=50, seed=1, **store
    ),
    "line": lambda _, **store: fpsolve.solve_mckean_vlasov(
        fpsolve.McKeanVlasov(lambda x: -x, 0.7), GaussianInitial(0.3, 0.2), [0.0, 1.0], **store
    ),
}


@pytest.mark.parametrize("solver", RUNS)
def test_a_run_replaces_a_file_if_it_is_told_to(solver, macro, linear_problem, tmp_path) -> None:
    path = tmp_path / "r.h5"
    save(macro, path)
    old = path.read_bytes()
    with pytest.raises(StoreError, match="exists"):
        RUNS[solver](linear_problem, store=path)
    assert path.read_bytes() == old
    expected = RUNS[solver](linear_problem, store=path, overwrite=True)
    assert_equal(load(path), expected)
    assert list(tmp_path.iterdir()) == [path]
    for store in (None, Hdf5Sink(tmp_path / "other.h5")):
        with pytest.raises(ParameterError, match="overwrite"):
            RUNS[solver](linear_problem, store=store, overwrite=True)
