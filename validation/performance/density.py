"""How fast the density is: work against precision, beside what one would otherwise write.

    python -m validation.performance.density [--quick] [--out DIR] [--publish]

Everything runs in one process on one processor, contestants in alternation; peers that are not
installed (`pip install '.[bench]'`) are left out by name. Results go to `DIR/work_precision.md`,
`.json` and `.png`, and with `--publish` into the documentation. It takes some six minutes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

__all__ = ["main"]


def main() -> None:
    """Run the benchmark and write its results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few settings, few repeats")
    parser.add_argument("--out", type=Path, default=Path("work-precision"), metavar="DIR")
    parser.add_argument("--publish", action="store_true", help="into docs/ and README.md, too")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as cache:
        # Libraries read these when they are imported. An empty cache makes all compile anew.
        os.environ["NUMBA_CACHE_DIR"] = cache
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ[name] = "1"
        _measure(arguments.quick, arguments.out, publish=arguments.publish)


def _measure(quick: bool, out: Path, *, publish: bool) -> None:
    from validation.performance import contest, presentation, scaling
    from validation.performance.processors import on_processors

    on_processors(1)
    before, start = os.getloadavg(), time.perf_counter()
    contests = {name: contest.run(name, quick=quick) for name in contest.CASES}
    results = {
        "contests": contests,
        "machine": presentation.machine(before),
        "targets": scaling.targets(quick=quick),
        "scaling": scaling.slopes(quick=quick),
        "threads": scaling.two_at_once(quick=quick),
        "first": scaling.first_solve(),
    }
    results["machine"]["seconds"] = time.perf_counter() - start
    presentation.write(results, out)
    if publish:
        presentation.publish(results, Path())
    print((out / "work_precision.md").read_text())


if __name__ == "__main__":
    main()
