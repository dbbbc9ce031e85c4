"""What the user chooses: quantizers, teacher, initial weights, problem, problem files."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from fpsolve import (
    GaussianInitial,
    ParameterError,
    Problem,
    StepQuantizer,
    Teacher,
    UniformQuantizer,
)
from fpsolve.problem.inputs import INPUT_DISTRIBUTIONS
from fpsolve.problem.toml import parse_problem, read_problem_file

moderate = st.floats(-10, 10, allow_nan=False)
positive = st.floats(0.05, 10)


@st.composite
def step_quantizers(draw, *, temperature=0.0) -> StepQuantizer:
    count = draw(st.integers(2, 9))
    gaps = draw(st.lists(st.floats(0.05, 2), min_size=2 * count, max_size=2 * count))
    levels = -2 + np.cumsum(gaps[:count])
    thresholds = -2 + np.cumsum(gaps[count : 2 * count - 1])
    return StepQuantizer(levels, thresholds, temperature)


uniform_quantizers = st.builds(UniformQuantizer, st.integers(2, 6), positive)
teachers = st.one_of(
    st.builds(Teacher.constant, moderate),
    st.just(Teacher.rademacher()),
    st.builds(Teacher.gaussian, positive, st.integers(2, 12)),
)
problems = st.builds(
    Problem,
    weight_quantizer=st.one_of(st.none(), uniform_quantizers, step_quantizers()),
    input_quantizer=st.one_of(st.none(), uniform_quantizers),
    learning_rate=st.floats(1e-6, 1e3),
    ridge=st.floats(0, 5),
    noise_variance=st.floats(0, 5),
    teacher=teachers,
    initial=st.builds(GaussianInitial, moderate, st.floats(0, 4), moderate),
    batch_size=st.integers(1, 10_000),
    input_distribution=st.sampled_from(sorted(INPUT_DISTRIBUTIONS)),
)


# --- quantizers -------------------------------------------------------------------------------


@given(st.integers(2, 12), positive)
def test_uniform_grid(bit_width: int, omega: float) -> None:
    quantizer = UniformQuantizer(bit_width, omega)
    assert quantizer.levels.size == 2**bit_width - 1
    assert quantizer.levels[0] == -omega
    assert quantizer.levels[-1] == omega
    np.testing.assert_array_equal(quantizer.levels, -quantizer.levels[::-1])
    np.testing.assert_array_equal(quantizer.thresholds, -quantizer.thresholds[::-1])
    steps = np.arange(2**bit_width - 1)
    np.testing.assert_allclose(
        quantizer.levels, -omega + quantizer.scale * steps, atol=1e-14 * omega
    )
    middle = -omega + quantizer.scale * (steps[1:] - 0.5)
    np.testing.assert_allclose(quantizer.thresholds, middle, atol=1e-14 * omega)


@given(uniform_quantizers, st.lists(moderate, min_size=1, max_size=30))
def test_uniform_quantizer_rounds_to_the_nearest_level(quantizer, points) -> None:
    x = np.array(points)
    distance = np.abs(quantizer(x)[:, None] - x[:, None])
    nearest = np.abs(quantizer.levels - x[:, None]).min(axis=1, keepdims=True)
    np.testing.assert_allclose(distance, nearest, atol=1e-12)


@given(step_quantizers(), st.lists(moderate, min_size=2, max_size=30))
def test_steps_are_monotone_and_right_continuous(quantizer, points) -> None:
    values = quantizer(np.sort(points))
    assert (np.diff(values) >= 0).all()
    np.testing.assert_array_equal(quantizer(quantizer.thresholds), quantizer.levels[1:])
    before = np.nextafter(quantizer.thresholds, -np.inf)
    np.testing.assert_array_equal(quantizer(before), quantizer.levels[:-1])


@given(step_quantizers())
@settings(max_examples=30)
def test_relaxation_is_the_convolution_with_a_gaussian(quantizer) -> None:
    smooth = StepQuantizer(quantizer.levels, quantizer.thresholds, temperature=0.3)
    x = np.linspace(-3, 3, 7)
    # Averaging a step over a Gaussian gives Φ, here from mpmath.
    expected = [
        quantizer.levels[0]
        + sum(
            dv * float(mpmath.ncdf((xi - theta) / 0.3))
            for dv, theta in zip(np.diff(quantizer.levels), quantizer.thresholds, strict=True)
        )
        for xi in x
    ]
    np.testing.assert_allclose(smooth(x), expected, atol=1e-13)


def test_relaxation_tends_to_the_step() -> None:
    sharp, smooth = UniformQuantizer(3, 1.0), UniformQuantizer(3, 1.0, temperature=1e-9)
    x = np.linspace(-2, 2, 1001)
    x = x[np.abs(x[:, None] - sharp.thresholds).min(axis=1) > 1e-6]
    np.testing.assert_allclose(smooth(x), sharp(x), atol=1e-15)


@pytest.mark.parametrize("temperature", [0.0, 0.2])
def test_primitive_differentiates_to_the_quantizer(temperature: float) -> None:
    quantizer = StepQuantizer([-1.0, 0.3, 2.0], [-0.4, 0.9], temperature)
    x = np.linspace(-3, 3, 61) + 0.0123
    h = 1e-6
    slope = (quantizer.primitive(x + h) - quantizer.primitive(x - h)) / (2 * h)
    np.testing.assert_allclose(slope, quantizer(x), atol=2e-9)


def test_sign_and_midpoint_thresholds() -> None:
    sign = StepQuantizer([-1.0, 1.0])
    np.testing.assert_array_equal(sign.thresholds, [0.0])
    np.testing.assert_array_equal(sign([-0.1, 0.0, 3.0]), [-1.0, 1.0, 1.0])
    assert sign.is_odd
    assert not StepQuantizer([0.0, 1.0]).is_odd


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: UniformQuantizer(1, 1.0), "bit_width"),
        (lambda: UniformQuantizer(2.5, 1.0), "bit_width"),
        (lambda: UniformQuantizer(True, 1.0), "bit_width"),
        (lambda: UniformQuantizer(17, 1.0), "bit_width"),
        (lambda: UniformQuantizer(2, 0.0), "omega"),
        (lambda: UniformQuantizer(2, -1.0), "omega"),
        (lambda: UniformQuantizer(2, math.nan), "omega"),
        (lambda: UniformQuantizer(2, "1"), "omega"),
        (lambda: UniformQuantizer(2, 1.0, -0.1), "temperature"),
        (lambda: StepQuantizer([1.0]), "levels"),
        (lambda: StepQuantizer([1.0, 0.0]), "levels"),
        (lambda: StepQuantizer([0.0, math.inf]), "levels"),
        (lambda: StepQuantizer([[0.0, 1.0]]), "levels"),
        (lambda: StepQuantizer([0, 1, 2], [1.0, 0.5]), "thresholds"),
        (lambda: StepQuantizer([0, 1, 2], [0.5]), "thresholds"),
        (lambda: StepQuantizer([0, 1, 2], [0.5, math.nan]), "thresholds"),
        (lambda: UniformQuantizer(2, 1.0)([0.0, math.nan]), "x"),
        (lambda: Teacher([1.0], [0.5, 0.5]), "teacher.probabilities"),
        (lambda: Teacher([1.0, 2.0], [0.5, 0.6]), "teacher.probabilities"),
        (lambda: Teacher([1.0, 2.0], [1.0, 0.0]), "teacher.probabilities"),
        (lambda: Teacher([1.0, 2.0], [1.5, -0.5]), "teacher.probabilities"),
        (lambda: Teacher([1.0, 1.0], [0.5, 0.5]), "teacher.values"),
        (lambda: Teacher([math.nan], [1.0]), "teacher.values"),
        (lambda: Teacher.constant(math.inf), "teacher.value"),
        (lambda: Teacher.gaussian(0.0, 5), "teacher.variance"),
        (lambda: Teacher.gaussian(1.0, 1), "teacher.nodes"),
        (lambda: GaussianInitial(variance=-1.0), "initial.variance"),
        (lambda: GaussianInitial(mean=math.nan), "initial.mean"),
        (lambda: GaussianInitial(overlap="0"), "initial.overlap"),
    ],
)
def test_bad_choices_are_named(make, field: str) -> None:
    with pytest.raises(ParameterError) as caught:
        make()
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field} = ")
    assert "\n" not in str(caught.value)


# --- input moments ----------------------------------------------------------------------------

# b_x, ω_x -> κ, S, six digits, from an independent evaluation of Prop. II.1.
MOMENTS = [
    (2, 1.0, 0.704131, 0.617075),
    (2, 2.0, 0.967883, 1.269242),
    (3, 1.0, 0.684945, 0.526905),
    (4, 1.0, 0.683101, 0.518044),
    (4, 3.0, 0.997497, 1.010668),
]


@pytest.mark.parametrize(("bit_width", "omega", "kappa", "sigma2"), MOMENTS)
def test_gaussian_moments_of_the_table(bit_width, omega, kappa, sigma2) -> None:
    found = UniformQuantizer(bit_width, omega).gaussian_moments()
    np.testing.assert_allclose(found, (kappa, sigma2), atol=5.1e-7)


def test_relaxed_moments_of_the_table_and_kappa_in_closed_form() -> None:
    quantizer = UniformQuantizer(3, 1.0, temperature=0.3)
    kappa, sigma2 = quantizer.gaussian_moments()
    np.testing.assert_allclose((kappa, sigma2), (0.66391, 0.48193), atol=5.1e-6)
    r = math.sqrt(1 + 0.3**2)
    phi = np.exp(-0.5 * (quantizer.thresholds / r) ** 2) / math.sqrt(2 * math.pi)
    assert kappa == pytest.approx(quantizer.scale * phi.sum() / r, abs=1e-13)


DENSITIES = {
    "gaussian": (lambda x: mpmath.npdf(x), mpmath.inf),
    "uniform": (lambda x: 1 / (2 * mpmath.sqrt(3)), mpmath.sqrt(3)),
    "laplace": (lambda x: mpmath.exp(-mpmath.sqrt(2) * abs(x)) / mpmath.sqrt(2), mpmath.inf),
}


@pytest.mark.parametrize("law", sorted(INPUT_DISTRIBUTIONS))
@pytest.mark.parametrize("temperature", [0.0, 0.25])
def test_moments_are_integrals_against_the_input_law(law: str, temperature: float) -> None:
    quantizer = StepQuantizer([-1.5, 0.0, 1.5], [-0.8, 0.8], temperature)
    pdf, end = DENSITIES[law]

    def psi(x):
        if temperature:
            return 1.5 * (mpmath.ncdf((x + 0.8) / 0.25) + mpmath.ncdf((x - 0.8) / 0.25) - 1)
        return 1.5 * (mpmath.sign(x - 0.8) + mpmath.sign(x + 0.8)) / 2

    pieces = [0, 0.8, 1.2, mpmath.sqrt(3)] + ([4, 8, mpmath.inf] if end == mpmath.inf else [])
    kappa = 2 * mpmath.quad(lambda x: x * psi(x) * pdf(x), pieces)
    sigma2 = 2 * mpmath.quad(lambda x: psi(x) ** 2 * pdf(x), pieces)
    found = quantizer.moments(INPUT_DISTRIBUTIONS[law])
    np.testing.assert_allclose(found, (float(kappa), float(sigma2)), rtol=1e-12)


@pytest.mark.parametrize("law", sorted(INPUT_DISTRIBUTIONS))
def test_input_laws_have_unit_variance(law: str) -> None:
    # A very fine quantizer is the identity: κ and S are then E[x²], to order Δ².
    fine = UniformQuantizer(14, 40.0)
    np.testing.assert_allclose(fine.moments(INPUT_DISTRIBUTIONS[law]), 1.0, atol=fine.scale**2)


@given(uniform_quantizers, st.sampled_from(sorted(INPUT_DISTRIBUTIONS)))
def test_moments_obey_cauchy_schwarz(quantizer, law: str) -> None:
    kappa, sigma2 = quantizer.moments(INPUT_DISTRIBUTIONS[law])
    # Thresholds outside the inputs' range leave κ = S = 0, up to rounding.
    assert 0 <= kappa**2 <= sigma2 * (1 + 1e-12) + (1e-15 * quantizer.omega) ** 2
    assert sigma2 <= quantizer.omega**2 * (1 + 1e-12)


# --- teacher ----------------------------------------------------------------------------------


@given(positive, st.integers(2, 40))
def test_gaussian_teacher_has_gaussian_moments(variance: float, nodes: int) -> None:
    teacher = Teacher.gaussian(variance, nodes)
    assert math.fsum(teacher.probabilities) == pytest.approx(1, abs=1e-14)
    assert teacher.rho == pytest.approx(variance, rel=1e-12)
    for order in range(4, min(2 * nodes, 9), 2):
        moment = teacher.probabilities @ teacher.values**order
        double_factorial = math.prod(range(order - 1, 0, -2))
        assert moment == pytest.approx(double_factorial * variance ** (order // 2), rel=1e-11)


def test_simple_teachers() -> None:
    assert Teacher.constant(0.5).rho == 0.25
    assert Teacher.rademacher().rho == 1.0
    assert Teacher.rademacher() == Teacher([-1, 1], [0.5, 0.5])
    assert Teacher.constant(1) != Teacher.constant(2)


# --- problem ----------------------------------------------------------------------------------


@given(problems)
@settings(max_examples=60)
def test_toml_round_trip_is_exact(problem: Problem) -> None:
    assert parse_problem(problem.to_toml()).problem == problem


@given(problems)
@settings(max_examples=30)
def test_pickle_round_trip_is_exact(problem: Problem) -> None:
    assert pickle.loads(pickle.dumps(problem)) == problem


@given(problems, st.lists(moderate, min_size=1, max_size=5), st.floats(0, 10))
@settings(max_examples=60)
def test_drift_and_diffusivity_are_those_of_the_theory(problem, points, error) -> None:
    w = np.array(points)
    psi = w if problem.weight_quantizer is None else problem.weight_quantizer(w)
    eta, s = problem.learning_rate, problem.sigma2
    for w_star in problem.teacher.values:
        expected = eta * (problem.kappa * w_star - (s + problem.ridge) * psi)
        scale = eta * (1 + abs(w_star) + (s + problem.ridge) * np.abs(psi).max())
        np.testing.assert_allclose(problem.drift(w, w_star), expected, atol=1e-14 * scale)
    expected = eta**2 * s * error / (2 * problem.batch_size)
    assert problem.diffusivity(error) == pytest.approx(expected, rel=1e-14)


def test_full_precision_inputs_have_unit_moments() -> None:
    problem = Problem(weight_quantizer=None, input_quantizer=None, learning_rate=0.1)
    assert (problem.kappa, problem.sigma2, problem.rho) == (1.0, 1.0, 1.0)
    assert problem.teacher == Teacher.constant(1.0)
    assert problem.initial == GaussianInitial(0.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": math.nan}, "learning_rate"),
        ({"learning_rate": True}, "learning_rate"),
        ({"ridge": -0.1}, "ridge"),
        ({"noise_variance": -1e-9}, "noise_variance"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 1.5}, "batch_size"),
        ({"weight_quantizer": 2}, "weight_quantizer"),
        ({"input_quantizer": StepQuantizer([0.0, 1.0])}, "input_quantizer"),
        ({"teacher": 1.0}, "teacher"),
        ({"initial": 0.0}, "initial"),
        ({"input_distribution": "cauchy"}, "input_distribution"),
    ],
)
def test_bad_fields_are_named(linear_problem, change, field: str) -> None:
    with pytest.raises(ParameterError) as caught:
        replace(linear_problem, **change)
    assert caught.value.field == field


def test_problem_is_frozen_and_keyword_only(linear_problem) -> None:
    with pytest.raises(AttributeError):
        linear_problem.ridge = 1.0
    with pytest.raises(TypeError):
        Problem(None, None, 0.1)
    with pytest.raises(ValueError, match="read-only"):
        linear_problem.input_quantizer.levels[0] = 3.0


# --- problem files ----------------------------------------------------------------------------

FILE = """
[problem]
learning_rate = 0.04
ridge = 0.5
[problem.weight_quantizer]
bit_width = 2
omega = 2.0
[problem.input_quantizer]
levels = [-1.0, 1.0]
[problem.teacher]
kind = "gaussian"
variance = 1.0
nodes = 5
[problem.initial]
variance = 0.01
[solve]
times = [0, 10, 25]
rtol = 1e-5
"""


def test_a_problem_file_says_what_it_says(tmp_path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(FILE, encoding="utf-8")
    found = read_problem_file(path)
    assert found.problem == Problem(
        weight_quantizer=UniformQuantizer(2, 2.0),
        input_quantizer=StepQuantizer([-1.0, 1.0]),
        learning_rate=0.04,
        ridge=0.5,
        teacher=Teacher.gaussian(1.0, 5),
        initial=GaussianInitial(variance=0.01),
    )
    assert found.solve == {"times": [0, 10, 25], "rtol": 1e-5}
    assert Problem.from_toml(path) == found.problem


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("ridge", "rigde", ["[problem]", "rigde", "ridge"]),
        ("[solve]", "[solver]", ["top level", "solver", "solve"]),
        ("rtol", "tolerance", ["[solve]", "tolerance", "rtol"]),
        ("omega = 2.0", "range = 2.0", ["[problem.weight_quantizer]", "range", "omega"]),
        ("omega = 2.0", "omega = -2.0", ["[problem.weight_quantizer]", "omega", "-2.0"]),
        ("bit_width = 2", "bit_width = 1", ["[problem.weight_quantizer]", "bit_width", "1"]),
        ("bit_width = 2\n", "", ["[problem.weight_quantizer]", "bit_width", "missing"]),
        ("[-1.0, 1.0]", "[1.0, -1.0]", ["[problem.input_quantizer]", "levels"]),
        ("[-1.0, 1.0]", "[0.0, 1.0]", ["[problem]", "input_quantizer", "odd"]),
        ('"gaussian"', '"cauchy"', ["[problem.teacher]", "kind", "gaussian"]),
        ("nodes = 5", "", ["[problem.teacher]", "nodes", "missing"]),
        ("variance = 0.01", "variance = nan", ["[problem.initial]", "variance"]),
        ("learning_rate = 0.04", "", ["[problem]", "learning_rate", "missing"]),
        ("learning_rate = 0.04", "learning_rate = '0.04'", ["[problem]", "learning_rate"]),
        ("[problem]", "[[problem]]", ["problem", "table"]),
        ("ridge = 0.5", "ridge = ", ["not valid TOML"]),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path, old: str, new: str, words: list[str]) -> None:
    path = tmp_path / "p.toml"
    text = FILE.replace(old, new, 1)
    assert text != FILE
    if "[[problem]]" in text:
        text = "[[problem]]\nlearning_rate = 1.0\n"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ParameterError) as caught:
        read_problem_file(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_files_that_cannot_be_read(tmp_path) -> None:
    with pytest.raises(ParameterError, match="cannot be read"):
        read_problem_file(tmp_path / "none.toml")
    binary = tmp_path / "b.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ParameterError, match="not UTF-8"):
        read_problem_file(binary)


@pytest.mark.parametrize(("bits", "temperature"), [(10, 0.52), (8, 0.05), (6, 1.0)])
def test_many_smoothed_steps_are_the_sum_of_normal_distribution_functions(bits, temperature):
    quantizer = UniformQuantizer(bits, 3.0, temperature)
    reach = 3.0 + 12.0 * temperature
    x = np.concatenate([np.random.default_rng(3).uniform(-reach, reach, 500), [-np.inf, np.inf]])
    steps = ndtr((x[:, None] - quantizer.thresholds) / temperature)
    plain = quantizer.levels[0] + steps @ np.diff(quantizer.levels)
    np.testing.assert_allclose(quantizer(x), plain, rtol=0, atol=1e-13)
    assert quantizer._table is not None
