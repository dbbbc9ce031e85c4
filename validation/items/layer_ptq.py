"""Layer-wise post-training quantization of a real layer, on a finite calibration set.

The LSTM layer of silero-vad (512 neurons of 128 inputs; weights in units of their deviation) at
three bits: each neuron is the linear model of the paper's App. VI, its weights the teacher, and
training starts from them. Left: the range chosen by theory beside ranges in common use; the theory
is that of the stationary density, without any simulation. Right: STE on n calibration samples,
drawn again and again, against fresh samples. Error is that on inputs never seen, relative to that
of a layer of zeros. `pip install --no-deps silero-vad` brings the weights (11 MB).
"""

from __future__ import annotations

import importlib.util
import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

import fpsolve
from fpsolve import GaussianInitial, Problem, Teacher, UniformQuantizer
from validation.gates import FALSE_ALARM, Gate, Table, student_limit
from validation.parts import part
from validation.pictures import COLORS, INK, grid_of_axes, points

TITLE = "A real layer, quantized on a calibration set"
KIND = "new"
# Why the paper claims nothing of this.
BEYOND = "App. VI leaves layer-wise quantization of real layers to future work"
SEED = 4701
BITS, RATE = 3, 0.02
CHOICES = ("theory", "mse", "three_sigma", "max_abs")
DIMENSION = 128


def skip() -> str:
    """Return why there is nothing to do, or nothing."""
    return "" if _file() else "silero-vad is not installed: pip install --no-deps silero-vad"


def _file() -> Path | None:
    """Return where the weights are; the package itself, which needs torch, is not imported."""
    found = importlib.util.find_spec("silero_vad")
    if found is None or found.origin is None:
        return None
    file = Path(found.origin).parent / "data" / "silero_vad_16k.safetensors"
    return file if file.exists() else None


def layer() -> np.ndarray:
    """Return the input weights of the LSTM cell over their standard deviation, (512, 128)."""
    file = _file()
    assert file is not None
    raw = file.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    entry = json.loads(raw[8 : 8 + size])["lstm_cell.weight_ih"]
    begin, end = (8 + size + at for at in entry["data_offsets"])
    weights = np.frombuffer(raw[begin:end], "<f4").reshape(entry["shape"]).astype(np.float64)
    return weights / weights.std()


def problem_of(weights: np.ndarray, omega: float) -> Problem:
    """Return the layer's law of weights as a teacher, trained from the weights themselves."""
    return Problem(
        weight_quantizer=UniformQuantizer(BITS, omega),
        input_quantizer=None,
        learning_rate=RATE,
        teacher=Teacher.from_samples(weights, 64),
        initial=GaussianInitial(variance=0.0, overlap=1.0),
    )


def train(
    weights: np.ndarray, omega: float, steps: int, samples: int | None, seed: int
) -> np.ndarray:
    """Return the error of each neuron, averaged over the last tenth of the steps.

    STE as it is defined, written anew; all neurons see the same inputs. `samples` is the size of
    the calibration set, None for fresh inputs in every step.
    """
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((steps if samples is None else samples, weights.shape[1]))
    order = np.arange(steps) if samples is None else rng.integers(samples, size=steps)
    return _march(weights, x, order, 2 * omega / (2**BITS - 2), 2 ** (BITS - 1) - 1)


@njit(cache=True, nogil=True)
def _march(
    weights: np.ndarray, x: np.ndarray, order: np.ndarray, step: float, top: int
) -> np.ndarray:
    """Train every neuron on x[order[0]], x[order[1]], …; levels are −top·step … top·step."""
    neurons, d = weights.shape
    late = np.zeros(neurons)
    off = np.empty(d)
    per_step, down = 1 / step, RATE / d
    for i in range(neurons):
        w = weights[i].copy()
        count = 0
        for n in range(order.size):
            now = x[order[n]]
            residual = 0.0
            for j in range(d):
                level = min(max(math.floor(w[j] * per_step + 0.5), -top), top)
                off[j] = step * level - weights[i, j]
                residual += off[j] * now[j]
            if n >= 0.9 * order.size and n % 16 == 0:
                late[i] += np.dot(off, off) / d
                count += 1
            residual *= down
            for j in range(d):
                w[j] -= residual * now[j]
        late[i] /= count
    return late


def compute(quick: bool = False) -> dict[str, Any]:
    """Return errors by theory and by STE for every range, and over the calibration set."""
    weights = layer()
    base = problem_of(weights, 1.0)
    ranges = {"theory": fpsolve.optimal_range(base).omega, **fpsolve.usual_ranges(weights, BITS)}
    promised = fpsolve.range_curve(base, [ranges[name] for name in CHOICES])
    neurons, horizon, repeats = (24, 100.0, 8) if quick else (128, 200.0, 8)
    part_of = weights[:: len(weights) // neurons]
    # ε_g is that of the whole layer; neurons that were not chosen have another power.
    scale = float(np.square(part_of).mean())
    steps = round(horizon * DIMENSION)
    rows = []
    for name, expected in zip(CHOICES, promised, strict=True):
        case = problem_of(part_of, ranges[name])
        # On the way: the end of the slowest weights is far.
        time = np.linspace(0.9 * horizon, horizon, 9)
        here = fpsolve.solve_pde(case, time, rtol=1e-4).order_parameters.generalization_error
        found = [
            part(
                f"{name} {r}",
                lambda name=name, r=r: (
                    train(part_of, ranges[name], steps, None, SEED + r).mean() / scale
                ),
            )
            for r in range(repeats)
        ]
        rows.append(
            {
                "choice": name,
                "omega": ranges[name],
                "stationary": float(expected),
                "pde": float(here.mean() / scale),
                "ste": float(np.mean(found)),
                "error": float(np.std(found, ddof=1) / np.sqrt(repeats)),
                "all": found,
            }
        )
    sizes = (64, 1024) if quick else (64, 128, 256, 512, 1024)
    calibrated = {
        str(n): [
            part(
                f"n = {n} {r}",
                lambda n=n, r=r: (
                    train(part_of, ranges["theory"], steps, n, SEED + 100 + r).mean() / scale
                ),
            )
            for r in range(repeats)
        ]
        for n in sizes
    }
    return {
        "rows": rows,
        "calibrated": calibrated,
        "neurons": neurons,
        "repeats": repeats,
        "dimension": DIMENSION,
        "runs": repeats,
        "steps": steps,
        "seeds": [SEED + r for r in range(repeats)] + [SEED + 100 + r for r in range(repeats)],
    }


def gates(data: dict[str, Any]) -> list[Gate]:
    """STE ranks the ranges as theory does, and a larger calibration set serves better."""
    rows, repeats = {r["choice"]: r for r in data["rows"]}, data["repeats"]
    found = []
    limit = student_limit(repeats - 1, 3, 1e-3)
    why = f"paired over {repeats} seeds; Student's t at 1e-3 over three differences: {limit:.3g}"
    best = rows["theory"]
    for name in CHOICES[1:]:
        gap = np.subtract(rows[name]["all"], best["all"])
        error = float(gap.std(ddof=1) / np.sqrt(repeats))
        score = float(gap.mean()) / error
        title = f"STE's error at the range by {name} above that at theory's, standard errors"
        found.append(Gate.at_least(title, score, limit, why, noise=1.0))
    t = student_limit(repeats - 1, len(CHOICES))
    for name in CHOICES:
        row = rows[name]
        # Neurons have 128 inputs: what theory leaves out is of relative order 1/d; they differ
        # in power, and the step of the range of the sample is not that of the whole layer.
        tolerance = t * row["error"] + 4 / DIMENSION * row["pde"]
        title = f"error by STE at the range by {name}"
        text = (
            f"density at that time ± {t:.3g} standard errors (Student's t at {FALSE_ALARM:g}), "
            "and 4/d of it"
        )
        found.append(Gate.near(title, row["ste"], row["pde"], tolerance, text, noise=row["error"]))
    few, many = data["calibrated"]["64"], data["calibrated"]["1024"]
    gap = np.subtract(few, many)
    error = float(gap.std(ddof=1) / np.sqrt(repeats))
    title = "error on 64 calibration samples above that on 1024, standard errors"
    found.append(Gate.at_least(title, float(gap.mean()) / error, limit, why, noise=1.0))
    return found


def tables(data: dict[str, Any]) -> list[Table]:
    """Errors of all ranges, and over the calibration set."""
    columns = {
        "range by": "choice",
        "ω": "omega",
        "stationary density": "stationary",
        "density at that time": "pde",
        "STE": "ste",
        "s.e.": "error",
    }
    title = f"{data['neurons']} neurons, {data['steps']} steps, {data['repeats']} seeds"
    rows = [
        [int(n), int(n) / DIMENSION, float(np.mean(v)),
         float(np.std(v, ddof=1) / np.sqrt(len(v)))]
        for n, v in data["calibrated"].items()
    ]  # fmt: skip
    heads = ["n", "n/d", "error on fresh inputs", "s.e."]
    return [
        Table.of(title, columns, data["rows"]),
        Table("Finite calibration set, range by theory", heads, rows),
    ]


def headline(data: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    told = ", ".join(
        f"{r['stationary']:.3f} by {r['choice'].replace('_', ' ')} (STE {r['ste']:.3f})"
        for r in data["rows"]
    )
    few, many = (float(np.mean(data["calibrated"][n])) for n in ("64", "1024"))
    return (
        f"error at {BITS} bits, range chosen: {told}; calibrated on n = 64 samples STE ends at "
        f"{few:.3f}, on 1024 at {many:.3f}"
    )


def visualize(data: dict[str, Any]) -> Any:
    """Draw errors over the choice of range and over the calibration set."""
    figure, axes = grid_of_axes(1, 2, height=3.4)
    left, right = axes[0]
    place = np.arange(len(data["rows"]))
    left.plot(place, [r["stationary"] for r in data["rows"]], "_", ms=26, color=INK, label="theory")
    points(
        left,
        place,
        [r["ste"] for r in data["rows"]],
        [r["error"] for r in data["rows"]],
        COLORS[1],
        label="STE ± s.e.",
    )
    left.set_xticks(place, ["theory", "least squares", "3σ", "largest"])
    left.set_yscale("log")
    left.set_xlabel("range by")
    left.set_ylabel("relative error")
    left.legend()
    size = [int(n) for n in data["calibrated"]]
    mean = [np.mean(v) for v in data["calibrated"].values()]
    error = [np.std(v, ddof=1) / np.sqrt(len(v)) for v in data["calibrated"].values()]
    points(right, size, mean, error, COLORS[0], label="n samples")
    right.axhline(data["rows"][0]["ste"], ls="--", lw=0.8, color=COLORS[1], label="fresh samples")
    right.set_xscale("log")
    right.set_xlabel("n, calibration samples (d = 128)")
    right.set_ylabel("relative error")
    right.legend()
    return figure
