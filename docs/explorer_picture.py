"""Take the picture of the explorer on the site: `python docs/explorer_picture.py [FOLDER]`.

With a folder: all of them, wide and narrow, light and dark, to be looked at.

Needs Chromium, and the extras `explore` and `test`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

# File -> window width, colours, how long the page is shown in pixels.
PICTURES = {
    "explorer.png": (1280, "light", 1000),
    "explorer_dark.png": (1280, "dark", 1000),
    "explorer_narrow.png": (500, "light", 1000),
    "explorer_narrow_dark.png": (500, "dark", 1000),
}
READY = """() => {
  const doc = window.Bokeh && Bokeh.documents[0];
  const runs = doc && doc.get_model_by_name("particles");
  return runs && new Set(runs.data.tau).size > 5 && runs.data.tau.length > 30;
}"""


def take(folder: Path, names: list[str]) -> None:
    """Serve the page, wait until all of it is there, and keep what is seen."""
    command = [sys.executable, "-m", "fpsolve", "explore", "--no-browser"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        address = server.stdout.readline().split()[0]
        with sync_playwright() as play:
            chromium = shutil.which("chromium") or shutil.which("chromium-browser")
            browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            for name in names:
                width, scheme, height = PICTURES[name]
                size = {"width": width, "height": height}
                page = browser.new_page(viewport=size, color_scheme=scheme)
                page.goto(address + "?at=30&kept=omega%3D1.5")
                page.wait_for_function(READY, timeout=120_000)
                page.wait_for_timeout(1500)
                page.screenshot(path=folder / name)
                page.close()
            browser.close()
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    where = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    take(where, list(PICTURES) if len(sys.argv) > 1 else ["explorer.png"])
