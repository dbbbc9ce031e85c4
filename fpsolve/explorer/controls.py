"""`Controls`: sliders and lists in the paper's symbols, each with room for a message."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import panel as pn
from bokeh.models import CustomJSTickFormatter, Div

from fpsolve.explorer.settings import CONTROLS, GROUPS, Control, Settings, hidden

__all__ = ["Controls", "at_once", "note"]

_TITLES = {"rules": "rules beyond the paper"}


class Controls:
    """All controls of a window.

    Parameters
    ----------
    settings : Settings
        What they show first.
    moved : callable
        Called after every move.

    Attributes
    ----------
    settings : Settings
        What they say now.
    panels : list
        One card a group.
    """

    def __init__(self, settings: Mapping[str, Any], moved: Callable[[], None]) -> None:
        self.settings: Settings = dict(settings)
        self._moved = moved
        self._quiet = True
        self.widgets = {n: _widget(c, self.settings[n]) for n, c in CONTROLS.items()}
        self._messages = {n: note(css_classes=["message"], visible=False) for n in CONTROLS}
        self.panels = [
            pn.Card(
                *(
                    pn.Column(self.widgets[n], self._messages[n], sizing_mode="stretch_width")
                    for n, c in CONTROLS.items()
                    if c.group == group
                ),
                title=_TITLES.get(group, group),
                collapsed=group in ("rules", "start"),
                sizing_mode="stretch_width",
            )
            for group in GROUPS
        ]
        for name, widget in self.widgets.items():
            widget.param.watch(lambda event, name=name: self._take(name, event.new), "value")
        self._arrange()
        self._quiet = False

    def _take(self, name: str, value: Any) -> None:
        self.settings[name] = _value(CONTROLS[name], value)
        if not self._quiet:
            self._arrange()
            self._moved()

    def set(self, settings: Mapping[str, Any]) -> None:
        """Show other settings, as one move."""
        self._quiet = True
        for name, value in settings.items():
            control, widget = CONTROLS[name], self.widgets[name]
            shown = _position(control, value)
            if isinstance(shown, int | float):
                widget.param.update(start=min(widget.start, shown), end=max(widget.end, shown))
            widget.value = shown
            self.settings[name] = value
        self._quiet = False
        self._arrange()
        self._moved()

    def _arrange(self) -> None:
        """Hide what the other controls make meaningless."""
        out = hidden(self.settings)
        for name, widget in self.widgets.items():
            # Telling Panel what it knows already costs a move some milliseconds.
            if widget.visible == (name in out):
                widget.visible = name not in out

    def tell(self, field: str, message: str) -> bool:
        """Show a message beside the control it is about; return whether there is one."""
        out = hidden(self.settings)
        last = field.rsplit(".", 1)[-1]
        found = False
        for name, control in CONTROLS.items():
            names = {name, control.field}
            mine = bool(message) and not found and name not in out and {field, last} & names
            found = found or bool(mine)
            beside, text = self._messages[name], message if mine else ""
            if beside.text != text:
                beside.update(text=text, visible=bool(text))
        return found


def note(**options: Any) -> Div:
    """Return a line of text: Bokeh's own, as Panel's sends its style sheets with every change."""
    styles = {"white-space": "pre-wrap"}
    return Div(render_as_text=True, sizing_mode="stretch_width", styles=styles, **options)


def at_once(widget: Any) -> Any:
    """Let a widget tell its value without the 50 ms that Panel waits for another one.

    Solves wait for each other here, so that moves that come faster are left out anyway.
    """
    widget._debounce = 0
    return widget


def _widget(control: Control, value: Any) -> Any:
    common = {"label": control.label, "sizing_mode": "stretch_width"}
    if control.choices:
        return pn.widgets.Select(options=list(control.choices), value=value, **common)
    if isinstance(control.default, str):
        return pn.widgets.TextInput(value=value, **common)
    position = _position(control, value)
    low, high = _position(control, control.low), _position(control, control.high)
    ends = {"start": min(low, position), "end": max(high, position)}
    if isinstance(control.default, int):
        return at_once(pn.widgets.IntSlider(value=position, **ends, **common))
    options: dict[str, Any] = {"step": control.step}
    if control.log:
        options["format"] = CustomJSTickFormatter(code="return Number((10**tick).toPrecision(3))")
    return at_once(pn.widgets.FloatSlider(value=position, **ends, **options, **common))


def _position(control: Control, value: Any) -> Any:
    """Where a slider stands for a value."""
    return math.log10(value) if control.log else value


def _value(control: Control, position: Any) -> Any:
    """What a slider's position means, with six digits on a logarithmic one."""
    if control.log:
        return float(f"{10**position:.6g}")
    return position if isinstance(position, str | int) else float(f"{position:.12g}")
