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
    text = "also compare the contents of these videos (as for extract) with those that the flow was made of"
    parser.add_argument("--deep", type=Path, metavar="VIDEOS", help=text)
    parser.add_argument("--root", type=Path, metavar="DIR", help="what paths in a csv of VIDEOS are relative to")


def run(options: argparse.Namespace) -> int:
    """Print every problem, and their number on stderr."""
    from kdvideo.extraction import clips_of, verify

    try:
        videos = clips_of(options.deep, root=options.root, leave_out=options.out) if options.deep else ()
        problems = verify(options.out, deep=videos, progress=sys.stderr.isatty())
    except ValueError as error:
        print(f"error: {printable(error)}", file=sys.stderr)
        return USAGE
    for problem in problems:
        print(printable(problem))
    print(f"{len(problems)} problems" if problems else "no problem", file=sys.stderr)
    return FAILED if problems else SUCCESS
