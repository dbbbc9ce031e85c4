"""Settings to start from: the figures of the paper, the examples, the training rules."""

from __future__ import annotations

from typing import Any

from fpsolve.explorer.settings import CONTROLS, GAUSSIAN, SIGNS, TABLE

__all__ = ["PRESETS", "preset"]

_ALONE = {"inputs": "full precision"}

PRESETS: dict[str, dict[str, Any]] = {
    "Fig. 1: mass piles up on a threshold": {},
    "Fig. 2: 4 bits": {**_ALONE, "bits": 4, "omega": 1.0, "ridge": 1.0, "horizon": 120.0},
    "Fig. 3: range 0.25": {**_ALONE, "bits": 3, "omega": 0.25, "ridge": 1.0, "horizon": 120.0},
    "Fig. 3: range 1.5": {**_ALONE, "bits": 3, "omega": 1.5, "ridge": 1.0, "horizon": 120.0},
    "Fig. 4: inputs of 3 bits": {
        "bits": 3, "omega": 1.0, "bits_x": 3, "omega_x": 1.0, "eta": 0.05, "ridge": 1.0,
        "horizon": 120.0,
    },
    "Fig. 5: inputs alone": {"weights": "full precision", "eta": 0.2, "horizon": 60.0},
    "Fig. 6: small rate, long times": {
        "bits": 3, "omega": 1.0, "bits_x": 3, "omega_x": 1.0, "eta": 1e-4, "horizon": 8e4,
    },
    "Fig. 7: between two levels": {
        **_ALONE, "bits": 3, "omega": 1.0, "ridge": 0.25, "eta": 0.01, "horizon": 1000.0,
    },
    "Fig. 8: the closure fails": {
        **_ALONE, "bits": 2, "omega": 1.0, "ridge": 0.5, "horizon": 120.0,
    },
    "Fig. 8: early stopping": {
        **_ALONE, "bits": 3, "omega": 1.5, "ridge": 1.5, "horizon": 120.0,
    },
    "Gaussian teacher": {**_ALONE, "bits": 3, "teacher": GAUSSIAN, "eta": 0.1},
    "two signs": {"bits": 2, "omega": 1.5, "teacher": SIGNS, "ridge": 0.3},
    "example: plateau before a drop": {
        **_ALONE, "bits": 3, "omega": 2.0, "eta": 0.02, "spread": 1e-4, "horizon": 60.0,
    },
    "example: late training at a level": {
        **_ALONE, "bits": 3, "omega": 1.0, "ridge": 1.0, "eta": 0.01, "horizon": 400.0,
    },
    "example: largest learning rate": {"eta": 1.5, "horizon": 30.0},
    "rule: cosine schedule": {
        **_ALONE, "bits": 3, "omega": 1.0, "ridge": 0.25, "rate": "cosine", "eta": 0.2,
        "eta_end": 0.002, "duration": 80.0,
    },
    "rule: rate dropped in steps": {
        **_ALONE, "bits": 3, "omega": 1.0, "ridge": 0.25, "rate": TABLE,
        "rate_table": 'kind = "steps", values = [0.2, 0.02], times = [40.0]',
    },
    "rule: dampened oscillation": {
        **_ALONE, "bits": 3, "omega": 1.0, "ridge": 0.25, "dampening": 0.3,
    },
    "rule: clipped estimator": {
        **_ALONE, "bits": 3, "omega": 1.0, "ridge": 0.25, "surrogate": "clipped", "bound": 1.0,
    },
    "rule: stochastic rounding": {
        **_ALONE, "bits": 3, "omega": 1.0, "ridge": 0.25, "rounding": "stochastic",
    },
    "weights that run away": {
        **_ALONE, "bits": 2, "omega": 0.5, "eta": 0.2, "noise": 0.1, "horizon": 50.0,
    },
}  # fmt: skip


def preset(name: str) -> dict[str, Any]:
    """Return the whole settings of a preset."""
    return {n: c.default for n, c in CONTROLS.items()} | PRESETS[name]
