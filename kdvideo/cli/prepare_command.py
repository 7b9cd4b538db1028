"""The command `kdvideo prepare`: small videos for training from a whole data set."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from kdvideo._escaping import printable
from kdvideo.cli.parsing import FAILED, SUCCESS, Commands, new_command, resumable


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = new_command(
        commands,
        "prepare",
        run,
        summary="write small, quickly read videos of all clips of a folder or list",
        details="Write every clip anew: resized, at one frame rate, cut to its seconds, without sound. OUT gets the "
        "folders of the originals, a list of the clips that are done, named as the given list or clips.csv, and a "
        "second list, ..._failed.csv, of the others with their reasons. However it was stopped, the same command "
        "continues; several machines may run it on one list and folder. Exit status: 0 all clips done, 1 some failed, "
        "2 wrong usage, 3 stopped by the disk.",
        example="kdvideo prepare k400/annotations/train.csv k400_256 --root k400",
    )
    add = parser.add_argument
    add("videos", metavar="VIDEOS", type=Path, help="folder per class, csv of path,label[,start,end], or Kinetics list")
    add("out", metavar="OUT", type=Path, help="folder of the new videos")
    add("--root", type=Path, metavar="DIR", help="what paths in the list are relative to (default: its folder)")
    add("--short-side", type=int, default=256, metavar="PIXELS", help="of the new videos, even (default 256)")
    add("--fps", type=float, default=25.0, help="frames per second (default 25)")
    add("--crf", type=int, default=18, help="quality of x264, from 0, without loss, to 51 (default 18)")
    add(
        "--gop", type=int, default=12, metavar="FRAMES", help="at most so many from key frame to key frame (default 12)"
    )
    add("--workers", type=int, metavar="N", help="processes; 0: none (default: one per core)")
    add("--deadline", type=float, metavar="SECONDS", help="a clip that takes longer fails (default: no limit)")
    add("--retry-failed", action="store_true", help="try clips again that failed before")


@resumable
def run(options: argparse.Namespace) -> int:
    """Prepare the clips and print the counts and the reasons of failures."""
    from kdvideo import extraction

    if options.out.resolve() == options.videos.resolve():
        raise ValueError("OUT must be another folder than VIDEOS")
    clips = extraction.clips_of(options.videos, root=options.root, leave_out=options.out)
    name = options.videos.stem if options.videos.is_file() else "clips"
    result = extraction.prepare(
        clips,
        options.out,
        name=name,
        short_side=options.short_side,
        fps=options.fps,
        crf=options.crf,
        gop=options.gop,
        workers=len(os.sched_getaffinity(0)) if options.workers is None else options.workers,
        deadline=options.deadline,
        retry_failed=options.retry_failed,
        progress=True,
    )
    print(printable(result, keep="\n"))
    print(f"list: {options.out / name}.csv")
    return FAILED if result.failed else SUCCESS
