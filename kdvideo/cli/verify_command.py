"""The command `kdvideo verify`: whether all flow in a folder is whole."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from kdvideo._escaping import printable
from kdvideo.cli.parsing import FAILED, SUCCESS, USAGE, Commands, new_command


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = new_command(
        commands,
        "verify",
        run,
        summary="check the optical flow in a folder",
        details="Read all flow in a folder and compare it with its sidecars and settings. Exit status: 0 all is whole "
        "and done, 1 there are problems, one per line.",
        example="kdvideo verify flow/train",
    )
    parser.add_argument("out", metavar="OUT", type=Path, help="a folder of flow")
    parser.add_argument("--deep", action="store_true", help="also compare the videos with those that flow was made of")


def run(options: argparse.Namespace) -> int:
    """Print every problem, and their number on stderr."""
    from kdvideo.extraction import verify

    try:
        problems = verify(options.out, deep=options.deep, progress=sys.stderr.isatty())
    except ValueError as error:
        print(f"error: {printable(error)}", file=sys.stderr)
        return USAGE
    for problem in problems:
        print(printable(problem))
    print(f"{len(problems)} problems" if problems else "no problem", file=sys.stderr)
    return FAILED if problems else SUCCESS
