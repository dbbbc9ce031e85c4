"""`python -m validation.robustness`: does the promise hold on random problems of the domain?"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from validation.robustness.problems import draw
from validation.robustness.runner import BROKEN, Ledger, work
from validation.robustness.table import holds, one_line, table


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    told = argparse.ArgumentParser(
        prog="python -m validation.robustness",
        description="Solve random problems at rtol 1e-4 and 1e-7 and compare. Every result is "
        "kept at once: kill it at any moment and start it again.",
    )
    told.add_argument("--problems", type=int, default=200, metavar="N", help="how many (200)")
    told.add_argument("--seed", type=int, default=1, metavar="S", help="what they are drawn from")
    told.add_argument("--jobs", type=int, default=1, metavar="N", help="processes at a time")
    told.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="where results are kept (robustness-S.jsonl)",
    )
    told.add_argument(
        "--only",
        type=int,
        nargs="+",
        metavar="INDEX",
        help="work these out alone, now, and show each as a problem file; nothing is kept",
    )
    told.add_argument(
        "--again", action="store_true", help="work out anew what was broken or refused"
    )
    told.add_argument(
        "--known",
        type=Path,
        metavar="FILE",
        help="problems of this seed known to fail, a number and the reason a line: they are left "
        "out, and counted",
    )
    told.add_argument("--show", action="store_true", help="show what there is and stop")
    told.add_argument(
        "--seconds", type=float, metavar="T", help="stop after this time; what is there counts"
    )
    return told


def main(arguments: list[str] | None = None) -> int:
    """Return 0 if the promise holds, 1 if not, 130 if interrupted."""
    told = parser()
    options = told.parse_args(arguments)
    if options.problems < 1 or options.jobs < 1 or options.seed < 0:
        told.error("--problems and --jobs must be ≥ 1, --seed ≥ 0")
    if options.only:
        return _only(options.seed, options.only, options.jobs)
    path = options.out or Path(f"robustness-{options.seed}.jsonl")
    try:
        ledger = Ledger(path, options.seed)
    except ValueError as error:
        told.error(str(error))
    known = _known(options.known) & set(range(options.problems))
    todo = [i for i in range(options.problems) if i not in ledger.records and i not in known]
    if options.again:
        done = sorted(ledger.records.items())
        todo = [i for i, r in done if r["verdict"] in (*BROKEN, "refused")] + todo
    interrupted = False
    if not options.show:
        interrupted = _go_on(ledger, options, todo)
    found = [ledger.records[i] for i in sorted(ledger.records)]
    if found:
        print()
        print(table(found))
    broken = [r for r in found if r["verdict"] in (*BROKEN, "refused")]
    if broken:
        print("\nbroken or refused:")
        for record in broken:
            print(one_line(record))
    print(f"\n{len(found)} problems of seed {options.seed} in {path}")
    if known:
        print(f"{len(known)} more are known to fail and left out: {options.known}")
    if interrupted:
        return 130
    return 0 if found and holds(found) else 1


def _go_on(ledger: Ledger, options: argparse.Namespace, todo: list[int]) -> bool:
    """Work out what is left; whether it was interrupted."""
    begun = time.monotonic()
    try:
        for record in work(options.seed, todo, options.jobs):
            ledger.keep(record)
            if record["verdict"] != "holds":
                print(one_line(record), flush=True)
            if options.seconds and time.monotonic() - begun > options.seconds:
                break
    except KeyboardInterrupt:
        print("interrupted; finished problems are kept, the next run goes on")
        return True
    return False


def _known(path: Path | None) -> set[int]:
    """Numbers of the problems that a file lists, one a line before its reason."""
    if path is None:
        return set()
    lines = path.read_text(encoding="utf-8").splitlines()
    return {int(line.split()[0]) for line in lines if line.strip() and not line.startswith("#")}


def _only(seed: int, indices: list[int], jobs: int) -> int:
    found = []
    for record in work(seed, indices, jobs):
        index = record["index"]
        print(f"# from validation.robustness.problems import draw; task = draw({seed}, {index})")
        print(draw(seed, index).text())
        print(f"# {one_line(record)}\n", flush=True)
        found.append(record)
    return 1 if any(r["verdict"] in BROKEN for r in found) else 0


if __name__ == "__main__":
    raise SystemExit(main())
