"""The pictures of the page: Bokeh figures over data sources that change under them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, Range1d
from bokeh.plotting import figure
from numpy.typing import NDArray

from fpsolve.density.frame import Frame
from fpsolve.density.trajectory import DensityTrajectory
from fpsolve.explorer.occupancy import level_probabilities, level_shares
from fpsolve.explorer.results import FLIPS_OF
from fpsolve.problem.problem import Problem
from fpsolve.problem.teacher import Teacher

__all__ = ["Views"]

Array = NDArray[np.float64]

# Wong (2011), told apart by colour-blind readers, each legible on white and on black.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
_GREY = "#888888"
_MOST_CLASSES = 4
# Points of a curve inside an element, and across a density that has no elements.
_PER_ELEMENT, _ACROSS = 10, 600
# Share of the mass left out on either side of the picture.
_TAIL = 1e-3
# Room around what an axis holds when it is set, and the least share of it that must be filled
# later: the axis stands still meanwhile.
_ROOM, _FILLED = 0.08, 0.6
_PATHS = ("error", "m", "q", "m_psi", "q_psi", "r_psi")


class Views:
    """Figures of one window.

    Attributes
    ----------
    sources : dict of ColumnDataSource
        "density", "parts", "thresholds", "levels", "path", "orders", "closure", "stationary",
        "particles", "occupancy", "kept_density", "kept_path", "now", "flips", "kept_flips".
    density, orders, occupancy, flips : figure
        Densities, order parameters, occupancies, flip rate.
    errors : dict of figure
        ε_g(τ) by its axes: "linear", "log τ", "log ε_g", "log both".
    """

    def __init__(self) -> None:
        columns = {
            "density": ("w", "all"),
            "parts": ("w", *(f"part{i}" for i in range(_MOST_CLASSES))),
            "thresholds": ("w", "low", "high"),
            "levels": ("w", "y"),
            "path": ("tau", "error"),
            "orders": ("tau", *_PATHS),
            "closure": ("tau", *_PATHS),
            "stationary": ("tau", "error"),
            "particles": ("tau", "error"),
            "occupancy": ("level", "share", "width"),
            "occupancy_ste": ("level", "share"),
            "kept_density": ("w", "all"),
            "kept_path": ("tau", "error"),
            "now": ("tau", "error"),
            "flips": ("tau", "rate"),
            "kept_flips": ("tau", "rate"),
        }
        self.sources = {
            name: ColumnDataSource({c: [] for c in names}, name=name)
            for name, names in columns.items()
        }
        self._taus = {"linear": Range1d(0, 1), "log": Range1d(1e-3, 1)}
        self._error, self._order = Range1d(1e-3, 1), Range1d(0, 1)
        self.density = self._density()
        self.errors = {
            "linear": self._errors("linear", "linear"),
            "log τ": self._errors("log", "linear"),
            "log ε": self._errors("linear", "log"),
            "log both": self._errors("log", "log"),
        }
        self.orders = self._orders()
        self.occupancy = self._occupancy()
        self.flips = self._flips()

    # --- figures ---------------------------------------------------------------------------------

    def _density(self) -> Any:
        shape = figure(
            height=330,
            sizing_mode="stretch_width",
            x_range=Range1d(-3, 3),
            y_range=Range1d(0, 1),
            x_axis_label="w",
            y_axis_label="density",
            toolbar_location="above",
            tools="pan,wheel_zoom,reset",
        )
        s = self.sources
        segments = {"x0": "w", "x1": "w", "y0": "low", "y1": "high", "source": s["thresholds"]}
        shape.segment(**segments, color=_GREY, line_dash="dashed", legend_label="thresholds")
        shape.scatter("w", "y", source=s["levels"], color=_GREY, size=8, marker="triangle",
                      legend_label="levels")  # fmt: skip
        shape.line("w", "all", source=s["kept_density"], color=_GREY, line_width=2,
                   line_dash="dotdash", legend_label="kept")  # fmt: skip
        self._parts = [
            shape.line("w", f"part{i}", source=s["parts"], color=COLORS[i + 1], line_width=1.3)
            for i in range(_MOST_CLASSES)
        ]
        shape.line("w", "all", source=s["density"], color=COLORS[0], line_width=2.4,
                   legend_label="all weights")  # fmt: skip
        _legend(shape)
        return shape

    def _errors(self, x: str, y: str) -> Any:
        shape = figure(
            height=330,
            sizing_mode="stretch_width",
            x_range=self._taus[x],
            y_range=self._error,
            x_axis_type=x,
            y_axis_type=y,
            x_axis_label="τ",
            y_axis_label="ε_g",
            toolbar_location="above",
            tools="pan,wheel_zoom,reset",
        )
        s = self.sources
        shape.line("tau", "error", source=s["kept_path"], color=_GREY, line_width=2,
                   line_dash="dotdash", legend_label="kept")  # fmt: skip
        shape.line("tau", "error", source=s["stationary"], color=COLORS[2], line_dash="dotted",
                   line_width=2, legend_label="stationary")  # fmt: skip
        shape.line("tau", "error", source=s["closure"], color=COLORS[1], line_dash="dashed",
                   line_width=2, legend_label="closure")  # fmt: skip
        shape.scatter("tau", "error", source=s["particles"], color=COLORS[3], size=5,
                      legend_label="STE runs")  # fmt: skip
        shape.line("tau", "error", source=s["path"], color=COLORS[0], line_width=2.4,
                   legend_label="density")  # fmt: skip
        shape.scatter("tau", "error", source=s["now"], color=COLORS[0], size=10)
        _legend(shape)
        return shape

    def _orders(self) -> Any:
        shape = figure(
            height=320,
            sizing_mode="stretch_width",
            x_range=self._taus["linear"],
            y_range=self._order,
            x_axis_label="τ",
            toolbar_location="above",
            tools="pan,wheel_zoom,reset",
        )
        for color, name in zip(COLORS, _PATHS[1:], strict=True):
            label = name.replace("_psi", "_ψ")
            common = {"color": color, "line_width": 2}
            shape.line("tau", name, source=self.sources["orders"], legend_label=label, **common)
            shape.line("tau", name, source=self.sources["closure"], line_dash="dashed", **common)
        _legend(shape)
        # Curves fill this picture: its legend lies below it.
        legend = shape.legend[0]
        legend.orientation, legend.spacing = "horizontal", 12
        shape.add_layout(legend, "below")
        return shape

    def _occupancy(self) -> Any:
        shape = figure(
            height=300,
            sizing_mode="stretch_width",
            x_axis_label="level",
            y_axis_label="share of weights",
            x_range=Range1d(-1, 1),
            y_range=Range1d(0, 1),
            toolbar_location=None,
        )
        shape.vbar("level", "width", "share", source=self.sources["occupancy"], color=COLORS[0],
                   alpha=0.6, legend_label="density")  # fmt: skip
        shape.scatter("level", "share", source=self.sources["occupancy_ste"], color=COLORS[3],
                      size=7, legend_label="STE runs")  # fmt: skip
        _legend(shape)
        return shape

    def _flips(self) -> Any:
        shape = figure(
            height=260,
            sizing_mode="stretch_width",
            x_range=self._taus["linear"],
            y_range=Range1d(0, 1),
            x_axis_label="τ",
            y_axis_label=f"flips a step, d = {FLIPS_OF}",
            toolbar_location=None,
        )
        shape.line("tau", "rate", source=self.sources["kept_flips"], color=_GREY, line_width=2,
                   line_dash="dotdash", legend_label="kept")  # fmt: skip
        shape.line("tau", "rate", source=self.sources["flips"], color=COLORS[0], line_width=2.4,
                   legend_label="flip rate")  # fmt: skip
        _legend(shape)
        return shape

    # --- data ------------------------------------------------------------------------------------

    def show_time(self, result: DensityTrajectory, index: int) -> None:
        """Draw the densities at requested time number `index`."""
        time, frame = float(result.times[index]), result.frames[index]
        low, high = self._reach(result, time)
        w = _points(frame, low, high)
        data = {"w": w, "all": result.pdf(w, time)}
        self._show_parts(result.problem.teacher, frame, w)
        own = float(data["all"].max())
        # What is kept is seen whole unless it would dwarf what is shown.
        kept = float(np.max(self.sources["kept_density"].data["all"], initial=0.0))
        _fit(self.density.x_range, low, high)
        _fit(self.density.y_range, 0.0, max(own, min(kept, 3 * own)) or 1.0, floor=0.0)
        low, high = self.density.x_range.start, self.density.x_range.end
        top = self.density.y_range.end
        self.sources["density"].data = data
        quantizer = result.problem.weight_quantizer
        theta = np.empty(0) if quantizer is None else quantizer.thresholds
        levels = np.empty(0) if quantizer is None else quantizer.levels
        seen = theta[(theta > low) & (theta < high)]
        segments = {"w": seen, "low": np.zeros(seen.size), "high": np.full(seen.size, top)}
        _put(self.sources["thresholds"], segments)
        inside = levels[(levels > low) & (levels < high)]
        _put(self.sources["levels"], {"w": inside, "y": np.full(inside.size, 0.015 * top)})
        state = result.order_parameters
        error = float(state.generalization_error[index])
        self.sources["now"].data = {"tau": [max(time, 1e-12)], "error": [error]}

    def _show_parts(self, law: Teacher, frame: Any, w: Array) -> None:
        """Draw what some classes add to the density, where there are several."""
        some = _named(law.probabilities) if law.values.size > 1 else []
        if some or len(self.sources["parts"].data["w"]):
            nothing = np.full(w.size, np.nan)
            parts = [law.probabilities[k] * frame.pdf(k, w) for k in some]
            parts += [nothing] * (_MOST_CLASSES - len(some))
            columns = {f"part{i}": part for i, part in enumerate(parts)}
            self.sources["parts"].data = (
                {"w": w, **columns} if some else {name: [] for name in ("w", *columns)}
            )

    def _reach(self, result: DensityTrajectory, time: float) -> tuple[float, float]:
        """Interval that holds the mass seen, and the bin next to it."""
        low, high = result.quantile([_TAIL, 1 - _TAIL], time)
        quantizer = result.problem.weight_quantizer
        if quantizer is not None:
            # Not closer than the widest bin: a density on one threshold still shows where it is.
            middle = 0.5 * (low + high)
            room = 0.75 * float(np.diff(quantizer.levels).max(initial=0.5))
            low, high = min(low, middle - room), max(high, middle + room)
        return float(low), float(high)

    def show_occupancy(self, result: DensityTrajectory, index: int) -> None:
        """Draw the share of each level at requested time number `index`."""
        quantizer = result.problem.weight_quantizer
        if quantizer is None:
            self.sources["occupancy"].data = {"level": [], "share": [], "width": []}
            return
        share = level_shares(result, index)
        step = float(np.diff(quantizer.levels).min())
        width = np.full(quantizer.levels.size, 0.8 * step)
        self.sources["occupancy"].data = {
            "level": quantizer.levels, "share": share, "width": width
        }  # fmt: skip
        sides = float(quantizer.levels[0] - step), float(quantizer.levels[-1] + step)
        self.occupancy.x_range.update(start=sides[0], end=sides[1])
        _fit(self.occupancy.y_range, 0.0, float(share.max()), floor=0.0)

    def show_paths(self, result: DensityTrajectory) -> None:
        """Draw ε_g at every step of the solve."""
        self.sources["path"].data = _errors_of(result)
        horizon = float(result.times[-1])
        self._taus["linear"].update(start=0.0, end=horizon)
        self._taus["log"].update(start=horizon * 1e-4, end=horizon)
        self._fit_errors()

    def show_flips(self, times: Array, rate: Array | None) -> None:
        """Draw the flip rate, where there is one: only sharp thresholds are crossed."""
        self.sources["flips"].data = _flips_of(times, rate)
        self._fit_flips()

    def _fit_flips(self) -> None:
        rates = [self.sources[n].data["rate"] for n in ("flips", "kept_flips")]
        values = np.concatenate([np.asarray(r, dtype=np.float64) for r in rates])
        top = float(np.nanmax(values)) if np.isfinite(values).any() else 0.0
        _fit(self.flips.y_range, 0.0, top or 1.0, floor=0.0)

    def show_orders(self, result: DensityTrajectory) -> None:
        """Draw the order parameters at every step of the solve."""
        self.sources["orders"].data = _path(result)
        self._fit_orders()

    def _fit_orders(self) -> None:
        orders = [self.sources[n].data[c] for n in ("orders", "closure") for c in _PATHS[1:]]
        if not any(len(order) for order in orders):
            return
        moments = np.concatenate([np.asarray(o, dtype=np.float64) for o in orders])
        _fit(self._order, float(moments.min()), float(moments.max()))

    def _fit_errors(self) -> None:
        """Let the picture of ε_g hold every curve in it, on either axis."""
        names = ("path", "closure", "stationary", "kept_path")
        shown = [np.asarray(self.sources[n].data["error"], dtype=np.float64) for n in names]
        values = np.concatenate(shown)
        values = values[np.isfinite(values)]
        most = float(values.max())
        _fit(self._error, max(float(values.min()), 1e-12 * most), most, ratio=True)

    def show_references(self, found: Mapping[str, Any], horizon: float) -> None:
        """Draw the closure and the stationary values, where there are any."""
        closure = found["closure"]
        empty: dict[str, Any] = {name: [] for name in ("tau", *_PATHS)}
        self.sources["closure"].data = empty if closure is None else _path(closure)
        values = found["stationary"] or []
        tau = [t for _ in values for t in (horizon * 1e-4, horizon, np.nan)]
        error = [e for value in values for e in (value, value, np.nan)]
        self.sources["stationary"].data = {"tau": tau, "error": error}
        self._fit_errors()
        self._fit_orders()

    def clear_particles(self) -> None:
        """Take the runs away."""
        if not len(self.sources["particles"].data["tau"]):
            return
        self.sources["particles"].data = {"tau": [], "error": []}
        self.sources["occupancy_ste"].data = {"level": [], "share": []}

    def add_run(self, run: Mapping[str, Array]) -> None:
        """Add the errors of one more run."""
        late = run["tau"] > 0
        new = {"tau": run["tau"][late], "error": run["error"][late]}
        self.sources["particles"].stream(new)

    def show_runs(self, runs: list[Mapping[str, Array]], problem: Problem, time: float) -> None:
        """Draw the occupancies of the runs at the time they know that is nearest to `time`."""
        quantizer = problem.weight_quantizer
        if not runs or quantizer is None:
            self.sources["occupancy_ste"].data = {"level": [], "share": []}
            return
        index = int(np.abs(runs[0]["tau"] - time).argmin())
        weights = np.concatenate([run["weights"][index] for run in runs])
        every = range(quantizer.levels.size)
        share = np.array([level_probabilities(quantizer, weights, k).mean() for k in every])
        self.sources["occupancy_ste"].data = {"level": quantizer.levels, "share": share}

    def keep(self, result: DensityTrajectory, index: int) -> None:
        """Keep the curves of a result, its density at requested time number `index`."""
        time = float(result.times[index])
        w = _points(result.frames[index], *self._reach(result, time))
        self.sources["kept_density"].data = {"w": w, "all": result.pdf(w, time)}
        self.sources["kept_path"].data = _errors_of(result)
        if len(self.sources["path"].data["tau"]):
            self._fit_errors()

    def keep_flips(self, times: Array, rate: Array | None) -> None:
        """Keep a flip rate."""
        self.sources["kept_flips"].data = _flips_of(times, rate)
        self._fit_flips()

    def drop(self) -> None:
        """Take away what was kept."""
        self.sources["kept_flips"].data = _flips_of(np.empty(0), None)
        self.sources["kept_density"].data = {"w": [], "all": []}
        self.sources["kept_path"].data = {"tau": [], "error": []}


def _legend(shape: Any) -> None:
    shape.toolbar.logo = None
    shape.legend.click_policy = "hide"
    shape.legend.background_fill_alpha = 0.5
    shape.legend.label_text_font_size = "9pt"
    shape.legend.padding, shape.legend.spacing = 4, 0


def _flips_of(times: Array, rate: Array | None) -> dict[str, Array]:
    """The curve of a flip rate; times when it is infinite are left out."""
    if rate is None:
        return {"tau": np.empty(0), "rate": np.empty(0)}
    return {"tau": np.asarray(times), "rate": np.where(np.isfinite(rate), rate, np.nan)}


def _put(source: ColumnDataSource, data: dict[str, Array]) -> None:
    """Give a source its data unless it has them: what does not change need not be drawn."""
    if not all(np.array_equal(source.data[name], column) for name, column in data.items()):
        source.data = data


def _fit(
    axis: Range1d, low: float, high: float, *, floor: float | None = None, ratio: bool = False
) -> None:
    """Let an axis hold low to high with some room, from `floor` on if there is one.

    An axis that fits stays as it is: a curve is seen to move only against axes that do not, and
    new ones would have the whole picture laid out again. On one that may be logarithmic (`ratio`),
    the room below is a factor.
    """
    low = low if floor is None else floor
    start, end = axis.start, axis.end
    filled = high - low >= _FILLED * (end - start) and (not ratio or low <= start / _FILLED**2)
    if start <= low and high <= end and filled:
        return
    room = _ROOM * (high - low) or 0.5
    below = low - room if floor is None else floor
    axis.update(start=min(low / (1 + _ROOM), 0.98 * low) if ratio else below, end=high + room)


def _errors_of(result: Any) -> dict[str, Array]:
    path = _path(result)
    return {name: path[name] for name in ("tau", "error")}


def _path(result: Any) -> dict[str, Array]:
    """The dense path; a logarithmic axis has no place for τ = 0, which is put just before it."""
    tau = np.asarray(result.dense_times, dtype=np.float64).copy()
    if tau[0] == 0.0 and tau.size > 1:
        tau[0] = min(tau[1], 1e-3 * tau[-1]) * 0.5
    state = result.dense_order_parameters
    moments = {name: getattr(state, name) for name in _PATHS[1:]}
    return {"tau": tau, "error": state.generalization_error, **moments}


def _named(probabilities: Array) -> list[int]:
    """Classes that stand for all, at equal steps of probability."""
    middle = np.cumsum(probabilities) - 0.5 * probabilities
    wanted = (0.5 + np.arange(_MOST_CLASSES)) / _MOST_CLASSES
    return [int(k) for k in np.unique(np.abs(middle[:, None] - wanted).argmin(axis=0))]


def _points(frame: Any, low: float, high: float) -> Array:
    """Points that show every polynomial of a frame, within what is seen."""
    even = np.linspace(low, high, _ACROSS)
    if not isinstance(frame, Frame):
        return even
    share = np.linspace(0.0, 1.0, _PER_ELEMENT, endpoint=False)
    seen = (frame.left < high) & (frame.left + frame.width > low)
    inner = (frame.left[seen] + frame.width[seen] * share[:, None]).ravel()
    w = np.unique(np.concatenate([[low], inner, even[::20], [high]]))
    return w[(w >= low) & (w <= high)]
