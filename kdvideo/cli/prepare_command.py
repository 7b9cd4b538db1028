"""The command `kdvideo prepare`: small videos for training from a whole data set."""

from __future__ import annotations

import argparse

from kdvideo.cli.clips import clip_command, open_clips, report, running
from kdvideo.cli.parsing import Commands


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = clip_command(
        commands,
        "prepare",
        run,
        summary="write small, quickly read videos of all clips of a folder or list",
        details="Write every clip anew: resized, at one frame rate, cut to its seconds, without sound. OUT gets the "
        "folders of the originals, a list of the clips that are done, named as the given list or clips.csv, and a "
        "second list, ..._failed.csv, of the others with their reasons.",
        example="kdvideo prepare k400/annotations/train.csv k400_256 --root k400",
    )
    add = parser.add_argument
    add("--crf", type=int, default=18, help="quality of x264, from 0, without loss, to 51 (default 18)")
    add(
        "--gop", type=int, default=12, metavar="FRAMES", help="at most so many from key frame to key frame (default 12)"
    )


def run(options: argparse.Namespace) -> int:
    """Prepare the clips and print the counts and the reasons of failures."""
    from kdvideo import extraction

    clips = open_clips(options)
    name = options.videos.stem if options.videos.is_file() else "clips"
    result = extraction.prepare(
        clips,
        options.out,
        name=name,
        short_side=options.short_side,
        fps=options.fps,
        crf=options.crf,
        gop=options.gop,
        **running(options),
    )
    status = report(result)
    print(f"list: {options.out / name}.csv")
    return status
