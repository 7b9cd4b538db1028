"""What the commands share: the parser, the exit statuses and the form of errors."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Callable
from typing import NoReturn, TypeAlias

from kdvideo._escaping import printable

Run: TypeAlias = Callable[[argparse.Namespace], int]
SUCCESS, FAILED, USAGE, STOPPED, INTERRUPTED = 0, 1, 2, 3, 130


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print one line that names the help and exit with status 2."""
        self.exit(USAGE, f"error: {message}; see {self.prog} --help\n")


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


def new_command(commands: Commands, name: str, run: Run, *, summary: str, details: str, example: str) -> Parser:
    """Add a command to the command line and return its parser."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=f"{textwrap.fill(details, 100)}\n\nexample:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def at_least_one(text: str) -> int:
    """Read a whole number from 1 on an option."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def complain(error: Exception | str) -> int:
    """Print an error in one line and return the exit status of a failure."""
    print(f"error: {textwrap.shorten(printable(error), 500)}", file=sys.stderr)
    return FAILED
