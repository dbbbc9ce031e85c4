"""Any McKean–Vlasov equation in a file: killed it goes on, and no function is read from there."""

from __future__ import annotations

import errno
import math
import shutil
import subprocess

import h5py
import numpy as np
import pytest
from test_resume_density import Killed, Mortal, looking_always, status  # noqa: F401
from test_store_targets import tiny_disk  # noqa: F401

import fpsolve
from fpsolve import (
    GaussianInitial,
    McKeanVlasov,
    ParameterError,
    StoreError,
    load,
    resume,
    solve_mckean_vlasov,
)
from fpsolve.recording.hdf5 import Hdf5Sink

TIMES = [0.0, 0.3, 1.0, 2.5]


def ornstein_uhlenbeck(rate: float = 1.0) -> McKeanVlasov:
    return McKeanVlasov(lambda x: -rate * x, 0.7, functionals=[lambda x: x, np.square])


def desai_zwanzig() -> McKeanVlasov:
    """Particles in a double well that attract each other's mean."""
    return McKeanVlasov(
        [lambda x: x - x**3, lambda x: -x, np.ones_like],
        lambda t, M: 0.5 + 0.1 * math.sin(t),
        coefficients=lambda t, M: [1.0, 0.8, 0.8 * M[0]],
        functionals=[lambda x: x],
    )


CASES = {
    "line": (ornstein_uhlenbeck(), GaussianInitial(1.5, 0.2)),
    "mean field": (desai_zwanzig(), GaussianInitial(0.3, 0.4)),
    "jump": (
        McKeanVlasov(lambda x: -np.sign(x), 0.5, breaks=[0.0]),
        (lambda x: 0.5 + 0 * x, -1.0, 1.0),
    ),
    "walls": (
        McKeanVlasov(lambda x: 0 * x, 0.3, walls=(-1.0, 2.0), functionals=[np.abs]),
        (lambda x: 0.5 + 0 * x, -1.0, 1.0),
    ),
}


def assert_same(found, expected) -> None:
    """Both hold the same bits."""
    for name in ("times", "functionals", "dense_times", "dense_functionals"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    assert len(found.frames) == len(expected.frames)
    for one, other in zip(found.frames, expected.frames, strict=True):
        assert one.order == other.order
        for name in ("left", "width", "u"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert found.stats == expected.stats


@pytest.mark.parametrize("name", CASES)
def test_a_run_killed_again_and_again_is_the_run_that_was_not(name, tmp_path) -> None:
    model, initial = CASES[name]
    whole = solve_mckean_vlasov(model, initial, TIMES, rtol=1e-5)
    path, rng = tmp_path / "r.h5", np.random.default_rng(list(CASES).index(name))
    kills = 0
    for attempt in range(40):
        sink = Mortal(path, interval=0.0, resume=path.exists())
        sink.lives = int(rng.integers(1, 4)) + attempt
        begin = None if path.exists() else initial
        try:
            solve_mckean_vlasov(model, begin, TIMES, rtol=1e-5, store=sink)
        except Killed:
            kills += 1
            continue
        break
    assert kills > 1
    assert_same(load(path), whole)
    assert_same(resume(path, model=model), whole)


def test_killed_before_any_checkpoint_it_begins_anew(tmp_path) -> None:
    # The file has the initial density, which a function gave.
    model, initial = CASES["jump"]
    sink = Mortal(tmp_path / "r.h5", interval=1e9)
    sink.lives = 0
    with pytest.raises(Killed):
        solve_mckean_vlasov(model, initial, TIMES, store=sink)
    with h5py.File(tmp_path / "r.h5") as file:
        assert "checkpoint" not in file
    expected = solve_mckean_vlasov(model, initial, TIMES)
    assert_same(resume(tmp_path / "r.h5", model=model), expected)


def test_a_file_is_read_without_the_model(tmp_path) -> None:
    model, initial = CASES["line"]
    run = solve_mckean_vlasov(model, initial, TIMES, store=tmp_path / "r.h5")
    found = load(tmp_path / "r.h5")
    # Ornstein–Uhlenbeck: the mean decays as exp(−t), the variance relaxes to D.
    mean = 1.5 * np.exp(-np.array(TIMES))
    np.testing.assert_allclose(found.functionals[:, 0], mean, rtol=1e-5)
    x = np.linspace(-2, 2, 9)
    np.testing.assert_array_equal(found.pdf(x, 1.0), run.pdf(x, 1.0))
    assert found.probability(-50.0, 50.0, 2.5) == pytest.approx(1.0, abs=1e-9)
    fpsolve.save(run, tmp_path / "saved.h5")
    assert_same(load(tmp_path / "saved.h5"), run)
    fpsolve.export(run, tmp_path / "r.csv")
    assert (tmp_path / "r.csv").read_text().startswith("time,functional,functionals\n")


def test_no_functionals_at_all(tmp_path) -> None:
    model = McKeanVlasov(lambda x: -x, 1.0)
    run = solve_mckean_vlasov(model, GaussianInitial(0.0, 0.5), [1.0, 2.0], store=tmp_path / "r.h5")
    assert run.functionals.shape == (2, 0)
    assert_same(load(tmp_path / "r.h5"), run)


@pytest.mark.parametrize("size", [0, 2**26])
def test_many_times_are_handed_on_in_blocks(size, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("fpsolve.line.stream._SMALL", size)
    monkeypatch.setattr("fpsolve.recording.stream._MOST_WAITING", 64)
    model, initial = CASES["mean field"]
    times = np.linspace(0.0, 2.0, 150)
    whole = solve_mckean_vlasov(model, initial, times)
    assert_same(solve_mckean_vlasov(model, initial, times, store=tmp_path / "r.h5"), whole)
    assert_same(load(tmp_path / "r.h5"), whole)


def test_it_goes_beyond_its_end_with_the_same_model_only(tmp_path) -> None:
    model, initial = CASES["line"]
    path = tmp_path / "r.h5"
    solve_mckean_vlasov(model, initial, TIMES[:2], store=path)
    with pytest.raises(ParameterError, match=r"model.*resume\(path, model=\.\.\.\)"):
        resume(path, times=TIMES[2:])
    with pytest.raises(ParameterError, match="other drift, shape or functionals"):
        resume(path, times=TIMES[2:], model=ornstein_uhlenbeck(1.001))
    others = {
        "diffusion": McKeanVlasov(model.drift, 0.71, functionals=model.functionals),
        "walls": McKeanVlasov(model.drift, 0.7, functionals=model.functionals, walls=(-9.0, 9.0)),
        "breaks": McKeanVlasov(model.drift, 0.7, functionals=model.functionals, breaks=[0.0]),
        "functionals": McKeanVlasov(model.drift, 0.7),
    }
    for name, other in others.items():
        with pytest.raises(ParameterError, match=f"other .*{name}"):
            resume(path, times=TIMES[2:], model=other)
    # An equal one, written anew, is the same.
    found = resume(path, times=TIMES[2:], model=ornstein_uhlenbeck())
    assert_same(found, solve_mckean_vlasov(model, initial, TIMES))
    with pytest.raises(ParameterError, match="must be beyond"):
        resume(path, times=[2.0], model=model)


def test_a_model_is_for_such_runs_only(tmp_path) -> None:
    problem = fpsolve.Problem(weight_quantizer=None, input_quantizer=None, learning_rate=0.1)
    fpsolve.solve_pde(problem, [1.0], store=tmp_path / "r.h5")
    with pytest.raises(ParameterError, match="is not for a density run"):
        resume(tmp_path / "r.h5", times=[2.0], model=ornstein_uhlenbeck())
    assert resume(tmp_path / "r.h5", times=[2.0]).times.tolist() == [1.0, 2.0]


def test_it_starts_from_what_another_run_has_reached(tmp_path) -> None:
    model, initial = CASES["line"]
    whole = solve_mckean_vlasov(model, initial, [0.3, 1.3], store=tmp_path / "whole.h5")
    path = tmp_path / "r.h5"
    first = solve_mckean_vlasov(model, initial, [0.3], store=path)
    x = np.linspace(-2.0, 3.0, 31)
    for start in (path, first):
        then = solve_mckean_vlasov(model, None, [0.0, 1.0], start=start)
        np.testing.assert_allclose(then.functionals[0], first.functionals[-1], rtol=1e-6)
        np.testing.assert_allclose(then.functionals[1], whole.functionals[1], rtol=1e-5)
        np.testing.assert_allclose(then.pdf(x, 1.0), whole.pdf(x, 1.3), atol=1e-5)
    with pytest.raises(ParameterError, match="must be None with start"):
        solve_mckean_vlasov(model, initial, [1.0], start=path)
    narrow = McKeanVlasov(lambda x: -x, 0.7, walls=(-1.0, 1.0))
    with pytest.raises(ParameterError, match="within the walls"):
        solve_mckean_vlasov(narrow, None, [1.0], start=path)
    with pytest.raises(ParameterError, match="LineTrajectory"):
        solve_mckean_vlasov(model, None, [1.0], start=3)
    problem = fpsolve.Problem(weight_quantizer=None, input_quantizer=None, learning_rate=0.1)
    fpsolve.save(fpsolve.solve_ode(problem, [0.0, 1.0]), tmp_path / "m.h5")
    with pytest.raises(StoreError, match="no density on a line"):
        solve_mckean_vlasov(model, None, [1.0], start=tmp_path / "m.h5")


def test_what_the_model_raises_is_told_and_the_file_left_in_order(tmp_path) -> None:
    broken = [True]

    def diffusion(t, M):
        if broken[0] and t > 1.5:
            raise ZeroDivisionError("no diffusion")
        return 0.5

    model = McKeanVlasov(lambda x: -x, diffusion, functionals=[np.square])
    initial = GaussianInitial(0.0, 0.3)
    with pytest.raises(ZeroDivisionError, match="no diffusion"):
        solve_mckean_vlasov(model, initial, TIMES, store=tmp_path / "r.h5")
    with h5py.File(tmp_path / "r.h5") as file:
        assert file.attrs["message"] == "no diffusion"
    assert status(tmp_path / "r.h5") == "failed"
    assert load(tmp_path / "r.h5").times.tolist() == TIMES[:3]
    broken[0] = False
    assert_same(resume(tmp_path / "r.h5", model=model), solve_mckean_vlasov(model, initial, TIMES))


@pytest.mark.parametrize("ends", ["true", "raises"])
def test_a_callback_hears_of_functionals_and_ends_a_run(ends, tmp_path) -> None:
    model, initial = CASES["line"]
    whole = solve_mckean_vlasov(model, initial, TIMES)
    heard: list = []

    def callback(time, functionals):
        heard.append((time, functionals.tolist()))
        if time == 1.0:
            return ends == "true" or 1 / 0
        return False

    path = tmp_path / "r.h5"
    if ends == "true":
        result = solve_mckean_vlasov(model, initial, TIMES, callback=callback, store=path)
        assert result.stats["interrupted"] is True
    else:
        with pytest.raises(ZeroDivisionError):
            solve_mckean_vlasov(model, initial, TIMES, callback=callback, store=path)
    assert heard == [(t, m) for t, m in zip(TIMES[:3], whole.functionals.tolist(), strict=False)]
    assert status(path) == ("interrupted" if ends == "true" else "failed")
    assert load(path).times.tolist() == TIMES[:3]
    assert_same(resume(path, model=model), whole)


def test_loaded_files_are_checked(tmp_path) -> None:
    model, initial = CASES["line"]
    solve_mckean_vlasov(model, initial, TIMES, store=tmp_path / "r.h5")
    with h5py.File(tmp_path / "r.h5", "r+") as file:
        file["frames/u"][...] *= 1.1
    with pytest.raises(StoreError, match="mass 1"):
        load(tmp_path / "r.h5")


def test_files_are_no_larger_than_repacked_ones(tmp_path) -> None:
    if shutil.which("h5repack") is None:
        pytest.skip("no h5repack on the path")
    model, initial = CASES["mean field"]
    path, packed = tmp_path / "r.h5", tmp_path / "packed.h5"
    run = solve_mckean_vlasov(model, initial, np.linspace(0.0, 2.0, 60), store=path)
    subprocess.run(["h5repack", path, packed], check=True)
    assert path.stat().st_size <= 1.2 * packed.stat().st_size
    assert_same(load(packed), run)


def test_a_full_disk_is_one_error_and_leaves_no_litter(tiny_disk) -> None:  # noqa: F811
    model, initial = CASES["mean field"]
    path = tiny_disk / "r.h5"
    sink = Hdf5Sink(path)
    with pytest.raises(StoreError, match="No space left") as caught:
        solve_mckean_vlasov(model, initial, np.linspace(0.0, 2.0, 4000), store=sink)
    assert caught.value.errno == errno.ENOSPC
    assert list(tiny_disk.iterdir()) == []  # The first lot of times was too large already.
