"""The benchmark writes its figures into the pages, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from validation.performance import presentation

ROOT = Path(__file__).parent.parent
METHODS = (*dict.fromkeys(one for one, _ in presentation._SHORT), "py-pde, another")


def row(method: str, setting: str, seconds: float) -> dict:
    return {
        "method": method, "setting": setting, "error": 3e-7, "seconds": seconds,
        "fastest": seconds, "runs": 3, "compile": 0.0,
    }  # fmt: skip


@pytest.fixture
def results() -> dict:
    """Made-up figures, each easily found."""
    rows = [row(m, s, 0.0123 * (i + 1)) for i, (m, s) in enumerate(presentation._SHORT)]
    growth = {"sizes": [8, 128], "slopes": dict.fromkeys(("seconds", "unknowns", "bytes"), 1.07)}
    growth |= {"last": growth["slopes"]}
    return {
        "contests": {name: {"title": name, "rows": rows} for name in ("fig1", "b3")},
        "machine": {**presentation.machine((0.1, 0.1, 0.1)), "seconds": 321.0},
        "targets": [
            {
                "problem": "p",
                "target": 1.0,
                "seconds": 0.5,
                "error": 1e-9,
                "unknowns": 7,
                "steps": 9,
            }
        ],
        "scaling": [
            {"of": of, **growth}
            for of in ("teacher values", "nodes of a Gaussian teacher", "levels")
        ],
        "threads": {"problems": 200, "one": 1.0, "two": 0.5, "processes": 0.52},
        "first": {"seconds": 17.3, "said": 0.4},
    }


def pages(root: Path) -> list[str]:
    return [(root / name).read_text() for name in ("README.md", "docs/performance.md")]


def test_pages_get_the_figures_and_keep_the_rest(results, tmp_path) -> None:
    (tmp_path / "docs").mkdir()
    for name in ("README.md", "docs/performance.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    presentation.publish(results, tmp_path)
    once = pages(tmp_path)
    for page in once:
        assert "| fpsolve | rtol 1e-06 | 3.0e-07 | 24.6 ms |" in page
    assert "17 s, and says so after 0.4 s" in once[1]
    assert "2.00 times as fast with two threads" in once[1]
    assert "power 1.07 from 8 to 128 nodes" in once[1]
    # Nothing but the blocks has changed, whatever they held.
    for page, before in zip(once, pages(ROOT), strict=True):
        assert outside(page) == outside(before)
    presentation.publish(results, tmp_path)
    assert pages(tmp_path) == once


def outside(page: str) -> list[str]:
    """What is in no block."""
    kept, inside = [], False
    for line in page.splitlines():
        inside = inside and "end -->" not in line
        if not inside:
            kept.append(line)
        inside = inside or ": begin, " in line
    return kept


def test_a_contest_of_all_methods_can_be_drawn(results, tmp_path) -> None:
    results["contests"]["fig1"]["rows"] += [row(m, "other", 1.0) for m in METHODS]
    presentation.write(results, tmp_path)
    assert (tmp_path / "work_precision.png").stat().st_size > 10_000
