"""The validation itself: its verdicts, its report in a browser, and what it notices."""

from __future__ import annotations

import ast
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from validation.browser import faults, find_browser
from validation.catalogue import ITEMS, Result, load_item, work_out
from validation.claims import VERDICTS, Answer, answer, judged
from validation.gates import Gate, fitted_slope, normal_limit, student_limit
from validation.mutations import COARSE, MUTATIONS, mutated
from validation.noticed import RECORD, gate_id, noticed
from validation.parts import keeping, part
from validation.report import WORDS, own_claims, sizes, summary, write_report
from validation.runner import run
from validation.showcase import PICTURES, claims_text, table_text

ROOT = Path(__file__).parents[1]
BROWSER = find_browser()
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
    parts = ("compute", "gates", "headline")
    assert all(callable(getattr(module, part)) for part in parts)


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


def test_a_gate_says_what_it_would_see() -> None:
    # Seen with 95 per cent: 1.645 standard errors beyond the bound.
    two = Gate.near("x", 2.1, 2.0, 0.5, "", noise=0.1)
    assert two.seen == pytest.approx(0.5 + 1.6449 * 0.1, abs=1e-4)
    assert two.relative == pytest.approx(two.seen / 2)
    one = Gate.at_most("x", 0.3, 1.0, "")
    assert one.seen == pytest.approx(0.7)
    assert math.isnan(one.relative)
    assert math.isnan(Gate.near("x", 0.0, 0.0, 1.0, "").relative)


def test_every_gate_has_been_red(results: list[Result]) -> None:
    """By the record of what `python -m validation --mutations --record` broke."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    assert set(record) == set(ITEMS)
    never = [(item, g) for item, gates in record.items() for g, by in gates.items() if not by]
    assert never == []
    # Errors of theory, solver, simulation or statistics; numbers altered afterwards prove nothing.
    told = {name for gates in record.values() for names in gates.values() for name in names}
    assert told <= set(MUTATIONS) | set(COARSE)
    for result in results:
        assert all(noticed(result.name, gate) for gate in result.gates), result.name


def test_the_record_is_no_invention() -> None:
    """One error of the record, made again, turns the gates red that it is said to."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))["fig7"]
    red = {
        gate_id(gate) for _, gate in mutated("statics-of-another-problem", ("fig7",), every=True)
    }
    assert red == {gate for gate, by in record.items() if "statics-of-another-problem" in by}
    assert red


def test_parts_of_an_interrupted_item_are_kept(tmp_path: Path) -> None:
    calls = []

    def work(fails: bool) -> list[float]:
        def one(n: int) -> float:
            calls.append(n)
            if fails and n == 2:
                raise KeyboardInterrupt
            return n / 3

        return [part(f"n = {n}", lambda n=n: one(n)) for n in range(4)]

    with pytest.raises(KeyboardInterrupt), keeping(tmp_path / "item", "key"):
        work(True)
    with keeping(tmp_path / "item", "key"):
        assert work(False) == [0.0, 1 / 3, 2 / 3, 1.0]
    assert calls == [0, 1, 2, 2, 3]
    assert not (tmp_path / "item").exists()
    # Of another key nothing is read.
    with pytest.raises(KeyboardInterrupt), keeping(tmp_path / "item", "key"):
        work(True)
    with keeping(tmp_path / "item", "other"):
        work(False)
    assert calls[-4:] == [0, 1, 2, 3]


def test_what_is_skipped_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_item("layer_ptq"), "_file", lambda: None)
    result = work_out("layer_ptq", True)
    assert result.holds
    assert "pip install --no-deps silero-vad" in result.skipped
    told = summary([result], quick=True, seconds=0.0)
    assert told["items"]["layer_ptq"]["skipped"] == result.skipped


def test_captions_say_what_was_run() -> None:
    data = {"a": [{"dimension": 400, "runs": 3}], "b": {"runs": 7, "rows": [{"d": 100}]}}
    assert sizes(data) == ["7 runs at d = 100", "3 runs at d = 400"]


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


def test_a_verdict_follows_from_its_answers() -> None:
    def verdict(*signs: int, off: float = 0.0) -> str:
        return judged(
            "x", "x", [Answer(f"s{i}", s) for i, s in enumerate(signs)], "", off=off
        ).verdict

    assert verdict(1, 1, 0) == "holds"
    assert verdict(1, 1, off=2.0) == "corrected"
    assert verdict(1, -1, 0) == "holds-under"
    assert verdict(-1, -1, 0) == "fails"
    assert verdict(0, 0) == "undecided"
    # It has to fail where it can be told at all, and that is not at the fewest.
    assert verdict(-1, 0, 0) == "undecided"
    assert [answer("x", margin, 1.0).sign for margin in (2.0, 0.5, -0.5, -2.0)] == [1, 0, 0, -1]
    told = judged("x", "x", [Answer("a: 1", 1), Answer("a: 2", 1), Answer("b: 1", -1)], "")
    assert told.where == "2 of 3 settings: a: 1, 2"
    scan = [answer("s", 1.0 if tau < 3 else -1.0, 0.0, tau=tau, noise=n) for tau in (1, 2, 3)
            for n in (0.0, 0.1)]  # fmt: skip
    assert judged("x", "x", scan, "").where == "4 of 6 settings: τ: always at 1, 2, never at 3"
    # Numbers by size; what holds at times is said where something holds always.
    scan = [answer("s", margin, 0.0, tau=tau, noise=n) for tau, n, margin in
            ((100, 0, 1.0), (30, 0, -1.0), (30, 1, 1.0), (200, 0, 1.0))]  # fmt: skip
    told = judged("x", "x", scan, "", off=2.0)
    assert told.verdict == "holds-under"
    assert told.where == (
        "3 of 4 settings: τ: always at 100, 200, at times at 30; σ²: always at 1, at times at 0; "
        "there, too, a number or a formula is corrected"
    )


@pytest.mark.parametrize("name", ITEMS)
def test_no_verdict_is_typed_in(name: str) -> None:
    """`judged` alone makes claims, from answers; no answer of an item is a literal."""
    tree = ast.parse(Path(str(load_item(name).__file__)).read_text(encoding="utf-8"))
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        made = getattr(call.func, "id", "")
        assert made != "Claim"
        if made == "Answer":
            assert not any(isinstance(part, ast.Constant) for part in call.args[1:])
        if made == "judged" and len(call.args) > 2:
            assert not isinstance(call.args[2], ast.List | ast.Tuple)
    words = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert not words & set(VERDICTS)


@pytest.mark.parametrize("name", ITEMS)
def test_every_item_has_a_claim_of_the_paper_or_says_that_there_is_none(name: str) -> None:
    module = load_item(name)
    claims = hasattr(module, "claims") or hasattr(module, "ELSEWHERE")
    assert claims != hasattr(module, "BEYOND")
    judges = [load_item(item) for item in getattr(module, "ELSEWHERE", {})]
    assert all(hasattr(judge, "claims") for judge in judges)


def test_an_item_shows_claims_that_others_judge_and_where_there_is_none(tmp_path: Path) -> None:
    def result(name: str, **fields: object) -> Result:
        return Result(*(name, name, "new", "", {}, [], [], "", "", 0.0, ""), **fields)  # type: ignore[arg-type]

    claim = judged("stays", "It stays.", [Answer("v = 1", 1)], "0.1 %")
    judge = result("judge", claims=[claim])
    other = result("other", elsewhere={"judge": ["stays"]})
    alone = result("alone", beyond="it ends before")
    everything = [judge, other, alone]
    assert own_claims(other, everything) == [claim]
    assert own_claims(alone, everything) == []
    told = summary(everything, quick=True, seconds=0.0)
    assert told["items"]["other"]["claims"] == ["stays"]
    assert [row["id"] for row in told["claims"]] == ["stays"]
    page = write_report(everything, told, tmp_path).read_text(encoding="utf-8")
    section = page.split('<section id="other">')[1].split("</section>")[0]
    assert "It stays." in section
    assert "no claim of the paper: it ends before" in page
    assert "no claim of the paper: alone | – | it ends before" in claims_text(told)
    # A claim that the other item does not judge is an error, not a gap.
    other.elsewhere = {"judge": ["stays", "moves"]}
    with pytest.raises(ValueError, match="moves"):
        own_claims(other, everything)
    # Without that item the page says who would judge.
    page = write_report([other], summary([other], quick=True, seconds=0.0), tmp_path)
    assert "Its claims are judged by judge" in page.read_text(encoding="utf-8")


def test_summary_lists_claims_and_power(results: list[Result]) -> None:
    claim = judged("plateau", "It stays.", [Answer("v = 1", 1)], "0.1 %")
    given = Result(
        *("x", "x", "new", "", {}, [], [], "", "", 0.0, ""), claims=[claim], power={"kappa": 0.01}
    )
    told = summary([*results, given], quick=True, seconds=0.0)
    assert [row for row in told["claims"] if row["id"] == "plateau"] == [
        {
            "id": "plateau",
            "claim": "It stays.",
            "verdict": "holds",
            "where": "1 of 1 setting",
            "evidence": "0.1 %",
        }
    ]
    assert told["power"] == {"kappa": 0.01}
    assert Result.from_json(given.to_json()).claims == [claim]


def test_pooled_test_sees_a_wrong_coefficient() -> None:
    """Scores made from a response of two per cent in D alone are called so."""
    pooled = load_item("pooled")
    slopes = 1000 * np.eye(3)[:, :, None] * np.ones(4)
    rows = [{"scores": (0.02 * slopes.reshape(3, 12)[2]).tolist(), "slopes": slopes.reshape(3, 12)}]
    found = {row["name"]: row["error"] for row in pooled.estimates({"rows": rows})}
    assert found["diffusivity"] == pytest.approx(0.02)
    assert found["kappa"] == 0.0
    red = [gate.name for gate in pooled.gates({"rows": rows}) if not gate.holds]
    assert red == ["sum of squared scores", "relative error of diffusivity"]


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


def test_interrupt_keeps_what_is_finished(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "validation", "--only", "fig7", "dithering"]
    with subprocess.Popen(
        [*command, "--jobs", "1", "--out", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        kept = tmp_path / "items" / "fig7.json"
        for _ in range(600):
            if kept.exists() or process.poll() is not None:
                break
            time.sleep(0.1)
        # As a terminal does: to the whole group.
        os.killpg(process.pid, signal.SIGINT)
        told, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the next run goes on" in told
    assert [path.name for path in kept.parent.iterdir()] == ["fig7.json"]


def test_an_item_that_fails_fails_the_whole(results: list[Result]) -> None:
    broken = Result("x", "x", "new", "", {}, [], [], "", "", 0.0, "", error="ValueError: no")
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


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on the path")
def test_report_in_a_browser(
    results: list[Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = write_report(results, summary(results, quick=True, seconds=1.0), Path("relative"))
    assert faults(page, str(BROWSER)) == []


HARM = {
    '<img src="missing.png">': "missing.png",
    '<p style="width: 3000px; max-width: none">wide</p>': "sticks out",
    '<p style="width: 2em; white-space: nowrap; overflow-wrap: normal">long</p>': "overflows",
    '<p style="color: #808080; background: #909090">pale</p>': "faint",
    '<a href="#nowhere">x</a>': "nowhere",
    '<section id="cut"><figure><svg viewBox="0 0 90 90"><rect width="99" height="9"/></svg>'
    "</figure></section>": "cut off",
    "<style>@page { size: A5 }</style>": "not A4",
}


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on the path")
def test_faults_of_a_page_are_noticed(results: list[Result], tmp_path: Path) -> None:
    page = write_report(results[:1], summary(results[:1], quick=True, seconds=1.0), tmp_path)
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("</main>", "".join(HARM) + "</main>"), encoding="utf-8")
    found = faults(page, str(BROWSER))
    assert [c for c in HARM.values() if not any(c in fault for fault in found)] == []


def test_the_documentation_shows_the_headlines(results: list[Result]) -> None:
    text = table_text(results, summary(results, quick=False, seconds=1.0))
    assert all(result.title in text and result.headline for result in results)
    page = (ROOT / "docs" / "validation.md").read_text(encoding="utf-8")
    assert all(f"| {load_item(name).TITLE} | " in page for name in ITEMS)
    assert all((ROOT / "docs" / f"validation_{name}.png").exists() for name in PICTURES)
    # One run, one mode.
    assert len(re.findall(r"All of this page is from one (?:quick|full) run", page)) == 1
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme.split("<!-- validation -->")[1].split("<!-- end of validation -->")[0]
    rows = [row.split("|") for row in table.strip().splitlines()[2:]]
    assert len(rows) >= 8
    assert {row[2].partition(" (")[0].strip() for row in rows} <= set(WORDS.values())
