"""`Page`: the controls of one window, and what happens when they move."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any
from urllib.parse import quote

import numpy as np
import panel as pn
from bokeh.models import CustomJSTickFormatter

from fpsolve.density.trajectory import DensityTrajectory
from fpsolve.errors import ParameterError
from fpsolve.explorer.controls import Controls, at_once, note
from fpsolve.explorer.presets import PRESETS, preset
from fpsolve.explorer.results import AT, COARSE, FULL, TIMES, python_text
from fpsolve.explorer.settings import (
    Settings,
    problem_of,
    query_of,
    settings_of_query,
)
from fpsolve.explorer.views import Views
from fpsolve.explorer.workers import Task, Workers

__all__ = ["Page"]

# Seconds a solve may take while a control moves, and at rest.
_BUDGET = {COARSE: 5.0, FULL: 20.0}
_EXPORT = 120.0
# A solve of what is shown no more is stopped after so many seconds.
_PATIENCE = 0.5
# What lies further down follows the first two pictures by so many seconds: a browser that has less
# to draw draws sooner.
_BELOW = 0.1
# Seconds without a move after which the page is at rest.
_REST = 0.35


class Page:
    """One window: its controls, pictures and tasks.

    Parameters
    ----------
    workers : Workers
        Processes that compute.
    settings : Settings
        What the controls show first.
    post : callable
        Runs a function in this window's own thread.
    link : callable
        Told the query of a link whenever the settings change.
    index : int
        Which of the times is shown first.
    kept : str
        Query of the settings whose curves are kept beside, if any.
    trouble : str
        What is wrong with the link, told until something moves.
    """

    def __init__(
        self,
        workers: Workers,
        settings: Settings,
        post: Callable[[Callable[[], None]], None],
        link: Callable[[str], None],
        *,
        index: int = AT,
        kept: str = "",
        trouble: str = "",
    ) -> None:
        self.workers, self._post, self._link = workers, post, link
        self.views = Views()
        self.controls = Controls(settings, self._moved)
        self.result: DensityTrajectory | None = None
        # What the result shown was asked for, and its flip rate.
        self._shown: tuple[Settings, float] = (settings, COARSE)
        self._flips: Any = None
        self._runs: list[Any] = []
        self._solving: Task | None = None
        self._solving_since = 0.0
        self._waiting: float | None = None
        self._others: list[Task] = []
        self._rest: threading.Timer | None = None
        self._below: threading.Timer | None = None
        self._kept = kept
        self._trouble = ""
        self.message = note(css_classes=["message"])
        self.slider = pn.widgets.FloatSlider(
            label="time τ",
            start=0,
            end=TIMES - 1,
            step=1,
            value=index,
            sizing_mode="stretch_width",
        )
        at_once(self.slider)
        self._horizon = 0.0
        self._set_clock()
        self.slider.param.watch(lambda _: post(self._turned), "value")
        self.about = note()
        self._build()
        if kept:
            self._restore(kept)
        self._moved()
        self._trouble = trouble

    # --- what is seen ----------------------------------------------------------------------------

    def _build(self) -> None:
        self.presets = pn.widgets.Select(
            label="start from",
            options={"choose a setting …": "", **{name: name for name in PRESETS}},
            value="",
            sizing_mode="stretch_width",
        )
        self.presets.param.watch(self._load_preset, "value")
        self.axes = pn.widgets.RadioButtonGroup(
            label="axes", options=list(self.views.errors), value="linear"
        )
        self.axes.param.watch(lambda _: self._post(self._choose_axes), "value")
        keep = pn.widgets.Button(label="keep these curves")
        keep.on_click(lambda _: self._post(self.keep))
        drop = pn.widgets.Button(label="drop them")
        drop.on_click(lambda _: self._post(self.drop))
        self.sidebar = [self.presets, self.message, *self.controls.panels, self._exports()]
        views = self.views
        # Figures that are only hidden would be laid out again whenever a curve moves.
        self._error = pn.Column(views.errors[self.axes.value], sizing_mode="stretch_width")
        errors = pn.Column(
            pn.FlexBox(self.axes, keep, drop), self._error, sizing_mode="stretch_width"
        )
        self.main = [
            self.slider,
            self.about,
            pn.pane.Bokeh(views.density, sizing_mode="stretch_width"),
            errors,
            pn.pane.Bokeh(views.orders, sizing_mode="stretch_width"),
            pn.pane.Bokeh(views.occupancy, sizing_mode="stretch_width"),
            pn.pane.Bokeh(views.flips, sizing_mode="stretch_width"),
        ]

    def _exports(self) -> Any:
        """Downloads: the problem, the result, the picture, and the Python that gives it.

        What is kept has a problem and a result of its own; picture and Python hold both.
        """
        files = {
            "problem.toml": self._toml,
            "result.h5": self._hdf5,
            "figure.png": self._png,
            "figure.svg": self._svg,
            "result.py": self._python,
        }
        kept = {"kept.toml": self._kept_toml, "kept.h5": self._kept_hdf5}
        self._kept_files = pn.Column(
            *_downloads(kept), visible=bool(self._kept), sizing_mode="stretch_width"
        )
        buttons = [*_downloads(files), self._kept_files]
        return pn.Card(*buttons, title="export", collapsed=True, sizing_mode="stretch_width")

    # Panel asks whether a callback is a coroutine function, which a partial one is not.
    async def _hdf5(self) -> BytesIO:
        return await self._file("hdf5", dict(self.controls.settings))

    async def _kept_hdf5(self) -> BytesIO:
        return await self._file("hdf5", settings_of_query(self._kept))

    async def _png(self) -> BytesIO:
        return await self._picture("png")

    async def _svg(self) -> BytesIO:
        return await self._picture("svg")

    async def _picture(self, kind: str) -> BytesIO:
        kept = settings_of_query(self._kept) if self._kept else None
        return await self._file("picture", dict(self.controls.settings), kind, kept, self._index)

    def _toml(self) -> BytesIO:
        return BytesIO(problem_of(self.controls.settings).to_toml().encode())

    def _kept_toml(self) -> BytesIO:
        return BytesIO(problem_of(settings_of_query(self._kept)).to_toml().encode())

    def _python(self) -> BytesIO:
        kept = settings_of_query(self._kept)["horizon"] if self._kept else None
        horizon = self.controls.settings["horizon"]
        return BytesIO(python_text(horizon=horizon, kept=kept).encode())

    async def _file(self, name: str, *arguments: Any) -> BytesIO:
        """Have a file made; other windows, and this one, go on meanwhile."""
        found: list[Any] = []
        refused: list[tuple[str, str]] = []
        ended = threading.Event()

        def done(reason: tuple[str, str] | None) -> None:
            refused.extend([] if reason is None else [reason])
            ended.set()

        self.workers.start(Task(name, arguments, budget=_EXPORT, part=found.append, done=done))
        await asyncio.to_thread(ended.wait)
        if refused:
            self._tell(*refused[0])
        return BytesIO(*found)

    # --- what moves ------------------------------------------------------------------------------

    def _moved(self) -> None:
        """A control has moved: solve coarsely now, and at full accuracy once it rests."""
        self._trouble = ""
        if self._rest is not None:
            self._rest.cancel()
        refused: tuple[str, str] = ("", "")
        try:
            problem_of(self.controls.settings)
        except ParameterError as error:
            refused = (error.field, str(error))
            if self._solving is not None:
                self._solving.stop()
            self._solving = self._waiting = None
        else:
            self._wish(COARSE)
            self._rest = threading.Timer(_REST, lambda: self._post(self._rested))
            self._rest.daemon = True
            self._rest.start()
        for other in self._others:
            other.stop()
        # What is seen may change only under the document's lock, which a tick of its own has.
        self._post(lambda: self._follow(*refused))

    def _follow(self, field: str, message: str) -> None:
        """Show what a move means besides its curves."""
        self._stop_others()
        self._tell(field, message or self._trouble)
        if not message:
            self._set_clock()

    def _rested(self) -> None:
        self._wish(FULL)
        self._share()

    def _wish(self, rtol: float) -> None:
        """Solve for what the controls say next; of several wishes the last one counts."""
        self._waiting = rtol
        if self._solving is None:
            self._next()
        elif time.monotonic() - self._solving_since > _PATIENCE:
            self._solving.stop()
            self._solving = None
            self._next()

    def _next(self) -> None:
        if self._waiting is None:
            return
        rtol, self._waiting = self._waiting, None
        settings = dict(self.controls.settings)
        found: list[Any] = []
        task = Task(
            "density",
            [settings, rtol],
            budget=_BUDGET[rtol],
            part=found.append,
            done=lambda refused: self._post(lambda: self._solved(task, found, refused)),
        )
        self._solving, self._solving_since = task, time.monotonic()
        self.workers.start(task)

    def _solved(
        self,
        task: Task,
        found: list[Any],
        refused: tuple[str, str] | None,
    ) -> None:
        if task is not self._solving:
            return
        self._solving = None
        settings, rtol = task.call[1]
        if found:
            self.result, self._shown = found[0], (settings, rtol)
            self.views.show_paths(self.result)
            self._show_time()
            self._show_below_soon()
            # What a coarser solve of the same settings complained of is over.
            if rtol == FULL and self._waiting is None:
                self._tell("", self._trouble)
            if rtol == FULL and len(found) > 1:
                self._flips = found[1]
                self.views.show_flips(self.result.times, self._flips)
            elif refused is not None:
                # The budget, or the worker process, has ended between the curves and the rates.
                self._tell(*refused)
        elif refused is not None:
            self._tell(*refused)
        if self._waiting is not None:
            self._next()
        elif found and rtol == FULL:
            self._ask_others()

    def _ask_others(self) -> None:
        """At rest: the closure, the stationary states, and runs of the finite machine."""
        settings = dict(self.controls.settings)
        self._stop_others()
        horizon = settings["horizon"]

        def refer(found: Any) -> None:
            self._post(lambda: self.views.show_references(found, horizon))

        def run(found: Any) -> None:
            self._post(lambda: self._add_run(task, found))

        nothing: Callable[[Any], None] = lambda _: None  # noqa: E731
        references = Task("references", [settings], budget=20.0, part=refer, done=nothing)
        task = Task("particles", [settings], budget=30.0, part=run, done=nothing, patient=True)
        self._others = [references, task]
        for other in self._others:
            self.workers.start(other)

    def _add_run(self, task: Task, run: Any) -> None:
        if task.stopped or self.result is None:
            return
        self._runs.append(run)
        self.views.add_run(run)
        self._show_runs()

    def _stop_others(self) -> None:
        for task in self._others:
            task.stop()
        self._others = []
        self._runs = []
        self.views.clear_particles()

    # --- what is shown ---------------------------------------------------------------------------

    def _turned(self) -> None:
        """The time slider has moved."""
        self._show_time()
        self._show_below_soon()
        self._share()

    @property
    def _index(self) -> int:
        return int(self.slider.value)

    def _set_clock(self) -> None:
        """Let the time slider say which time its position means."""
        horizon = self.controls.settings["horizon"]
        if horizon != self._horizon:
            self._horizon = horizon
            code = f"return Number((h*(tick/{TIMES - 1})**2).toPrecision(4))"
            self.slider.format = CustomJSTickFormatter(args={"h": horizon}, code=code)

    def _show_time(self) -> None:
        if self.result is None:
            return
        index = self._index
        self.views.show_time(self.result, index)
        error = self.result.order_parameters.generalization_error[index]
        self.about.text = f"τ = {self.result.times[index]:.5g}    ε_g = {error:.6g}" + _frozen(
            self.result, index
        )

    def _show_below_soon(self) -> None:
        if self._below is not None:
            self._below.cancel()
        self._below = threading.Timer(_BELOW, lambda: self._post(self._show_below))
        self._below.daemon = True
        self._below.start()

    def _show_below(self) -> None:
        if self.result is not None:
            self.views.show_orders(self.result)
            self.views.show_occupancy(self.result, self._index)
            self._show_runs()

    def _show_runs(self) -> None:
        if self.result is not None:
            now = float(self.result.times[self._index])
            self.views.show_runs(self._runs, self.result.problem, now)

    def _choose_axes(self) -> None:
        self._error[:] = [self.views.errors[self.axes.value]]

    def _load_preset(self, event: Any) -> None:
        if event.new:
            self.controls.set(preset(event.new))

    def _tell(self, field: str, message: str) -> None:
        beside = self.controls.tell(field, message)
        self.message.text = "" if beside else message

    def keep(self) -> None:
        """Keep the curves shown; the link names the settings that gave them, and no others."""
        if self.result is None:
            return
        settings, rtol = self._shown
        # A link without settings is Fig. 1, which must be told from no link at all.
        self._kept = query_of(settings) or "horizon=100"
        self.views.keep(self.result, self._index)
        self._show_time()
        if rtol == FULL:
            self.views.keep_flips(self.result.times, self._flips)
        else:  # caught in motion: what the link will give comes as soon as it is solved
            self._restore(self._kept)
        self._share()

    def drop(self) -> None:
        """Drop what was kept."""
        self._kept = ""
        self.views.drop()
        self._share()

    def _restore(self, kept: str) -> None:
        """Solve for the settings a link keeps, and show their curves."""

        found: list[Any] = []

        def done(_: Any) -> None:
            # Something else may have been kept meanwhile, or nothing.
            if len(found) == 2:
                self._post(lambda: show() if self._kept == kept else None)

        def show() -> None:
            self.views.keep(found[0], self._index)
            self._show_time()
            self.views.keep_flips(found[0].times, found[1])

        settings = settings_of_query(kept)
        call, budget = [settings, FULL], _BUDGET[FULL]
        self.workers.start(Task("density", call, budget=budget, part=found.append, done=done))

    def _share(self) -> None:
        self._kept_files.visible = bool(self._kept)
        parts = [query_of(self.controls.settings)]
        if self._index != AT:
            parts.append(f"at={self._index}")
        if self._kept:
            parts.append(f"kept={quote(self._kept, safe='')}")
        self._link("&".join(part for part in parts if part))

    def close(self) -> None:
        """The window has gone: stop what still runs for it."""
        for timer in (self._rest, self._below):
            if timer is not None:
                timer.cancel()
        for task in [self._solving, *self._others]:
            if task is not None:
                task.stop()


def _downloads(files: Mapping[str, Callable[[], Any]]) -> list[Any]:
    return [
        pn.widgets.FileDownload(
            callback=make, filename=name, label=name, embed=False, auto=True,
            sizing_mode="stretch_width",
        )
        for name, make in files.items()
    ]  # fmt: skip


def _frozen(result: DensityTrajectory, index: int) -> str:
    share = float(np.asarray(result.frozen)[index])
    return f"    {share:.1%} of the weights in points" if share > 0 else ""
