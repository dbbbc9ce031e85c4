"""The explorer's page as a reader meets it, in headless Chromium."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pytest

import fpsolve
from fpsolve.explorer.presets import PRESETS, preset
from fpsolve.explorer.results import requested
from fpsolve.explorer.settings import problem_of, settings_of_query

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

# Values of a data source by its name, in a form that JSON carries.
READ = """name => {
  const doc = window.Bokeh && Bokeh.documents[0];
  const source = doc && doc.get_model_by_name(name);
  if (!source) return null;
  return Object.fromEntries(
    Object.entries(source.data).map(([k, v]) => [k, Array.from(v)]));
}"""
# As many waits as a machine shared by others needs; milliseconds.
PATIENCE = 90_000


@pytest.fixture(scope="module")
def server():
    """Address and process of a server."""
    command = [sys.executable, "-m", "fpsolve", "explore", "--no-browser"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    line = server.stdout.readline()
    yield re.match(r"(http://127\.0\.0\.1:\d+/)", line)[1], server.pid
    server.send_signal(signal.SIGINT)
    rest, _ = server.communicate(timeout=20)
    assert (server.returncode, rest) == (0, "")


@pytest.fixture(scope="module")
def address(server):
    return server[0]


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as play:
        chromium = play.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield chromium
        chromium.close()


@contextmanager
def window(browser, url, **options):
    """A window that may not complain, nor ask another host."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
    page = context.new_page()
    troubles = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on(
        "console",
        lambda said: troubles.append(said.text) if said.type in ("error", "warning") else None,
    )
    page.on(
        "request",
        lambda asked: (
            troubles.append(asked.url)
            if not re.match(r"(https?|wss?)://127\.0\.0\.1[:/]|data:|blob:", asked.url)
            else None
        ),
    )
    page.goto(url)
    settled(page)
    yield page
    context.close()
    assert troubles == []


def read(page, name):
    return page.evaluate(READ, name)


def settled(page, horizon=None):
    """Wait for curves and references: the page is at rest at full accuracy."""
    ready = """horizon => {
      const doc = window.Bokeh && Bokeh.documents[0];
      const path = doc && doc.get_model_by_name("path");
      const stationary = doc && doc.get_model_by_name("stationary");
      const size = path ? path.data.tau.length : 0;
      return size > 1 && stationary.data.tau.length > 0
        && (horizon === null || Math.abs(path.data.tau[size - 1] / horizon - 1) < 1e-9);
    }"""
    page.wait_for_function(ready, arg=horizon, timeout=PATIENCE)


def error_path(page):
    path = read(page, "path")
    return np.array(path["tau"]), np.array(path["error"])


def final_error(name_or_settings):
    settings = preset(name_or_settings) if isinstance(name_or_settings, str) else name_or_settings
    result = fpsolve.solve_pde(problem_of(settings), requested(settings["horizon"]))
    return float(result.order_parameters.generalization_error[-1])


def choose(page, label, value):
    page.get_by_label(label, exact=True).first.select_option(value)


def eventually(page, check, seconds=60.0):
    """Wait until `check()` holds; the window hears of what happens only while it is asked."""
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "it never came true"
        page.wait_for_timeout(100)


def test_the_page_shows_the_librarys_result(address, browser):
    with window(browser, address) as page:
        settings = preset(next(iter(PRESETS)))
        result = fpsolve.solve_pde(problem_of(settings), requested(100.0))
        eventually(page, lambda: abs(error_path(page)[1][-1] - final_error(settings)) < 1e-7)
        density = read(page, "density")
        w = np.array(density["w"])
        exact = result.pdf(w, float(result.times[24]))
        np.testing.assert_allclose(density["all"], exact, atol=1e-6 * exact.max())
        assert 1.0 in read(page, "thresholds")["w"]
        eventually(page, lambda: len(set(read(page, "particles")["tau"])) > 5)


WATCH = """() => {
  const path = Bokeh.documents[0].get_model_by_name("path");
  window.moves = [];
  let began = null;
  addEventListener("keydown", () => { began = performance.now(); }, true);
  path.properties.data.change.connect(() => {
    if (began === null) return;
    const start = began;
    began = null;
    // Bokeh draws in the next animation frame; what follows that frame has been drawn.
    requestAnimationFrame(() => setTimeout(() => window.moves.push(performance.now() - start)));
  });
}"""


@pytest.mark.slow
def test_every_move_of_a_slider_draws_the_curve(address, browser, capsys):
    """From the key to the drawn curve, in the browser, on a machine that does nothing else."""
    with window(browser, address) as page:
        page.wait_for_timeout(4000)
        page.evaluate(WATCH)
        ridge = page.locator(".bk-input-group", has_text="λ, ridge").get_by_role("slider")
        ridge.focus()
        for _ in range(15):
            page.keyboard.press("ArrowRight")
            page.wait_for_timeout(2500)
        moves = page.evaluate("window.moves")
    with capsys.disabled():
        print(f"median {np.median(moves):.0f} ms of {sorted(round(m) for m in moves)}")
    assert len(moves) == 15
    assert np.median(moves) < 150


def test_presets_work(address, browser):
    with window(browser, address) as page:
        for name in list(PRESETS)[1:]:
            choose(page, "start from", name)
            expected, horizon = final_error(name), PRESETS[name].get("horizon", 100.0)

            def shown(expected=expected, horizon=horizon):
                tau, error = error_path(page)
                near = abs(error[-1] - expected) < 1e-5 * max(1.0, expected)
                return near and tau[-1] == pytest.approx(horizon)

            eventually(page, shown)
            message = page.locator(".message").all_inner_texts()
            assert not any(text.strip() for text in message), (name, message)


def test_the_link_reproduces_the_page(address, browser):
    with window(browser, address) as page:
        choose(page, "start from", "two signs")
        eventually(page, lambda: "teacher" in page.url and "ridge=0.3" in page.url)
        # What is kept is what is shown: wait for the curves, not for the link alone.
        shown = final_error("two signs")
        eventually(page, lambda: abs(error_path(page)[1][-1] - shown) < 1e-6)
        page.get_by_text("keep these curves").click()
        eventually(page, lambda: "kept=" in page.url)
        choose(page, "start from", "Fig. 8: the closure fails")
        expected = final_error("Fig. 8: the closure fails")
        eventually(page, lambda: abs(error_path(page)[1][-1] - expected) < 1e-6)
        assert abs(read(page, "kept_path")["error"][-1] - shown) < 1e-6
        # The link is written once the page is at rest.
        eventually(page, lambda: "ridge=0.5" in page.url)
        url, kept = page.url, read(page, "kept_path")
    with window(browser, url) as page:
        eventually(page, lambda: abs(error_path(page)[1][-1] - expected) < 1e-6)
        eventually(page, lambda: len(read(page, "kept_path")["tau"]) > 1)
        again = read(page, "kept_path")
        assert again["error"][-1] == pytest.approx(kept["error"][-1], rel=1e-4)
        assert page.url == url
        page.get_by_text("drop them").click()
        eventually(page, lambda: not read(page, "kept_path")["tau"])


def test_what_is_kept_is_what_was_shown_however_early(address, browser):
    """Kept in the middle of a move: curves and link are of the same settings all the same."""
    with window(browser, address) as page:
        ridge = page.locator(".bk-input-group", has_text="λ, ridge").get_by_role("slider")
        ridge.focus()
        for _ in range(5):
            page.keyboard.press("ArrowRight")
        page.get_by_text("keep these curves").click()
        eventually(page, lambda: "kept=" in page.url)
        query = dict(parse_qsl(urlsplit(page.url).query))["kept"]
        expected = final_error(settings_of_query(query))
        eventually(page, lambda: abs(read(page, "kept_path")["error"][-1] - expected) < 1e-6)


def test_flip_rate_is_the_librarys(address, browser):
    with window(browser, address) as page:
        settings = preset(next(iter(PRESETS)))
        result = fpsolve.solve_pde(problem_of(settings), requested(100.0))
        eventually(page, lambda: len(read(page, "flips")["rate"]) == result.times.size)
        rate = fpsolve.flip_rate(result, 900)
        np.testing.assert_allclose(read(page, "flips")["rate"], rate, rtol=1e-9)
        choose(page, "weights ψ", "full precision")
        eventually(page, lambda: not read(page, "flips")["rate"])


def test_keys_move_a_slider_and_the_curve(address, browser):
    with window(browser, address) as page:
        before = error_path(page)[1]
        handles = page.get_by_role("slider")
        assert handles.count() >= 8
        ridge = page.locator(".bk-input-group", has_text="λ, ridge").get_by_role("slider")
        ridge.focus()
        page.keyboard.press("ArrowRight")
        eventually(page, lambda: "ridge=0.01" in page.url)
        eventually(page, lambda: error_path(page)[1][-1] != before[-1])


CONTROLS = """() => {
  const found = [];
  const look = root => root.querySelectorAll("*").forEach(one => {
    if (one.shadowRoot) look(one.shadowRoot);
    const box = one.getBoundingClientRect();
    if (one.matches("input, select, button, textarea, [role=slider]") && !one.disabled
        && box.width > 0 && box.height > 0) found.push(one);
  });
  look(document);
  window.controls = new Set(found);
  return found.length;
}"""
FOCUSED = """() => {
  let one = document.activeElement;
  while (one && one.shadowRoot && one.shadowRoot.activeElement) one = one.shadowRoot.activeElement;
  window.controls.delete(one);
  return one ? one.tagName + (one.className || "") : "";
}"""


def test_every_control_is_reached_by_the_tab_key(address, browser):
    with window(browser, address) as page:
        settled(page)
        count = page.evaluate(CONTROLS)
        assert count > 30
        reached = set()
        for _ in range(3 * count):
            page.keyboard.press("Tab")
            reached.add(page.evaluate(FOCUSED))
        assert page.evaluate("[...window.controls].map(one => one.outerHTML)") == []
        assert any("SELECT" in one for one in reached)
        assert any("noUi-handle" in one for one in reached)
        assert any("BUTTON" in one for one in reached)


def test_refusals_stand_beside_the_control(address, browser):
    with window(browser, address + "?weights=levels") as page:
        box = page.get_by_label("levels", exact=True).first
        box.fill("1, 0, nonsense")
        box.press("Enter")
        message = page.get_by_text("must be numbers with commas between them")
        message.wait_for(timeout=PATIENCE)
        assert "\n" not in message.inner_text().strip()
        box.fill("-1, 0, 1")
        box.press("Enter")
        message.wait_for(state="hidden", timeout=PATIENCE)


def test_a_link_that_cannot_be_read_says_so(address, browser):
    with window(browser, address + "?eta=fast") as page:
        page.get_by_text("the link: eta = 'fast': must be a number").wait_for(timeout=PATIENCE)


def test_windows_do_not_mix(address, browser):
    with window(browser, address) as one, window(browser, address + "?ridge=1") as two:
        other = final_error(preset(next(iter(PRESETS))) | {"ridge": 1.0})
        mine = final_error(preset(next(iter(PRESETS))))
        eventually(two, lambda: abs(error_path(two)[1][-1] - other) < 1e-6)
        choose(two, "start from", "two signs")
        expected = final_error("two signs")
        eventually(two, lambda: abs(error_path(two)[1][-1] - expected) < 1e-6)
        assert error_path(one)[1][-1] == pytest.approx(mine, abs=1e-6)


def download(page, folder, *names):
    """Open what exports, and save the files with these names."""
    page.get_by_text("export", exact=True).click()
    for name in names:
        with page.expect_download(timeout=PATIENCE) as got:
            page.get_by_text(name, exact=True).click()
        got.value.save_as(folder / name)


def test_downloads_are_the_librarys_files(address, browser, tmp_path):
    with window(browser, address + "?ridge=0.5&omega=1") as page:
        settings = preset(next(iter(PRESETS))) | {"ridge": 0.5, "omega": 1.0}
        download(page, tmp_path, "problem.toml", "result.h5", "figure.svg")
        assert fpsolve.Problem.from_toml(tmp_path / "problem.toml") == problem_of(settings)
        stored = fpsolve.load(tmp_path / "result.h5")
        assert float(stored.order_parameters.generalization_error[-1]) == pytest.approx(
            final_error(settings), rel=1e-12
        )


def test_what_is_kept_is_exported_beside_what_is_shown(address, browser, tmp_path):
    kept = preset(next(iter(PRESETS))) | {"ridge": 0.7}
    with window(browser, address + "?ridge=0.2&kept=ridge%3D0.7") as page:
        download(page, tmp_path, "kept.toml", "kept.h5", "result.py", "figure.svg")
        assert fpsolve.Problem.from_toml(tmp_path / "kept.toml") == problem_of(kept)
        stored = fpsolve.load(tmp_path / "kept.h5")
        assert float(stored.order_parameters.generalization_error[-1]) == pytest.approx(
            final_error(kept), rel=1e-12
        )
        assert "kept.toml" in (tmp_path / "result.py").read_text()
        page.get_by_text("drop them").click()
        page.get_by_text("kept.toml", exact=True).wait_for(state="hidden", timeout=PATIENCE)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 500])
def test_the_page_fits_the_window(address, browser, scheme, width):
    size = {"width": width, "height": 900}
    with window(browser, address, viewport=size, color_scheme=scheme) as page:
        page.wait_for_load_state()
        settled(page)
        assert ("theme=dark" in page.url) == (scheme == "dark")
        assert page.evaluate("document.documentElement.scrollWidth") <= width + 1
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        lightness = np.mean([int(c) for c in re.findall(r"\d+", ground)[:3]])
        assert (lightness < 60) if scheme == "dark" else (lightness > 200)


def test_twenty_moves_leave_nothing_behind(server, browser):
    address, pid = server
    with window(browser, address) as page:
        rng = np.random.default_rng(1)

        def move():
            handles = page.get_by_role("slider")
            handle = handles.nth(int(rng.integers(handles.count())))
            if handle.is_visible():
                handle.focus()
                page.keyboard.press(str(rng.choice(["ArrowRight", "ArrowLeft"])))
                page.wait_for_timeout(700)

        for _ in range(5):
            move()
        before = resident(pid)
        for _ in range(20):
            move()
        page.wait_for_timeout(3000)
        assert resident(pid) - before < 20


def resident(pid):
    """Memory of a process in MB."""
    text = Path(f"/proc/{pid}/statm").read_text()
    return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def test_the_error_is_drawn_on_the_axes_that_are_chosen(address, browser):
    kinds = """() => Bokeh.documents[0].roots().flatMap(root => [...root.references()]).filter(
      one => one.type === "Figure" && one.left.some(axis => axis.axis_label === "ε_g")
    ).map(one => [one.below[0].type, one.left[0].type])"""
    with window(browser, address) as page:
        settled(page)
        assert page.evaluate(kinds) == [["LinearAxis", "LinearAxis"]]
        page.get_by_text("log ε", exact=True).click()
        eventually(page, lambda: page.evaluate(kinds) == [["LinearAxis", "LogAxis"]])
        page.get_by_text("log both", exact=True).click()
        eventually(page, lambda: page.evaluate(kinds) == [["LogAxis", "LogAxis"]])
