"""Reading the report as a reader would: in headless Chromium, light and dark, and on A4 paper."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from html import unescape
from pathlib import Path

__all__ = ["faults", "find_browser"]

HERE = Path(__file__).parent
# Windows of a desk and of a telephone; A4 is checked as printed.
WIDTHS = (1280, 400)
# Chromium makes no narrower window: the page itself is kept as narrow.
_NARROWEST = 500
# A4 in PostScript points, as Chromium rounds it.
_A4 = (594.96, 841.92)
_QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
    "--no-first-run",
)


def find_browser() -> str | None:
    """Return the path of Chromium, None if there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def faults(page: Path, browser: str) -> list[str]:
    """Return what a reader would complain of: missing resources, overflowing or faint text, ….

    Parameters
    ----------
    page : Path
        The report.
    browser : str
        Chromium.
    """
    probe = (HERE / "browser_probe.js").read_text(encoding="utf-8")
    text = page.read_text(encoding="utf-8")
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        probed = folder / "probed.html"
        probed.write_text(
            text.replace("</body>", f"<script>{probe}</script></body>"), encoding="utf-8"
        )
        for width in WIDTHS:
            if width < _NARROWEST:
                text = probed.read_text(encoding="utf-8")
                style = f"<style>html {{ width: {width}px }}</style></head>"
                probed.write_text(text.replace("</head>", style), encoding="utf-8")
            for dark in (False, True):
                where = f"{width} px wide, {'dark' if dark else 'light'}"
                found += [f"{where}: {fault}" for fault in _probe(probed, browser, width, dark)]
        found += _paper(page, browser, folder / "report.pdf")
    return found


def _run(browser: str, page: Path, *options: str) -> str:
    with tempfile.TemporaryDirectory() as profile:
        return subprocess.run(
            [browser, *_QUIET, f"--user-data-dir={profile}", *options, page.resolve().as_uri()],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        ).stdout


def _probe(page: Path, browser: str, width: int, dark: bool) -> list[str]:
    options = [f"--window-size={width},900", "--virtual-time-budget=20000", "--dump-dom"]
    # 0 is dark, 1 is light.
    options.append(f"--blink-settings=preferredColorScheme={0 if dark else 1}")
    verdict = re.search(r"<title>PROBED(.*?)</title>", _run(browser, page, *options), re.S)
    if not verdict:
        return ["the page did not finish loading"]
    told = json.loads(unescape(verdict[1]))
    seen = [] if told["dark"] == dark else ["the page did not follow the colour scheme"]
    return seen + list(told["faults"])


def _paper(page: Path, browser: str, out: Path) -> list[str]:
    """Print the page; every sheet must be A4."""
    _run(browser, page, f"--print-to-pdf={out}", "--no-pdf-header-footer")
    sheets = re.findall(rb"/MediaBox\s*\[\s*0 0 ([\d.]+) ([\d.]+)\s*\]", out.read_bytes())
    odd = {
        (float(w), float(h))
        for w, h in sheets
        if abs(float(w) - _A4[0]) > 1 or abs(float(h) - _A4[1]) > 1
    }
    if not sheets:
        return ["printing gave no page"]
    return [f"printed on {w:g} × {h:g} points, which is not A4" for w, h in sorted(odd)]
