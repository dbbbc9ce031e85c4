"""Layers at thresholds that a rate which falls to 0 leaves thinner than coordinates tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq

from fpsolve import (
    DensityTrajectory,
    GaussianInitial,
    ParameterError,
    Problem,
    Schedule,
    SolveError,
    StepQuantizer,
    Teacher,
    load,
    solve_pde,
)
from fpsolve.density.frame import Frame

LOW, HIGH, STAR, NOISE = -2.0, 3.0, 1.5, 0.3
# Both levels pull to the threshold, with these drifts for a rate of 1.
FROM_LOW, FROM_HIGH = STAR - LOW, HIGH - STAR


def _problem(threshold: float, rate: Schedule, batch_size: int = 1) -> Problem:
    return Problem(
        weight_quantizer=StepQuantizer([LOW, HIGH], [threshold]),
        input_quantizer=None,
        learning_rate=rate,
        noise_variance=NOISE,
        batch_size=batch_size,
        teacher=Teacher.constant(STAR),
        initial=GaussianInitial(threshold + 0.2, 0.5, 0.0),
    )


def _error(share: float) -> float:
    """ε_g = E(ψ − w*)² + σ² with this share of the weights on the high level."""
    return share * FROM_HIGH**2 + (1.0 - share) * FROM_LOW**2 + NOISE


def _balance(batch_size: int, fall: float) -> float:
    """ε_g of a layer under η = η₀ exp(−fall·τ), in which y = (w − θ)/η drifts by ∓a + fall·y.

    Its noise is that of a constant D = ε_g/2B, so that the density of y is
    exp(−(a|y| − fall·y²/2)/D) on either side of 0, up to where the drift turns; beyond that nothing
    is but what leaks, of the order of exp(−a²/2D·fall) < 1e-30 here.
    """

    def side(drift: float, diffusion: float) -> float:
        def density(y: float) -> float:
            return float(np.exp(-(drift * y - 0.5 * fall * y**2) / diffusion))

        return float(quad(density, 0.0, min(drift / fall, 40.0 * diffusion / drift))[0])

    def residual(share: float) -> float:
        diffusion = 0.5 * _error(share) / batch_size
        low, high = side(FROM_LOW, diffusion), side(FROM_HIGH, diffusion)
        return high / (low + high) - share

    return _error(brentq(residual, 1e-6, 1.0 - 1e-6, xtol=1e-14))


@pytest.mark.parametrize("threshold", [0.0, 13.4])
@pytest.mark.parametrize("batch_size", [1, 100])
@pytest.mark.parametrize("rtol", [1e-4, 1e-6, 1e-8])
def test_layers_keep_their_balance_for_thousands_of_folds(
    rtol: float, batch_size: int, threshold: float
) -> None:
    fall = 0.005
    problem = _problem(threshold, Schedule.exponential(0.2, rate=fall), batch_size)
    density = solve_pde(problem, [1e4, 3e4, 1e5], rtol=rtol)
    expected = _balance(batch_size, fall)
    errors = density.order_parameters.generalization_error
    np.testing.assert_allclose(errors, expected, atol=10.0 * rtol * _error(1.0), rtol=0.0)
    assert density.stats["steps"] < 5000


def test_each_of_two_rates_that_die_out_has_its_own_balance() -> None:
    rates = Schedule.exponential(0.2, rate=0.02), Schedule.exponential(0.01, rate=0.005)
    density = solve_pde(
        _problem(13.4, Schedule.join(rates, times=[1500.0]), 100), [1500.0, 1e5], rtol=1e-6
    )
    expected = [_balance(100, 0.02), _balance(100, 0.005)]
    errors = density.order_parameters.generalization_error
    np.testing.assert_allclose(errors, expected, atol=1e-5 * _error(1.0), rtol=0.0)


def _last(density: DensityTrajectory) -> Frame:
    frame = density.frames[-1]
    assert isinstance(frame, Frame)
    return frame


@pytest.mark.parametrize("rtol", [1e-4, 1e-6])
def test_layers_that_a_rate_leaves_at_its_end_do_not_depend_on_where_the_threshold_is(
    rtol: float,
) -> None:
    """The drift depends on the levels alone: a shifted threshold shifts the weights, no more."""
    rate = Schedule.cosine(0.02, 0.0, duration=4000.0)
    times = [3990.0, 3999.9, 4000.0]
    # Coordinates tell anything apart about 0.
    one, other = (solve_pde(_problem(at, rate, 60), times, rtol=rtol) for at in (0.0, 13.4))
    errors = one.order_parameters.generalization_error
    np.testing.assert_allclose(
        other.order_parameters.generalization_error, errors, atol=5.0 * rtol * errors.max()
    )
    # Frozen out of balance, in layers that coordinates about 13.4 do not tell apart.
    assert errors[-1] < 0.9 * errors[0]
    assert _last(other).width.min() < np.spacing(13.4)
    shares = [1.0 - _last(t).cdf(0, np.array([at]))[0] for t, at in ((one, 0.0), (other, 13.4))]
    np.testing.assert_allclose([_error(p) for p in shares], errors[-1], atol=10 * rtol * errors[0])


def test_layers_in_which_something_leaks_for_ever_are_refused() -> None:
    """Of 10⁶ weights one leaves while the rate falls by e: the rest never settles."""
    problem = _problem(13.4, Schedule.exponential(0.2, rate=0.03))
    with pytest.raises(SolveError, match="thinner than positions can be told apart") as caught:
        solve_pde(problem, [1.0, 1e6], rtol=1e-6)
    assert isinstance(caught.value.partial, DensityTrajectory)
    assert caught.value.partial.times.tolist() == [1.0]


def test_thin_layers_are_kept_in_files_and_no_start(tmp_path: Path) -> None:
    rate, path = Schedule.cosine(0.02, 0.0, duration=4000.0), tmp_path / "thin.h5"
    density = solve_pde(_problem(13.4, rate, 60), [4000.0], store=path)
    read = load(path)
    assert isinstance(read, DensityTrajectory)
    frame, stored = _last(density), _last(read)
    np.testing.assert_array_equal(stored.left, frame.left)
    np.testing.assert_array_equal(stored.u, frame.u)
    with pytest.raises(ParameterError, match="no layers thinner than positions tell"):
        solve_pde(_problem(13.4, Schedule.linear(0.1, 0.05, duration=1.0)), [0.5], start=path)
