"""Running items: in parallel, keeping what is finished, and telling how far it is."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import active_children, get_context
from pathlib import Path

from fpsolve.progress import progress_to
from validation.catalogue import Result, input_hash, work_out

__all__ = ["run"]

# One compiles the density, the other the rest, so that no two processes compile the same code.
_FIRST = ("moment_identities", "prop_vi1")
# Then the longest, so that the last item is not a long one alone.
_LONG = (
    "fig6",
    "claims_scan",
    "pooled",
    "adjudication",
    "fig8",
    "scaling_law",
    "training_rules",
    "theorem_v3",
    "theorem_iv3",
    "stationary_density",
    "fig1",
    "layer_ptq",
    "finite_size",
    "propagation_of_chaos",
)


def run(names: list[str], folder: Path, *, quick: bool, jobs: int, shown: bool) -> list[Result]:
    """Return the results of the items, in their order; finished ones are read, not recomputed.

    Parameters
    ----------
    names : list of str
        Items.
    folder : Path
        Where results are kept, one file an item and mode.
    quick : bool
        Small sizes.
    jobs : int
        Items worked out at a time.
    shown : bool
        Whether to show progress over items.
    """
    results = {}
    waiting = []
    order = (*_FIRST, *_LONG)
    for name in sorted(names, key=lambda n: order.index(n) if n in order else len(order)):
        kept = _read(_file(folder, name, quick), input_hash(name, quick))
        if kept is None:
            waiting.append(name)
        else:
            results[name] = kept
    with progress_to(len(names), "validation", shown=shown, unit="items") as bar:
        bar.reach(len(results))
        for result in _work(waiting, folder, quick, jobs):
            results[result.name] = result
            # What was skipped may be there another time.
            if not result.error and not result.skipped:
                _write(_file(folder, result.name, quick), result)
            bar.reach(len(results))
    return [results[name] for name in names]


def _work(names: list[str], folder: Path, quick: bool, jobs: int) -> Iterator[Result]:
    """Yield results as they come; Ctrl-C stops the work and is passed on."""
    parts = {name: _file(folder, name, quick).with_suffix("") for name in names}
    # Fresh processes: threads of compiled code do not survive a fork. They leave Ctrl-C to this
    # one, since a simulation that is interrupted would return what it has as if it were whole.
    pool = ProcessPoolExecutor(
        jobs,
        mp_context=get_context("spawn"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    )
    try:
        work = [pool.submit(work_out, name, quick, folder=parts[name]) for name in names]
        for done in as_completed(work):
            yield done.result()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in active_children():
            child.terminate()
        raise
    pool.shutdown()


def _file(folder: Path, name: str, quick: bool) -> Path:
    return folder / "items" / f"{name}{'-quick' if quick else ''}.json"


def _read(path: Path, key: str) -> Result | None:
    """Return what was kept, if it came from the same inputs."""
    if not path.exists():
        return None
    try:
        result = Result.from_json(path.read_text(encoding="utf-8"))
    except (ValueError, TypeError, KeyError):  # Cut short, or of an older layout.
        return None
    return result if result.key == key else None


def _write(path: Path, result: Result) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(result.to_json(), encoding="utf-8")
    os.replace(part, path)
