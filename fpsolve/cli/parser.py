"""The parser: one subcommand a file, one line an error."""

from __future__ import annotations

import argparse
from typing import NoReturn

import fpsolve.cli.compare as compare
import fpsolve.cli.info as info
import fpsolve.cli.ode as ode
import fpsolve.cli.optimal_range as optimal_range
import fpsolve.cli.plot as plot
import fpsolve.cli.run as run
import fpsolve.cli.simulate as simulate
import fpsolve.cli.stationary as stationary
import fpsolve.cli.sweep as sweep
from fpsolve._version import __version__

__all__ = ["UsageError", "build_parser"]

_COMMANDS = (run, simulate, compare, ode, stationary, optimal_range, sweep, plot, info)

_DESCRIPTION = (
    "Learning dynamics of quantized linear models trained with the straight-through estimator, "
    "in the limit of high dimension."
)
_EPILOG = "example:\n  fpsolve run\n\n`fpsolve COMMAND --help` shows an example of every command."


class UsageError(Exception):
    """Arguments that do not fit together."""


class OneLineParser(argparse.ArgumentParser):
    """An `ArgumentParser` whose errors are exceptions that fit a line."""

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError`."""
        raise UsageError(f"{self.prog}: {message}; see {self.prog} --help")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = OneLineParser(
        prog="fpsolve",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"fpsolve {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in _COMMANDS:
        command = commands.add_parser(
            module.NAME,
            help=module.SUMMARY,
            description=module.SUMMARY[0].upper() + module.SUMMARY[1:] + ".",
            epilog=f"example:\n  {module.EXAMPLE}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.configure(command)
        command.set_defaults(execute=module.execute)
    return parser
