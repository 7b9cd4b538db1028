"""What the commands share that go through a data set clip by clip: where the clips are, and who works on them."""

from __future__ import annotations

import argparse
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdvideo._escaping import printable
from kdvideo.cli.parsing import FAILED, INTERRUPTED, STOPPED, SUCCESS, USAGE, Commands, Parser, Run, new_command

if TYPE_CHECKING:
    from kdvideo.extraction import JobResult, Running

LINES = "\n"  # of a report
CONTINUE = "What is done is kept; run the same command again to continue."


def clip_command(
    commands: Commands,
    name: str,
    run: Run,
    *,
    summary: str,
    details: str,
    example: str,
    rate: Callable[[str], float | None] = float,
    rates: str = "frames per second (default 25)",
    sampled: bool = True,
) -> Parser:
    """Add a command that goes through clips, with the arguments that all of them have."""
    details += (
        " However it was stopped, the same command continues; machines share the work with --scheduler or --shard. "
        "Exit status: 0 all clips done, 1 some failed, 2 wrong usage, 3 stopped by the disk, a device or the cluster."
    )
    parser = new_command(commands, name, _resumable(run), summary=summary, details=details, example=example)
    add = parser.add_argument
    text = "folder of videos, in one folder a class, csv of path,label[,start,end], Kinetics list, or one video"
    add("videos", metavar="VIDEOS", type=Path, help=text)
    add("out", metavar="OUT", type=Path, help="folder of what is made")
    add("--root", type=Path, metavar="DIR", help="what paths in the list are relative to (default: its folder)")
    if sampled:
        add("--short-side", type=int, default=256, metavar="PIXELS", help="of the frames (default 256)")
        add("--fps", type=rate, default=25.0, help=rates)
    engine = parser.add_mutually_exclusive_group().add_argument
    engine("--workers", type=int, metavar="N", help="processes; 0: none (default: one per core, or two per GPU)")
    engine("--scheduler", metavar="ADDRESS", help="work on the Dask cluster of this scheduler, such as tcp://host:8786")
    engine("--local-cluster", type=int, metavar="N", help="work on a Dask cluster of N workers on this machine")
    add("--shard", type=_shard, default=(1, 1), metavar="I/N", help="the I-th of N shares of the clips, from 1 on")
    add("--deadline", type=float, default=600.0, metavar="SECONDS", help="of a clip; 0: none (default 600)")
    add("--retry-failed", action="store_true", help="try clips again that failed before")
    return parser


def _shard(text: str) -> tuple[int, int]:
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise argparse.ArgumentTypeError(f"must be I/N with I from 1 to N, such as 1/8, got {text!r}")
    return int(index), int(count)


def _resumable(run: Run) -> Run:
    """Make a command end with one line, and its exit status, where it cannot continue."""

    @functools.wraps(run)
    def wrapped(options: argparse.Namespace) -> int:
        from kdvideo.extraction import ExtractionError

        try:
            return run(options)
        except ExtractionError as error:
            print(f"stopped: {printable(error)}. {CONTINUE}", file=sys.stderr)
            return STOPPED
        except BrokenPipeError:  # of the reader of what is printed
            raise
        except (ValueError, OSError) as error:
            print(f"error: {printable(error, keep=LINES)}", file=sys.stderr)  # of a list: a line a row
            return USAGE
        except KeyboardInterrupt:
            print(f"stopped by Ctrl-C. {CONTINUE}", file=sys.stderr)
            return INTERRUPTED

    return wrapped


def open_clips(options: argparse.Namespace) -> list[dict[str, Any]]:
    """List the clips."""
    from kdvideo.extraction import clips_of

    if options.out.resolve() == options.videos.resolve():
        raise ValueError("OUT must be another folder than VIDEOS")
    return clips_of(options.videos, root=options.root, leave_out=options.out)


def running(options: argparse.Namespace, device: str = "cpu") -> Running:
    """Say who works on the clips."""
    return {
        "workers": _workers(device) if options.workers is None else options.workers,
        "devices": (device,),
        "scheduler": options.scheduler or options.local_cluster or 0,
        "deadline": options.deadline,
        "shard": options.shard,
        "retry_failed": options.retry_failed,
        "progress": True,
    }


def _workers(device: str) -> int:
    import torch

    return len(os.sched_getaffinity(0)) if device == "cpu" else 2 * torch.cuda.device_count()


def report(result: JobResult) -> int:
    """Print the counts and the reasons of failures; return the exit status."""
    print(printable(result, keep=LINES))
    return FAILED if result.failed else SUCCESS
