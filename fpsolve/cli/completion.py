"""`fpsolve completion`: what makes the Tab key of a shell know the commands and their options."""

from __future__ import annotations

import argparse

NAME = "completion"
SUMMARY = "print a script that completes commands and options in bash, zsh or fish"
EXAMPLE = 'fpsolve completion bash >> ~/.bashrc        # or: eval "$(fpsolve completion bash)"'

_BASH = """\
_fpsolve() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" words=""
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{commands} --help --version"
    elif [[ "$word" == -* ]]; then
        case "${{COMP_WORDS[1]}}" in
{cases}
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o bashdefault -o default -F _fpsolve fpsolve
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fpsolve completion`."""
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="whose script to print")


def execute(arguments: argparse.Namespace) -> int:
    """Print the script."""
    print(script(arguments.shell), end="")
    return 0


def script(shell: str) -> str:
    """Return the completion script of `shell`, with the options the commands have now."""
    options = {name: sorted(_options(name)) for name in _names()}
    if shell == "fish":
        return _fish(options)
    cases = "\n".join(
        f'            {name}) words="{" ".join(words)}" ;;' for name, words in options.items()
    )
    bash = _BASH.format(commands=" ".join(options), cases=cases)
    # zsh runs bash's completion functions once told to.
    return bash if shell == "bash" else f"autoload -U +X bashcompinit && bashcompinit\n{bash}"


def _names() -> tuple[str, ...]:
    from fpsolve.cli.parser import COMMANDS  # the parser imports this module by its name

    return COMMANDS


def _options(name: str) -> list[str]:
    from fpsolve.cli.parser import command_module

    parser = argparse.ArgumentParser(add_help=False)
    command_module(name).configure(parser)
    usage = parser.format_usage().replace("[", " ").replace("]", " ").split()
    return [*(word for word in usage if word.startswith("-")), "--help", "--quiet", "--verbose"]


def _fish(options: dict[str, list[str]]) -> str:
    from fpsolve.cli.parser import command_module

    lines = []
    for name, words in options.items():
        summary = command_module(name).SUMMARY.replace("'", "\\'")
        lines.append(f"complete -c fpsolve -n __fish_use_subcommand -a {name} -d '{summary}'")
        for word in words:
            dash = "-l" if word.startswith("--") else "-s"
            seen = f"'__fish_seen_subcommand_from {name}'"
            lines.append(f"complete -c fpsolve -n {seen} {dash} {word.lstrip('-')}")
    return "\n".join(lines) + "\n"
