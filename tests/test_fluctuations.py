"""Fluctuations between runs: closed forms, independent figures, and the simulation itself."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import cumulative_trapezoid

import fpsolve
from fpsolve import (
    GaussianInitial,
    ParameterError,
    Problem,
    Schedule,
    SolveError,
    Surrogate,
    Teacher,
    UniformQuantizer,
)
from fpsolve.comparison.fluctuations import Solved, fluctuations_about

# d·Var ε_g at τ = 2, 6, 20 from an independent solution of the adjoint equation.
TIMES, REFERENCE = [2.0, 6.0, 20.0], [1.998, 0.626695, 0.238744]


def problem(bits: int | None, **options: object) -> Problem:
    quantizer = None if bits is None else UniformQuantizer(bits, 1.0)
    given = {"input_quantizer": None, "learning_rate": 0.1, **options}
    return Problem(weight_quantizer=quantizer, **given)  # type: ignore[arg-type]


def test_variances_are_those_of_an_independent_solution() -> None:
    found = fpsolve.fluctuations(problem(2, ridge=0.5, noise_variance=0.1), TIMES)
    np.testing.assert_allclose(found.generalization_error, REFERENCE, rtol=0.01)
    assert found.error < 0.01


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"batch_size": 4},
        {"weight_decay": 0.4},
        {"momentum": 0.5, "learning_rate": 0.05},
        {"learning_rate": Schedule.cosine(0.3, 0.02, duration=7.0)},
        {"learning_rate": Schedule.steps([0.3, 0.05], times=[2.5])},
    ],
    ids=["plain", "batches", "decay", "momentum", "cosine", "steps"],
)
def test_alignment_of_unquantized_weights_has_a_closed_form(rule: dict[str, object]) -> None:
    """φ = w*w·exp(−∫η(S+λ+γ)): φ'' = 0, and every average follows from m(τ), ε_g(τ)."""
    case = problem(
        None,
        input_quantizer=UniformQuantizer(3, 1.5),
        ridge=0.3,
        noise_variance=0.2,
        teacher=Teacher([-0.5, 1.5], [0.4, 0.6]),
        initial=GaussianInitial(variance=0.7, overlap=0.3),
        **rule,
    )
    tau = np.linspace(0, 7.0, 4001)
    path = fpsolve.solve_ode(case, tau).order_parameters
    eta = np.array([case.dynamics.rate(t)[0] for t in tau])
    pull = case.sigma2 + case.ridge + case.weight_decay
    passed = cumulative_trapezoid(eta, tau, initial=0.0)
    kept = np.exp(-pull * (passed[-1] - passed))
    own = eta**2 * case.sigma2 * path.generalization_error / case.batch_size * case.rho
    shared = eta * (case.sigma2 * path.m - case.kappa * case.rho)
    noise = kept**2 * (own + shared**2 / case.batch_size)
    start = kept[0] ** 2 * case.rho * case.initial.variance
    truth = start + np.trapezoid(noise, tau)
    assert fpsolve.fluctuations(case, [7.0]).m[0] == pytest.approx(truth, rel=0.01)
    # Particles of the limiting equation share no residual.
    pde = fpsolve.solve_pde(case, [7.0])
    solved = Solved(pde.times, pde.order_parameters, pde.edges[[0, -1]])
    apart = fluctuations_about(case, solved, 0.01, 20_000, residual=False)[0]
    assert apart.m[0] == pytest.approx(start + np.trapezoid(kept**2 * own, tau), rel=0.01)


RULES = {
    "leaky": {"surrogate": Surrogate(0.6, slope=0.3)},
    "clipped weights": {"weight_clip": 1.0},
    "dampening": {"dampening": 0.2, "weight_decay": 0.1},
    "two input scales": {
        "teacher": Teacher([1.0, 0.5], [0.5, 0.5], input_scale=[1.0, 2.0]),
        "batch_size": 2,
    },
}


@pytest.mark.parametrize("name", RULES)
def test_runs_of_other_rules_scatter_as_promised(name: str) -> None:
    """200 runs at d = 300: mean square of the scores that the promise makes uncorrelated."""
    case, runs, times = problem(3, ridge=0.5, **RULES[name]), 200, [2.0, 8.0]
    found, names = fpsolve.fluctuations(case, times), ("m", "q", "m_psi", "generalization_error")
    at = [found.names.index(n) for n in names]
    size = len(times) * len(names)
    promised = found.covariance[:, at][:, :, :, at].reshape(size, size)
    ste = fpsolve.simulate_ste(
        case, times, dimension=300, runs=runs, seed=23, dense_times=times
    ).order_parameters
    values = np.array([getattr(ste, n) for n in names]).transpose(1, 2, 0).reshape(runs, size)
    scale = np.sqrt(np.diag(promised))
    weights, vectors = np.linalg.eigh(promised / np.outer(scale, scale))
    kept = weights >= 0.05
    scores = np.sqrt(300) * (values - values.mean(axis=0)) / scale @ vectors[:, kept]
    square = np.square(scores / np.sqrt(weights[kept])).sum() / (runs - 1) / kept.sum()
    # χ² of (runs − 1) × directions; 1/d terms of two or three per cent beside it.
    assert abs(square - 1) < 4.5 * np.sqrt(2 / (runs - 1) / kept.sum()) + 0.03


def test_at_the_start_they_are_those_of_independent_draws() -> None:
    case = problem(2, teacher=Teacher.rademacher(), initial=GaussianInitial(variance=0.5))
    found = fpsolve.fluctuations(case, [0.0, 1.0])
    # Var w*w = v, Var w² = 2v² for w ~ N(0, v).
    assert found.m[0] == pytest.approx(0.5, rel=0.01)
    assert found.q[0] == pytest.approx(0.5, rel=0.01)
    # ψ ∈ {−1, 0, 1}: ψ² is a coin.
    share = 2 * (1 - 0.7602499389065233)  # P(|w| ≥ ½) = 2(1 − Φ(1/√2)).
    assert found.q_psi[0] == pytest.approx(share * (1 - share), rel=0.01)


def test_generalization_error_follows_from_its_parts() -> None:
    case = problem(3, input_quantizer=UniformQuantizer(2, 1.0), ridge=0.2)
    found = fpsolve.fluctuations(case, [3.0, 9.0])
    names, cov = list(found.names), found.covariance
    form = np.zeros(len(names))
    form[names.index("q_psi")], form[names.index("m_psi")] = case.sigma2, -2 * case.kappa
    expected = np.einsum("f,tfug,g->tu", form, cov, form)
    at = names.index("generalization_error")
    np.testing.assert_allclose(cov[:, at, :, at], expected, rtol=1e-8)


def test_simulated_runs_scatter_as_promised() -> None:
    """300 runs at d = 400, correlation over time included."""
    case = problem(
        3, ridge=0.5, teacher=Teacher([-1.0, 0.5], [0.5, 0.5]), batch_size=2, learning_rate=0.3
    )
    runs, times = 300, [2.0, 8.0]
    found = fpsolve.fluctuations(case, times)
    ste = fpsolve.simulate_ste(
        case, times, dimension=400, runs=runs, seed=11, dense_times=times
    ).order_parameters
    for name in ("m", "q", "m_psi", "generalization_error", "s"):
        simulated = np.cov(400 * np.asarray(getattr(ste, name)).T / 20)
        at = found.names.index(name)
        promised = found.covariance[:, at, :, at]
        # Standard error of a covariance of Gaussians; 1/d terms of a few per cent beside it.
        scale = np.sqrt(np.diag(promised))
        noise = np.sqrt((np.outer(scale, scale) ** 2 + promised**2) / (runs - 1))
        assert np.all(np.abs(simulated - promised) < 4.5 * noise + 0.03 * np.outer(scale, scale))


def test_the_promise_is_kept_against_a_tolerance_twenty_times_finer() -> None:
    grid = UniformQuantizer(2, 2.0)
    case = Problem(weight_quantizer=grid, input_quantizer=grid, learning_rate=0.04)
    times = [1.0, 10.0, 50.0, 100.0]
    found, fine = (fpsolve.fluctuations(case, times, rtol=rtol) for rtol in (1e-2, 5e-4))
    for name in found.names[:-1]:
        truth = fine.variance(name)
        off = np.abs(found.variance(name) - truth) / np.maximum(truth, 1e-2 * truth.max())
        assert off.max() < 0.01
        # What was claimed of the error is no less than the error.
        assert off.max() < found.error + fine.error


def test_standard_errors_shrink_with_dimension_and_runs() -> None:
    found = fpsolve.fluctuations(problem(2), [2.0])
    one = found.standard_error("generalization_error", 100, 1)
    np.testing.assert_allclose(found.standard_error("generalization_error", 400, 4), one / 4)
    assert one[0] == pytest.approx(np.sqrt(found.generalization_error[0] / 100))


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ParameterError, match="rtol"):
        fpsolve.fluctuations(problem(2), [1.0], rtol=0.5)
    with pytest.raises(ParameterError, match="times"):
        fpsolve.fluctuations(problem(2), [3.0, 1.0])
    with pytest.raises(ParameterError, match="surrogate"):
        fpsolve.fluctuations(problem(2, surrogate=Surrogate(1.0)), [1.0])
    frozen = problem(None, initial=GaussianInitial(variance=0.0, overlap=1.0))
    with pytest.raises(SolveError, match="vanishes"):
        fpsolve.fluctuations(frozen, [1.0])
    with pytest.raises(ParameterError, match="name"):
        fpsolve.fluctuations(problem(2), [1.0]).variance("kappa")
