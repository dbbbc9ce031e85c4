"""`Comparison`: what `compare` found, row by row, and its verdict."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fpsolve.comparison.distances import Distance
from fpsolve.display import Shown
from fpsolve.reduction import ORDER_PARAMETER_NAMES

__all__ = ["Comparison", "DensityComparison", "OrderParameterComparison"]


@dataclass(frozen=True)
class DensityComparison:
    """Coordinates of one teacher value at one time against μ_τ(w|w*).

    Attributes
    ----------
    time, teacher_value : float
        τ and w* (dimensionless).
    count : int
        Number of coordinates, over all runs.
    inflation : float
        φ, what the dependence between coordinates allows for.
    wasserstein, kolmogorov_smirnov, binned_l1 : Distance
        The three distances, with what sampling noise alone would give.
    """

    time: float
    teacher_value: float
    count: int
    inflation: float
    wasserstein: Distance
    kolmogorov_smirnov: Distance
    binned_l1: Distance

    @property
    def agrees(self) -> bool:
        """Whether sampling noise explains all three distances."""
        return all(d.within for d in (self.wasserstein, self.kolmogorov_smirnov, self.binned_l1))


@dataclass(frozen=True)
class OrderParameterComparison:
    """An order parameter at one time: mean over runs against the density.

    Attributes
    ----------
    time : float
        τ (dimensionless).
    name : str
        Its name, as in `OrderParameters`.
    particles, density : float
        Mean over the runs, and what the density says for the teacher weights of these runs.
    standard_errors : float
        Their difference in standard errors, after adjusting the mean for the initial weights
        that were drawn (`stratify`) where this helps; ±inf where the standard error is 0.
    limit : float
        What sampling noise alone exceeds with the probability stated for the comparison.
    """

    time: float
    name: str
    particles: float
    density: float
    standard_errors: float
    limit: float

    @property
    def agrees(self) -> bool:
        """Whether sampling noise explains the difference."""
        return abs(self.standard_errors) <= self.limit


@dataclass(frozen=True, repr=False)
class Comparison(Shown):
    """What `compare` found, and the verdict (everything is dimensionless).

    Attributes
    ----------
    densities : tuple of DensityComparison
        One for every common time and teacher value.
    order_parameters : tuple of OrderParameterComparison
        One for every common time and order parameter.
    false_alarm_rate : float
        Probability, at most, that `agrees` is False although nothing but sampling noise separates
        the two.
    """

    densities: tuple[DensityComparison, ...]
    order_parameters: tuple[OrderParameterComparison, ...]
    false_alarm_rate: float

    def _shown(self) -> dict[str, object]:
        return {
            "agrees": self.agrees,
            "densities": len(self.densities),
            "order_parameters": len(self.order_parameters),
            "false_alarm_rate": self.false_alarm_rate,
        }

    @property
    def agrees(self) -> bool:
        """Whether sampling noise explains every difference."""
        return all(row.agrees for row in self.densities) and all(
            row.agrees for row in self.order_parameters
        )

    def table(self) -> str:
        """Return the comparison as text: measured (limit) for every distance, then the verdict."""
        return "\n".join(self._lines())

    def __str__(self) -> str:
        return self.table()

    def _lines(self) -> Iterator[str]:
        yield "coordinates against the density: measured, expected from sampling alone, limit"
        yield (
            f"{'tau':>9} {'w*':>8} {'count':>9} {'Wasserstein-1':>26} "
            f"{'Kolmogorov-Smirnov':>26} {'binned L1':>26}"
        )
        for row in self.densities:
            cells = " ".join(
                f"{d.value:9.2e}{'' if d.within else '*':1}{d.expected:8.1e}{d.limit:8.1e}"
                for d in (row.wasserstein, row.kolmogorov_smirnov, row.binned_l1)
            )
            yield (
                f"{row.time:9.4g} {row.teacher_value:8.4g} {row.count:9d} {cells}"
                f"  {_verdict(row.agrees)}"
            )
        yield ""
        yield "order parameters: difference in standard errors"
        yield f"{'tau':>9} " + " ".join(f"{_SHORT.get(n, n):>9}" for n in ORDER_PARAMETER_NAMES)
        width = len(ORDER_PARAMETER_NAMES)
        for start in range(0, len(self.order_parameters), width):
            rows = self.order_parameters[start : start + width]
            cells = " ".join(
                f"{row.standard_errors:8.2f}{'' if row.agrees else '*':1}" for row in rows
            )
            verdict = _verdict(all(row.agrees for row in rows))
            yield f"{rows[0].time:9.4g} {cells}  {verdict}"
        yield ""
        yield (
            f"{_verdict(self.agrees)} (false-alarm rate at most {self.false_alarm_rate:g} "
            f"over {3 * len(self.densities) + len(self.order_parameters)} tests; * marks a failure)"
        )


# Names too long for a column.
_SHORT = {"generalization_error": "eps_g"}


def _verdict(agrees: bool) -> str:
    return "agree" if agrees else "DISAGREE"
