"""The results as a table, a picture and JSON."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

__all__ = ["machine", "publish", "write"]

Rows = list[dict[str, Any]]

# Rows of the short table, of those that took part.
_SHORT = (
    ("fpsolve", "rtol 0.001"),
    ("fpsolve", "rtol 1e-06"),
    ("fpsolve", "rtol 1e-08"),
    ("the same in plain NumPy", "4000 cells, rtol 1e-06"),
    ("Scharfetter–Gummel + LSODA", "4000 cells"),
    ("Scharfetter–Gummel + BDF", "8000 cells"),
    ("Scharfetter–Gummel + Radau", "8000 cells"),
    ("central flux, two meshes + LSODA", "1152 + 2304 cells"),
    ("py-pde", "360 + 720 cells, extrapolated"),
    ("FiPy", "1536 cells, 60 + 120 steps"),
    ("Monte Carlo", "300000 particles, step 0.25"),
)
# Rows of the shortest, in the README.
_SHORTEST = _SHORT[:4] + _SHORT[-2:]
# What is written into pages stands between these, with the name of the block.
_BEGIN = "<!-- {}: begin, written by python -m validation.performance.density --publish -->"
_END = "<!-- {}: end -->"


def machine(load_before: tuple[float, float, float]) -> dict[str, Any]:
    """Return what the numbers depend on: versions, cores, load average before and after."""
    import numba
    import numpy
    import scipy

    return {
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
        "numba": numba.__version__,
        "cores": os.cpu_count(),
        "load": [round(load_before[0], 1), round(os.getloadavg()[0], 1)],
    }


def write(results: dict[str, Any], out: Path) -> None:
    """Write `work_precision.md`, `.json` and `.png` into `out`."""
    (out / "work_precision.json").write_text(json.dumps(results, indent=1))
    (out / "work_precision.md").write_text(_text(results))
    _draw(results["contests"], out / "work_precision.png")


def publish(results: dict[str, Any], root: Path) -> None:
    """Write table and picture into `root`/docs, and short tables into pages and README.md."""
    docs = root / "docs"
    write(results, docs)
    (docs / "work_precision.json").unlink()
    about = results["machine"]
    taken = (
        f"Taken on {about['cores']} cores in {about['seconds'] / 60:.1f} minutes, load average "
        f"{about['load'][0]} before and {about['load'][1]} after."
    )
    _replace(docs / "performance.md", "contest", f"{_picked(results, _SHORT)}\n{taken}\n")
    _replace(docs / "performance.md", "costs", _costs(results))
    _replace(root / "README.md", "contest", _picked(results, _SHORTEST))


def _replace(page: Path, block: str, text: str) -> None:
    """Exchange what a page has in a block."""
    begin, end = _BEGIN.format(block), _END.format(block)
    before, rest = page.read_text().split(f"{begin}\n", 1)
    after = rest.split(end, 1)[1]
    page.write_text(f"{before}{begin}\n{text}{end}{after}")


def _picked(results: dict[str, Any], wanted: tuple[tuple[str, str], ...]) -> str:
    rows = results["contests"]["fig1"]["rows"]
    short = [row for one in wanted for row in rows if (row["method"], row["setting"]) == one]
    # Out of its list a row says by itself what it is.
    whole = "Scharfetter–Gummel in plain NumPy + LSODA"
    short = [
        {**row, "method": whole if row["method"].startswith("the same") else row["method"]}
        for row in short
    ]
    return _contest(short).replace("| method | setting |", "| Fig. 1 | setting |")


def _costs(results: dict[str, Any]) -> str:
    """What the first solve, teacher values, levels and threads cost."""
    first, many = results["first"], results["threads"]
    slopes = {row["of"]: row for row in results["scaling"]}

    def grows(of: str) -> str:
        row = slopes[of]
        return f"power {row['slopes']['seconds']:.2f} from {row['sizes'][0]} to {row['sizes'][-1]}"

    two, processes = many["one"] / many["two"], many["one"] / many["processes"]
    return (
        f"- *The first solve* compiles, {first['seconds']:.0f} s, and says so after "
        f"{first['said']:.1f} s; the machine code is cached beside the package, or where "
        "`NUMBA_CACHE_DIR` says.\n"
        f"- *Teacher values* cost in proportion: {grows('teacher values')} of equal probability, "
        f"{grows('nodes of a Gaussian teacher')} nodes of a Gaussian teacher.\n"
        f"- *Levels* cost less: {grows('levels')}.\n"
        f"- *Threads* solve different problems at the same time: {many['problems']} small ones "
        f"{two:.2f} times as fast with two threads as with one, {processes:.2f} times with two "
        "processes.\n"
    )


def _duration(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms" if seconds < 0.9995 else f"{seconds:.3g} s"


def _text(results: dict[str, Any]) -> str:
    about = results["machine"]
    versions = ", ".join(f"{k} {about[k]}" for k in ("python", "numpy", "scipy", "numba"))
    parts = [
        "# Work and precision of the density\n",
        "One process, one thread, contestants in turns; warm times are medians. Error: "
        "max over τ of |ε_g − reference|/max ε_g. Compiling: first call less a warm one, from an "
        f"empty cache. {versions}; {about['cores']} cores, load average "
        f"{about['load'][0]} before and {about['load'][1]} after the contests.\n",
    ]
    for contest in results["contests"].values():
        parts += [f"## {contest['title']}\n", _contest(contest["rows"])]
    parts += ["## Targets at rtol 1e-6\n", _targets(results["targets"]), _ratios(results)]
    parts += ["## Growth\n", _growth(results["scaling"])]
    many, first = results["threads"], results["first"]
    parts.append(
        f"{many['problems']} small problems: one thread {_duration(many['one'])}, two threads "
        f"{_duration(many['two'])}, two processes {_duration(many['processes'])}.\n"
    )
    parts.append(
        f"First solve on an empty cache: {_duration(first['seconds'])}; it says that it compiles "
        f"after {_duration(first['said'])}.\n"
    )
    return "\n".join(parts)


def _contest(rows: Rows) -> str:
    lines = ["| method | setting | error | time | compiling |", "|---|---|---|---|---|"]
    for row in rows:
        compiling = f"{row['compile']:.1f} s" if row["compile"] > 0.1 else ""
        lines.append(
            f"| {row['method']} | {row['setting']} | {row['error']:.1e} | "
            f"{_duration(row['seconds'])} | {compiling} |"
        )
    return "\n".join(lines) + "\n"


def _targets(rows: Rows) -> str:
    lines = [
        "| problem | target | measured | error | unknowns | steps |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row['problem']} | {_duration(row['target'])} | {_duration(row['seconds'])} | "
            f"{row['error']:.1e} | {row['unknowns']} | {row['steps']} |"
        )
    return "\n".join(lines) + "\n"


def _ratios(results: dict[str, Any]) -> str:
    """Compare fpsolve at rtol 1e-6 with the usual cells and the best peer, on Fig. 1."""
    rows = results["contests"]["fig1"]["rows"]

    def seconds(method: str, setting: str) -> float:
        return next(r["seconds"] for r in rows if r["method"] == method and r["setting"] == setting)

    own = seconds("fpsolve", "rtol 1e-06")
    plain = seconds("the same in plain NumPy", "4000 cells, rtol 1e-06") / own
    gummel = seconds("Scharfetter–Gummel + LSODA", "4000 cells") / own
    central = seconds("central flux, two meshes + LSODA", "1152 + 2304 cells") / own
    return (
        f"Fig. 1 at rtol 1e-6: {plain:.0f} times as fast as Scharfetter–Gummel in NumPy + LSODA "
        f"with 4000 cells and the same rtol (target 150), {gummel:.0f} times as fast as the "
        f"compiled one (target 30), {central:.0f} times as fast as the central flux on 1152 + 2304 "
        "cells (target 10).\n"
    )


def _growth(scalings: Rows) -> str:
    lines = [
        "| with the number of | from, to | slope of time | of unknowns | of peak memory "
        "| at the last doubling |",
        "|---|---|---|---|---|---|",
    ]
    for row in scalings:
        slopes, last = row["slopes"], row["last"]
        lines.append(
            f"| {row['of']} | {row['sizes'][0]}, {row['sizes'][-1]} | {slopes['seconds']:.2f} | "
            f"{slopes['unknowns']:.2f} | {slopes['bytes']:.2f} | time {last['seconds']:.2f}, "
            f"memory {last['bytes']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def _draw(contests: dict[str, Any], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(contests), sharey=True)
    for axes, contest in zip(panels, contests.values(), strict=True):
        methods = dict.fromkeys(row["method"] for row in contest["rows"])
        for number, method in enumerate(methods):
            rows = [row for row in contest["rows"] if row["method"] == method]
            rows.sort(key=lambda row: row["error"])
            axes.loglog(
                [row["error"] for row in rows],
                [row["seconds"] for row in rows],
                marker="osD^v<>P*Xhdp"[number],
                lw=2.5 if method == "fpsolve" else 1.2,
                color=f"C{number}",
                label=method,
            )
        axes.invert_xaxis()
        axes.set_title(contest["title"], fontsize=10)
        axes.set_xlabel("error of ε_g, relative to its maximum")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("seconds, one thread, compiled")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    figure.savefig(path, dpi=110)
