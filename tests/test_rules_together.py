"""Rules that meet: each with a smoothed quantizer, and the combinations that are refused."""

from __future__ import annotations

import numpy as np
import pytest

from fpsolve import (
    GaussianInitial,
    ParameterError,
    Problem,
    Schedule,
    Surrogate,
    Teacher,
    UniformQuantizer,
    compare,
    simulate_sde,
    simulate_ste,
    solve_ode,
    solve_pde,
    stationary_states,
)


def problem(**changes):
    common = {"input_quantizer": None, "learning_rate": 0.1, "ridge": 0.3, "noise_variance": 0.1}
    return Problem(**{"weight_quantizer": UniformQuantizer(2, 1.0), **common, **changes})


WARM = {
    "cosine": {"learning_rate": Schedule.cosine(0.2, 0.05, duration=3.0)},
    "ridge": {"ridge": Schedule.steps([0.1, 0.8], times=[1.0])},
    "noise": {"noise_variance": Schedule.linear(0.5, 0.0, duration=2.0)},
    "clipped": {"surrogate": Surrogate()},
    "leaky": {"surrogate": Surrogate(slope=0.3)},
    "decay": {"weight_decay": 0.3},
    "clip": {"weight_clip": 0.9},
    "dampening": {"dampening": 0.2},
    "momentum": {"momentum": 0.5},
    "scales": {"teacher": Teacher([1.0, 0.6], [0.5, 0.5], [0.5, 1.5])},
    "point": {"initial": GaussianInitial(0.1, 0.0)},
}


@pytest.mark.parametrize("rule", WARM)
def test_a_temperature_goes_with_each_rule(rule):
    """The density against STE and against the limiting particles, 1e-4 a comparison."""
    warm = problem(weight_quantizer=UniformQuantizer(2, 1.0, temperature=0.2), **WARM[rule])
    density = solve_pde(warm, [0.5, 3.0], rtol=1e-5)
    assert density.stats["mass_defect"] < 1e-12
    assert compare(density, simulate_ste(warm, density.times, dimension=500, runs=6, seed=1)).agrees
    assert compare(density, simulate_sde(warm, density.times, particles=2000, seed=1)).agrees


def test_a_triangle_is_the_same_in_the_machine_and_its_limiting_particles():
    """Nine numbers within 7 standard errors: Student's t of 14 degrees of freedom, 6e-5 in all.

    The clipped estimator is told apart.
    """
    narrow = {"learning_rate": 0.3, "initial": GaussianInitial(variance=0.04)}
    bent = problem(surrogate=Surrogate.triangular(0.8), **narrow)
    times = [1.0, 3.0, 6.0]
    ste = simulate_ste(bent, times, dimension=1000, runs=8, seed=1, dense_times=[0])
    runs = {}
    for name, surrogate in (("same", bent.surrogate), ("clipped", Surrogate(0.8))):
        other = problem(surrogate=surrogate, **narrow)
        runs[name] = simulate_sde(
            other, times, particles=1500, runs=8, seed=2, dense_times=[0]
        ).order_parameters
    scores = {name: [] for name in runs}
    for field in ("generalization_error", "m", "q"):
        one = getattr(ste.order_parameters, field)
        for name, state in runs.items():
            two = getattr(state, field)
            error = np.sqrt((one.var(axis=0, ddof=1) + two.var(axis=0, ddof=1)) / 8)
            scores[name].append(np.abs(one.mean(axis=0) - two.mean(axis=0)) / error)
    assert np.max(scores["same"]) < 7
    assert np.max(scores["clipped"]) > 14


FADING = Schedule.linear(0.1, 0.0, duration=5.0)
DOWN = problem(learning_rate=FADING)
REFUSED = {
    "frozen weights and decay": (
        lambda: problem(surrogate=Surrogate(), weight_decay=0.1),
        "weight_decay = 0.1: must be 0 where the surrogate has slope 0",
    ),
    "triangle and dampening": (
        lambda: problem(surrogate=Surrogate.triangular(2.0), dampening=0.1),
        "give the surrogate a slope > 0",
    ),
    "an atom on walls within the thresholds": (
        lambda: problem(weight_clip=0.4, initial=GaussianInitial(0.0, 0.0)),
        "must be > 0.5, the outermost threshold",
    ),
    "walls at the tip of a triangle": (
        lambda: problem(surrogate=Surrogate.triangular(0.9), weight_clip=0.9),
        "weight_clip = 0.9: must be < 0.9",
    ),
    "walls beyond frozen weights": (
        lambda: problem(weight_clip=2.0, surrogate=Surrogate()),
        "weight_clip = 2.0: must be <= 1",
    ),
    "density": (lambda: solve_pde(DOWN, [10.0]), "is 0 from tau = 5 on"),
    "STE": (lambda: simulate_ste(DOWN, [10.0], dimension=9), "end the times"),
    "particles": (lambda: simulate_sde(DOWN, [10.0], particles=9), "end the times"),
    "closure": (lambda: solve_ode(DOWN, [10.0]), "end the times"),
    "stationary state": (lambda: stationary_states(DOWN), "use solve_pde"),
    "negative rate": (lambda: problem(learning_rate=-0.1), "learning_rate = -0.1: must be"),
    "negative schedule": (lambda: Schedule.linear(0.1, -0.1, duration=1.0), "schedule.final"),
    "negative ridge": (lambda: problem(ridge=Schedule.steps([0.1, -1], times=[1.0])), ">= 0"),
    "negative decay": (lambda: problem(weight_decay=-1.0), "weight_decay = -1.0: must be"),
    "momentum of 1": (lambda: problem(momentum=1.0), "must be in"),
    "random rounding and temperature": (
        lambda: UniformQuantizer(2, 1.0, 0.1, rounding="stochastic"),
        "smooth in the mean already",
    ),
    "stationary and warm": (
        lambda: stationary_states(
            problem(weight_quantizer=UniformQuantizer(2, 1.0, 0.1), weight_decay=0.1)
        ),
        "must be 0 for stationary states of rules",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_go_together_is_said_in_one_line(name):
    ask, told = REFUSED[name]
    with pytest.raises(ParameterError) as caught:
        ask()
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
