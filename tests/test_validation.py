"""The validation itself: its verdicts, its report in a browser, and what it notices."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from validation.catalogue import ITEMS, Result, load_item, work_out
from validation.gates import Gate, fitted_slope, normal_limit, student_limit
from validation.mutations import MUTATIONS, mutated
from validation.report import summary, write_report
from validation.runner import run

ROOT = Path(__file__).parents[1]
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
# Items of a second or so, of every kind of content: picture, table, gates.
CHEAP = ["fig7", "moment_identities", "errata"]


@pytest.fixture(scope="module")
def results() -> list[Result]:
    return [work_out(name, True) for name in CHEAP]


@pytest.mark.parametrize("name", ITEMS)
def test_items_say_what_they_are(name: str) -> None:
    module = load_item(name)
    assert module.TITLE
    assert module.KIND in {"figure", "claim", "verdict", "new"}
    assert module.__doc__
    assert all(callable(getattr(module, part)) for part in ("compute", "gates"))


def test_cheap_items_hold(results: list[Result]) -> None:
    for result in results:
        red = [gate.name for gate in result.gates if not gate.holds]
        assert not result.error, result.error
        assert result.gates
        assert red == []


def test_gates_refuse_what_is_no_number() -> None:
    for value in (math.nan, math.inf, 2.0):
        assert not Gate.near("x", value, 0.0, 1.0, "").holds
    assert Gate.near("x", 1.0, 0.0, 1.0, "").holds
    assert not Gate.at_most("x", math.nan, 1.0, "").holds


def test_limits_are_those_of_tables() -> None:
    # Standard tables: z at 5 % is 1.960, t of 4 degrees of freedom 2.776.
    assert normal_limit(1, 0.05) == pytest.approx(1.959964, abs=1e-6)
    assert student_limit(4, 1, 0.05) == pytest.approx(2.776445, abs=1e-6)
    assert normal_limit(10, 0.5) == normal_limit(1, 0.05)


def test_slopes_of_a_line_are_exact() -> None:
    slope, error = fitted_slope([0.0, 1.0, 3.0], [1.0, -1.0, -5.0], [0.1, 0.1, 0.1])
    assert slope == pytest.approx(-2.0, abs=1e-12)
    # Variance 0.01/Σ(x − mean)² with mean 4/3: Σ = 14/3.
    assert error == pytest.approx(0.1 / math.sqrt(14 / 3), rel=1e-12)


@pytest.mark.parametrize("name", MUTATIONS)
def test_wrong_theory_turns_a_gate_red(name: str) -> None:
    red = mutated(name)
    assert red, f"nothing noticed {name}"


def test_finished_items_are_kept_until_their_inputs_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(["fig7"], tmp_path, quick=True, jobs=1, shown=False)
    again = run(["fig7"], tmp_path, quick=True, jobs=1, shown=False)
    assert not first[0].cached
    assert again[0].cached
    assert again[0].data == first[0].data
    assert again[0].gates == first[0].gates
    monkeypatch.setattr("validation.runner.input_hash", lambda *_: "changed")
    assert not run(["fig7"], tmp_path, quick=True, jobs=1, shown=False)[0].cached


def test_an_item_that_fails_fails_the_whole(results: list[Result]) -> None:
    broken = Result("x", "x", "new", "", {}, [], [], "", 0.0, "", error="ValueError: no")
    assert summary(results, quick=True, seconds=0.0)["holds"]
    assert not summary([*results, broken], quick=True, seconds=0.0)["holds"]
    assert not summary([], quick=True, seconds=0.0)["holds"]


def test_summary_is_strict_json(results: list[Result], tmp_path: Path) -> None:
    write_report(results, summary(results, quick=True, seconds=1.0), tmp_path)
    text = (tmp_path / "summary.json").read_text(encoding="utf-8")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    told = json.loads(text, parse_constant=refuse)
    assert set(told["items"]) == set(CHEAP)
    assert told["versions"]["fpsolve"]


def test_report_needs_no_other_file(results: list[Result], tmp_path: Path) -> None:
    page = write_report(results, summary(results, quick=True, seconds=1.0), tmp_path)
    text = page.read_text(encoding="utf-8")
    links = re.findall(r'(?:src|href)="([^"]*)"', text) + re.findall(r"url\(([^)]*)\)", text)
    outside = [link for link in links if not link.startswith(("#", "data:"))]
    assert outside == []
    ids = re.findall(r'\bid="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    inside = {link[1:] for link in links if link.startswith("#")}
    assert inside <= set(ids)


# Runs in the page: what failed to load, what sticks out of its box, and whether tables sort.
PROBE = """<script>addEventListener("load", () => {
  const found = [];
  const wide = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > wide) found.push("the page is wider than the window");
  for (const e of document.querySelectorAll("h1,h2,h3,p,caption,th,td,pre,code,figure")) {
    const held = e.closest(".scroll");
    if (e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== "inline")
      found.push(e.tagName + " overflows: " + e.textContent.slice(0, 60));
    if (!held && e.getBoundingClientRect().right > wide + 1)
      found.push(e.tagName + " sticks out: " + e.textContent.slice(0, 60));
  }
  for (const svg of document.querySelectorAll("figure svg"))
    if (svg.getBoundingClientRect().height < 50) found.push("an empty figure");
  for (const text of performance.getEntriesByType("resource"))
    if (!text.name.startsWith("data:")) found.push("asked for " + text.name);
  const table = document.querySelector("table");
  const last = table.tHead.rows[0].cells.length - 1;
  table.tHead.rows[0].cells[last].firstChild.click();
  const values = [...table.tBodies[0].rows].map((r) => Number(r.cells[last].dataset.order));
  if (values.some((v, i) => i && v < values[i - 1])) found.push("not sorted: " + values);
  document.title = "PROBED" + JSON.stringify(found);
});</script>"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on the path")
@pytest.mark.parametrize("width", [1280, 500])
def test_report_in_a_browser(results: list[Result], tmp_path: Path, width: int) -> None:
    page = write_report(results, summary(results, quick=True, seconds=1.0), tmp_path)
    text = page.read_text(encoding="utf-8")
    probed = tmp_path / "probed.html"
    probed.write_text(text.replace("</body>", PROBE + "</body>"), encoding="utf-8")
    found = subprocess.run(
        [
            str(BROWSER),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-dev-shm-usage",
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--window-size={width},900",
            "--virtual-time-budget=5000",
            "--dump-dom",
            probed.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    verdict = re.search(r"<title>PROBED(.*?)</title>", found.stdout)
    assert verdict, found.stderr[-2000:]
    assert json.loads(verdict[1].replace("&gt;", ">").replace("&amp;", "&")) == []
