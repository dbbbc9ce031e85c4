"""Problem files: TOML text to `Problem`, with the options of its `[solve]` table."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fpsolve.problem.problem import Problem
from fpsolve.problem.tables import ProblemDocument, parse_document, read_document

__all__ = ["ProblemFile", "parse_problem", "read_problem_file"]


@dataclass(frozen=True)
class ProblemFile:
    """What a problem file says: the problem, and the options of its `[solve]` table."""

    problem: Problem
    solve: dict[str, Any] = field(default_factory=dict)


def read_problem_file(path: str | Path) -> ProblemFile:
    """Read a problem file; `ParameterError` names the file, the table and the key at fault."""
    return _complete(read_document(path))


def parse_problem(text: str, *, source: str = "<string>") -> ProblemFile:
    """Parse TOML text; `source` is how messages call it."""
    return _complete(parse_document(text, source=source))


def _complete(document: ProblemDocument) -> ProblemFile:
    return ProblemFile(document.build(Problem), document.solve)
