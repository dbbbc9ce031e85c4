"""The results as a table, a picture and JSON."""

from __future__ import annotations

import json
import os
import platform
import re
from pathlib import Path
from typing import Any

__all__ = ["machine", "publish", "write"]

Rows = list[dict[str, Any]]

# Rows of the short table, of those that took part.
_SHORT = (
    ("fpsolve", "rtol 0.001"),
    ("fpsolve", "rtol 1e-06"),
    ("fpsolve", "rtol 1e-08"),
    ("Scharfetter–Gummel + LSODA", "4000 cells"),
    ("Scharfetter–Gummel + BDF", "8000 cells"),
    ("Scharfetter–Gummel + Radau", "8000 cells"),
    ("central flux, two meshes + LSODA", "1152 + 2304 cells"),
    ("py-pde", "360 + 720 cells, extrapolated"),
    ("FiPy", "1536 cells, 60 + 120 steps"),
    ("Monte Carlo", "300000 particles, step 0.25"),
)


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


def publish(results: dict[str, Any], docs: Path) -> None:
    """Write table and picture into `docs`, and the short table into `performance.md` there."""
    write(results, docs)
    (docs / "work_precision.json").unlink()
    page = docs / "performance.md"
    before, rest = page.read_text().split("| Fig. 1 |", 1)
    _, after = rest.split("\n\n", 1)
    short = [
        row
        for wanted in _SHORT
        for row in results["contests"]["fig1"]["rows"]
        if (row["method"], row["setting"]) == wanted
    ]
    table = _contest(short).replace("| method | setting |", "| Fig. 1 | setting |")
    about = results["machine"]
    taken = (
        f"Taken on {about['cores']} cores, load average {about['load'][0]} before and "
        f"{about['load'][1]} after: ratios within this run count, not the times."
    )
    after = re.sub(r"Taken on .*?, not the times\.", taken, after, count=1)
    page.write_text(f"{before}{table}\n{after}")


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
    many = results["threads"]
    parts.append(
        f"{many['problems']} small problems: one thread {_duration(many['one'])}, two threads "
        f"{_duration(many['two'])}, two processes {_duration(many['processes'])}.\n"
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
    """Compare fpsolve at rtol 1e-6 with the two peers that have a target, on Fig. 1."""
    rows = results["contests"]["fig1"]["rows"]

    def seconds(method: str, setting: str) -> float:
        return next(r["seconds"] for r in rows if r["method"] == method and r["setting"] == setting)

    own = seconds("fpsolve", "rtol 1e-06")
    gummel = seconds("Scharfetter–Gummel + LSODA", "4000 cells") / own
    central = seconds("central flux, two meshes + LSODA", "1152 + 2304 cells") / own
    return (
        f"Fig. 1 at rtol 1e-6: {gummel:.1f} times as fast as Scharfetter–Gummel + LSODA with 4000 "
        f"cells (target 30), {central:.1f} times as fast as the central flux on 1152 + 2304 cells "
        "(target 10).\n"
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
                marker="osD^v<>P*"[number],
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
