"""The command line: `fpsolve COMMAND …`.

Exit codes: 0 done; 1 the results disagree, or some points of a sweep failed; 2 bad input;
3 a computation could not be finished, or the disk is full; 130 interrupted (Ctrl-C), 143 terminated
(SIGTERM). An error is one line on the error stream.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Sequence

from fpsolve.cli.parser import UsageError, parse
from fpsolve.errors import FpsolveError, SolveError
from fpsolve.recording.signals import stopping_code, terminable

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the program's name; those of the process by default.
    """
    for stream in (sys.stdout, sys.stderr):  # a file name the terminal cannot show is no failure
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        arguments = parse(sys.argv[1:] if argv is None else argv)
    except UsageError as error:
        return _say(str(error), 2)
    except SystemExit as error:  # --help and --version have printed what was asked for
        return int(error.code or 0)
    name = f"fpsolve {arguments.command}"
    try:
        with terminable():
            code = _execute(arguments)
    except SolveError as error:
        return _say(f"{name}: {error}", 3)
    except FpsolveError as error:
        # A disk that is full or fails is no mistake of the input.
        return _say(f"{name}: {error}", 3 if getattr(error, "errno", None) else 2)
    except KeyboardInterrupt:
        return _say(f"{name}: interrupted; nothing half-written was left", stopping_code())
    except BrokenPipeError:
        # Whoever read the output has gone; Python's own flush at exit must not complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError:
        return _say(f"{name}: not enough memory; ask for fewer times, values or coordinates", 3)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{os.path.basename(where.filename)}:{where.lineno}"
        return _say(f"{name}: a defect of fpsolve, {type(error).__name__} at {place}: {error}", 3)
    return code


def _execute(arguments: argparse.Namespace) -> int:
    """Run the command, its output held back by --quiet and its log shown by --verbose."""
    if arguments.verbose:
        # The library only writes to its logger; who imports it decides what becomes of that.
        logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        logging.getLogger("fpsolve").setLevel(logging.INFO)
    if arguments.quiet:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            return int(arguments.execute(arguments))
    code = int(arguments.execute(arguments))
    sys.stdout.flush()
    return code


def _say(message: str, code: int) -> int:
    print(" ".join(message.split()), file=sys.stderr)
    return code
