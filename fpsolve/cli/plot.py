"""`fpsolve plot`: a picture of a stored result."""

from __future__ import annotations

import argparse
from pathlib import Path

import fpsolve

NAME = "plot"
SUMMARY = "draw a stored result"
EXAMPLE = "fpsolve plot out.h5 out.png --log-time"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fpsolve plot`."""
    parser.add_argument("result", metavar="RESULT.h5", type=Path, help="what `-o` wrote")
    parser.add_argument("picture", metavar="OUT.png", type=Path, help="png, pdf, svg …")
    parser.add_argument("--log-time", action="store_true", help="logarithmic time")
    parser.add_argument("--overwrite", action="store_true", help="replace a file that exists")


def execute(arguments: argparse.Namespace) -> int:
    """Load, draw, write."""
    from fpsolve.plots.figures import check_figure_target

    check_figure_target(arguments.picture, overwrite=arguments.overwrite)
    result = fpsolve.load(arguments.result)
    figure = fpsolve.plot(result, log_time=arguments.log_time)
    fpsolve.save_figure(figure, arguments.picture, overwrite=arguments.overwrite)
    print(f"wrote {arguments.picture}")
    return 0
