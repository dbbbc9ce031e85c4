"""Pictures: what is drawn is what was computed, labelled, and saved whole or not at all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from closed_forms import exact_density, exact_macro, sampled_particles
from matplotlib.figure import Figure

from fpsolve import (
    ParameterError,
    StoreError,
    Teacher,
    UniformQuantizer,
    plot,
    plot_densities,
    plot_order_parameters,
    save_figure,
    sweep,
)
from fpsolve.plots.density import panel_grid, weight_range
from fpsolve.plots.overview import plot_overview

SIGNATURES = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}


def all_axes(figure: Figure):
    return figure.get_axes()


def test_each_panel_draws_the_density_of_its_time(density) -> None:
    figure = plot_densities(density)
    panels = all_axes(figure)
    assert [panel.get_title() for panel in panels] == [
        r"$\tau = 0$",
        r"$\tau = 1$",
        r"$\tau = 5$",
        r"$\tau = 20$",
    ]
    for index, panel in enumerate(panels):
        for k, line in enumerate(panel.get_lines()):
            np.testing.assert_array_equal(line.get_xdata(), density.centers)
            np.testing.assert_array_equal(line.get_ydata(), density.density[index, k])
        assert len(panel.get_lines()) == 2, "teacher values are overlaid"
    assert panels[0].get_ylabel() == r"$\mu_\tau(w\,|\,w^*)$"
    assert panels[0].get_xlabel() == "$w$"


def test_the_shown_range_holds_the_mass(density) -> None:
    low, high = weight_range(density, [0, 1, 2, 3])
    outside = (density.edges[1:] <= low) | (density.edges[:-1] >= high)
    assert density.masses[..., outside].sum(axis=-1).max() < 3e-4
    narrow = weight_range(density, [3])
    assert low < narrow[0] < narrow[1] < high
    assert narrow[1] - narrow[0] < 0.6 * (density.edges[-1] - density.edges[0])


def test_thresholds_are_drawn(density) -> None:
    problem = replace(density.problem, weight_quantizer=UniformQuantizer(2, 1.0))
    panel = all_axes(plot_densities(replace(density, problem=problem)))[0]
    dotted = [line.get_xdata()[0] for line in panel.get_lines() if line.get_linestyle() == ":"]
    assert dotted == [-0.5, 0.5]


def test_chosen_times(density) -> None:
    panels = all_axes(plot_densities(density, times=[5, 20]))
    assert [panel.get_title() for panel in panels] == [r"$\tau = 5$", r"$\tau = 20$"]
    with pytest.raises(ParameterError, match="must be one of 0, 1, 5, 20"):
        plot_densities(density, times=[3.0])


def test_many_times_and_teacher_values_stay_legible(linear_problem) -> None:
    problem = replace(linear_problem, teacher=Teacher.gaussian(1.0, 20))
    figure = plot_densities(exact_density(problem, np.linspace(0, 20, 101), cells=50))
    assert len(all_axes(figure)) == 8
    assert len(all_axes(figure)[0].get_legend().get_texts()) == 2


@pytest.mark.parametrize(("count", "grid"), [(1, (1, 1)), (4, (1, 4)), (5, (2, 3)), (8, (2, 4))])
def test_panel_grid(count: int, grid: tuple[int, int]) -> None:
    assert panel_grid(count) == grid


def test_the_overview_shows_densities_and_error(density) -> None:
    figure = plot(density)
    *panels, curve = all_axes(figure)
    assert len(panels) == 3, "the initial density lies behind the later ones"
    grey = panels[0].get_lines()[0]
    np.testing.assert_array_equal(grey.get_ydata(), density.density[0, 0])
    line = curve.get_lines()[0]
    np.testing.assert_array_equal(line.get_xdata(), density.times)
    np.testing.assert_array_equal(line.get_ydata(), density.order_parameters.generalization_error)
    assert curve.get_ylabel() == r"$\varepsilon_g$"
    assert curve.get_xlabel() == r"$\tau$"


def test_a_finer_curve_is_drawn_as_a_line_and_the_times_as_marks(density, linear_problem) -> None:
    fine = exact_macro(linear_problem, np.linspace(0, 20, 200))
    line, marks = all_axes(plot_overview(density, curve=fine))[-1].get_lines()
    assert line.get_xdata().size == 200
    assert line.get_marker() == ""
    np.testing.assert_array_equal(marks.get_xdata(), density.times)
    assert (marks.get_linestyle(), marks.get_marker()) == ("None", "o")


def test_order_parameters_bear_the_papers_symbols(macro) -> None:
    names = ["generalization_error", "m", "q", "s", "m_psi", "q_psi", "r_psi"]
    error, others = all_axes(plot_order_parameters(macro, names=names))
    assert error.get_ylabel() == r"$\varepsilon_g$"
    symbols = [text.get_text() for text in others.get_legend().get_texts()]
    assert symbols == ["$m$", "$q$", "$s$", r"$m_\psi$", r"$q_\psi$", r"$r_\psi$"]
    for line, name in zip(others.get_lines(), names[1:], strict=True):
        np.testing.assert_array_equal(line.get_ydata(), getattr(macro.order_parameters, name))


def test_logarithmic_time_leaves_out_zero(macro) -> None:
    axes = all_axes(plot_order_parameters(macro, names=["m"], log_time=True))[0]
    assert axes.get_xscale() == "log"
    np.testing.assert_array_equal(axes.get_lines()[0].get_xdata(), macro.times[1:])
    with pytest.raises(ParameterError, match="time > 0"):
        plot_order_parameters(exact_macro(macro.problem, [0.0]), log_time=True)


def test_particles_are_drawn_as_the_mean_of_their_runs(particles) -> None:
    axes = all_axes(plot_order_parameters(particles, names=["q"]))[0]
    expected = particles.order_parameters.q.mean(axis=0)
    np.testing.assert_allclose(axes.get_lines()[0].get_ydata(), expected)
    assert len(axes.collections) == 1, "a band of one standard error"


def test_particles_are_drawn_at_their_finer_times(particles) -> None:
    fine = sampled_particles(particles.problem, np.linspace(0, 20, 9))
    both = replace(
        particles,
        dense_times=fine.times,
        dense_order_parameters=fine.order_parameters,
    )
    line = all_axes(plot(both))[0].get_lines()[0]
    np.testing.assert_array_equal(line.get_xdata(), fine.times)
    expected = fine.order_parameters.generalization_error.mean(axis=0)
    np.testing.assert_allclose(line.get_ydata(), expected)


def test_unknown_names_are_refused(macro) -> None:
    with pytest.raises(ParameterError, match="must be among m, q, s"):
        plot_order_parameters(macro, names=["loss"])
    with pytest.raises(ParameterError, match="result"):
        plot([1, 2])


def test_a_sweep_is_drawn_along_its_first_axis(linear_problem) -> None:
    axes = {"learning_rate": [0.1, 0.2, 0.4], "ridge": [0.0, 1.0]}
    result = sweep(linear_problem, axes, exact_macro, times=[0.0, 3.0])
    panel = all_axes(plot(result))[0]
    assert panel.get_xlabel() == "learning_rate"
    assert [t.get_text() for t in panel.get_legend().get_texts()] == ["ridge = 0.0", "ridge = 1.0"]
    for j, line in enumerate(panel.get_lines()):
        np.testing.assert_array_equal(line.get_xdata(), [0.1, 0.2, 0.4])
        expected = result.order_parameters.generalization_error[:, j, -1]
        np.testing.assert_array_equal(line.get_ydata(), expected)


@pytest.mark.parametrize("ending", SIGNATURES)
def test_figures_are_saved_in_the_format_of_their_ending(macro, tmp_path, ending: str) -> None:
    path = tmp_path / f"f{ending}"
    save_figure(plot(macro), path)
    assert path.read_bytes().startswith(SIGNATURES[ending])


def test_figures_do_not_replace_files_unless_told_to(macro, tmp_path) -> None:
    path = tmp_path / "f.png"
    path.write_text("mine")
    with pytest.raises(StoreError, match="exists"):
        save_figure(plot(macro), path)
    assert path.read_text() == "mine"
    save_figure(plot(macro), path, overwrite=True)
    assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(StoreError, match="ending must be one of"):
        save_figure(plot(macro), tmp_path / "f.txt")
