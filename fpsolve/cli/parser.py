"""The parser: one subcommand a file, one line an error."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

from fpsolve._version import __version__

__all__ = ["COMMANDS", "UsageError", "build_parser", "command_module", "parse"]

# Each is the module of its name, with NAME, SUMMARY, EXAMPLE, configure and execute.
COMMANDS = (
    "run",
    "simulate",
    "compare",
    "ode",
    "stationary",
    "optimal-range",
    "sweep",
    "merge",
    "plot",
    "info",
    "export",
    "explore",
    "completion",
)

_DESCRIPTION = (
    "Learning dynamics of quantized linear models trained with the straight-through estimator, "
    "in the limit of high dimension."
)
_EPILOG = (
    "example:\n  fpsolve run\n\n`fpsolve COMMAND --help` shows an example of every command.\n"
    '`eval "$(fpsolve completion bash)"` lets the Tab key complete commands and options.'
)
# "-1", "-.5", "-1,2" and "-1:2:3" are values, whatever dash they start with.
_NEGATIVE = re.compile(r"-[\d.]")


class UsageError(Exception):
    """Arguments that do not fit together."""


class OneLineParser(argparse.ArgumentParser):
    """An `ArgumentParser` whose errors are exceptions that fit a line."""

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError`."""
        raise UsageError(f"{self.prog}: {message}; see {self.prog} --help")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the parsed arguments; only the module of the named command is imported."""
    named = argv[:1] if argv and argv[0] in COMMANDS else COMMANDS
    return build_parser(named).parse_args(_with_negative_values(argv))


def build_parser(commands: Sequence[str] = COMMANDS) -> argparse.ArgumentParser:
    """Return the parser of these commands, all by default."""
    parser = OneLineParser(
        prog="fpsolve",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"fpsolve {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in commands:
        module = command_module(name)
        command = subparsers.add_parser(
            module.NAME,
            help=module.SUMMARY,
            description=module.SUMMARY[0].upper() + module.SUMMARY[1:] + ".",
            epilog=f"example:\n  {module.EXAMPLE}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.configure(command)
        text = "print nothing but errors, and no progress"
        command.add_argument("-q", "--quiet", action="store_true", help=text)
        text = "say what is done and how long it takes, on the error stream"
        command.add_argument("-v", "--verbose", action="store_true", help=text)
        command.set_defaults(execute=module.execute)
    return parser


def command_module(name: str) -> Any:
    """Return the module of the command `name`."""
    return import_module(f"fpsolve.cli.{name.replace('-', '_')}")


def _with_negative_values(argv: Sequence[str]) -> list[str]:
    """Write `--times -1,2` as `--times=-1,2`: argparse would take -1,2 for an option."""
    joined: list[str] = []
    for word in argv:
        option = joined[-1] if joined else ""
        if _NEGATIVE.match(word) and option.startswith("--") and "=" not in option:
            joined[-1] = f"{option}={word}"
        else:
            joined.append(word)
    return joined
