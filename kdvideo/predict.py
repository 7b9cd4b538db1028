"""The top classes of a video file, by any network that kdvideo can load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdvideo import data, flow, models
from kdvideo.clip_input import clip_input, estimator_of


class _Files(list[dict[str, Any]]):
    """The rows of a manifest that lists some files, without the need for `datasets`."""

    column_names = ("path", "clip", "label", "start", "end")

    def __getitem__(self, key: Any) -> Any:
        return [row[key] for row in self] if isinstance(key, str) else super().__getitem__(key)


class Predictor:
    """A network from a file, loaded once, that names the action in any number of video files.

    The file of weights says what the network sees: frames, frame rate, size, range, RGB or flow; where others
    published it, the network's `input_spec` does. A flow network gets TV-L1 flow computed from the clip.

    Args:
        weights: any file that `models.checkpoints.load` reads.

    Raises:
        ValueError: the weights are not of a network that kdvideo builds, or their input description is incomplete.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     network = models.s3dg(2, depth_multiplier=0.125)
        ...     models.checkpoints.save(network, f"{folder}/a.safetensors", classes=["run", "sit"], input_spec={})
        ...     Predictor(f"{folder}/a.safetensors").classes
        ['run', 'sit']
    """

    def __init__(self, weights: str | Path) -> None:
        network, info = models.checkpoints.load(weights)
        self.network = network.eval()
        self.view = clip_input(network, info, weights)
        self.classes: list[str] = list(info["classes"] or [str(k) for k in range(network.num_classes)])
        flows = self.view["stream"] == "flow"
        self.source = flow.EstimatorSource(estimator_of(self.view)) if flows else None

    @torch.no_grad()
    def __call__(self, clip: str | Path, *, views: int = 1) -> list[tuple[str, float]]:
        """Name the action in a video file: by the mean softmax over `views` windows.

        Args:
            clip: a video file.
            views: windows of the clip whose scores are averaged.

        Returns:
            (class, probability), most probable first.

        Raises:
            ClipError: the clip cannot be read.
            ValueError: `views` is below 1.
        """
        if views < 1:
            raise ValueError(f"views must be at least 1, got {views}")
        clips, stream = self._views(clip, views), self.view["stream"]
        batch = torch.stack([self.network.input_spec.normalize(clips[k][stream]) for k in range(views)])
        scores = self.network(batch).softmax(1).mean(0)
        return [(self.classes[k], float(scores[k])) for k in scores.argsort(descending=True).tolist()]

    def window(self, clip: str | Path) -> Tensor:
        """Read what the network is shown of a video file, before `input_spec.normalize`.

        Args:
            clip: a video file.

        Returns:
            (C, T, H, W).

        Raises:
            ClipError: the clip cannot be read.
        """
        seen: Tensor = self._views(clip, 1)[0][self.view["stream"]]
        return seen

    def _views(self, clip: str | Path, views: int) -> data.PairedClips:
        stream = self.view["stream"]
        return data.PairedClips(
            _Files([{"path": str(clip), "clip": str(clip), "label": 0, "start": None, "end": None}]),
            **{name: self.view[name] for name in ("frames", "fps", "short_side", "crop", "flow_bound")},
            train=False,
            flow=self.source,
            input_range=self.network.input_spec.value_range if stream == "rgb" else (-1.0, 1.0),
            rgb=stream == "rgb",
            views=views,
        )


def predict(weights: str | Path, clip: str | Path, *, views: int = 1) -> list[tuple[str, float]]:
    """Name the action in a video file; `Predictor` loads the network once for many.

    Args:
        weights: any file that `models.checkpoints.load` reads.
        clip: a video file.
        views: windows of the clip whose scores are averaged.

    Returns:
        (class, probability), most probable first.

    Raises:
        ClipError: the clip cannot be read.
        ValueError: the weights are not of a network that kdvideo builds, or their input description is incomplete.

    Examples:
        >>> import tempfile
        >>> from kdvideo.data import synthetic
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     network = models.s3dg(2, depth_multiplier=0.125, min_depth=8)
        ...     spec = {"frames": 8, "size": 64, "fps": 25.0}
        ...     models.checkpoints.save(network, f"{folder}/a.safetensors", classes=["run", "sit"], input_spec=spec)
        ...     clip = synthetic.encode(synthetic.render("spin", seed=1, frames=8))
        ...     _ = Path(folder, "spin.mp4").write_bytes(clip)
        ...     found = predict(f"{folder}/a.safetensors", f"{folder}/spin.mp4")
        >>> sorted(name for name, _ in found), round(sum(share for _, share in found), 4)
        (['run', 'sit'], 1.0)
    """
    if views < 1:
        raise ValueError(f"views must be at least 1, got {views}")
    return Predictor(weights)(clip, views=views)
