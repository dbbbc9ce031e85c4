"""The site: it builds without a warning, and a browser shows its pages whole, wide and narrow."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BROWSER = shutil.which("chromium")
WIDTHS = [1280, 400]
# Reports how far a page is wider than its window, and images that did not load.
_PROBE = """
<script>
addEventListener("load", () => setTimeout(() => {
  const wide = document.documentElement.scrollWidth - innerWidth;
  const lost = [...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.src);
  document.title = "probe:" + JSON.stringify({wide, lost});
}, 300));
</script>
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built as CI builds it, warnings being errors."""
    pytest.importorskip("sphinx", reason="needs the docs extra")
    pytest.importorskip("sphinx_gallery", reason="needs the docs extra")
    out = tmp_path_factory.mktemp("site")
    source = tmp_path_factory.mktemp("source")
    for name in ("docs", "examples", "CHANGELOG.md", "CONTRIBUTING.md"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    done = subprocess.run(
        [*command, str(source / "docs"), str(out)], capture_output=True, text=True, timeout=1200
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return out


@pytest.mark.slow
def test_every_example_has_its_picture(site: Path) -> None:
    for script in (ROOT / "examples").glob("*.py"):
        page = (site / "gallery" / f"{script.stem}.html").read_text(encoding="utf-8")
        assert "sphx_glr_" in page, script.stem


@pytest.mark.slow
def test_the_search_index_knows_the_words_of_the_theory(site: Path) -> None:
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    assert all(word in index for word in ("threshold", "closur", "surrog"))


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium on the path")
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "page", ["index", "theory", "theory/misprints", "performance", "api/solve", "gallery/index"]
)
def test_pages_fit_their_window(site: Path, page: str, width: int) -> None:
    path = site / f"{page}.html"
    probed = path.with_name(f"probe-{path.name}")
    text = path.read_text(encoding="utf-8")
    probed.write_text(text.replace("</head>", _PROBE + "</head>"), encoding="utf-8")
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += ["--hide-scrollbars"]
    command += [f"--window-size={width},900", "--virtual-time-budget=4000", probed.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert '<title>probe:{"wide":0,"lost":[]}' in done.stdout, done.stdout[:400]


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium on the path")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_site_follows_the_readers_colours(site: Path, scheme: str) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(color_scheme=scheme)
        for name in ("index", "theory/limit", "api/solve"):
            page.goto((site / f"{name}.html").as_uri())
            ground, ink = page.evaluate(
                """["backgroundColor", "color"].map(what =>
                  getComputedStyle(document.body)[what].match(/[0-9]+/g).slice(0, 3).map(Number))"""
            )
            lighter, darker = (sum(ground), sum(ink)) if scheme == "light" else (
                sum(ink), sum(ground))  # fmt: skip
            assert lighter > darker + 300, (name, ground, ink)
        browser.close()
