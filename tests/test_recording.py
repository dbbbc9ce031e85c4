"""One interface for whatever keeps a run: memory and files give back what they were handed."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import threading
import time

import h5py
import numpy as np
import pytest

from fpsolve import StoreError
from fpsolve.recording import commit, frames
from fpsolve.recording.behind import Behind
from fpsolve.recording.commit import CommittedFile
from fpsolve.recording.growth import Growth
from fpsolve.recording.hdf5 import Hdf5Sink
from fpsolve.recording.memory import MemorySink
from fpsolve.recording.ragged import RaggedWriter, read_ragged
from fpsolve.recording.sink import Ending, Sink, sink_for
from fpsolve.store.describe import describe

TIMES = np.array([0.0, 1.0, 4.0])


def density(index: int):
    """Arrays at one time: some of them of another shape at every time."""
    return {
        "time": TIMES[index],
        "generalization_error": np.float64(1.0 / (index + 1)),
        "left": np.arange(3 + index, dtype=np.float64),
        "u": np.full((4, 3 + index), float(index)),
        "first": np.array([0, 3 + index]),
        "order": np.int64(index),
        "dense_time": index + np.arange(index) / 4,
        "dense_m": np.arange(index) * 2.0,
    }


def particles(index: int):
    """The same of two runs."""
    weights = np.arange(6.0).reshape(2, 3) + index
    along = np.arange(2.0 * index).reshape(2, index)
    return {
        "time": TIMES[index],
        "weights": weights,
        "m": weights.mean(axis=1),
        "dense_time": index + np.arange(index) / 4,
        "dense_m": along,
    }


def line(index: int):
    """The same of any McKean–Vlasov equation."""
    return {
        "time": TIMES[index],
        "functionals": np.array([1.0, index]),
        "dense_time": index + np.arange(index) / 4,
        "dense_functionals": np.ones((index, 2)) * index,
        "u": np.full((4, 3 + index), float(index)),
    }


KINDS = {"density": density, "particles": particles, "mckean-vlasov": line}


def block(kind: str, start: int, stop: int):
    """Several times as a solver hands them over."""
    rows = [KINDS[kind](index) for index in range(start, stop)]
    joined = {}
    for name in rows[0]:
        column = [np.asarray(row[name]) for row in rows]
        if name.startswith("dense_"):
            axis = -1 if kind == "particles" else 0
            joined[name] = np.concatenate(column, axis=axis)
        elif name in ("m", "weights"):
            joined[name] = np.stack(column, axis=1)
        elif name in ("time", "generalization_error", "functionals"):
            joined[name] = np.stack(column)
        else:
            joined[name] = column
    joined["dense_end"] = np.cumsum([row["dense_time"].size for row in rows])
    return joined


@pytest.fixture(params=["memory", "hdf5"])
def sink(request, tmp_path):
    return MemorySink() if request.param == "memory" else Hdf5Sink(tmp_path / "r.h5")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cut", [1, 2, 3])
def test_frames_come_back_as_they_were(sink, kind, cut, linear_problem) -> None:
    assert isinstance(sink, Sink)
    problem = None if kind == "mckean-vlasov" else linear_problem
    sink.open(kind, problem, TIMES, {"rtol": 1e-6}, constants={"c": [1.0, 2.0]})
    for start, stop in ((0, cut), (cut, 3)):
        if start < stop:
            handed = block(kind, start, stop)
            sink.extend(start, handed)
            for column in handed.values():  # The solver goes on with its own arrays.
                for array in column if isinstance(column, list) else [column]:
                    array.fill(77)
    sink.close(Ending("completed", {"steps": 3}), {"u": np.ones(2), "step": 5})
    assert len(sink.frames) == 3
    for index, kept in enumerate(sink.frames):
        expected = KINDS[kind](index)
        assert kept.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_array_equal(kept[name], value, err_msg=name)
            assert np.asarray(kept[name]).dtype == np.asarray(value).dtype
    for name in ("dense_time", "time"):
        joined = [np.atleast_1d(KINDS[kind](index)[name]) for index in range(3)]
        np.testing.assert_array_equal(sink.series(name), np.concatenate(joined))
    assert isinstance(sink, MemorySink) or sink.state is None
    state = sink.state if isinstance(sink, MemorySink) else Hdf5Sink(sink.path, resume=True).state
    np.testing.assert_array_equal(state["u"], np.ones(2))
    assert state["step"] == 5


def test_a_file_passes_over_what_it_holds(tmp_path) -> None:
    # A resumed run comes past times it has handed over after its last checkpoint.
    sink = Hdf5Sink(tmp_path / "r.h5")
    sink.open("mckean-vlasov", None, TIMES, {})
    sink.extend(0, block("mckean-vlasov", 0, 2))
    sink.checkpoint({"step": 1})
    sink.abandon()
    again = Hdf5Sink(tmp_path / "r.h5", resume=True)
    again.open("mckean-vlasov", None, TIMES, {})
    again.extend(0, block("mckean-vlasov", 0, 1))
    again.extend(1, block("mckean-vlasov", 1, 3))
    again.close(Ending())
    for index, kept in enumerate(again.frames):
        for name, value in line(index).items():
            np.testing.assert_array_equal(kept[name], value, err_msg=name)


def test_checkpoints_are_due_at_intervals() -> None:
    assert MemorySink(interval=0.0).checkpoint_due()
    assert not MemorySink(interval=1e6).checkpoint_due()


def test_no_path_is_memory() -> None:
    assert isinstance(sink_for(None), MemorySink)
    sink = MemorySink()
    assert sink_for(sink) is sink


def test_many_frames_are_read_in_blocks_and_looked_up_once(tmp_path, monkeypatch) -> None:
    # Looked up for each block, the places of all times would take the square of their number.
    looked_up = []
    monkeypatch.setattr("fpsolve.recording.frames._MOST", 1)
    for name in ("ragged_shapes", "ragged_meshes"):
        known = getattr(frames, name)
        monkeypatch.setattr(frames, name, lambda *a, known=known: looked_up.append(a) or known(*a))
    sink = Hdf5Sink(tmp_path / "r.h5")
    sink.open("mckean-vlasov", None, TIMES, {})
    sink.extend(0, block("mckean-vlasov", 0, 3))
    sink.close(Ending())
    stored = sink.frames
    assert [float(frame["time"]) for frame in stored] == TIMES.tolist()
    assert len(looked_up) == 2
    assert [frame["u"].shape for frame in stored[1:]] == [(4, 4), (4, 5)]
    assert [float(frame["time"]) for frame in stored[::-2]] == TIMES[::-2].tolist()
    assert len(looked_up) == 2
    assert stored[1:1] == []


def test_a_killed_run_is_told_from_one_that_goes_on(tmp_path, linear_problem) -> None:
    path = tmp_path / "r.h5"
    sink = Hdf5Sink(path)
    sink.open("density", linear_problem, TIMES, {})
    sink.checkpoint({"step": 1})
    assert describe(path)["kind"] == "density, running"
    sink.abandon()
    assert describe(path)["kind"] == "density, killed"


def meshed(number: int, count: int, left: list[float]):
    """Times from `number` on, all with the same mesh."""
    times = np.arange(number, number + count, dtype=np.float64)
    rows = [np.full((4, len(left)), time) for time in times]
    meshes = [np.array(left) for _ in times]
    return {"time": times, "dense_end": np.zeros(count, dtype=int), "left": meshes, "u": rows}


def test_a_mesh_is_stored_once_while_it_stays(tmp_path, linear_problem) -> None:
    path = tmp_path / "r.h5"
    sink = Hdf5Sink(path)
    sink.open("density", linear_problem, np.arange(9.0), {})
    blocks = [meshed(0, 2, [0.0, 1.0]), meshed(2, 2, [0.0, 1.0]), meshed(4, 1, [-0.0, 1.0])]
    for block_ in blocks:
        sink.extend(int(block_["time"][0]), block_)
    sink.close(Ending("interrupted"), {"step": 1})
    with h5py.File(path) as file:  # Zeros of either sign are different bits.
        assert file["frames/mesh"][...].tolist() == [0, 0, 0, 0, 1]
        assert file["frames/left_shape"][...].tolist() == [[2], [2]]
    again = Hdf5Sink(path, resume=True)
    again.open("density", linear_problem, np.arange(9.0), {})
    again.extend(5, meshed(5, 4, [0.0, 0.5, 1.0]))
    again.close(Ending())
    lefts = [[0.0, 1.0]] * 4 + [[-0.0, 1.0]] + [[0.0, 0.5, 1.0]] * 4
    for frame, left in zip(again.frames, lefts, strict=True):
        assert frame["left"].tobytes() == np.array(left).tobytes()
        assert (frame["u"] == frame["time"]).all()
    assert again.frames[4]["left"].tobytes() == np.array([-0.0, 1.0]).tobytes()


def test_a_checkpoint_comes_after_what_it_promises(tmp_path, monkeypatch) -> None:
    real = Growth.append

    def slow(self, blocks) -> None:
        time.sleep(0.2)
        real(self, blocks)

    monkeypatch.setattr(Growth, "append", slow)
    sink = Hdf5Sink(tmp_path / "r.h5")
    sink.open("mckean-vlasov", None, TIMES, {})
    sink.extend(0, block("mckean-vlasov", 0, 2))
    sink.checkpoint({"count": 2})
    with h5py.File(tmp_path / "r.h5") as file:
        assert file["time"].size == file["checkpoint"].attrs["count"] == 2
    sink.abandon()


def test_what_fails_behind_is_raised_where_the_run_goes_on(tmp_path, monkeypatch) -> None:
    sink = Hdf5Sink(tmp_path / "r.h5")
    sink.open("mckean-vlasov", None, TIMES, {})
    sink.checkpoint({"count": 0})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    monkeypatch.setattr("fpsolve.recording.hdf5._SECONDS", 0.0)
    sink.extend(0, block("mckean-vlasov", 0, 1))
    with pytest.raises(StoreError, match="No space left") as caught:
        sink.close(Ending())
    assert caught.value.errno == 28
    monkeypatch.undo()
    assert Hdf5Sink(tmp_path / "r.h5", resume=True).state == {"count": 0}


def test_calls_are_made_in_order_by_one_thread_and_few_wait() -> None:
    behind, done, gate = Behind(), [], threading.Event()

    def call(number: int) -> None:
        gate.wait(10)
        done.append((number, threading.current_thread()))

    behind.do(call, 0)
    behind.do(call, 1)
    assert not behind.idle()
    third = threading.Thread(target=behind.do, args=(call, 2))
    third.start()
    third.join(0.1)
    assert third.is_alive(), "there is room for two"
    gate.set()
    third.join(10)
    behind.wait()
    assert [number for number, _ in done] == [0, 1, 2]
    assert len({thread for _, thread in done}) == 1
    behind.stop()
    done[0][1].join(10)
    assert not done[0][1].is_alive()


def test_no_call_is_made_after_one_that_failed() -> None:
    behind, done = Behind(), []
    behind.do(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        behind.wait()
    with pytest.raises(ZeroDivisionError):
        behind.do(done.append, 1)
    behind.stop()
    behind.do(done.append, 1)
    behind.stop()
    assert done == []


class Disk:
    """What a file's disk has got when the power goes: all until `fsync`, of the rest any part."""

    def __init__(self, monkeypatch) -> None:
        self.safe, self.loose = [], []
        for name in ("pwrite", "ftruncate", "fsync"):
            monkeypatch.setattr(os, name, self._noted(name, getattr(os, name)))

    def _noted(self, name, real):
        def call(descriptor, *arguments):
            if name == "fsync":
                self.safe += self.loose
                self.loose = []
                return None
            noted = [bytes(a) if isinstance(a, memoryview) else a for a in arguments]
            self.loose.append((name, noted))
            return real(descriptor, *arguments)

        return call

    def image(self, rng) -> bytes:
        data = bytearray()
        for name, (first, *rest) in self.safe + [c for c in self.loose if rng.random() < 0.5]:
            if name == "pwrite":
                data.extend(bytes(max(rest[0] + len(first) - len(data), 0)))
                data[rest[0] : rest[0] + len(first)] = first
            else:
                del data[first:]
                data.extend(bytes(first - len(data)))
        return bytes(data)


def test_a_loss_of_power_leaves_what_was_committed(tmp_path, monkeypatch) -> None:
    # Contents are noise, parts of which every commit changes; power goes after any call.
    disk, rng = Disk(monkeypatch), np.random.default_rng(5)
    states: list[bytes] = []
    seen = {False: 0, True: 0}

    def check() -> None:
        for _ in range(3):
            (tmp_path / "copy").write_bytes(disk.image(rng))
            with (tmp_path / "copy").open("rb") as copy:
                stored = CommittedFile(copy.fileno())
                content = stored.read()
                seen[stored.sealed] += 1
            # While a commit goes on, its own state or the one before.
            assert any(content[: len(state)] == state for state in states[-2:])

    with (tmp_path / "r").open("w+b") as raw:
        file, now = CommittedFile(raw.fileno()), bytearray()
        for number in range(6):
            now += rng.bytes(50_000)
            start = int(rng.integers(len(now) - 9000))
            now[start : start + 9000] = rng.bytes(9000)
            file.seek(0)
            file.write(memoryview(bytes(now)))
            states.append(bytes(now))
            if number == 0:
                file.commit(durable=True)
            real = os.pwrite

            def watched(*arguments, real=real):
                done = real(*arguments)
                check()
                return done

            monkeypatch.setattr(os, "pwrite", watched)
            file.commit() if number < 5 else file.finish()
            monkeypatch.setattr(os, "pwrite", real)
        check()
    assert min(seen.values()) > 10


def test_a_committed_file_is_a_file(tmp_path, monkeypatch) -> None:
    # Writes at random, over what is committed, what is ahead of it and what is neither, against
    # bytes in memory; another reader sees what was committed last, and a copy verifies.
    monkeypatch.setattr(commit, "_LOT", 1)
    rng, ahead = np.random.default_rng(3), 0
    for number in range(20):
        now, kept = bytearray(), b""
        with (tmp_path / f"{number}").open("w+b") as raw:
            file = CommittedFile(raw.fileno())
            for _ in range(30):
                start = int(rng.integers(len(now) + 1))
                data = rng.bytes(int(rng.integers(1, 100_000)))
                now[start : start + len(data)] = data
                file.seek(start)
                file.write(memoryview(data))
                what = rng.random()
                if what < 0.1:
                    file.commit()
                    kept = bytes(now)
                elif what < 0.6:
                    file.write_ahead()
                    ahead += file._ahead > 0
                start = int(rng.integers(len(now)))
                file.seek(start)
                assert file.read(70_000) == now[start : start + 70_000]
                with (tmp_path / f"{number}").open("rb") as reader:
                    assert CommittedFile(reader.fileno()).read(len(kept)) == kept
            if number % 2:
                file.finish()
                kept = bytes(now)
            else:
                file.let_go()
        with (tmp_path / f"{number}").open("rb") as reader:
            stored = CommittedFile(reader.fileno())
            stored.verify()
            assert stored.read() == kept
            assert stored.sealed == bool(kept)
    assert ahead > 50


def test_what_is_ahead_of_a_commit_is_not_there_yet(tmp_path, monkeypatch) -> None:
    # Killed before the commit, a run leaves a file that every reader opens, and goes on.
    monkeypatch.setattr(commit, "_LOT", 1)
    path, many = tmp_path / "r.h5", np.arange(4096.0)
    sink = Hdf5Sink(path)
    sink.open("mckean-vlasov", None, TIMES, {})
    sink.extend(0, {"time": TIMES[:2], "dense_end": np.zeros(2, int), "u": [many] * 2})
    sink.extend(2, {"time": TIMES[2:], "dense_end": np.zeros(1, int), "u": [np.tile(many, 40)]})
    sink._behind.wait()
    content = path.read_bytes()
    assert len(content) > 2**19
    (tmp_path / "killed.h5").write_bytes(content)
    with h5py.File(tmp_path / "killed.h5") as file:
        assert file["time"].size == 0
    assert describe(tmp_path / "killed.h5")["kind"] == "mckean-vlasov, killed"
    again = Hdf5Sink(tmp_path / "killed.h5", resume=True)
    assert (again.count, again.state) == (0, None)
    again.abandon()
    sink.abandon()
    assert path.stat().st_size < 2**16
    with h5py.File(path) as file:
        assert file["time"].size == 0


def test_older_trailers_are_read_and_replaced(tmp_path) -> None:
    rng = np.random.default_rng(1)
    content = rng.bytes(100_000)
    pages = [content[at : at + 32768] for at in range(0, len(content), 32768)]
    table = b"".join(hashlib.blake2b(page, digest_size=8).digest() for page in pages)
    footer = struct.pack("<16sQIIQ", b"fpsolve trailer1", len(content), 32768, 0, 0)
    seal = hashlib.blake2b(table + footer, digest_size=16).digest()
    (tmp_path / "r").write_bytes(content + table + footer + seal)
    with (tmp_path / "r").open("r+b") as raw:
        file = CommittedFile(raw.fileno())
        assert file.read() == content
        file.verify()
        os.pwrite(raw.fileno(), bytes([content[50_000] ^ 1]), 50_000)
        with pytest.raises(StoreError, match="damaged"):
            file.verify()
        os.pwrite(raw.fileno(), content[50_000:50_001], 50_000)
        file.seek(70_000)
        file.write(memoryview(b"new"))
        file.commit()
    with (tmp_path / "r").open("rb") as raw:
        file = CommittedFile(raw.fileno())
        file.verify()
        assert file.read() == content[:70_000] + b"new" + content[70_003:]
    assert b"fpsolve trailer2" in (tmp_path / "r").read_bytes()[-56:]


def test_meshes_are_told_apart_bit_by_bit() -> None:
    # Random ones, of few kinds, in random blocks: each comes back, and none is written twice.
    rng = np.random.default_rng(2)
    kinds = [np.empty(0), np.zeros(2), -np.zeros(2), np.array([np.nan, 0.0]), np.zeros(3)]
    for number in range(50):
        picked = (
            rng.integers(len(kinds), size=40) if number % 2 else np.sort(rng.integers(5, size=40))
        )
        rows = [kinds[at] if rng.random() < 0.5 else kinds[at].copy() for at in picked]
        others = [np.arange(at, dtype=np.int64) for at in np.minimum(picked, 3)]
        with h5py.File(io.BytesIO(), "w") as file:
            writer, cuts = RaggedWriter(file), np.sort(rng.integers(1, 40, size=3))
            for part in np.split(np.arange(40), np.unique(cuts)):
                columns = {"left": rows, "first": others}
                writer.append({name: [of[at] for at in part] for name, of in columns.items()})
            writer.write()
            read = read_ragged(file, 40)
            assert file["frames/left_shape"].shape[0] == 1 + np.count_nonzero(np.diff(picked))
        for row, other, left, first in zip(rows, others, read["left"], read["first"], strict=True):
            assert left.tobytes() == row.tobytes()
            assert first.tobytes() == other.tobytes()
