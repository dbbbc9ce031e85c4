"""`python -m validation`: work out the items, write the report, say whether every gate holds."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from validation.browser import faults, find_browser
from validation.catalogue import ITEMS, load_item
from validation.mutations import COARSE, MUTATIONS, check_mutations, record_mutations
from validation.report import summary, write_report
from validation.runner import run
from validation.showcase import publish


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    told = argparse.ArgumentParser(prog="python -m validation", description=__doc__)
    told.add_argument("--quick", action="store_true", help="small sizes, at most 90 s on two cores")
    told.add_argument("--only", nargs="+", metavar="NAME", help="these items alone")
    told.add_argument("--out", type=Path, default=Path("validation-report"), metavar="DIR")
    told.add_argument("--list", action="store_true", help="list the items and stop")
    told.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), metavar="N")
    told.add_argument(
        "--browser",
        action="store_true",
        help="read the finished report in headless Chromium and print it on A4: whatever is "
        "missing, cut off, overflowing or faint is a failure",
    )
    told.add_argument(
        "--publish",
        action="store_true",
        help="put claims, headlines and pictures of this run, all of one mode, into docs/",
    )
    told.add_argument(
        "--mutations",
        action="store_true",
        help=f"break the theory on purpose ({', '.join(MUTATIONS)}) and see that gates turn red",
    )
    told.add_argument(
        "--record",
        action="store_true",
        help="with --mutations: break all items (or --only some), and keep in validation/ which "
        "error turns which gate red, a minute or several an item",
    )
    told.add_argument(
        "--errors",
        nargs="+",
        default=(),
        choices=(*MUTATIONS, *COARSE),
        metavar="NAME",
        help="with --record: make these errors alone, and keep what is recorded of others",
    )
    return told


def main(arguments: list[str] | None = None) -> int:
    """Return 0 if every gate holds (or, with --mutations, if every mutation is noticed)."""
    told = parser()
    options = told.parse_args(arguments)
    if options.list:
        for name in ITEMS:
            print(f"{name:24} {load_item(name).TITLE}")
        return 0
    unknown = sorted(set(options.only or ()) - set(ITEMS))
    if unknown or options.jobs < 1:
        what = (
            f"no item is called {', '.join(unknown)}; see --list"
            if unknown
            else "--jobs must be ≥ 1"
        )
        told.error(what)
    if options.record and not options.mutations:
        told.error("--record needs --mutations")
    if options.errors and not options.record:
        told.error("--errors needs --record")
    if options.mutations:
        names = tuple(options.only or ITEMS)
        errors = tuple(options.errors)
        return record_mutations(names, errors) if options.record else check_mutations()
    if options.publish and options.only:
        told.error("--publish shows all items in one mode; leave --only out")
    browser = find_browser() if options.browser else None
    if options.browser and browser is None:
        told.error("--browser found no Chromium on the path; install it or leave --browser out")
    names = [name for name in ITEMS if not options.only or name in options.only]
    start = time.perf_counter()
    try:
        results = run(names, options.out, quick=options.quick, jobs=options.jobs, shown=True)
    except KeyboardInterrupt:
        print(f"interrupted; finished items are kept in {options.out}, the next run goes on")
        return 130
    elapsed = time.perf_counter() - start
    told_all = summary(results, quick=options.quick, seconds=elapsed)
    page = write_report(results, told_all, options.out)
    for result in results:
        verdict = "skips" if result.skipped else "holds" if result.holds else "FAILS"
        kept = " (kept)" if result.cached else ""
        print(
            f"{verdict}  {result.name:24} {len(result.gates):3d} gates {result.seconds:7.1f} "
            f"s{kept}"
        )
        if result.skipped:
            print(f"       {result.skipped}")
        for gate in result.gates:
            if not gate.holds:
                print(
                    f"       {gate.name}: {gate.value:.6g}, allowed {gate.low:.6g} to "
                    f"{gate.high:.6g}"
                )
        if result.error:
            print(result.error, file=sys.stderr)
    seen = faults(page, browser) if browser else []
    for fault in seen:
        print(f"the report, {fault}")
    for gate in told_all["never_red"]:
        print(f"by the record no error turns it red: {gate}")
    if options.publish and told_all["holds"]:
        publish(results, told_all)
    print(
        f"{'every gate holds' if told_all['holds'] else 'NOT every gate holds'}; "
        f"{elapsed:.0f} s; {page}"
    )
    # Gates are recorded in quick mode; a full run has a few of another name.
    unproven = options.quick and told_all["never_red"]
    return 0 if told_all["holds"] and not seen and not unproven else 1


if __name__ == "__main__":
    sys.exit(main())
