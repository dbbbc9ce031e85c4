"""Pictures: what is drawn is what was computed, labelled, and saved whole or not at all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from closed_forms import exact_density, exact_macro, sampled_particles
from matplotlib.figure import Figure
from PIL import Image

from fpsolve import (
    GaussianInitial,
    ParameterError,
    Problem,
    StoreError,
    Teacher,
    UniformQuantizer,
    optimal_range,
    plot,
    plot_comparison,
    plot_densities,
    plot_histograms,
    plot_order_parameters,
    plot_stationary_density,
    plot_symbols,
    plot_weights,
    save_animation,
    save_figure,
    stationary_states,
    sweep,
)
from fpsolve.plots.density import panel_grid, weight_range

SIGNATURES = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}


def all_axes(figure: Figure):
    return figure.get_axes()


def legend(figure: Figure) -> list[str]:
    """What the only legend of the figure says."""
    (found,) = [a.get_legend() for a in figure.get_axes() if a.get_legend() is not None]
    return [text.get_text() for text in found.get_texts()]


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
    panel = all_axes(figure)[0]
    assert len(panel.get_lines()) == 4
    named = legend(figure)
    assert named[0] == "all weights"
    values = [float(text.split("=")[1].strip(" $")) for text in named[1:]]
    # The nodes next to the medians of the five fifths of N(0, 1), 0, ±0.52 and ±1.28; the remote
    # ones, out to ±7.6, carry no weight worth showing (nodes from Abramowitz and Stegun, 25.10).
    np.testing.assert_allclose(values, [-1.745, -0.347, 0.347, 1.745], atol=0.006)


def test_the_grey_area_is_the_law_of_a_weight_of_unknown_teacher_value(density) -> None:
    (area,) = all_axes(plot_densities(density, times=[5]))[0].collections
    drawn = area.get_paths()[0].vertices
    expected = density.problem.teacher.probabilities @ density.density[2]
    top = drawn[drawn[:, 1] > 0]
    np.testing.assert_allclose(top[:, 1].max(), expected.max())


def test_thresholds_are_explained(density) -> None:
    problem = replace(density.problem, weight_quantizer=UniformQuantizer(2, 1.0))
    named = legend(plot_densities(replace(density, problem=problem)))
    assert named.count(r"threshold of $\psi$") == 1


def test_a_panel_much_narrower_than_the_others_follows_its_mass(linear_problem) -> None:
    initial = GaussianInitial(variance=100.0)
    wide = exact_density(replace(linear_problem, initial=initial), [0.0, 200.0], cells=4000)
    first, last = [panel.get_xlim() for panel in all_axes(plot_densities(wide))]
    assert first == weight_range(wide, [0, 1])
    assert last == weight_range(wide, [1])
    assert last[1] - last[0] < 0.4 * (first[1] - first[0])


PICTURES = {
    "plot_densities": (lambda d, p, ax: plot_densities(d, times=[1, 5], ax=ax), 2),
    "plot_histograms": (lambda d, p, ax: plot_histograms(d, p, times=[1, 5], ax=ax), 2),
    "plot_weights": (lambda d, p, ax: plot_weights(p, times=[1, 5], ax=ax), 2),
    "plot_symbols": (lambda d, p, ax: plot_symbols(p, [d], names=["m", "q"], ax=ax), 2),
    "plot_order_parameters": (lambda d, p, ax: plot_order_parameters(d, ax=ax), 1),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_go_on_the_callers_axes(density, particles, name: str) -> None:
    draw, count = PICTURES[name]
    mine = Figure()
    upper, lower = mine.subfigures(2, 1)
    axes = upper.subplots(1, count, squeeze=False)[0]
    other = lower.subplots()
    assert draw(density, particles, axes if count > 1 else axes[0]) is mine
    assert all(panel.has_data() for panel in axes)
    assert not other.has_data()
    with pytest.raises(ParameterError, match=f"must be {count} axes"):
        draw(density, particles, [other, other, other])


def test_figures_show_themselves_in_notebooks(density, macro) -> None:
    for figure in (plot(density), plot(macro), plot_densities(density)):
        assert figure._repr_png_().startswith(b"\x89PNG")


def test_weights_are_drawn_as_histograms_of_unit_area(particles) -> None:
    panel = all_axes(plot_weights(particles, times=[5]))[0]
    for patch in panel.patches:
        heights, edges, _ = patch.get_data()
        assert 0.99 < heights @ np.diff(edges) <= 1.0


def test_escaping_teacher_values_are_said() -> None:
    problem = Problem(
        weight_quantizer=UniformQuantizer(2, 1.0),
        input_quantizer=None,
        learning_rate=0.1,
        teacher=Teacher([-3.0, 0.5], [0.25, 0.75]),
    )
    (state,) = stationary_states(problem)
    assert legend(plot_stationary_density(state)) == [
        "$w^* = 0.5$",
        r"threshold of $\psi$",
        "$w^* = -3$ runs away\n(0.25 of the weights)",
    ]


def test_an_animation_has_a_frame_a_time(density, tmp_path) -> None:
    path = tmp_path / "a.gif"
    save_animation(density, path)
    with Image.open(path) as moving:
        assert moving.n_frames == density.times.size
    with pytest.raises(StoreError, match="exists"):
        save_animation(density, path)
    with pytest.raises(StoreError, match=r"must be \.gif or \.mp4"):
        save_animation(density, tmp_path / "a.avi")
    one = exact_density(density.problem, [1.0])
    with pytest.raises(ParameterError, match="two times"):
        save_animation(one, tmp_path / "b.gif")


def test_a_film_without_ffmpeg_says_what_to_do(density, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("fpsolve.plots.animation.FFMpegWriter.isAvailable", lambda: False)
    with pytest.raises(StoreError, match=r"install it, or write a \.gif"):
        save_animation(density, tmp_path / "a.mp4")


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


@pytest.mark.parametrize("log_time", [False, True])
def test_the_solvers_own_steps_make_a_smooth_line(density, linear_problem, log_time) -> None:
    fine = exact_macro(linear_problem, np.linspace(0, 20, 300))
    known = {"dense_times": fine.times, "dense_order_parameters": fine.order_parameters}
    stepped = replace(density, **known)
    line, marks = all_axes(plot(stepped, log_time=log_time))[-1].get_lines()
    x, y = line.get_xdata(), line.get_ydata()
    exact = exact_macro(linear_problem, x).order_parameters.generalization_error
    np.testing.assert_allclose(y, exact, rtol=1e-4)
    space = np.log(x) if log_time else x
    assert np.diff(space).max() < 0.003 * (space[-1] - space[0]), "no chord can be seen"
    assert line.get_marker() in ("", "None")
    np.testing.assert_array_equal(marks.get_xdata(), density.times[int(log_time) :])
    assert (marks.get_linestyle(), marks.get_marker()) == ("None", "o")


def test_comparisons_draw_the_smooth_line(density, particles, linear_problem) -> None:
    fine = exact_macro(linear_problem, np.linspace(0, 20, 300))
    known = {"dense_times": fine.times, "dense_order_parameters": fine.order_parameters}
    figure = plot_symbols(particles, [replace(density, **known)], names=["q"])
    line = all_axes(figure)[0].get_lines()[0]
    exact = exact_macro(linear_problem, line.get_xdata()).order_parameters.q
    np.testing.assert_allclose(line.get_ydata(), exact, rtol=1e-4)


def test_histograms_follow_the_mass_of_their_panel(linear_problem) -> None:
    narrow = replace(linear_problem, teacher=Teacher.constant(1.0), learning_rate=0.02)
    density = exact_density(narrow, [0.0, 300.0])
    particles = sampled_particles(narrow, [0.0, 300.0])
    for figure in (plot_histograms(density, particles), plot_weights(particles)):
        wide, tight = (axes.get_xlim() for axes in all_axes(figure)[:2])
        assert tight[1] - tight[0] < 0.4 * (wide[1] - wide[0])
        # Nearly all of the narrow law, whose deviation is known, lies inside.
        s = float(exact_macro(narrow, [300.0]).order_parameters.s[0])
        assert tight[1] - tight[0] > 5 * s
    assert {"particles", "density"} <= set(legend(plot_histograms(density, particles)))


def test_a_comparison_goes_on_the_callers_axes(density, particles) -> None:
    own = Figure()
    axes = own.subplots(2, 3).ravel()
    assert plot_comparison(density, particles, times=[0.0, 1.0, 5.0], ax=axes) is own
    assert len(own.get_axes()) == 6
    assert [a.get_ylabel() for a in axes[3:]] == [r"$\varepsilon_g$", "$m$", "$q$"]
    with pytest.raises(ParameterError, match="must be 6 axes"):
        plot_comparison(density, particles, times=[0.0, 1.0, 5.0], ax=axes[:5])


def test_symbols_are_spread_as_the_axis_is(linear_problem) -> None:
    times = np.concatenate([[0.0], np.geomspace(0.01, 100.0, 400)])
    particles = sampled_particles(linear_problem, times)
    curve = exact_macro(linear_problem, times)
    figure = plot_symbols(particles, [curve], names=["q"], log_time=True)
    (container,) = all_axes(figure)[0].containers
    gaps = np.diff(np.log(container.lines[0].get_xdata()))
    assert gaps.size == 15
    assert gaps.max() < 1.2 * gaps.min()


def test_ranges_and_states_are_drawn_too(linear_problem) -> None:
    problem = replace(linear_problem, weight_quantizer=UniformQuantizer(2, 1.0))
    best = optimal_range(problem, points=5)
    assert f"{best.omega:.4g}" in legend(plot(best))[0]
    assert all_axes(plot(stationary_states(problem)[0]))[0].get_xlabel() == "$w$"
    with pytest.raises(ParameterError, match="a range or a state"):
        plot(problem)


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
    assert panel.get_xlabel() == r"$\eta$"
    texts = [t.get_text() for t in panel.get_legend().get_texts()]
    assert texts == [r"$\lambda$ = 0.0", r"$\lambda$ = 1.0"]
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
