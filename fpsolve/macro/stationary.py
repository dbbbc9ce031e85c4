"""Exact stationary states of the limiting density, at any learning rate."""

from __future__ import annotations

from fpsolve.macro.fixed_points import input_only_moments
from fpsolve.macro.piecewise_errors import check_stationary, piecewise_errors
from fpsolve.macro.piecewise_state import PiecewiseState
from fpsolve.macro.stationary_error import error_bounds, stationary_errors
from fpsolve.macro.stationary_state import StationaryState
from fpsolve.problem.problem import Problem
from fpsolve.problem.rules import rules_in_use

__all__ = ["StationaryState", "stationary_states"]

# Rules that change nothing but the rate, which the paper's forms take as it is.
_PAPER = frozenset({"momentum"})


def stationary_states(problem: Problem) -> tuple[StationaryState, ...]:
    """Return every stationary state of the limiting density, by increasing ε_g.

    Parameters
    ----------
    problem : Problem
        Any weight quantizer, temperature, teacher law and batch size, at any constant learning
        rate; weight decay, weight clipping, leaky surrogates, dampening, stochastic rounding,
        momentum and input scales at temperature 0.

    Returns
    -------
    tuple of StationaryState
        By increasing ε_g (dimensionless); empty only where unquantized weights diverge.
        Quantized weights have at least one, since ε_g is bounded. Weights that can represent the
        teacher exactly add the frozen state ε_g = 0.

    Raises
    ------
    ParameterError
        If the learning rate is scheduled, if rules meet a temperature above 0, or if a surrogate
        freezes weights: what it leaves depends on the initial weights.

    Notes
    -----
    On a bin the density is ∝ exp(a w/D), continuous at the thresholds, so that E[ψ | w*] =
    κw*/(S + λ) whatever D; D ∝ ε_g leaves one scalar equation, all of whose roots are found (see
    `stationary_errors`). Teacher values beyond the range contribute ψ = v_0 or v_L.
    With further rules the logarithm of h²μ is a parabola on a bin, see `PiecewiseDensity`; E ψ is
    then that target only where neither walls, decay nor a surrogate bias it.

    Source: stationary solution of paper Eq. (4); Gaussian for unquantized weights, with the
    variance of Proposition VI.1 in its corrected form.
    """
    if set(rules_in_use(problem)) - _PAPER:
        check_stationary(problem)
        return tuple(PiecewiseState(problem, error) for error in piecewise_errors(problem))
    if problem.weight_quantizer is None:
        moments = input_only_moments(problem)
        if moments is None:
            return ()
        # v = D/(η(S + λ)), with D proportional to ε.
        pull = problem.dynamics.push_and_pull(0.0)[1]
        error = moments[1] * pull / float(problem.diffusivity(1.0))
        return (StationaryState(problem, error),)
    errors = stationary_errors(problem)
    if error_bounds(problem)[0] == 0:
        errors = (0.0, *errors)
    return tuple(StationaryState(problem, error) for error in errors)
