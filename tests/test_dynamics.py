"""The coefficients of every training rule, against the formulas written out for one weight."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpsolve import (
    GaussianInitial,
    ParameterError,
    Problem,
    Schedule,
    StepQuantizer,
    Surrogate,
    Teacher,
    UniformQuantizer,
    solve_ode,
)
from fpsolve.problem.dynamics import FUNCTIONAL_NAMES, Dynamics
from fpsolve.problem.toml import parse_problem

CLASSES = Teacher([1.0, 1.0, -0.6], [0.25, 0.25, 0.5], [0.5, 1.0, 1.6])
BASE = Problem(
    weight_quantizer=UniformQuantizer(2, 1.0),
    input_quantizer=UniformQuantizer(2, 2.0),
    learning_rate=0.05,
    ridge=0.5,
    noise_variance=0.1,
    batch_size=3,
)
RULES = {
    "plain": {},
    "classes": {"teacher": CLASSES},
    "full precision": {"weight_quantizer": None, "weight_decay": 0.3},
    "relaxed": {"weight_quantizer": UniformQuantizer(2, 1.0, 0.1), "dampening": 0.2},
    "stochastic": {"weight_quantizer": UniformQuantizer(3, 1.0, rounding="stochastic")},
    "stochastic, leaky": {
        "weight_quantizer": UniformQuantizer(2, 1.0, rounding="stochastic"),
        "surrogate": Surrogate(0.7, 0.25),
        "weight_decay": 0.4,
    },
    "clipped": {"surrogate": Surrogate()},
    "triangular": {"surrogate": Surrogate.triangular(1.3)},
    "dampened, leaky, asymmetric": {
        "weight_quantizer": StepQuantizer([-1.0, 0.2, 1.5]),
        "surrogate": Surrogate(None, 0.1),
        "dampening": 0.2,
        "weight_decay": 0.1,
        "momentum": 0.9,
    },
    "wall": {"weight_clip": 0.8, "learning_rate": Schedule.cosine(0.1, 0.01, duration=10.0)},
}
WEIGHTS = np.array([-3.1, -1.21, -0.83, -0.45, -0.11, 0.07, 0.31, 0.62, 0.77, 0.93, 1.41, 2.5])


def written_out(problem: Problem, w: float, k: int) -> tuple[float, float, list[float]]:
    """Drift at τ = 2, h and functionals at a weight, from the definitions alone."""
    quantizer, surrogate = problem.weight_quantizer, problem.surrogate
    if quantizer is None:
        psi, square, low, high = w, w * w, -math.inf, math.inf
    else:
        levels = quantizer.levels
        low, high = levels[0], levels[-1]
        if quantizer.rounding == "stochastic":
            psi = min(max(w, low), high)
            step = levels[1] - levels[0]
            part = (psi - low) / step % 1.0
            square = psi**2 + step**2 * part * (1 - part)
        elif quantizer.temperature > 0:
            psi = low + sum(
                (levels[i + 1] - levels[i])
                * float(mpmath.ncdf((w - quantizer.thresholds[i]) / quantizer.temperature))
                for i in range(levels.size - 1)
            )
            square = psi**2
        else:
            psi = levels[int((w >= quantizer.thresholds).sum())]
            square = psi**2
    h = 1.0
    if surrogate is not None and surrogate.is_triangular:
        h = max(0.0, 1 - abs(w) / surrogate.bound)
    elif surrogate is not None:
        bound = surrogate.bound or max(abs(low), abs(high))
        h = 1.0 if abs(w) <= bound else surrogate.slope
    kappa, s, w_star = problem.kappas[k], problem.sigma2s[k], problem.teacher.values[k]
    eta = problem.learning_rate
    eta = eta(2.0) if isinstance(eta, Schedule) else eta
    brake = problem.weight_decay * w
    if problem.dampening:
        brake += 2 * problem.dampening * (min(max(w, low), high) - psi)
    push = h * (kappa * w_star - (s + problem.ridge) * psi) - brake
    drift = eta / (1 - problem.momentum) * push
    loss = s * square - 2 * kappa * w_star * psi
    return drift, h, [loss, w_star * w, w * w, w_star * psi, square, w * psi]


@pytest.mark.parametrize("name", RULES)
def test_coefficients_are_those_of_the_theory(name: str) -> None:
    problem = replace(BASE, **RULES[name])
    dynamics = problem.dynamics
    bins = dynamics.bins(WEIGHTS)
    factors = dynamics.coefficients(2.0, 0.0).drift
    for k in range(problem.teacher.values.size):
        expected = [written_out(problem, w, k) for w in WEIGHTS]
        drift, shape, functionals = (np.array(part) for part in zip(*expected, strict=True))
        fields = dynamics.fields(WEIGHTS, bins, k)
        np.testing.assert_allclose(factors @ fields.drift, drift, rtol=1e-13, atol=1e-14)
        np.testing.assert_allclose(fields.shape, shape, rtol=1e-14)
        np.testing.assert_allclose(fields.functionals, functionals.T, rtol=1e-12, atol=1e-13)
        np.testing.assert_array_equal(dynamics.shape(WEIGHTS), fields.shape)
        point = dynamics.point_drift(WEIGHTS, dynamics.coordinate(k), 2.0)
        np.testing.assert_allclose(point, drift, rtol=1e-13, atol=1e-14)
        if dynamics.pieces is not None:
            powers = np.array([np.ones_like(WEIGHTS), WEIGHTS, WEIGHTS**2])
            for pieces, values in ((dynamics.pieces.drift, fields.drift),
                                   (dynamics.pieces.functionals, fields.functionals)):  # fmt: skip
                found = np.einsum("jbn,nb->jb", pieces[:, k][:, bins], powers)
                np.testing.assert_allclose(found, values, rtol=1e-12, atol=1e-13)
    assert len(FUNCTIONAL_NAMES) == 6
    assert (dynamics.pieces is None) == (name == "relaxed")


@pytest.mark.parametrize("name", RULES)
def test_between_breaks_everything_is_smooth(name: str) -> None:
    # Third differences of quadratics vanish; a break left out would leave a jump or a kink.
    dynamics = replace(BASE, **RULES[name]).dynamics
    if dynamics.pieces is None:
        return
    ends = np.concatenate([[-4.0], dynamics.breaks, [4.0]])
    for left, right in itertools.pairwise(ends):
        w = np.linspace(left, right, 9)[1:-1]
        for k in range(dynamics.w_star.size):
            fields = dynamics.fields(w, dynamics.bins(w), k)
            psi = dynamics.problem.quantize(w)
            for values in (*fields.drift, *fields.functionals, fields.shape, psi):
                assert np.abs(np.diff(values, 3)).max() < 1e-12


@pytest.mark.parametrize("name", RULES)
def test_every_break_is_one(name: str) -> None:
    dynamics = replace(BASE, **RULES[name]).dynamics
    for b, w in enumerate(dynamics.breaks):
        sides = []
        for side in (b, b + 1):
            near = w + np.array([-1e-3, 0.0, 1e-3])
            per_class = [dynamics.fields(near, [side] * 3, k) for k in range(dynamics.w_star.size)]
            sides.append(np.array([[*f.drift, *f.functionals, f.shape] for f in per_class]))
        assert np.abs(sides[0] - sides[1]).max() > 1e-5


def test_scalar_factors_and_their_derivatives() -> None:
    schedule = Schedule.cosine(0.1, 0.01, duration=10.0)
    dynamics = replace(BASE, learning_rate=schedule, momentum=0.5).dynamics
    tau, error, h = 3.0, 0.7, 1e-6
    at = dynamics.coefficients(tau, error)
    eta = 2 * schedule(tau)
    assert at.drift == pytest.approx([eta])
    assert at.diffusion == pytest.approx(eta**2 * error / 6, rel=1e-14)
    up, down = dynamics.coefficients(tau + h, error), dynamics.coefficients(tau - h, error)
    assert at.drift_time == pytest.approx((up.drift - down.drift) / (2 * h), rel=1e-8)
    assert at.diffusion_time == pytest.approx((up.diffusion - down.diffusion) / (2 * h), rel=1e-8)
    up, down = dynamics.coefficients(tau, error + h), dynamics.coefficients(tau, error - h)
    assert at.diffusion_error == pytest.approx((up.diffusion - down.diffusion) / (2 * h), rel=1e-8)
    assert (at.drift_error == 0).all()


def test_jumps_are_taken_from_either_side() -> None:
    dynamics = replace(BASE, learning_rate=Schedule.steps([0.2, 0.1], times=[5.0])).dynamics
    assert dynamics.coefficients(5.0, 1.0).drift == [0.1]
    assert dynamics.coefficients(5.0, 1.0, before=True).drift == [0.2]
    np.testing.assert_array_equal(dynamics.landing_points(9.0), [5.0])
    assert dynamics.landing_points(5.0).size == 0


@pytest.mark.parametrize("scale", [0.5, 1.6])
@pytest.mark.parametrize("temperature", [0.0, 0.3])
def test_moments_of_scaled_inputs_are_integrals(scale: float, temperature: float) -> None:
    quantizer = UniformQuantizer(2, 2.0, temperature)
    teacher = Teacher([1.0, 0.5], [0.5, 0.5], [1.0, scale])
    problem = replace(BASE, input_quantizer=quantizer, teacher=teacher)

    def psi(x):
        if temperature:
            return 2 * (mpmath.ncdf((x - 1) / temperature) + mpmath.ncdf((x + 1) / temperature) - 1)
        return 2 * (mpmath.sign(x - 1) + mpmath.sign(x + 1)) / 2

    pieces = [0, 0.5, 1, 1.5, 3, 6, mpmath.inf]
    pdf = lambda x: mpmath.npdf(x, 0, scale)  # noqa: E731
    kappa = 2 * mpmath.quad(lambda x: x * psi(x) * pdf(x), pieces)
    sigma2 = 2 * mpmath.quad(lambda x: psi(x) ** 2 * pdf(x), pieces)
    assert problem.kappas[1] == pytest.approx(float(kappa), rel=1e-10)
    assert problem.sigma2s[1] == pytest.approx(float(sigma2), rel=1e-10)
    with pytest.raises(ParameterError, match="kappas"):
        _ = problem.kappa


def test_full_precision_inputs_of_one_scale() -> None:
    problem = replace(BASE, input_quantizer=None, teacher=Teacher([2.0], [1.0], 0.5))
    assert problem.kappa == problem.sigma2 == 0.25
    assert problem.rho == 1.0
    assert problem.teacher.square == 4.0


# --- walls ------------------------------------------------------------------------------------


def test_walls() -> None:
    assert BASE.dynamics.walls is None
    clip = replace(BASE, weight_clip=0.8).dynamics
    assert clip.walls is not None
    assert clip.walls[:3] == (-0.8, 0.8, "reflect")
    assert clip.walls.bins == (0, 2)
    # Frozen weights stand just beyond ±0.5, which are thresholds too.
    frozen = replace(BASE, surrogate=Surrogate(0.5)).dynamics
    assert frozen.walls is not None
    assert frozen.walls[:3] == (-0.5, 0.5, "absorb")
    psi = [frozen.fields(w, b, 0).functionals[3]
           for w, b in zip((-0.5, 0.5), frozen.walls.bins, strict=True)]  # fmt: skip
    assert psi == [-1.0, 1.0]
    assert replace(BASE, surrogate=Surrogate(0.5, 0.1)).dynamics.walls is None


def test_the_ends_of_a_surrogate_are_inside() -> None:
    problem = replace(BASE, surrogate=Surrogate(0.75))
    np.testing.assert_array_equal(problem.dynamics.shape([-0.76, -0.75, 0.75, 0.76]), [0, 1, 1, 0])


# --- what goes together -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"weight_decay": -0.1}, "weight_decay"),
        ({"weight_clip": 0.0}, "weight_clip"),
        ({"weight_clip": math.nan}, "weight_clip"),
        ({"dampening": -1.0}, "dampening"),
        ({"momentum": 1.0}, "momentum"),
        ({"momentum": -0.1}, "momentum"),
        ({"learning_rate": -0.1}, "learning_rate"),
        ({"learning_rate": Schedule.constant(0.0)}, "learning_rate"),
        ({"surrogate": Surrogate(), "weight_decay": 0.1}, "weight_decay"),
        ({"surrogate": Surrogate(), "dampening": 0.1}, "dampening"),
        ({"surrogate": Surrogate(), "weight_clip": 1.1}, "weight_clip"),
        ({"surrogate": Surrogate(), "weight_quantizer": None}, "surrogate.bound"),
        ({"weight_quantizer": None, "dampening": 0.1}, "dampening"),
        ({"weight_clip": 0.4, "initial": GaussianInitial(variance=0.0)}, "weight_clip"),
        ({"input_quantizer": UniformQuantizer(2, 1, rounding="stochastic")}, "input_quantizer"),
    ],
)
def test_rules_that_do_not_go_together_are_refused(change, field: str) -> None:
    with pytest.raises(ParameterError) as caught:
        replace(BASE, **change)
    assert caught.value.field == field
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Surrogate(0.0), "surrogate.bound"),
        (lambda: Surrogate(1.0, 1.0), "surrogate.slope"),
        (lambda: Surrogate(1.0, -0.1), "surrogate.slope"),
        (lambda: Surrogate.triangular(0.0), "surrogate.width"),
        (lambda: UniformQuantizer(2, 1.0, rounding="up"), "rounding"),
        (lambda: UniformQuantizer(2, 1.0, 0.1, "stochastic"), "temperature"),
        (lambda: Teacher([1.0, 1.0], [0.5, 0.5], [1.0, 1.0]), "teacher.values"),
        (lambda: Teacher([1.0, 2.0], [0.5, 0.5], [1.0, 0.0]), "teacher.input_scale"),
        (lambda: Teacher([1.0, 2.0], [0.5, 0.5], [1.0]), "teacher.input_scale"),
        (lambda: Teacher.power_law(0.0, 1.0, 8), "teacher.beta"),
        (lambda: Teacher.power_law(1.0, -2.0, 8), "teacher.gamma"),
        (lambda: Teacher.power_law(1.0, 1.0, 1), "teacher.classes"),
    ],
)
def test_bad_rules_are_named(make, field: str) -> None:
    with pytest.raises(ParameterError) as caught:
        make()
    assert caught.value.field == field


def test_a_rate_that_ends_at_zero_ends_the_times() -> None:
    problem = replace(BASE, learning_rate=Schedule.linear(0.1, 0.0, duration=20.0))
    problem.dynamics.check_horizon(20.0)
    with pytest.raises(ParameterError, match="tau = 20"):
        problem.dynamics.check_horizon(21.0)


# --- subclasses -------------------------------------------------------------------------------


class Pushed(Dynamics):
    """A drift with a constant force of its own."""

    def drift_terms(self, coordinate, psi, shape, brake):
        (term,) = super().drift_terms(coordinate, psi, shape, brake)
        return (term + 0.25,)


class PushedProblem(Problem):
    @property
    def dynamics(self) -> Dynamics:
        return Pushed(self)


def test_an_overridden_coefficient_reaches_every_form_of_it() -> None:
    plain = BASE.dynamics
    problem = PushedProblem(**{name: getattr(BASE, name) for name in BASE.__getstate__()})
    pushed = problem.dynamics
    assert plain.pieces is not None
    assert pushed.pieces is not None
    np.testing.assert_allclose(pushed.pieces.drift[..., 0] - plain.pieces.drift[..., 0], 0.25)
    bins = plain.bins(WEIGHTS)
    more = pushed.fields(WEIGHTS, bins, 0).drift - plain.fields(WEIGHTS, bins, 0).drift
    np.testing.assert_allclose(more, 0.25)
    np.testing.assert_allclose(problem.drift(WEIGHTS, 1.0) - BASE.drift(WEIGHTS, 1.0), 0.25 * 0.05)
    with pytest.raises(ParameterError, match="dynamics"):
        solve_ode(problem, [0.0, 1.0])


def test_overriding_what_follows_is_refused() -> None:
    with pytest.raises(TypeError, match="drift_terms"):
        type("Wrong", (Dynamics,), {"point_drift": lambda self, w, k, tau: w})
    with pytest.raises(TypeError, match="dynamics"):
        type("Wrong", (Problem,), {"drift": lambda self, w, w_star: w})


# --- text -------------------------------------------------------------------------------------

surrogates = st.one_of(
    st.none(),
    st.builds(Surrogate, st.one_of(st.none(), st.floats(0.1, 3)), st.floats(0, 0.99)),
    st.builds(Surrogate.triangular, st.floats(0.1, 3)),
)


@given(surrogates, st.floats(0, 2), st.floats(0.1, 9), st.floats(0, 0.49), st.floats(0, 0.99))
@settings(max_examples=60)
def test_rules_survive_a_problem_file(surrogate, decay, clip, dampening, momentum) -> None:
    frozen = surrogate is not None and surrogate.slope == 0
    moving = {"weight_decay": decay, "weight_clip": clip, "dampening": dampening}
    problem = replace(
        BASE,
        surrogate=surrogate,
        momentum=momentum,
        teacher=CLASSES,
        weight_quantizer=UniformQuantizer(
            3, 1.0, rounding="nearest" if dampening else "stochastic"
        ),
        **({} if frozen else moving),
    )
    again = parse_problem(problem.to_toml()).problem
    assert again == problem
    assert hash(again) == hash(problem)
    assert len(repr(problem)) <= 200


def test_a_problem_file_with_every_rule() -> None:
    text = """
    [problem]
    weight_decay = 0.1
    weight_clip = 2.0
    momentum = 0.9
    [problem.learning_rate]
    kind = "join"
    times = [5.0]
    schedules = [
        {kind = "linear", initial = 0.0, final = 0.1, duration = 5.0},
        {kind = "cosine", initial = 0.1, final = 0.01, duration = 95.0},
    ]
    [problem.weight_quantizer]
    bit_width = 3
    omega = 1.0
    rounding = "stochastic"
    [problem.surrogate]
    slope = 0.25
    [problem.teacher]
    kind = "power_law"
    beta = 0.5
    gamma = 1.0
    classes = 4
    """
    warm, decay = Schedule.linear(0, 0.1, duration=5), Schedule.cosine(0.1, 0.01, duration=95)
    assert parse_problem(text).problem == Problem(
        weight_quantizer=UniformQuantizer(3, 1.0, rounding="stochastic"),
        input_quantizer=None,
        learning_rate=Schedule.join([warm, decay], times=[5]),
        weight_decay=0.1,
        weight_clip=2.0,
        momentum=0.9,
        surrogate=Surrogate(slope=0.25),
        teacher=Teacher.power_law(0.5, 1.0, 4),
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("learning_rate = {kind = 'sine'}", ["learning_rate", "kind", "cosine"]),
        ("learning_rate = {kind = 'cosine', initial = 1.0}", ["final", "missing"]),
        ("learning_rate = {kind = 'constant', value = -1.0}", ["learning_rate", "-1"]),
        ("learning_rate = 0.1\nsurrogate = {kind = 'sharp'}", ["surrogate", "triangular"]),
        ("learning_rate = 0.1\nsurrogate = {slope = 2.0}", ["surrogate", "slope", "2.0"]),
        ("learning_rate = 0.1\nmomentum = 1.0", ["[problem]", "momentum"]),
    ],
)
def test_what_is_wrong_with_a_rule_in_a_file_is_named(text: str, words: list[str]) -> None:
    with pytest.raises(ParameterError) as caught:
        parse_problem(f"[problem]\n{text}")
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


# --- power laws -------------------------------------------------------------------------------


@pytest.mark.parametrize(("beta", "gamma"), [(0.5, 1.0), (1.0, 0.0), (0.3, 0.5)])
def test_power_law_averages_converge(beta: float, gamma: float) -> None:
    # ∫βΛ^(β−1) Λ^(1+γ) e^(−2xΛ) dΛ over its value at x = 0: an incomplete gamma function.
    power = 1 + beta + gamma
    for x in (1.0, 30.0, 1000.0):
        expected = power * (2 * x) ** -power * float(mpmath.gammainc(power, 0, 2 * x))
        errors = []
        for classes in (16, 32, 64):
            teacher = Teacher.power_law(beta, gamma, classes)
            variance = teacher.input_scale**2
            value = teacher.probabilities @ (
                variance * teacher.values**2 * np.exp(-2 * x * variance)
            )
            errors.append(abs(value / expected - 1))
        # Faster than any power: digits double with the classes once the front is resolved.
        assert errors[1] < max(1e-2 * errors[0], 1e-13)
        assert errors[2] < 1e-10


def test_power_law_teacher_is_a_law() -> None:
    teacher = Teacher.power_law(0.5, 1.0, 32)
    assert teacher.rho == pytest.approx(1.0, rel=1e-14)
    variance = teacher.input_scale**2
    for order in (1, 2):
        assert teacher.probabilities @ variance**order == pytest.approx(0.5 / (0.5 + order))
    assert teacher.values**2 / variance == pytest.approx(teacher.values[0] ** 2 / variance[0])


def test_texts_are_short() -> None:
    long = [StepQuantizer(np.arange(500.0)), UniformQuantizer(16, 1.0), Teacher.gaussian(1.0, 128)]
    for value in (*long, replace(BASE, weight_quantizer=long[0], teacher=long[2])):
        assert len(repr(value)) <= 200
        assert "\n" not in repr(value)
    assert repr(UniformQuantizer(2, 1.0)) == "UniformQuantizer(bit_width=2, omega=1.0)"
    assert eval(repr(Teacher([1.0, 2.0], [0.5, 0.5]))) == Teacher([1.0, 2.0], [0.5, 0.5])
