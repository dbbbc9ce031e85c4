"""What there is to validate, in the order of the report, and how one item is worked out."""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import fpsolve
from validation.claims import Claim
from validation.gates import Gate, Table
from validation.parts import keeping, plain
from validation.pictures import NARROW, stacked, svg_text

__all__ = ["ITEMS", "Result", "input_hash", "load_item", "work_out"]

ITEMS = (
    "fig1",
    "fig2",
    "fig3",
    "fig4",
    "fig5",
    "fig6",
    "fig7",
    "fig8",
    "input_moments",
    "one_step_moments",
    "moment_identities",
    "theorem_iv3",
    "theorem_v3",
    "prop_vi1",
    "prop_v7_thm_vi3",
    "lemmas_dynamics",
    "lemmas_fixed_point",
    "propagation_of_chaos",
    "mini_batch",
    "non_gaussian_inputs",
    "claims_scan",
    "pooled",
    "errata",
    "adjudication",
    "closure_error_map",
    "phase_diagram",
    "above_boundary",
    "temperature",
    "stationary_density",
    "dithering",
    "early_stopping",
    "plateau",
    "finite_size",
    "layer_ptq",
    "training_rules",
    "scaling_law",
)

HERE = Path(__file__).parent
PACKAGE = Path(fpsolve.__file__).parent


@dataclass
class Result:
    """What became of one item: its numbers, verdicts and picture.

    Claims of the paper that it is about and that another item judges are named in `elsewhere`, by
    that item; `beyond` says why there is none, where there is none.
    """

    name: str
    title: str
    kind: str
    text: str
    data: dict[str, Any]
    gates: list[Gate]
    tables: list[Table]
    picture: str
    headline: str
    seconds: float
    key: str
    error: str = ""
    claims: list[Claim] = field(default_factory=list)
    power: dict[str, float] = field(default_factory=dict)
    skipped: str = ""
    narrow: str = ""
    elsewhere: dict[str, list[str]] = field(default_factory=dict)
    beyond: str = ""
    cached: bool = field(default=False, compare=False)

    @property
    def holds(self) -> bool:
        """Whether every gate holds, and there is one; what is skipped says nothing."""
        if self.skipped:
            return True
        return not self.error and bool(self.gates) and all(gate.holds for gate in self.gates)

    def to_json(self) -> str:
        """Return the result as text that `from_json` reads back."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Result:
        """Return the result written by `to_json`, marked as cached."""
        fields = json.loads(text)
        fields["gates"] = [Gate(**gate) for gate in fields["gates"]]
        fields["claims"] = [Claim(**claim) for claim in fields["claims"]]
        fields["tables"] = [Table(**table) for table in fields["tables"]]
        return cls(**{**fields, "cached": True})


def load_item(name: str) -> ModuleType:
    """Return the module of an item."""
    return importlib.import_module(f"validation.items.{name}")


def input_hash(name: str, quick: bool, variant: str = "") -> str:
    """Return a hash of all an item depends on: its script, its helpers, fpsolve, the mode."""
    digest = hashlib.sha256(f"{fpsolve.__version__} {np.__version__} {quick} {variant}".encode())
    helpers = ["gates.py", "claims.py", "catalogue.py", "parts.py", "pictures.py", "curves.py"]
    helpers += ["coefficients.py"]
    helpers += ["items/theorem_iv3.py"] if name == "propagation_of_chaos" else []
    helpers += ["errata_algebra.py", "errata_proofs.py"] if name == "errata" else []
    files = [HERE / "items" / f"{name}.py", *(HERE / helper for helper in helpers)]
    # Commands and pictures of the package take no part in any number.
    rooms = ("cli", "plots", "store")
    files += [
        p for p in sorted(PACKAGE.rglob("*.py")) if p.relative_to(PACKAGE).parts[0] not in rooms
    ]
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def work_out(
    name: str,
    quick: bool,
    *,
    variant: str = "",
    draw: bool = True,
    folder: Path | None = None,
) -> Result:
    """Compute, judge and draw one item; what it raises becomes its error.

    Parts of long items are kept in `folder` until the whole is done.
    """
    module = load_item(name)
    start = time.perf_counter()
    result = Result(
        name=name,
        title=module.TITLE,
        kind=module.KIND,
        text=(module.__doc__ or "").strip(),
        data={},
        gates=[],
        tables=[],
        picture="",
        headline="",
        seconds=math.nan,
        key=input_hash(name, quick, variant),
        elsewhere={item: list(ids) for item, ids in getattr(module, "ELSEWHERE", {}).items()},
        beyond=getattr(module, "BEYOND", ""),
    )
    result.skipped = module.skip() if hasattr(module, "skip") else ""
    if result.skipped:
        result.headline, result.seconds = f"skipped: {result.skipped}", 0.0
        return result
    try:
        with keeping(folder, result.key):
            result.data = plain(module.compute(quick))
        result.gates = list(module.gates(result.data))
        result.tables = list(module.tables(result.data)) if hasattr(module, "tables") else []
        result.claims = list(module.claims(result.data)) if hasattr(module, "claims") else []
        result.power = dict(module.power(result.data)) if hasattr(module, "power") else {}
        result.headline = module.headline(result.data)
        result.tables = [Table(t.title, t.columns, plain(t.rows)) for t in result.tables]
        if draw and hasattr(module, "visualize"):
            figure = module.visualize(result.data)
            result.picture = svg_text(figure, name)
            if figure.get_figwidth() > NARROW:
                with stacked():
                    result.narrow = svg_text(module.visualize(result.data), f"{name}-narrow")
    except Exception:  # An item that fails must not take the report with it.
        result.error = traceback.format_exc(limit=-3)
    result.seconds = time.perf_counter() - start
    return result
