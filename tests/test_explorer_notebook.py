"""The explorer in a notebook: what changes in the kernel reaches the browser's end of the wire."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pytest

import fpsolve
from fpsolve.explorer.presets import PRESETS, preset
from fpsolve.explorer.results import requested
from fpsolve.explorer.settings import problem_of

panel = pytest.importorskip("panel")


def final_error(ridge):
    settings = preset(next(iter(PRESETS))) | {"ridge": ridge}
    result = fpsolve.solve_pde(problem_of(settings), requested(settings["horizon"]))
    return float(result.order_parameters.generalization_error[-1])


def test_a_notebook_hears_of_every_curve(monkeypatch):
    """A kernel's loop runs; messages to its front end are caught where Panel hands them over."""
    from bokeh.document import Document
    from panel.io.model import add_to_doc
    from pyviz_comms import Comm

    sent, threads = [], set()
    path = None

    def send(comm, message):
        """Note the curve of each message that brings one."""
        threads.add(threading.current_thread())
        for change in message.content["events"]:
            if (
                path is not None
                and change.get("attr") == "data"
                and change["model"]["id"] == path.id
            ):
                sent.append(np.array(path.data["error"]))

    monkeypatch.setattr("panel.io.notebook.send", send)

    async def use():
        nonlocal path
        page = fpsolve.explore()
        comm = Comm()
        comm._comm = object()  # an open one
        document = Document()
        root = page.get_root(document, comm)
        add_to_doc(root, document, True)
        path = next(m for m in root.references() if m.name == "path")
        sliders = page.select(panel.widgets.FloatSlider)
        await heard(lambda: final_error(0.0))
        (ridge,) = (s for s in sliders if s.label.startswith("λ"))
        ridge.value = 0.5
        await heard(lambda: final_error(0.5))

    async def heard(expected):
        truth, end = expected(), time.monotonic() + 30
        while not sent or abs(sent[-1][-1] - truth) > 1e-6:
            assert time.monotonic() < end, "nothing came"
            await asyncio.sleep(0.05)

    asyncio.run(use())
    # The kernel's own thread: cells that run meanwhile see nothing half done.
    assert threads == {threading.main_thread()}


def test_a_notebook_asks_no_other_host():
    """Scripts and style sheets come with the page."""
    fpsolve.explore()
    assert panel.config.inline
