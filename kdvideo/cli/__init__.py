"""The command line `kdvideo`: one file a command, each a thin layer over functions of the library.

Exit status: 0 success, 1 something failed, 2 wrong usage, 130 stopped by Ctrl-C; `kdvideo prepare`, `extract`,
`features` and `verify` say what else theirs means. Only the command that runs is paid for: its imports are in it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import kdvideo
from kdvideo.cli import (
    convert_command,
    demo_command,
    describe_command,
    doctor_command,
    export_command,
    extract_command,
    features_command,
    predict_command,
    prepare_command,
    verify_command,
)
from kdvideo.cli.parsing import FAILED, INTERRUPTED, Parser, complain

COMMANDS = (
    predict_command,
    demo_command,
    convert_command,
    export_command,
    prepare_command,
    extract_command,
    features_command,
    verify_command,
    describe_command,
    doctor_command,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    Args:
        arguments: those of the command line; None: `sys.argv`.

    Raises:
        SystemExit: with 2 for wrong usage, with 0 after `--help` and `--version`.
    """
    description = "Knowledge distillation for PyTorch, and its video half. 'kdvideo COMMAND --help' says more."
    parser = Parser(prog="kdvideo", description=description, epilog="example: kdvideo describe s3dg")
    parser.add_argument("--version", action="version", version=f"kdvideo {kdvideo.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    for command in COMMANDS:
        command.add_to(commands)
    options = parser.parse_args(arguments)
    try:
        status: int = options.run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("stopped by Ctrl-C", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader, such as `head`, is gone; the interpreter must not flush once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "kdvideo":
            raise
        if "pip install" in str(error):
            return complain(error)
        return complain(f'{error.name} is not installed: run pip install "kdvideo[video]"')
    return status
