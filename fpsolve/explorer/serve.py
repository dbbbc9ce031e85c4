"""`explore`: the page in a notebook, and on a port of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from fpsolve.errors import ParameterError
from fpsolve.explorer.presets import PRESETS, preset
from fpsolve.explorer.results import AT, TIMES
from fpsolve.explorer.settings import Settings, settings_of, settings_of_query
from fpsolve.problem.problem import Problem

__all__ = ["explore", "is_loopback", "serve"]

_LOOPBACK = ("127.0.0.1", "localhost")
_STYLE = """
.title { font-size: clamp(15px, 2.4vw, 26px) !important; }
@media (max-width: 700px) {
  /* Pictures above, controls below, each half of a narrow window. */
  #content { flex-direction: column; }
  #main { order: 0; height: 52vh; padding: 0 4px; }
  #sidebar { order: 1; min-width: 100% !important; max-width: 100% !important; height: 40vh;
             border-top: 2px solid #888; box-sizing: border-box; }
}
"""
# A browser that prefers dark colours gets them, unless the link says otherwise.
_FOLLOW = """<script>
const wanted = new URLSearchParams(window.location.search);
if (matchMedia("(prefers-color-scheme: dark)").matches && !wanted.has("theme")) {
  wanted.set("theme", "dark");
  window.location.replace(window.location.pathname + "?" + wanted.toString());
}
</script>"""
_log = logging.getLogger(__name__)


def explore(problem: Problem | None = None, *, horizon: float = 100.0) -> Any:
    """Show the page of a problem in a notebook.

    Parameters
    ----------
    problem : Problem, optional
        What to start from; the paper's Fig. 1 by default.
    horizon : float, default 100
        Last time τ (dimensionless).

    Returns
    -------
    panel.viewable.Viewable
        What a notebook shows; `.servable()` or `.show()` serve it elsewhere.

    Raises
    ------
    ParameterError
        If the page has no control for what the problem says, or Panel is not installed.

    Examples
    --------
    >>> import fpsolve
    >>> page = fpsolve.explore()
    """
    panel = _panel(inline=True)
    settings = _start(problem, horizon)
    from fpsolve.explorer.page import Page

    shown: list[Any] = []
    page = Page(_shared_workers(), settings, _poster(panel, shown), lambda query: None)
    controls = panel.Column(*page.sidebar, width=330)
    shown.append(panel.Row(controls, panel.Column(*page.main, sizing_mode="stretch_width")))
    return shown[0]


def _poster(panel: Any, shown: list[Any]) -> Callable[[Callable[[], None]], None]:
    """Return what runs a function where the pictures of `shown` may change, and sends them on.

    In an app that Panel serves that is its document; in a notebook the kernel's own thread, between
    cells; anywhere else nobody looks, and it is done at once.
    """
    document = panel.state.curdoc
    if document is not None:
        return lambda work: document.add_next_tick_callback(lambda: _in_one_message(panel, work))
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return lambda work: work()

    def tell(work: Callable[[], None]) -> None:
        work()
        panel.io.push_notebook(*shown)

    def post(work: Callable[[], None]) -> None:
        # A kernel that has ended looks at nothing any more.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(tell, work)

    return post


def serve(
    problem: Problem | None = None,
    *,
    horizon: float = 100.0,
    port: int = 0,
    address: str = "127.0.0.1",
    show: bool = True,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve the page until interrupted; every window has its own state.

    Parameters
    ----------
    problem, horizon
        As for `explore`.
    port : int, default 0
        Port to listen on; 0 takes a free one.
    address : str, default "127.0.0.1"
        Address to listen on: loopback, unless told otherwise.
    show : bool, default True
        Whether to open a browser.
    ready : callable, optional
        Told the page's address once it can be opened.
    """
    panel = _panel()
    start = _start(problem, horizon)
    # The template would take a font from another host; the system's own serves as well.
    panel.theme.fast.Fast._resources.pop("font", None)
    workers = _shared_workers()
    workers.warm()
    port = port or _free_port(address)
    # Only the page itself may talk to the server, not what other hosts' pages would send.
    origins = {f"{name}:{port}" for name in (address, *_LOOPBACK)}
    server = panel.serve(
        {"/": lambda: _window(panel, workers, start)},
        port=port,
        address=address,
        show=False,
        start=False,
        title="fpsolve",
        websocket_origin=sorted(origins),
        verbose=False,
    )
    server.start()
    url = f"http://{address}:{server.port}/"
    if ready is not None:
        ready(url)
    if not is_loopback(address):
        _log.warning("listening on %s: whoever reaches this machine can use the page", address)
    if show:
        server.show("/")
    try:
        # Ctrl-C is how a server is meant to end; whatever else ends it is an error and goes on.
        with contextlib.suppress(KeyboardInterrupt):
            server.io_loop.start()
    finally:
        server.stop()
        _WORKERS.remove(workers)
        workers.close()


def _free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach an address."""
    return address in _LOOPBACK


def _window(panel: Any, workers: Any, start: Settings) -> Any:
    """Build the page of one window from its link."""
    from fpsolve.explorer.page import Page

    location = panel.state.location
    told = dict(parse_qsl(location.search.lstrip("?"), keep_blank_values=True))
    settings, trouble = _settings(start, told, location.search)
    document = panel.state.curdoc

    def link(text: str) -> None:
        theme = f"theme={told['theme']}" if "theme" in told else ""
        query = "&".join(part for part in (text, theme) if part)
        location.search = f"?{query}" if query else ""

    kept, trouble = _kept(told.get("kept", ""), trouble)
    at = told.get("at", "")
    index = int(at) if at.isdecimal() and int(at) < TIMES else AT
    page = Page(
        workers,
        settings,
        lambda work: document.add_next_tick_callback(lambda: _in_one_message(panel, work)),
        link,
        index=index,
        kept=kept,
        trouble=trouble,
    )
    document.on_session_destroyed(lambda _: page.close())
    follow = panel.pane.HTML(_FOLLOW, width=0, height=0, margin=0)
    return panel.template.FastListTemplate(
        title="fpsolve: the density under your fingers",
        header=[follow],
        sidebar=page.sidebar,
        main=page.main,
        raw_css=[_STYLE],
        sidebar_width=330,
    )


def _in_one_message(panel: Any, work: Callable[[], None]) -> None:
    """Do `work`; what it changes reaches the browser together, so that it draws once.

    Bokeh's own `hold` only puts the changes off: each is then a message of its own. Panel's drops
    those of a page that has been read but has not said so yet; this one sends them as they come.
    """
    with panel.io.unlocked():
        work()


def _settings(start: Settings, told: dict[str, str], query: str) -> tuple[Settings, str]:
    """Return the settings of a link, or those to start from and what is wrong with the link."""
    try:
        found = settings_of_query(query)
    except ParameterError as error:
        return dict(start), f"the link: {error}"
    return start | {name: value for name, value in found.items() if name in told}, ""


def _kept(query: str, trouble: str) -> tuple[str, str]:
    """Return the kept settings of a link if they can be read."""
    try:
        settings_of_query(query)
    except ParameterError as error:
        return "", f"the link: {error}"
    return query, trouble


def _start(problem: Problem | None, horizon: float) -> Settings:
    if problem is None:
        return preset(next(iter(PRESETS))) | {"horizon": horizon}
    return settings_of(problem, horizon)


def _panel(*, inline: bool = False) -> Any:
    """Return Panel, what browsers need of it in the notebook itself if `inline`."""
    try:
        import panel
    except ImportError:
        raise ParameterError(
            "explore", "panel", "is not installed; pip install 'fpsolve[explore]'"
        ) from None
    # A notebook would otherwise load it from another host.
    panel.extension(notifications=False, **({"inline": True} if inline else {}))
    return panel


_WORKERS: list[Any] = []


def _shared_workers() -> Any:
    from fpsolve.explorer.workers import Workers

    if not _WORKERS:
        _WORKERS.append(Workers())
    return _WORKERS[0]
