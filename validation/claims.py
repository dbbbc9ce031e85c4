"""What the paper claims, and the verdict on each claim: a function of what was computed.

A claim is asked at every combination of the settings that the paper leaves unstated. At each the
answer is yes, no, or too close to tell; the verdict follows from all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["VERDICTS", "Answer", "Claim", "answer", "judged"]

VERDICTS = ("holds", "holds-under", "corrected", "fails", "undecided")


@dataclass(frozen=True)
class Claim:
    """One claim of the paper and what became of it.

    Attributes
    ----------
    id : str
        Short name.
    claim : str
        What the paper says, and where.
    verdict : str
        One of `VERDICTS`.
    where : str
        Under which of the scanned settings it holds.
    evidence : str
        The numbers behind it.
    """

    id: str
    claim: str
    verdict: str
    where: str
    evidence: str

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"verdict {self.verdict!r} is none of {', '.join(VERDICTS)}")


@dataclass(frozen=True)
class Answer:
    """Whether a claim is true at one setting: `sign` is 1, −1 or, too close to tell, 0.

    `factors` are the scanned parameters and their values there, as text, where there are several.
    """

    setting: str
    sign: int
    factors: tuple[tuple[str, str], ...] = ()


def answer(setting: str, margin: float, resolution: float, **factors: float) -> Answer:
    """Return yes where `margin` is above `resolution`, no where it is below −`resolution`."""
    told = tuple((NAMES.get(name, name), f"{value:g}") for name, value in factors.items())
    return Answer(setting, int(margin > resolution) - int(margin < -resolution), told)


# What scanned parameters are called.
NAMES = {
    "eta": "η",
    "ridge": "λ",
    "noise": "σ²",
    "tau": "τ",
    "variance": "initial variance",
    "bits": "b",
}


def judged(
    name: str, claim: str, answers: Sequence[Answer], evidence: str, *, off: float = 0.0
) -> Claim:
    """Return the claim with the verdict of its answers.

    It fails where the answer is nowhere yes and mostly no; with more settings too close to tell
    than not it is undecided.

    Parameters
    ----------
    name, claim, evidence : str
        See `Claim`.
    answers : sequence of Answer
        At every setting that was scanned.
    off : float, default 0
        By how much, in units of what is known, a number of the paper's differs from the right
        one where the claim is true; above 1 a claim that holds everywhere is "corrected".
    """
    yes = [a for a in answers if a.sign > 0]
    no = [a for a in answers if a.sign < 0]
    settings = f"{len(answers)} setting{'s' if len(answers) > 1 else ''}"
    count = f"{len(yes)} of {settings}"
    if not yes and not no:
        return Claim(name, claim, VERDICTS[4], "nowhere decidable", evidence)
    if not yes:
        close = len(answers) - len(no)
        if close > len(no):
            told = f"not at {len(no)} of {settings}, the others too close to tell"
            return Claim(name, claim, VERDICTS[4], told, evidence)
        left = f"; {close} too close to tell" if close else ""
        return Claim(name, claim, VERDICTS[3], f"at none of {settings}{left}", evidence)
    if no:
        told = _by_factor(answers) if any(a.factors for a in answers) else ""
        told = told or _listed([a.setting for a in yes])
        right = "; there, too, a number or a formula is corrected" if off > 1 else ""
        return Claim(name, claim, VERDICTS[1], f"{count}: {told}{right}", evidence)
    which = VERDICTS[2] if off > 1 else VERDICTS[0]
    return Claim(name, claim, which, f"{count}", evidence)


def _by_factor(answers: Sequence[Answer]) -> str:
    """Return for each scanned parameter at which values the claim holds always, and never."""
    parts = []
    for factor in dict.fromkeys(name for a in answers for name, _ in a.factors):
        signs: dict[str, set[int]] = {}
        for a in answers:
            value = dict(a.factors).get(factor)
            if value is not None and a.sign:
                signs.setdefault(value, set()).add(a.sign)
        kinds = {"always": {1}, "never": {-1}, "at times": {1, -1}}
        told = {
            kind: ", ".join(sorted((v for v, s in signs.items() if s == which), key=_order))
            for kind, which in kinds.items()
        }
        if told["always"] or told["never"]:
            parts.append(f"{factor}: " + ", ".join(f"{k} at {v}" for k, v in told.items() if v))
    return "; ".join(parts)


def _order(value: str) -> tuple[float, str]:
    """Numbers by size, then words as they are."""
    try:
        return float(value), ""
    except ValueError:
        return math.inf, value


def _listed(settings: Sequence[str]) -> str:
    """Return settings "a: x = 1", "a: x = 2" as "a: x = 1, 2", one after the other."""
    groups: dict[str, list[str]] = {}
    for setting in settings:
        head, colon, tail = setting.partition(": ")
        groups.setdefault(head + colon, []).append(tail)
    return "; ".join(head + ", ".join(tails) for head, tails in groups.items())
