"""What the documentation shows of a full run: its headline table and three pictures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib as mpl

from validation.catalogue import Result, load_item
from validation.pictures import STYLE, thin_out_labels

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
    """Write table and pictures of a full run into docs/ under `root`."""
    docs = root / "docs"
    docs.mkdir(exist_ok=True)
    by_name = {result.name: result for result in results}
    with mpl.rc_context(STYLE):
        for name in PICTURES:
            figure = load_item(name).visualize(by_name[name].data)
            thin_out_labels(figure)
            figure.savefig(docs / f"validation_{name}.png", dpi=110, metadata={"Software": None})
    page = docs / "validation.md"
    text = page.read_text(encoding="utf-8")
    block = table_text(results, told) + "".join(
        f"\n![{title}](validation_{name}.png)\n" for name, title in PICTURES.items()
    )
    changed, count = _BLOCK.subn(lambda m: f"{m[1]}{block}{m[2]}", text)
    if count != 1:
        raise SystemExit("docs/validation.md must hold <!-- validation --> and its end once")
    page.write_text(changed, encoding="utf-8")


def table_text(results: list[Result], told: dict[str, Any]) -> str:
    """Return the paper's claims with their verdicts, then the headlines of all items, Markdown."""
    gates = sum(len(result.gates) for result in results)
    rows = [f"| {_cell(r.title)} | {_cell(r.headline)} |" for r in results]
    lead = (
        f"Full run: {len(results)} items, {gates} gates, "
        f"{'all hold' if told['holds'] else 'NOT all hold'} (fpsolve "
        f"{told['versions']['fpsolve']}, NumPy {told['versions']['numpy']}, Numba "
        f"{told['versions']['numba']}). Where STE is compared with the PDE, the worst of all "
        "tests is given over its own limit: below 1 they agree."
    )
    return "\n".join([claims_text(told), lead, "", "| item | found |", "|---|---|", *rows, ""])


def claims_text(told: dict[str, Any]) -> str:
    """Return the table of claims, and what the pooled test would have seen, in Markdown."""
    if not told["claims"]:
        return ""
    rows = [
        f"| {_cell(c['claim'])} | {c['verdict']}: {_cell(c['where'])} | {_cell(c['evidence'])} |"
        for c in told["claims"]
    ]
    lines = ["| the paper's claim | verdict | evidence |", "|---|---|---|", *rows, ""]
    if told["power"]:
        seen = ", ".join(f"{100 * value:.2g} % in {name}" for name, value in told["power"].items())
        lines += [f"An error of {seen} would have been seen by the pooled test.", ""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "∣")
