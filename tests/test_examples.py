"""The examples: each script finds what its text says, and its picture can be drawn."""

from __future__ import annotations

import runpy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.linalg import eigh_tridiagonal

import fpsolve

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(path.stem for path in EXAMPLES.glob("*.py"))


@cache
def example(name: str) -> dict[str, Any]:
    """The names that the script defines at top level."""
    return runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="example")


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_example_asks_a_question_and_draws_its_answer(name: str) -> None:
    text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    assert text.splitlines()[1].endswith("?")
    figure = example(name)["visualize"]()
    assert any(axes.has_data() for axes in figure.get_axes())


def test_every_example_is_asserted() -> None:
    own = Path(__file__).read_text(encoding="utf-8")
    for name in SCRIPTS:
        assert f'example("{name}")' in own, f"no test asserts what {name} finds"


def test_first_solve() -> None:
    # ε_g of Fig. 1 from an independent solver.
    expected = [2.610975334, 1.262385195, 1.237155961, 1.39312161, 1.459594977]
    np.testing.assert_allclose(example("first_solve")["errors"], expected, atol=2e-5)


def test_density_against_training() -> None:
    assert example("density_against_training")["verdict"].agrees


def test_own_training_loop() -> None:
    found = example("own_training_loop")
    assert found["verdict"].agrees
    assert not found["rebuke"].agrees, "a learning rate off by two is noticed"


def test_best_range() -> None:
    best = example("best_range")["best"]
    ranges = [best[bits].omega for bits in (2, 3, 4)]
    errors = np.array([best[bits].generalization_error for bits in (2, 3, 4)])
    assert ranges == sorted(ranges)
    assert (errors[1:] < 0.4 * errors[:-1]).all()
    # Inside the range the small-rate error is SΔ²p(1−p), SΔ²/6 on average; clipping adds to it.
    floors = np.array(
        [(2 * w / (2**b - 2)) ** 2 / 6 for b, w in zip((2, 3, 4), ranges, strict=True)]
    )
    assert (errors > floors).all()
    assert (errors < 2 * floors).all()


def test_where_training_settles() -> None:
    found = example("where_training_settles")
    state, late = found["state"], found["late"].order_parameters
    # E[ψ | w*] = κ w*/(S + λ) exactly, whatever the rate: so m_ψ is known without any solver.
    problem = found["problem"]
    target = problem.kappa / (problem.sigma2 + problem.ridge)
    np.testing.assert_allclose(late.m_psi[-1], target, rtol=1e-6)
    assert found["distance"][-1] < 1e-7
    # The distance falls at the predicted rate: by e^(−10 rate) in ten units of time.
    fall = np.log(found["distance"][20] / found["distance"][25]) / 10
    np.testing.assert_allclose(fall, state.relaxation_rate, rtol=0.03)


def test_trust_the_closure() -> None:
    found = example("trust_the_closure")
    # At τ = 5, from an independent solver and an independent closure; STE says 1.098 ± 0.006.
    assert found["with_quantizer"].exact.generalization_error[5] == pytest.approx(1.108, abs=1e-3)
    assert found["with_quantizer"].closure.generalization_error[5] == pytest.approx(1.217, abs=1e-3)
    assert np.abs(found["without"].order_parameters.generalization_error).max() < 1e-6


def test_early_stopping() -> None:
    found = example("early_stopping")
    # c = 0.4 lies at p = 0.8 of a step Δ = 0.5: ε = 1 − 2c + c² + Δ²p(1 − p) = 0.4 at small η.
    assert found["stop"].final == pytest.approx(0.400, abs=1e-3)
    # What stopping saves, as simulations confirm it in the validation: 0.037, not 0.074.
    assert found["stop"].gain == pytest.approx(0.037, abs=1e-3)
    assert found["promised"].gain == pytest.approx(0.074, abs=1e-3)


def test_largest_learning_rate() -> None:
    found = example("largest_learning_rate")
    # S of (b, ω) = (2, 2) is 1.269242; the boundary of unquantized weights 2/S without ridge.
    assert found["boundary"] == pytest.approx(2 / 1.269242, rel=1e-6)
    assert found["above"].order_parameters.generalization_error[-1] > 1e6
    assert found["below"].order_parameters.generalization_error[-1] < 2
    # |ψ| ≤ 1: ε_g ≤ S + 2κ + 1.
    assert found["quantized"].order_parameters.generalization_error.max() < 1.27 + 2 * 0.968 + 1


def test_own_quantizer() -> None:
    found = example("own_quantizer")
    for state in found["states"].values():
        for w_star in (-1.2, 0.3, 0.6):
            # S = κ = 1 and λ = 0.1; the quadrature steps over jumps of ψ, hence its error.
            assert found["mean_quantized"](state, w_star) == pytest.approx(w_star / 1.1, abs=2e-3)


def test_sensitivity() -> None:
    found = example("sensitivity")
    # c = 1/2 is a level: ε₀ = 1 − 2c + c² = 1/4, χ = 1/2, S = 1.
    assert found["slopes"][0] == pytest.approx(0.125, rel=1e-4)
    assert found["limit"].error_slope == pytest.approx(0.125)


def test_fit_to_a_run() -> None:
    found = example("fit_to_a_run")
    assert found["learning_rate"] == pytest.approx(0.3, rel=0.05)
    assert found["noise_variance"] == pytest.approx(0.2, rel=0.05)


def test_phase_diagram() -> None:
    found = example("phase_diagram")
    late, ranges, ridges = found["late"], found["ranges"], found["ridges"]
    for j, ridge in enumerate(ridges):
        for i, omega in enumerate(ranges):
            # Small η, κ = S = 1, levels −ω, 0, ω: between levels ε = 1 − 2c + cω, else (1 − ω)².
            c = 1 / (1 + ridge)
            expected = 1 - 2 * c + c * omega if c < omega else (1 - omega) ** 2
            # To first order in η = 0.05, and at a finite time.
            assert late[i, j] == pytest.approx(expected, abs=0.02)


def test_ensembles_on_a_grid() -> None:
    found = example("ensembles_on_a_grid")
    difference, error = found["difference"], found["standard_error"]
    # Sampling noise alone: root mean square of one standard error over 72 points, none beyond five.
    assert 0.5 * error < np.sqrt(np.mean(difference**2)) < 1.5 * error
    assert np.abs(difference).max() < 5 * error
    best = np.unravel_index(found["limit"].argmin(), found["limit"].shape)
    assert found["models"].problem(best).ridge == 0.0  # without noise no penalty helps


def test_plateau() -> None:
    found = example("plateau")
    for omega, time in found["predicted"].items():
        assert found["half_way"](omega) == pytest.approx(time, rel=0.08)


def test_power_law() -> None:
    found = example("power_law")
    assert found["exponent"] == pytest.approx(-(1 + found["BETA"] + found["GAMMA"]), abs=0.01)
    teacher = fpsolve.Teacher.power_law(found["BETA"], found["GAMMA"], classes=12)
    told = []
    for bits, floor in found["floors"].items():
        levels = fpsolve.UniformQuantizer(bits, 2.0).levels
        inside, step = np.clip(teacher.values, -2, 2), levels[1] - levels[0]
        f = (inside + 2) / step % 1
        # Dithering between two levels, and what lies beyond the range.
        square = step**2 * f * (1 - f) + (teacher.values - inside) ** 2
        expected = float(teacher.probabilities @ (teacher.input_scale**2 * square))
        # The last classes are still on their way.
        assert floor == pytest.approx(expected, rel=0.1)
        told.append(f"{bits} bits at τ = {round(found['ends'][bits], -2):.0f} (ε = {floor:.1g})")
    readme = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    assert ", ".join(told).replace("bits at", "bits end that at", 1) in readme


def test_ornstein_uhlenbeck() -> None:
    # The script's closed form, checked at its ends: at t = 0 the start, at last the stationary law.
    found = example("ornstein_uhlenbeck")
    assert found["exact_variance"][0] == pytest.approx(0.2)
    assert found["exact_variance"][-1] == pytest.approx(0.7, abs=2e-4)
    assert found["error"] < 1e-6
    moments = found["result"].functionals
    np.testing.assert_allclose(moments[:, 0], found["exact_mean"], atol=1e-6)
    np.testing.assert_allclose(
        moments[:, 1] - moments[:, 0] ** 2, found["exact_variance"], atol=1e-6
    )


def test_dry_friction() -> None:
    found = example("dry_friction")
    assert max(found["errors"]) < 1e-6
    # The propagator tends to exp(−2|x|), as a drift of −1 against D = 1/2 must.
    x = np.array([-1.0, 0.0, 2.0])
    np.testing.assert_allclose(found["propagator"](x, 200.0), np.exp(-2 * np.abs(x)), atol=1e-9)


def test_kramers_escape() -> None:
    found = example("kramers_escape")
    # The gap of the symmetrized operator −D∂² + U'²/(4D) − U''/2, by finite differences.
    x = np.linspace(-2.4, 2.4, 4801)
    for diffusion, rate in zip(found["diffusions"], found["rates"], strict=True):
        well = (x**3 - x) ** 2 / (4 * diffusion) - (3 * x**2 - 1) / 2
        h2 = (x[1] - x[0]) ** 2
        diagonal, side = well + 2 * diffusion / h2, np.full(x.size - 1, -diffusion / h2)
        zero, gap = eigh_tridiagonal(
            diagonal, side, eigvals_only=True, select="i", select_range=(0, 1)
        )
        # The lowest one is 0; finite differences shift both alike.
        assert rate == pytest.approx(gap - zero, rel=3e-4)
    np.testing.assert_allclose(found["rates"][:3], found["corrected"][:3], rtol=0.02)
    assert (found["rates"] < found["leading"]).all()


def test_desai_zwanzig() -> None:
    found = example("desai_zwanzig")
    np.testing.assert_allclose(found["reached"][0], found["exact"], atol=1e-5)
    np.testing.assert_allclose(found["reached"][1], -found["exact"], atol=1e-5)
    # At the transition J E x² = D in the symmetric state: linear response (Dawson 1983).
    critical = found["critical"]
    weight = lambda x: np.exp(-(x**4) / 4 / critical)  # noqa: E731  J = 1 takes the quadratic away
    second = quad(lambda x: x**2 * weight(x), -6, 6)[0] / quad(weight, -6, 6)[0]
    assert second == pytest.approx(critical, rel=1e-5)


def test_decay_holds_weights() -> None:
    found = example("decay_holds_weights")
    # The start is forgotten as exp(−ηγτ) = exp(−7.5), from about 10 below.
    assert found["mean"] == pytest.approx(10.0, abs=10 * np.exp(-7.4))
    assert found["variance"] == pytest.approx(0.35, abs=1e-4)
    assert found["state"].generalization_error[-1] == pytest.approx(0.35, abs=1e-9)
    assert found["speed"] == pytest.approx(0.1 * (1 - 0.5), rel=1e-9)


def test_dampened_oscillation() -> None:
    found = example("dampened_oscillation")
    np.testing.assert_allclose(found["upper"], found["exact"], atol=5e-3)
    # S = κ = 1, levels 0 and 1, w* = 1: ε_g is the share that is not at the upper level.
    np.testing.assert_allclose(found["errors"], 1 - found["upper"], atol=1e-6)


def test_the_examples_use_public_names_only() -> None:
    for name in SCRIPTS:
        text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
        assert "from fpsolve" not in text
        assert "fpsolve._" not in text
    assert len(SCRIPTS) >= 12
    assert callable(fpsolve.solve_pde)
