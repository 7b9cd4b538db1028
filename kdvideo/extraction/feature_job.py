"""The job of features: from the video file of a clip to the features of its windows, one file each."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from kdvideo import models
from kdvideo.data import ClipInfo, probe, read_frames
from kdvideo.extraction.feature_stream import FeatureStream, feature_stream, views
from kdvideo.extraction.file_job import FileJob
from kdvideo.extraction.job import FRAME_BYTES, ClipRow
from kdvideo.extraction.processing import Running, process
from kdvideo.extraction.result import JobResult


@dataclass(frozen=True, kw_only=True)
class FeatureJob(FileJob):
    """Features of clips, in a folder."""

    noun, unit, settings_file = "features", "MB", "features.json"
    streams: tuple[FeatureStream, ...]
    window: int
    stride: int
    ten_crop: bool

    @property
    def settings(self) -> dict[str, Any]:
        """The networks, what they see, and the windows."""
        return {
            "weights": [stream.digest for stream in self.streams],
            "layers": list(self.streams[0].network.paths),
            "window": self.window,
            "stride": self.stride,
            "ten_crop": self.ten_crop,
            "fps": self.streams[0].view["fps"],
        }

    def file(self, row: ClipRow) -> Path:
        """Return the file of a clip: its id, with another ending."""
        several = len(self.streams[0].network.paths) > 1
        return self.place(row, row["clip"], ".safetensors" if several else ".npy")

    def make(self, row: ClipRow) -> float:
        """Write the features of a clip; return the megabytes."""
        found: dict[str, list[Tensor]] = {}
        for by_layer in self._rows(row):
            for layer, feature in by_layer.items():
                found.setdefault(layer, []).append(feature)
        features = {layer: torch.stack(rows) for layer, rows in found.items()}
        with self.writing(row) as file:
            if len(features) == 1:
                np.save(file, next(iter(features.values())).numpy())
            else:
                file.write(save(features))
            return file.tell() / 1e6

    def _rows(self, row: ClipRow) -> Iterator[dict[str, Tensor]]:
        """Yield the features of each window by layer, those of the streams one after the other along C."""
        view = self.streams[0].view
        sampling = {"start": row["start"], "end": row["end"], "fps": view["fps"], "short_side": view["short_side"]}
        info = probe(row["path"], **sampling)
        for starts in self._pieces(info):
            first, last = starts[0], min(starts[-1] + self.window, info.length - 1)  # one more, to which flow leads
            first = min(first, max(info.length - 2, 0))
            frames = read_frames(row["path"], window=range(first, last + 1), **sampling)
            seen = [stream.images(frames, self.device) for stream in self.streams]
            for start in starts:
                windows = views(info, start, self.window, view["crop"], ten=self.ten_crop)
                parts = [
                    stream.features(images, first, info, windows, self.device)
                    for stream, images in zip(self.streams, seen, strict=True)
                ]
                yield {layer: torch.cat([part[layer] for part in parts]) for layer in parts[0]}

    def _pieces(self, info: ClipInfo) -> Iterator[range]:
        """Yield the starts of the windows in groups whose frames fit into memory."""
        starts = range(0, max(info.length - self.window, 0) + 1, self.stride)
        most = FRAME_BYTES // (3 * info.height * info.width) - self.window
        count = max(most // self.stride, 1)
        yield from (starts[i : i + count] for i in range(0, len(starts), count))


def extract_features(
    manifest: Iterable[ClipRow],
    folder: str | os.PathLike[str],
    weights: str | os.PathLike[str] | models.Network,
    *,
    flow_weights: str | os.PathLike[str] | models.Network | None = None,
    layers: Sequence[str] = (),
    window: int | None = None,
    stride: int = 8,
    ten_crop: bool = False,
    **running: Unpack[Running],
) -> JobResult:
    """Write the features of every clip's windows: one `.npy` (N, C), or `.safetensors` with several layers by name.

    Window n shows the frames n * stride ... n * stride + window - 1 at the network's frame rate; frames after the
    last whole window have none, and a video that is shorter starts over. A feature is the mean over the time and
    space of a layer's output. Killed at any instant, the same call continues, as in `extract`.

    Args:
        manifest: rows with `path`, `clip` (a unique id), `start` and `end` in seconds or None, see `clips_of`.
        folder: where the files go, in the folders of the videos.
        weights: any file that `models.checkpoints.load` reads, of a network on RGB or on flow; or a network, such as a
            `models.Network` of your own: its `input_spec` says what it sees. It is copied.
        flow_weights: of a second network, whose features follow those of the first along C. Its rate, size and
            crop must be those of the first.
        layers: of every network; none: what its head gets.
        window: T; None: the frames of the first network's clips.
        stride: frames from one window to the next.
        ten_crop: the mean of the center, the four corners, and all five mirrored, in place of the center.
        running: who works on the clips, where, and how long at most, see `Running`.

    Returns:
        Counts, and the reason of each failure; printed, it is a summary.

    Raises:
        ValueError: an argument is out of its range, an option is none of `Running`, networks do not fit, or the folder
            holds other features.
        ExtractionError: the folder cannot be written, or a device is out of memory. What is done stays done.

    Examples:
        >>> import tempfile
        >>> from kdvideo.data import synthetic
        >>> from kdvideo.extraction import clips_of
        >>> class Mine(models.Network):
        ...     config = {"in_channels": 3, "num_classes": 5}
        ...     input_spec = models.InputSpec(frames=8, size=28, fps=10.0)
        ...     layer_names = {"head": "head"}
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.body, self.head = torch.nn.Conv3d(3, 16, 3), torch.nn.AdaptiveAvgPool3d(1)
        ...     def forward(self, clip):
        ...         return self.head(self.body(clip))
        >>> clip = Path(tempfile.mkdtemp()) / "clip.mp4"
        >>> _ = clip.write_bytes(synthetic.encode(synthetic.render("orbit", seed=0, frames=20, fps=10), fps=10))
        >>> found = extract_features(clips_of(clip), clip.parent / "features", Mine(), stride=4)
        >>> np.load(clip.parent / "features/clip.npy").shape
        (4, 16)
    """
    files = [weights] if flow_weights is None else [weights, flow_weights]
    streams = tuple(feature_stream(file, layers) for file in files)
    window = streams[0].view["frames"] if window is None else window
    if window < 1 or stride < 1:
        raise ValueError(f"window and stride must be at least 1 frame, got {window} and {stride}")
    for name in ("fps", "short_side", "crop"):
        if len(values := {stream.view[name] for stream in streams}) > 1:
            raise ValueError(f"both networks must see the same {name}, got {sorted(values)}")
    job = FeatureJob(
        top=Path(folder),
        streams=streams,
        window=window,
        stride=stride,
        ten_crop=ten_crop,
    )
    result = JobResult(job.unit)
    process(manifest, job, result, **running)
    return result
