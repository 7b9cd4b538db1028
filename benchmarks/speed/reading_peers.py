"""Other readers of clips, and clips prepared for reading: for `benchmarks.speed.reading`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdvideo import data

FRAMES, FPS, SIDE, CROP = 64, 25.0, 256, 224
COMPARED = 16  # frames of each clip
Reader = Callable[[int, int], dict[str, Any]]


def write_prepared(video: Path, to: Path) -> None:
    """Write a clip with a short side of 256 at 25 fps, a key frame every 16 frames, coded for fast decoding."""
    import av

    frames = data.read_frames(video, fps=FPS, short_side=SIDE)[:250]
    frames = frames[..., : frames.shape[-2] // 2 * 2, : frames.shape[-1] // 2 * 2]
    with av.open(str(to), "w") as container:
        options = {"crf": "20", "preset": "medium", "tune": "fastdecode"}
        stream: Any = container.add_stream("libx264", rate=Fraction(FPS), options=options)
        stream.height, stream.width, stream.pix_fmt = frames.shape[-2], frames.shape[-1], "yuv420p"
        stream.codec_context.gop_size = 16
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(frame.permute(1, 2, 0).contiguous().numpy(), "rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def readers(paths: Sequence[str]) -> tuple[dict[str, Reader], dict[str, str]]:
    """Return the readers that work here, and why the others do not."""
    makers = {"torchcodec, bytes": torchcodec, "pytorchvideo, floats": pytorchvideo, "torchvision": torchvision}
    found: dict[str, Reader] = {}
    absent: dict[str, str] = {}
    for name, make in makers.items():
        try:
            read = make(paths)
            read(0, 0)
        except (ImportError, AttributeError, RuntimeError, OSError) as error:
            absent[name.split(",")[0]] = str(error).strip().splitlines()[0].split(" (/")[0]
        else:
            found[name] = read
    return found, absent


def _window(seconds: float, at: int, clip: int) -> tuple[float, torch.Generator]:
    """Draw where a window begins."""
    generator = torch.Generator().manual_seed(1000 * at + clip)
    return float(torch.rand((), generator=generator)) * max(seconds - FRAMES / FPS, 0.0), generator


def torchcodec(paths: Sequence[str]) -> Reader:
    """Read by torchcodec: times of the grid, resize and random crop in its decoder, one thread."""
    from torchcodec.decoders import VideoDecoder
    from torchcodec.transforms import RandomCrop, Resize

    def read(at: int, clip: int) -> dict[str, Any]:
        plain = VideoDecoder(paths[clip], seek_mode="approximate").metadata
        scale = SIDE / min(plain.height, plain.width)
        size = [max(SIDE, round(plain.height * scale)), max(SIDE, round(plain.width * scale))]
        resize = [] if size == [plain.height, plain.width] else [Resize(size)]
        decoder = VideoDecoder(paths[clip], num_ffmpeg_threads=1, transforms=[*resize, RandomCrop((CROP, CROP))])
        known = decoder.metadata
        begin, end = known.begin_stream_seconds, known.end_stream_seconds
        start, _ = _window(end - begin, at, clip)
        times = begin + start + torch.arange(FRAMES) / FPS
        found = decoder.get_frames_played_at(times.clamp(max=end - 1e-3).tolist())
        return {"rgb": found.data.transpose(0, 1).contiguous()}

    return read


def colours(paths: Sequence[str]) -> dict[str, float]:
    """Compare torchcodec's pixels with ours on the first frames as they are coded, in gray levels of 255."""
    from torchcodec.decoders import VideoDecoder

    apart = []
    for path in paths:
        ours = data.read_frames(path, window=range(COMPARED))
        theirs = VideoDecoder(path, num_ffmpeg_threads=1)[:COMPARED]
        apart.append((theirs.int() - ours.int()).flatten())
    every = torch.cat(apart).float()
    equal = (every == 0).float().mean().item()
    return {"mean": every.mean().item(), "largest": every.abs().max().item(), "equal": equal}


def pytorchvideo(paths: Sequence[str]) -> Reader:
    """Read by pytorchvideo's PyAV reader with its transforms: frames of the window, evenly spread, resized, cropped."""
    import torchvision.transforms._functional_tensor as renamed

    sys.modules.setdefault(
        "torchvision.transforms.functional_tensor", renamed
    )  # its name when pytorchvideo was written
    from pytorchvideo.data.encoded_video_pyav import EncodedVideoPyAV
    from pytorchvideo.transforms.functional import short_side_scale, uniform_temporal_subsample

    def read(at: int, clip: int) -> dict[str, Any]:
        with open(paths[clip], "rb") as file:
            video = EncodedVideoPyAV(file, decode_audio=False)
            start, generator = _window(float(video.duration), at, clip)
            frames: Tensor = video.get_clip(start, start + FRAMES / FPS)["video"]
            video.close()
        frames = short_side_scale(uniform_temporal_subsample(frames, FRAMES), SIDE)
        top, left = (int(torch.randint(s - CROP + 1, (), generator=generator)) for s in frames.shape[-2:])
        return {"rgb": (frames[..., top : top + CROP, left : left + CROP] * (2 / 255)) - 1}

    return read


def torchvision(paths: Sequence[str]) -> Reader:
    """Read by torchvision, where it still reads videos."""
    from torchvision.io import read_video

    def read(at: int, clip: int) -> dict[str, Any]:
        frames = read_video(paths[clip], pts_unit="sec", output_format="TCHW")[0]
        return {"rgb": frames[:FRAMES, :, :CROP, :CROP].transpose(0, 1).contiguous()}

    return read
