"""Densities under each training rule against figures computed independently of this package."""

from __future__ import annotations

import numpy as np
import pytest
from reference_rules import PROBLEMS, reference

from fpsolve import solve_pde

# The figures are right to this share; that of q(0) is truncated at 1.3e-6.
FIGURES_ERROR = 1.5e-6


@pytest.mark.parametrize("rtol", [1e-3, 1e-5])
@pytest.mark.parametrize("name", PROBLEMS)
def test_every_rule_keeps_the_promise(name, rtol):
    times, columns = reference(name)
    result = solve_pde(PROBLEMS[name], times, rtol=rtol)
    for column, figures in columns.items():
        found = result.frozen if column == "frozen" else getattr(result.order_parameters, column)
        limit = 10 * rtol * max(np.abs(figures).max(), 1e-300) + FIGURES_ERROR
        assert np.abs(found - figures).max() < limit, column
    assert result.stats["mass_defect"] < 1e-12
