"""The command `kdvideo predict`: the most probable classes of video files."""

from __future__ import annotations

import argparse

from kdvideo._escaping import printable
from kdvideo.cli.parsing import FAILED, SUCCESS, Commands, at_least_one, complain, new_command


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = new_command(
        commands,
        "predict",
        run,
        summary="name the action in video files",
        details="Print the most probable classes of each video file. A network that sees optical flow gets it computed "
        "from the clip. Exit status: 0 all clips done, 1 some failed.",
        example="kdvideo predict --weights student.safetensors clip.mp4",
    )
    parser.add_argument("clips", nargs="+", metavar="CLIP", help="video files")
    parser.add_argument("--weights", required=True, metavar="FILE", help="weights of any layout that kdvideo reads")
    parser.add_argument("--top", type=at_least_one, default=5, metavar="K", help="classes to print (default 5)")
    parser.add_argument(
        "--views", type=at_least_one, default=1, metavar="N", help="windows whose scores are averaged (default 1)"
    )


def run(options: argparse.Namespace) -> int:
    """Print the classes of each clip; a clip that fails does not stop the others."""
    from kdvideo.data import ClipError
    from kdvideo.predict import predict

    status = SUCCESS
    for clip in options.clips:
        try:
            classes = predict(options.weights, clip, views=options.views)
        except (ClipError, ValueError, OSError) as error:
            complain(error)
            status = FAILED
            continue
        print(printable(clip))
        for name, probability in classes[: options.top]:
            print(f"  {100 * probability:5.1f} %  {printable(name)}")
    return status
