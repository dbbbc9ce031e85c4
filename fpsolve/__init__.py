"""fpsolve: learning dynamics of quantized models with the straight-through estimator.

One `Problem`, a few verbs. Public names are loaded on first use, so that importing the package
costs no more than importing NumPy and Numba.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fpsolve._version import __version__

if TYPE_CHECKING:
    # `X as X` tells type checkers that X is public here; one line a name.
    from fpsolve.comparison.compare import compare as compare
    from fpsolve.comparison.fluctuations import Fluctuations as Fluctuations
    from fpsolve.comparison.fluctuations import fluctuations as fluctuations
    from fpsolve.comparison.verdict import Comparison as Comparison
    from fpsolve.density.solve import solve_pde as solve_pde
    from fpsolve.density.trajectory import DensityTrajectory as DensityTrajectory
    from fpsolve.errors import FpsolveError as FpsolveError
    from fpsolve.errors import ParameterError as ParameterError
    from fpsolve.errors import SolveError as SolveError
    from fpsolve.errors import StoreError as StoreError
    from fpsolve.explorer.serve import explore as explore
    from fpsolve.line.solve import solve_mckean_vlasov as solve_mckean_vlasov
    from fpsolve.line.trajectory import LineTrajectory as LineTrajectory
    from fpsolve.macro.closure import solve_ode as solve_ode
    from fpsolve.macro.fixed_points import FixedPoint as FixedPoint
    from fpsolve.macro.fixed_points import isotropic_fixed_points as isotropic_fixed_points
    from fpsolve.macro.fixed_points import stability_boundary as stability_boundary
    from fpsolve.macro.small_rate import SmallRateLimit as SmallRateLimit
    from fpsolve.macro.small_rate import small_rate_limit as small_rate_limit
    from fpsolve.macro.stationary import StationaryState as StationaryState
    from fpsolve.macro.stationary import stationary_states as stationary_states
    from fpsolve.macro.trajectory import MacroTrajectory as MacroTrajectory
    from fpsolve.numerics.mckean_vlasov import McKeanVlasov as McKeanVlasov
    from fpsolve.particles.sde import simulate_sde as simulate_sde
    from fpsolve.particles.ste import simulate_ste as simulate_ste
    from fpsolve.particles.trajectory import ParticleTrajectory as ParticleTrajectory
    from fpsolve.plots.animation import save_animation as save_animation
    from fpsolve.plots.density import plot_densities as plot_densities
    from fpsolve.plots.figures import plot as plot
    from fpsolve.plots.figures import save_figure as save_figure
    from fpsolve.plots.macro import plot_optimal_range as plot_optimal_range
    from fpsolve.plots.macro import plot_stationary_density as plot_stationary_density
    from fpsolve.plots.order_parameters import plot_order_parameters as plot_order_parameters
    from fpsolve.plots.particles import plot_comparison as plot_comparison
    from fpsolve.plots.particles import plot_histograms as plot_histograms
    from fpsolve.plots.particles import plot_symbols as plot_symbols
    from fpsolve.plots.particles import plot_weights as plot_weights
    from fpsolve.plots.sweep import plot_phase_diagram as plot_phase_diagram
    from fpsolve.problem.initial import GaussianInitial as GaussianInitial
    from fpsolve.problem.problem import Problem as Problem
    from fpsolve.problem.quantizer import StepQuantizer as StepQuantizer
    from fpsolve.problem.quantizer import UniformQuantizer as UniformQuantizer
    from fpsolve.problem.schedule import Schedule as Schedule
    from fpsolve.problem.surrogate import Surrogate as Surrogate
    from fpsolve.problem.teacher import Teacher as Teacher
    from fpsolve.reduction import OrderParameters as OrderParameters
    from fpsolve.reduction import macroscopic_rates as macroscopic_rates
    from fpsolve.reduction import order_parameters as order_parameters
    from fpsolve.store.dataset import export as export
    from fpsolve.store.files import load as load
    from fpsolve.store.files import save as save
    from fpsolve.store.resume import resume as resume
    from fpsolve.studies.closure_error import ClosureError as ClosureError
    from fpsolve.studies.closure_error import closure_error as closure_error
    from fpsolve.studies.events import find_minimum as find_minimum
    from fpsolve.studies.events import find_plateau as find_plateau
    from fpsolve.studies.flip_rate import flip_rate as flip_rate
    from fpsolve.studies.learning_rates import BestRate as BestRate
    from fpsolve.studies.learning_rates import BestSchedule as BestSchedule
    from fpsolve.studies.learning_rates import best_rate as best_rate
    from fpsolve.studies.learning_rates import best_schedule as best_schedule
    from fpsolve.studies.learning_rates import time_to_error as time_to_error
    from fpsolve.studies.optimal_range import OptimalRange as OptimalRange
    from fpsolve.studies.optimal_range import optimal_range as optimal_range
    from fpsolve.studies.optimal_range import range_curve as range_curve
    from fpsolve.studies.optimal_range import usual_ranges as usual_ranges
    from fpsolve.sweeps.axes import sample_axes as sample_axes
    from fpsolve.sweeps.result import SweepResult as SweepResult
    from fpsolve.sweeps.sweep import collect_sweep as collect_sweep
    from fpsolve.sweeps.sweep import sweep as sweep

# Public name -> module that defines it; the same names as the imports above.
_HOME = {
    "BestRate": "fpsolve.studies.learning_rates",
    "BestSchedule": "fpsolve.studies.learning_rates",
    "ClosureError": "fpsolve.studies.closure_error",
    "Comparison": "fpsolve.comparison.verdict",
    "DensityTrajectory": "fpsolve.density.trajectory",
    "FixedPoint": "fpsolve.macro.fixed_points",
    "Fluctuations": "fpsolve.comparison.fluctuations",
    "FpsolveError": "fpsolve.errors",
    "GaussianInitial": "fpsolve.problem.initial",
    "LineTrajectory": "fpsolve.line.trajectory",
    "MacroTrajectory": "fpsolve.macro.trajectory",
    "McKeanVlasov": "fpsolve.numerics.mckean_vlasov",
    "OptimalRange": "fpsolve.studies.optimal_range",
    "OrderParameters": "fpsolve.reduction",
    "ParameterError": "fpsolve.errors",
    "ParticleTrajectory": "fpsolve.particles.trajectory",
    "Problem": "fpsolve.problem.problem",
    "Schedule": "fpsolve.problem.schedule",
    "SmallRateLimit": "fpsolve.macro.small_rate",
    "SolveError": "fpsolve.errors",
    "StationaryState": "fpsolve.macro.stationary",
    "StepQuantizer": "fpsolve.problem.quantizer",
    "StoreError": "fpsolve.errors",
    "Surrogate": "fpsolve.problem.surrogate",
    "SweepResult": "fpsolve.sweeps.result",
    "Teacher": "fpsolve.problem.teacher",
    "UniformQuantizer": "fpsolve.problem.quantizer",
    "best_rate": "fpsolve.studies.learning_rates",
    "best_schedule": "fpsolve.studies.learning_rates",
    "closure_error": "fpsolve.studies.closure_error",
    "collect_sweep": "fpsolve.sweeps.sweep",
    "compare": "fpsolve.comparison.compare",
    "explore": "fpsolve.explorer.serve",
    "export": "fpsolve.store.dataset",
    "find_minimum": "fpsolve.studies.events",
    "find_plateau": "fpsolve.studies.events",
    "flip_rate": "fpsolve.studies.flip_rate",
    "fluctuations": "fpsolve.comparison.fluctuations",
    "isotropic_fixed_points": "fpsolve.macro.fixed_points",
    "load": "fpsolve.store.files",
    "macroscopic_rates": "fpsolve.reduction",
    "optimal_range": "fpsolve.studies.optimal_range",
    "order_parameters": "fpsolve.reduction",
    "plot": "fpsolve.plots.figures",
    "plot_comparison": "fpsolve.plots.particles",
    "plot_densities": "fpsolve.plots.density",
    "plot_histograms": "fpsolve.plots.particles",
    "plot_optimal_range": "fpsolve.plots.macro",
    "plot_order_parameters": "fpsolve.plots.order_parameters",
    "plot_phase_diagram": "fpsolve.plots.sweep",
    "plot_stationary_density": "fpsolve.plots.macro",
    "plot_symbols": "fpsolve.plots.particles",
    "plot_weights": "fpsolve.plots.particles",
    "range_curve": "fpsolve.studies.optimal_range",
    "resume": "fpsolve.store.resume",
    "sample_axes": "fpsolve.sweeps.axes",
    "save": "fpsolve.store.files",
    "save_animation": "fpsolve.plots.animation",
    "save_figure": "fpsolve.plots.figures",
    "simulate_sde": "fpsolve.particles.sde",
    "simulate_ste": "fpsolve.particles.ste",
    "small_rate_limit": "fpsolve.macro.small_rate",
    "solve_mckean_vlasov": "fpsolve.line.solve",
    "solve_ode": "fpsolve.macro.closure",
    "solve_pde": "fpsolve.density.solve",
    "stability_boundary": "fpsolve.macro.fixed_points",
    "stationary_states": "fpsolve.macro.stationary",
    "sweep": "fpsolve.sweeps.sweep",
    "time_to_error": "fpsolve.studies.learning_rates",
    "usual_ranges": "fpsolve.studies.optimal_range",
}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'fpsolve' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
