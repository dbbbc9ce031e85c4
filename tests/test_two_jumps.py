"""Densities under a drift with two jumps against a closed form in Laplace space, to 1e-8."""

from __future__ import annotations

import numpy as np
import pytest
from two_jumps import CASES, POINTS, TIMES

from fpsolve import GaussianInitial, McKeanVlasov, solve_mckean_vlasov

# Rows are times, columns points: printed by `python tests/two_jumps.py` with mpmath.
# fmt: off
FIGURES = {
    "confined": [
        [0.0379195086306, 0.4201367795, 0.711436548164, 0.771708493124,
         0.78134847242, 0.769235432686, 0.240609113841, 0.021082973486],
        [0.102555955914, 0.694629635794, 0.772937437432, 0.648735951209,
         0.52357759671, 0.491817559949, 0.12040227509, 0.00858820670775],
        [0.148534613066, 0.80373051465, 0.770424447363, 0.572117619729,
         0.40346495293, 0.368384640556, 0.0788422053599, 0.00406768089364],
    ],
    "parted": [
        [0.00977117976573, 0.37721222881, 0.599882565684, 1.21141991349,
         0.668794107987, 0.596515393227, 0.196722309336, 0.000752182210253],
        [0.358841681627, 0.315940217557, 0.160025363406, 0.327515369366,
         0.250620868405, 0.268357161921, 0.380831077846, 0.23309826836],
        [0.0645971280704, 0.0234553320468, 0.00952235984927, 0.0197046155271,
         0.0168788935605, 0.0193605460415, 0.0452193137197, 0.132762458926],
    ],
    "one way": [
        [0.34170524676, 1.14399505261, 0.691577726399, 0.423638963736,
         0.0166660818642, 0.00732044370612, 0.000302697847298, 2.45070339166e-07],
        [0.00321727813446, 0.0732255268438, 0.364032158725, 2.55427481399,
         1.07409925937, 0.73644725473, 0.105402761967, 0.00444828692196],
        [3.49323932099e-09, 6.66743130722e-07, 0.00292225666978, 0.414267478092,
         0.594805220642, 0.544605105852, 0.28911092285, 0.408527804352],
    ],
    "layers": [
        [0.000394393506679, 0.343926239096, 3.04828028183, 0.119917289074,
         0.00427497043075, 0.000113649016477, 1.20650785469e-10, 2.04120528775e-20],
        [1.53016010066e-17, 1.96000980925e-11, 0.27555196836, 1.76322945125,
         4.30386653081, 0.210380694082, 1.31175931639e-09, 2.15593009893e-23],
        [1.44414640039e-26, 3.92697509831e-18, 0.000165198967833, 0.017456062395,
         12.96243351, 0.828289032657, 3.41268250527e-08, 3.03204811568e-21],
    ],
}
# fmt: on
# Of the largest figure of a case: what the inversion leaves open is 1e-12 of it.
PROMISED = 1e-8


def solve(case):
    drift = np.array(case.drift)

    def stepped(x):
        return drift[np.searchsorted(case.jumps, x, side="right")]

    model = McKeanVlasov(stepped, case.diffusion, breaks=case.jumps)
    start = GaussianInitial(case.mean, case.variance)
    return solve_mckean_vlasov(model, start, TIMES, rtol=1e-10)


@pytest.mark.parametrize("name", CASES)
def test_a_drift_with_two_jumps(name):
    figures = np.array(FIGURES[name])
    result = solve(CASES[name])
    for time, row in zip(TIMES, figures, strict=True):
        np.testing.assert_allclose(
            result.pdf(np.array(POINTS), time), row, rtol=0, atol=PROMISED * figures.max()
        )


def test_the_figures_are_those_of_the_closed_form():
    case = CASES["layers"]
    found = case.pdf(POINTS[2], TIMES[1])
    assert found == pytest.approx(FIGURES["layers"][1][2], rel=1e-11)


def test_the_closed_form_is_a_gaussian_where_nothing_jumps():
    case = type(CASES["layers"])((0.7, 0.7, 0.7), (-0.3, 0.3), 0.1, -0.2, 0.05)
    variance = 0.05 + 2 * 0.1 * 1.5
    z = (0.5 - (-0.2 + 0.7 * 1.5)) / np.sqrt(variance)
    exact = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi * variance)
    assert case.pdf(0.5, 1.5) == pytest.approx(exact, rel=1e-12)
