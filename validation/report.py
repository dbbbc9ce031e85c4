"""The report: one HTML page that needs nothing else, and `summary.json` for machines."""

from __future__ import annotations

import json
import math
import platform
import re
from collections import Counter
from dataclasses import asdict
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeGuard

import fpsolve
from validation.catalogue import Result, load_item
from validation.claims import Claim
from validation.gates import FALSE_ALARM, Gate, Table
from validation.noticed import noticed

__all__ = ["own_claims", "summary", "write_report"]

HERE = Path(__file__).parent
KINDS = {
    "figure": "The paper's figures",
    "claim": "The paper's claims",
    "verdict": "Errata and adjudication",
    "new": "New results",
}


def summary(results: list[Result], *, quick: bool, seconds: float) -> dict[str, Any]:
    """Return verdicts, numbers, seeds, versions and run times, as plain data."""
    packages = ("numpy", "scipy", "numba", "matplotlib")
    return {
        "holds": bool(results) and all(result.holds for result in results),
        "mode": "quick" if quick else "full",
        "false_alarm_rate_per_gate": FALSE_ALARM,
        "seconds": seconds,
        "versions": {
            "fpsolve": fpsolve.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in packages},
        },
        "machine": f"{platform.system()} {platform.machine()}",
        "claims": [asdict(claim) for result in _by_weight(results) for claim in result.claims],
        "power": {name: value for r in results for name, value in r.power.items()},
        "never_red": [
            f"{r.name}: {gate.name}"
            for r in results
            for gate in r.gates
            if not noticed(r.name, gate)
        ],
        "items": {
            result.name: {
                "title": result.title,
                "kind": result.kind,
                "holds": result.holds,
                "headline": result.headline,
                "seconds": result.seconds,
                "kept": result.cached,
                "inputs": result.key,
                "error": result.error,
                "skipped": result.skipped,
                "claims": [claim.id for claim in own_claims(result, results)],
                "beyond": result.beyond,
                "sizes": sizes(result.data),
                "seeds": seeds(result.data),
                "gates": [
                    {
                        "name": gate.name,
                        "holds": gate.holds,
                        "value": _finite(gate.value),
                        "low": _finite(gate.low),
                        "high": _finite(gate.high),
                        "reason": gate.reason,
                        "seen": _finite(gate.seen),
                        "relative": _finite(gate.relative),
                        "noticed_in": noticed(result.name, gate),
                    }
                    for gate in result.gates
                ],
                "tables": [
                    {"title": t.title, "columns": t.columns, "rows": _strict(t.rows)}
                    for t in result.tables
                ],
            }
            for result in results
        },
    }


def seeds(data: Any) -> list[int]:
    """Return every seed found under "seed" or "seeds" in the data of an item, sorted."""
    found: set[int] = set()
    if isinstance(data, dict):
        for name, value in data.items():
            if name == "seed":
                found.add(value)
            elif name == "seeds":
                found.update(value)
            else:
                found.update(seeds(value))
    elif isinstance(data, list):
        for value in data:
            found.update(seeds(value) if isinstance(value, dict) else ())
    return sorted(found)


def sizes(data: Any) -> list[str]:
    """Return the sizes of every simulation found in the data of an item, as text, sorted."""
    found: dict[tuple[float, float], None] = {}

    def look(value: Any, outer: dict[str, Any]) -> None:
        if isinstance(value, dict):
            here = {**outer, **{k: v for k, v in value.items() if k in ("runs", "particles")}}
            d = next((value[k] for k in ("dimension", "d", "N", "particles") if k in value), None)
            runs = here.get("runs")
            for size in value.get("dimensions", [d]):
                if isinstance(size, int) and isinstance(runs, int):
                    found[(size, runs)] = None
            for part in value.values():
                look(part, here)
        elif isinstance(value, list):
            for part in value:
                look(part, outer)

    look(data, {})
    return [f"{runs} runs at d = {d}" for d, runs in sorted(found)]


def _finite(value: float) -> float | str | None:
    """Return what strict JSON can hold: a bound that is not there is null."""
    if math.isfinite(value):
        return value
    return None if math.isinf(value) else "nan"


def _strict(value: Any) -> Any:
    if isinstance(value, list):
        return [_strict(v) for v in value]
    return _finite(value) if isinstance(value, float) else value


def write_report(results: list[Result], told: dict[str, Any], folder: Path) -> Path:
    """Write `report.html` and `summary.json` into the folder; return the page."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "summary.json").write_text(text + "\n", encoding="utf-8")
    page = folder / "report.html"
    page.write_text(_page(results, told), encoding="utf-8")
    return page


def _page(results: list[Result], told: dict[str, Any]) -> str:
    style = (HERE / "report.css").read_text(encoding="utf-8")
    script = (HERE / "report.js").read_text(encoding="utf-8")
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        '<link rel="icon" href="data:,">',
        "<title>fpsolve: validation</title>",
        f"<style>{style}</style></head><body><main>",
        _head(results, told),
    ]
    for kind, heading in KINDS.items():
        chosen = [result for result in results if result.kind == kind]
        if chosen:
            parts.append(f"<h2>{heading}</h2>")
            parts += [_item(result, results) for result in chosen]
    parts.append(f"</main><script>{script}</script></body></html>")
    return "\n".join(parts)


def _head(results: list[Result], told: dict[str, Any]) -> str:
    gates = [gate for result in results for gate in result.gates]
    red = sum(not gate.holds for gate in gates) + sum(bool(r.error) for r in results)
    verdict = (
        f"All {len(gates)} gates hold" if told["holds"] else f"{red} of {len(gates)} gates fail"
    )
    versions = ", ".join(f"{name} {number}" for name, number in told["versions"].items())
    rows: list[list[object]] = [
        [
            _Cell(f'<a href="#{r.name}">{_text(r.title)}</a>', r.title),
            _Cell('<span class="badge partly">skipped</span>', "skipped")
            if r.skipped
            else _badge(r.holds),
            r.headline,
            len(r.gates),
            round(r.seconds, 1),
        ]
        for r in results
    ]
    table = Table("Overview", ["item", "verdict", "found", "gates", "seconds"], rows)
    return (
        f"<h1>fpsolve: validation</h1>"
        f"{_finding(results)}"
        f"{_opening(results)}" + _claims(results, told) + "<h2>Gates, which judge this package</h2>"
        f'<p class="verdict">{_badge(told["holds"]).html} {verdict}, {told["mode"]} mode.</p>'
        "<p>STE is the straight-through estimator simulated at finite dimension d; PDE the "
        "limiting "
        "density; closure the paper's macroscopic ODE. Everything is dimensionless; τ = "
        "steps/d. A gate that compares a simulation with theory fails with probability at most "
        f"{FALSE_ALARM:g} if nothing is wrong; its bound follows from standard errors and that "
        "rate. A gate that wants a difference seen fails, too, where the sample is too small to "
        "see it. What each gate <em>sees</em> is by how much the measured number must be off to "
        "turn it red with a chance of 95 per cent, from the truth where there is one, else from "
        "where it is; <em>noticed</em> names deliberate errors in theory, solver, simulation or "
        "statistics that have turned it red.</p>"
        f'<p class="fine">{escape(versions)}; {escape(told["machine"])}; '
        f"{told['seconds']:.0f} s this "
        f"time, {sum(r.seconds for r in results):.0f} s in all.</p>" + _table(table, stacks=True)
    )


# What each verdict says to a reader who knows none of this.
WORDS = {
    "holds": "true",
    "holds-under": "true under some of the settings that the paper leaves open",
    "corrected": "true, with a number or a formula corrected",
    "fails": "not found at any of the settings that the paper leaves open",
    "undecided": "cannot be decided",
}


def _finding(results: list[Result]) -> str:
    """What became of the paper's claims, in a sentence or two."""
    verdicts = Counter(claim.verdict for result in results for claim in result.claims)
    if not verdicts:
        return ""
    told = "; ".join(f"{verdicts[v]} {WORDS[v]}" for v in WORDS if verdicts[v])
    theorem = next((r for r in results if r.name == "theorem_v3" and not r.error), None)
    found = f"<p>{_text(load_item(theorem.name).plain(theorem.data))}</p>" if theorem else ""
    return (
        f"<p>Of {verdicts.total()} claims of the paper, over every setting that it leaves "
        f"unstated: {escape(told)}.</p>{found}"
    )


def _opening(results: list[Result]) -> str:
    """The picture of the finding: what the simulation approaches as it grows."""
    result = next((r for r in results if r.name == "theorem_v3" and r.picture), None)
    return _figure(result, "opening") if result else ""


def _claims(results: list[Result], told: dict[str, Any]) -> str:
    """The paper's claims with their verdicts, and what the pooled test would have seen."""
    rows = _claim_rows(_by_weight(results))
    if not rows:
        return ""
    rows += [row for result in results for row in _beyond(result, linked=True)]
    table = Table("Claims", _CLAIM_HEADS, rows)
    seen = ", ".join(f"{name} {100 * value:.2g} %" for name, value in told["power"].items())
    power = f"<p>Smallest error that the pooled test would have seen: {escape(seen)}.</p>"
    return "<h2>Claims of the paper</h2>" + _table(table, stacks=True) + (power if seen else "")


_CLAIM_HEADS = ["the paper's claim", "verdict", "where", "evidence"]


def own_claims(result: Result, results: list[Result]) -> list[Claim]:
    """Return the claims that an item is about: its own, and those that other items judge.

    Raises
    ------
    ValueError
        If an item that was worked out does not judge a claim it is said to.
    """
    found = list(result.claims)
    by_name = {r.name: r for r in results if not r.error and not r.skipped}
    for item, ids in result.elsewhere.items():
        judged = {claim.id: claim for claim in by_name[item].claims} if item in by_name else None
        if judged is not None and not set(ids) <= set(judged):
            raise ValueError(f"{item} does not judge {', '.join(set(ids) - set(judged))}")
        found += [judged[name] for name in ids] if judged is not None else []
    return found


def _own_claims(result: Result, results: list[Result]) -> str:
    """The claims that one item is about, above its gates, or why there is none."""
    rows = [*_rows_of(own_claims(result, results)), *_beyond(result)]
    present = {r.name for r in results}
    away = [item for item in result.elsewhere if item not in present]
    told = f"<p>Its claims are judged by {escape(', '.join(away))}.</p>" if away else ""
    return told + (_table(Table("Claims", _CLAIM_HEADS, rows), stacks=True) if rows else "")


def _beyond(result: Result, *, linked: bool = False) -> list[list[object]]:
    """The row of an item of which the paper claims nothing, none of others."""
    if not result.beyond:
        return []
    text = f"no claim of the paper: {result.beyond}"
    if not linked:
        return [[text, _Cell(_NOTHING, _NOTHING), _NOTHING, result.headline]]
    link = f'no claim of the paper: <a href="#{result.name}">{_text(result.title)}</a>'
    return [[_Cell(link, text), _Cell(_NOTHING, _NOTHING), _NOTHING, result.beyond]]


def _by_weight(results: list[Result]) -> list[Result]:
    """Return the results with what the paper is read for first: its claims under every setting."""
    return sorted(results, key=lambda result: result.name != "claims_scan")


def _claim_rows(results: list[Result]) -> list[list[object]]:
    return _rows_of([claim for result in results for claim in result.claims])


def _rows_of(claims: list[Claim]) -> list[list[object]]:
    return [[c.claim, _Cell(_verdict(c.verdict), c.verdict), c.where, c.evidence] for c in claims]


def _verdict(name: str) -> str:
    kind = {"holds": "holds", "fails": "fails"}.get(name, "partly")
    return f'<span class="badge {kind}">{escape(name)}</span>'


def _item(result: Result, results: list[Result]) -> str:
    lead, _, rest = result.text.partition("\n\n")
    paragraphs = "".join(
        f"<p>{_text(' '.join(p.split()))}</p>" for p in [lead, *rest.split("\n\n")] if p
    )
    picture = ""
    if result.picture:
        picture = _figure(result, result.name)
    error = f"<pre>{escape(result.error)}</pre>" if result.error else ""
    used = seeds(result.data)
    listed = f"; seeds {', '.join(map(str, used))}" if used else ""
    if result.skipped:
        return (
            f'<section id="{result.name}"><h3>{_text(result.title)}</h3>{paragraphs}'
            f"<p>Skipped: {escape(result.skipped)}.</p></section>"
        )
    return (
        f'<section id="{result.name}"><h3>{_badge(result.holds).html} {_text(result.title)}</h3>'
        f"{paragraphs}{error}{picture}{_own_claims(result, results)}{_gates(result)}"
        + "".join(_table(table) for table in result.tables)
        + f'<p class="fine"><code>python -m validation --only {result.name}</code>; '
        f"{result.seconds:.1f} s{listed}.</p></section>"
    )


def _figure(result: Result, name: str) -> str:
    """The picture, for wide and for narrow screens, and what was really run for it."""
    label = escape(result.title)
    wide, narrow = (
        text.replace(f'"{result.name}-', f'"{name}-').replace(f"#{result.name}-", f"#{name}-")
        for text in (result.picture, result.narrow)
    )
    drawn = f'<div class="wide">{wide}</div><div class="narrow">{narrow}</div>' if narrow else wide
    run = ", ".join(sizes(result.data))
    text = f"Simulated for this picture and its gates: {run}." if run else ""
    caption = f"<figcaption>{escape(text)}</figcaption>" if text else ""
    return f'<figure role="img" aria-label="{label}">{drawn}{caption}</figure>'


def _gates(result: Result) -> str:
    """The gates: what was measured, what is allowed, and what each would have seen."""
    rows: list[list[object]] = [
        [
            *(_badge(g.holds), g.name, g.value, _bounds(g), g.seen),
            _share(g.relative),
            ", ".join(noticed(result.name, g)) or "–",
            g.reason,
        ]
        for g in result.gates
    ]
    heads = ["verdict", "measured", "value", "allowed", "sees", "relative", "noticed", "why"]
    return _table(Table("Gates", heads, rows), stacks=True)


def _share(relative: float) -> str:
    if math.isnan(relative):
        return _NOTHING
    return f"{100 * relative:.2g} %" if relative < 1 else "over 100 %"


def _bounds(gate: Gate) -> str:
    low, high = _number(gate.low), _number(gate.high)
    if low == high:
        # Bounds that differ in no digit shown.
        half = 0.5 * (gate.high - gate.low)
        return f"{_number(0.5 * (gate.low + gate.high))} ± {half:.2g}".replace("-", "−")
    if math.isinf(gate.low):
        return f"≤ {high}"
    return f"≥ {low}" if math.isinf(gate.high) else f"{low} … {high}"


class _Cell:
    """HTML with the value by which to sort."""

    def __init__(self, html: str, order: object) -> None:
        self.html, self.order = html, order


def _badge(holds: bool) -> _Cell:
    name = "holds" if holds else "fails"
    return _Cell(f'<span class="badge {name}">{name}</span>', name)


# One letter and its index, as in b_x, m_ψ or v_{k−1}, but not a name as in solve_pde.
_INDEX = re.compile(r"((?<![\w`])[^\W\d_]|[α-ωΑ-Ω])_(?:\{([^}]+)\}|(\w|∞)(?![^\W\d_²³]|_))")
_POWER = re.compile(r"\^(?:\(([^)]{2,})\)|\{([^}]+)\}|([−-]?\([^)]+\)|[−-]?[\d½/]+|\w))")


def _text(plain: str) -> str:
    """Return text as HTML, with indices and powers where b_x and d^(−1/2) stand for them."""
    text = _INDEX.sub(lambda m: f"{m[1]}<sub>{m[2] or m[3]}</sub>", escape(plain, quote=False))
    text = _POWER.sub(lambda m: f"<sup>{m[1] or m[2] or m[3]}</sup>", text)
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", text)


def _number(value: float) -> str:
    return f"{value:.5g}".replace("-", "−")


def _table(table: Table, *, stacks: bool = False) -> str:
    """A sortable table; one that `stacks` has its cells below each other on narrow screens.

    So does, whatever it says, one with texts in several columns.
    """
    long = [any(len(str(row[i])) > _SHORT for row in table.rows if not _is_number(row[i]))
            for i in range(len(table.columns))]  # fmt: skip
    stacks = stacks or sum(long) > 1
    # A heading stands over its numbers.
    numeric = [any(_is_number(row[i]) for row in table.rows) for i in range(len(table.columns))]
    head = "".join(
        f'<th scope="col" aria-sort="none"{" class=number" if right else ""}>'
        f'<button type="button">{_text(c)}</button></th>'
        for c, right in zip(table.columns, numeric, strict=True)
    )
    # Below each other, all cells but the first two say what they are.
    labels = ["", "", *table.columns[2:]] if stacks else [""] * len(table.columns)
    body = "".join("<tr>" + "".join(map(_cell, row, labels)) + "</tr>" for row in table.rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(table.title)}">'
        f'<table class="{table.title.lower() if table.title in _NAMED else "other"}'
        f'{" stacks" if stacks else ""}">'
        f"<caption><span>{_text(table.title)}</span></caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: object, label: str) -> str:
    """A cell; one with a label shows it on narrow screens, where no heading stands above it."""
    named = f' data-label="{escape(label)}"' if label else ""
    if isinstance(value, _Cell):
        empty = ' class="none"' if value.html == _NOTHING else ""
        return f'<td{named}{empty} data-order="{escape(str(value.order))}">{value.html}</td>'
    if value == _NOTHING or (_is_number(value) and math.isnan(value)):
        return f'<td{named} class="short none" data-order="">{_NOTHING}</td>'
    if not _is_number(value):
        text = str(value)
        short = ' class="short"' if len(text) <= _SHORT else ""
        return f"<td{named}{short}>{_text(text)}</td>"
    shown = str(value) if isinstance(value, int) else _number(value)
    return f'<td{named} class="number" data-order="{value!r}">{shown}</td>'


# Tables that are laid out by name.
_NAMED = ("Claims", "Gates")
# Letters of a cell that stands beside others where tables stack; what stands for none.
_SHORT, _NOTHING = 20, "–"
