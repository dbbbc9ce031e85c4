"""The command line: what a user types, what comes out, and what is said when it is wrong."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from closed_forms import exact_density, sampled_particles

import fpsolve
from fpsolve.cli import main
from fpsolve.cli.options import numbers
from fpsolve.cli.tables import order_parameter_table
from fpsolve.progress import progress_to

PROBLEM = """
[problem]
learning_rate = 0.2
ridge = 1.0
[problem.weight_quantizer]
bit_width = 2
omega = 1.0
[solve]
times = [0, 1, 4]
rtol = 1e-4
"""
# ε_g of Fig. 1 (b = b_x = 2, ω = ω_x = 2, η = 0.04, λ = σ² = 0) from an independent solver.
FIGURE_1 = {0: 2.610975334, 10: 1.262385195, 25: 1.237155961, 50: 1.39312161, 100: 1.459594977}
COMMANDS = ["run", "simulate", "compare", "ode", "stationary", "optimal-range", "sweep", "plot"]
COMMANDS += ["info", "completion"]


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A folder of its own with a problem file in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.toml").write_text(PROBLEM, encoding="utf-8")
    return tmp_path


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"p.toml"}


def table(text: str) -> np.ndarray:
    """The rows of numbers under the line that starts with tau."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.split()[:1] == ["tau"])
    rows = []
    for line in lines[start + 1 :]:
        if not re.match(r"\s+[-0-9]", line):
            break
        rows.append([float(word) for word in line.split()])
    return np.array(rows)


def test_run_without_a_file_solves_figure_1(here, capsys) -> None:
    assert main(["run"]) == 0
    rows = table(capsys.readouterr().out)
    np.testing.assert_array_equal(rows[:, 0], list(FIGURE_1))
    np.testing.assert_allclose(rows[:, 1], list(FIGURE_1.values()), atol=2e-5)
    assert files(here) == {"fig1.h5", "fig1.png"}
    stored = fpsolve.load("fig1.h5")
    np.testing.assert_array_equal(stored.times, list(FIGURE_1))
    assert stored.problem.weight_quantizer == fpsolve.UniformQuantizer(2, 2.0)
    assert (here / "fig1.png").read_bytes().startswith(b"\x89PNG")


def test_run_obeys_file_and_options(here, capsys) -> None:
    assert main(["run", "p.toml"]) == 0
    np.testing.assert_array_equal(table(capsys.readouterr().out)[:, 0], [0, 1, 4])
    assert files(here) == set(), "nothing is written unless asked for"
    options = ["--times", "0:2:3", "-o", "o.h5", "--plot", "o.svg", "--scheme"]
    assert main(["run", "p.toml", *options, "scharfetter-gummel"]) == 0
    stored = fpsolve.load("o.h5")
    np.testing.assert_array_equal(stored.times, [0, 1, 2])
    assert stored.stats["scheme"] == "scharfetter-gummel"
    assert stored.stats["rtol"] == 1e-4
    assert stored.problem == fpsolve.Problem.from_toml("p.toml")
    assert files(here) == {"o.h5", "o.svg"}


def test_ode_stationary_and_their_agreement(here, capsys) -> None:
    assert main(["ode", "p.toml", "--times", "0,400", "-o", "m.h5"]) == 0
    late = table(capsys.readouterr().out)[-1, 1]
    assert main(["stationary", "p.toml", "--plot", "s.png"]) == 0
    assert files(here) == {"m.h5", "s.png"}
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    closure = [float(row[1]) for row in rows if row[0] == "closure"]
    assert min(abs(value - late) for value in closure) < 1e-6
    assert {row[0] for row in rows} == {"state", "density", "closure", "wrote"}
    assert isinstance(fpsolve.load("m.h5"), fpsolve.MacroTrajectory)


def test_simulate_repeats_with_its_seed(here, capsys) -> None:
    command = ["simulate", "p.toml", "--dimension", "50", "--runs", "2", "--seed", "7"]
    assert main([*command, "-o", "a.h5"]) == 0
    assert "seed 7" in capsys.readouterr().out
    assert main([*command, "-o", "b.h5", "--threads", "1"]) == 0
    a, b = fpsolve.load("a.h5"), fpsolve.load("b.h5")
    np.testing.assert_array_equal(a.weights, b.weights)
    assert a.weights.shape == (2, 3, 50)
    assert main(["simulate", "p.toml", "--particles", "60", "--seed", "1", "-o", "c.h5"]) == 0
    assert fpsolve.load("c.h5").stats["kind"] == "sde"


def test_compare_tells_by_its_exit_code(here, linear_problem, capsys) -> None:
    times = [0.0, 1.0, 5.0]
    fpsolve.save(exact_density(linear_problem, times), "d.h5")
    fpsolve.save(sampled_particles(linear_problem, times, dimension=2000), "p.h5")
    assert main(["compare", "d.h5", "p.h5", "--plot", "c.png"]) == 0
    assert "agree" in capsys.readouterr().out
    assert "c.png" in files(here)
    wrong = fpsolve.sweep(linear_problem, {"learning_rate": [0.5]}, exact_density, times=times)
    other = exact_density(wrong.problem((0,)), times)
    fpsolve.save(other, "w.h5")
    assert main(["compare", "w.h5", "p.h5"]) == 1
    assert "DISAGREE" in capsys.readouterr().out
    assert main(["compare", "p.h5", "d.h5"]) == 2
    error = capsys.readouterr().err
    assert "density file first: fpsolve compare d.h5 p.h5" in error


def test_sweep_on_the_command_line(here, capsys) -> None:
    axes = ["--axis", "weight_quantizer.omega=0.5:1:2", "--axis", "weight_quantizer.bit_width=2,3"]
    assert main(["sweep", "p.toml", *axes, "--solver", "ode", "-o", "s.h5"]) == 0
    result = fpsolve.load("s.h5")
    assert result.axes == {
        "weight_quantizer.omega": (0.5, 1.0),
        "weight_quantizer.bit_width": (2, 3),
    }
    alone = fpsolve.solve_ode(result.problem((1, 0)), [0, 1, 4], rtol=1e-4)
    np.testing.assert_array_equal(result.order_parameters.q[1, 0], alone.order_parameters.q)
    assert f"{alone.order_parameters.generalization_error[-1]:.8g}" in capsys.readouterr().out


def test_optimal_range_of_a_layer(here, capsys) -> None:
    np.save("layer.npy", np.random.default_rng(3).normal(scale=0.02, size=400))
    command = ["optimal-range", "p.toml", "--layer", "layer.npy", "--nodes", "8"]
    assert main([*command, "--points", "40", "--plot", "r.png"]) == 0
    assert (here / "r.png").exists()
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    errors = {row[1]: float(row[3]) for row in rows if row[0] == "weights"}
    assert set(errors) == {"optimal", "max_abs", "three_sigma", "mse"}
    assert errors["optimal"] <= min(errors.values()) + 1e-9
    best = next(float(row[2]) for row in rows if row[1] == "optimal")
    assert 0.002 < best < 0.1, "in the layer's own units"


def test_plot_and_info_read_what_was_written(here, linear_problem, capsys) -> None:
    fpsolve.save(exact_density(linear_problem, [0.0, 2.0]), "d.h5")
    assert main(["plot", "d.h5", "d.pdf", "--log-time"]) == 0
    assert (here / "d.pdf").read_bytes().startswith(b"%PDF")
    capsys.readouterr()
    assert main(["info", "d.h5"]) == 0
    brief = capsys.readouterr().out
    assert len(brief.splitlines()) == 10
    for word in ["kind: density", "scheme: exact", "time 2", "w_width"]:
        assert word in brief
    assert main(["info", "--all", "d.h5"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(brief)
    assert linear_problem.to_toml().strip() in text
    assert table(text).shape == (2, 8)


BAD = [
    (["run", "none.toml"], "none.toml"),
    (["run", "p.toml", "--times", "-1"], "-1"),
    (["run", "p.toml", "--times=-1,2"], "must be >= 0"),
    (["run", "p.toml", "--times", "-1,2"], "must be >= 0"),
    (["run", "p.toml", "--times", "-1:2:4"], "must be >= 0"),
    (["run", "p.toml", "--times", "0", "--plot", "a.png", "--log-time"], "--log-time"),
    (["run", "p.toml", "-o", "o.png"], "--plot o.png"),
    (["info", "."], "is a directory"),
    (["completion", "tcsh"], "invalid choice"),
    (["run", "p.toml", "--times", "2,1"], "increase"),
    (["run", "p.toml", "--times", "0:x:3"], "start:stop:count"),
    (["run", "p.toml", "--times", "0:1:0"], "count"),
    (["run", "p.toml", "--times", "0,nan"], "finite"),
    (["run", "p.toml", "--rtol", "0"], "rtol"),
    (["run", "p.toml", "--rtol", "nan"], "rtol"),
    (["run", "p.toml", "--scheme", "magic"], "magic"),
    (["run", "p.toml", "-o", "taken.h5"], "taken.h5: exists"),
    (["run", "p.toml", "--plot", "taken.h5"], "ending"),
    (["run", "p.toml", "--plot", "taken.png"], "taken.png: exists"),
    (["run", "p.toml", "-o", "nowhere/o.h5"], "not a directory"),
    (["run", "p.toml", "-o", "."], "is a directory"),
    (["run", "p.toml", "-o", "p.toml", "--overwrite"], "named twice"),
    (["run", "p.toml", "-o", "a.png", "--plot", "a.png"], "named twice"),
    (["simulate", "p.toml"], "--dimension"),
    (["simulate", "p.toml", "--dimension", "0"], "dimension"),
    (["simulate", "p.toml", "--dimension", "9", "--particles", "9"], "--particles"),
    (["simulate", "p.toml", "--dimension", "9", "--seed", "-1"], "seed"),
    (["compare", "taken.h5", "taken.h5"], "taken.h5"),
    (["sweep", "p.toml", "--axis", "learning_rate"], "FIELD=VALUES"),
    (["sweep", "p.toml", "--axis", "lr=1,2"], "learning_rate"),
    (["sweep", "p.toml", "--axis", "ridge=0,-1"], "ridge"),
    (["sweep", "p.toml", "--axis", "ridge=0", "--solver", "ste"], "--dimension"),
    (["sweep", "p.toml", "--axis", "ridge=0", "--workers", "0"], "--workers"),
    (["optimal-range", "p.toml", "--layer", "none.npy"], "none.npy"),
    (["optimal-range", "p.toml", "--layer", "taken.h5"], "taken.h5"),
    (["optimal-range", "p.toml", "--layer", "complex.npy"], "complex numbers"),
    (["optimal-range", "p.toml", "--layer", "nan.npy"], "1 of its 2 weights are NaN"),
    (["optimal-range", "p.toml", "--layer", "empty.npy"], "holds no weights"),
    (["optimal-range", "p.toml", "--bounds", "1"], "--bounds"),
    (["optimal-range", "p.toml", "--bounds", "2,1"], "bounds"),
    (["stationary", "p.toml", "--plot", "taken.png"], "taken.png: exists"),
    (["optimal-range", "p.toml", "--plot", "o.doc"], "ending"),
    (["plot", "none.h5", "o.png"], "none.h5"),
    (["plot", "taken.h5", "o.png"], "not an HDF5 file"),
    (["info", "p.toml"], "not an HDF5 file"),
    ([], "COMMAND"),
    (["solve"], "invalid choice"),
    (["run", "p.toml", "--fast"], "--fast"),
]


@pytest.mark.parametrize(("arguments", "words"), BAD, ids=[" ".join(a) or "none" for a, _ in BAD])
def test_bad_input_is_one_line_and_code_2(here, capsys, arguments, words: str) -> None:
    for name in ("taken.h5", "taken.png"):
        (here / name).write_text("mine", encoding="utf-8")
    layers = {"complex.npy": [1 + 2j], "nan.npy": [1.0, np.nan], "empty.npy": []}
    for name, values in layers.items():
        np.save(here / name, np.array(values))
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("fpsolve")
    assert words in lines[0]
    assert files(here) == {"taken.h5", "taken.png", *layers}
    assert (here / "taken.h5").read_text(encoding="utf-8") == "mine"
    assert (here / "p.toml").read_text(encoding="utf-8") == PROBLEM


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("ridge", "rigde", ["p.toml", "[problem]", "rigde"]),
        ("learning_rate = 0.2", "", ["p.toml [problem] learning_rate is missing; set it"]),
        ("omega = 1.0", "", ["[problem.weight_quantizer] omega is missing; give bit_width"]),
        ("bit_width = 2", "bit_width = 1", ["p.toml", "[problem.weight_quantizer]", "bit_width"]),
        ("omega = 1.0", "omega = 0", ["p.toml", "[problem.weight_quantizer]", "omega", "> 0"]),
        ("learning_rate = 0.2", "learning_rate = nan", ["p.toml", "learning_rate"]),
        ("times = [0, 1, 4]", "times = [-1, 1]", ["p.toml [solve] times", ">= 0"]),
        ("times = [0, 1, 4]", "times = 'soon'", ["p.toml [solve] times", "number"]),
        ("times = [0, 1, 4]", "", ["p.toml", "times", "--times"]),
        ("rtol = 1e-4", "rtol = -1", ["p.toml [solve] rtol"]),
        ("rtol = 1e-4", "speed = 9", ["p.toml", "[solve]", "speed"]),
        ("omega = 1.0", "omega = 1.0\n[problem", ["p.toml", "TOML"]),
    ],
)
def test_bad_problem_files(here, capsys, old: str, new: str, words: list[str]) -> None:
    (here / "p.toml").write_text(PROBLEM.replace(old, new), encoding="utf-8")
    assert main(["run", "p.toml", "-o", "o.h5"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    for word in words:
        assert word in lines[0]
    assert files(here) == set()


def test_swapped_files_are_named_in_the_right_order(here, capsys, linear_problem) -> None:
    density = exact_density(linear_problem, [0.0, 2.0])
    particles = sampled_particles(linear_problem, [0.0, 2.0])
    fpsolve.save(density, "d.h5")
    fpsolve.save(particles, "s.h5")
    assert main(["compare", "s.h5", "d.h5"]) == 2
    error = capsys.readouterr().err
    assert error.endswith("put the density file first: fpsolve compare d.h5 s.h5\n")
    assert error.count("\n") == 1
    for swapped in (fpsolve.compare, fpsolve.plot_histograms, fpsolve.plot_comparison):
        with pytest.raises(fpsolve.ParameterError, match="swap the two arguments"):
            swapped(particles, density)
        with pytest.raises(fpsolve.ParameterError, match="must be what solve_pde returns"):
            swapped(linear_problem, particles)
        with pytest.raises(fpsolve.ParameterError, match="from_arrays returns"):
            swapped(density, density)


@pytest.mark.parametrize("runs", [1, 3])
def test_headers_are_whole_and_stand_over_their_columns(runs: int) -> None:
    wide = np.full((runs, 2), -1.2345678e-10) * np.arange(1, runs + 1)[:, None]
    state = fpsolve.OrderParameters(*[wide] * 7)
    lines = order_parameter_table([0.0, 12345.678], state).splitlines()
    names = ["tau", "eps_g", *(["+-"] if runs > 1 else [])]
    names += ["m", "q", "s", "m_psi", "q_psi", "r_psi"]
    assert lines[0].split() == names
    # Every column ends where its header does, and numbers do not run into each other.
    ends = [match.end() for match in re.finditer(r"\S+", lines[0])]
    for line in lines[1:]:
        assert [match.end() for match in re.finditer(r"\S+", line)] == ends


def test_overwrite_replaces(here) -> None:
    for name in ("o.h5", "o.png"):
        (here / name).write_text("old", encoding="utf-8")
    assert main(["run", "p.toml", "-o", "o.h5", "--plot", "o.png", "--overwrite"]) == 0
    assert isinstance(fpsolve.load("o.h5"), fpsolve.DensityTrajectory)
    assert (here / "o.png").read_bytes().startswith(b"\x89PNG")


def test_figure_1_a_second_time_says_what_to_add(here, capsys, monkeypatch) -> None:
    monkeypatch.setattr("fpsolve.cli.run._FIGURE_1_TIMES", [0.0, 1.0])
    assert main(["run"]) == 0
    capsys.readouterr()
    assert main(["run"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("fpsolve run: fig1.h5 and fig1.png: exists;")
    for cure in ("fpsolve run --overwrite", "fpsolve run -o OTHER.h5"):
        assert cure in error
    assert main(["run", "-o", "other.h5"]) == 0
    assert main(["run", "--overwrite"]) == 0
    assert files(here) == {"fig1.h5", "fig1.png", "other.h5", "other.png"}


@pytest.mark.parametrize("command", ["run", "ode"])
def test_a_single_time_can_be_drawn(here, command: str) -> None:
    assert main([command, "p.toml", "--times", "0", "--plot", "a.png"]) == 0
    assert (here / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_byte_order_mark_is_no_error(here) -> None:
    (here / "p.toml").write_text(PROBLEM, encoding="utf-8-sig")
    assert main(["ode", "p.toml"]) == 0


def test_rounding_is_printed_as_zero() -> None:
    one = np.ones(2)
    state = fpsolve.OrderParameters(2.8e-17 * one, one, one, 1e-9 * one, one, one, one)
    rows = table(order_parameter_table([0.0, 1.0], state))
    np.testing.assert_array_equal(rows[:, 2], 0.0)
    np.testing.assert_array_equal(rows[:, 5], 1e-9)


def test_quiet_and_verbose(here, capsys, caplog) -> None:
    assert main(["run", "p.toml", "--quiet", "-o", "q.h5"]) == 0
    assert capsys.readouterr() == ("", "")
    assert isinstance(fpsolve.load("q.h5"), fpsolve.DensityTrajectory)
    assert main(["run", "p.toml", "--rtol", "0", "-q"]) == 2
    assert "rtol" in capsys.readouterr().err, "errors are never quiet"
    caplog.clear()
    assert main(["run", "p.toml", "-v"]) == 0
    told = [record.getMessage() for record in caplog.records if record.name == "fpsolve"]
    assert told[0] == "solve_pde starts, to 4 tau"
    assert told[-1].startswith("solve_pde done in")


def test_lines_of_progress_tell_error_and_time_left(capsys, monkeypatch) -> None:
    clock = {"now": 0.0}
    monkeypatch.setattr("fpsolve.progress.time.monotonic", lambda: clock["now"])
    with progress_to(8.0, "solve_pde", shown=True, unit="tau") as bar:
        clock["now"] = 20.0
        bar.reach(2.0, 0.25)
        bar.reach(8.0, 0.125)
    assert capsys.readouterr().err.splitlines()[0] == (
        "solve_pde: 2 of 8 tau, eps_g = 0.25, 20.0 s, about 60 s left"
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_every_command(shell: str, capsys) -> None:
    assert main(["completion", shell]) == 0
    text = capsys.readouterr().out
    for command in COMMANDS:
        assert re.search(rf"\b{command}\b", text)
    assert "dimension" in text


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("fpsolve sta", {"stationary"}),
        ("fpsolve simulate p.toml --dim", {"--dimension"}),
        ("fpsolve info -", {"--all", "--help", "--quiet", "--verbose"}),
    ],
)
def test_completion_works_in_bash(line: str, expected: set[str]) -> None:
    words = " ".join(line.split())
    code = (
        f"source <({sys.executable} -m fpsolve completion bash); COMP_WORDS=({words}); "
        "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _fpsolve; echo ${COMPREPLY[@]}"
    )
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, timeout=60)
    assert set(done.stdout.split()) == expected


def test_a_solve_that_stops_says_where(here, capsys, monkeypatch) -> None:
    def stops(problem, times, **options):
        raise fpsolve.SolveError("ask for a larger rtol", time=0.5, step=1e-9)

    monkeypatch.setattr(fpsolve, "solve_pde", stops)
    assert main(["run", "p.toml", "-o", "o.h5"]) == 3
    assert capsys.readouterr().err == (
        "fpsolve run: stopped at tau = 0.5 (step 1e-09): ask for a larger rtol\n"
    )
    assert files(here) == set()


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 3, "not enough memory"),
        (ZeroDivisionError("x / 0"), 3, "ZeroDivisionError"),
    ],
)
def test_no_traceback_whatever_happens(here, capsys, monkeypatch, error, code, words) -> None:
    def fails(problem, times, **options):
        raise error

    monkeypatch.setattr(fpsolve, "solve_pde", fails)
    assert main(["run", "p.toml", "-o", "o.h5"]) == code
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert words in lines[0]
    assert files(here) == set()


def test_a_sweep_with_failed_points_keeps_the_others(here, capsys, monkeypatch) -> None:
    whole = fpsolve.solve_ode

    def fragile(problem, times, **options):
        if problem.ridge > 1:
            raise fpsolve.SolveError("too stiff", time=0.0, step=1e-9)
        return whole(problem, times, **options)

    monkeypatch.setattr(fpsolve, "solve_ode", fragile)
    command = ["sweep", "p.toml", "--axis", "ridge=1.0,2.0", "--solver", "ode", "-o", "s.h5"]
    assert main(command) == 1
    assert "too stiff" in capsys.readouterr().out
    assert set(fpsolve.load("s.h5").errors) == {(1,)}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(command: str, capsys) -> None:
    assert main([command, "--help"]) == 0
    assert f"example:\n  fpsolve {command} " in capsys.readouterr().out


def test_the_programs_own_help_and_version(capsys) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert "example:" in text
    assert all(command in text for command in COMMANDS)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"fpsolve {fpsolve.__version__}\n"


def test_help_is_quick_because_it_loads_no_solver() -> None:
    code = (
        "import sys; from fpsolve.cli import main; main(['run', '--help']);"
        "print([m for m in ('numba', 'numpy', 'scipy', 'h5py', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "arguments", [["run", "typo.toml"], ["ode", "typo.toml"], ["info", "d.h5"], ["--help"]]
)
def test_commands_that_compute_nothing_do_not_load_what_computes(
    here, density, arguments: list[str]
) -> None:
    # SciPy and Numba cost most of a second to import.
    (here / "typo.toml").write_text(PROBLEM.replace("ridge", "rigde"), encoding="utf-8")
    fpsolve.save(density, "d.h5")
    code = (
        f"import sys; from fpsolve.cli import main; main({arguments});"
        "print([m for m in ('numba', 'scipy', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"


def test_python_m_fpsolve(here) -> None:
    command = [sys.executable, "-m", "fpsolve", "ode", "p.toml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert table(done.stdout).shape == (3, 8)
    command[-1] = "none.toml"
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1


def test_a_closed_pipe_is_no_error(here) -> None:
    command = (
        f"{sys.executable} -m fpsolve ode p.toml --times 0:9:9 | head -c 1; exit ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("text", "values"),
    [("0:2:5", [0, 0.5, 1, 1.5, 2]), ("3", [3]), ("0,10,1e2", [0, 10, 100]), ("5:5:1", [5])],
)
def test_numbers(text: str, values: list[float]) -> None:
    assert numbers("--times", text) == values


def test_the_readme_example_prints_what_it_says(tmp_path) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    code, output = re.search(r"```python\n(.*?)```\s+```text\n(.*?)```", readme, re.DOTALL).groups()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=tmp_path
    )
    assert done.stdout == output
