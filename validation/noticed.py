"""Which deliberate error has turned which gate red: the record of `--mutations --record`."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

from validation.gates import Gate

__all__ = ["RECORD", "gate_id", "noticed"]

RECORD = Path(__file__).parent / "noticed.json"


def gate_id(name: str) -> str:
    """Return the name of a gate without the numbers in it, which change with sizes and seeds."""
    return re.sub(r"[-−+]?\d+(?:[.,]\d+)?(?:e[-−+]?\d+)?", "#", name)


@cache
def _record() -> dict[str, dict[str, list[str]]]:
    return json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}


def noticed(item: str, gate: Gate) -> list[str]:
    """Return the deliberate errors that have turned the gate red."""
    return _record().get(item, {}).get(gate_id(gate.name), [])
