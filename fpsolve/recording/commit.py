"""Files that are whole at every moment: writes are gathered in memory and committed at once.

HDF5 updates its tables in place, in no particular order; a process killed in between leaves a file
that does not open, and a full disk makes the library fail where it cannot recover. So HDF5 writes
to a `CommittedFile` instead. A commit

1. appends what lies beyond the old end of the HDF5 data,
2. appends a trailer: the blocks that change in place, a digest of every page of the file as it will
   be, and a footer with the digest of the trailer itself,
3. changes those blocks in place.

Killed before the footer is written, the file still holds what the last commit left; killed after,
the trailer holds what is missing, and `CommittedFile.read_only` puts it in place. HDF5 ignores what
follows its data, so any HDF5 reader opens the file at any time, trailer or not. The same digests
find damage before HDF5 sees a damaged file.
"""

from __future__ import annotations

import errno
import hashlib
import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

from fpsolve.errors import StoreError

__all__ = ["CommittedFile", "Damaged"]

_PAGE = 1 << 15
_MAGIC = b"fpsolve trailer1"
# Magic, length of the HDF5 data, page size, changed blocks, bytes of them; then 16 bytes of digest.
_FOOTER = struct.Struct("<16sQIIQ")
_BLOCK = struct.Struct("<QI")
_DIGEST, _SEAL = 8, 16


_Blocks = list[tuple[int, bytearray]]


class Damaged(StoreError):
    """The bytes of a file are not those that were written."""


class _Trailer(NamedTuple):
    length: int
    blocks: dict[int, bytes]  # Offset -> what belongs there.
    table: bytes


class CommittedFile:
    """A seekable file for HDF5 to read and write, which reaches the disk by `commit` alone.

    Parameters
    ----------
    descriptor : int
        An open file; its owner closes it.

    Attributes
    ----------
    sealed : bool
        Whether the file has a trailer, whose digests `verify` checks.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._position = 0
        # What waits for the next commit: all that lies beyond the committed end, and pages below.
        self._fresh = bytearray()
        self._pages: dict[int, bytearray] = {}
        # Digests of whole fresh pages, known in advance; none reaches beyond so many bytes.
        self._digests: dict[int, bytes] = {}
        self._prepared = 0
        trailer = _read_trailer(descriptor)
        self.sealed = trailer is not None
        if trailer is None:
            self._committed = self._length = os.fstat(descriptor).st_size
            self._table = b""
        else:
            self._committed = self._length = trailer.length
            self._table = trailer.table
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

    def prepare(self) -> None:
        """Compute digests of whole pages now, so that the next commit takes less time."""
        whole = min(self._committed + len(self._fresh), self._length) // _PAGE
        for page in range(-(-self._committed // _PAGE), whole):
            if page not in self._digests:
                self._digests[page] = self._digest_of(page, self._length)
        self._prepared = whole * _PAGE

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
            commit may succeed.
        """
        self._durable |= durable
        length = max(self._length, self._committed)
        self._fresh.extend(bytes(max(length - self._committed - len(self._fresh), 0)))
        changed: _Blocks = [(page * _PAGE, data) for page, data in sorted(self._pages.items())]
        table = self._new_table(length)
        trailer = _packed(length, changed, table)
        old_trailer = _packed(self._committed, [], self._table) if self.sealed else b""
        self._settle()
        try:
            with memoryview(self._fresh) as fresh, fresh[: length - self._committed] as appended:
                _write_all(self._descriptor, appended, self._committed)
            self._wait()  # The trailer promises them.
            _write_all(self._descriptor, trailer, length)
            os.ftruncate(self._descriptor, length + len(trailer))
            self._wait()  # It can complete what follows.
        except OSError:
            os.ftruncate(self._descriptor, self._committed)
            _write_all(self._descriptor, old_trailer, self._committed)
            raise
        for offset, data in changed:
            _write_all(self._descriptor, data, offset)
        self._unsettled = bool(changed)
        self._fresh = bytearray()
        self._pages.clear()
        self._digests.clear()
        self._prepared = 0
        self._committed = self._length = length
        self._table, self.sealed = table, True

    def finish(self, *, durable: bool = True) -> None:
        """Commit, and shorten the trailer to the digests alone; `durable` as in `commit`."""
        self.commit()
        self._settle()
        trailer = _packed(self._committed, [], self._table)
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

    def verify(self) -> None:
        """Compare every page with its digest.

        Raises
        ------
        Damaged
            At the first page that differs.
        """
        for page, start in enumerate(range(0, self._committed, _PAGE)):
            data = self._get(start, min(_PAGE, self._committed - start))
            if _digest(data) != self._table[page * _DIGEST : (page + 1) * _DIGEST]:
                raise Damaged(f"is damaged: bytes {start} to {start + len(data)} have changed")

    # --- bytes -----------------------------------------------------------------------------------

    def _get(self, start: int, size: int) -> bytes:
        parts = []
        below = max(min(size, self._committed - start), 0)
        for page, low, high in _spans(start, below):
            if page in self._pages:
                parts.append(bytes(self._pages[page][low:high]))
            else:
                parts.append(self._stored(page * _PAGE + low, high - low))
        if size > below:
            at = start + below - self._committed
            found = bytes(self._fresh[at : at + size - below])
            parts += [found, bytes(size - below - len(found))]
        return b"".join(parts)

    def _put(self, start: int, data: memoryview) -> None:
        below = at = 0
        if start < self._committed:
            below = min(len(data), self._committed - start)
        for page, low, high in _spans(start, below):
            if page not in self._pages:
                most = min(_PAGE, self._committed - page * _PAGE)
                self._pages[page] = bytearray(self._stored(page * _PAGE, most))
            self._pages[page][low:high] = data[at : at + high - low]
            at += high - low
        if len(data) > below:
            at, end = start + below - self._committed, start + len(data) - self._committed
            if at > len(self._fresh):
                self._fresh.extend(bytes(at - len(self._fresh)))
            self._fresh[at:end] = data[below:] if below else data
            if start < self._prepared:
                for page, _, _ in _spans(start + below, end - at):
                    self._digests.pop(page, None)

    def _stored(self, start: int, size: int) -> bytes:
        """Read committed bytes; beyond them there are zeros."""
        known = max(min(size, self._committed - start), 0)
        try:
            data = os.pread(self._descriptor, known, start) if known else b""
        except OSError as error:
            # Its owner has let go of it; HDF5, closing late, writes what will never be committed.
            if error.errno != errno.EBADF:
                raise
            data = b""
        return data + bytes(size - len(data))

    def _new_table(self, length: int) -> bytes:
        """Return the digests of all pages, once the fresh bytes reach up to `length`."""
        count = -(-length // _PAGE)
        table = bytearray(self._table)
        table.extend(bytes(max(count * _DIGEST - len(table), 0)))
        # The page of the old end has grown even if nobody wrote to it; unsealed, none is known.
        begin = self._committed // _PAGE if self.sealed else 0
        for page in (self._pages.keys() | set(range(begin, count))) & set(range(count)):
            digest = self._digests.get(page) if (page + 1) * _PAGE <= length else None
            table[page * _DIGEST : (page + 1) * _DIGEST] = digest or self._digest_of(page, length)
        return bytes(table)

    def _digest_of(self, page: int, length: int) -> bytes:
        """Return the digest of a page of a file of `length` bytes."""
        start = page * _PAGE
        end = min(start + _PAGE, length)
        if start < self._committed:
            return _digest(self._get(start, end - start))
        own = slice(start - self._committed, end - self._committed)
        with memoryview(self._fresh) as fresh, fresh[own] as data:
            return _digest(data)


def _spans(start: int, size: int) -> Iterator[tuple[int, int, int]]:
    """Yield page, first and last byte within it, for `size` bytes from `start` on."""
    end = start + size
    while start < end:
        page, low = divmod(start, _PAGE)
        high = min(_PAGE, low + end - start)
        yield page, low, high
        start += high - low


def _digest(data: bytes | bytearray | memoryview, size: int = _DIGEST) -> bytes:
    return hashlib.blake2b(data, digest_size=size).digest()


def _packed(length: int, blocks: _Blocks, table: bytes) -> bytes:
    redo = b"".join(_BLOCK.pack(offset, len(data)) + bytes(data) for offset, data in blocks)
    body = redo + table + _FOOTER.pack(_MAGIC, length, _PAGE, len(blocks), len(redo))
    return body + _digest(body, _SEAL)


def _read_trailer(descriptor: int) -> _Trailer | None:
    """Return what `_packed` packed, or None if the file does not end in a whole trailer."""
    end = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, _FOOTER.size + _SEAL, max(end - _FOOTER.size - _SEAL, 0))
    if len(tail) < _FOOTER.size + _SEAL or not tail.startswith(_MAGIC):
        return None
    _, length, page, count, size = _FOOTER.unpack(tail[: _FOOTER.size])
    if page != _PAGE or not 0 <= length <= end or size > end - length:
        return None
    raw = os.pread(descriptor, end - length, length)
    body, seal = raw[:-_SEAL], raw[-_SEAL:]
    if _digest(body, _SEAL) != seal:
        return None
    blocks, at = {}, 0
    for _ in range(count):
        offset, n = _BLOCK.unpack_from(body, at)
        at += _BLOCK.size
        blocks[offset] = body[at : at + n]
        at += n
    return _Trailer(length, blocks, body[size : -_FOOTER.size])


def _write_all(descriptor: int, data: bytes | bytearray | memoryview, offset: int) -> None:
    done = os.pwrite(descriptor, data, offset) if data else 0
    while done < len(data):
        with memoryview(data) as view, view[done:] as rest:
            done += os.pwrite(descriptor, rest, offset + done)
