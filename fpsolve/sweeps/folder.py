"""A folder of answers: one small file a batch, there whole or not at all."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpsolve.errors import StoreError
from fpsolve.recording.target import new_file, put_in_place, refusal
from fpsolve.sweeps.batch import Outcome, unpack

__all__ = ["Folder"]


class Folder:
    """Answers kept on disk, each under the key of its point.

    Any number of processes may write to one folder: files are named by what they hold.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        try:
            self._path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{path}: cannot be a folder: {error.strerror}") from None

    def known(self) -> dict[str, Outcome]:
        """Return every answer kept, and every refusal that would come again."""
        found: dict[str, Outcome] = {}
        for file in sorted(self._path.glob("batch-*.npz")):
            try:
                with open(file, "rb") as raw, np.load(raw, allow_pickle=False) as packed:
                    held = {name: packed[name] for name in packed.files}
                outcomes = unpack(held)
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
                continue  # a damaged file is as good as none: its points are solved again
            kept = (o for o in outcomes if o.key and (o.answer is not None or o.final))
            found.update((outcome.key, outcome) for outcome in kept)
        return found

    def keep(self, packed: Mapping[str, NDArray[Any]]) -> None:
        """Write a batch, then give it its name: readers see all of it or nothing.

        Raises
        ------
        StoreError
            If the file system refuses.
        """
        digest = hashlib.blake2b("".join(packed["key"]).encode(), digest_size=12).hexdigest()
        path = self._path / f"batch-{digest}.npz"
        try:
            with new_file(path) as new:
                with open(new.descriptor, "wb", closefd=False) as file:
                    np.savez(file, **packed)  # type: ignore[arg-type]
                put_in_place(new, path, overwrite=True)
        except FileExistsError:
            return  # Another process has answered the same.
        except OSError as error:
            raise refusal(path, error) from None
