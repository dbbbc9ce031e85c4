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
# How far a page is wider than its window, and images that did not load.
_PROBE = """() => ({
  wide: document.documentElement.scrollWidth - innerWidth,
  lost: [...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.src),
})"""


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


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium."""
    playwright = pytest.importorskip("playwright.sync_api")
    if BROWSER is None:
        pytest.skip("no Chromium on the path")
    with playwright.sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
def test_all_pages_fit_their_window(site: Path, browser, width: int) -> None:
    view = browser.new_page(viewport={"width": width, "height": 900})
    pages = [page for page in site.rglob("*.html") if "_modules" not in page.parts]
    assert len(pages) > 60
    for page in pages:
        view.goto(page.as_uri())
        assert view.evaluate(_PROBE) == {"wide": 0, "lost": []}, page.relative_to(site)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("callback", "Watch a run"),
        ("solve_pde", "Solving and simulating"),
        ("ridge", "How do range and ridge act together?"),
    ],
)
def test_a_search_finds_pages(site: Path, browser, words: str, found: str) -> None:
    view = browser.new_page()
    view.goto(f"{(site / 'search.html').as_uri()}?q={words}")
    view.wait_for_selector("#search-results li a", timeout=20_000)
    view.wait_for_timeout(500)
    titles = view.locator("#search-results li a").all_inner_texts()
    assert any(found in title for title in titles), titles[:20]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_site_follows_the_readers_colours(site: Path, browser, scheme: str) -> None:
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
