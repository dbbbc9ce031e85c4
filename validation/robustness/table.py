"""What a run has shown, as a table for the terminal and for the documentation."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from validation.robustness.judge import PROMISED, reason_of
from validation.robustness.runner import BROKEN

__all__ = ["MOST_REFUSED", "holds", "one_line", "table"]

# Share of problems that may be refused.
MOST_REFUSED = 0.01
_SIGNS = {"generalization_error": "ε_g", "m": "m", "q": "q", "L1": "L¹ of the densities"}


def holds(records: Iterable[dict[str, Any]]) -> bool:
    """Whether nothing is broken and no more is refused than may be."""
    verdicts = Counter(r["verdict"] for r in records)
    refused = verdicts["refused"] <= math.ceil(MOST_REFUSED * verdicts.total())
    return refused and not any(verdicts[name] for name in BROKEN)


def table(records: list[dict[str, Any]]) -> str:
    """Return the tables as Markdown: verdicts, errors, times."""
    verdicts = Counter(r["verdict"] for r in records)
    lines = ["| outcome | problems |", "|---|---:|"]
    names = ["holds", "said", "refused", *BROKEN]
    shown = {"holds": "within the promise", "said": "beyond it, and a warning says so"}
    lines += [f"| {shown.get(n, n)} | {verdicts[n]} |" for n in names]
    lines += [f"| all | {len(records)} |", ""]
    lines += _reasons(records) + _errors(records) + _times(records)
    return "\n".join(lines)


def _reasons(records: list[dict[str, Any]]) -> list[str]:
    reasons = Counter(
        (r["verdict"], reason_of(s["refused"])[0])
        for r in records
        for s in r["stages"]
        if "refused" in s
    )
    if not reasons:
        return []
    lines = ["| ended with an error | reason | problems |", "|---|---|---:|"]
    lines += [f"| {v} | {why} | {n} |" for (v, why), n in sorted(reasons.items())]
    return [*lines, ""]


def _errors(records: list[dict[str, Any]]) -> list[str]:
    found = [s["errors"] for r in records for s in r["stages"] if "errors" in s]
    if not found:
        return []
    lines = ["| error, in units of rtol | promised | median | 99 % | largest |"]
    lines += ["|---|---:|---:|---:|---:|"]
    for name, most in PROMISED.items():
        median, high, top = np.quantile([e[name] for e in found], [0.5, 0.99, 1.0])
        lines.append(f"| {_SIGNS[name]} | {most:g} | {median:.2g} | {high:.2g} | {top:.2g} |")
    displaced = sum(e["L1"] > 100.0 >= e.get("L1 unless displaced", math.inf) for e in found)
    if displaced:
        lines += ["", f"L¹ is beyond it by displacement alone in {displaced}."]
    return [*lines, ""]


def _times(records: list[dict[str, Any]]) -> list[str]:
    lines = ["| seconds a solve | median | 99 % | longest |", "|---|---:|---:|---:|"]
    for name in ("loose", "tight"):
        by_rtol: dict[float, list[float]] = {}
        for r in records:
            for s in r["stages"]:
                if s["stage"] == name:
                    by_rtol.setdefault(s["rtol"], []).append(s["seconds"])
        for rtol, spent in sorted(by_rtol.items(), reverse=True):
            median, high, top = np.quantile(spent, [0.5, 0.99, 1.0])
            row = f"| rtol {rtol:g} ({len(spent)}) | {median:.2g} | {high:.2g} | {top:.3g} |"
            lines.append(row)
    return lines


def one_line(record: dict[str, Any]) -> str:
    """What one problem has come to."""
    parts = [f"{record['index']:6d} {record['verdict']:12}"]
    for s in record["stages"]:
        if "errors" in s:
            parts.append(" ".join(f"{n[:3]} {e:.2g}" for n, e in s["errors"].items()))
        else:
            parts.append(f"{s['stage']} {s['seconds']:.2f} s")
            parts += [s[key] for key in ("refused",) if key in s]
            parts += s.get("warned", [])
    if "crash" in record:
        parts.append(record["crash"].strip().splitlines()[-1])
    if "at" in record:
        parts.append(f"in {record['at']}")
    return " | ".join(parts)
