"""Name the action in a camera's picture or a video file while it runs: the network sees each frame once.

    python examples/streaming_video.py student.safetensors clip.mp4 --out drawn.mp4   # a file, drawn into another one
    python examples/streaming_video.py student.safetensors /dev/video0 --format v4l2  # a webcam, until Ctrl-C
    python examples/streaming_video.py      # a network that has learned nothing, and a synthetic clip

The weights are of a network from `models.causal`, saved with `models.checkpoints.save`; frames come at the
rate of the source.
"""

import argparse
import sys

if __name__ == "__main__":  # before the imports, which take seconds
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", nargs="?", help="of a streaming network (default: a fresh one is made)")
    parser.add_argument("source", nargs="?", help="a video file, or a device (default: a file is made)")
    parser.add_argument("--format", help="of a device, such as v4l2 or avfoundation")
    parser.add_argument("--out", help="a video to draw the top classes into")
    options = parser.parse_args()

from fractions import Fraction
from pathlib import Path

import av
import torch
from PIL import ImageDraw
from torch import Tensor
from torch.nn import functional as F

from kdvideo import models
from kdvideo.data import synthetic


def demo() -> tuple[str, str]:
    """Write the weights of a small causal network and a clip."""
    torch.manual_seed(0)
    network = models.causal(models.s3dg(len(synthetic.CLASSES), depth_multiplier=0.125, min_depth=8), window=16)
    seen = {"size": 32, "frames": 16}
    models.checkpoints.save(network, "stream.safetensors", classes=synthetic.CLASSES, input_spec=seen)
    Path("stream.mp4").write_bytes(synthetic.encode(synthetic.render("orbit", seed=0, frames=24)))
    return "stream.safetensors", "stream.mp4"


def square(picture: Tensor, spec: models.InputSpec) -> Tensor:
    """Return the middle square of a picture as the network is fed, (1, 3, 1, size, size)."""
    side = min(picture.shape[1:])
    top, left = ((n - side) // 2 for n in picture.shape[1:])
    part = picture[None, :, top : top + side, left : left + side].float()
    small = F.interpolate(part, size=(spec.size, spec.size), mode="bilinear", antialias=True).round().byte()
    return spec.prepare(small.transpose(0, 1)[None])


class Drawn:
    """A video that is written while it is drawn: memory does not grow, and Ctrl-C loses nothing."""

    def __init__(self, path: str, rate: Fraction, picture: av.VideoFrame) -> None:
        try:
            self.container = av.open(path, "w")
            self.stream = self.container.add_stream("libx264", rate=rate, options={"crf": "18"})
            self.stream.width, self.stream.height = picture.width // 2 * 2, picture.height // 2 * 2
            self.container.start_encoding()
        except (av.FFmpegError, ValueError) as error:
            sys.exit(f"streaming_video.py: {path}: {error}")

    def add(self, picture: av.VideoFrame, lines: list[str]) -> None:
        """Add a picture with some lines of text."""
        image = picture.to_image().crop((0, 0, self.stream.width, self.stream.height))
        size = max(10, image.height // 16)
        for row, text in enumerate(lines):
            place = (size // 3, size // 3 + row * size * 5 // 4)
            ImageDraw.Draw(image).text(place, text, "white", font_size=size, stroke_width=1, stroke_fill="black")
        self.container.mux(self.stream.encode(av.VideoFrame.from_image(image)))

    def close(self) -> None:
        """Write what the encoder still holds."""
        self.container.mux(self.stream.encode(None))
        self.container.close()


@torch.inference_mode()
def main(options: argparse.Namespace) -> None:
    """Print the top classes whenever the network completes a step, every eighth frame."""
    if options.weights and not options.source:
        sys.exit("streaming_video.py: a video file or a device must follow the weights")
    weights, source = (options.weights, options.source) if options.source else demo()
    try:
        network, _ = models.checkpoints.load(weights)
        stream = models.streaming(network)  # type: ignore[arg-type]  # which says what it must be
    except (OSError, ValueError) as error:
        sys.exit(f"streaming_video.py: {error}")
    names = network.classes or [str(k) for k in range(network.num_classes)]
    state, lines = dict[str, Tensor](), list[str]()
    drawn = failed = None
    try:
        with av.open(source, format=options.format) as container:
            for number, picture in enumerate(container.decode(video=0), start=1):
                pixels = torch.from_numpy(picture.to_ndarray(format="rgb24")).permute(2, 0, 1)
                logits, state = stream(square(pixels, network.input_spec), state)
                if logits.shape[1]:
                    top = logits[0, -1].softmax(0).topk(min(3, len(names)))
                    shown = zip(top.values.tolist(), top.indices.tolist(), strict=True)
                    lines = [f"{100 * p:4.1f} % {names[k]}" for p, k in shown]
                    print(f"frame {number:5d}  {'  '.join(lines)}", flush=True)
                if options.out:
                    drawn = drawn or Drawn(
                        options.out, container.streams.video[0].average_rate or Fraction(25), picture
                    )
                    drawn.add(picture, lines)
    except KeyboardInterrupt:
        pass
    except (av.FFmpegError, IndexError) as error:  # no such file or device; none, or broken, of video
        failed = f"streaming_video.py: {source}: {error}"
    if drawn:
        drawn.close()
    sys.exit(failed)


if __name__ == "__main__":
    main(options)
