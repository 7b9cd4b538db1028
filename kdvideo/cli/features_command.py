"""The command `kdvideo features`: the features of whole videos, window by window."""

from __future__ import annotations

import argparse
from pathlib import Path

from kdvideo.cli.parsing import FAILED, SUCCESS, Commands, at_least_one, new_command, resumable


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = new_command(
        commands,
        "features",
        run,
        summary="write the features of whole videos, window by window",
        details="Write one file for each video: .npy, windows x channels, or .safetensors where several layers are "
        "named. However it was stopped, the same command continues. Exit status: 0 all videos done, 1 some failed, "
        "2 wrong usage, 3 stopped by the disk or a device.",
        example="kdvideo features videos features --weights rgb.safetensors --flow-weights flow.safetensors",
    )
    add = parser.add_argument
    add("videos", metavar="VIDEOS", type=Path, help="folder of videos, csv of path,label[,start,end], or one video")
    add("out", metavar="OUT", type=Path, help="folder of the features")
    add("--weights", required=True, metavar="FILE", help="weights of any layout that kdvideo reads, on RGB or flow")
    add("--flow-weights", metavar="FILE", help="of a network on flow, whose features follow along the channels")
    add("--root", type=Path, metavar="DIR", help="what paths in the csv are relative to (default: its folder)")
    add("--layers", nargs="+", default=[], metavar="LAYER", help="as kdvideo describe names them (default: pooled)")
    add("--window", type=at_least_one, metavar="FRAMES", help="of a clip (default: as the network was trained)")
    add("--stride", type=at_least_one, default=8, metavar="FRAMES", help="from window to window (default 8)")
    add("--views", type=int, choices=(1, 10), default=1, help="crops whose mean is taken: centre, or ten (default 1)")
    add("--device", default="cpu", help="where networks and flow run (default cpu)")
    add("--retry-failed", action="store_true", help="try videos again that failed before")


@resumable
def run(options: argparse.Namespace) -> int:
    """Extract the features and print the counts and the reasons of failures."""
    from kdvideo import extraction

    if options.out.resolve() == options.videos.resolve():
        raise ValueError("OUT must be another folder than VIDEOS")
    result = extraction.extract_features(
        extraction.clips_of(options.videos, root=options.root, leave_out=options.out),
        options.out,
        options.weights,
        flow_weights=options.flow_weights,
        layers=options.layers,
        window=options.window,
        stride=options.stride,
        ten_crop=options.views == 10,
        device=options.device,
        retry_failed=options.retry_failed,
        progress=True,
    )
    print(result)
    return FAILED if result.failed else SUCCESS
