"""Pictures of sweeps: what is drawn where, and that it can be read."""

from __future__ import annotations

import numpy as np
import pytest
from closed_forms import exact_macro
from matplotlib.collections import QuadMesh
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure

from fpsolve import ParameterError, SolveError, Teacher, plot, save_figure, sweep
from fpsolve.plots.sweep import plot_phase_diagram, plot_sweep

RATES = np.linspace(0.1, 0.3, 9)
RIDGES = np.geomspace(0.01, 1.0, 8)


def paraboloid(problem):
    """Least at the third ridge and the fifth rate; fails at one point."""
    if problem.learning_rate == RATES[0] and problem.ridge == RIDGES[0]:
        raise SolveError("no", time=0.0, step=0.0)
    return {
        "generalization_error": (problem.learning_rate - RATES[4]) ** 2
        + np.log(problem.ridge / RIDGES[2]) ** 2
    }


@pytest.fixture
def surface(linear_problem):
    axes = {"learning_rate": RATES, "ridge": RIDGES}
    return sweep(linear_problem, axes, paraboloid, workers=1)


def test_two_axes_are_a_heat_map_with_contours_and_the_optimum(surface, tmp_path) -> None:
    figure = plot(surface)
    panel, bar = figure.axes
    (mesh,) = (c for c in panel.collections if isinstance(c, QuadMesh))
    drawn = mesh.get_array()
    expected = surface["generalization_error"].T
    np.testing.assert_array_equal(drawn.filled(np.nan).reshape(8, 9), expected)
    assert drawn.mask.sum() == 1
    assert any(isinstance(c, ContourSet) for c in panel.collections)
    (star,) = panel.get_lines()
    np.testing.assert_array_equal(star.get_xydata(), [[RATES[4], RIDGES[2]]])
    assert (panel.get_xlabel(), panel.get_ylabel()) == (r"$\eta$", r"$\lambda$")
    assert (panel.get_xscale(), panel.get_yscale()) == ("linear", "log")
    # A cell holds its own value: borders lie halfway, in the logarithm on that axis.
    corners = mesh.get_coordinates()
    np.testing.assert_allclose(corners[3, 0, 1], np.sqrt(RIDGES[2] * RIDGES[3]))
    assert bar.get_ylabel() == r"$\varepsilon_g$"
    save_figure(figure, tmp_path / "f.png")


def test_a_phase_diagram_goes_on_the_callers_axes(surface) -> None:
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert plot_phase_diagram(surface, ax=right) is figure
    assert not left.has_data()
    (mesh,) = (c for c in right.collections if isinstance(c, QuadMesh))
    expected = surface["generalization_error"].T
    np.testing.assert_array_equal(mesh.get_array().filled(np.nan).reshape(8, 9), expected)
    assert (right.get_xlabel(), right.get_ylabel()) == (r"$\eta$", r"$\lambda$")
    with pytest.raises(ParameterError, match="must be among"):
        plot_phase_diagram(surface, name="speed")


def test_a_third_axis_is_panels(linear_problem, tmp_path) -> None:
    axes = {"batch_size": [1, 2, 4], "learning_rate": RATES, "ridge": RIDGES}
    figure = plot(sweep(linear_problem, axes, exact_macro, times=[0.0, 3.0], workers=1))
    with pytest.raises(ParameterError, match="two axes"):
        plot_phase_diagram(sweep(linear_problem, {"ridge": [0.0, 1.0]}, paraboloid, workers=1))
    titles = [a.get_title(loc="left") for a in figure.axes[:3]]
    assert titles == ["$B$ = 1", "$B$ = 2", "$B$ = 4"]
    axes["batch_size"] = list(range(1, 9))
    figure = plot(sweep(linear_problem, axes, exact_macro, times=[0.0, 3.0], workers=1))
    assert figure.get_suptitle() == "6 of 8 panels"
    save_figure(figure, tmp_path / "f.png")


def test_labels_are_short(linear_problem) -> None:
    axes = {"learning_rate": RATES, "ridge": [0.1 + 0.2, 1 / 3]}
    panel = plot(sweep(linear_problem, axes, exact_macro, times=[0.0, 3.0], workers=1)).axes[0]
    texts = [t.get_text() for t in panel.get_legend().get_texts()]
    assert texts == [r"$\lambda$ = 0.3", r"$\lambda$ = 0.3333"]


def test_categories_are_not_joined(linear_problem) -> None:
    axes = {"teacher": [Teacher.constant(1.0), Teacher.rademacher()], "ridge": [0.0, 1.0]}
    panel = plot(sweep(linear_problem, axes, exact_macro, times=[0.0, 3.0], workers=1)).axes[0]
    assert [line.get_linestyle() for line in panel.get_lines()] == ["None", "None"]
    assert len(panel.get_xticklabels()) == 2


def test_every_line_has_a_colour_of_its_own(linear_problem) -> None:
    axes = {"learning_rate": RATES, "ridge": RIDGES[:7]}
    panel = plot(sweep(linear_problem, axes, exact_macro, times=[0.0, 3.0], workers=1)).axes[0]
    lines = panel.get_lines()
    assert len({line.get_color() for line in lines}) == len(lines) == 7
    assert len(panel.get_legend().get_texts()) == 7


def test_what_cannot_be_drawn_is_refused(surface, linear_problem) -> None:
    with pytest.raises(ParameterError, match="must be among"):
        plot_sweep(surface, name="loss")
    vectors = sweep(linear_problem, {"ridge": [0.0]}, vector, workers=1)
    with pytest.raises(ParameterError, match="dimension"):
        plot_sweep(vectors)


def vector(problem):
    return np.arange(3.0)
