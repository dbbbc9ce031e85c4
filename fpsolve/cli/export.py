"""`fpsolve export`: a stored result in another format."""

from __future__ import annotations

import argparse
from pathlib import Path

import fpsolve

NAME = "export"
SUMMARY = "write a stored result as CSV, NPZ or Zarr"
EXAMPLE = "fpsolve export out.h5 out.csv"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fpsolve export`."""
    parser.add_argument("result", metavar="RESULT.h5", type=Path, help="what `-o` wrote")
    text = "what to write: .csv (a table), .npz (every array) or .zarr"
    parser.add_argument("target", metavar="OUT.csv", type=Path, help=text)
    parser.add_argument("--overwrite", action="store_true", help="replace what exists")


def execute(arguments: argparse.Namespace) -> int:
    """Read the result, write it in the other format, and say so."""
    result = fpsolve.load(arguments.result)
    fpsolve.export(result, arguments.target, overwrite=arguments.overwrite)
    print(f"wrote {arguments.target}")
    return 0
