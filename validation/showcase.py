"""What the documentation shows of a full run: its headline table and three pictures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib as mpl

from validation.catalogue import Result, load_item
from validation.pictures import STYLE, thin_out_labels
from validation.report import WORDS

__all__ = ["PICTURES", "publish", "table_text"]

ROOT = Path(__file__).parents[1]
# Item, and what its picture is called to those who do not see it.
PICTURES = {
    "fig1": "Densities by STE, PDE and closure",
    "theorem_v3": "Distance of STE to PDE and closure over the dimension",
    "fig6": "Stationary error over the range of the weights",
}
_BLOCK = re.compile(r"(<!-- validation -->\n).*?(<!-- end of validation -->\n)", re.S)


def publish(results: list[Result], told: dict[str, Any], root: Path = ROOT) -> None:
    """Write tables and pictures of one run into docs/ and the README under `root`."""
    docs = root / "docs"
    docs.mkdir(exist_ok=True)
    by_name = {result.name: result for result in results}
    with mpl.rc_context(STYLE):
        for name in PICTURES:
            figure = load_item(name).visualize(by_name[name].data)
            thin_out_labels(figure)
            figure.savefig(docs / f"validation_{name}.png", dpi=110, metadata={"Software": None})
    block = table_text(results, told) + "".join(
        f"\n![{title}](validation_{name}.png)\n" for name, title in PICTURES.items()
    )
    _fill(docs / "validation.md", block)
    _fill(root / "README.md", plain_text(by_name["claims_scan"], told))


def _fill(page: Path, block: str) -> None:
    text = page.read_text(encoding="utf-8")
    changed, count = _BLOCK.subn(lambda m: f"{m[1]}{block}{m[2]}", text)
    if count != 1:
        raise SystemExit(f"{page.name} must hold <!-- validation --> and its end once")
    page.write_text(changed, encoding="utf-8")


def plain_text(result: Result, told: dict[str, Any]) -> str:
    """Return the paper's claims, verdicts and evidence for readers who know no symbol, Markdown."""
    texts = load_item("claims_scan").plain(result.data)
    lines = ["| the paper says | verdict | evidence |", "|---|---|---|"]
    for claim in told["claims"]:
        if claim["id"] in texts:
            said, evidence = texts[claim["id"]]
            # How many of them: from a few to all but a few.
            share = claim["where"].partition(":")[0] if claim["verdict"] == "holds-under" else ""
            word = WORDS[claim["verdict"]] + (f" ({share})" if share else "")
            lines.append(f"| {_cell(said)} | {word} | {_cell(evidence)} |")
    return "\n".join([*lines, ""])


def table_text(results: list[Result], told: dict[str, Any]) -> str:
    """Return the paper's claims with their verdicts, then the headlines of all items, Markdown."""
    gates = sum(len(result.gates) for result in results)
    rows = [f"| {_cell(r.title)} | {_cell(r.headline)} |" for r in results]
    small = " with few and small simulations" if told["mode"] == "quick" else ""
    lead = (
        f"All of this page is from one {told['mode']} run{small}: {len(results)} items, {gates} "
        f"gates, {'all hold' if told['holds'] else 'NOT all hold'} (fpsolve "
        f"{told['versions']['fpsolve']}, NumPy {told['versions']['numpy']}, Numba "
        f"{told['versions']['numba']})."
    )
    parts = [lead, "", claims_text(told), "| item | found |", "|---|---|", *rows, ""]
    return "\n".join(parts)


def claims_text(told: dict[str, Any]) -> str:
    """Return the table of claims, and what the pooled test would have seen, in Markdown."""
    if not told["claims"]:
        return ""
    rows = [
        f"| {_cell(c['claim'])} | {c['verdict']}, {_cell(c['where'])} | {_cell(c['evidence'])} |"
        for c in told["claims"]
    ]
    rows += [
        f"| no claim of the paper: {_cell(item['title'])} | – | {_cell(item['beyond'])} |"
        for item in told["items"].values()
        if item["beyond"]
    ]
    lines = ["| the paper's claim | verdict | evidence |", "|---|---|---|", *rows, ""]
    if told["power"]:
        seen = ", ".join(f"{100 * value:.2g} % in {name}" for name, value in told["power"].items())
        lines += [f"An error of {seen} would have been seen by the pooled test.", ""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "∣")
