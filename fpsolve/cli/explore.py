"""`fpsolve explore`: a page of controls and pictures in the browser."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fpsolve.cli.options import blame_file
from fpsolve.errors import ParameterError

NAME = "explore"
SUMMARY = "serve a page on which a problem can be changed by hand"
EXAMPLE = "fpsolve explore problem.toml --port 5006 --no-browser"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fpsolve explore`."""
    text = "problem file (default: the paper's Fig. 1)"
    parser.add_argument("problem", nargs="?", type=Path, metavar="PROBLEM.toml", help=text)
    parser.add_argument("--port", type=int, default=0, help="port (default: a free one)")
    text = "address to listen on (default 127.0.0.1: this machine alone)"
    parser.add_argument("--address", default="127.0.0.1", help=text)
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser")


def execute(arguments: argparse.Namespace) -> int:
    """Serve until interrupted."""
    from fpsolve.explorer.serve import is_loopback, serve
    from fpsolve.problem.toml import read_problem_file

    if not 0 <= arguments.port <= 65535:
        raise ParameterError("port", arguments.port, "must be from 0 (a free one) to 65535")
    problem, horizon = None, 100.0
    if arguments.problem is not None:
        file = read_problem_file(arguments.problem)
        problem, horizon = file.problem, float(max(file.solve.get("times", [horizon])))

    def ready(url: str) -> None:
        if not is_loopback(arguments.address):
            print("whoever reaches this machine can use the page", file=sys.stderr)
        print(f"{url}  (Ctrl-C ends it)", flush=True)

    with blame_file(arguments):
        serve(
            problem,
            horizon=horizon,
            port=arguments.port,
            address=arguments.address,
            show=not arguments.no_browser,
            ready=ready,
        )
    return 0
