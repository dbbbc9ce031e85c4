"""The STE: the very update, one-step moments, exact ε_g, reproducibility, convergence in d.

Seeds are fixed; statistical limits are two-sided at 1e-6 per number or wider (|z| < 5 to 6).
"""

from __future__ import annotations

import _thread
import itertools
import math
import threading

import numpy as np
import pytest
from scipy import integrate, stats

from fpsolve import (
    GaussianInitial,
    ParameterError,
    Problem,
    SolveError,
    StepQuantizer,
    Teacher,
    UniformQuantizer,
    simulate_ste,
    solve_ode,
    solve_pde,
)
from fpsolve.particles import kernels, ste
from fpsolve.particles.packing import pack
from fpsolve.particles.population import exact_counts
from fpsolve.particles.streams import draw, run_streams

TERNARY = UniformQuantizer(bit_width=2, omega=2.0)
FIG_1 = Problem(weight_quantizer=TERNARY, input_quantizer=TERNARY, learning_rate=0.04)
SIGN = StepQuantizer([-1.0, 1.0], [0.0])
UNEVEN = StepQuantizer(np.array([-3.0, -2, -1.5, -1, -0.2, 0.2, 1, 1.5, 2, 3]))
QUANTIZERS = {
    "none": None,
    "sign": SIGN,
    "b=2": TERNARY,
    "b=3": UniformQuantizer(3, 1.0),
    "b=4": UniformQuantizer(4, 1.3),
    "b=8": UniformQuantizer(8, 0.7),
    "uneven": UNEVEN,
    "T>0": UniformQuantizer(3, 1.0, temperature=0.2),
}


@pytest.mark.parametrize("quantizer", QUANTIZERS.values(), ids=QUANTIZERS)
def test_compiled_quantizer_is_the_quantizer(quantizer):
    x = np.concatenate([np.linspace(-5, 5, 4001), np.random.default_rng(0).normal(size=4000)])
    if quantizer is not None:
        theta = quantizer.thresholds
        x = np.concatenate([x, theta, np.nextafter(theta, -9), np.nextafter(theta, 9), [1e300]])
    out = np.empty_like(x)
    kernels.quantize(x, *pack(quantizer), out)
    np.testing.assert_array_equal(out, x if quantizer is None else quantizer(x))


def plain_ste(problem: Problem, w, w_star, steps: int, streams, law: str):
    """The update as the paper writes it, on the documented stream."""
    d, batch = w.size, problem.batch_size
    half = (d + 15) // 16 * 8
    psi_x = problem.input_quantizer or (lambda x: x)
    for step in range(steps):
        gradient = np.zeros(d)
        for n in range(step * batch, (step + 1) * batch):
            x = draw(streams.inputs, n * half, half, law).ravel()[:d]
            xi = math.sqrt(problem.noise_variance) * draw(streams.labels, n, 1)[0, 0]
            y = w_star @ x / math.sqrt(d) + xi
            prediction = problem.quantize(w) @ psi_x(x) / math.sqrt(d)
            gradient += (prediction - y) * psi_x(x) / math.sqrt(d) / batch
        w = w - problem.learning_rate * (gradient + problem.ridge / d * problem.quantize(w))
    return w


@pytest.mark.parametrize(
    ("weights", "inputs", "law", "batch", "dimension"),
    [
        ("b=2", "b=2", "gaussian", 1, 37),
        ("b=4", "none", "uniform", 3, 16),
        ("T>0", "b=3", "laplace", 1, 1),
        ("none", "sign", "gaussian", 2, 600),
        ("sign", "T>0", "uniform", 1, 1100),
        ("uneven", "b=8", "gaussian", 5, 9),
    ],
)
def test_the_update_is_the_papers(weights, inputs, law, batch, dimension):
    problem = Problem(
        weight_quantizer=QUANTIZERS[weights],
        input_quantizer=QUANTIZERS[inputs],
        learning_rate=0.3,
        ridge=0.2,
        noise_variance=0.4,
        teacher=Teacher([-1.0, 0.5], [0.3, 0.7]),
        batch_size=batch,
        input_distribution=law,
    )
    steps = 20
    times = [0, steps / dimension]
    result = simulate_ste(problem, times, dimension=dimension, runs=2, seed=9)
    for run in range(2):
        start, end = result.weights[run]
        w_star = result.teacher_weights[run]
        expected = plain_ste(problem, start, w_star, steps, run_streams(9, run), law)
        np.testing.assert_allclose(end, expected, rtol=1e-10, atol=1e-10)


NOISY = Problem(
    weight_quantizer=TERNARY,
    input_quantizer=UniformQuantizer(3, 1.5),
    learning_rate=0.2,
    noise_variance=0.1,
    batch_size=2,
)


def test_same_bits_for_any_threads_chunks_and_recording(monkeypatch):
    one = simulate_ste(NOISY, [0.5, 3], dimension=130, runs=5, seed=1, threads=1)
    monkeypatch.setattr(ste, "_CHUNK", 1000)
    other = simulate_ste(
        NOISY, [0.5, 1, 3], dimension=130, runs=3, seed=1, threads=4, dense_times=[0.1, 2.2]
    )
    np.testing.assert_array_equal(one.weights[:3], other.weights[:, [0, 2]])
    np.testing.assert_array_equal(one.order_parameters.q[:3], other.order_parameters.q[:, [0, 2]])
    np.testing.assert_array_equal(np.rint(other.dense_times * 130), [13, 286])
    again = simulate_ste(NOISY, [0.5], dimension=130, runs=1, seed=one.stats["seed"])
    np.testing.assert_array_equal(again.weights[0, 0], one.weights[0, 0])


def test_drawn_seed_is_kept_and_repeats_the_run():
    first = simulate_ste(NOISY, [1.0], dimension=40)
    again = simulate_ste(NOISY, [1.0], dimension=40, seed=first.stats["seed"])
    other = simulate_ste(NOISY, [1.0], dimension=40)
    np.testing.assert_array_equal(first.weights, again.weights)
    assert not np.array_equal(first.weights, other.weights)


def test_times_go_to_the_nearest_step():
    result = simulate_ste(FIG_1, [0.0, 0.26, 1.01], dimension=10, seed=0)
    np.testing.assert_allclose(result.times, [0.0, 0.3, 1.0], rtol=1e-15)


def quadrature(function):
    """E f(x), x ~ N(0, 1), between the thresholds of the ternary quantizer."""
    cuts = [-9.0, -1.0, 1.0, 9.0]
    parts = [
        integrate.quad(lambda x: function(x) * stats.norm.pdf(x), a, b, epsabs=1e-13)[0]
        for a, b in itertools.pairwise(cuts)
    ]
    return sum(parts)


def exact_second_moment(problem, w, w_star):
    """E[Δw_i²] of one step at finite d: Lemma III.3 with all its terms of order d^-2."""
    d, eta, s, kappa = w.size, problem.learning_rate, problem.sigma2, problem.kappa
    psi = problem.quantize(w)
    q = problem.input_quantizer
    y4, xy3, x2y2 = (
        quadrature(lambda x, a=a, b=b: x**a * float(q(x)) ** b) for a, b in ((0, 4), (1, 3), (2, 2))
    )
    own = psi**2 * y4 - 2 * psi * w_star * xy3 + w_star**2 * x2y2
    single = s * psi**2 - 2 * kappa * psi * w_star + w_star**2
    others = single.sum() - single + d * problem.noise_variance
    mean = s * psi - kappa * w_star
    decay = problem.ridge * psi
    return (eta / d) ** 2 * (own + s * others + 2 * decay * mean + decay**2)


def test_moments_of_one_step():
    """Lemmas III.2 and III.3."""
    problem = Problem(
        weight_quantizer=TERNARY,
        input_quantizer=TERNARY,
        learning_rate=0.7,
        ridge=0.3,
        noise_variance=0.2,
        teacher=Teacher([-1.0, 0.5], [0.5, 0.5]),
        initial=GaussianInitial(variance=2.0),
    )
    d, runs = 6, 8_000
    result = simulate_ste(
        problem, [0, 1 / d], dimension=d, runs=runs, seed=12, shared_initial=True, dense_times=[0]
    )
    w, w_star = result.weights[0, 0], result.teacher_weights[0]
    assert (result.weights[:, 0] == w).all()
    assert np.unique(problem.quantize(w)).size > 1
    step = result.weights[:, 1] - w
    mean = problem.drift(w, w_star) / d
    assert np.abs((step.mean(0) - mean) / (step.std(0) / math.sqrt(runs))).max() < 5
    square = step**2
    expected = exact_second_moment(problem, w, w_star)
    assert np.abs((square.mean(0) - expected) / (square.std(0) / math.sqrt(runs))).max() < 5


def test_second_moment_of_one_step_tends_to_the_lemma():
    problem, rng = FIG_1, np.random.default_rng(3)
    gaps = []
    for d in (100, 400):
        w, w_star = np.resize(rng.normal(size=100), d), np.ones(d)
        psi = problem.quantize(w)
        error = problem.sigma2 * np.mean(psi**2) - 2 * problem.kappa * np.mean(psi) + 1
        lemma = problem.learning_rate**2 * problem.sigma2 * error / d
        gaps.append(np.abs(exact_second_moment(problem, w, w_star) - lemma).max())
        rng = np.random.default_rng(3)
    assert gaps[0] / gaps[1] == pytest.approx(16, rel=1e-6)  # O(d^-2)


def test_local_fields_have_the_covariance_of_proposition_2_2():
    d, samples = 48, 100_000
    result = simulate_ste(FIG_1, [0], dimension=d, seed=5)
    w, w_star = result.weights[0, 0], result.teacher_weights[0] * np.linspace(0.5, 1.5, d)
    pairs = draw(run_streams(6, 0).inputs, 0, samples * d // 2)
    x = pairs.T.reshape(samples, d)
    image, psi = TERNARY(x), TERNARY(w)
    fields = np.stack([x @ w_star, image @ w_star, image @ w, image @ psi]) / math.sqrt(d)
    kappa, s = TERNARY.gaussian_moments()
    rho, q, m = (a @ b / d for a, b in ((w_star, w_star), (w, w), (w_star, w)))
    m_psi, r_psi, q_psi = (a @ psi / d for a in (w_star, w, psi))
    expected = np.array(
        [
            [rho, kappa * rho, kappa * m, kappa * m_psi],
            [kappa * rho, s * rho, s * m, s * m_psi],
            [kappa * m, s * m, s * q, s * r_psi],
            [kappa * m_psi, s * m_psi, s * r_psi, s * q_psi],
        ]
    )
    products = fields[:, None] * fields[None]
    error = products.std(axis=2) / math.sqrt(samples)
    assert np.abs((products.mean(axis=2) - expected) / error).max() < 5
    assert np.abs(fields.mean(axis=1) / fields.std(axis=1)).max() < 5 / math.sqrt(samples)


def test_generalization_error_is_that_of_a_test_set():
    problem = NOISY
    result = simulate_ste(problem, [2.0], dimension=33, seed=8)
    w, w_star = result.weights[0, 0], result.teacher_weights[0]
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200_000, 33))
    label = x @ w_star / math.sqrt(33) + math.sqrt(problem.noise_variance) * rng.normal(
        size=200_000
    )
    loss = (label - problem.input_quantizer(x) @ problem.quantize(w) / math.sqrt(33)) ** 2
    z = (loss.mean() - result.order_parameters.generalization_error[0, 0]) / (
        loss.std() / math.sqrt(loss.size)
    )
    assert abs(z) < 5


def test_mean_overlap_of_full_precision_weights_is_exact_at_any_dimension():
    problem = Problem(
        weight_quantizer=None,
        input_quantizer=TERNARY,
        learning_rate=0.5,
        ridge=0.1,
        teacher=Teacher([1.0, -0.5], [0.5, 0.5]),
        initial=GaussianInitial(overlap=0.5, variance=0.3),
    )
    d, runs, time = 12, 600, 4.0
    result = simulate_ste(problem, [time], dimension=d, runs=runs, seed=2, dense_times=[0])
    pull = problem.sigma2 + problem.ridge
    fixed = problem.kappa * problem.rho / pull
    start = 0.5 * problem.rho
    exact = fixed + (start - fixed) * (1 - problem.learning_rate * pull / d) ** (d * time)
    m = result.order_parameters.m[:, 0]
    score = (m.mean() - exact) / (m.std(ddof=1) / math.sqrt(runs))
    assert abs(score) < stats.t.isf(5e-7, runs - 1)


def test_order_parameters_are_reductions_of_the_weights():
    result = simulate_ste(NOISY, [0, 1.5], dimension=70, runs=3, seed=4)
    w, w_star = result.weights, result.teacher_weights[:, None]
    psi = NOISY.quantize(w)
    kappa, s = NOISY.kappa, NOISY.sigma2
    expected = {
        "m": w_star * w,
        "q": w**2,
        "m_psi": w_star * psi,
        "q_psi": psi**2,
        "r_psi": w * psi,
        "generalization_error": s * psi**2 - 2 * kappa * w_star * psi + w_star**2 + 0.1,
    }
    for name, term in expected.items():
        stored = getattr(result.order_parameters, name)
        assert stored.shape == (3, 2)
        np.testing.assert_allclose(stored, term.mean(axis=-1), rtol=1e-12, atol=1e-12)


DIMENSIONS = [
    pytest.param([50, 100, 200, 400, 800], 150, id="to-800"),
    pytest.param([100, 200, 400, 800, 1600, 3200], 60, id="to-3200", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("dimensions", "runs"), DIMENSIONS)
def test_distance_to_the_density_falls_like_the_root_of_d_but_not_to_the_closure(dimensions, runs):
    """Theorem V.3 holds for the PDE; the isotropic closure keeps its own distance (b = 2)."""
    problem = Problem(
        weight_quantizer=UniformQuantizer(2, 1.0),
        input_quantizer=None,
        learning_rate=0.04,
        ridge=1.0,
    )
    names = ("m", "q", "m_psi", "q_psi", "r_psi", "generalization_error")

    def stacked(parameters):
        return np.stack([getattr(parameters, name)[..., -1] for name in names], axis=-1)

    times = [0.0, 5.0]
    truth = stacked(solve_pde(problem, times).order_parameters)
    closure = stacked(solve_ode(problem, times).order_parameters)
    distance, from_closure = [], []
    for d in dimensions:
        result = simulate_ste(problem, times, dimension=d, runs=runs, seed=d)
        found = stacked(result.order_parameters)
        distance.append(np.linalg.norm(found - truth, axis=1).mean())
        from_closure.append(np.linalg.norm(found - closure, axis=1).mean())
    slope = np.polyfit(np.log(dimensions), np.log(distance), 1)[0]
    assert slope == pytest.approx(-0.5, abs=0.1)
    gap = np.linalg.norm(closure - truth)
    assert from_closure[-1] > 0.9 * gap
    assert from_closure[-1] > 2 * distance[-1]


def test_exact_assignment_has_the_right_proportions():
    teacher = Teacher([-1.0, 0.0, 2.0], [0.25, 0.3, 0.45])
    np.testing.assert_array_equal(exact_counts(teacher, 20), [5, 6, 9])
    for d in (1, 7, 1001):
        counts = exact_counts(teacher, d)
        assert counts.sum() == d
        assert np.abs(counts - d * teacher.probabilities).max() < 1


def test_random_assignment_has_the_right_law():
    teacher = Teacher([-1.0, 0.0, 2.0], [0.25, 0.3, 0.45])
    problem = Problem(
        weight_quantizer=TERNARY, input_quantizer=TERNARY, learning_rate=0.1, teacher=teacher
    )
    options = {"dimension": 20_000, "runs": 2, "seed": 3, "teacher_assignment": "random"}
    result = simulate_ste(problem, [0], **options)
    assert not np.array_equal(*result.teacher_weights)
    for stars in result.teacher_weights:
        counts = [np.sum(stars == value) for value in teacher.values]
        assert stats.chisquare(counts, 20_000 * teacher.probabilities).pvalue > 1e-6
    shared = simulate_ste(problem, [0], shared_initial=True, **options)
    np.testing.assert_array_equal(*shared.teacher_weights)
    np.testing.assert_array_equal(*shared.weights)


def test_initial_law():
    law = GaussianInitial(mean=0.4, variance=0.25, overlap=-0.7)
    problem = Problem(
        weight_quantizer=TERNARY,
        input_quantizer=TERNARY,
        learning_rate=0.1,
        teacher=Teacher.rademacher(),
        initial=law,
    )
    result = simulate_ste(problem, [0], dimension=100_000, seed=3)
    z = (result.weights[0, 0] - 0.4 + 0.7 * result.teacher_weights[0]) / 0.5
    assert stats.kstest(z, "norm").pvalue > 1e-6


def test_interrupt_keeps_what_is_done():
    short = simulate_ste(FIG_1, [0, 0.5, 1], dimension=60, runs=3, seed=1, dense_times=[0, 1])
    timer = threading.Timer(0.4, _thread.interrupt_main)
    timer.start()
    times = [0, 0.5, 1, 1e9]
    result = simulate_ste(FIG_1, times, dimension=60, runs=3, seed=1, dense_times=[0, 1, 1e8])
    timer.join()
    assert result.stats["interrupted"]
    assert not short.stats["interrupted"]
    np.testing.assert_array_equal(result.times, short.times)
    np.testing.assert_array_equal(result.weights, short.weights)
    np.testing.assert_array_equal(result.dense_order_parameters.q, short.dense_order_parameters.q)


def test_progress_counts_all_steps(capsys):
    simulate_ste(FIG_1, [2], dimension=50, runs=3, seed=1, progress=True)
    assert "300 of 300 steps" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"dimension": 0}, "dimension"),
        ({"dimension": 10.5}, "dimension"),
        ({"dimension": 10, "runs": 0}, "runs"),
        ({"dimension": 10, "seed": -1}, "seed"),
        ({"dimension": 10, "threads": 0}, "threads"),
        ({"dimension": 10, "teacher_assignment": "sorted"}, "teacher_assignment"),
        ({"dimension": 10, "times": [0, 0.01]}, "times"),
        ({"dimension": 10, "times": [2, 1]}, "times"),
        ({"dimension": 10, "dense_times": [-1]}, "dense_times"),
    ],
)
def test_bad_arguments_are_named(options, field):
    with pytest.raises(ParameterError) as caught:
        simulate_ste(FIG_1, **{"times": [0, 1], **options})
    assert caught.value.field == field


def test_divergence_is_an_error_that_says_when():
    problem = Problem(weight_quantizer=None, input_quantizer=None, learning_rate=80.0)
    with pytest.raises(SolveError, match="learning_rate") as caught:
        simulate_ste(problem, [100], dimension=200, seed=0)
    assert 0 <= caught.value.time < 100
