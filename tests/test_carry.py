"""Meshes take over what they have in common with those before them, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fpsolve import GaussianInitial, Problem, Surrogate, Teacher, UniformQuantizer, solve_pde
from fpsolve.numerics.equation import Equation


def problem(**changes: Any) -> Problem:
    common: dict[str, Any] = {
        "weight_quantizer": UniformQuantizer(3, 1.0, temperature=0.05),
        "input_quantizer": None,
        "learning_rate": 0.1,
        "ridge": 0.1,
        "noise_variance": 0.1,
    }
    return Problem(**{**common, **changes})


PROBLEMS = {
    "wide": problem(),
    "crossing bins": problem(
        surrogate=Surrogate(0.9, slope=0.3), teacher=Teacher([-1, 1], [0.5, 0.5])
    ),
    "atoms at walls": problem(surrogate=Surrogate(0.7), learning_rate=0.3),
    # Its mesh moves, so that nothing stays where it was.
    "narrow": problem(
        weight_quantizer=UniformQuantizer(3, 1.0, temperature=0.002),
        learning_rate=1e-4,
        initial=GaussianInitial(2.0, 1e-6),
    ),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_what_is_carried_over_is_what_would_be_evaluated(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, fresh, taken = Equation.place, [], []

    def checked(self: Equation, ref: Any, model: Any, cells: Any, motion: Any, before: Any) -> Any:
        points: list[int] = []

        def counted(x: Any, bins: Any, classes: Any) -> Any:
            points.append(bins.size)
            return self.fields(x, bins, classes)  # type: ignore[misc]

        watched = replace(self, fields=counted)
        mesh = place(watched, ref, model, cells, motion, before)
        anew = place(self, ref, model, cells, motion)
        for field, one, two in zip(mesh._fields, mesh, anew, strict=True):
            assert one.tobytes() == two.tobytes(), field
        if before is not None:
            fresh.append(sum(points))
            taken.append(cells.bins.size)
        return mesh

    monkeypatch.setattr(Equation, "place", checked)
    solve_pde(PROBLEMS[name], [0.5, 5.0, 40.0], rtol=1e-5)
    assert len(taken) > 3
    assert sum(fresh) < (1.0 if name == "narrow" else 0.7) * sum(taken)
