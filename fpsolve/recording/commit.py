"""Files that are whole at every moment: writes are gathered in memory and committed at once.

HDF5 updates its tables in place, in no particular order; a process killed in between leaves a file
that does not open, and a full disk makes the library fail where it cannot recover. So HDF5 writes
to a `CommittedFile` instead. A commit

1. appends what lies beyond the old end of the HDF5 data,
2. appends a trailer: the blocks that change in place, a checksum of every page of the file as it
   will be, and a footer with the digest of the trailer itself,
3. changes those blocks in place.

Killed before the footer is written, the file still holds what the last commit left; killed after,
the trailer holds what is missing, and `CommittedFile.read_only` puts it in place. HDF5 ignores what
follows its data, so any HDF5 reader opens the file at any time, trailer or not. The same checksums
find damage before HDF5 sees a damaged file. They are CRC-32, for the run has to wait for them:
5 GB/s, where BLAKE2b, which older files have, comes to 1.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from fpsolve.errors import StoreError

__all__ = ["CommittedFile", "Damaged"]

# Bytes of a page, and those that are worth being written ahead.
_PAGE, _LOT = 1 << 15, 1 << 19
_MAGIC, _OLD_MAGIC = b"fpsolve trailer2", b"fpsolve trailer1"
# Magic, length of the HDF5 data, page size, changed blocks, bytes of them; then 16 bytes of digest.
_FOOTER = struct.Struct("<16sQIIQ")
_BLOCK = struct.Struct("<QI")
_SEAL = 16


_Blocks = list[tuple[int, bytearray]]


class _Checksum(NamedTuple):
    """How the table of a trailer knows pages: bytes of each entry, and what computes it."""

    size: int
    of: Callable[[bytes | bytearray | memoryview], bytes]


_CRC = _Checksum(4, lambda data: zlib.crc32(data).to_bytes(4, "little"))
_CHECKSUMS = {
    _MAGIC: _CRC,
    _OLD_MAGIC: _Checksum(8, lambda data: hashlib.blake2b(data, digest_size=8).digest()),
}


class Damaged(StoreError):
    """The bytes of a file are not those that were written."""


class _Trailer(NamedTuple):
    length: int
    blocks: dict[int, bytes]  # Offset -> what belongs there.
    table: bytes
    checksum: _Checksum


class CommittedFile:
    """A seekable file for HDF5 to read and write, which reaches the disk by `commit` alone.

    Parameters
    ----------
    descriptor : int
        An open file; its owner closes it.

    Attributes
    ----------
    sealed : bool
        Whether the file has a trailer, whose checksums `verify` compares.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._position = 0
        # What waits for the next commit: all that lies beyond the committed end, and pages below.
        self._fresh = bytearray()
        self._pages: dict[int, bytearray] = {}
        # Bytes that are on the disk ahead of it, in front of the fresh ones; checksums of pages of
        # them that stay as they are; and what has failed there.
        self._ahead = 0
        self._sums: dict[int, bytes] = {}
        self._failed: OSError | None = None
        self._gone = False
        trailer = _read_trailer(descriptor)
        self.sealed = trailer is not None
        if trailer is None:
            self._committed = self._length = os.fstat(descriptor).st_size
            self._table, self._checksum = b"", _CRC
        else:
            self._committed = self._length = trailer.length
            self._table, self._checksum = trailer.table, trailer.checksum
            for offset, block in trailer.blocks.items():
                self._put(offset, memoryview(block))
        # Whether a loss of power must leave a whole file; and whether blocks that a commit has
        # changed in place may not be on the disk yet.
        self._durable, self._unsettled = self._committed > 0, True

    # --- what HDF5 calls -------------------------------------------------------------------------

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Return `size` bytes from the position on, fewer at the end."""
        rest = max(self._length - self._position, 0)
        data = self._get(self._position, rest if size < 0 else min(size, rest))
        self._position += len(data)
        return data

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer` from the position on; return how much of it."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def write(self, data: memoryview) -> int:
        """Put `data` at the position."""
        self._put(self._position, data)
        self._position += len(data)
        self._length = max(self._length, self._position)
        return len(data)

    def truncate(self, size: int) -> int:
        """Set the length."""
        self._length = size
        return size

    def flush(self) -> None:
        """Do nothing: only `commit` writes."""

    # --- what its owner calls --------------------------------------------------------------------

    def write_ahead(self) -> None:
        """Write what there is much of ahead of the next commit, which then takes less time.

        It goes over the trailer; until that commit the file holds what it held, for every reader,
        but nothing finds damage in it. So this is for a file in which nothing was reached.

        Raises
        ------
        OSError
            If the disk is full or fails.
        """
        known = self._known
        whole = (known + len(self._fresh)) // _PAGE * _PAGE - known
        if whole < _LOT:
            return
        with memoryview(self._fresh) as fresh, fresh[:whole] as data:
            _write_all(self._descriptor, data, known)
            for page in range(-(-known // _PAGE), (known + whole) // _PAGE):
                at = page * _PAGE - known
                with data[at : at + _PAGE] as part:
                    self._sums[page] = _CRC.of(part)
        del self._fresh[:whole]
        self._ahead += whole

    def commit(self, *, durable: bool = False) -> None:
        """Put everything on disk, whole or not at all.

        Parameters
        ----------
        durable : bool, default False
            Wait until the disk itself has it, so that it survives a loss of power. A file for which
            that was done once is so for good: every further commit waits too.

        Raises
        ------
        OSError
            If the disk is full or fails; the file is then what the last commit left, and a later
            commit may succeed, unless something was written ahead.
        """
        if self._failed is not None:
            raise self._failed
        self._durable |= durable
        known = self._known
        length = max(self._length, known)
        self._fresh.extend(bytes(max(length - known - len(self._fresh), 0)))
        changed: _Blocks = [(page * _PAGE, data) for page, data in sorted(self._pages.items())]
        table = self._new_table(length)
        trailer = _packed(length, changed, table)
        self._settle()
        try:
            with memoryview(self._fresh) as fresh, fresh[: length - known] as appended:
                _write_all(self._descriptor, appended, known)
            self._wait()  # The trailer promises them.
            _write_all(self._descriptor, trailer, length)
            os.ftruncate(self._descriptor, length + len(trailer))
            self._wait()  # It can complete what follows.
        except OSError as error:
            self._failed = error if self._ahead else None
            self._take_back()
            raise
        for offset, data in changed:
            _write_all(self._descriptor, data, offset)
        self._unsettled = bool(changed)
        self._fresh = bytearray()
        self._pages.clear()
        self._sums.clear()
        self._ahead = 0
        self._committed = self._length = length
        self._table, self._checksum, self.sealed = table, _CRC, True

    def let_go(self) -> None:
        """Leave the file as the last commit left it, and write to it no more."""
        if self._ahead and not self._gone:
            with contextlib.suppress(OSError):
                self._take_back()
        self._gone = True

    def _take_back(self) -> None:
        os.ftruncate(self._descriptor, self._committed)
        if self.sealed:
            _write_all(self._descriptor, self._trailer(), self._committed)

    def finish(self, *, durable: bool = True) -> None:
        """Commit, and shorten the trailer to the checksums alone; `durable` as in `commit`."""
        self.commit()
        self._settle()
        trailer = self._trailer()
        # A longer trailer may stand there; a footer is looked for at the very end of the file.
        _write_all(self._descriptor, trailer, self._committed)
        os.ftruncate(self._descriptor, self._committed + len(trailer))
        if durable or self._durable:
            os.fsync(self._descriptor)

    def _settle(self) -> None:
        """Wait for blocks changed in place: the trailer that could restore them is to go."""
        if self._unsettled:
            self._wait()
        self._unsettled = False

    def _wait(self) -> None:
        """Wait for the disk, which writes in an order of its own."""
        if self._durable:
            os.fsync(self._descriptor)

    def _trailer(self) -> bytes:
        """Return the trailer of what is committed."""
        magic = next(m for m, checksum in _CHECKSUMS.items() if checksum is self._checksum)
        return _packed(self._committed, [], self._table, magic)

    def verify(self) -> None:
        """Compare every page with its checksum.

        Raises
        ------
        Damaged
            At the first page that differs.
        """
        for page, start in enumerate(range(0, self._committed, _PAGE)):
            data = self._get(start, min(_PAGE, self._committed - start))
            size, of = self._checksum
            if of(data) != self._table[page * size : (page + 1) * size]:
                raise Damaged(f"is damaged: bytes {start} to {start + len(data)} have changed")

    # --- bytes -----------------------------------------------------------------------------------

    @property
    def _known(self) -> int:
        """Where the fresh bytes begin."""
        return self._committed + self._ahead

    def _get(self, start: int, size: int) -> bytes:
        parts = []
        below = max(min(size, self._committed - start), 0)
        for page, low, high in _spans(start, below):
            if page in self._pages:
                parts.append(bytes(self._pages[page][low:high]))
            else:
                parts.append(self._stored(page * _PAGE + low, high - low))
        ahead = max(min(size, self._known - start), 0) - below
        if ahead:
            parts.append(self._stored(start + below, ahead))
        rest = size - below - ahead
        if rest:
            at = start + size - rest - self._known
            found = bytes(self._fresh[at : at + rest])
            parts += [found, bytes(rest - len(found))]
        return b"".join(parts)

    def _put(self, start: int, data: memoryview) -> None:
        below = min(len(data), max(self._known - start, 0))
        if below:
            self._put_below(start, data[:below])
            data = data[below:]
        fresh, at = self._fresh, start + below - self._known
        if at > len(fresh):
            fresh.extend(bytes(at - len(fresh)))
        inside = min(len(data), len(fresh) - at)
        if inside:
            with memoryview(
                fresh
            ) as there:  # Assigned to a slice of it, data would be copied twice.
                there[at : at + inside] = data[:inside]
            data = data[inside:]
        fresh += data

    def _put_below(self, start: int, data: memoryview) -> None:
        """Keep what is written over what is committed; what is only ahead, write there at once.

        HDF5 must not meet a failure, which it might not survive; the next commit does.
        """
        below = max(min(len(data), self._committed - start), 0)
        at = 0
        for page, low, high in _spans(start, below):
            if page not in self._pages:
                most = min(_PAGE, self._committed - page * _PAGE)
                self._pages[page] = bytearray(self._stored(page * _PAGE, most))
            self._pages[page][low:high] = data[at : at + high - low]
            at += high - low
        if below == len(data):
            return
        for page, _, _ in _spans(start + below, len(data) - below):
            self._sums.pop(page, None)
        if self._gone:  # HDF5 closes late; the descriptor may be that of another file.
            return
        try:
            _write_all(self._descriptor, data[below:], start + below)
        except OSError as error:
            self._failed = error

    def _stored(self, start: int, size: int) -> bytes:
        """Read bytes on the disk; beyond them there are zeros."""
        known = max(min(size, self._known - start), 0)
        try:
            data = os.pread(self._descriptor, known, start) if known else b""
        except OSError as error:
            # Its owner has let go of it; HDF5, closing late, writes what will never be committed.
            if error.errno != errno.EBADF:
                raise
            data = b""
        return data + bytes(size - len(data))

    def _new_table(self, length: int) -> bytes:
        """Return the checksums of all pages, once the fresh bytes reach up to `length`."""
        count, (size, of) = -(-length // _PAGE), _CRC
        known = self.sealed and self._checksum is _CRC
        table = bytearray(self._table) if known else bytearray()
        table.extend(bytes(max(count * size - len(table), 0)))
        # The page of the old end has grown even if nobody wrote to it.
        begin = self._committed // _PAGE if known else 0
        for page in (self._pages.keys() | set(range(begin, count))) & set(range(count)):
            start, end = page * _PAGE, min((page + 1) * _PAGE, length)
            if page in self._sums:
                found = self._sums[page]
            elif start < self._known:
                found = of(self._get(start, end - start))
            else:
                own = slice(start - self._known, end - self._known)
                with memoryview(self._fresh) as fresh, fresh[own] as data:
                    found = of(data)
            table[page * size : (page + 1) * size] = found
        return bytes(table)


def _spans(start: int, size: int) -> Iterator[tuple[int, int, int]]:
    """Yield page, first and last byte within it, for `size` bytes from `start` on."""
    end = start + size
    while start < end:
        page, low = divmod(start, _PAGE)
        high = min(_PAGE, low + end - start)
        yield page, low, high
        start += high - low


def _seal(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_SEAL).digest()


def _packed(length: int, blocks: _Blocks, table: bytes, magic: bytes = _MAGIC) -> bytes:
    redo = b"".join(_BLOCK.pack(offset, len(data)) + bytes(data) for offset, data in blocks)
    body = redo + table + _FOOTER.pack(magic, length, _PAGE, len(blocks), len(redo))
    return body + _seal(body)


def _read_trailer(descriptor: int) -> _Trailer | None:
    """Return what `_packed` packed, or None if the file does not end in a whole trailer."""
    end = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, _FOOTER.size + _SEAL, max(end - _FOOTER.size - _SEAL, 0))
    checksum = _CHECKSUMS.get(tail[: len(_MAGIC)])
    if len(tail) < _FOOTER.size + _SEAL or checksum is None:
        return None
    _, length, page, count, size = _FOOTER.unpack(tail[: _FOOTER.size])
    if page != _PAGE or not 0 <= length <= end or size > end - length:
        return None
    raw = os.pread(descriptor, end - length, length)
    body, seal = raw[:-_SEAL], raw[-_SEAL:]
    if _seal(body) != seal:
        return None
    blocks, at = {}, 0
    for _ in range(count):
        offset, n = _BLOCK.unpack_from(body, at)
        at += _BLOCK.size
        blocks[offset] = body[at : at + n]
        at += n
    return _Trailer(length, blocks, body[size : -_FOOTER.size], checksum)


def _write_all(descriptor: int, data: bytes | bytearray | memoryview, offset: int) -> None:
    done = os.pwrite(descriptor, data, offset) if data else 0
    while done < len(data):
        with memoryview(data) as view, view[done:] as rest:
            done += os.pwrite(descriptor, rest, offset + done)
