"""The moment identities: what Eqs. (6)–(7) say without any closure.

dm/dτ = η(κρ − (S+λ) m_ψ) and dq/dτ = 2η(κm − (S+λ) r_ψ) + η²Sε_g/B hold for the density itself.
Their right-hand sides are read off the density; the left-hand sides are its own central
differences of fourth order. What these are off is told by steps h and 2h, and by a solution to a
tolerance a hundred times coarser. Beside them are the rates by Prop. V.2, of a Gaussian with the
same m and q.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import fpsolve
from fpsolve import Teacher
from fpsolve.macro.closure import closure_order_parameters
from validation.claims import Answer, Claim, answer, judged
from validation.curves import problem
from validation.gates import Gate
from validation.pictures import COLORS, INK, grid_of_axes

TITLE = "Moment identities of the density"
KIND = "claim"
RTOL = 1e-8
TIMES = (2.0, 8.0, 20.0, 45.0)


def cases() -> dict[str, fpsolve.Problem]:
    """Four problems with different teachers, ridges and batches, the last a Gaussian's."""
    two = Teacher([-1.0, 0.5], [0.5, 0.5])
    return {
        "Fig. 1, λ = 0": problem(2, 2.0, bits_x=2, omega_x=2.0),
        "b = 3, λ = 1, B = 4": problem(3, 1.0, ridge=1.0, batch_size=4, eta=0.1),
        "two teachers, noise": problem(
            3, 1.0, bits_x=4, omega_x=2.0, ridge=0.2, noise_variance=0.1, teacher=two
        ),
        "unquantized weights": problem(None, bits_x=2, omega_x=1.5, ridge=0.2, eta=0.02),
    }


def compute(quick: bool = False) -> dict[str, Any]:
    """Return both sides of both identities."""
    h = 0.05
    offsets = h * np.array([-4, -2, -1, 0, 1, 2, 4])
    found = {}
    for name, case in cases().items():
        times = np.ravel(np.add.outer(TIMES[: 2 if quick else 4], offsets))
        state, coarser = (
            fpsolve.solve_pde(case, times, rtol=rtol).order_parameters
            for rtol in (RTOL, 100 * RTOL)
        )
        here = slice(3, None, offsets.size)
        sides = {}
        exact = fpsolve.macroscopic_rates(case, state[here])
        gaussian = closure_order_parameters(case, state.m[here], state.s[here] ** 2)
        closed = dict(zip("mq", fpsolve.macroscopic_rates(case, gaussian), strict=True))
        for key, right in zip(("m", "q"), exact, strict=True):
            values, other = (getattr(o, key).reshape(-1, offsets.size) for o in (state, coarser))
            fine = _difference(values[:, [1, 2, 4, 5]], h)
            wide = _difference(values[:, [0, 1, 5, 6]], 2 * h)
            # Of fourth order: a fifteenth of the change is left, twofold for the next order. A
            # tolerance a hundred times coarser shows more error than the finer one has left, a
            # tenth of it at least; beside it rounding of the values.
            solver = 0.1 * np.abs(fine - _difference(other[:, [1, 2, 4, 5]], h)).max()
            error = 2 * np.abs(fine - wide) / 15 + solver + 1e-14 * np.abs(values).max() / h
            sides[key] = {"left": fine, "right": right, "error": error, "closed": closed[key]}
        found[name] = {"tau": times[here], **sides}
    return found


def _difference(values: np.ndarray, h: float) -> np.ndarray:
    """Return the derivative from values at −2h, −h, h and 2h, to fourth order."""
    return (8 * (values[:, 2] - values[:, 1]) - (values[:, 3] - values[:, 0])) / (12 * h)


def gates(data: dict[str, Any]) -> list[Gate]:
    """Left against right-hand side."""
    rows = []
    for name, found in data.items():
        for key in ("m", "q"):
            side = found[key]
            ratio = np.abs(np.subtract(side["left"], side["right"])) / np.asarray(side["error"])
            why = (
                "error of the differences: 2/15 of |with h − with 2h|, and a tenth of what a "
                "tolerance a hundred times coarser changes"
            )
            rows.append(
                Gate.at_most(f"{name}: d{key}/dτ, worst over its error", ratio.max(), 1.0, why)
            )
            change = np.max(np.abs(side["right"])) / np.max(side["error"])
            rows.append(
                Gate.at_least(
                    f"{name}: d{key}/dτ over its error", change, 100, "else nothing is tested"
                )
            )
    return rows


def claims(data: dict[str, Any]) -> list[Claim]:
    """Whether the equations hold of the density, and whether Prop. V.2 closes them."""
    exact, closed, shares = [], [], {}
    for name, found in data.items():
        shares[name] = 0.0
        for key in ("m", "q"):
            side = {k: np.asarray(v) for k, v in found[key].items()}
            off = np.abs(side["left"] - side["right"])
            exact.append(answer(f"{name}: {key}", float(np.min(side["error"] - off)), 0.0))
            # A hundredth of the largest rate is far beyond what the density's is known to.
            away = np.abs(side["closed"] - side["right"]) / np.abs(side["right"]).max()
            weights = "unquantized" if cases()[name].weight_quantizer is None else "quantized"
            sign = answer(name, 0.01 - float(away.max()), 0.0).sign
            closed.append(Answer(f"{name}: {key}", sign, (("weights", weights), ("rate", key))))
            shares[name] = max(shares[name], float(away.max()))
    worst = max(
        np.max(np.abs(np.subtract(side["left"], side["right"])) / np.asarray(side["error"]))
        for found in data.values()
        for side in (found["m"], found["q"])
    )
    told = ", ".join(f"{100 * share:.2g} % at {name}" for name, share in shares.items())
    rates = "Eqs. (6) and (7): dm/dτ and dq/dτ follow from m_ψ, r_ψ and ε_g"
    states = "Prop. V.2, conditional on Assumption V.1: m_ψ, q_ψ and r_ψ follow from m and q"
    return [
        judged(
            "eqs-6-7",
            rates,
            exact,
            "of the density itself, without Assumption V.1: both sides agree within "
            f"{100 * worst:.0f} % of what differences in time are off",
        ),
        judged(
            "prop-v2",
            states,
            closed,
            f"error of dm/dτ and dq/dτ with them, as a share of the largest rate: {told}; below a "
            "hundredth counts as true",
        ),
    ]


def headline(data: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    worst = max(
        np.max(np.abs(np.subtract(side["left"], side["right"])) / np.asarray(side["error"]))
        for found in data.values()
        for side in (found["m"], found["q"])
    )
    return f"dm/dτ and dq/dτ as stated, without a closure, to {worst:.0e} of the differences' error"


def visualize(data: dict[str, Any]) -> Any:
    """Draw sizes (lines), differences of the two sides (dots) and their bounds (bars)."""
    figure, axes = grid_of_axes(1, 2)
    for ax, key in zip(axes[0], ("m", "q"), strict=True):
        for color, (name, found) in zip(COLORS, data.items(), strict=False):
            side = found[key]
            off = np.abs(np.subtract(side["left"], side["right"]))
            ax.plot(found["tau"], np.abs(side["right"]), color=color, label=name)
            ax.plot(found["tau"], np.maximum(off, 1e-18), "o", color=color, ms=4)
            ax.plot(found["tau"], side["error"], "_", color=color, ms=12)
        ax.set_yscale("log")
        ax.set_xlabel(r"$\tau$")
        ax.set_ylabel(rf"$|\mathrm{{d}}{key}/\mathrm{{d}}\tau|$")
    axes[0, 0].legend(loc="center", bbox_to_anchor=(0.55, 0.52), fontsize=8)
    signs = axes[0, 1].plot([], [], "-", color=INK, label="right-hand side")
    signs += axes[0, 1].plot([], [], "o", color=INK, ms=4, label="difference of the sides")
    signs += axes[0, 1].plot([], [], "_", color=INK, ms=12, label="its bound")
    axes[0, 1].legend(handles=signs, loc="center", bbox_to_anchor=(0.55, 0.52), fontsize=8)
    return figure
